"""A batch's folder: its manifest says of each picture which face, caption, label map and group it has."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemogle.whole_files import whole_file

NAME = "manifest.parquet"
_JOURNAL = ".journal"  # of what a batch has made since it wrote the manifest, which it does as it ends
_SHOWN = 5


@dataclass(frozen=True)
class Row:
    """face: as the batch's list or data folder calls it; label_map: None where it is no file on this disk."""

    path: Path
    face: str
    caption: str | None
    label_map: Path | None
    group: str | None


@dataclass(frozen=True)
class Manifest:
    """rows: of each picture, by its name; notes: what a person should know of it."""

    rows: dict[str, Row]
    notes: tuple[str, ...]


def find_manifest(folder: Path, unpacked: Path) -> Manifest | None:
    """None where there is none. unpacked: where pictures of shards are brought.

    ValueError where it cannot be read, or the batch is still being made.
    """
    if not (folder / NAME).is_file():
        return None
    if any((folder / _JOURNAL).glob("*.jsonl")):
        raise ValueError(
            f"{folder} is not finished: a batch writes to it, or was killed. Run the command of the batch to its end."
        )
    rows: dict[str, Row] = {}
    gone: list[str] = []
    records = _records(folder / NAME)
    shards = {record["shard"] for record in records if record.get("shard")}
    places = {file: path for shard in sorted(shards) for file, path in _unpack(folder / shard, unpacked).items()}
    for record in records:
        file = record["file"]
        path = places.get(file, folder / file)
        if not path.is_file():
            gone.append(f"{file} ({record['failure']})" if record.get("failure") else file)
            continue
        label_map = folder / record["label_map"] if record.get("label_map") else None
        rows[Path(file).with_suffix("").as_posix()] = Row(
            path,
            record.get("face") or Path(file).stem,
            record.get("caption"),
            label_map if label_map is not None and label_map.is_file() else None,
            record.get("group"),
        )
    some = ", ".join(gone[:_SHOWN]) + (", ..." if len(gone) > _SHOWN else "")
    notes = [f"Of the pictures in {NAME}, {len(gone)} are not there: {some}."] if gone else []
    drawn = sorted({record["conditions"] for record in records if record.get("conditions")})
    return Manifest(rows, (*notes, *([f"The pictures were drawn from {' and from '.join(drawn)}."] if drawn else [])))


def _records(manifest: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(
            f"{manifest} is read with pyarrow, which is not installed: pip install -r requirements-evaluate.txt."
        ) from error
    try:
        records = pyarrow.parquet.read_table(manifest).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(
            f"{manifest} cannot be read: {str(error).rstrip('.')}. Make the batch again, or move the file away."
        ) from error
    if not all(isinstance(record.get("file"), str) for record in records):
        raise ValueError(f"{manifest} is no manifest of a batch: it has no column of files. Move it away.")
    return records


def _unpack(shard: Path, folder: Path) -> dict[str, Path]:
    """Pictures of a shard in WebDataset's form, each once -> where they are now, by their names in the manifest."""
    places = {}
    try:
        status = shard.stat()
        named = hashlib.sha256(f"{shard.resolve()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
        for key, file, data in _samples(shard):
            path = places[file] = folder / named / f"{key}{Path(file).suffix}"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(path) as part:
                    Path(part).write_bytes(data)
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        raise ValueError(f"The shard {shard} cannot be read: {error}. Make the batch again with --replace.") from error
    return places


def _samples(shard: Path) -> Iterator[tuple[str, str, bytes]]:
    """Key, the picture's name in the manifest, and its bytes."""
    of_key: dict[str, dict[str, bytes]] = {}
    with tarfile.open(shard) as tar:
        for member in tar:
            key, _, ending = member.name.partition(".")
            if (content := tar.extractfile(member)) is not None:
                of_key.setdefault(key, {})[ending] = content.read()
            if {"json"} < of_key[key].keys():
                file = json.load(io.BytesIO(of_key[key]["json"]))["file"]
                if (data := of_key[key].get(file.rpartition(".")[2])) is not None:
                    yield key, file, data
                    of_key[key] = {}
