"""`python -m facemogle generate`, `parse` and `gating`."""

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from facemogle import figures
from facemogle.checkpoints import CheckpointError, load_pipeline
from facemogle.faces import parse_face
from facemogle.gating import EXPERTS, GatingRecord, inside_outside, load_gating, save_gating
from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import NAMES
from facemogle.parsing.cleanup import swap_sides
from facemogle.parsing.photos import read_photo
from facemogle.picture_files import Settings, read_settings, write_picture

_CLASSES = "\n".join(
    "".join(f"{class_id:>5} {NAMES[class_id]:<11}" for class_id in range(row, min(row + 5, len(NAMES)))).rstrip()
    for row in range(0, len(NAMES), 5)
)
_LABEL_MAP_HELP = f"""\
a label map is a picture that says what each pixel of the face is. It may be a palette or greyscale PNG whose values
are class ids, or an RGB picture in the palette's colours. `left` is the subject's left: right in the picture.
{_CLASSES}
"""
_GENERATE_HELP = f"""\
{_LABEL_MAP_HELP}
examples:
  text and map:   python -m facemogle generate --prompt "a woman with red hair" --label-map map.png --out face.png
  map only:       python -m facemogle generate --label-map map.png --out face.png
  text only:      python -m facemogle generate --prompt "a man with a black hat" --out face.png
  four seeds:     python -m facemogle generate --label-map map.png --num-images 4 --seed 7 --out face.png
  and the why:    python -m facemogle generate --label-map map.png --out face.png --gating gating.npz
                  python -m facemogle gating gating.npz --face face.png --out grid.png
  less of hair:   python -m facemogle generate --label-map map.png --expert-scale hair=0.5 --out face.png
  once more:      python -m facemogle generate --from face.png --out again.png
  but older:      python -m facemogle generate --from face.png --prompt "an old woman" --out older.png
  change a part:  python -m facemogle generate --image photo.png --source-map old.png --label-map map.png --out new.png
  a part by mask: python -m facemogle generate --image photo.png --region hair.png --prompt "red hair" --out new.png
  the whole:      python -m facemogle generate --image photo.png --strength 0.6 --prompt "an old man" --out new.png
  FLUX.1-dev:     python -m facemogle generate --checkpoint flux --label-map map.png --out face.png
"""
_GATING_HELP = f"""\
{_LABEL_MAP_HELP}
examples:
  all steps in one:  python -m facemogle gating gating.npz --out grid.png
  over the face:     python -m facemogle gating gating.npz --face face.png --label-map map.png --out grid.png
  first step:        python -m facemogle gating gating.npz --step 0 --out grid.png
  as a film:         python -m facemogle gating gating.npz --animate --out gating.gif
  over time:         python -m facemogle gating gating.npz --curves --out curves.png
"""
_PARSE_HELP = f"""\
the face is found in the photo, turned upright and cut out as the generator expects it, 512x512, and a parser says of
each pixel what it is. A picture that shows nothing but a face, from over the hair to the neck, is taken as it is, and
so is one that `generate` drew.

{_LABEL_MAP_HELP}
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
_FROM_HELP = "take all but --adapter and --mogle from this picture's settings; options given here come before them"
_IMAGE_HELP = "change this picture instead of drawing a new one: resized to --size, and exact where it may not change"
_SOURCE_HELP = "the label map of --image as it is: it may change where --label-map differs, and a little around"
_REGION_HELP = "instead of --source-map: where --image may change, in white on black"
_STRENGTH_HELP = "how much of --image is drawn anew where it may change, over 0 up to 1 (default: 1)"
_NUM_IMAGES_HELP = "over 1: of as many seeds, from --seed upwards, written as NAME-0.png, NAME-1.png, ..."
_EXPERT_SCALE_HELP = "an expert's weight times S: hair=0 mutes hair, global=2 doubles the global one; may be repeated"
# What the checkpoint decides is not among them.
_DEFAULTS = {
    "prompt": "", "label_map": None, "seed": 0, "condition_scale": 1.0, "expert_scale": None, "checkpoint": "mini",
    "strength": None,
}  # fmt: skip
_PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_PHOTO_ENDINGS = (*_PICTURE_ENDINGS, ".avif", ".bmp", ".jp2", ".tif", ".tiff")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command -> the exit code: 0, 2 after an error of the user's (one line on stderr), 130 after Ctrl+C."""
    arguments = parse_arguments(argv)
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # what is too large is refused in our own words
    try:
        arguments.run(arguments)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except (CheckpointError, ValueError, IndexError, OSError, FloatingPointError) as error:
        return _failed(str(error))
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        return _failed(f"{error} Make a smaller --size, or run with --device cpu.")
    return 0


