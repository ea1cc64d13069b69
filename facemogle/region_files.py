"""Pictures that say where another may change: white on black, or what programs write in place of that."""

import os

import numpy as np
from PIL import Image, ImageOps

from facemogle.picture_formats import open_picture

MAX_PIXELS = 50_000_000  # a photo's
_MIDDLE = (32, 224)  # of 0..255; between them lies what is neither dark nor light
_SOFT = 0.05  # of the pixels in the middle at most, where transparency and colours both may mean something
_REMEDY = "Save the region in white on black, without transparency."


def read_region(file: str | os.PathLike) -> np.ndarray:
    """(H, W) bool, True where the picture is light: over half, or the lighter one of two values. Turned as EXIF says.

    Where its colours are all one, its transparency decides: True where it is opaque. ValueError where it is no picture,
    says nothing, or says two things at once; FileNotFoundError where there is none.
    """
    try:
        with open_picture(file) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width}x{picture.height} pixels are more than 50 million. Scale it down.")
            if (count := getattr(picture, "n_frames", 1)) > 1 and picture.format != "MPO":
                raise ValueError(f"it holds {count} pictures. Save the one that is meant by itself.")
            upright = ImageOps.exif_transpose(picture)
            grey, opaque = _grey(upright), _opaque(upright)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's readers fail on damaged files in ways beyond listing
        raise ValueError(f"{file} cannot be read as a picture: {error or type(error).__name__}") from error
    if opaque is not None and grey.min() == grey.max():
        return opaque
    seen = grey if opaque is None else grey[opaque]
    if opaque is not None and ((seen > _MIDDLE[0]) & (seen < _MIDDLE[1])).mean() > _SOFT:
        what = "a picture cut out, and no region: is what is transparent to change, or not?"
        raise ValueError(f"{file} is {what} {_REMEDY}")
    region = grey > _half(grey)
    if opaque is not None:
        region &= opaque
    if not region.any():
        raise ValueError(
            f"{file} is never lighter than half, so that nothing could change: its lightest value is "
            f"{grey.max():.0f} of 255. {_REMEDY}"
        )
    return region


def _half(grey: np.ndarray) -> float:
    """Between dark and light; of two values, such as 0 and 1, between these."""
    low, high = grey.min(), grey.max()
    two_values = low < high and ((grey == low) | (grey == high)).all()
    return (float(low) + float(high)) / 2 if two_values else 127.0


def _grey(picture: Image.Image) -> np.ndarray:
    """(H, W) in 0..255; 16 bits scaled, unless all values are small."""
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture).astype(np.float32)
        return values / 257 if values.max() > 255 else values
    return np.asarray(picture.convert("RGB").convert("L"))


def _opaque(picture: Image.Image) -> np.ndarray | None:
    """(H, W) bool, or None where all is as transparent as the rest."""
    if not picture.has_transparency_data:
        return None
    alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    return None if alpha.min() == alpha.max() else alpha > 127
