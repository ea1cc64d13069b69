"""Label maps of jobs: where they lie, on disks or at addresses of fsspec, and what is in them."""

import hashlib
import io
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facemogle.batch.libraries import filesystem_of
from facemogle.class_orders import ClassOrder
from facemogle.label_files import Reading, read_label_map, read_parts

READERS = 8


@dataclass(frozen=True)
class MapFile:
    """path: of a file, or an address; or what is shown in its place of files of single parts, with their classes.

    digest: of the class ids in it, once it was read.
    """

    path: str
    parts: tuple[tuple[str, int], ...] = ()
    classes: ClassOrder | None = None
    digest: str | None = None

    def read(self) -> Reading:
        """ValueError, OSError."""
        if self.parts:
            return read_parts([(Path(path), class_id) for path, class_id in self.parts])
        if "://" not in self.path:
            return read_label_map(self.path, classes=self.classes)
        filesystem, path = filesystem_of(self.path)
        file = io.BytesIO(filesystem.cat_file(path))
        file.name = self.path
        return read_label_map(file, classes=self.classes)

    def read_again(self) -> np.ndarray:
        """(H, W) uint8 class ids. ValueError where they are others than before."""
        label_map = self.read().label_map
        if digest_of(label_map) != self.digest:
            raise ValueError(f"{self.path} has changed since the batch began.")
        return label_map


def map_at(place: str, source: str) -> MapFile:
    """A path as it stands in a list, which is an address or within the list's folder."""
    if "://" in place or os.path.isabs(place):
        return MapFile(place)
    folder = source.rpartition("/")[0] if "://" in source else os.path.dirname(os.path.abspath(source))
    return MapFile(f"{folder}/{place}")


def digest_of(label_map: np.ndarray) -> str:
    """Of (H, W) class ids, however their file is written."""
    return hashlib.sha256(repr(label_map.shape).encode() + label_map.tobytes()).hexdigest()


def read_all(files: Collection[MapFile]) -> tuple[dict[MapFile, MapFile], dict[MapFile, str], list[str]]:
    """Each once -> those that can be read, with their digests; why others cannot; what looks wrong with them."""
    read: dict[MapFile, MapFile] = {}
    broken: dict[MapFile, str] = {}
    doubts: list[str] = []

    def look(file: MapFile) -> None:
        try:
            reading = file.read()
        except FileNotFoundError:
            broken[file] = f"there is no label map {file.path}."
        except (ValueError, OSError) as error:
            broken[file] = str(error)
        else:
            read[file] = replace(file, digest=digest_of(reading.label_map))
            doubts.extend(f"{file.path}: {doubt}" for doubt in reading.doubts)

    with ThreadPoolExecutor(READERS) as pool:
        looks = pool.map(look, files)
        for _ in tqdm(looks, "Label maps", len(files), delay=3, leave=False, unit="map"):
            pass
    return read, broken, sorted(doubts)
