"""What the parsers that others published have in common: how pictures go in, and class probabilities come out.

B batch, H, W pixels of a picture, S side of the network's own pictures.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facemogle.labels import order_of
from facemogle.parsing.mini import check_picture

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PublishedParser:
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

    def parse(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB pictures (H, W, 3) of any sizes -> label maps (H, W) uint8, each of its picture's size."""
        return [logits.argmax(0).byte().cpu().numpy() for logits in self._logits(pictures)]

    def probabilities(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB pictures (H, W, 3) of any sizes -> (19, H, W) float32, summing to 1 over the classes."""
        return [logits.softmax(0).cpu().numpy() for logits in self._logits(pictures)]

    @torch.no_grad()
    def _logits(self, pictures: Sequence[np.ndarray]) -> Iterator[Tensor]:
        """(19, H, W) float32 in our order, picture by picture."""
        for picture in pictures:
            check_picture(picture)
        for picture in pictures:
            # A copy, since torch takes neither read-only arrays, as Pillow's are, nor flipped views.
            pixels = torch.from_numpy(picture.copy()).to(self.device).permute(2, 0, 1)[None].float() / 255
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=True)
            logits = self.network((pixels - self.mean) / self.std)
            if logits.shape[1] != len(self.order):
                raise ValueError(
                    f"A face parser must tell {len(self.order)} classes, this one tells {logits.shape[1]}."
                )
            yield F.interpolate(logits[:, self.order].float(), picture.shape[:2], mode="bilinear")[0]
