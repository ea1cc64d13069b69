"""Label maps to start from, each with its prompt, read from a folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facemogle.label_files import read_label_map
from facemogle.labels import to_colours


@dataclass(frozen=True)
class Example:
    """A label map (H, W), a prompt that suits it, and a face drawn from both, if there is one."""

    label_map: np.ndarray
    prompt: str
    face: Image.Image | None = None


def load_examples(folder: Path) -> list[Example]:
    """Read `examples.json`, a list of {"label_map": file name, "prompt": text, "face": file name}; no such file, none.

    `face` may be left out.
    """
    index = folder / "examples.json"
    return [_load(folder, entry) for entry in json.loads(index.read_text("utf-8"))] if index.exists() else []


def _load(folder: Path, entry: dict[str, str]) -> Example:
    face = Image.open(folder / entry["face"]).convert("RGB") if "face" in entry else None
    return Example(read_label_map(folder / entry["label_map"])[0], entry["prompt"], face)


def pictures_of(examples: list[Example]) -> list[tuple[Image.Image, str]]:
    """Faces, or label maps of examples without, and their prompts, to choose from; none where there is no choice."""
    if len(examples) < 2:
        return []
    return [(each.face or Image.fromarray(to_colours(each.label_map)), each.prompt) for each in examples]
