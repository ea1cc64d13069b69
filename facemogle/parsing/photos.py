"""Photos from anyone's disk: whatever Pillow reads, upright, in RGB, or a message that says what is wrong."""

import io
import os
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from facemogle.picture_formats import open_picture

MAX_PIXELS = 50_000_000
MAX_SIDE = 32_000  # OpenCV 4 warps no more
_PHONE_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # HEIF's, but for AVIF's own
_SMALLER = "Scale it down first, for instance to 4000 pixels on its longer side."


class PhotoError(ValueError):
    """A photo that cannot be used: what is wrong with it, and the remedy."""


def read_photo(file: str | os.PathLike | BinaryIO | Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 sRGB, turned as the camera says, its first frame, transparency over white, 16 bits scaled to 8.

    Colours of another space, as phones and cameras embed it, are converted; a profile that does not fit is passed over.

    PhotoError, a ValueError, where it is empty, damaged, no picture, holds fractions or is larger than MAX_PIXELS, or
    MAX_SIDE on one side, which shows before it is decoded; FileNotFoundError where there is none.
    """
    name = _name_of(file)
    try:
        with nullcontext(file) if isinstance(file, Image.Image) else open_picture(file) as picture:
            _check_size(name, picture)
            return np.asarray(_to_rgb(name, ImageOps.exif_transpose(picture)))
    except (FileNotFoundError, PhotoError):
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name} is {_what_else(_head(file))}") from error
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


def _head(file: str | os.PathLike | BinaryIO | Image.Image) -> bytes:
    if isinstance(file, Image.Image):
        return b""
    with open(file, "rb") if isinstance(file, (str, os.PathLike)) else nullcontext(file) as opened:
        opened.seek(0)
        return opened.read(12)


def _what_else(head: bytes) -> str:
    """What a file that begins so is, and the remedy."""
    if not head:
        return "an empty file of 0 bytes. Choose a picture, saved as JPEG or PNG."
    if head[4:8] == b"ftyp" and head[8:12] in _PHONE_BRANDS:
        return (
            "a HEIC picture, as phones take them, which cannot be read here. pip install pillow-heif, or save or share "
            "it as JPEG first; an iPhone takes JPEG from the start with Settings, Camera, Formats, Most Compatible."
        )
    return "no picture that can be read. Choose a picture, saved as JPEG or PNG."


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
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I"):
        picture = _to_eight_bits(name, picture)
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        paper.alpha_composite(picture.convert("RGBA"))
        picture = paper.convert("RGB")
    return _to_srgb(picture, profile) if profile else picture.convert("RGB")


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """From the colours of an ICC profile, which is of RGB, of grey or for print."""
    picture = picture if picture.mode in ("L", "CMYK") else picture.convert("RGB")
    try:
        space, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, space, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # damaged, or of another kind of picture
        return picture.convert("RGB")
    assert converted is not None  # as it is only where the picture itself is changed
    return converted


def _to_eight_bits(name: str, picture: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits. Pillow has one mode for all that fits into 32, so the largest value tells which it is."""
    values = np.asarray(picture)
    if values.min() < 0:
        raise PhotoError(f"{name} holds values below 0, which are no grey levels. Save it with 8 or 16 bits.")
    white = 65535 if picture.mode != "I" else next(top for top in (255, 65535, 2**31 - 1) if values.max() <= top)
    return Image.fromarray((values * np.float32(255 / white) + np.float32(0.5)).astype(np.uint8))
