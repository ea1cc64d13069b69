"""REPORT.md beside the weights: every figure that was measured, and the pictures to judge by eye."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facemogle import figures
from facemogle.checkpoints import load_pipeline
from facemogle.gating import EXPERTS
from facemogle.label_files import read_label_map
from facemogle.labels import to_colours
from facemogle.masks import resize_nearest
from facemogle.pipeline import FaceMoGLEPipeline
from train.mini import samples
from train.mini.config import MiniConfig
from train.mini.evaluate import evaluate
from train.mini.export import DESTINATION, RECORD_FILE

TILE = 128  # pixels, of a picture in a sheet
DRAWINGS = Path(__file__).with_name("drawings")
SHOWN_EXPERTS = ("global", "background", "skin", "left_eye", "nose", "upper_lip", "hair", "neck", "cloth")
SWAPS = (("red", "white"), ("black", "yellow"), ("blonde", "blue"), ("pink", "green"))


def report(config: MiniConfig, checkpoint: Path = DESTINATION) -> None:
    """Measure, draw the figures, write REPORT.md."""
    portraits = samples.load(config, "test", limit=config.cases)
    pipeline = load_pipeline(checkpoint, device=config.device)
    pipeline.set_progress_bar_config(disable=True)
    measured, pictures = evaluate(pipeline, portraits, config)
    (checkpoint / "evaluation.json").write_text(json.dumps(measured, indent=1) + "\n")
    pairs = np.concatenate([to_colours(portraits.label_maps[:32]), pictures["text and map"][:32]], axis=2)
    sheets = {
        "contact-sheet": sheet(list(pairs), columns=8),
        "text-only": sheet(list(pictures["text only"][:16]), columns=8),
        "swaps": swaps(pipeline, portraits),
        "drawings": drawings(pipeline),
        "gating-steps": gating_steps(pipeline, portraits),
    }
    for name, picture in sheets.items():
        picture.save(checkpoint / f"{name}.jpg", quality=90)
    prompts = [captions[0] for captions in portraits.captions[:16]]
    training = json.loads((checkpoint / RECORD_FILE).read_text())["stages"]
    (checkpoint / "REPORT.md").write_text(page(measured, training, prompts))


def sheet(pictures: Sequence[np.ndarray], *, columns: int) -> Image.Image:
    """Pictures of one size in rows, each TILE high; the last row is filled up with white."""
    height, width = pictures[0].shape[:2]
    size = (round(TILE * width / height), TILE)
    tiles = [np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)) for picture in pictures]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    return Image.fromarray(np.concatenate(rows))


def paint(pipeline: FaceMoGLEPipeline, prompt: str, label_map: np.ndarray) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    return np.asarray(pipeline(prompt, label_map=label_map, generator=generator).images[0])


def swaps(pipeline: FaceMoGLEPipeline, portraits: samples.Samples) -> Image.Image:
    """Four maps in rows, four pairs of colour words in columns, one seed."""
    prompts = [f"a person with {hair} hair, wearing a {clothes} shirt" for hair, clothes in SWAPS]
    label_maps = portraits.label_maps[:4]
    return sheet(
        [
            picture
            for label_map in label_maps
            for picture in (to_colours(label_map), *(paint(pipeline, prompt, label_map) for prompt in prompts))
        ],
        columns=1 + len(prompts),
    )


def drawings(pipeline: FaceMoGLEPipeline) -> Image.Image:
    """Clumsy label maps drawn by hand, and what becomes of them without a word and with one."""
    size = pipeline.config.height
    pictures = []
    for path in sorted(DRAWINGS.glob("*.png")):
        label_map = resize_nearest(read_label_map(path)[0], size, size)
        faces = [paint(pipeline, prompt, label_map) for prompt in ("", "a smiling woman with red hair")]
        pictures.append(np.concatenate([to_colours(label_map), *faces], axis=1))
    return sheet(pictures, columns=3)


def gating_steps(pipeline: FaceMoGLEPipeline, portraits: samples.Samples) -> Image.Image:
    """Experts in columns over the steps in rows, on one face, as the paper's figure 5; last the face itself."""
    label_map = portraits.label_maps[0]
    result = pipeline(
        portraits.captions[0][0], label_map=label_map, generator=torch.Generator().manual_seed(0), record_gating=True
    )
    assert result.gating is not None
    face, record = result.images[0], result.gating
    shown = [EXPERTS.index(name) for name in SHOWN_EXPERTS]
    steps = np.unique(np.linspace(0, len(record.weights) - 1, 5).round().astype(int))
    pictures = []
    for step in steps:
        weights = record.at(int(step))
        maps = [figures.expert_map(weights, expert, (TILE, TILE), face=face, label_map=label_map) for expert in shown]
        pictures += [*map(np.asarray, maps), np.asarray(face.resize((TILE, TILE)))]
    return sheet(pictures, columns=len(shown) + 1)


