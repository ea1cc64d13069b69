"""Pictures of latents for a glance, without a decoder: the pixels of a latent's patch are a linear function of it.

How much of a picture that is depends on the VAE: of mini's, 98% of the variance.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CHART_SIZE = 256  # pixels a side: a thousand patches, for some dozen channels


def colour_chart(size: int = CHART_SIZE) -> Tensor:
    """(1, 3, size, size) in 0..1: colours of all kinds, in blots from half the picture to a pixel."""
    generator, chart = torch.Generator().manual_seed(0), torch.zeros(1, 3, size, size)
    blots = 2
    while blots <= size:
        values = torch.rand(1, 3, blots, blots, generator=generator) - 0.5
        chart += F.interpolate(values, size=(size, size), mode="bicubic") / (1 + blots / 16)
        blots *= 2
    return (0.5 + 0.6 * chart).clamp(0, 1)


class LatentColours:
    """(B, c, h, w) latents -> (B, 3, f * h, f * w) in 0..1, as fitted to what `encode` makes of a chart of colours."""

    def __init__(self, encode: Callable[[Tensor], Tensor]):
        """`encode`: (1, 3, H, W) in 0..1 -> (1, c, H / f, W / f)."""
        chart = colour_chart()
        latents = encode(chart).float().cpu()
        self.factor = chart.shape[-1] // latents.shape[-1]
        patches = F.pixel_unshuffle(chart, self.factor)
        # Least squares, of each value of a patch on the channels and a constant.
        rows = F.pad(latents[0].flatten(1).T, (0, 1), value=1.0)
        solution = torch.linalg.lstsq(rows.double(), patches[0].flatten(1).T.double()).solution
        self.weight = solution.float().T[:, :, None, None]

    def __call__(self, latents: Tensor) -> Tensor:
        weight = self.weight.to(latents.device)
        patches = F.conv2d(latents.float(), weight[:, :-1], weight[:, -1, 0, 0])
        return F.pixel_shuffle(patches, self.factor).clamp(0, 1)