def _failed(message: str) -> int:
    print(f"facemogle: {' '.join(message.split())}", file=sys.stderr)
    return 2


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse itself exits with code 2 on what it cannot read."""
    parser = argparse.ArgumentParser(prog="python -m facemogle", description="Face-MoGLE: a face from a label map.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_generate(commands)
    _add_parse(commands)
    _add_gating(commands)
    return parser.parse_args(argv)


def _add_generate(commands) -> None:
    summary = "a face from a prompt, a label map or both"
    command = _add_command(commands, "generate", run_generate, summary, _GENERATE_HELP)
    add = command.add_argument
    add("--prompt", help="what the face looks like; none: the label map alone decides")
    add("--label-map", type=Path, metavar="PNG", help="where things are (see below); none: the text alone decides")
    add("--image", type=Path, metavar="PNG", help=_IMAGE_HELP)
    region = command.add_mutually_exclusive_group()
    region.add_argument("--source-map", type=Path, metavar="PNG", help=_SOURCE_HELP)
    region.add_argument("--region", type=Path, metavar="PNG", help=_REGION_HELP)
    add("--strength", type=float, metavar="S", help=_STRENGTH_HELP)
    add("--from", dest="source", type=Path, metavar="PNG", help=_FROM_HELP)
    add("--out", type=_picture_path, required=True, metavar="PNG", help="the picture; a PNG carries its settings")
    add("--gating", type=_output_path, metavar="NPZ", help="also write the gating weights of every step")
    add("--seed", type=_seed, help="same seed, same picture (default: 0)")
    add("--num-images", type=_positive, default=1, metavar="N", help=_NUM_IMAGES_HELP)
    add("--steps", type=_positive, metavar="N", help="denoising steps (default: the checkpoint's)")
    add("--guidance-scale", type=float, metavar="S", help="how strongly the text guides (default: the checkpoint's)")
    add("--condition-scale", type=float, metavar="S", help="how strongly the label map guides (default: 1)")
    add("--expert-scale", type=_expert_factor, action="append", metavar="NAME=S", help=_EXPERT_SCALE_HELP)
    add("--size", type=_size, default=(None, None), metavar="HxW", help="as 512 or 512x768 (default: the checkpoint's)")
    add("--checkpoint", metavar="NAME", help="mini, flux, a folder or a Hub id (default: mini)")
    add("--adapter", metavar="FILE", help="LoRA weights in place of the checkpoint's")
    add("--mogle", metavar="FILE", help="MoGLE weights in place of the checkpoint's")
    add("--device", type=_device, help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def _add_parse(commands) -> None:
    command = _add_command(commands, "parse", run_parse, "the label map of a face in a photo", _PARSE_HELP)
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
    what.add_argument("--face", type=_number, metavar="N", help="which face, the largest being 0 (default: 0)")
    what.add_argument("--square", type=_square, metavar="LEFT,TOP,SIDE", help="the square to parse, in pixels")
    what.add_argument("--whole", action="store_true", help="parse the picture as it is")
    add("--no-clean", action="store_true", help="leave small islands, which else join what surrounds them")
    add("--swap-sides", action="store_true", help="exchange left and right in the map")
    add("--device", type=_device, help="cpu, cuda, cuda:1, ... (default: cpu)")


def _add_gating(commands) -> None:
    command = _add_command(commands, "gating", run_gating, "figures of recorded gating weights", _GATING_HELP)
    add = command.add_argument
    add("record", type=Path, metavar="NPZ", help="what `generate --gating` wrote")
    add("--out", type=_picture_path, required=True, metavar="PNG", help="the figure to write")
    add("--face", type=Path, metavar="PNG", help="draw the maps over this picture")
    add("--label-map", type=Path, metavar="PNG", help="outline each class, and print the weights inside and outside it")
    add("--image", type=int, default=0, metavar="N", help="which image of the run (default: %(default)s)")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--step", type=int, metavar="N", help="draw one step, from 0 (default: the mean over the steps)")
    what.add_argument("--animate", action="store_true", help="draw every step, as a GIF")
    what.add_argument("--curves", action="store_true", help="draw each expert's mean weight over the steps")


def _add_command(commands, name: str, run, summary: str, epilog: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=summary, description=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.set_defaults(run=run)
    return command


def run_generate(arguments: argparse.Namespace) -> None:
    given = _given_settings(arguments)
    edit = _given_edit(arguments, given["strength"])
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it asks for torchvision, which nothing here needs
    pipeline = load_pipeline(
        given["checkpoint"], adapter=arguments.adapter, mogle=arguments.mogle, device=arguments.device
    )
    import torch

    own = {name: pipeline.config[name] for name in ("height", "width", "num_inference_steps", "guidance_scale")}
    first = Settings(**own | given)
    records = []
    # One by one: a picture of a batch need not be, to the last bit, what its seed makes alone.
    for index in range(arguments.num_images):
        settings = replace(first, seed=(first.seed + index) % 2**64)
        result = pipeline(
            settings.prompt,
            label_map=settings.label_map,
            height=settings.height,
            width=settings.width,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            condition_scale=settings.condition_scale,
            expert_scale=settings.expert_scale,
            generator=torch.Generator().manual_seed(settings.seed),
            record_gating=arguments.gating is not None,
            **edit,
        )
        (image,) = result.images
        number = "" if arguments.num_images == 1 else f"-{index}"
        path = arguments.out.with_stem(arguments.out.stem + number)
        if path.suffix.lower() == ".png":
            write_picture(path, image, replace(settings, height=image.height, width=image.width))
        else:
            image.save(path)
        print(path)
        if result.gating is not None:
            records.append(result.gating)
    if records:
        weights = np.concatenate([record.weights for record in records], axis=1)
        save_gating(arguments.gating, GatingRecord(weights, records[0].timesteps))
        print(arguments.gating)


def _given_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of Settings: from the command line, else from the picture of --from, else the defaults."""
    given: dict[str, Any] = _DEFAULTS
    if arguments.source is not None:
        restored = read_settings(arguments.source)
        if restored is None:
            raise ValueError(f"{arguments.source} carries no settings. PNG files that `generate` wrote do.")
        given = vars(restored)
        print(f"{arguments.source}: seed {restored.seed}, checkpoint {restored.checkpoint}", file=sys.stderr)
    strength = arguments.strength
    if strength is None and arguments.image is not None and given["strength"] is None:
        strength = 1.0  # an edit's settings always have one
    options = {
        "prompt": arguments.prompt,
        "label_map": None if arguments.label_map is None else _read_and_report(arguments.label_map),
        "seed": arguments.seed,
        "num_inference_steps": arguments.steps,
        "guidance_scale": arguments.guidance_scale,
        "condition_scale": arguments.condition_scale,
        "expert_scale": arguments.expert_scale and (given["expert_scale"] or {}) | dict(arguments.expert_scale),
        "strength": strength,
        "height": arguments.size[0],
        "width": arguments.size[1],
        "checkpoint": arguments.checkpoint,
    }
    return given | {name: value for name, value in options.items() if value is not None}


