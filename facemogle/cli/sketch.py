"""`python -m facemogle sketch`: a line drawing of a face becomes a label map."""

import argparse
from pathlib import Path

from facemogle.cli.arguments import add_command, keep_apart, picture_path
from facemogle.label_files import write_label_map
from facemogle.labels import NAMES
from facemogle.sketch import NOTHING_NAME, in_words, read_drawing, read_sketch

_SKETCH_HELP = """\
dark lines on light paper, or light on dark, drawn in a program or photographed. What an outline encloses is named by
its place and size in a face; small gaps are closed, and what is missing comes from a template. `left` is the subject's
left: right in the picture. What is doubtful is told of with the number of its region, and --set answers; the same
drawing gives the same numbers.

examples:
  python -m facemogle sketch drawing.png --out map.png
  python -m facemogle sketch drawing.png --set 0=hat --set 7=nothing --out map.png
  python -m facemogle generate --label-map map.png --prompt "a man with red hair" --out face.png
"""


def add_sketch(commands) -> None:
    command = add_command(commands, "sketch", run_sketch, "a line drawing of a face becomes a label map", _SKETCH_HELP)
    add = command.add_argument
    add("drawing", type=Path, metavar="PICTURE", help="dark lines on light paper, or light on dark")
    add("--out", type=picture_path, required=True, metavar="PNG", help="the label map, its longer side of 512 pixels")
    add(
        "--set",
        type=answer,
        action="append",
        default=[],
        metavar="N=CLASS",
        help=f"the class of region N, or {NOTHING_NAME} if it belongs to what is around it; may be repeated",
    )


def answer(text: str) -> tuple[int, str]:
    """`7=hat` -> 7, "hat"; whether there is such a region shows later."""
    region, _, name = text.partition("=")
    if not region.isdecimal() or name not in (*NAMES, NOTHING_NAME):
        words = " ".join((*NAMES, NOTHING_NAME))
        raise argparse.ArgumentTypeError(f"expected N=CLASS such as 7=hat, with one of {words}, got {text!r}")
    return int(region), name


def run_sketch(arguments: argparse.Namespace) -> None:
    if arguments.out.suffix.lower() != ".png":
        raise ValueError(f"A label map is a PNG, got --out {arguments.out}. Name it {arguments.out.stem}.png.")
    keep_apart([arguments.drawing], [arguments.out])
    sketch = read_sketch(read_drawing(arguments.drawing), answers=dict(arguments.set))
    write_label_map(arguments.out, sketch.label_map)
    print(f"recognised: {in_words(sketch.recognised)}")
    if sketch.completed:
        print(f"from the template {sketch.template}: {in_words(sketch.completed)}")
    for doubt in sketch.doubts:
        print(f"doubtful: {doubt}")
    print(arguments.out)
