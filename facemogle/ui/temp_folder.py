"""The folder for what visitors send and are shown: the app's own, swept by age, and bounded in size.

Gradio deletes the files of the components that it made at the start, but not those of a session that rebuilt one, of an
upload that broke off, or of a process that was killed. Here a file's age alone counts. Nothing here imports Gradio,
which looks for the folder as soon as it is imported.
"""

import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

EVERY = 60.0  # seconds between two sweeps
AGE = 2 * 3600 - EVERY  # seconds: whatever was written is gone within two hours
LIMIT = 4.0  # GB


class TempFolder:
    """`path`, this process's own, in a root that it shares with others of its kind; all of the root is swept.

    `age`: seconds that a file is kept. `limit`: GB that all of them may take; the oldest go first.
    """

    def __init__(self, root: Path, *, age: float = AGE, limit: float = LIMIT):
        self.root, self.age, self.limit = root, age, limit
        self.path = Path(tempfile.mkdtemp(dir=root))

    def sweep(self, now: float | None = None) -> None:
        """What others delete meanwhile, or hold open on Windows, is passed over."""
        now = time.time() if now is None else now
        files, folders = [], []
        for folder, inner, names in os.walk(self.root, topdown=False):  # which follows no links
            folders.append(folder)
            for path in (os.path.join(folder, name) for name in [*names, *inner]):
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    files.append((max(status.st_mtime, status.st_ctime), status.st_size, path))
        room = self.limit * 1e9
        for written, size, path in sorted(files, reverse=True):
            room -= size
            if room < 0 or now - written > self.age:
                with suppress(OSError):
                    os.unlink(path)
        for folder in folders:
            with suppress(OSError):
                if folder not in (str(self.root), str(self.path)) and now - os.lstat(folder).st_ctime > self.age:
                    os.rmdir(folder)  # which fails where something is left in it

    def keep_swept(self, *, every: float = EVERY) -> None:
        """At once, and from now on as long as the process lives."""

        def sweep() -> None:
            while self.path.exists():
                self.sweep()
                time.sleep(every)

        threading.Thread(target=sweep, name=f"sweep {self.path}", daemon=True).start()

    def size(self) -> int:
        """Bytes that all files of the root take."""
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(self.root) for name in names]
        return sum(os.lstat(path).st_size for path in paths if os.path.lexists(path))

    def remove(self) -> None:
        """This process's part, at its end."""
        shutil.rmtree(self.path, ignore_errors=True)


@cache
def own_folder() -> TempFolder:
    """This process's, in GRADIO_TEMP_DIR or among temporary files; exits with one line where none can be written."""
    given = os.environ.get("GRADIO_TEMP_DIR")
    try:
        root = Path(given, "facemogle") if given else Path(tempfile.gettempdir(), f"facemogle-{_user()}")
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_ones_own(root):  # what it holds would be swept
                raise PermissionError
            return TempFolder(root)
        except OSError:
            return TempFolder(Path(tempfile.mkdtemp(prefix="facemogle-")))
    except OSError as error:  # there is no folder for temporary files at all
        sys.exit(f"Visitors' files need a folder: {error}. Set TMPDIR, or GRADIO_TEMP_DIR, to one that can be written.")


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")


def _is_ones_own(folder: Path) -> bool:
    status = os.lstat(folder)
    return stat.S_ISDIR(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())
