"""Label maps as picture files: reads what datasets and paint programs write, writes one exact form."""

import os
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from facemogle.labels import LEFT_RIGHT_PAIRS, NAMES, NUM_CLASSES, PALETTE, from_colours

MAX_PIXELS = 4096 * 4096
_REMEDY = (
    f"Class ids are 0 ({NAMES[0]}) to {NUM_CLASSES - 1} ({NAMES[-1]}). "
    "Save the map as a palette or greyscale PNG of class ids, or as RGB in the palette's colours."
)


def read_label_map(file: str | os.PathLike | BinaryIO) -> tuple[np.ndarray, int]:
    """Read a label map -> (H, W) uint8 class ids, and how many pixels were off the palette and snapped to it.

    Understood: palette pictures (the indices are class ids), greyscale of 8 or 16 bits (the values are class ids),
    and colours (see labels.from_colours). Transparent pixels are background.
    ValueError where the file is no picture, is truncated, has over 4096x4096 pixels or holds values over 18;
    FileNotFoundError where there is none.
    """
    name = getattr(file, "name", "The file") if hasattr(file, "read") else os.fspath(file)
    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"{picture.width}x{picture.height} pixels are more than 4096x4096. "
                    "Scale it down with nearest-neighbour sampling; 1024x1024 is plenty."
                )
            return _class_ids(picture)
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture that can be read. {_REMEDY}") from error
    except FileNotFoundError:
        raise
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # PIL: SyntaxError, broken PNG
        raise ValueError(f"{name} cannot be read as a label map: {error}") from error


def write_label_map(path: str | os.PathLike | BinaryIO, label_map: np.ndarray, *, colours: bool = False) -> None:
    """Write (H, W) class ids as a PNG with the official palette; the indices are the class ids.

    With `colours`, an RGB PNG of the palette's colours, for programs that lose a palette or reorder it.
    """
    if label_map.ndim != 2 or label_map.size == 0 or not np.issubdtype(label_map.dtype, np.integer):
        raise ValueError(f"label_map must be (H, W) integers, got {label_map.dtype} of shape {label_map.shape}.")
    picture = Image.fromarray(_in_range(label_map)).convert("L")
    picture.putpalette(PALETTE.tobytes())
    (picture.convert("RGB") if colours else picture).save(path, format="PNG")


def _class_ids(picture: Image.Image) -> tuple[np.ndarray, int]:
    if picture.mode == "P":
        return _from_indices(picture)
    if picture.mode.startswith("I"):
        return _in_range(_sixteen_to_eight(np.asarray(picture))), 0
    if picture.mode in ("1", "L"):
        return _in_range(np.asarray(picture.convert("L"))), 0
    rgba = np.asarray(picture.convert("RGBA"))
    colours = rgba[..., :3] * (rgba[..., 3:] > 127)
    if (colours == colours[..., :1]).all():  # class ids in greyscale, stored on three channels
        return _in_range(colours[..., 0]), 0
    return from_colours(colours)


def _from_indices(picture: Image.Image) -> tuple[np.ndarray, int]:
    """Indices are class ids, unless the file's own palette holds the class colours in another order.

    A paint program that reduces a picture to its colours writes such a file. Palettes that only swap left and right
    are published with correct indices, so those do not count as another order.
    """
    indices = np.asarray(picture)
    used = np.unique(indices)
    palette = np.zeros((256, 3), np.uint8)
    stored = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette[: len(stored)] = stored
    by_colour, off_palette = from_colours(palette[used][None])
    side = np.arange(256)
    for left, right in LEFT_RIGHT_PAIRS:
        side[right] = left
    if not off_palette and (side[by_colour[0]] != side[used]).any():
        return from_colours(palette[indices])
    return _in_range(indices), 0


def _sixteen_to_eight(values: np.ndarray) -> np.ndarray:
    """Class ids stored in 16 bits as they are, or scaled by 257 as programs do on conversion from 8 bits."""
    return values // 257 if values.max() >= 257 and not (values % 257).any() else values


def _in_range(class_ids: np.ndarray) -> np.ndarray:
    if class_ids.min() < 0 or class_ids.max() >= NUM_CLASSES:
        wrong = np.unique(class_ids[(class_ids < 0) | (class_ids >= NUM_CLASSES)])
        raise ValueError(f"no class has the values {wrong[:5].tolist()}. {_REMEDY}")
    return class_ids.astype(np.uint8)
