"""The base: a small Flux transformer from text to portrait, trained together with its text encoders."""

import torch
import torch.nn.functional as F
from diffusers import attention_backend
from torch import Tensor

from facemogle.pipeline import image_ids
from facemogle.transformer import FaceMoGLETransformer2DModel
from train.mini.config import MiniConfig
from train.mini.loop import fit, load_average
from train.mini.samples import Samples
from train.mini.text import TextEncoders, training_ids
from train.mini.vae import autocast
from train.mini.words import load_words
from train.objective import ConditionDropout, TrainingBatch, flow_matching_loss, sample_timesteps

HEAD_DIM = 64
ROTARY_AXES = (16, 24, 24)


def build(config: MiniConfig) -> FaceMoGLETransformer2DModel:
    """The transformer with seeded random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        transformer = FaceMoGLETransformer2DModel(
            patch_size=1,
            in_channels=4 * config.latent_channels,
            num_layers=config.double_blocks,
            num_single_layers=config.single_blocks,
            attention_head_dim=HEAD_DIM,
            num_attention_heads=config.attention_heads,
            joint_attention_dim=config.text_width,
            pooled_projection_dim=config.text_width,
            guidance_embeds=False,
            axes_dims_rope=ROTARY_AXES,
        )
        torch.nn.init.zeros_(transformer.proj_out.weight)
        return transformer.to(config.device)


def load_base(config: MiniConfig) -> tuple[TextEncoders, FaceMoGLETransformer2DModel]:
    text, transformer = load_words(config), build(config)
    load_average(config.folder / "base", {"text": text, "transformer": transformer})
    return text.eval().requires_grad_(False), transformer.eval().requires_grad_(False)


def pack(latents: Tensor) -> Tensor:
    """(B, c, 2h, 2w) -> (B, h * w, 4c), as the pipeline packs them; the latent code needs no scale and shift."""
    return F.pixel_unshuffle(latents.float(), 2).flatten(2).mT.contiguous()


def token_grid_ids(tokens: Tensor) -> Tensor:
    """Position ids of square pictures, from (B, N, C)."""
    side = round(tokens.shape[1] ** 0.5)
    return image_ids(side, side)


# On a CPU plain attention is faster to train than the fused one, whose backward is slow.
with_fast_attention = attention_backend("_native_math")


@with_fast_attention
def train_base(samples: Samples, latents: Tensor, config: MiniConfig) -> None:
    """`latents` (N, 16, h, w) are those of `samples`."""
    text, transformer = load_words(config), build(config)
    if config.compile:
        transformer.compile_repeated_blocks()
    dropout = ConditionDropout(text=config.text_dropout)
    txt_ids = torch.zeros(config.text_length, 3)

    def loss_of(generator: torch.Generator, step: int) -> Tensor:
        rows = torch.randint(len(samples), (config.base_batch,), generator=generator).tolist()
        choices = torch.randint(config.captions_per_portrait, (config.base_batch,), generator=generator).tolist()
        captions = [samples.captions[row][choice] for row, choice in zip(rows, choices, strict=True)]
        ids = training_ids(text, captions, generator, dropout=dropout, unknown=config.unknown_words)
        clean = pack(latents[rows])
        noise = torch.randn(clean.shape, generator=generator)
        timestep = sample_timesteps(len(rows), mean=config.timestep_mean, std=config.timestep_std, generator=generator)
        with autocast(config.device):
            prompt_embeds, pooled = text(*(each.to(config.device) for each in ids))
            batch = TrainingBatch(clean, prompt_embeds, pooled, token_grid_ids(clean), txt_ids).to(config.device)
            return flow_matching_loss(
                transformer,
                None,
                batch,
                noise=noise.to(config.device),
                timestep=timestep.to(config.device),
                guidance_scale=None,
            )

    fit(
        config.folder / "base",
        {"text": text, "transformer": transformer},
        loss_of,
        steps=config.base_steps,
        learning_rate=config.base_learning_rate,
        seed=config.seed + 2,
        settings=config.settings_of("base"),
        checkpoint_seconds=config.checkpoint_seconds,
    )
