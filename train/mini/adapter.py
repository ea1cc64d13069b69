"""LoRA and MoGLE: the label map steers, the base draws; at this small size the base learns on beside them."""

import math

import numpy as np
import torch
from torch import Tensor

from facemogle.checkpoints import load_pipeline
from facemogle.gating import coverage
from facemogle.labels import to_colours
from facemogle.mogle import MoGLE
from facemogle.transformer import AdapterConfig, FaceMoGLETransformer2DModel
from train.mini.augment import augment
from train.mini.base import load_base, pack, token_grid_ids, with_fast_attention
from train.mini.config import MiniConfig
from train.mini.guidance import Teacher, take_guidance
from train.mini.latent_code import LatentCode, to_tensor
from train.mini.loop import fit, load_average
from train.mini.samples import Samples
from train.mini.text import TextEncoders, training_ids
from train.mini.vae import autocast, load_code
from train.mini.words import attribute_ids, load_words, rarity
from train.objective import (
    ConditionDropout,
    TrainingBatch,
    add_noise,
    drop_masks,
    predict_velocity,
    sample_timesteps,
)


def build(config: MiniConfig) -> tuple[TextEncoders, FaceMoGLETransformer2DModel, MoGLE]:
    """The trained base with a new adapter, and a new MoGLE; or those of the checkpoint to go on from."""
    if config.start_from.is_dir():
        pipeline = load_pipeline(config.start_from, dtype=torch.float32, device=config.device)
        if config.adapter_guidance > 1:
            take_guidance(pipeline.transformer)
        return load_words(config), pipeline.transformer, pipeline.mogle.requires_grad_(True)
    text, transformer = load_base(config)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed + 3)
        mogle = MoGLE(channels=4 * config.latent_channels, timestep_scale=config.timestep_scale)
        transformer.add_condition_adapter(AdapterConfig(config.adapter_rank, config.adapter_rank))
    return text, transformer, mogle.to(config.device)


def load_adapter(config: MiniConfig) -> tuple[TextEncoders, FaceMoGLETransformer2DModel, MoGLE]:
    text, transformer, mogle = build(config)
    load_average(config.folder / "adapter", {"text": text, "transformer": transformer, "mogle": mogle})
    return text, transformer.eval().requires_grad_(False), mogle.eval().requires_grad_(False)


def condition_tokens(label_maps: np.ndarray, code: LatentCode) -> Tensor:
    """(B, S, S) class ids -> (B, 20, N, 64), by the linear code that the VAE's encoder computes."""
    whole = code(to_tensor(to_colours(label_maps)))
    latents = torch.cat([whole[:, None], code.local_masks(label_maps)], dim=1)
    return pack(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])


def class_shares(label_maps: np.ndarray, side: int) -> Tensor:
    """(B, S, S) class ids -> (19, B, side * side), how much of each token a class covers."""
    covered = np.stack([coverage(label_map, side, side) for label_map in label_maps], axis=1)
    return torch.from_numpy(covered).flatten(2).float()


def class_error(error: Tensor, shares: Tensor) -> Tensor:
    """(B, N, C) errors, (19, B, N) shares -> the mean square of the errors' mean over each class there is.

    Colours are wrong all over a class; and here hats and lips count as much as the background.
    """
    sizes = shares.sum(2)
    means = torch.einsum("kbn,bnc->kbc", shares, error)[sizes > 0] / sizes[sizes > 0][:, None]
    return means.square().mean()


def unspecialised(gating_weights: Tensor, shares: Tensor, ratio: float) -> Tensor:
    """How far the local experts are from weighing `ratio` times more inside their class than outside: a hinge.

    (B, N, 20) weights, (19, B, N) shares -> the mean over the classes there are, in nats; 0 at the goal.
    """
    present = shares.sum((1, 2)) > 0
    local, shares = gating_weights[..., 1:].movedim(2, 0)[present], shares[present]
    inside, outside = ((local * share).sum((1, 2)) / share.sum((1, 2)) for share in (shares, 1 - shares))
    return (math.log(ratio) + outside.log() - inside.log()).relu().mean()


