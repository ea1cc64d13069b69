"""What the commands share: help, and how words on the command line become values."""

import argparse
import math
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from facemogle.checkpoints import lora_scales
from facemogle.class_orders import ORDERS, SWAPPED, ClassOrder, class_order
from facemogle.figures import FILMS
from facemogle.gating import EXPERTS
from facemogle.label_files import read_label_map
from facemogle.labels import NAMES
from facemogle.picture_files import MAX_SEED, MAX_STEPS

_CLASSES = "\n".join(
    "".join(f"{class_id:>5} {NAMES[class_id]:<11}" for class_id in range(row, min(row + 5, len(NAMES)))).rstrip()
    for row in range(0, len(NAMES), 5)
)
LABEL_MAP_HELP = f"""\
a label map is a picture that says what each pixel of the face is. It may be a palette or greyscale PNG whose values
are class ids, a picture in the palette's colours, a NumPy file, or a folder of CelebAMask-HQ's parts of a face.
`python -m facemogle inspect FILE` tells what a file is. `left` is the subject's left: right in the picture.
{_CLASSES}
"""
CLASSES_HELP = (
    f"what the values of label maps mean, where not as below: {', '.join(ORDERS)}, each also with {SWAPPED} behind it "
    "for left and right exchanged; or a file with a table, of lines such as 13 hair"
)
MAX_FRAMES = 1000  # of a film, all of which are in the memory at once
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")


def add_command(commands, name: str, run, summary: str, epilog: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=summary, description=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.set_defaults(run=run)
    return command


def read_and_report(path: Path, classes: ClassOrder | None = None) -> np.ndarray:
    reading = read_label_map(path, classes=classes)
    for message in reading.messages:
        print(f"{path}: {message}", file=sys.stderr)
    return reading.label_map


def in_words(error: Exception) -> str:
    """A missing file by its name alone; all other errors as they are."""
    missing = error.filename if isinstance(error, FileNotFoundError) else None
    return f"There is no file {missing}." if missing else str(error)


def report_failure(message: str) -> int:
    print(f"facemogle: {' '.join(message.split())}", file=sys.stderr)
    return 2


def check_film(path: Path) -> None:
    """ValueError where its name ends in no film's ending."""
    if path.suffix.lower() not in FILMS:
        raise ValueError(f"A film is a GIF or a WebP, got --out {path}. Name it {path.stem}.gif or {path.stem}.webp.")


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def square(text: str) -> tuple[float, float, float]:
    """`120,40,300` -> left, top, side; whether it fits the photo shows later."""
    try:
        left, top, side = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected LEFT,TOP,SIDE in pixels such as 120,40,300, got {text!r}") from None
    return left, top, side


def seed(text: str) -> int:
    return _whole(text, 0, MAX_SEED)


def steps(text: str) -> int:
    return _whole(text, 1, MAX_STEPS)


def frames(text: str) -> int:
    return _whole(text, 2, MAX_FRAMES)


def _whole(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or len(text) > 20 or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {text[:40]!r}")
    return int(text)


def words(text: str) -> str:
    """What a terminal of another encoding sends is no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"is not in UTF-8: {ascii(text)[:60]}. Set the terminal to UTF-8") from None
    return text


def classes(text: str) -> ClassOrder:
    try:
        return class_order(text)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def expert_factor(text: str) -> tuple[str, float]:
    """`hair=0` -> "hair", 0.0; the pipeline judges the number."""
    name, _, factor = text.partition("=")
    if name not in EXPERTS:
        raise argparse.ArgumentTypeError(f"expected NAME=NUMBER with a name of {' '.join(EXPERTS)}, got {text!r}")
    try:
        return name, float(factor)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=NUMBER such as hair=0, got {text!r}") from None


def lora(text: str) -> tuple[str, float]:
    """`ink.safetensors:0.6` -> the file, its scale."""
    ((file, scale),) = lora_scales([text]).items()
    if not math.isfinite(scale):
        raise argparse.ArgumentTypeError(f"expected FILE or FILE:SCALE such as ink.safetensors:0.6, got {text!r}")
    return file, scale


def device(text: str) -> str:
    if not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected cpu, cuda, mps or xpu, with or without a number, got {text!r}")
    return text


def size(text: str) -> tuple[int, int]:
    """`512` or `512x768` -> height, width."""
    sides = text.lower().split("x")
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 512x768, got {text!r}")
    return positive(sides[0]), positive(sides[-1])


def output_path(text: str) -> Path:
    """Checked before the run, so that a typing error does not cost one."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written: expected a file in a folder that exists")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written: its place is read-only here. Name another")
    return path


def keep_apart(read: Iterable[Path | None], written: Iterable[Path | None]) -> None:
    """ValueError where a file would be written over what is read, or over another."""
    taken = {path.resolve() for path in read if path is not None}
    for path in filter(None, written):
        if path.resolve() in taken:
            raise ValueError(f"{path} is read here, or written twice, and would be written over. Name another file.")
        taken.add(path.resolve())


def picture_path(text: str) -> Path:
    path = output_path(text)
    if path.suffix.lower() not in PICTURE_ENDINGS:
        raise argparse.ArgumentTypeError(f"{text} does not end in one of {' '.join(PICTURE_ENDINGS)}")
    return path
