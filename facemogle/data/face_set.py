"""A data set of faces that is made from photos, file by file, and corrected by hand: what it holds, kept whole.

    DATA/faces/NAME.png, masks/NAME.png    the set
    DATA/metadata.jsonl                    a line for each of its faces: file_name and text, as the Hugging Face
                                           imagefolder has them; licence, source, author; the photo and the place in it
    DATA/left-out.jsonl                    a line for each photo, or face of one, that is not in the set, and why
    DATA/correction/                       faces that a person is to look at: faces/, and both parsers' first/, second/
    DATA/records/NAME.json                 a photo each, and what became of its faces: the two lists follow from these

A face's files are written before the record that tells of them, each whole: whatever a kill leaves without a record is
made again, or taken away when the set is next opened. H, W: pixels.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facemogle.class_orders import class_order
from facemogle.data.names import name_of
from facemogle.label_files import read_label_map, write_label_map
from facemogle.masks import resize_nearest
from facemogle.picture_formats import open_picture, save_picture
from facemogle.plausibility import doubts
from facemogle.whole_files import whole_file

# What became of a face. Those that are taken or corrected are the set.
TAKEN, OPEN, CORRECTED, REJECTED, LEFT_OUT = "taken", "to correct", "corrected", "not usable", "left out"
IN_SET = (TAKEN, CORRECTED)
BY_HAND = "by hand"
METADATA, LEFT_OUT_FILE = "metadata.jsonl", "left-out.jsonl"
FACES, MASKS, FIRST, SECOND = "faces", "masks", "correction/first", "correction/second"
WAITING, RECORDS = "correction/faces", "records"
FOLDERS = (FACES, MASKS, WAITING, FIRST, SECOND, RECORDS)


@dataclass(frozen=True)
class FaceRecord:
    """A face of a photo.

    box: left, top, right, bottom in the photo; to_photo (2, 3): a point of the crop to its place there; side: of the
    crop, in the photo's pixels; agreement: of both parsers, in 0..1; parser: whose map it has, or BY_HAND; saves: how
    often a person has dealt with it.
    """

    name: str
    state: str
    why: str = ""
    box: Sequence[float] = ()
    to_photo: Sequence[Sequence[float]] = ()
    side: float = 0.0
    sharpness: float = 0.0
    agreement: float | None = None
    parser: str = ""
    text: str = ""
    saves: int = 0


@dataclass(frozen=True)
class PhotoRecord:
    """A photo, by its path within the folder of photos; `duplicates`: others with the very same bytes."""

    name: str
    photo: str
    sha256: str
    licence: str = ""
    source: str = ""
    author: str = ""
    why: str = ""  # nothing could be made of it
    duplicates: Sequence[str] = ()
    faces: Sequence[FaceRecord] = field(default_factory=list)


class FaceSet:
    """One process at a time has it: see folders.own_folder. What it writes follows from `photos` alone."""

    def __init__(self, folder: Path):
        """ValueError names a record that cannot be read."""
        self.folder = folder
        self.photos: dict[str, PhotoRecord] = {}
        for path in sorted((folder / RECORDS).glob("*.json")):
            if not path.name.startswith("."):
                self.photos[path.stem] = _read(path)
        self._photo_of = {face.name: name for name, photo in self.photos.items() for face in photo.faces}
        self._lines: dict[str, tuple[PhotoRecord, list[str]]] = {}

    def faces(self) -> Iterator[FaceRecord]:
        return (face for photo in self.photos.values() for face in photo.faces)

    def face(self, name: str) -> FaceRecord:
        """KeyError where there is none."""
        return next(face for face in self.photo_of(name).faces if face.name == name)

    def photo_of(self, name: str) -> PhotoRecord:
        return self.photos[self._photo_of[name]]

    # Pixels.

    def path(self, what: str, name: str) -> Path:
        return self.folder / what / f"{name}.png"

    def crop(self, name: str) -> Image.Image:
        """Of a face that is in the set, or on the list."""
        with open_picture(self.path(FACES if self.face(name).state in IN_SET else WAITING, name)) as picture:
            return picture.convert("RGB")

    def label_map(self, name: str) -> np.ndarray:
        """(H, W) of a face that is in the set; of another the first parser's."""
        return read_label_map(self.path(MASKS if self.face(name).state in IN_SET else FIRST, name)).label_map

    def parsed(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """What the two parsers read, each (H, W), of a face that is or was on the list."""
        paths = self.path(FIRST, name), self.path(SECOND, name)
        if not all(path.exists() for path in paths):
            return None
        first, second = (read_label_map(path).label_map for path in paths)
        return first, second

    # Changes, each of which ends in a record.

    def add(
        self,
        photo: PhotoRecord,
        crops: Mapping[str, np.ndarray],
        maps: Mapping[str, Sequence[np.ndarray]],
    ) -> None:
        """A photo, with the crop (H, W, 3) of each of its faces and its label map, or of one on the list both."""
        for face in photo.faces:
            if face.state == OPEN:
                self._write(face.name, WAITING, crops[face.name])
                for what, label_map in zip((FIRST, SECOND), maps[face.name], strict=True):
                    write_label_map(self.path(what, face.name), label_map)
            elif face.state in IN_SET:
                write_label_map(self.path(MASKS, face.name), maps[face.name][0])
                self._write(face.name, FACES, crops[face.name])
        self.record(photo)

    def take(self, name: str, label_map: np.ndarray, text: str) -> None:
        """Into the set, with a map (H, W) and a caption by hand; and the lists are brought up to date.

        ValueError where the map has another shape than the face, or training could not use it.
        """
        face, label_map = self.face(name), self._fitting(name, label_map)
        if face.state not in IN_SET or not np.array_equal(label_map, self.label_map(name)):
            crop = self.crop(name)
            write_label_map(self.path(MASKS, name), label_map)
            save_picture(crop, self.path(FACES, name))
            face = replace(face, state=CORRECTED, parser=BY_HAND)
        self._change(replace(face, text=text, saves=face.saves + 1))

    def _fitting(self, name: str, label_map: np.ndarray) -> np.ndarray:
        """At the crop's own size."""
        (width, height), (rows, columns) = self.crop(name).size, label_map.shape
        if abs(columns * height / width - rows) > 1:
            raise ValueError(f"The map is {columns}x{rows} and the face {width}x{height}: they differ in shape. Reset.")
        for doubt in doubts(label_map, class_order(None)):
            if not doubt.tolerable:
                raise ValueError(f"Not saved: {doubt} If there is no such face, say that it is not usable.")
        return resize_nearest(label_map, height, width)

    def reject(self, name: str, why: str) -> None:
        """Out of the set, or off the list; its crop and its map stay with the others that were on the list."""
        face = self.face(name)
        if face.state in IN_SET and not self.path(WAITING, name).exists():
            write_label_map(self.path(FIRST, name), self.label_map(name))
            save_picture(self.crop(name), self.path(WAITING, name))
        self._change(replace(face, state=REJECTED, why=why, saves=face.saves + 1))
        self._remove_strays([name])

    def record(self, photo: PhotoRecord) -> None:
        with whole_file(self.folder / RECORDS / f"{photo.name}.json") as part:
            part.write_text(json.dumps(asdict(photo), indent=1, ensure_ascii=False) + "\n", "utf-8")
        self.photos[photo.name] = photo
        self._photo_of |= {face.name: photo.name for face in photo.faces}

    def _change(self, face: FaceRecord) -> None:
        photo = self.photo_of(face.name)
        faces = [face if other.name == face.name else other for other in photo.faces]
        self.record(replace(photo, faces=faces))
        self.write_lists()

    def _write(self, name: str, what: str, pixels: np.ndarray) -> None:
        save_picture(Image.fromarray(pixels), self.path(what, name))

    # What follows from the records.

    def settle(self) -> None:
        """Mend what a kill has left: files of faces that are not in the set, and lists that are behind."""
        for folder in FOLDERS:
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        self._remove_strays([face.name for face in self.faces() if face.state not in IN_SET])
        self.write_lists()

    def _remove_strays(self, names: Sequence[str]) -> None:
        for name in names:
            for what in (FACES, MASKS):
                self.path(what, name).unlink(missing_ok=True)

    def write_lists(self) -> None:
        photos = sorted(self.photos.values(), key=lambda photo: photo.photo)
        for file, lines_of in ((METADATA, _metadata), (LEFT_OUT_FILE, _left_out)):
            lines = [line for photo in photos for line in self._kept(file, photo, lines_of)]
            with whole_file(self.folder / file) as part:
                part.write_text("".join(lines), "utf-8")

    def _kept(self, file: str, photo: PhotoRecord, lines_of: Any) -> list[str]:
        """The lines of a photo in a list, made once as long as it does not change."""
        key = f"{file}/{photo.name}"
        if key not in self._lines or self._lines[key][0] is not photo:
            made = [json.dumps(line, ensure_ascii=False) + "\n" for line in lines_of(photo)]
            self._lines[key] = photo, made
        return self._lines[key][1]


def name_for(photo: str, sha256: str) -> str:
    """ "holiday/IMG 7.JPG" -> "holiday-IMG-7-3fa91c02": of a photo, whatever else is in the folder."""
    words = re.sub(r"\W+", "-", name_of(photo)).strip("-_")[-60:]
    return f"{words or 'photo'}-{sha256[:8]}"


def _metadata(photo: PhotoRecord) -> Iterator[dict[str, Any]]:
    for number, face in enumerate(photo.faces):
        if face.state in IN_SET:
            yield {
                "file_name": f"{FACES}/{face.name}.png",
                "text": face.text,
                "licence": photo.licence or None,
                "source": photo.source or None,
                "author": photo.author or None,
                "photo": photo.photo,
                "sha256": photo.sha256,
                "face": number,
                "box": face.box,
                "to_photo": face.to_photo,
                "side": face.side,
                "sharpness": face.sharpness,
                "agreement": face.agreement,
                "parser": face.parser,
            }


def _left_out(photo: PhotoRecord) -> Iterator[dict[str, Any]]:
    if photo.why:
        yield {"photo": photo.photo, "why": photo.why}
    for number, face in enumerate(photo.faces):
        if face.state in (LEFT_OUT, REJECTED):
            yield {"photo": photo.photo, "face": number, "box": face.box, "why": f"{face.state}: {face.why}"}
    for other in photo.duplicates:
        yield {"photo": other, "why": f"the same file as {photo.photo}"}


def _read(path: Path) -> PhotoRecord:
    try:
        fields = json.loads(path.read_text("utf-8"))
        return PhotoRecord(**fields | {"faces": [FaceRecord(**face) for face in fields["faces"]]})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no record of a photo: {error}. Delete it, and its photo is read again.") from error
