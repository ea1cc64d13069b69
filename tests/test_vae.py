"""The VAE with pixel shuffles, and the linear code that its weights can hold."""

import numpy as np
import pytest
import torch

from facemogle.labels import to_colours
from facemogle.vae import PixelShuffleAutoencoderKL
from train.mini.latent_code import PATCH, LatentCode, mixed_pictures, psnr, to_tensor, unpack
from train.mini.linear_vae import hold_constants, set_linear
from train.mini.vae import code_of


def build(**changes) -> PixelShuffleAutoencoderKL:
    settings = {
        "block_out_channels": (16, 48, 48, 96),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "latent_channels": 16,
        "norm_num_groups": 4,
        "mid_block_add_attention": False,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    }
    torch.manual_seed(0)
    return PixelShuffleAutoencoderKL(**settings | changes).eval()


@pytest.fixture
def code() -> LatentCode:
    generator = torch.Generator().manual_seed(1)
    encode = torch.linalg.qr(torch.randn(192, 16, generator=generator)).Q
    scale = torch.linspace(0.5, 2, 16)
    return LatentCode(torch.rand(192, generator=generator) - 0.5, encode * scale, (encode / scale).T.contiguous())


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(2)) * 2 - 1


def inverse(code: LatentCode, latents: torch.Tensor) -> torch.Tensor:
    """(B, c, h, w) -> (B, 3, 8h, 8w)."""
    patches = latents.movedim(1, -1) @ code.decode + code.mean
    return torch.nn.functional.pixel_shuffle(patches.movedim(-1, 1), PATCH)


@torch.no_grad()
def test_the_encoder_computes_the_linear_code_and_the_decoder_its_inverse(code, pictures):
    vae = build()
    set_linear(vae, code)
    latents = vae.encode(pictures).latent_dist.mode()
    assert (latents - code(pictures)).abs().max() < 2e-3
    assert (vae.decode(latents).sample - inverse(code, latents)).abs().max() < 2e-3


@torch.no_grad()
def test_the_code_can_be_read_from_the_encoder(code, pictures):
    vae = build()
    set_linear(vae, code)
    read = code_of(vae)
    assert (read(pictures) - code(pictures)).abs().max() < 1e-4
    again = read(inverse(read, code(pictures)))  # its own inverse leaves codes as they are
    assert (again - code(pictures)).abs().max() < 1e-4


@torch.no_grad()
def test_constants_that_drifted_are_held(code, pictures):
    vae = build()
    set_linear(vae, code)
    block = vae.decoder.up_blocks[3]
    constant = block.resnets[0].conv_shortcut.bias.abs() == 100
    for bias in (block.resnets[0].conv_shortcut.bias, block.resnets[1].conv2.bias):
        bias[constant] += 0.2
    latents = code(pictures)
    assert (vae.decode(latents).sample - inverse(code, latents)).abs().max() > 0.05
    hold_constants(vae.decoder)
    assert (vae.decode(latents).sample - inverse(code, latents)).abs().max() < 2e-3


@torch.no_grad()
def test_every_random_weight_can_learn(code, pictures):
    vae = build()
    set_linear(vae, code)
    with torch.enable_grad():
        vae.decode(code(pictures)).sample.square().mean().backward()
    silent = [name for name, p in vae.decoder.named_parameters() if name.endswith("conv2.weight") and not p.grad.any()]
    assert silent == []


def test_widths_that_cannot_hold_the_code_are_refused(code):
    with pytest.raises(ValueError, match="at least 12, 48, 48"):
        set_linear(build(block_out_channels=(16, 32, 48, 96)), code)


@torch.no_grad()
def test_it_survives_saving(tmp_path, pictures):
    vae = build()
    vae.save_pretrained(tmp_path)
    again = PixelShuffleAutoencoderKL.from_pretrained(tmp_path)
    assert torch.equal(again.encode(pictures).latent_dist.mode(), vae.encode(pictures).latent_dist.mode())
    latents = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(again.decode(latents).sample, vae.decode(latents).sample)
    assert again.decode(latents).sample.shape == (1, 3, 32, 32)


def test_codes_of_all_masks_at_once(code):
    label_maps = np.random.default_rng(0).integers(19, size=(2, 32, 32)).astype(np.uint8)
    tokens, shares = code.condition(torch.from_numpy(label_maps))
    assert tokens.shape == (2, 20, 4, 64) and shares.shape == (2, 4, 19)
    assert torch.allclose(tokens[:, 0], code.tokens(torch.from_numpy(to_colours(label_maps))), atol=1e-4)
    for class_id in (0, 7, 18):
        one_by_one = code(to_tensor((label_maps == class_id)[..., None].repeat(3, -1) * np.uint8(255)))
        assert torch.allclose(unpack(tokens[:, 1 + class_id]), one_by_one, atol=1e-4)


def test_psnr_and_what_the_vae_must_code():
    ones = torch.ones(1, 3, 4, 4)
    assert psnr(ones, ones - 0.2) == pytest.approx(20)
    images, label_map = torch.full((3, 2, 2, 3), 9, dtype=torch.uint8), np.array([[0, 3], [3, 1]], np.uint8)
    label_maps = torch.from_numpy(label_map).expand(3, 2, 2)
    portrait, palette, mask = mixed_pictures(images, label_maps, torch.tensor([3, 3, 3]), 1)
    assert torch.equal(portrait, images[0]) and np.array_equal(palette, to_colours(label_map))
    assert mask[..., 0].tolist() == [[0, 255], [255, 0]]
