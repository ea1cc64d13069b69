"""`python -m facemogle experts`: what each expert does to a face, seen by muting it."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from facemogle.cli.arguments import add_command, keep_apart, picture_path, positive, steps
from facemogle.cli.runs import add_loading, load_for, read_run
from facemogle.expert_effects import ExpertEffects
from facemogle.gating import EXPERTS
from facemogle.picture_formats import save_picture

_EXPERTS_HELP = """\
The run that drew a face is made again without each of the twenty experts, and what changed is shown and ranked.
`--expert-scale` of `generate` makes the same change to a single one.

examples:
  python -m facemogle experts face.png --out sheet.png
  python -m facemogle experts face.png --expert hair --expert hat --out hair-and-hat.png
"""
_STEPS_HELP = "denoising steps of each of the 21 runs (default: the face's); fewer are quicker, and another picture"


def add_experts(commands) -> None:
    summary = "what each expert does to a face: the run again without it"
    command = add_command(commands, "experts", run_experts, summary, _EXPERTS_HELP)
    add = command.add_argument
    add("face", type=Path, metavar="PNG", help="a face with its settings, as `generate` and the page write them")
    add("--out", type=picture_path, required=True, metavar="PNG", help="the sheet to write")
    add("--expert", choices=EXPERTS, action="append", metavar="NAME", help="only this one; may be repeated")
    add("--steps", type=steps, metavar="N", help=_STEPS_HELP)
    add("--batch", type=positive, default=4, metavar="N", help="pictures made at once (default: %(default)s)")
    add_loading(command)


def run_experts(arguments: argparse.Namespace) -> None:
    keep_apart([arguments.face], [arguments.out])
    settings = read_run(arguments.face)
    if arguments.steps is not None:
        settings = replace(settings, num_inference_steps=arguments.steps)
    pipeline = load_for(settings, arguments)
    pipeline.set_progress_bar_config(disable=True)
    import torch

    from facemogle.figures import effect_sheet

    def tell(effects: ExpertEffects) -> None:
        print(f"\r{len(effects.experts)} experts muted", end="", file=sys.stderr, flush=True)

    effects = pipeline.expert_effects(
        **settings.arguments(),
        experts=arguments.expert or EXPERTS,
        generator=torch.Generator().manual_seed(settings.seed),
        batch_size=arguments.batch,
        on_picture=tell,
    )
    print(file=sys.stderr)
    save_picture(effect_sheet(effects), arguments.out)
    print(table(effects, settings.label_map))
    print(arguments.out)


def table(effects: ExpertEffects, label_map: np.ndarray | None) -> str:
    """A row for each expert, the strongest first: the mean change of the picture, of its class, and of the rest."""
    rows = [f"{'without':<12} {'picture':>8} {'its class':>10} {'the rest':>9}"]
    regions = {} if label_map is None else dict(zip(effects.experts, effects.inside_outside(label_map), strict=True))
    for name, mean in effects.ranked():
        inside, outside = regions.get(name, (float("nan"),) * 2)
        shares = f" {inside:>10.2%} {outside:>9.2%}" if inside == inside else f" {'-':>10} {'-':>9}"
        rows.append(f"{name:<12} {mean:>8.2%}{shares}")
    return "\n".join(rows)