def _given_edit(arguments: argparse.Namespace, strength: float | None) -> dict[str, Any]:
    """The pipeline's arguments that change a picture; none where none is given. `strength` as in Settings."""
    if arguments.image is None:
        if arguments.source is not None and strength is not None and arguments.strength is None:
            raise ValueError(
                f"{arguments.source} was made by changing a picture, which it does not carry. Give that with --image, "
                "and what may change with --source-map or --region."
            )
        if strength is not None or arguments.source_map is not None or arguments.region is not None:
            raise ValueError("--source-map, --region and --strength change a picture. Give it with --image.")
        return {}
    edit: dict[str, Any] = {"image": read_photo(arguments.image), "strength": strength}
    if arguments.source_map is not None:
        edit["source_label_map"] = _read_and_report(arguments.source_map)
    if arguments.region is not None:
        edit["edit_region"] = _read_region(arguments.region)
    return edit


def _read_region(path: Path) -> np.ndarray:
    """(H, W) bool, True where it is light."""
    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB").convert("L")) > 127
    except (SyntaxError, Image.DecompressionBombError) as error:  # PIL: SyntaxError, broken PNG
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error


def run_parse(arguments: argparse.Namespace) -> None:
    photo = arguments.photo
    paths = {"--out": arguments.out, "--crop-out": arguments.crop_out, "--confidence": arguments.confidence}
    outputs = {option: path for option, path in paths.items() if path is not None}
    if len({path.resolve() for path in (photo, *outputs.values())}) <= len(outputs):
        raise ValueError(f"{photo} and {', '.join(outputs)} must all differ: one would be written over another.")
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
            _failed(str(error) if photo.name in str(error) else f"{photo.name}: {error}")
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
        Image.fromarray(parse.crop).save(outputs["--crop-out"])
    if "--confidence" in outputs:
        Image.fromarray(np.round(parse.confidence * 255).astype(np.uint8)).save(outputs["--confidence"])
    for path in outputs.values():
        print(path)


