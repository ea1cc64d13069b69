"""The bundled parser: a small U-Net that reads label maps from portraits, on any CPU.

B batch, C channels, H, W pixels. Everything is convolutional, so that one set of weights serves several sizes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from facemogle.labels import NUM_CLASSES, mirror
from facemogle.parsing.pictures import PictureParser, resized

MIRRORED = [int(class_id) for class_id in mirror(np.arange(NUM_CLASSES, dtype=np.uint8)[:, None])[:, 0]]
SMALLER = 0.7  # the side of a picture that is read again


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
    one residual block each at the coarsest, which then sees the whole face. `doubts`: how its confidence is to be
    lowered, weights of what `doubt` tells, fitted by train.mini.calibration; none leave it as it is.
    """

    @register_to_config
    def __init__(
        self,
        size: int = 256,
        patch: int = 2,
        widths: tuple[int, ...] = (32, 64, 96, 128),
        dilations: tuple[int, ...] = (1, 2, 4),
        doubts: tuple[float, ...] = (),
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
        return self(self._pixels(picture))

    def _pixels(self, picture: np.ndarray) -> Tensor:
        return resized(picture, self.config.size).to(self.device, self.dtype) / 127.5 - 1

    def temperature_of(self, picture: np.ndarray, logits: Tensor) -> float:
        if not self.config.doubts:
            return 1.0
        return float(temperature(self.doubt(self._pixels(picture), logits), self.config.doubts))

    def doubt(self, pictures: Tensor, logits: Tensor) -> Tensor:
        """Signs that pictures (B, 3, S, S) are misread as `logits` (B, 19, S, S) -> (B, 3).

        1; how far the readings of the mirrored and of the smaller picture differ from this one, as total variation in
        0..1; and how strange the picture is, as `strangeness` tells.
        """
        with strangeness(self) as strange:
            mirrored = self(pictures.flip(3)).flip(3)[:, MIRRORED]
        side = max(1, round(pictures.shape[3] * SMALLER / self.multiple)) * self.multiple
        smaller = self(F.interpolate(pictures, (side, side), mode="bilinear", antialias=True))
        smaller = F.interpolate(smaller, pictures.shape[2:], mode="bilinear")
        here = logits.softmax(1)
        apart = [(other.softmax(1) - here).abs().sum(1).mean((1, 2)) / 2 for other in (mirrored, smaller)]
        signs = torch.stack(apart).mean(0), strange()
        return torch.stack([torch.ones_like(signs[0]), *signs], 1)


def temperature(doubt: Tensor, weights: Sequence[float] | Tensor) -> Tensor:
    """(B, 3) -> (B,): the exponential of a weighted sum, from 1/4 to 32."""
    scale = torch.as_tensor(weights, dtype=doubt.dtype, device=doubt.device)
    return (doubt @ scale).clamp(math.log(0.25), math.log(32)).exp()


@contextmanager
def strangeness(parser: nn.Module) -> Iterator[Callable[[], Tensor]]:
    """While pictures are read, how unlike those of the training they are -> (B,), when asked after it.

    Every batch normalisation remembers mean and variance of its channels: a picture's own means lie some deviations
    away. The logarithm of the mean of their squares.
    """
    seen: list[Tensor] = []

    def look(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        own = (inputs[0].mean((2, 3)) - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        seen.append(own.square().mean(1))

    hooks = [norm.register_forward_hook(look) for norm in parser.modules() if isinstance(norm, nn.BatchNorm2d)]
    try:
        yield lambda: torch.stack(seen).mean(0).log()
    finally:
        for hook in hooks:
            hook.remove()
