"""Flow matching: timestep sampling, noisy latents, velocity target, condition dropout, and the loss.

arXiv 2509.00428 trains the adapter and MoGLE with FLUX's own objective; without condition tokens the same loss trains
the base. B batch, N image tokens, C channels, E experts (the global one, then one per class), T text tokens.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from facemogle.mogle import MoGLE
from facemogle.transformer import FaceMoGLETransformer2DModel


@dataclass(frozen=True)
class ConditionDropout:
    """Probability that a sample loses its text, each local mask on its own, or all its masks together.

    The reference never drops the global mask, which leaves text alone outside its training: `all_masks` 0 is that.
    """

    text: float = 0.1
    local_mask: float = 0.1
    all_masks: float = 0.1


@dataclass(frozen=True)
class TrainingBatch:
    """Clean latents and what they were made from; `condition_tokens` None trains the base on text alone."""

    latents: Tensor  # (B, N, C), packed
    prompt_embeds: Tensor  # (B, T, D)
    pooled_prompt_embeds: Tensor  # (B, P)
    img_ids: Tensor  # (N, 3)
    txt_ids: Tensor  # (T, 3)
    condition_tokens: Tensor | None = None  # (B, E, N, C)

    def to(self, device: torch.device | str) -> "TrainingBatch":
        return replace(self, **{name: tensor.to(device) for name, tensor in vars(self).items() if tensor is not None})


def sample_timesteps(
    batch_size: int,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    """(B,) in 0..1, the sigmoid of a normal: the middle of the way is learned most. Drawn on the generator's device.

    A mean over 0 trains more on noise: pictures of few tokens show their colours through most of it.
    """
    draws = torch.randn(batch_size, generator=generator, device=generator.device)
    return (mean + std * draws).sigmoid().to(device)


def add_noise(latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t noise; (B, N, C), (B, N, C), (B,) -> (B, N, C)."""
    t = timestep.to(latents.dtype)[:, None, None]
    return (1 - t) * latents + t * noise


def dropped_masks(
    batch_size: int, num_experts: int, dropout: ConditionDropout, *, generator: torch.Generator
) -> Tensor:
    """(B, E) booleans: whose tokens are to be those of a black image. Drawn on the generator's device."""
    draws = torch.rand(batch_size, num_experts, generator=generator, device=generator.device)
    dropped = draws < dropout.local_mask
    dropped[:, 0] = False
    return dropped | (draws[:, :1] < dropout.all_masks)


def drop_text(prompts: list[str], dropout: ConditionDropout, *, generator: torch.Generator) -> list[str]:
    """Empty some prompts."""
    draws = torch.rand(len(prompts), generator=generator, device=generator.device)
    return ["" if draw < dropout.text else prompt for prompt, draw in zip(prompts, draws.tolist(), strict=True)]


def predict_velocity(
    transformer: FaceMoGLETransformer2DModel,
    batch: TrainingBatch,
    noisy_latents: Tensor,
    timestep: Tensor,
    *,
    guidance_scale: Tensor | None,
    condition_hidden_states: Tensor | None,
) -> Tensor:
    """(B, N, C) noisy latents, (B,) timesteps in 0..1, (B,) guidance or None, blended tokens -> velocity (B, N, C).

    In the base's own dtype, as when pictures are made; float32 in and out.
    """
    dtype = transformer.x_embedder.weight.dtype
    if condition_hidden_states is not None:
        condition_hidden_states = condition_hidden_states.to(dtype)
    return transformer(
        hidden_states=noisy_latents.to(dtype),
        encoder_hidden_states=batch.prompt_embeds.to(dtype),
        pooled_projections=batch.pooled_prompt_embeds.to(dtype),
        timestep=timestep,
        img_ids=batch.img_ids,
        txt_ids=batch.txt_ids,
        guidance=guidance_scale,
        condition_hidden_states=condition_hidden_states,
        return_dict=False,
    )[0].float()


def flow_matching_loss(
    transformer: FaceMoGLETransformer2DModel,
    mogle: MoGLE | None,
    batch: TrainingBatch,
    *,
    noise: Tensor,
    timestep: Tensor,
    guidance_scale: float | None = 1.0,
) -> Tensor:
    """Mean squared error between the predicted velocity and noise - x_0, averaged over all elements, in float32.

    noise (B, N, C), timestep (B,) in 0..1; guidance_scale None for a base without guidance embedding.
    """
    noisy_latents = add_noise(batch.latents, noise, timestep)
    condition_hidden_states = None
    if batch.condition_tokens is not None:
        if mogle is None:
            raise ValueError("A batch with condition tokens needs a MoGLE to blend them, got None.")
        condition_hidden_states, _ = mogle(batch.condition_tokens, noisy_latents, timestep)
    velocity = predict_velocity(
        transformer,
        batch,
        noisy_latents,
        timestep,
        guidance_scale=None if guidance_scale is None else torch.full_like(timestep, guidance_scale),
        condition_hidden_states=condition_hidden_states,
    )
    return F.mse_loss(velocity, (noise - batch.latents).float())
