"""Where a batch's results lie: pictures, the journal of what was made, the manifest. On a disk or an address of fsspec.

Whatever has a name is whole. A disk's files are written beside their places and renamed; an object store shows none
before it is whole. What was written without reaching the journal is made again, to the same bytes.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from facemogle.batch.libraries import filesystem_of, library
from facemogle.folders import own_folder

MANIFEST = "manifest.parquet"
JOURNAL = ".journal"
SECONDS = 30.0  # between parts of the journal in an object store, which takes no lines at the end of a file
# Of the manifest, in this order; what an evaluation matches and measures by comes first.
COLUMNS = {
    "file": "string", "face": "string", "seed": "int64", "group": "string", "caption": "string", "label_map": "string",
    "conditions": "string", "prompt": "string", "num_inference_steps": "int64", "guidance_scale": "float64",
    "condition_scale": "float64", "height": "int64", "width": "int64", "expert_scale": "string", "loras": "string",
    "checkpoint": "string", "number": "int64", "job": "string", "shard": "string", "bytes": "int64",
    "sha256": "string", "seconds": "float64", "failure": "string",
}  # fmt: skip

Entry = dict[str, Any]  # some columns of one picture


@dataclass(frozen=True)
class Store:
    """A folder of results, by its path or address. Names in it have / between folders."""

    address: str

    @cached_property
    def _place(self) -> tuple[AbstractFileSystem, str]:
        return filesystem_of(self.address)

    @cached_property
    def folder(self) -> Path | None:
        """On this machine's disks; None elsewhere."""
        filesystem, path = self._place
        return Path(path) if isinstance(filesystem, LocalFileSystem) else None

    def own(self) -> AbstractContextManager[None]:
        """Within, no other batch of this machine can have it. Object stores have no locks. BlockingIOError, OSError."""
        return nullcontext() if self.folder is None else own_folder(self.folder)

    @contextmanager
    def whole(self, name: str) -> Iterator[Path]:
        """A path to write to; at the end, that is what has the name. OSError."""
        if self.folder is None:
            with TemporaryDirectory() as folder:
                yield (part := Path(folder, "part"))
                self._place[0].put_file(str(part), self._path(name))
            return
        path = self.folder / name
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            yield part
            os.replace(part, path)
        except BaseException:  # as of a full disk, where it would stay in the way
            part.unlink(missing_ok=True)
            raise

    def write(self, name: str, data: bytes) -> None:
        """OSError."""
        if self.folder is None:
            self._place[0].pipe_file(self._path(name), data)
        else:
            with self.whole(name) as part:
                part.write_bytes(data)

    def opened(self, name: str) -> BinaryIO:
        """To be read. OSError."""
        return self._place[0].open(self._path(name), "rb")

    def read(self, name: str) -> bytes:
        """OSError."""
        return self._place[0].cat_file(self._path(name))

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        paths = [self._path(name) for name in names]
        found = self._place[0].cat(paths) if paths else {}
        return [found[path] for path in paths]

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Of all files in a folder of it, in bytes."""
        filesystem, root = self._place
        root, place = root.rstrip("/"), self._path(folder).rstrip("/")
        found = filesystem.find(place, detail=True) if filesystem.exists(place) else {}
        return {path[len(root) + 1 :]: about["size"] for path, about in found.items()}

    def remove(self, names: Sequence[str]) -> None:
        """Those that are there."""
        for name in names:
            with suppress(FileNotFoundError):
                self._place[0].rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._place[1].rstrip('/')}/{name}"


class Journal:
    """What was made since the manifest was written, a line of JSON each, in parts that are never changed again.

    On a disk a line is there as soon as it is added; elsewhere a part is written every `SECONDS`, and at the end.
    """

    def __init__(self, store: Store):
        self._store = store
        self._lines: list[str] = []
        self._written = time.monotonic()
        self._number = max((int(Path(name).stem) for name in parts_of(store.sizes(JOURNAL))), default=0)
        self._file: BinaryIO | None = None

    def add(self, entry: Entry) -> None:
        """OSError."""
        self._lines.append(json.dumps(entry) + "\n")
        if self._store.folder is not None or time.monotonic() - self._written > SECONDS:
            self._write()

    def close(self) -> None:
        if self._lines:
            self._write()
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        data = "".join(self._lines).encode()
        if self._store.folder is None:
            self._store.write(self._next_part(), data)
        else:
            if self._file is None:
                (self._store.folder / JOURNAL).mkdir(exist_ok=True)
                self._file = (self._store.folder / self._next_part()).open("ab")
            self._file.write(data)
            self._file.flush()
        self._lines, self._written = [], time.monotonic()

    def _next_part(self) -> str:
        self._number += 1
        return f"{JOURNAL}/{self._number:06}.jsonl"


def parts_of(names: Iterable[str]) -> list[str]:
    """The journal's, the oldest first."""
    return sorted(name for name in names if name.startswith(f"{JOURNAL}/") and name.endswith(".jsonl"))


def read_entries(store: Store, sizes: Mapping[str, int]) -> dict[str, Entry]:
    """What is known of each file: the manifest's, then what the journal says later; `sizes` as the store has them.

    ValueError where the manifest is none of ours.
    """
    entries: dict[str, Entry] = {}
    if MANIFEST in sizes:
        parquet = library("pyarrow.parquet", "The manifest")
        try:
            rows = parquet.read_table(io.BytesIO(store.read(MANIFEST))).to_pylist()
            entries = {row["file"]: row for row in rows}
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{store.address}/{MANIFEST} is no manifest of a batch: {str(error).rstrip('.')}. Move it away."
            ) from error
    for data in store.read_all(parts_of(sizes)):
        entries |= {entry["file"]: entry for entry in _lines(data)}
    return entries


def _lines(data: bytes) -> Iterator[Entry]:
    """A kill may have cut the last one short."""
    for line in data.splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def write_manifest(store: Store, entries: Sequence[Entry]) -> None:
    """The same bytes for the same entries. The journal, which is in it now, goes."""
    arrow, parquet = library("pyarrow", "The manifest"), library("pyarrow.parquet", "The manifest")
    schema = arrow.schema([(name, arrow.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    rows = [{name: entry.get(name) for name in COLUMNS} for entry in entries]
    file = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows, schema), file, compression="zstd")
    store.write(MANIFEST, file.getvalue())
    store.remove(parts_of(store.sizes(JOURNAL)))


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
