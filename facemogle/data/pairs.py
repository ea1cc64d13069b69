"""Faces with their label maps and captions, matched by name, and reading them.

Which folders and files are what, layout.py tells. H, W: pixels.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facemogle.class_orders import ORDERS, ClassOrder, ClassTable, class_order
from facemogle.data.captions import is_garbled
from facemogle.data.layout import Files, find_files
from facemogle.data.names import in_order, name_of
from facemogle.label_files import Reading, read_label_map, read_parts
from facemogle.masks import resize_nearest
from facemogle.parsing.photos import PhotoError, read_photo
from facemogle.text_files import read_text

# Raised whenever `read_pair` makes other pixels of the same files, so that caches of the old ones are refused.
PREPROCESSING = 3

CLASSES_HELP = f"the order of the masks' classes where it is not ours: {', '.join(ORDERS)}, or a table in a file"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """One sample on disk."""

    name: str  # of the face's file, without its ending; with its folders where two have the same
    image: Path
    masks: tuple[Path, ...]  # one label map file, or parts of a face in class order
    captions: tuple[str, ...]  # all there are; () where there is none
    parts: tuple[int, ...] = ()  # the class of each of the masks, where they are parts
    order: ClassOrder | None = None  # of the classes in a label map file, where it is not ours


def find_pairs(
    root: Path, *, ids: Sequence[str] | None = None, classes: ClassTable | ClassOrder | None = None
) -> list[Pair]:
    """Faces that have a mask, matched by name; numbers in numeric order, then names.

    ids: these alone, each once, in this order ("7" and "00007" are the same); ValueError where one lacks face or mask.
    classes: what the values of the label maps mean, where that is not ours; see class_orders.
    Without ids, faces without mask are left out. This is warned of, as are garbled captions, and none at all.
    ValueError where no pair is left, or a file of captions cannot be read.
    """
    files = find_files(Path(root))
    captions = files.captions
    if captions.unreadable:
        raise ValueError(captions.unreadable[0][1])
    order = None if classes is None else class_order(classes)
    complete = files.images.keys() & files.masks.keys()
    faces = sorted(complete, key=in_order) if ids is None else _chosen(root, files, ids)
    if not faces:
        why = next((f" ({path} is a {problem}, {more})" for path, (problem, more) in files.refused.items() if more), "")
        raise ValueError(
            f"No face in {root} has a mask of its own name: there are {len(files.images)} faces and "
            f"{len(files.masks) + len(files.refused)} masks{why}. Name the mask of 7.jpg 7.png."
        )
    if ids is None and (alone := len(files.images) - len(faces)):
        logger.warning(
            f"{alone} faces in {root} have no mask and are left out. `python -m train.data check` lists them."
        )
    if not captions.texts:
        logger.warning(f"The faces in {root} have no captions: {captions.source}.")
    pairs = [pair_of(files, face, order) for face in faces]
    if garbled := sum(any(map(is_garbled, pair.captions)) for pair in pairs):
        logger.warning(f"{garbled} faces in {root} have garbled captions. `python -m train.data check` lists them.")
    return pairs


def pair_of(files: Files, face: str, order: ClassOrder | None) -> Pair:
    masks = files.masks[face]
    return Pair(face, files.images[face], masks.files, files.captions.texts.get(face, ()), masks.parts, order)


def read_ids(path: Path) -> list[str]:
    """A text file of names, one a line, in any encoding, with or without the faces' endings and folders.

    ValueError where there is none in it, OSError.
    """
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path} names no face. Write the names of the faces into it, one a line.")
    return names


def _chosen(root: Path, files: Files, ids: Sequence[str]) -> list[str]:
    found = {name: files.names.find(name_of(name)) for name in ids}
    missing = [name for name, match in found.items() if match is None or match.face not in files.masks]
    if missing:
        raise ValueError(f"{root} has no face or no mask for {len(missing)} of the ids, such as {missing[:5]}.")
    return list(dict.fromkeys(match.face for name in ids if (match := found[name]) is not None))


def read_pair(pair: Pair, *, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """-> image (height, width, 3) uint8 RGB, label map (height, width) uint8 class ids.

    Another shape than the files' is cut out of their middle. ValueError names a file that cannot be used.
    """
    image, label_map = read_image(pair.image), read_masks(pair).label_map
    check_shapes(pair, image, label_map)
    box = _middle(*image.size, width / height)
    scale = np.array(label_map.shape[::-1] * 2) / (image.size * 2)
    left, top, right, bottom = np.round(box * scale).astype(int)
    resized = image.resize((width, height), Image.Resampling.BICUBIC, box=tuple(box))
    return np.array(resized), resize_nearest(label_map[top:bottom, left:right], height, width)


def read_image(path: Path) -> Image.Image:
    """RGB, upright, as read_photo makes it of whatever people have. ValueError names the file."""
    with _naming(path):
        return Image.fromarray(read_photo(path))


def read_masks(pair: Pair) -> Reading:
    """The label map at the files' own size, and how it was read. ValueError names the file."""
    with _naming(pair.masks[0]):
        if not pair.parts:
            return read_label_map(pair.masks[0], classes=pair.order)
        return read_parts(list(zip(pair.masks, pair.parts, strict=True)))


def check_shapes(pair: Pair, image: Image.Image, label_map: np.ndarray) -> None:
    """ValueError unless, to a pixel, the label map is the image scaled."""
    mask_height, mask_width = label_map.shape
    if abs(image.width * mask_height / image.height - mask_width) > 1:
        raise ValueError(
            f"{pair.masks[0]} is {_size(label_map)} and its face {image.width}x{image.height}: they differ in shape. "
            "Cut both out of the same place."
        )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a file becomes a ValueError that names it."""
    try:
        yield
    except PhotoError as error:  # says what, but not where
        raise ValueError(f"{path.parent}/{error}") from error
    except Exception as error:  # PIL fails on broken files in ways beyond listing
        message = str(error) or type(error).__name__
        raise ValueError(message if str(path) in message else f"{path} cannot be read: {message}") from error


def _middle(width: float, height: float, aspect: float) -> np.ndarray:
    """Left, top, right, bottom of the largest box of that width per height, in the middle."""
    size = np.array([min(width, height * aspect), min(height, width / aspect)])
    corner = ((width, height) - size) / 2
    return np.concatenate([corner, corner + size])


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
