"""`python -m facemogle reproduce`: a table of the paper, from data to figures, by `batch` and `evaluate`."""

import argparse
import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from facemogle.cli.arguments import add_command
from facemogle.evaluation.protocol import SEED, TABLES, Run
from facemogle.folders import own_folder
from facemogle.whole_files import whole_file

_EPILOG = """\
  table1      multimodal, mask to face, text to face, on MM-CelebA-HQ's test faces (ids 27000 to 29999 of DATA)
  zero-shot   the same on data that was not trained on, such as MM-FFHQ-Female and MM-FairFace-HQ
  table3 to table5   the ablations: of experts, of the gating, of both; weights by `python -m train.ablations` (--runs)

Each row is a batch of pictures and an evaluation of them, told as the commands that they are; what is there already is
not made again. The figures stand under those of the paper in --out/table.json and on the screen.

examples:
  python -m facemogle reproduce table1 --data data/mmcelebahq --checkpoint flux --out runs/table1
  python -m facemogle reproduce zero-shot --data data/mmfairfacehq --checkpoint flux --out runs/fairface
  python -m facemogle reproduce table3 --data data/mmcelebahq --runs runs/ablations --checkpoint flux --out runs/table3
"""
_RUNS_HELP = "of the ablations: the output folder of `python -m train.ablations`"
# Of `batch`, of `evaluate`: handed on as they are.
_BATCH, _EVALUATE = ("checkpoint", "preset", "steps", "workers", "ray"), ("networks", "metrics", "parser", "cache")


def add_reproduce(commands) -> None:
    command = add_command(commands, "reproduce", run_reproduce, "a table of the paper, from data to figures", _EPILOG)
    add = command.add_argument
    add("table", choices=TABLES, metavar="TABLE", help="see below")
    add("--data", type=Path, required=True, metavar="DATA", help="real faces, label maps and captions")
    add("--out", type=Path, required=True, metavar="FOLDER", help="of all pictures and figures")
    add("--ids", type=Path, metavar="FILE", help="faces, a name a line (default: the paper's test faces, else all)")
    add("--runs", type=Path, metavar="FOLDER", help=_RUNS_HELP)
    for name in _BATCH:
        add(f"--{name}", metavar=name.upper(), help="as of `batch`")
    for name in _EVALUATE:
        add(f"--{name}", metavar=name.upper(), help="as of `evaluate`")
    add("--device", metavar="DEVICE", help="of both")


def run_reproduce(arguments: argparse.Namespace) -> int:
    """-> the exit code: that of the first command that failed."""
    runs = TABLES[arguments.table]
    needed = [run for run in runs if run.weights]
    if needed and arguments.runs is None:
        raise ValueError(
            "The ablations need their weights: train them by `python -m train.ablations`, and give --runs."
        )
    for run in needed:
        if not (arguments.runs / run.weights).is_dir():
            raise ValueError(f"{arguments.runs} has no folder {run.weights}: `python -m train.ablations` makes it.")
    with own_folder(arguments.out):
        ids = _ids(arguments)
        places = [arguments.out / run.name.replace(" ", "-") for run in runs]
        commands = [
            (_draw(run, arguments, ids, place), _measure(arguments, ids, place))
            for run, place in zip(runs, places, strict=True)
        ]
        _check(command for pair in commands for command in pair)
        rows = []
        for run, place, pair in zip(runs, places, commands, strict=True):
            for command in pair:
                if status := _carry_out(command):
                    return status
            rows.append(_row(run, json.loads((_figures(place) / "evaluation.json").read_text("utf-8"))["metrics"]))
        with whole_file(arguments.out / "table.json") as part:
            part.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    print(*_lines(rows), arguments.out / "table.json", sep="\n")
    return 0


def _check(commands: Iterable[list[str]]) -> None:
    """What would end the evaluation is told before hours of drawing. ValueError; argparse exits with code 2."""
    from facemogle.cli import parse_arguments
    from facemogle.evaluation.metrics import require_known

    for command in commands:
        arguments = parse_arguments(command)
        if command[0] == "evaluate":
            require_known(arguments.metrics, arguments.parser)


def _ids(arguments: argparse.Namespace) -> list[str]:
    """--ids with the faces to draw and measure; none: all of DATA."""
    from facemogle.cli.evaluate import test_ids

    if arguments.ids is not None:
        return ["--ids", str(arguments.ids)]
    test = test_ids(arguments.data)
    if test is None:
        return []
    file = arguments.out / "ids.txt"
    with whole_file(file) as part:
        part.write_text("\n".join(test) + "\n", "utf-8")
    return ["--ids", str(file)]


def _draw(run: Run, arguments: argparse.Namespace, ids: list[str], pictures: Path) -> list[str]:
    weights = []
    if run.weights:
        folder = arguments.runs / run.weights / "weights"
        weights = ["--adapter", str(folder / "pytorch_lora_weights.safetensors"), "--mogle", str(folder / "mogle")]
    own = ["batch", str(arguments.data), "--out", str(pictures), "--format", "jpg", "--seed", str(SEED)]
    return [*own, *ids, *run.draw, *weights, *_handed_on(arguments, *_BATCH, "device")]


def _measure(arguments: argparse.Namespace, ids: list[str], pictures: Path) -> list[str]:
    own = ["evaluate", str(pictures), "--real", str(arguments.data), "--out", str(_figures(pictures))]
    return [*own, *ids, *_handed_on(arguments, *_EVALUATE, "device")]


def _figures(pictures: Path) -> Path:
    return pictures.with_name(f"{pictures.name}-figures")


def _handed_on(arguments: argparse.Namespace, *names: str) -> list[str]:
    given = [(name, getattr(arguments, name)) for name in names]
    return [word for name, value in given if value is not None for word in (f"--{name}", str(value))]


def _carry_out(command: list[str]) -> int:
    from facemogle.cli import main

    print("python -m facemogle", shlex.join(command), file=sys.stderr, flush=True)
    return main(command)


def _row(run: Run, metrics: dict[str, Any]) -> dict[str, Any]:
    values = {name: each["value"] for name, each in metrics.items()}
    return {"name": run.name, "measured": values, "paper": dict(run.paper)}


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    from facemogle.evaluation.tables import aligned, number

    names = list(dict.fromkeys(name for row in rows for name in (*row["paper"], *row["measured"])))
    cells = [["", *names]]
    for row in rows:
        cells.append([row["name"], *(number(row["measured"].get(name)) for name in names)])
        if row["paper"]:
            cells.append(["  the paper's", *(number(row["paper"].get(name)) for name in names)])
    return aligned(cells)
