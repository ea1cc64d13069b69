"""The app's example label maps and prompts: portraits of a seed range that nothing was trained on."""

import json

import numpy as np

from facemogle.label_files import write_label_map
from train.mini.config import MiniConfig
from train.mini.export import ASSETS
from train.mini.portraits import caption, render, sample_attributes

FIRST_SEED = 20_000_000
CHOSEN = {
    "red-bob": 22, "wide-hat": 42, "curls": 37, "grandmother": 3, "long-waves": 33, "cap": 45, "afro": 46,
    "moustache": 24,
}  # fmt: skip
SIZE = 512


def write_examples(config: MiniConfig) -> None:
    """`assets/examples/examples.json` lists the maps beside it with their prompts."""
    folder = ASSETS / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    for outdated in folder.glob("*.png"):
        outdated.unlink()
    examples = []
    for name, number in CHOSEN.items():
        rng = np.random.default_rng(FIRST_SEED + number)
        portrait = sample_attributes(rng)
        write_label_map(folder / f"{name}.png", render(portrait, size=SIZE)[1])
        examples.append({"label_map": f"{name}.png", "prompt": caption(portrait, rng)})
    (folder / "examples.json").write_text(json.dumps(examples, indent=1) + "\n")
