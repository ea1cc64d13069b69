"""Latents as colours without a decoder, against what the decoder makes of them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facemogle import load_pipeline
from facemogle.latent_colours import LatentColours, colour_chart


def test_a_linear_code_is_read_to_the_last_digits():
    """Of patches of 2x2 pixels, by an invertible matrix and a constant."""
    generator = torch.Generator().manual_seed(1)
    matrix, constant = torch.linalg.qr(torch.randn(12, 12, generator=generator)).Q, torch.randn(12, generator=generator)

    def encode(pictures):
        return F.conv2d(F.pixel_unshuffle(pictures, 2), matrix[:, :, None, None], constant)

    pictures = torch.rand(2, 3, 8, 12, generator=generator)
    torch.testing.assert_close(LatentColours(encode)(encode(pictures)), pictures, atol=1e-4, rtol=0)


def test_the_chart_has_all_colours():
    values = colour_chart()
    corners = (values > 0.5).flatten(2)[0].int()
    assert values.min() == 0 and values.max() == 1
    assert len(torch.unique(corners[0] + 2 * corners[1] + 4 * corners[2])) == 8
    assert np.bincount((corners[0] + 2 * corners[1] + 4 * corners[2]).numpy()).min() > 2000


@pytest.mark.parametrize("size", [(256, 256), (256, 192)])
def test_mini_previews_nearly_as_its_decoder(size):
    pipeline = load_pipeline("mini", device="cpu")
    label_map = np.zeros((64, 64), np.uint8)
    label_map[20:56, 18:46], label_map[12:20, 16:48], label_map[46:50, 26:38] = 1, 13, 11
    options = {"height": size[0], "width": size[1], "num_inference_steps": 4, "output_type": "latent"}
    generator = torch.Generator().manual_seed(0)
    latents = pipeline("a woman with red hair", label_map=label_map, generator=generator, **options).images
    calls = []
    with pipeline.vae.decoder.register_forward_hook(lambda *_: calls.append(1)):
        (preview,) = pipeline.preview_latents(latents, *size)
        assert not calls
        (picture,) = pipeline.decode_latents(latents, *size)
    preview, picture = (np.asarray(each, float) / 255 for each in (preview, picture))
    unexplained = ((preview - picture) ** 2).sum() / ((picture - picture.mean((0, 1))) ** 2).sum()
    assert preview.shape == picture.shape and unexplained < 0.05
