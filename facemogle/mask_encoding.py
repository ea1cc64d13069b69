"""Label map -> condition tokens: its masks are drawn where the VAE is, encoded together, and kept.

H, W: pixels. E = 20 experts (the global one, then the 19 classes), N tokens, C channels.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

import numpy as np
import torch
from torch import Tensor

from facemogle.labels import NUM_CLASSES, PALETTE

MAX_MASKS = 64  # whose tokens are kept: three label maps of all classes
BLACK = b"black"
AT_ONCE = 8
ENCODER_VALUES = 643  # a pixel, of FLUX's VAE at its widest
ENCODER_SHARE = 1 / 16  # of a device's memory, at most


class MaskEncoder:
    """Keeps the tokens of masks by what is in them: a stroke on a label map changes but a few of its masks."""

    def __init__(self) -> None:
        self.kept: OrderedDict[tuple[Hashable, ...], Tensor] = OrderedDict()

    def __call__(
        self,
        label_map: np.ndarray | None,
        shape: tuple[int, int],
        encode: Callable[[Tensor], Tensor],
        *,
        device: torch.device,
        others: Hashable,
    ) -> Tensor:
        """(H, W) uint8 class ids of that shape, or None for black masks -> (E, N, C).

        encode: (B, 3, H, W) in 0..1, on the device -> (B, N, C), an image's own tokens whatever the rest of the batch.
        others: what else the tokens depend on.
        """
        digests = [BLACK] * (NUM_CLASSES + 1) if label_map is None else mask_digests(label_map)
        keys = [(digest, shape, device, others) for digest in digests]
        missing = {key: expert for expert, key in enumerate(keys) if key not in self.kept}
        if missing:
            drawn = np.zeros(shape, np.uint8) if label_map is None else label_map  # whose last class's mask is black
            images = mask_images(torch.from_numpy(drawn).to(device), missing.values())
            self.kept |= zip(missing, encode(images), strict=True)
        encoded = torch.stack([self.kept[key] for key in keys])
        for key in keys:
            self.kept.move_to_end(key)
        while len(self.kept) > MAX_MASKS:
            self.kept.popitem(last=False)
        return encoded


def mask_digests(label_map: np.ndarray) -> list[bytes]:
    """(H, W) class ids -> of each of the E masks, what tells it from others; black ones, of absent classes, are one."""
    present = np.bincount(label_map.ravel(), minlength=NUM_CLASSES) > 0
    local = [_digest(np.packbits(label_map == each)) if present[each] else BLACK for each in range(NUM_CLASSES)]
    return [_digest(label_map), *local]


def _digest(values: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(values), digest_size=16).digest()


def mask_images(label_map: Tensor, experts: Iterable[int]) -> Tensor:
    """(H, W) class ids, experts 0 to 19 -> their masks (B, 3, H, W) in 0..1, as `masks.condition_images`."""

    def mask(expert: int) -> Tensor:
        if expert == 0:
            palette = torch.from_numpy(PALETTE).to(label_map.device)
            return palette[label_map.long()].permute(2, 0, 1).float() / 255
        return (label_map == expert - 1).float().expand(3, -1, -1)

    return torch.stack([mask(expert) for expert in experts])


def images_at_once(height: int, width: int, *, itemsize: int, device: torch.device) -> int:
    """How many images the VAE encodes in one call: as many as fit, always the same on one device.

    In batches of different sizes an image's tokens differ in their last bits, and a run would not repeat.
    """
    if device.type != "cuda":
        return 2
    memory = torch.cuda.get_device_properties(device).total_memory
    fits = memory * ENCODER_SHARE / (ENCODER_VALUES * itemsize * height * width)
    return max(2, min(AT_ONCE, 1 << int(fits).bit_length() >> 1))
