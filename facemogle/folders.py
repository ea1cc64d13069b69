"""A folder that a program writes to for hours: its own alone and fit to be written to, both known before they begin."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from filelock import FileLock, Timeout

LOCK_FILE = ".lock"


@contextmanager
def own_folder(folder: Path, *parts: str) -> Iterator[None]:
    """Make a folder; within, no other process can have it. The system frees it with the process, however that ends.

    parts: folders in it that will be written to; those that are there are looked at as well.
    BlockingIOError while another process has it, OSError where something cannot be written to.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, *(folder / part for part in parts)):
            if path.exists():
                TemporaryFile(dir=path).close()
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BlockingIOError(
            f"Another process is writing to {folder}. Wait for it to end or stop it, or choose another folder."
        ) from error
    except OSError as error:
        in_its_place = [path for path in (folder, *folder.parents, *map(folder.joinpath, parts)) if path.is_file()]
        if in_its_place:
            why = f"{in_its_place[0]} is a file where a folder must be. Move it away, or choose another folder."
        else:
            why = f"{folder} cannot be written to: {error}. Make it so, or choose another folder."
        raise type(error)(why) from error
    try:
        yield
    finally:
        lock.release()
