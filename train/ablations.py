"""The paper's ablations by equal, small budgets: `python -m train.ablations --config train/configs/mini.yaml`.

Every variation is a run of `train.train` in a folder of its own, and goes on where it was broken off. Then each loads
as any weights do, and draws the samples held out from their label maps alone: does the face follow the map?
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from facemogle.checkpoints import ADAPTER_FILE, load_parser, load_pipeline, parser_of
from facemogle.labels import NUM_CLASSES
from facemogle.overlap import confusion, intersection_over_union
from train import train
from train.batches import Samples
from train.config import TrainingConfig, parse_arguments
from train.publish import WEIGHTS_FOLDER

ABLATIONS: dict[str, dict[str, Any]] = {
    "as in the paper": {},
    "global expert alone": {"experts": "global"},
    "local experts alone": {"experts": "local"},
    "no experts": {"experts": "none"},
    "static gating": {"gating": "static"},
    "scalar gating": {"gating": "scalar"},
    "gating without the time": {"gating_timestep": False},
    "neither experts nor gating": {"experts": "none", "gating": "static"},
}
BATCH = 4


def run(config: TrainingConfig) -> dict[str, float]:
    """Train, if that is not done, and measure -> validation loss, mean IoU."""
    with train.begun(config) as (base, samples, accelerator):
        if status := train.train(config, base, samples, accelerator):
            raise SystemExit(status)
    log = [json.loads(line) for line in (Path(config.output) / train.LOG_FILE).read_text().splitlines()]
    loss = next(line["validation_loss"] for line in reversed(log) if "validation_loss" in line)
    return {"validation loss": loss, "mean IoU": follows(config, samples)}


def follows(config: TrainingConfig, samples: Samples) -> float:
    """Mean IoU over the classes of faces drawn from the label maps held out, without words, as a parser reads them."""
    weights = Path(config.output) / WEIGHTS_FOLDER
    pipeline = load_pipeline(config.checkpoint, adapter=weights / ADAPTER_FILE, mogle=weights / "mogle")
    pipeline.set_progress_bar_config(disable=True)
    parser = load_parser(parser_of(config.checkpoint) or "mini")
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
    held_out = range(len(samples) - config.validation_samples, len(samples))
    for start in range(0, len(held_out), BATCH):
        indices = held_out[start : start + BATCH]
        label_maps = [samples[index]["label_map"].numpy() for index in indices]
        faces = pipeline(
            "",
            label_map=label_maps,
            height=config.height,
            width=config.width,
            generator=[torch.Generator().manual_seed(index) for index in indices],
        ).images
        side = pipeline.config.height  # at which the parser has learned to read
        enlarged = [cv2.resize(np.asarray(face), (side, side), interpolation=cv2.INTER_CUBIC) for face in faces]
        for label_map, read in zip(label_maps, parser.parse(enlarged), strict=True):
            wanted = cv2.resize(label_map, (side, side), interpolation=cv2.INTER_NEAREST)
            counts += confusion(read, wanted)
    return float(np.nanmean(intersection_over_union(counts)))


def main(arguments: Sequence[str] | None = None) -> int:
    config = parse_arguments(arguments)
    print("| | validation loss | mean IoU |\n|---|---|---|")
    for name, settings in ABLATIONS.items():
        output = Path(config.output) / name.replace(" ", "-")
        results = run(replace(config, output=str(output), **settings))
        print(f"| {name} | {results['validation loss']:.4f} | {results['mean IoU']:.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
