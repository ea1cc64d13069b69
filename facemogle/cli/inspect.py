"""`python -m facemogle inspect`: what files are, in a few lines each."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facemogle.class_orders import ClassOrder
from facemogle.cli.arguments import CLASSES_HELP, LABEL_MAP_HELP, add_command, classes, in_words
from facemogle.label_files import Reading, read_label_map
from facemogle.labels import NAMES
from facemogle.parsing.photos import read_photo
from facemogle.picture_files import Settings, read_settings

_INSPECT_HELP = f"""\
of a label map: how its classes are written, how much of the picture each takes, and what looks wrong; of a picture
that `generate` drew: the settings that make it again; of a photo: its size. Nothing is changed or written.

{LABEL_MAP_HELP}
examples:
  python -m facemogle inspect map.png
  python -m facemogle inspect map.png --classes face-parsing.pytorch
  python -m facemogle inspect CelebAMask-HQ-mask-anno/0/00000 face.png photo.jpg
"""


def add_inspect(commands) -> None:
    summary = "what a label map, a picture or a photo is"
    command = add_command(commands, "inspect", run_inspect, summary, _INSPECT_HELP)
    command.add_argument("files", type=Path, nargs="+", metavar="FILE", help="label maps, pictures, photos")
    command.add_argument("--classes", type=classes, metavar="NAME", help=CLASSES_HELP)


def run_inspect(arguments: argparse.Namespace) -> None:
    """ValueError in the end where one of the files is nothing that can be used here."""
    failed = []
    for path in arguments.files:
        try:
            print(*(f"{path}: {line}" for line in lines_on(path, arguments.classes)), sep="\n")
        except (ValueError, OSError) as error:
            failed.append(in_words(error))
    if failed:
        raise ValueError(" ".join(failed))


def lines_on(path: Path, order: ClassOrder | None = None) -> Iterator[str]:
    """What the file is, line by line. ValueError where it is neither a label map nor a picture."""
    settings = None if path.is_dir() else _settings_of(path)
    if settings is not None:
        yield from _of_settings(settings)
        return
    try:
        reading = read_label_map(path, classes=order)
    except FileNotFoundError:
        raise
    except ValueError as no_map:
        try:
            photo = read_photo(path)
        except (ValueError, OSError):
            raise no_map from None
        yield f"a photo or a drawing, {_size(photo)}. As a label map: {no_map}"
        return
    yield from _of_map(reading)


def _settings_of(path: Path) -> Settings | None:
    """None of what carries none; what is no picture shows later."""
    try:
        return read_settings(path)
    except ValueError as error:
        if "settings in" in str(error):  # damaged, or of a newer version
            raise
        return None


def _of_settings(settings: Settings) -> Iterator[str]:
    yield f"a picture that was generated, {settings.width}x{settings.height}, by {settings.checkpoint}"
    for name, value in vars(settings).items():
        if name not in ("label_map", "height", "width", "checkpoint", "version") and value is not None:
            yield f"{name}: {value}"
    if settings.label_map is not None:
        yield f"label map: {_size(settings.label_map)}; {_shares(settings.label_map)}"


def _of_map(reading: Reading) -> Iterator[str]:
    yield f"a label map, {_size(reading.label_map)}: {reading.how}"
    yield _shares(reading.label_map)
    yield from reading.messages


def _shares(label_map: np.ndarray) -> str:
    shares = np.bincount(label_map.ravel(), minlength=len(NAMES)) / label_map.size
    return ", ".join(f"{NAMES[one]} {shares[one]:.1%}" for one in np.argsort(-shares) if shares[one])


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
