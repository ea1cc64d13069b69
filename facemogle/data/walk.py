"""The files below a folder: links followed, without going round in circles, and hidden folders left out."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from facemogle.data.names import TABLE_SUFFIXES, TEXT_SUFFIXES, name_of

# What operating systems and network disks put into folders, besides what begins with a dot.
_SYSTEMS_FOLDERS = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information")


class Walk:
    """Its files in order, each folder once; `left_out` fills with what was passed over: hidden, or of another kind.

    skipped: folders that hold something else. deep: with the folders below.
    """

    def __init__(
        self, folder: Path, suffixes: Sequence[str], *, skipped: Iterable[Path | None] = (), deep: bool = True
    ):
        self.folder, self.suffixes, self.deep = folder, suffixes, deep
        self.left_out: dict[str, list[Path]] = {}
        real = os.path.realpath(folder)
        # A link to a folder in which this one lies would bring in all that lies beside it.
        self._seen = {real, *map(str, Path(real).parents), *(os.path.realpath(each) for each in skipped if each)}

    def __iter__(self) -> Iterator[Path]:
        for parent, folders, files in os.walk(self.folder, followlinks=True):
            folders[:] = [name for name in sorted(folders) if self.deep and self._is_new(Path(parent, name))]
            for name in sorted(files):
                path = Path(parent, name)
                if name.startswith("."):
                    self._leave_out("hidden", path)
                elif path.suffix.lower() in self.suffixes:
                    yield path
                elif path.suffix.lower() not in (*TEXT_SUFFIXES, *TABLE_SUFFIXES):
                    self._leave_out("of another kind", path)

    def name_of(self, path: Path) -> str:
        """Within the folder; see names.py."""
        return name_of(str(path.relative_to(self.folder)))

    def _is_new(self, folder: Path) -> bool:
        if is_hidden(folder.name):
            self._leave_out("hidden", folder)
            return False
        real = os.path.realpath(folder)
        new = real not in self._seen
        self._seen.add(real)
        return new

    def _leave_out(self, why: str, path: Path) -> None:
        self.left_out.setdefault(why, []).append(path)


def is_hidden(folder: str) -> bool:
    return folder.startswith(".") or folder.casefold() in _SYSTEMS_FOLDERS


def children(folder: Path) -> list[Path]:
    """The folders in it, and links to folders, but for hidden ones; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))
    except OSError:
        return []
