"""The VAE: its encoder computes the linear code; its decoder starts at the code's inverse and learns to draw better."""

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facemogle.labels import NUM_CLASSES
from facemogle.vae import PixelShuffleAutoencoderKL
from train.mini.config import MiniConfig, Phase
from train.mini.latent_code import LatentCode, mixed_pictures, to_tensor, unpack
from train.mini.linear_vae import hold_constants
from train.mini.loop import Draw
from train.mini.model import Mini, autocast, scheduler_of
from train.mini.pool import Pool


def build(config: MiniConfig) -> PixelShuffleAutoencoderKL:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return PixelShuffleAutoencoderKL(
            block_out_channels=config.vae_widths,
            down_block_types=("DownEncoderBlock2D",) * len(config.vae_widths),
            up_block_types=("UpDecoderBlock2D",) * len(config.vae_widths),
            layers_per_block=1,
            latent_channels=config.latent_channels,
            norm_num_groups=4,
            sample_size=config.size,
            scaling_factor=1.0,
            shift_factor=0.0,
            mid_block_add_attention=False,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )


@torch.no_grad()
def code_of(vae: PixelShuffleAutoencoderKL) -> LatentCode:
    """The linear code that a VAE's encoder computes."""
    assert vae.encoder.bias is not None
    channels = vae.config.latent_channels
    matrix, bias = vae.encoder.weight[:channels].flatten(1).T.contiguous(), vae.encoder.bias[:channels]
    inverse = torch.linalg.pinv(matrix)
    return LatentCode(mean=-bias @ inverse, encode=matrix.detach(), decode=inverse)


class DecoderLesson:
    """What the decoder learns from: portraits that the model's last steps redrew, what the encoder makes of portraits,
    palette maps and masks, and the pictures that these were."""

    def __init__(
        self,
        vae: PixelShuffleAutoencoderKL,
        model: Mini,
        code: LatentCode,
        pool: Pool,
        config: MiniConfig,
        *,
        seconds: float,
    ):
        """`seconds`: the most that redrawing may take."""
        self.vae, self.code, self.pool, self.config = vae, code, pool, config
        vae.requires_grad_(False)
        vae.decoder.requires_grad_(True).train()
        if config.device != "cpu":
            vae.decoder.to(memory_format=torch.channels_last)
        self.redrawn, self.rows = redraw(model, code, pool, config, seconds=seconds)

    @torch.no_grad()
    def draw(self, generator: torch.Generator, phase: Phase) -> Draw:
        """Latents (B, c, h, w), half of them redrawn, and pictures (B, 3, S, S) in -1..1."""
        count, device = phase.batch, generator.device
        redrawn = round(self.config.redrawn * count)
        encoded = count - redrawn
        rows = torch.randint(len(self.pool), (encoded,), generator=generator, device=device)
        class_ids = torch.randint(NUM_CLASSES, (encoded,), generator=generator, device=device)
        pictures = mixed_pictures(
            self.pool["images"][rows],
            self.pool["label_maps"][rows, 0],
            class_ids,
            max(1, round(encoded * self.config.decoder_portraits)),
        )
        tokens = self.code.tokens(pictures)
        # The transformer's latents are never quite the encoder's: the decoder learns to forgive a little noise,
        noise = torch.randn(tokens.shape, generator=generator, device=device)
        tokens = tokens + self.config.decoder_latent_noise * noise
        # and what the model's last steps get wrong.
        some = torch.randint(len(self.redrawn), (redrawn,), generator=generator, device=device)
        tokens = torch.cat([tokens, self.redrawn[some]])
        pictures = torch.cat([pictures, self.pool["images"][self.rows[some]]])
        return {"latents": unpack(tokens), "pictures": to_tensor(pictures)}

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        hold_constants(self.vae.decoder)
        with autocast(self.config.device):
            drawn = self.vae.decode(draw["latents"]).sample.float()
        square, edges = F.mse_loss(drawn, draw["pictures"]), gradient_loss(drawn, draw["pictures"])
        return {"loss": square + 0.5 * edges, "square": square}


@torch.no_grad()
def redraw(model: Mini, code: LatentCode, pool: Pool, config: MiniConfig, *, seconds: float) -> tuple[Tensor, Tensor]:
    """Portraits, noised as before one of the last steps of sampling (up to half of them), after those steps: tokens
    (R, N, C) and which portraits of the pool they are (R,)."""
    batch, device, whole = config.guidance.batch, config.device, config.num_inference_steps
    generator = torch.Generator(device).manual_seed(config.seed)
    scheduler = scheduler_of(config)
    tokens: list[Tensor] = []
    rows: list[Tensor] = []
    began = time.monotonic()
    for number in range(-(-min(config.redrawn_portraits, 2 * len(pool)) // batch)):
        if rows and time.monotonic() - began > seconds:
            break
        row = torch.randint(len(pool), (batch,), generator=generator, device=device)
        first = whole - 1 - number % max(1, whole // 2)
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / whole, whole), device=device)
        scheduler.set_begin_index(first)
        latents = pool["latents"][row].float()
        noise = torch.randn(latents.shape, generator=generator, device=device)
        latents = latents.lerp(noise, scheduler.sigmas[first])
        condition, _ = code.condition(pool["label_maps"][row, 0])
        guidance = torch.full((batch,), config.guidance_scale, device=device)
        with autocast(device):
            text = model.encoders(pool["clip"][row, 0].long(), pool["t5"][row, 0].long())
            for t in scheduler.timesteps[first:]:
                velocity, _ = model(*text, condition, latents, t.expand(batch) / 1000, guidance)
                latents = scheduler.step(velocity, t, latents, return_dict=False)[0]
        tokens.append(latents)
        rows.append(row)
    return torch.cat(tokens), torch.cat(rows)


def gradient_loss(a: Tensor, b: Tensor) -> Tensor:
    """Squared error of horizontal and vertical differences: what makes edges crisp."""
    error = a - b
    return error.diff(dim=-1).square().mean() + error.diff(dim=-2).square().mean()