@with_fast_attention
def train_adapter(samples: Samples, latents: Tensor, config: MiniConfig) -> None:
    """`latents` (N, 16, h, w) are those of `samples`."""
    text, transformer, mogle = build(config)
    teacher = Teacher(config) if config.adapter_guidance > 1 else None
    transformer.requires_grad_(True)
    text.requires_grad_(True)
    if config.compile:
        transformer.compile_repeated_blocks()
    code = load_code(config)
    black = condition_tokens(np.zeros((1, config.size, config.size), np.uint8), code)[0, 2]
    dropout = ConditionDropout(config.text_dropout, config.local_mask_dropout, config.all_masks_dropout)
    txt_ids = torch.zeros(config.text_length, 3)
    embeds_guidance = transformer.config.guidance_embeds
    row_weight = rarity(*attribute_ids(samples.attributes)) ** config.attribute_balance

    def loss_of(generator: torch.Generator, step: int) -> Tensor:
        rows = torch.multinomial(row_weight, config.adapter_batch, generator=generator).tolist()
        choices = torch.randint(config.captions_per_portrait, (config.adapter_batch,), generator=generator).tolist()
        captions = [samples.captions[row][choice] for row, choice in zip(rows, choices, strict=True)]
        ids = training_ids(text, captions, generator, dropout=dropout, unknown=config.unknown_words)
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        label_maps = samples.label_maps[rows]
        clean = pack(latents[rows])
        side = round(clean.shape[1] ** 0.5)
        drawn = class_shares(label_maps, side)
        for row in np.flatnonzero(rng.random(len(rows)) < config.map_augmentation):
            label_maps[row] = augment(label_maps[row], rng)
        tokens = drop_masks(condition_tokens(label_maps, code), black, dropout, generator=generator)
        known = (tokens[:, 0] != black).flatten(1).any(1)
        noise = torch.randn(clean.shape, generator=generator)
        timestep = sample_timesteps(len(rows), mean=config.timestep_mean, std=config.timestep_std, generator=generator)
        noisy, target = add_noise(clean, noise, timestep), noise - clean
        guidance = 1 + (config.adapter_guidance - 1) * torch.rand(len(rows), generator=generator)

        def on_device(*tensors: Tensor) -> tuple[Tensor, ...]:
            return tuple(tensor.to(config.device) for tensor in tensors)

        with autocast(config.device):
            clip_ids, t5_ids, noisy, target, timestep, guidance = on_device(*ids, noisy, target, timestep, guidance)
            prompt_embeds, pooled = text(clip_ids, t5_ids)
            batch = TrainingBatch(clean, prompt_embeds, pooled, token_grid_ids(clean), txt_ids, tokens)
            batch = batch.to(config.device)
            if teacher:
                target = teacher.guided_velocity(batch, (clip_ids, t5_ids), noisy, timestep, guidance)
            blended, gating_weights = mogle(batch.condition_tokens, noisy, timestep)
            velocity = predict_velocity(
                transformer, batch, noisy, timestep, guidance_scale=guidance if embeds_guidance else None,
                condition_hidden_states=blended,
            )  # fmt: skip
            error = (target - velocity) * guidance.rsqrt()[:, None, None]  # it grows with the guidance
        loss = error.square().mean() + config.adapter_class_weight * class_error(error, drawn.to(config.device))
        if config.adapter_specialisation_weight and known.any():  # of maps that were dropped, gating can know nothing
            seen = class_shares(label_maps[known.numpy()], side).to(config.device)
            weights = gating_weights[known.to(config.device)].float()
            missing = unspecialised(weights, seen, config.adapter_specialisation)
            loss += config.adapter_specialisation_weight * missing
        return loss

    fit(
        config.folder / "adapter",
        {"text": text, "transformer": transformer, "mogle": mogle},
        loss_of,
        steps=config.adapter_steps,
        learning_rate=config.adapter_learning_rate,
        seed=config.seed + 4,
        settings=config.settings_of("adapter"),
        checkpoint_seconds=config.checkpoint_seconds,
    )
