"""Label maps to start from, each with its prompt, read from a folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemogle.label_files import read_label_map


@dataclass(frozen=True)
class Example:
    """A label map (H, W) and a prompt that suits it."""

    label_map: np.ndarray
    prompt: str


def load_examples(folder: Path) -> list[Example]:
    """Read `examples.json`, a list of {"label_map": file name, "prompt": text}; no such file, no examples."""
    index = folder / "examples.json"
    if not index.exists():
        return []
    entries = json.loads(index.read_text("utf-8"))
    return [Example(read_label_map(folder / entry["label_map"])[0], entry["prompt"]) for entry in entries]
