"""`AutoencoderKL` around a linear code of patches: cheap to encode twenty masks by, and what the decoder starts from.

The encoder is one convolution. The decoder upsamples by pixel shuffles, so that it can start as the code's inverse:
nearest-neighbour upsampling followed by a convolution cannot tell the pixels of a flat patch apart; a convolution to
four times the channels, laid out 2x2, can. Everything else is diffusers' own.
"""

import functools

import torch.nn.functional as F
from diffusers import AutoencoderKL

# diffusers recognises a pipeline component by finding ModelMixin in the component's own module.
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401
from torch import Tensor, nn


class PixelShuffleUpsample(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)

    def forward(self, hidden_states: Tensor, output_size: int | None = None) -> Tensor:
        """(B, C, h, w) -> (B, C, 2h, 2w); `output_size` is diffusers' and is not used."""
        return F.pixel_shuffle(self.conv(hidden_states), 2)


class PixelShuffleAutoencoderKL(AutoencoderKL):
    """Configuration and use as in `AutoencoderKL`; a patch's side is the factor by which the decoder upsamples."""

    @functools.wraps(AutoencoderKL.__init__)  # type: ignore[misc]
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        patch = 2 ** (len(self.config.block_out_channels) - 1)
        moments = 2 * self.config.latent_channels  # mean and log variance
        self.encoder = nn.Conv2d(self.config.in_channels, moments, patch, stride=patch)
        for block in self.decoder.up_blocks:
            if block.upsamplers is not None:
                block.upsamplers = nn.ModuleList([PixelShuffleUpsample(block.upsamplers[0].channels)])
