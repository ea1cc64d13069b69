"""Files that are whole or as they were before: a full disk or a kill never leaves half of one in its place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def whole_file(file: str | os.PathLike | BinaryIO) -> Iterator[Any]:
    """Where to write in place of a file: a path beside it, hidden and with the same suffix, or the file if it is open.

    At the end what was written there is brought to the disk and takes the place of `file`; after an error it goes, and
    an OSError says which file was meant, and that nothing has changed.
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
    except OSError as error:
        part.unlink(missing_ok=True)
        why = error.strerror or str(error)
        raise type(error)(f"{file} could not be written: {why}. Make room, or choose another place.") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
