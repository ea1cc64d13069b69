"""The bundled parser: a small U-Net that reads label maps from portraits, on any CPU.

B batch, C channels, H, W pixels. Everything is convolutional, so that one set of weights serves several sizes.
"""

from itertools import pairwise

import numpy as np
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from facemogle.labels import NUM_CLASSES
from facemogle.parsing.pictures import PictureParser, resized


def convolution(inputs: int, outputs: int, *, size: int = 3, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=padding, dilation=dilation, bias=False), nn.BatchNorm2d(outputs)
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity; (B, C, H, W) -> the same."""

    def __init__(self, channels: int, *, dilation: int = 1):
        super().__init__()
        self.first = convolution(channels, channels, dilation=dilation)
        self.second = convolution(channels, channels, dilation=dilation)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.second(F.relu(self.first(features))))


class MiniParser(ModelMixin, ConfigMixin, PictureParser):
    """A U-Net; pictures (B, 3, H, W) in -1..1 -> class logits (B, 19, H, W); H and W are multiples of `multiple`.

    A pixel unshuffle moves `patch` x `patch` pixels into the channels and the head moves them back, so that no
    convolution runs at full resolution and yet every pixel has logits of its own. `size`: that of the training
    pictures, to which `parse` resizes. `widths`: channels at every resolution, each half the one before. `dilations`:
    one residual block each at the coarsest, which then sees the whole face.
    """

    @register_to_config
    def __init__(
        self,
        size: int = 256,
        patch: int = 2,
        widths: tuple[int, ...] = (32, 64, 96, 128),
        dilations: tuple[int, ...] = (1, 2, 4),
    ):
        super().__init__()
        self.multiple = patch * 2 ** (len(widths) - 1)
        self.stem = convolution(3 * patch**2, widths[0])
        self.down = nn.ModuleList(convolution(4 * fine, coarse, size=1) for fine, coarse in pairwise(widths))
        self.encode = nn.ModuleList(Residual(width) for width in widths[:-1])
        self.middle = nn.Sequential(*(Residual(widths[-1], dilation=dilation) for dilation in dilations))
        self.up = nn.ModuleList(convolution(coarse, fine, size=1) for fine, coarse in pairwise(widths))
        self.decode = nn.ModuleList(Residual(width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], NUM_CLASSES * patch**2, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        features = F.relu(self.stem(F.pixel_unshuffle(pictures, self.config.patch)))
        skips = []
        for encode, down in zip(self.encode, self.down, strict=True):
            skips.append(encode(features))
            features = F.relu(down(F.pixel_unshuffle(skips[-1], 2)))
        features = self.middle(features)
        for up, decode, skip in zip(reversed(self.up), reversed(self.decode), reversed(skips), strict=True):
            features = decode(F.relu(skip + F.interpolate(up(features), scale_factor=2.0)))
        return F.pixel_shuffle(self.head(features), self.config.patch)

    def logits_of(self, picture: np.ndarray) -> Tensor:
        return self(resized(picture, self.config.size).to(self.device, self.dtype) / 127.5 - 1)
