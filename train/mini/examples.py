"""The app's example label maps, prompts and faces: portraits of a seed range that nothing was trained on."""

import json
from pathlib import Path

import numpy as np
import torch

from facemogle import load_pipeline
from facemogle.label_files import read_label_map, write_label_map
from train.mini.config import MiniConfig
from train.mini.export import ASSETS
from train.mini.portraits import caption, render, sample_attributes

FIRST_SEED = 20_000_000
CHOSEN = {
    "red-bob": 22, "wide-hat": 42, "curls": 37, "grandmother": 3, "long-waves": 33, "cap": 45, "afro": 46,
    "moustache": 24,
}  # fmt: skip
SIZE = 512
SEED = 7  # that the page starts from: Generate draws the face that the example shows


def write_examples(config: MiniConfig) -> None:
    """`assets/examples/examples.json` lists the maps beside it with their prompts and the faces that mini draws."""
    folder = ASSETS / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    for outdated in folder.glob("*.png"):
        outdated.unlink()
    examples = []
    for name, number in CHOSEN.items():
        rng = np.random.default_rng(FIRST_SEED + number)
        portrait = sample_attributes(rng)
        write_label_map(folder / f"{name}.png", render(portrait, size=SIZE)[1])
        examples.append({"label_map": f"{name}.png", "prompt": caption(portrait, rng), "face": f"faces/{name}.jpg"})
    (folder / "examples.json").write_text(json.dumps(examples, indent=1) + "\n")
    write_faces(folder)


def write_faces(folder: Path) -> None:
    """Draw the face of every example in its `examples.json` with the exported checkpoint."""
    pipeline = load_pipeline(str(ASSETS / "mini"))
    for example in json.loads((folder / "examples.json").read_text()):
        label_map = read_label_map(folder / example["label_map"]).label_map
        generator = torch.Generator().manual_seed(SEED)
        face = pipeline(example["prompt"], label_map=label_map, generator=generator).images[0]
        (folder / example["face"]).parent.mkdir(exist_ok=True)
        face.save(folder / example["face"], quality=85, optimize=True)
