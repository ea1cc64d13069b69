"""`python -m facemogle morph`: the way from one face to another."""

import argparse
import sys
from pathlib import Path

from facemogle.cli.arguments import add_command, check_film, frames, keep_apart, output_path, picture_path
from facemogle.cli.runs import add_loading, load_for, read_run
from facemogle.figures import save_animation
from facemogle.picture_formats import save_picture

_MORPH_HELP = """\
The label map moves from the one to the other, its classes' borders by signed distances; prompt and noise turn on a
sphere. The ends are the two faces themselves, drawn again.

examples:
  python -m facemogle morph first.png second.png --out morph.gif
  python -m facemogle morph first.png second.png --frames 16 --out morph.gif --strip strip.png
"""


def add_morph(commands) -> None:
    command = add_command(commands, "morph", run_morph, "from one face to another, as a film", _MORPH_HELP)
    add = command.add_argument
    add("first", type=Path, metavar="PNG", help="a face with its settings, as `generate` and the page write them")
    add("second", type=Path, metavar="PNG", help="another, by the same checkpoint and of the same size")
    add("--out", type=output_path, required=True, metavar="FILM", help="a GIF, or a WebP, which has more colours")
    add("--strip", type=picture_path, metavar="PNG", help="also write all frames side by side")
    add("--frames", type=frames, default=8, metavar="N", help="both ends included (default: %(default)s)")
    add_loading(command)


def run_morph(arguments: argparse.Namespace) -> None:
    from facemogle.morph import check_ends, morph, strip

    check_film(arguments.out)
    keep_apart((arguments.first, arguments.second), (arguments.out, arguments.strip))
    ends = read_run(arguments.first), read_run(arguments.second)
    check_ends(*ends)
    pipeline = load_for(ends[0], arguments)
    pipeline.set_progress_bar_config(disable=True)
    images = []
    for frame in morph(pipeline, *ends, frames=arguments.frames):
        images.append(frame.image)
        print(f"\rframe {len(images)} of {arguments.frames}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    save_animation(arguments.out, images, milliseconds=150)
    print(arguments.out)
    if arguments.strip is not None:
        save_picture(strip(images), arguments.strip)
        print(arguments.strip)
