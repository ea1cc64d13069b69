"""Files that are whole or as they were before: a full disk or a kill never leaves half of one in its place."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def whole_file(file: str | os.PathLike | BinaryIO) -> Iterator[Any]:
    """Where to write in place of a file: a path beside it, hidden and with the same suffix, or the file if it is open.

    At the end what was written there is brought to the disk and takes the place of `file`; after an error it goes, and
    where the system made it, an OSError with its errno says which file was meant.
    """
    if not isinstance(file, (str, os.PathLike)):
        yield file
        return
    path = Path(os.path.realpath(file))  # a link stays one
    if path.exists() and not path.is_file():  # as /dev/stdout, which has no place to be taken
        yield path
        return
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if (cause := system_error(error)) is None:
            raise
        why = cause.strerror or str(cause)
        told = type(cause)(f"{file} could not be written: {why}. Make room, or choose another place.")
        told.errno = cause.errno
        raise told from error


def system_error(error: BaseException | None) -> OSError | None:
    """What the system said behind an error that a library made of it; None where it is about something else."""
    found = None
    while error is not None:
        if isinstance(error, OSError):
            found = error if error.strerror or found is None else found
        elif told := re.search(r"\(os error (\d+)\)", str(error)):  # as libraries in Rust do
            found = OSError(int(told[1]), os.strerror(int(told[1])))
        error = error.__cause__ or error.__context__
    return found


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Of what a file holds, however large it is."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
