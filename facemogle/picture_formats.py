"""The one list of the formats that pictures are read in, whatever they hold; and how they are written, whole."""

import os
from contextlib import suppress
from typing import BinaryIO

from PIL import Image

from facemogle.whole_files import whole_file

# Not all that Pillow opens: some formats start other programs, as EPS does Ghostscript. AVIF came with Pillow 11.3.
_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")


def open_picture(file: str | os.PathLike | BinaryIO) -> Image.Image:
    """Pillow's own `open`, of the formats in the list alone; its pixels are not decoded yet.

    FileNotFoundError where there is no such file, or a folder in its place.
    """
    if isinstance(file, (str, os.PathLike)) and os.path.isdir(file):
        raise FileNotFoundError(f"{os.fspath(file)} is a folder. Name a picture in it.")
    return Image.open(file, formats=_readable())


def _readable() -> list[str]:
    """The formats of the list that this Pillow has; HEIC, too, where pillow-heif is installed."""
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return [format for format in _FORMATS if format in Image.OPEN]


def save_picture(picture: Image.Image, path: str | os.PathLike) -> None:
    """In the format that the name ends in."""
    with whole_file(path) as part:
        picture.save(part)
