"""What every parser does around its network: pictures of any size in, label maps of their sizes out.

H, W: pixels of a picture; S: side of a network's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class PictureParser(ABC):
    """A parser tells its logits of one picture; all else follows."""

    @abstractmethod
    def logits_of(self, picture: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 RGB -> (1, 19, h, w) in our order of classes, at whatever size the network has them."""

    @torch.no_grad()
    def parse(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB pictures (H, W, 3) of any sizes -> label maps (H, W) uint8, each of its picture's size."""
        return [_resized_to(picture, logits).argmax(0).byte().cpu().numpy() for picture, logits in self._read(pictures)]

    @torch.no_grad()
    def probabilities(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB pictures (H, W, 3) of any sizes -> (19, H, W) float32, summing to 1 over the classes."""
        return [
            (_resized_to(picture, logits) / self.temperature_of(picture, logits)).softmax(0).cpu().numpy()
            for picture, logits in self._read(pictures)
        ]

    def temperature_of(self, picture: np.ndarray, logits: Tensor) -> float:
        """What the logits (1, 19, h, w) of a picture (H, W, 3) are divided by, before they are believed."""
        return 1.0

    def _read(self, pictures: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Each with its logits, picture by picture: on a CPU batches are no faster, and need more memory."""
        for picture in pictures:
            check_picture(picture)
        for picture in pictures:
            yield picture, self.logits_of(picture)


def _resized_to(picture: np.ndarray, field: Tensor) -> Tensor:
    """(1, C, h, w) -> (C, H, W) float32 of a picture's size."""
    return F.interpolate(field.float(), picture.shape[:2], mode="bilinear")[0]


def resized(picture: np.ndarray, size: int) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, S, S) float32 in 0..255; `antialias` averages over areas where that is smaller."""
    # A copy, since torch takes neither read-only arrays, as Pillow's are, nor flipped views.
    pixels = torch.from_numpy(np.array(picture, np.float32, order="C")).permute(2, 0, 1)[None]
    return F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)


def check_picture(picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(
            f"A picture must be (H, W, 3) uint8 RGB, got {picture.dtype} of shape {picture.shape}. "
            "Convert it with np.asarray(image.convert('RGB')); pass a single picture as a list of one."
        )
