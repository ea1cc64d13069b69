"""`python -m facemogle gating`: figures of recorded gating weights."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from facemogle import figures
from facemogle.cli.arguments import (
    CLASSES_HELP,
    LABEL_MAP_HELP,
    add_command,
    check_film,
    classes,
    keep_apart,
    picture_path,
    read_and_report,
)
from facemogle.gating import inside_outside, load_gating
from facemogle.labels import NAMES
from facemogle.parsing.photos import read_photo
from facemogle.picture_formats import save_picture

_GATING_HELP = f"""\
{LABEL_MAP_HELP}
examples:
  all steps in one:  python -m facemogle gating gating.npz --out grid.png
  over the face:     python -m facemogle gating gating.npz --face face.png --label-map map.png --out grid.png
  first step:        python -m facemogle gating gating.npz --step 0 --out grid.png
  as a film:         python -m facemogle gating gating.npz --animate --out gating.gif
  over time:         python -m facemogle gating gating.npz --curves --out curves.png
"""


def add_gating(commands) -> None:
    command = add_command(commands, "gating", run_gating, "figures of recorded gating weights", _GATING_HELP)
    add = command.add_argument
    add("record", type=Path, metavar="NPZ", help="what `generate --gating` wrote")
    add("--out", type=picture_path, required=True, metavar="PNG", help="the figure to write")
    add("--face", type=Path, metavar="PNG", help="draw the maps over this picture")
    add("--label-map", type=Path, metavar="PNG", help="outline each class, and print the weights inside and outside it")
    add("--classes", type=classes, metavar="NAME", help=CLASSES_HELP)
    add("--image", type=int, default=0, metavar="N", help="which image of the run (default: %(default)s)")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--step", type=int, metavar="N", help="draw one step, from 0 (default: the mean over the steps)")
    what.add_argument("--animate", action="store_true", help="draw every step, as a film: a GIF or a WebP")
    what.add_argument("--curves", action="store_true", help="draw each expert's mean weight over the steps")


def run_gating(arguments: argparse.Namespace) -> None:
    if arguments.animate:
        check_film(arguments.out)
    keep_apart((arguments.record, arguments.face, arguments.label_map), [arguments.out])
    record = load_gating(arguments.record)
    weights = record.at(arguments.step, image=arguments.image)
    label_map = None if arguments.label_map is None else read_and_report(arguments.label_map, arguments.classes)
    face = None if arguments.face is None else Image.fromarray(read_photo(arguments.face))
    if label_map is not None:
        print(ratio_table(weights, label_map))
    if arguments.curves:
        save_picture(figures.curves(record.expert_means(image=arguments.image), record.timesteps), arguments.out)
    elif arguments.animate:
        run = record.weights[:, arguments.image]
        figures.save_animation(
            arguments.out, figures.step_frames(run, record.timesteps, face=face, label_map=label_map)
        )
    else:
        step = "mean over the steps" if arguments.step is None else f"step {arguments.step}"
        save_picture(figures.expert_grid(weights, face=face, label_map=label_map, title=step), arguments.out)
    print(arguments.out)


def ratio_table(weights: np.ndarray, label_map: np.ndarray) -> str:
    """(E, h, w), (H, W) -> a table of each present class's mean weight inside its region, outside it, and the ratio."""
    rows = [f"{'class':<12} {'inside':>8} {'outside':>8} {'ratio':>7}"]
    for name, (inside, outside) in zip(NAMES, inside_outside(weights, label_map), strict=True):
        if np.isfinite(inside) and np.isfinite(outside):
            rows.append(f"{name:<12} {inside:8.4f} {outside:8.4f} {inside / max(outside, 1e-9):7.2f}")
    return "\n".join(rows)
