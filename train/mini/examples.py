"""The app's example label maps, prompts and faces: portraits of a seed range that nothing was trained on."""

import json

import numpy as np
import torch

from facemogle import load_pipeline
from facemogle.label_files import write_label_map
from train.mini.export import ASSETS
from train.mini.portraits import caption, render, sample_attributes

FIRST_SEED = 20_000_000
CHOSEN = {
    "red-bob": 22, "wide-hat": 42, "curls": 37, "grandmother": 3, "long-waves": 33, "cap": 45, "afro": 46,
    "moustache": 24,
}  # fmt: skip
SIZE = 512
SEED = 7  # that the page starts from: Generate draws the face that the example shows


def write_examples() -> None:
    """`assets/examples/examples.json` lists the maps beside it with their prompts and the faces that mini draws."""
    folder = ASSETS / "examples"
    (folder / "faces").mkdir(parents=True, exist_ok=True)
    pipeline = load_pipeline(str(ASSETS / "mini"))
    examples = []
    for name, number in CHOSEN.items():
        rng = np.random.default_rng(FIRST_SEED + number)
        portrait = sample_attributes(rng)
        label_map, prompt = render(portrait, size=SIZE)[1], caption(portrait, rng)
        face = pipeline(prompt, label_map=label_map, generator=torch.Generator().manual_seed(SEED)).images[0]
        write_label_map(folder / f"{name}.png", label_map)
        face.save(folder / "faces" / f"{name}.jpg", quality=85, optimize=True)
        examples.append({"label_map": f"{name}.png", "prompt": prompt, "face": f"faces/{name}.jpg"})
    (folder / "examples.json").write_text(json.dumps(examples, indent=1) + "\n")
