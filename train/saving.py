"""Checkpoints that are whole or absent, and the wish to stop: what lets a run go on as if nothing had happened.

A checkpoint is one file: written beside its place, brought to the disk, then renamed. All that a run draws follows from
its seed and its place in the data, so that there are no random states to keep.
"""

import logging
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from facemogle.whole_files import whole_file

BEST = "best.pt"

logger = logging.getLogger(__name__)


class SaveError(OSError):
    """A checkpoint that could not be written; those before it are untouched."""


def path_of(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.pt"


def checkpoints(folder: Path) -> list[Path]:
    """Those of a run's folder, the newest first."""
    return sorted(folder.glob("step-*.pt"), reverse=True)


def save(state: dict[str, Any], path: Path) -> None:
    """SaveError where the disk is full or fails, before anything else is touched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    needed, free = num_bytes(state), shutil.disk_usage(path.parent).free
    try:
        if needed > free:
            raise OSError(f"{path} takes {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free. Make room.")
        with whole_file(path) as part, open(part, "wb") as file:  # a path's name would be kept in it
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        why = str(error) if isinstance(error, OSError) else f"{path} could not be written: {error}. Make room."
        raise SaveError(f"{why} Is the disk full? Earlier checkpoints are untouched.") from error


def num_bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    values = state.values() if isinstance(state, Mapping) else state if isinstance(state, (list, tuple)) else ()
    return sum(map(num_bytes, values))


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep`; what only has a best one's name stays."""
    for path in checkpoints(folder)[keep:]:
        path.unlink()


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def newest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read; None where there is none. ValueError where all are damaged."""
    paths = checkpoints(folder)
    for path in paths:
        try:
            return load(path)
        except Exception as error:  # zip and pickle fail on damaged files with errors of many kinds
            logger.warning(f"{path} is damaged, so the one before it is taken: {' '.join(str(error).split())[:200]}")
    if paths:
        raise ValueError(f"None of the checkpoints in {folder} can be read. Delete them to begin anew.")
    return None


class Stop:
    """Set by SIGTERM or Ctrl+C."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Within, the first SIGTERM or Ctrl+C sets the flag that is given; the second one ends the process at once."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        logger.warning(f"{signal.Signals(number).name}: saving after this step. Once more ends the run without.")
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
