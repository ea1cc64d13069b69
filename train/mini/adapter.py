"""LoRA and MoGLE: the label map steers, the base draws; at this small size the base learns on beside them."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemogle.checkpoints import load_pipeline
from facemogle.gating import coverage
from facemogle.labels import NUM_CLASSES, to_colours
from facemogle.mogle import MoGLE
from facemogle.transformer import AdapterConfig, FaceMoGLETransformer2DModel
from train.mini.augment import augment
from train.mini.base import load_base, pack, token_grid_ids, with_fast_attention
from train.mini.config import MiniConfig
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
    flow_matching_loss,
    sample_timesteps,
)


def build(config: MiniConfig) -> tuple[TextEncoders, FaceMoGLETransformer2DModel, MoGLE]:
    """The trained base with a new adapter, and a new MoGLE; or those of the checkpoint to go on from."""
    if config.start_from.is_dir():
        pipeline = load_pipeline(config.start_from, dtype=torch.float32, device=config.device)
        for name, parameter in pipeline.transformer.named_parameters():
            parameter.requires_grad_("adapter_" in name)
        return load_words(config), pipeline.transformer, pipeline.mogle.requires_grad_(True)
    text, transformer = load_base(config)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed + 3)
        mogle = MoGLE(channels=4 * config.latent_channels, timestep_scale=config.timestep_scale)
        transformer.add_condition_adapter(AdapterConfig(config.adapter_rank, config.adapter_rank))
    return text, transformer, mogle.to(config.device)


def trained_modules(
    text: TextEncoders, transformer: FaceMoGLETransformer2DModel, mogle: MoGLE, config: MiniConfig
) -> dict[str, nn.Module]:
    """What this stage's checkpoint holds: of a frozen base, the adapter alone requires gradients."""
    modules: dict[str, nn.Module] = {"transformer": transformer, "mogle": mogle}
    return modules if config.adapter_freezes_base else modules | {"text": text}


def load_adapter(config: MiniConfig) -> tuple[TextEncoders, FaceMoGLETransformer2DModel, MoGLE]:
    text, transformer, mogle = build(config)
    load_average(config.folder / "adapter", trained_modules(text, transformer, mogle, config))
    return text, transformer.eval().requires_grad_(False), mogle.eval().requires_grad_(False)


def condition_tokens(label_maps: np.ndarray, code: LatentCode) -> Tensor:
    """(B, S, S) class ids -> (B, 20, N, 64), by the linear code that the VAE's encoder computes."""
    whole = code(to_tensor(to_colours(label_maps)))
    latents = torch.cat([whole[:, None], code.local_masks(label_maps)], dim=1)
    return pack(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])


def balance(label_maps: np.ndarray, power: float) -> Tensor:
    """(N, S, S) class ids -> (19,) what a pixel of each class counts: its share to -power, 1 on average of pixels."""
    share = np.bincount(label_maps.ravel(), minlength=NUM_CLASSES) / label_maps.size
    weight = np.maximum(share, 1e-6) ** -power
    return torch.tensor(weight / (share * weight).sum(), dtype=torch.float32)


def of_tokens(pixels: Tensor, num_tokens: int) -> Tensor:
    """(B, S, S) -> (B, N), the mean over each token's pixels."""
    side = pixels.shape[1] // round(num_tokens**0.5)
    return F.avg_pool2d(pixels[:, None], side).flatten(1)


def unspecialised(gating_weights: Tensor, label_maps: np.ndarray, ratio: float) -> Tensor:
    """How far the local experts are from weighing `ratio` times more inside their class than outside: a hinge.

    (B, N, 20) weights, (B, S, S) class ids -> the mean over the classes there are, in nats; 0 at the goal.
    """
    side = round(gating_weights.shape[1] ** 0.5)
    covered = np.stack([coverage(label_map, side, side) for label_map in label_maps])
    shares = torch.from_numpy(covered).flatten(2).to(gating_weights)
    present = shares.sum((0, 2)) > 0
    local, shares = gating_weights[..., 1:].mT[:, present], shares[:, present]
    inside, outside = ((local * share).sum((0, 2)) / share.sum((0, 2)) for share in (shares, 1 - shares))
    return (math.log(ratio) + outside.log() - inside.log()).relu().mean()


@with_fast_attention
def train_adapter(samples: Samples, latents: Tensor, config: MiniConfig) -> None:
    """`latents` (N, 16, h, w) are those of `samples`."""
    text, transformer, mogle = build(config)
    if not config.adapter_freezes_base:
        transformer.requires_grad_(True)
        text.requires_grad_(True)
    if config.compile:
        transformer.compile_repeated_blocks()
    code = load_code(config)
    black = condition_tokens(np.zeros((1, config.size, config.size), np.uint8), code)[0, 2]
    dropout = ConditionDropout(config.text_dropout, config.local_mask_dropout, config.all_masks_dropout)
    txt_ids = torch.zeros(config.text_length, 3)
    class_weight = balance(samples.label_maps[::10], config.class_balance)
    row_weight = rarity(*attribute_ids(samples.attributes)) ** config.attribute_balance
    local_only = torch.ones(NUM_CLASSES + 1)
    local_only[0] = 0

    def loss_of(generator: torch.Generator, step: int) -> Tensor:
        rows = torch.multinomial(row_weight, config.adapter_batch, generator=generator).tolist()
        choices = torch.randint(config.captions_per_portrait, (config.adapter_batch,), generator=generator).tolist()
        captions = [samples.captions[row][choice] for row, choice in zip(rows, choices, strict=True)]
        ids = training_ids(text, captions, generator, dropout=dropout, unknown=config.unknown_words)
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        label_maps = samples.label_maps[rows]
        clean = pack(latents[rows])
        token_weight = of_tokens(class_weight[torch.from_numpy(label_maps).int()], clean.shape[1])
        for row in np.flatnonzero(rng.random(len(rows)) < config.map_augmentation):
            label_maps[row] = augment(label_maps[row], rng)
        tokens = drop_masks(condition_tokens(label_maps, code), black, dropout, generator=generator)
        alone = rng.random() < config.global_expert_dropout
        noise = torch.randn(clean.shape, generator=generator)
        timestep = sample_timesteps(len(rows), mean=config.timestep_mean, std=config.timestep_std, generator=generator)
        with autocast(config.device):
            prompt_embeds, pooled = text(*(each.to(config.device) for each in ids))
            batch = TrainingBatch(clean, prompt_embeds, pooled, token_grid_ids(clean), txt_ids, tokens)
            loss = flow_matching_loss(
                transformer,
                mogle,
                batch.to(config.device),
                noise=noise.to(config.device),
                timestep=timestep.to(config.device),
                guidance_scale=None,
                token_weight=token_weight.to(config.device),
                expert_scale=local_only.to(config.device) if alone else None,
            )
        known = (tokens[:, 0] != black).flatten(1).any(1)  # of maps that were dropped, gating can know nothing
        if config.adapter_specialisation_weight and known.any():
            seen = tokens[:, 0], add_noise(clean, noise, timestep), timestep * config.timestep_scale
            gating_weights = mogle.gating(*(each[known].to(config.device) for each in seen))
            missing = unspecialised(gating_weights, label_maps[known.numpy()], config.adapter_specialisation)
            loss += config.adapter_specialisation_weight * missing
        return loss

    fit(
        config.folder / "adapter",
        trained_modules(text, transformer, mogle, config),
        loss_of,
        steps=config.adapter_steps,
        learning_rate=config.adapter_learning_rate,
        seed=config.seed + 4,
        settings=config.settings_of("adapter"),
        checkpoint_seconds=config.checkpoint_seconds,
    )
