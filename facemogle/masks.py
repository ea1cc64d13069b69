"""Label map -> global mask and local masks, the 20 condition images; validation; nearest resize.

H, W: pixels. All masks are (3, H, W) float32 in 0..1.
"""

import logging
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from facemogle.labels import NUM_CLASSES, to_colours

if TYPE_CHECKING:
    from facemogle.pipeline import FaceMoGLEPipeline

logger = logging.getLogger(__name__)


def check_label_map(label_map: Any) -> np.ndarray:
    """(H, W) integers 0..18, as an array or anything numpy reads -> uint8 array. ValueError on all else."""
    array = np.asarray(label_map)
    if array.ndim != 2:
        raise ValueError(
            f"label_map must be (H, W) class ids, got shape {array.shape}. "
            "Read a file with label_files.read_label_map() first, or convert a colour mask with labels.from_colours(); "
            "pass several label maps as a list."
        )
    if array.size == 0:
        raise ValueError(f"label_map is empty, got shape {array.shape}. Pass None to generate without a label map.")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"label_map must hold integer class ids, got {array.dtype}. Convert it with .astype(numpy.uint8)."
        )
    if array.min() < 0 or array.max() >= NUM_CLASSES:
        unknown = [int(value) for value in np.unique(array) if not 0 <= value < NUM_CLASSES]
        raise ValueError(
            f"label_map must hold class ids 0 to {NUM_CLASSES - 1}, got {unknown[:5]}. "
            "Set unlabelled pixels (often 255) to 0, the background; convert grey levels or colours to class ids first."
        )
    return array.astype(np.uint8)


def resize_nearest(label_map: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W) -> (height, width), each pixel the class at its centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip((height, width), label_map.shape, strict=True)
    )
    return label_map[rows[:, None], columns]


def picture_size(pipeline: "FaceMoGLEPipeline", label_map: np.ndarray | None) -> tuple[int, int]:
    """(height, width) in the label map's proportions, whole tokens, with the checkpoint's own longer side."""
    if label_map is None:
        return pipeline.config.height, pipeline.config.width
    token = pipeline.pixels_per_token
    scale = max(pipeline.config.height, pipeline.config.width) / max(label_map.shape) / token
    height, width = (max(1, round(side * scale)) * token for side in label_map.shape)
    return height, width


def pixels_per_token(block_out_channels: Sequence[int]) -> int:
    """Of its side. A VAE's blocks but the first halve the sides, and its latents are packed 2x2."""
    return 2 ** len(block_out_channels)


def require_whole(**values: Any) -> None:
    """ValueError names the first that is no whole number."""
    for name, value in values.items():
        if not isinstance(value, Integral):
            raise ValueError(f"{name} must be a whole number, got {value!r}.")


def whole_tokens(height: int, width: int, pixels_per_token: int) -> tuple[int, int]:
    """(height, width) rounded down to what can be drawn, which a warning tells. ValueError below one token."""
    require_whole(height=height, width=width)
    if height < pixels_per_token or width < pixels_per_token:
        raise ValueError(f"Images must be at least {pixels_per_token} pixels a side, got {height}x{width}.")
    rounded = height // pixels_per_token * pixels_per_token, width // pixels_per_token * pixels_per_token
    if rounded != (height, width):
        logger.warning(
            f"{height}x{width} is not a multiple of {pixels_per_token}: making {rounded[0]}x{rounded[1]} instead."
        )
    return rounded


def global_mask(label_map: np.ndarray) -> np.ndarray:
    """(H, W) class ids -> (3, H, W) palette colours."""
    return np.ascontiguousarray(to_colours(label_map).transpose(2, 0, 1), dtype=np.float32) / 255


def local_mask(label_map: np.ndarray, class_id: int) -> np.ndarray:
    """(H, W) class ids -> (3, H, W): 1 where the class is, else 0."""
    return np.broadcast_to(label_map == class_id, (3, *label_map.shape)).astype(np.float32)


def condition_images(label_map: np.ndarray, class_ids: Iterable[int] = range(NUM_CLASSES)) -> np.ndarray:
    """(H, W) class ids -> (1 + classes, 3, H, W): the global mask, then the local masks of the given classes."""
    return np.stack([global_mask(label_map), *(local_mask(label_map, class_id) for class_id in class_ids)])