def table(head: Sequence[str], rows: Sequence[Sequence]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}%"


def page(found: dict, training: dict, prompts: Sequence[str]) -> str:
    """The figures of `evaluate` in words and tables."""
    ours, alone, words_alone = (found[name] for name in ("text and map", "map only", "text only"))
    miou, gating, distance, edits = ours["metrics"]["miou"], found["gating"], found["kernel distance"], found["edits"]
    inside, seam = edits["mean IoU inside"], edits["difference across the border, to the photo's"]
    classes = table(
        ("class", "IoU", "95%", "true portraits", "map only", "recall", "precision", "gating inside / outside"),
        [
            (
                name.replace("_", " "), share(each["iou"]), " to ".join(map(share, each["interval"])),
                share(each["real"]), share(alone["classes"][name]["iou"]), share(each["recall"]),
                share(each["precision"]), gating["inside / outside"][name],
            )
            for name, each in ours["classes"].items()
        ],
    )  # fmt: skip
    words = table(
        ("told by the prompt", "cases", "text and map", "text only", "true portraits"),
        [
            (
                name.partition(".")[2].replace("_", " ") or "all", each["cases"], percent(each["value"]),
                percent(words_alone["metrics"].get(name, {}).get("value")), percent(each["real"]),
            )
            for name, each in ours["metrics"].items()
            if name.startswith("words")
        ],
    )  # fmt: skip
    phases = table(
        ("phase", "steps", "seconds", "last loss"),
        [
            (name, points[-1]["step"], points[-1].get("seconds"), points[-1]["loss"])
            for name, points in training.items()
        ],
    )
    listed = "\n".join(f"{number}. {prompt}" for number, prompt in enumerate(prompts, 1))
    return f"""\
# mini, measured

Written by `python -m train.mini report`; `evaluation.json` holds the figures. {miou["cases"]} unseen portraits' label
maps and captions (a seed range that nothing was trained on) at {found["size"]} px and the checkpoint's own steps; the
first {alone["metrics"]["miou"]["cases"]} of them for the runs without map or text and for the gating. Measured by
`python -m facemogle evaluate`, as the bundled parser reads the pictures; its own reading of the true portraits stands
beside. A colour is right where the true portraits of that word, on average, look more like it than those of any other.

{found["parameters"] / 1e6:.1f} million parameters.

## Label map

Mean IoU {miou["value"]}% (95% interval {miou["interval"][0]} to {miou["interval"][1]}; true portraits {miou["real"]}%;
map alone {alone["metrics"]["miou"]["value"]}%).

{classes}

![Unseen label maps and what mini made of them](contact-sheet.jpg)

## Words

{words}

Under the same map and seed, with other words:

![Hair and clothes: {", ".join("/".join(pair) for pair in SWAPS)}](swaps.jpg)

Without a map:

![Pictures from words alone](text-only.jpg)

{listed}

## Clumsy drawings

Each drawing, then the map alone, then with "a smiling woman with red hair".

![Hand-drawn label maps and their pictures](drawings.jpg)

## Edits of a picture

{edits["cases"]} unseen portraits, each with its hair, glasses, mouth or hat changed in the label map. Outside the
region that may change, {edits["equal to the photo outside"]} equal the portrait to the last bit. Inside, the mean IoU
with the edited map is {inside["edits"]}; whole new faces from the same maps and words have {inside["new faces"]} there.
Across the region's border neighbours differ {seam["mean"]} times as much as in the portrait on average,
{seam["largest"]} at most.

## Code and distribution

- VAE at {found["size"]} px: {", ".join(f"{name} {value} dB" for name, value in found["VAE in dB"].items())}.
- Kernel distance (KID's kernel, the parser's features) to portraits of the training split: {distance["mini"]}; of the
  unseen portraits themselves: {distance["true portraits"]}.

## Gating

Training asks every local expert to weigh more inside its class; how much more each does, over {gating["cases"]}
portraits, the table of the label map tells. From the first to the last step the weights change by a total variation of
{gating["first to last step"]} (0 to 1, mean over the tokens); between two portraits by {gating["between portraits"]}.

Rows: the first to the last step. Columns: {", ".join(name.replace("_", " ") for name in SHOWN_EXPERTS)}, the face.

![Experts' weights over the steps](gating-steps.jpg)

## Training

{phases}

The course of these, and what went before, is in `training.json`.
"""
