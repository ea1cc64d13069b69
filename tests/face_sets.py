"""A small data set as train.data build leaves it: faces that wait for a person, and some that do not."""

from pathlib import Path

import numpy as np

from facemogle.data.face_set import OPEN, TAKEN, FaceRecord, FaceSet, PhotoRecord
from facemogle.templates import template_face

SIDE = 96


def face_set(root: Path, *names: str, taken: dict[str, str] | None = None) -> FaceSet:
    """names: on the list, each with another map; taken: name -> caption, "" for none."""
    faces = FaceSet(root)
    faces.settle()
    for place, name in enumerate([*names, *(taken or {})]):
        crop = np.full((SIDE, SIDE, 3), 60 + 20 * place, np.uint8)
        on_list = name in names
        record = FaceRecord(
            name,
            OPEN if on_list else TAKEN,
            why="The parsers agree on 70% of the pixels." if on_list else "",
            agreement=0.7 if on_list else 0.95,
            parser="" if on_list else "one",
            text=(taken or {}).get(name, ""),
        )
        photo = PhotoRecord(f"photo-{name}", f"{name}.jpg", f"{place:064x}", licence="CC0", faces=[record])
        faces.add(photo, {name: crop}, {name: [first_map(place), second_map(place)]})
    faces.write_lists()
    return faces


def first_map(place: int) -> np.ndarray:
    return np.roll(template_face(size=SIDE), place, axis=1)


def second_map(place: int) -> np.ndarray:
    """With more hair than the first."""
    label_map = first_map(place)
    label_map[:20] = 13
    return label_map


def snapshot(root: Path) -> dict[str, bytes]:
    """What every file holds, but for the lock."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}