def run_gating(arguments: argparse.Namespace) -> None:
    if arguments.animate and arguments.out.suffix.lower() != ".gif":
        raise ValueError(f"--animate writes a GIF, got --out {arguments.out}. Name it {arguments.out.stem}.gif.")
    record = load_gating(arguments.record)
    weights = record.at(arguments.step, image=arguments.image)
    label_map = None if arguments.label_map is None else _read_and_report(arguments.label_map)
    face = None if arguments.face is None else Image.open(arguments.face)
    if label_map is not None:
        print(ratio_table(weights, label_map))
    if arguments.curves:
        figures.curves(record.expert_means(image=arguments.image), record.timesteps).save(arguments.out)
    elif arguments.animate:
        run = record.weights[:, arguments.image]
        figures.save_animation(
            arguments.out, figures.step_frames(run, record.timesteps, face=face, label_map=label_map)
        )
    else:
        step = "mean over the steps" if arguments.step is None else f"step {arguments.step}"
        figures.expert_grid(weights, face=face, label_map=label_map, title=step).save(arguments.out)
    print(arguments.out)


def ratio_table(weights: np.ndarray, label_map: np.ndarray) -> str:
    """(E, h, w), (H, W) -> a table of each present class's mean weight inside its region, outside it, and the ratio."""
    rows = [f"{'class':<12} {'inside':>8} {'outside':>8} {'ratio':>7}"]
    for name, (inside, outside) in zip(NAMES, inside_outside(weights, label_map), strict=True):
        if np.isfinite(inside) and np.isfinite(outside):
            rows.append(f"{name:<12} {inside:8.4f} {outside:8.4f} {inside / max(outside, 1e-9):7.2f}")
    return "\n".join(rows)


def _read_and_report(path: Path) -> np.ndarray:
    label_map, off_palette = read_label_map(path)
    if off_palette:
        share = off_palette / label_map.size
        print(
            f"{path}: {off_palette} pixels ({share:.1%}) are not in the palette's colours; took the nearest class.",
            file=sys.stderr,
        )
    return label_map


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _square(text: str) -> tuple[float, float, float]:
    """`120,40,300` -> left, top, side; whether it fits the photo shows later."""
    try:
        left, top, side = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected LEFT,TOP,SIDE in pixels such as 120,40,300, got {text!r}") from None
    return left, top, side


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**64:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 and below 2**64, got {text!r}")
    return int(text)


def _expert_factor(text: str) -> tuple[str, float]:
    """`hair=0` -> "hair", 0.0; the pipeline judges the number."""
    name, _, factor = text.partition("=")
    if name not in EXPERTS:
        raise argparse.ArgumentTypeError(f"expected NAME=NUMBER with a name of {' '.join(EXPERTS)}, got {text!r}")
    try:
        return name, float(factor)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=NUMBER such as hair=0, got {text!r}") from None


def _device(text: str) -> str:
    if not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected cpu, cuda, mps or xpu, with or without a number, got {text!r}")
    return text


def _size(text: str) -> tuple[int, int]:
    """`512` or `512x768` -> height, width."""
    sides = text.lower().split("x")
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 512x768, got {text!r}")
    return _positive(sides[0]), _positive(sides[-1])


def _output_path(text: str) -> Path:
    """Checked before the run, so that a typing error does not cost one."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written: expected a file in a folder that exists")
    return path


def _picture_path(text: str) -> Path:
    path = _output_path(text)
    if path.suffix.lower() not in _PICTURE_ENDINGS:
        raise argparse.ArgumentTypeError(f"{text} does not end in one of {' '.join(_PICTURE_ENDINGS)}")
    return path
