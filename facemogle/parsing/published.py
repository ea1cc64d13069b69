"""What the parsers that others published have in common: how pictures go in, and class probabilities come out.

B batch, H, W pixels of a picture, S side of the network's own pictures.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from facemogle.labels import order_of
from facemogle.parsing.pictures import PictureParser, resized

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PublishedParser(PictureParser):
    """A network with its own order of classes, picture size and normalisation, read in our order of classes.

    network: (B, 3, S, S) -> class logits (B, 19, h, w), of any h and w. names: its classes, for labels.order_of.
    mean, std: of RGB in 0..1, to normalise with. Pictures are square crops in FFHQ's framing, or are taken for one.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        names: Sequence[str],
        *,
        size: int,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
        device: torch.device | str = "cpu",
    ):
        self.network, self.size, self.device = network, size, device
        self.order = torch.from_numpy(order_of(names)).to(device)
        self.mean, self.std = (torch.tensor(values, device=device)[:, None, None] for values in (mean, std))

    def logits_of(self, picture: np.ndarray) -> Tensor:
        pixels = resized(picture, self.size)[0].to(self.device) / 255
        logits = self.network(((pixels - self.mean) / self.std)[None])
        if logits.shape[1] != len(self.order):
            raise ValueError(f"A face parser must tell {len(self.order)} classes, this one tells {logits.shape[1]}.")
        return logits[:, self.order]
