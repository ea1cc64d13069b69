"""Photos from anyone's disk: whatever Pillow reads, upright, in RGB, or a message that says what is wrong."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
MAX_SIDE = 32_000  # OpenCV 4 warps no more
# Not all that Pillow opens: some formats start other programs, as EPS does Ghostscript. AVIF came with Pillow 11.3.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_SMALLER = "Scale it down first, for instance to 4000 pixels on its longer side."


class PhotoError(ValueError):
    """A photo that cannot be used: what is wrong with it, and the remedy."""


def read_photo(file: str | os.PathLike | BinaryIO | Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as the camera says, its first frame, transparency over white, 16 bits scaled to 8.

    PhotoError, a ValueError, where it is empty, damaged, no picture, holds fractions or is larger than MAX_PIXELS, or
    MAX_SIDE on one side, which shows before it is decoded; FileNotFoundError where there is none.
    """
    name = _name_of(file)
    try:
        with nullcontext(file) if isinstance(file, Image.Image) else Image.open(file, formats=_formats()) as picture:
            _check_size(name, picture)
            return np.asarray(_to_rgb(name, ImageOps.exif_transpose(picture)))
    except (FileNotFoundError, PhotoError):
        raise
    except UnidentifiedImageError as error:
        what = "an empty file of 0 bytes" if _is_empty(file) else "no picture that can be read"
        raise PhotoError(f"{name} is {what}. Choose a picture, saved as JPEG or PNG.") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"{name} has more than {MAX_PIXELS // 10**6} million pixels. {_SMALLER}") from error
    except Exception as error:  # Pillow's readers fail on damaged files in ways beyond listing
        raise PhotoError(
            f"{name} cannot be read: {error}. It may be damaged or cut short: fetch it again, or save it as JPEG or "
            "PNG in another program."
        ) from error


def _name_of(file: str | os.PathLike | BinaryIO | Image.Image) -> str:
    """Without its folder, which on a server says nothing to whom the message is for."""
    path = getattr(file, "filename" if isinstance(file, Image.Image) else "name", None)
    path = os.fspath(file) if isinstance(file, (str, os.PathLike)) else path
    return Path(path).name if path and isinstance(path, str) else "The photo"


def _formats() -> list[str]:
    Image.init()
    return [format for format in _FORMATS if format in Image.OPEN]


def _is_empty(file: str | os.PathLike | BinaryIO | Image.Image) -> bool:
    if isinstance(file, (str, os.PathLike)):
        return os.path.getsize(file) == 0
    return not isinstance(file, Image.Image) and file.seek(0, os.SEEK_END) == 0


def _check_size(name: str, picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise PhotoError(
            f"{name} has {width}x{height} pixels; at most {MAX_PIXELS // 10**6} million, and {MAX_SIDE} on a side, can "
            f"be read. {_SMALLER}"
        )
    if not width * height:
        raise PhotoError(f"{name} has no pixels. Choose another picture.")


def _to_rgb(name: str, picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise PhotoError(f"{name} holds fractions, whose black and white are unknown. Save it with 8 or 16 bits.")
    if picture.mode.startswith("I"):
        picture = _to_eight_bits(name, picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture.convert("RGBA"))
    return paper.convert("RGB")


def _to_eight_bits(name: str, picture: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits. Pillow has one mode for all that fits into 32, so the largest value tells which it is."""
    values = np.asarray(picture)
    if values.min() < 0:
        raise PhotoError(f"{name} holds values below 0, which are no grey levels. Save it with 8 or 16 bits.")
    white = 65535 if picture.mode != "I" else next(top for top in (255, 65535, 2**31 - 1) if values.max() <= top)
    return Image.fromarray((values * np.float32(255 / white) + np.float32(0.5)).astype(np.uint8))
