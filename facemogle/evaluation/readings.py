"""What a face parser reads in pictures, beside the label maps that these should follow; kept by the files' contents.

n pictures, C = 19 classes, P places that captions give colours, H, W pixels.
"""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
from filelock import FileLock
from tqdm import tqdm

from facemogle.data.pairs import read_image
from facemogle.evaluation.metric import LabelMap, UnreadablePictures
from facemogle.labels import CLASS_ID, NUM_CLASSES
from facemogle.masks import resize_nearest
from facemogle.overlap import confusion
from facemogle.whole_files import whole_file

# Raised whenever other readings come of the same files.
VERSION = 1
# What has a colour of its own in captions, and the classes that show it.
PLACES: dict[str, tuple[str, ...]] = {
    "hair colour": ("hair",),
    "clothes colour": ("cloth",),
    "hat colour": ("hat",),
    "background colour": ("background",),
    "skin tone": ("skin", "nose"),
    "lipstick": ("upper_lip", "lower_lip"),
}
ROW = NUM_CLASSES**2 + NUM_CLASSES + 3 * len(PLACES)  # of numbers that are kept of a picture
_SAVED_EVERY = 200
Parse = Callable[[np.ndarray], np.ndarray]  # a picture (H, W, 3) uint8 -> (H, W) class ids


@dataclass(frozen=True)
class Readings:
    """counts (n, C, C): pixels by class, wanted by read, 0 without a label map; shares (n, C) of the picture, as read;
    colours (n, P, 3): the median L*a*b* of each of PLACES, NaN where nothing of it is read."""

    counts: np.ndarray
    shares: np.ndarray
    colours: np.ndarray


class Reader:
    """A parser's readings of picture files, each computed once.

    digest: of the parser's weights. folder: where readings are kept.
    """

    def __init__(self, load: Callable[[], Parse], name: str, digest: str, folder: Path | None):
        self._parse = lru_cache(maxsize=1)(load)
        self.name, self.digest = name, digest
        identity = hashlib.sha256(f"{VERSION} {name} {digest}".encode()).hexdigest()[:16]
        self._file = folder / f"readings-{identity}.npz" if folder else None
        self._rows: dict[bytes, np.ndarray] = self._kept()

    def parse(self, path: Path) -> np.ndarray:
        """The label map (H, W) that is read in a picture, which is not kept."""
        return self._parse()(np.asarray(read_image(path)))

    def __call__(self, cases: Sequence[tuple[Path, LabelMap | None]], *, what: str = "pictures") -> Readings:
        """UnreadablePictures, once all others are kept."""
        problems: dict[Path, str] = {}
        keys = [_key(path, label_map, problems) for path, label_map in cases]
        new = {key: case for key, case in zip(keys, cases, strict=True) if key is not None and key not in self._rows}
        for count, (key, (path, label_map)) in enumerate(tqdm(new.items(), f"Parsing {what}", disable=not new), 1):
            try:
                self._rows[key] = self._read(path, label_map)
            except (ValueError, OSError) as error:
                problems[label_map.files[0] if label_map and str(label_map.files[0]) in str(error) else path] = str(
                    error
                )
            if count % _SAVED_EVERY == 0:
                self._save()
        if new:
            self._save()
        if problems:
            raise UnreadablePictures(problems)
        rows = np.array([self._rows[key] for key in keys if key is not None], np.float32).reshape(len(cases), -1)
        counts, shares, colours = np.split(rows, [NUM_CLASSES**2, NUM_CLASSES**2 + NUM_CLASSES], axis=1)
        return Readings(
            counts.reshape(-1, NUM_CLASSES, NUM_CLASSES).astype(np.int64), shares, colours.reshape(len(rows), -1, 3)
        )

    def _read(self, path: Path, label_map: LabelMap | None) -> np.ndarray:
        picture = np.asarray(read_image(path))
        read = self._parse()(picture)
        counts = np.zeros((NUM_CLASSES, NUM_CLASSES))
        if label_map is not None:
            wanted = label_map()
            if abs(wanted.shape[1] * read.shape[0] / wanted.shape[0] - read.shape[1]) > 1:
                raise ValueError(
                    f"{label_map.files[0]} is {wanted.shape[1]}x{wanted.shape[0]} and the picture {path.name} "
                    f"{read.shape[1]}x{read.shape[0]}: they differ in shape"
                )
            counts = confusion(read, resize_nearest(wanted, *read.shape))
        shares = np.bincount(read.ravel(), minlength=NUM_CLASSES) / read.size
        return np.concatenate([counts.ravel(), shares, colours_of(picture, read).ravel()]).astype(np.float32)

    def _save(self) -> None:
        if self._file is None or not self._rows:
            return
        with FileLock(self._file.with_suffix(".lock")):  # another evaluation may keep its own there
            self._rows = self._kept() | self._rows
            keys = np.frombuffer(b"".join(self._rows), np.uint8).reshape(len(self._rows), -1)
            with whole_file(self._file) as part:
                np.savez(part, keys=keys, rows=np.stack(list(self._rows.values())))

    def _kept(self) -> dict[bytes, np.ndarray]:
        """ValueError where the file is damaged."""
        if self._file is None or not self._file.exists():
            return {}
        try:
            with np.load(self._file) as kept:
                rows = kept["rows"].reshape(-1, ROW)
                return dict(zip(map(bytes, kept["keys"]), rows, strict=True))
        except (ValueError, KeyError, EOFError, OSError, BadZipFile, zlib.error) as error:
            why = str(error).rstrip(".")
            raise ValueError(f"{self._file}, with what was read before, is damaged: {why}. Delete it.") from error


def colours_of(picture: np.ndarray, label_map: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8, (H, W) class ids -> (P, 3): the median L*a*b* of each of PLACES, NaN where it has no pixel."""
    medians = np.full((len(PLACES), 3), np.nan)
    for place, classes in enumerate(PLACES.values()):
        shown = picture[np.isin(label_map, [CLASS_ID[each] for each in classes])]
        if len(shown):
            medians[place] = lab(np.median(shown, axis=0)[None])[0]
    return medians


def lab(colours: np.ndarray) -> np.ndarray:
    """(n, 3) uint8 RGB -> (n, 3) CIE L*a*b*."""
    return cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]


def _key(path: Path, label_map: LabelMap | None, problems: dict[Path, str]) -> bytes | None:
    digest = hashlib.sha256()
    try:
        for file in _files(path, label_map):
            digest.update(digest_of(file))
    except OSError as error:
        problems[path] = str(error)
        return None
    digest.update(b"" if label_map is None else label_map.meaning.encode())
    return digest.digest()


def _files(path: Path, label_map: LabelMap | None) -> Iterable[Path]:
    return [path, *(label_map.files if label_map is not None else ())]


def digest_of(path: Path) -> bytes:
    """The sha256 of a file, which is read once while it stays as it is."""
    status = os.stat(path)
    return _digest(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _digest(path: str, size: int, time: int) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()
