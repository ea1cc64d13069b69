"""Data folders for tests, written from the few files of tests/cases/data; and what is learned from them."""

from pathlib import Path

import numpy as np
from PIL import Image

from facemogle.data.pairs import find_pairs, read_pair
from facemogle.label_files import PARTS, read_label_map

CASES = Path(__file__).parent / "cases" / "data"


def true_map() -> np.ndarray:
    """(64, 64): what mask.png and its other forms hold."""
    return read_label_map(CASES / "mask.png").label_map


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """Each is a file of tests/cases/data, "parts" or "parts of 1" of mask.png, or what is to be in it."""
    for path, what in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, bytes):
            (root / path).write_bytes(what)
        elif what.startswith("parts"):
            write_parts(root / path, 1 if what == "parts of 1" else 255)
        else:
            (root / path).write_bytes((CASES / what).read_bytes())
    return root


def write_parts(start: Path, value: int = 255, mode: str = "RGB") -> None:
    """A picture for each class there is; start: the files' paths up to the words for the classes."""
    label_map = true_map()
    for class_id in np.unique(label_map[label_map > 0]):
        part = Image.fromarray(((label_map == class_id) * value).astype(np.uint8)).convert(mode)
        part.save(start.with_name(f"{start.name}{PARTS[class_id - 1]}.png"))


def learned(root: Path) -> dict[str, tuple[str, ...]]:
    """The captions of each face, after a look at its label map and its picture."""
    pairs = find_pairs(root)
    for pair in pairs:
        image, label_map = read_pair(pair, height=64, width=64)
        assert (label_map == true_map()).all() and image.std() > 20
    return {pair.name: pair.captions for pair in pairs}
