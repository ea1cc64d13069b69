"""`python -m facemogle change`: one part of a photo drawn anew, in the photo's own resolution."""

import argparse
import os
import sys
from pathlib import Path

from facemogle.cli.arguments import add_command, device, keep_apart, number, picture_path, seed, square, steps, words
from facemogle.parts import PARTS
from facemogle.picture_files import write_photo
from facemogle.presets import PRESET_HELP, PRESETS

_CHANGE_HELP = f"""\
the face is found and read as `parse` does it, the part is drawn anew, and the change alone is enlarged and put back:
the photo keeps its size, and every pixel outside the part, and a little around it, is its own. A JPEG is compressed
again as it is written: name a .png to keep them all. What is changed beyond the crop of the face, as a wide
background, ends before the crop does.

parts: {", ".join(PARTS)}; or a class of its own, such as left_eye.
Hat, glasses, earrings and a necklace are added where there are none.

mini draws portraits of its own kind: in a photograph, what it draws looks drawn. flux draws as photographs are, and
wants a GPU.

examples:
  other hair:       python -m facemogle change photo.jpg --part hair --prompt "red hair" --out new.png
  glasses on:       python -m facemogle change photo.jpg --part glasses --prompt "round glasses" --out new.png
  glasses off:      python -m facemogle change photo.jpg --part glasses --to face --out new.png
  a hat for hair:   python -m facemogle change photo.jpg --part hair --to hat --prompt "a yellow hat" --out new.png
  the second face:  python -m facemogle change photo.jpg --face 1 --part lips --prompt "red lipstick" --out new.png
"""


def add_change(commands) -> None:
    command = add_command(
        commands, "change", run_change, "one part of a photo drawn anew, in its own size", _CHANGE_HELP
    )
    add = command.add_argument
    add("photo", type=Path, metavar="PHOTO", help="a picture of a face, in any size")
    add("--part", required=True, metavar="PART", help="what is to change (see below)")
    add("--prompt", type=words, default="", help="what it is to be, such as red")
    add("--to", metavar="PART", help="what comes in its place, such as hat for hair, or face for glasses")
    add("--out", type=picture_path, required=True, metavar="FILE", help="the photo with the change, in its own size")
    add("--seed", type=seed, default=0, help="same seed, same change (default: %(default)s)")
    add("--steps", type=steps, metavar="N", help="denoising steps (default: the checkpoint's)")
    add("--guidance-scale", type=float, metavar="S", help="how strongly the text guides (default: the checkpoint's)")
    add("--strength", type=float, default=1.0, metavar="S", help="less keeps more of the part, over 0 up to 1")
    add("--parser", metavar="NAME", help="mini, segface, farl, segformer or a folder (default: the best that is here)")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--face", type=number, metavar="N", help="which face, the largest being 0 (default: 0)")
    what.add_argument("--square", type=square, metavar="LEFT,TOP,SIDE", help="where the face is, in pixels")
    what.add_argument("--whole", action="store_true", help="take the picture as it is")
    add("--checkpoint", default="mini", metavar="NAME", help="mini, flux, a folder or a Hub id (default: mini)")
    add("--preset", choices=PRESETS, help=PRESET_HELP)
    add("--device", type=device, help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def run_change(arguments: argparse.Namespace) -> None:
    from facemogle.change import change_part
    from facemogle.checkpoints import load_pipeline

    if not arguments.photo.exists():  # said before the checkpoint is read
        raise ValueError(f"There is no file {arguments.photo}.")
    keep_apart([arguments.photo], [arguments.out])
    if arguments.out.suffix.lower() == ".gif":
        raise ValueError(f"A GIF has too few colours for a photo, got --out {arguments.out}. Name a .png.")
    if not arguments.prompt.strip() and arguments.to is None:
        raise ValueError('Nothing says what the part is to be. Give --prompt, such as "red hair", or --to.')
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it asks for torchvision, which nothing here needs
    changed = change_part(
        arguments.photo,
        arguments.part,
        arguments.prompt,
        to=arguments.to,
        pipeline=load_pipeline(arguments.checkpoint, device=arguments.device, preset=arguments.preset),
        parser=arguments.parser,
        face=arguments.face,
        square=arguments.square,
        whole=arguments.whole,
        seed=arguments.seed,
        num_inference_steps=arguments.steps,
        guidance_scale=arguments.guidance_scale,
        strength=arguments.strength,
    )
    for note in changed.notes:
        print(f"{arguments.photo.name}: {note}", file=sys.stderr)
    write_photo(arguments.out, changed.photo)
    print(arguments.out)
