"""Folders of faces, label maps and captions: which files belong together, and reading them.

Told from the folders of ROOT: MM-CelebA-HQ (face/, mask/, and text.json or text/), CelebAMask-HQ as published
(CelebA-HQ-img/, CelebAMask-HQ-mask-anno/), or faces, masks and captions under the other names below. H, W: pixels.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from facemogle.class_orders import ORDERS, ClassOrder, ClassTable, class_order
from facemogle.label_files import PARTS, Reading, part_class, read_label_map, read_parts
from facemogle.masks import resize_nearest
from facemogle.picture_formats import open_picture

# Raised whenever `read_pair` makes other pixels of the same files, so that caches of the old ones are refused.
PREPROCESSING = 2

IMAGE_FOLDERS = ("face", "image", "images", "CelebA-HQ-img")
MASK_FOLDERS = ("mask", "masks", "CelebAMask-HQ-mask-anno")
CAPTION_FOLDERS = ("text", "celeba-caption")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
CLASSES_HELP = f"the order of the masks' classes where it is not ours: {', '.join(ORDERS)}, or a table in a file"
MASK_SUFFIXES = (".png", ".bmp")  # a JPEG changes class ids

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """One sample on disk."""

    name: str  # of the face's file, without its ending
    image: Path
    masks: tuple[Path, ...]  # one label map file, or CelebAMask-HQ's parts in class order
    captions: tuple[str, ...]  # all there are; () where there is none
    order: ClassOrder | None = None  # of the classes in a label map file, where it is not ours


class Files(NamedTuple):
    """What a data folder holds, by name; numbers without leading zeros. `captions` are () where all are empty."""

    images: dict[str, Path]
    masks: dict[str, tuple[Path, ...]]
    captions: dict[str, tuple[str, ...]]

    def pair(self, key: str, order: ClassOrder | None = None) -> Pair:
        image = self.images[key]
        return Pair(image.stem, image, self.masks[key], self.captions.get(key, ()), order)


def find_files(root: Path) -> Files:
    """ValueError where a folder is missing, or two files claim one name."""
    images: dict[str, Path] = {}
    for path in _walk(_folder(root, IMAGE_FOLDERS, "faces"), IMAGE_SUFFIXES):
        if (other := images.setdefault(_key(path.stem), path)) != path:
            raise ValueError(f"{other} and {path} are two faces of one name. Remove or rename one of them.")
    masks: dict[str, dict[int, Path]] = {}
    for path in _walk(_folder(root, MASK_FOLDERS, "masks"), MASK_SUFFIXES):
        name, class_id = _part_of(path)
        if (other := masks.setdefault(_key(name), {}).setdefault(class_id, path)) != path:
            raise ValueError(f"{other} and {path} are two masks of one name. Remove or rename one of them.")
    in_class_order = {key: tuple(parts[class_id] for class_id in sorted(parts)) for key, parts in masks.items()}
    return Files(images, in_class_order, _find_captions(root))


def find_pairs(
    root: Path, *, ids: Sequence[str] | None = None, classes: ClassTable | ClassOrder | None = None
) -> list[Pair]:
    """Faces that have a mask, matched by name; numbers in numeric order, then names.

    ids: these alone, in this order ("7" and "00007" are the same); ValueError where one of them lacks face or mask.
    classes: what the values of the label maps mean, where that is not ours; see class_orders.
    Without ids, faces without mask are left out, with a warning. ValueError where no pair is left.
    """
    files = find_files(Path(root))
    complete = files.images.keys() & files.masks.keys()
    keys = sorted(complete, key=in_order) if ids is None else [_key(name) for name in ids]
    if missing := [key for key in keys if key not in complete]:
        raise ValueError(f"{root} has no face or no mask for {len(missing)} of the ids, such as {missing[:5]}.")
    if not keys:
        raise ValueError(
            f"No face in {root} has a mask of its own name: there are {len(files.images)} faces and "
            f"{len(files.masks)} masks. Name the mask of 7.jpg 7.png."
        )
    if ids is None and (alone := len(files.images) - len(keys)):
        logger.warning(
            f"{alone} faces in {root} have no mask and are left out. `python -m train.data check` lists them."
        )
    order = None if classes is None else class_order(classes)
    return [files.pair(key, order) for key in keys]


def read_ids(path: Path) -> list[str]:
    """A text file of names, one a line."""
    return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def in_order(key: str) -> tuple[bool, int, str]:
    """To sort keys by: numbers in numeric order, then names."""
    number = key.isascii() and key.isdigit()
    return not number, len(key) if number else 0, key


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
    """RGB, upright. ValueError names the file."""
    with _naming(path), open_picture(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def read_masks(pair: Pair) -> Reading:
    """The label map at the files' own size, and how it was read. ValueError names the file."""
    with _naming(pair.masks[0]):
        if not _part_of(pair.masks[0])[1]:
            return read_label_map(pair.masks[0], classes=pair.order)
        return read_parts([(path, _part_of(path)[1]) for path in pair.masks])


def check_shapes(pair: Pair, image: Image.Image, label_map: np.ndarray) -> None:
    """ValueError unless, to a pixel, the label map is the image scaled."""
    mask_height, mask_width = label_map.shape
    if abs(image.width * mask_height / image.height - mask_width) > 1:
        raise ValueError(
            f"{pair.masks[0]} is {_size(label_map)} and its face {image.width}x{image.height}: they differ in shape. "
            "Cut both out of the same place."
        )


def _folder(root: Path, names: Sequence[str], what: str) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise ValueError(f"{root} has no folder of {what}: expected one of {', '.join(f'{name}/' for name in names)}.")


def _walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield Path(parent, name)


def _key(name: str) -> str:
    return name.lstrip("0") or "0" if name.isascii() and name.isdigit() else name


def _part_of(path: Path) -> tuple[str, int]:
    """A mask's file -> name of its face, and the class of a part; 0 for a whole label map."""
    name, _, part = path.stem.partition("_")
    return (name, part_class(part)) if name.isdigit() and part in PARTS else (path.stem, 0)


def _find_captions(root: Path) -> dict[str, tuple[str, ...]]:
    file = root / "text.json"
    if file.is_file():
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            texts = {name: [each] if isinstance(each, str) else list(map(str, each)) for name, each in content.items()}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{file} must map each face's file to a list of captions: {error}") from error
    else:
        folders = [root / name for name in CAPTION_FOLDERS if (root / name).is_dir()]
        paths = [path for folder in folders[:1] for path in _walk(folder, (".txt",))]
        texts = {path.name: path.read_text(encoding="utf-8-sig", errors="replace").splitlines() for path in paths}
    return {
        _key(Path(name).stem): tuple(caption.strip() for caption in lines if caption.strip())
        for name, lines in texts.items()
    }


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a file becomes a ValueError that names it."""
    try:
        yield
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
