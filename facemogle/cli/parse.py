"""`python -m facemogle parse`: the label map of a face in a photo, or of all in a folder."""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from facemogle.cli.arguments import (
    LABEL_MAP_HELP,
    PICTURE_ENDINGS,
    add_command,
    device,
    keep_apart,
    number,
    report_failure,
    square,
)
from facemogle.faces import parse_face
from facemogle.label_files import write_label_map
from facemogle.parsing.cleanup import swap_sides
from facemogle.picture_formats import save_picture

_PARSE_HELP = f"""\
the face is found in the photo, turned upright and cut out as the generator expects it, 512x512, and a parser says of
each pixel what it is. A picture that shows nothing but a face, from over the hair to the neck, is taken as it is, and
so is one that `generate` drew.

{LABEL_MAP_HELP}
examples:
  a photo:          python -m facemogle parse photo.jpg --out map.png
  to change it:     python -m facemogle parse photo.jpg --out map.png --crop-out face.png
                    then paint on a copy of map.png, here new.png, and
                    python -m facemogle generate --image face.png --source-map map.png --label-map new.png --out it.png
  the second face:  python -m facemogle parse photo.jpg --face 1 --out map.png
  no face found:    python -m facemogle parse photo.jpg --square 120,40,300 --out map.png
  as it is:         python -m facemogle parse drawing.png --whole --out map.png
  how sure it is:   python -m facemogle parse photo.jpg --out map.png --confidence sure.png
  a folder:         python -m facemogle parse photos --out maps --crop-out faces
"""
# With those that cannot be read, but are told of.
_PHOTO_ENDINGS = (*PICTURE_ENDINGS, ".avif", ".bmp", ".heic", ".heif", ".jp2", ".tif", ".tiff")


def add_parse(commands) -> None:
    command = add_command(commands, "parse", run_parse, "the label map of a face in a photo", _PARSE_HELP)
    add = command.add_argument
    add("photo", type=Path, metavar="PHOTO", help="a picture, or a folder: then every picture in it")
    add("--out", type=Path, required=True, metavar="PNG", help="the label map; for a folder, the folder of the maps")
    add("--crop-out", type=Path, metavar="PNG", help="also write the part of the photo that the map is of")
    add(
        "--confidence",
        type=Path,
        metavar="PNG",
        help="also write how sure the parser is: white, fully",
    )
    add("--parser", metavar="NAME", help="mini, segface, farl, segformer or a folder (default: the best that is here)")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--face", type=number, metavar="N", help="which face, the largest being 0 (default: 0)")
    what.add_argument("--square", type=square, metavar="LEFT,TOP,SIDE", help="the square to parse, in pixels")
    what.add_argument("--whole", action="store_true", help="parse the picture as it is")
    add("--no-clean", action="store_true", help="leave small islands, which else join what surrounds them")
    add("--swap-sides", action="store_true", help="exchange left and right in the map")
    add("--device", type=device, help="cpu, cuda, cuda:1, ... (default: cpu)")


def run_parse(arguments: argparse.Namespace) -> None:
    photo = arguments.photo
    if not photo.exists():
        raise ValueError(f"There is no file and no folder {photo}.")
    paths = {"--out": arguments.out, "--crop-out": arguments.crop_out, "--confidence": arguments.confidence}
    outputs = {option: path for option, path in paths.items() if path is not None}
    keep_apart([photo], outputs.values())
    if photo.is_dir():
        return _parse_folder(arguments, outputs)
    for option, path in outputs.items():
        if path.suffix.lower() != ".png" or path.is_dir() or not path.parent.is_dir():
            raise ValueError(f"{option} {path} cannot be written: expected a .png file in a folder that exists.")
    _parse_file(arguments, photo, outputs)


def _parse_folder(arguments: argparse.Namespace, outputs: dict[str, Path]) -> None:
    """Option -> the folder of what it writes, made where it is missing. A picture that fails is told of and skipped."""
    photos = sorted(path for path in arguments.photo.iterdir() if path.suffix.lower() in _PHOTO_ENDINGS)
    if not photos:
        raise ValueError(f"No picture is in {arguments.photo}: no name ends in one of {' '.join(_PHOTO_ENDINGS)}.")
    for folder in outputs.values():
        folder.mkdir(exist_ok=True)
    stems = [photo.stem for photo in photos]
    failed = 0
    for photo in photos:
        # face.jpg gives face.png, but face.jpg.png where a face.webp is there too.
        name = f"{photo.stem if stems.count(photo.stem) == 1 else photo.name}.png"
        try:
            _parse_file(arguments, photo, {option: folder / name for option, folder in outputs.items()})
        except (ValueError, OSError) as error:
            failed += 1
            report_failure(str(error) if photo.name in str(error) else f"{photo.name}: {error}")
    print(f"{len(photos) - failed} of {len(photos)} pictures parsed.", file=sys.stderr)
    if failed:
        raise ValueError(f"{failed} of {len(photos)} pictures could not be parsed: see above.")


def _parse_file(arguments: argparse.Namespace, photo: Path, outputs: dict[str, Path]) -> None:
    parse = parse_face(
        photo,
        parser=arguments.parser,
        face=arguments.face,
        square=arguments.square,
        whole=arguments.whole,
        clean=not arguments.no_clean,
        device=arguments.device,
    )
    for note in parse.notes:
        print(f"{photo.name}: {note}", file=sys.stderr)
    write_label_map(outputs["--out"], swap_sides(parse.label_map) if arguments.swap_sides else parse.label_map)
    if "--crop-out" in outputs:
        save_picture(Image.fromarray(parse.crop), outputs["--crop-out"])
    if "--confidence" in outputs:
        save_picture(Image.fromarray(np.round(parse.confidence * 255).astype(np.uint8)), outputs["--confidence"])
    for path in outputs.values():
        print(path)
