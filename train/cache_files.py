"""The files of a cache: an index, and tensors of which every row has its own checksum.

A file gets its name, and its place in the index, only when all of it is on the disk.
"""

import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from facemogle.data.pairs import PREPROCESSING, Pair
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.whole_files import whole_file
from train.bases import ENCODERS, base_digests, digest

FORMAT = 1
INDEX_FILE = "index.json"


# What a cache was made of


def cache_key(model: str, height: int, width: int, pipeline: FaceMoGLEPipeline | None = None) -> dict[str, Any]:
    """What must be the same where a cache is used, with the weights of those of the pipeline's encoders that it has.

    Which encoders they are, their files tell, also of those that were not loaded; `model` does where one is not known.
    """
    key = {"format": FORMAT, "preprocessing": PREPROCESSING, "model": model, "height": height, "width": width}
    modules = {name: getattr(pipeline, name, None) for name in ("vae", "text_encoder", "text_encoder_2")}
    if modules["vae"] is not None:
        modules["vae"] = modules["vae"].encoder
    key |= {f"{part} files": value for part, value in base_digests(pipeline, ENCODERS).items()}
    return key | {f"{name} weights": digest(_spread(module)) for name, module in modules.items() if module is not None}


def pair_facts(pair: Pair) -> list[Any]:
    """What changes when a pair's files do."""
    order = [] if pair.order is None else [pair.order.ids.tolist()]
    return [pair.name, pair.captions, [path.stat().st_size for path in (pair.image, *pair.masks)], *order]


def _spread(module: nn.Module, count: int = 1024) -> Iterator[list[float]]:
    """Values from all over each parameter, the same in every precision; training leaves none of them as it was."""
    for parameter in module.parameters():
        values = parameter.detach().flatten()
        yield values[:: max(1, len(values) // count)].to(torch.bfloat16).float().tolist()


def require_same(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """ValueError names what differs."""
    files = {name for name in wanted if name.endswith(" files")}
    passed_over = {"model"} if files and files <= found.keys() else files
    changed = [name for name in wanted if name not in passed_over and found.get(name) != wanted[name]]
    if changed:
        differences = "; ".join(f"{name} {found.get(name)!r}, not {wanted[name]!r}" for name in changed)
        raise ValueError(
            f"The cache in {folder} was made with {differences}. Make another with `python -m train.cache`, in a new "
            "folder or after deleting this one."
        )


# The index: "key", "plan" (all files there will be), "files" (those that are there, with what they hold)


def read_index(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no cache: {error}. Make it with `python -m train.cache`.") from error


def write_index(folder: Path, index: dict[str, Any]) -> None:
    with whole_file(folder / INDEX_FILE) as part:
        part.write_text(json.dumps(index), encoding="utf-8")


def unfinished(folder: Path, index: dict[str, Any]) -> list[str]:
    """The planned files that are not there whole."""

    def is_whole(file: str) -> bool:
        entry, path = index["files"].get(file), folder / file
        return entry is not None and path.is_file() and path.stat().st_size == entry["bytes"]

    return [file for file in index["plan"] if not is_whole(file)]


def require_space(folder: Path, index: dict[str, Any]) -> None:
    """OSError unless there is room for the planned files, if they are like the largest so far."""
    left = len(index["plan"]) - len(index["files"])
    needed, free = left * max(entry["bytes"] for entry in index["files"].values()), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"The rest of the cache needs about {needed / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB left. Make "
            "room and run this again, or make another cache with fewer captions of each face."
        )


# Tensors by rows


def write_rows(path: Path, tensors: dict[str, Tensor]) -> None:
    sums = {f"{name}.crc32": _checksums(rows) for name, rows in tensors.items()}
    with whole_file(path) as part:
        save_file(tensors | sums, part)


def read_rows(path: Path, **wanted: int) -> dict[str, Tensor]:
    """Names of tensors and one row of each -> the rows. ValueError where they are not what was written."""
    remedy = "Delete this file and run `python -m train.cache` again: it makes that file alone."
    try:
        with safe_open(path, framework="pt") as file:
            rows = {name: file.get_slice(name)[row : row + 1] for name, row in wanted.items()}
            sums = {name: file.get_slice(f"{name}.crc32")[row : row + 1] for name, row in wanted.items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}. {remedy}") from error
    if damaged := [name for name in wanted if not torch.equal(_checksums(rows[name]), sums[name])]:
        raise ValueError(f"{path} is damaged: row {wanted[damaged[0]]} of {damaged[0]} has changed. {remedy}")
    return {name: row[0] for name, row in rows.items()}


def _checksums(rows: Tensor) -> Tensor:
    """(R, ...) -> (R,)"""
    return torch.tensor([zlib.crc32(row.contiguous().view(torch.uint8).numpy()) for row in rows])
