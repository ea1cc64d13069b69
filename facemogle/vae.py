"""`AutoencoderKL` with pixel-shuffle upsampling: a decoder that can start as the exact inverse of a linear patch code.

Nearest-neighbour upsampling followed by a convolution cannot tell the pixels of a flat patch apart; a convolution to
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
    """Configuration, encoder, and use as in `AutoencoderKL`."""

    @functools.wraps(AutoencoderKL.__init__)  # type: ignore[misc]
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for block in self.decoder.up_blocks:
            if block.upsamplers is not None:
                block.upsamplers = nn.ModuleList([PixelShuffleUpsample(block.upsamplers[0].channels)])
