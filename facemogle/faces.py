"""From any picture of a face to its label map, in one call."""

import os
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import Image

from facemogle.checkpoints import default_parser, load_parser, parser_of
from facemogle.parsing.alignment import Frame, find_faces, frame_face, frame_square, frame_whole
from facemogle.parsing.parse import FaceParse, FaceParser, parse_frame
from facemogle.parsing.photos import read_photo
from facemogle.picture_files import Settings, read_settings

Picture = str | os.PathLike | BinaryIO | Image.Image | np.ndarray


class NoFaceError(ValueError):
    """No face was found in a photo, which may still be parsed as it is, or within a square given by hand."""


def parse_face(
    image: Picture,
    *,
    parser: str | os.PathLike | FaceParser | None = None,
    face: int | None = None,
    square: tuple[float, float, float] | None = None,
    whole: bool = False,
    clean: bool = True,
    device: str | None = None,
) -> FaceParse:
    """Read the label map of a face: find it in the picture, cut it out as the generator expects it, parse that.

    image: a path, an open file that can be rewound, a PIL picture, or (H, W, 3) uint8 RGB, upright.
    parser: a name or folder for checkpoints.load_parser, kept once it is loaded; or an object with `probabilities`. By
        default the best for photos that is on this disk, or for what Face-MoGLE drew, the checkpoint's own.
    At most one of these says what to parse:
        face: the number of the face, the largest being 0, which is the default;
        square: left, top and side in pixels of the photo, for a face that is not found;
        whole: the picture as it is. So is taken by default what Face-MoGLE drew: a file that carries its settings.
    clean: join small islands to what surrounds them.
    device: of a parser that is loaded by its name; the CPU, unless given.

    Raises NoFaceError, a ValueError; ValueError where a picture cannot be used or an argument does not fit;
    FileNotFoundError; CheckpointError where the parser cannot be loaded.
    """
    if (face is not None) + (square is not None) + whole > 1:
        raise ValueError("face, square and whole each say what to parse. Pass one, or none for the largest face.")
    if device is not None and not isinstance(parser, (str, os.PathLike, type(None))):
        raise ValueError("device is for a parser that is loaded by its name. Move this one there before.")
    settings = _settings_of(image)
    photo = read_picture(image)
    whole = whole or (settings is not None and face is None and square is None)
    frame = _frame(photo, face=face or 0, square=square, whole=whole)
    if parser is None:
        parser = (settings and parser_of(settings.checkpoint)) or default_parser()
    if isinstance(parser, (str, os.PathLike)):
        parser = _load(os.fspath(parser), device)
    return parse_frame(parser, photo, frame, clean=clean)


def _settings_of(image: Picture) -> Settings | None:
    """Of a file that carries some. Where they are damaged, it is like any other photo."""
    if isinstance(image, (Image.Image, np.ndarray)):
        return None
    try:
        return read_settings(image)
    except ValueError:
        return None


def read_picture(image: Picture) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright, of whatever parse_face takes."""
    if not isinstance(image, np.ndarray):
        return read_photo(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"An array must be (H, W, 3) uint8 RGB, got {image.dtype} of shape {image.shape}. "
            "Or pass the path or the PIL picture itself."
        )
    return read_photo(Image.fromarray(image))  # the same limits hold


def _frame(photo: np.ndarray, *, face: int, square: tuple[float, float, float] | None, whole: bool) -> Frame:
    if whole:
        return frame_whole(photo)
    if square is not None:
        return frame_square(photo, *square)
    faces = find_faces(photo)
    if not faces:
        raise NoFaceError(
            "No face was found in the picture, nor on its side. If it is much tilted, turn it upright first. "
            "Else parse it as it is with whole=True (--whole), or say where the face is with square=(left, top, side) "
            "in pixels (--square LEFT,TOP,SIDE), from over the hair to the neck."
        )
    if not 0 <= face < len(faces):
        one = len(faces) == 1
        raise ValueError(
            f"face {face} was asked for, but {'1 face was' if one else f'{len(faces)} faces were'} found. "
            f"They count from 0, the largest{'' if one else f', to {len(faces) - 1}'}."
        )
    return frame_face(photo, faces[face])


@cache
def _load(name: str, device: str | None) -> FaceParser:
    return load_parser(name, device=device)
