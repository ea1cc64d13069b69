"""Drawings as files."""

import os
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facemogle.picture_formats import open_picture
from facemogle.sketch.lines import line_tone

MAX_PIXELS = 100_000_000  # a large photo of a sheet of paper


def read_drawing(file: str | os.PathLike | BinaryIO) -> np.ndarray:
    """A picture, turned upright -> (H, W, 3) RGB or (H, W, 4) RGBA uint8. ValueError where it cannot be read."""
    name = getattr(file, "name", "The file") if hasattr(file, "read") else os.fspath(file)
    try:
        with open_picture(file) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{name} is too large: {picture.width}x{picture.height} pixels. Scale it down.")
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I"):  # 16 bits
                upright = Image.fromarray((np.asarray(upright).astype(np.int64) >> 8).astype(np.uint8))
            return np.asarray(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture that can be read. Save the drawing as PNG or JPEG.") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{name} cannot be read: {error}. It may be damaged: fetch or save it again.") from error


class LineDrawing(NamedTuple):
    """`picture` as `read_drawing` gives it. In "light" lines on dark, it may be a label map as well."""

    picture: np.ndarray
    tone: Literal["dark", "light"]


def line_drawing_in(file: BinaryIO) -> LineDrawing | None:
    """None where it shows anything else, or is no picture."""
    start = file.tell()
    try:
        drawing = read_drawing(file)
    except Exception:  # whoever reads it as something else finds out what is wrong
        return None
    finally:
        file.seek(start)
    tone = line_tone(drawing)
    return LineDrawing(drawing, tone) if tone else None
