"""The VAE: its encoder computes the linear code; its decoder starts at the code's inverse and learns to draw better."""

from dataclasses import asdict, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from facemogle.checkpoints import load_pipeline
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.vae import PixelShuffleAutoencoderKL
from train.mini.config import MiniConfig
from train.mini.latent_code import LatentCode, fit_latent_code, mixed_pictures, psnr, to_tensor
from train.mini.linear_vae import hold_constants, set_linear
from train.mini.loop import fit, load_average
from train.mini.samples import Samples


def build(config: MiniConfig) -> PixelShuffleAutoencoderKL:
    with torch.random.fork_rng():
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
        ).to(config.device)


def autocast(device: torch.device | str) -> torch.autocast:
    """bfloat16, but in float32 on a CPU that only emulates it, a hundred times slower."""
    kind = torch.device(device).type
    emulated = kind == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(kind, torch.bfloat16, enabled=not emulated)


def encode(vae: PixelShuffleAutoencoderKL, pictures: Tensor) -> Tensor:
    """(B, 3, H, W) in -1..1 -> posterior mode (B, 16, H/8, W/8), float32."""
    with autocast(vae.device):
        return vae.encode(pictures.to(vae.device)).latent_dist.mode().float()


def decode(vae: PixelShuffleAutoencoderKL, latents: Tensor) -> Tensor:
    with autocast(vae.device):
        return vae.decode(latents.to(vae.device)).sample.float()


def build_linear(samples: Samples, config: MiniConfig) -> None:
    """Fit the linear code and give it to the VAE, or take both from the checkpoint to go on from; save both."""
    vae = build(replace(config, device="cpu"))
    if config.start_from.is_dir():
        vae.load_state_dict(load_pipeline(config.start_from, dtype=torch.float32, device="cpu").vae.state_dict())
        code = code_of(vae)
    else:
        code = fit_latent_code(samples, config)
        set_linear(vae, code)
    pictures = mixed_pictures(samples, 24, torch.Generator().manual_seed(config.seed + 1), portraits=1 / 3)
    with torch.no_grad():
        drawn = decode(vae, encode(vae, pictures)).cpu()
    for start, name in enumerate(("portraits", "palette maps", "binary masks")):
        part = slice(8 * start, 8 * start + 8)
        linear = psnr(code.inverse(code(pictures[part])), pictures[part])
        print(f"{name}: {linear:.1f} dB by the linear code, {psnr(drawn[part], pictures[part]):.1f} dB by the VAE")
    folder = config.folder / "linear"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(vae.state_dict(), folder / "vae.pt")
    torch.save(asdict(code), folder / "code.pt")


@torch.no_grad()
def code_of(vae: PixelShuffleAutoencoderKL) -> LatentCode:
    """The linear code that a VAE's encoder computes."""
    assert vae.encoder.bias is not None
    channels = vae.config.latent_channels
    matrix, bias = vae.encoder.weight[:channels].flatten(1).T.contiguous(), vae.encoder.bias[:channels]
    inverse = torch.linalg.pinv(matrix)
    return LatentCode(mean=-bias @ inverse, encode=matrix, decode=inverse)


def load_code(config: MiniConfig) -> LatentCode:
    return LatentCode(**torch.load(config.folder / "linear" / "code.pt", weights_only=True))


def load_vae(config: MiniConfig, *, decoder: bool = True) -> PixelShuffleAutoencoderKL:
    vae = build(config)
    vae.load_state_dict(torch.load(config.folder / "linear" / "vae.pt", weights_only=True))
    if decoder and (config.folder / "decoder").is_dir():
        load_average(config.folder / "decoder", {"decoder": vae.decoder})
        hold_constants(vae.decoder)
    return vae.eval().requires_grad_(False)


def train_decoder(samples: Samples, config: MiniConfig) -> None:
    vae = load_vae(config, decoder=False)
    vae.decoder.requires_grad_(True).train()
    if config.compile:
        vae.decoder.compile()
    redrawn = round(config.decoder_redrawn * config.decoder_batch)
    pipeline = load_pipeline(config.start_from, device=config.device) if redrawn else None
    if pipeline is not None:
        pipeline.set_progress_bar_config(disable=True)

    def loss_of(generator: torch.Generator, step: int) -> Tensor:
        encoded = config.decoder_batch - redrawn
        pictures = mixed_pictures(samples, encoded, generator, portraits=config.decoder_portraits).to(config.device)
        hold_constants(vae.decoder)
        with torch.no_grad():
            latents = encode(vae, pictures)
        # The transformer's latents are never quite the encoder's: the decoder learns to forgive a little noise,
        latents += config.decoder_latent_noise * torch.randn(latents.shape, generator=generator).to(config.device)
        # and, once there is a transformer, what its last steps get wrong.
        if pipeline is not None:
            rows = torch.randint(len(samples), (redrawn,), generator=generator).numpy()
            pictures = torch.cat([pictures, to_tensor(samples.images[rows]).to(config.device)])
            latents = torch.cat([latents, redraw(pipeline, samples, rows, generator, config)])
        decoded = decode(vae, latents)
        return functional.mse_loss(decoded, pictures) + 0.5 * gradient_loss(decoded, pictures)

    fit(
        config.folder / "decoder",
        {"decoder": vae.decoder},
        loss_of,
        steps=config.decoder_steps,
        learning_rate=config.decoder_learning_rate,
        seed=config.seed + 1,
        settings=config.settings_of("decoder"),
        checkpoint_seconds=config.checkpoint_seconds,
    )


def redraw(
    pipeline: FaceMoGLEPipeline, samples: Samples, rows: np.ndarray, generator: torch.Generator, config: MiniConfig
) -> Tensor:
    """Latents (B, 16, h, w) of portraits, noised as before one of the last steps of sampling, after those steps."""
    steps = int(torch.randint(1, config.decoder_redrawn_steps + 1, (), generator=generator))
    tokens = pipeline(
        [samples.captions[row][0] for row in rows],
        label_map=[samples.label_maps[row] for row in rows],
        image=[samples.images[row] for row in rows],
        strength=steps / config.num_inference_steps,
        num_inference_steps=config.num_inference_steps,
        generator=generator,
        output_type="latent",
    ).images
    side = config.size // pipeline.pixels_per_token
    return functional.pixel_shuffle(tokens.mT.unflatten(2, (side, side)), 2).float()


def gradient_loss(a: Tensor, b: Tensor) -> Tensor:
    """Squared error of horizontal and vertical differences: what makes edges crisp."""
    error = a - b
    return error.diff(dim=-1).square().mean() + error.diff(dim=-2).square().mean()
