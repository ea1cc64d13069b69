"""Checkpoints that are whole or absent, and the wish to stop: what lets a run go on as if nothing had happened.

A checkpoint is one file: written beside its place, brought to the disk, then renamed. All that a run draws follows from
its seed and its place in the data, so that there are no random states to keep.
"""

import errno
import logging
import shutil
import signal
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from facemogle.whole_files import whole_file

BEST = "best.pt"
DAMAGED = ".damaged"  # behind the name of a checkpoint that was set aside

logger = logging.getLogger(__name__)


class SaveError(OSError):
    """A checkpoint that could not be written; those before it are untouched. `full`: for want of room."""

    full = False


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
            why = f"{path} takes {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free. Make room."
            raise OSError(errno.ENOSPC, why)
        with whole_file(path) as part, open(part, "wb") as file:  # a path's name would be kept in it
            torch.save(state, file)
    except OSError as error:
        told = SaveError(f"{error.strerror or error} Earlier checkpoints are untouched.")
        told.full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise told from error


def save_making_room(state: dict[str, Any], path: Path) -> None:
    """As `save`; where the disk is full, checkpoints that are older than the newest whole one make room, if they can.

    The newest whole one stays, whatever comes: until another is whole, all of the run hangs on it.
    """
    try:
        save(state, path)
        return
    except SaveError as error:
        older = older_than_whole(path) if error.full else []
        free = shutil.disk_usage(path.parent).free + sum(each.stat().st_size for each in older)
        if not older or num_bytes(state) > free:
            raise
        logger.warning(f"{error} {', '.join(each.name for each in older)} will make room.")
    for each in older:
        each.unlink()
    save(state, path)


def older_than_whole(path: Path) -> list[Path]:
    """The checkpoints beside `path` that are older than the newest one that can be read."""
    others = [each for each in checkpoints(path.parent) if each != path]
    for place, each in enumerate(others):
        try:
            load(each)
        except ValueError:
            continue
        return others[place + 1 :]
    return []


def num_bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    values = state.values() if isinstance(state, Mapping) else state if isinstance(state, (list, tuple)) else ()
    return sum(map(num_bytes, values))


def prune(folder: Path, keep: int, *, saved: Path) -> None:
    """Delete all but the newest `keep`, of which the one just `saved` is one; what has another name stays."""
    for path in [path for path in checkpoints(folder) if path != saved][keep - 1 :]:
        path.unlink()


def load(path: Path) -> dict[str, Any]:
    """ValueError where a checkpoint is cut short, or any of its bytes has changed, of which torch takes no notice."""
    try:
        with zipfile.ZipFile(path) as file:
            if changed := file.testzip():
                raise ValueError(f"{changed} in it has changed")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # zip and pickle fail on damaged files with errors of many kinds
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())[:200]}.") from error


def newest(folder: Path, *, set_aside: bool = False) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, or else the best; None where there is none.

    set_aside: the damaged ones before it are renamed, so that they are no longer counted. Where all are damaged, none
    is, and a ValueError says so: a run must not begin anew without being told to.
    """
    damaged = []
    for path in [*checkpoints(folder), *folder.glob(BEST)]:
        try:
            state = load(path)
        except ValueError as error:
            logger.warning(f"{error} Another one is taken.")
            damaged.append(path)
            continue
        for each in damaged if set_aside else ():
            each.replace(each.with_name(each.name + DAMAGED))
            logger.warning(f"{each} is now called {each.name}{DAMAGED}.")
        return state
    if damaged:
        raise ValueError(f"None of the checkpoints in {folder} can be read. Delete them to begin anew.")
    return None


def sweep(folder: Path) -> None:
    """Delete what a kill left of checkpoints that it broke off."""
    for part in folder.glob(".*.part.pt"):
        part.unlink()


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
