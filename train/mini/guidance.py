"""From two passes a step to one: the base learns to take guidance as a number, as FLUX.1-dev's was made to.

Stage one of arXiv 2210.03142. B batch, N image tokens, C channels.
"""

from dataclasses import replace

import torch
from diffusers.models.embeddings import CombinedTimestepGuidanceTextProjEmbeddings
from torch import Tensor, nn

from facemogle.checkpoints import load_pipeline
from facemogle.transformer import FaceMoGLETransformer2DModel
from train.mini.config import MiniConfig
from train.mini.text import TextEncoders, load_encoders
from train.objective import TrainingBatch, predict_velocity


def take_guidance(transformer: FaceMoGLETransformer2DModel) -> None:
    """Give the base FLUX.1-dev's embedding of guidance, where it has none yet; at first it changes nothing."""
    if transformer.config.guidance_embeds:
        return
    settings, before = transformer.config, transformer.time_text_embed
    embedding = CombinedTimestepGuidanceTextProjEmbeddings(transformer.inner_dim, settings.pooled_projection_dim)
    embedding.load_state_dict(before.state_dict(), strict=False)
    nn.init.zeros_(embedding.guidance_embedder.linear_2.weight)
    nn.init.zeros_(embedding.guidance_embedder.linear_2.bias)
    transformer.time_text_embed = embedding.to(transformer.device)
    transformer.register_to_config(guidance_embeds=True)


class Teacher:
    """The checkpoint to go on from, as it was: its classifier-free guidance in two passes is what one pass shall learn.

    It stays frozen: a base that taught itself diverged, at a learning rate of 4e-4.
    """

    def __init__(self, config: MiniConfig):
        if not config.start_from.is_dir():
            raise ValueError(
                "Guidance is distilled from a trained checkpoint. Set start_from, or adapter_guidance to 1."
            )
        pipeline = load_pipeline(config.start_from, dtype=torch.float32, device=config.device)
        self.transformer, self.mogle = pipeline.transformer, pipeline.mogle
        self.text = TextEncoders(config)
        load_encoders(self.text, config.start_from)
        self.text.requires_grad_(False).to(config.device)
        if config.compile:
            self.transformer.compile_repeated_blocks()

    @torch.no_grad()
    def guided_velocity(
        self,
        batch: TrainingBatch,
        ids: tuple[Tensor, Tensor],
        noisy_latents: Tensor,
        timestep: Tensor,
        guidance: Tensor,
        *,
        above: float,
    ) -> Tensor:
        """(B, N, C) velocities of prompts' token ids under guidance (B,); up to the noise level `above` under none."""
        plain = torch.ones_like(guidance) if self.transformer.config.guidance_embeds else None
        blended, _ = self.mogle(batch.condition_tokens, noisy_latents, timestep)
        empty = tuple(each.to(timestep.device) for each in self.text.ids([""] * len(noisy_latents)))
        told, untold = (
            predict_velocity(
                self.transformer,
                replace(batch, prompt_embeds=embeds, pooled_prompt_embeds=pooled),
                noisy_latents,
                timestep,
                guidance_scale=plain,
                condition_hidden_states=blended,
            )
            for embeds, pooled in (self.text(*ids), self.text(*empty))
        )
        further = (guidance - 1) * (timestep > above)
        return told + further[:, None, None] * (told - untold)
