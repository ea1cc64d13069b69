"""What a base is, wherever it lies: so that a run, or a cache, goes on after its files have moved.

Of every tensor in its files name, type, shape and three pieces of its bytes count, of the other files that decide
something all. A base of 24 GB is so known after reading a few megabytes; training, or another precision, leaves no
tensor's pieces as they were, and only a change of a few values by hand would not show.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline

from facemogle.class_orders import class_order
from train.config import TrainingConfig

ENCODERS = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
PIECE = 256  # bytes, from the start, the middle and the end of a tensor


def identities(config: TrainingConfig, pipeline: DiffusionPipeline) -> dict[str, Any]:
    """What those settings stand for that may name files: the same, wherever these lie and whatever they are called."""
    known: dict[str, Any] = {"checkpoint": base_digests(pipeline, ("transformer", *ENCODERS))}
    if config.data and config.classes:
        known["classes"] = class_order(config.classes).ids.tolist()
    return {name: value for name, value in known.items() if value}


def base_digests(pipeline: DiffusionPipeline | None, parts: Sequence[str]) -> dict[str, str]:
    """Parts of the folder that a pipeline was loaded from -> their digests; nothing where there is no such folder."""
    folder = Path(getattr(pipeline, "name_or_path", None) or "")
    found = [part for part in parts if (folder / part).is_dir()] if (folder / "model_index.json").is_file() else []
    return {part: digest(sorted(_facts(folder / part))) for part in found}


def digest(facts: Any) -> str:
    """Of what JSON can write."""
    hasher = hashlib.sha256()
    for each in facts:
        hasher.update(json.dumps(each).encode())
    return hasher.hexdigest()[:16]


def _facts(folder: Path) -> Iterator[list[Any]]:
    for file in folder.iterdir():
        if file.suffix == ".safetensors":
            yield from _tensors(file)
        elif file.name == "config.json":
            config = json.loads(file.read_text(encoding="utf-8"))
            # Not what the library notes that wrote it.
            own = {name: value for name, value in config.items() if name[0] != "_" and name != "transformers_version"}
            yield [file.name, json.dumps(own, sort_keys=True)]
        elif file.is_file() and not file.name.endswith(".index.json"):
            yield [file.name, hashlib.sha256(file.read_bytes()).hexdigest()]


def _tensors(path: Path) -> Iterator[list[Any]]:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            pieces = []
            for place in (start, (start + end - PIECE) // 2, end - PIECE):
                file.seek(max(start, place))
                pieces.append(file.read(min(PIECE, end - start)).hex())
            yield [name, entry["dtype"], json.dumps(entry["shape"]), *pieces]
