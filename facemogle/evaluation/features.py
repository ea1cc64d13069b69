"""What networks see in pictures, computed once: a second evaluation of the same files only looks it up.

It is kept in one SQLite file, by the picture's bytes and the network's, so that neither names nor dates matter. A
picture takes up to 8 kB for each network that gives a vector, and less for others; the file may be deleted any time.
"""

import hashlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from facemogle.evaluation.metric import Input, Network, UnreadablePictures
from facemogle.evaluation.networks import cache_folder, find_files
from facemogle.weight_files import check_device, explained
from facemogle.whole_files import sha256_of

_READERS = 4  # threads that read pictures while the network computes

_TABLES = """
CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, shape TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS weights (path TEXT PRIMARY KEY, size INT, time INT, sha256 TEXT NOT NULL);
"""


class FeatureCache:
    """A Features over a folder that holds what was computed before.

    folder: None, the user's cache. networks: a folder with NETWORK/FILE of people's own. download: whether files that
    are on no disk are fetched. ValueError for a device that is not there.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        networks: Path | None = None,
        download: bool = True,
        device: str = "cpu",
    ):
        check_device(device)
        self.file = (folder or cache_folder()) / "features.sqlite"
        self.networks, self.download, self.device = networks, download, device
        self._pictures: dict[tuple[Path, int, int], bytes] = {}  # file, size, time -> digest
        self._loaded: tuple[Any, Callable[..., Tensor]] | None = None  # the last network alone: some take gigabytes
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"{self.file.parent} cannot keep what is computed: {error}. Choose another folder."
            ) from error
        with self._database() as database:
            database.executescript(_TABLES)

    def __call__(self, network: Network, inputs: Sequence[Input]) -> np.ndarray:
        """(n, ...) float32. CheckpointError; UnreadablePictures once all others are computed."""
        files = self.files_of(network)
        identity = hashlib.sha256(repr((network.name, network.version, [digest for _, digest in files])).encode())
        keys, problems = [], {}
        for one in inputs:
            key = identity.copy()
            try:
                for part in _parts(one):
                    key.update(part.encode() if isinstance(part, str) else self._picture_digest(part))
                    key.update(b"\0" if isinstance(part, str) else b"\1")
            except OSError as error:
                problems[Path(error.filename)] = error.strerror or "cannot be read"
            keys.append(key.digest())
        if not problems:
            known = self._look_up(keys)
            missing = {key: one for key, one in zip(keys, inputs, strict=True) if key not in known}
            if missing:
                problems = self._compute(network, [path for path, _ in files], identity.digest(), missing, known)
        if problems:
            raise UnreadablePictures(problems)
        return np.stack([known[key] for key in keys]) if keys else np.empty((0,), np.float32)

    def files_of(self, network: Network) -> list[tuple[Path, str]]:
        """Each file that its features come of, with its sha256. CheckpointError."""
        return find_files(network, self.networks, download=self.download, sha256=self._weights_digest)

    def _compute(
        self,
        network: Network,
        files: list[Path],
        identity: bytes,
        missing: dict[bytes, Input],
        known: dict[bytes, np.ndarray],
    ) -> dict[Path, str]:
        """Adds to `known` and to the file, batch by batch. -> pictures that cannot be read."""
        problems: dict[Path, str] = {}
        judge = self._load(network, files, identity)
        with tqdm(total=len(missing), desc=network.name, unit=" pictures") as bar:
            for batch in _read_ahead(network, missing):
                rows = {key: parts for key, parts in batch if isinstance(parts, tuple)}
                problems |= {path: why for _, parts in batch if isinstance(parts, dict) for path, why in parts.items()}
                if rows:
                    columns = [_stacked(column, self.device) for column in zip(*rows.values(), strict=True)]
                    with torch.inference_mode(), explained(files[0] if files else Path(network.name)):
                        found = judge(*columns).float().cpu().numpy()
                    computed = dict(zip(rows, found, strict=True))
                    known |= computed
                    self._keep(computed)
                bar.update(len(batch))
        return problems

    def _load(self, network: Network, files: list[Path], identity: bytes) -> Callable[..., Tensor]:
        if self._loaded is None or self._loaded[0] != (identity, network):
            self._loaded = None  # before the next takes its place
            self._loaded = (identity, network), network.load(files, self.device)
        return self._loaded[1]

    def _picture_digest(self, path: Path) -> bytes:
        stat = path.stat()
        place = (path, stat.st_size, stat.st_mtime_ns)
        if place not in self._pictures:
            self._pictures[place] = hashlib.sha256(path.read_bytes()).digest()
        return self._pictures[place]

    def _weights_digest(self, path: Path) -> str:
        """Remembered by size and date: gigabytes would take longer than all else of a second evaluation."""
        stat = path.stat()
        place = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
        with self._database() as database:
            query = "SELECT sha256 FROM weights WHERE path = ? AND size = ? AND time = ?"
            if found := database.execute(query, place).fetchone():
                return found[0]
            digest = sha256_of(path)
            database.execute("REPLACE INTO weights VALUES (?, ?, ?, ?)", (*place, digest))
        return digest

    def _look_up(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        known = {}
        with self._database() as database:
            for key in dict.fromkeys(keys):
                row = database.execute("SELECT shape, data FROM features WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    shape = [int(side) for side in row[0].split()]
                    known[key] = np.frombuffer(row[1], np.float32).reshape(shape)
        return known

    def _keep(self, computed: dict[bytes, np.ndarray]) -> None:
        rows = [(key, " ".join(map(str, found.shape)), found.tobytes()) for key, found in computed.items()]
        with self._database() as database:
            database.executemany("REPLACE INTO features VALUES (?, ?, ?)", rows)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """All that is done within is written at its end, or nothing is. Other processes wait for a minute."""
        try:
            with closing(sqlite3.connect(self.file, timeout=60)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise OSError(
                f"{self.file}, with what was computed before, cannot be used: {error}. Delete it, or choose another "
                "folder."
            ) from error


def _parts(one: Input) -> tuple[Path | str, ...]:
    return one if isinstance(one, tuple) else (one,)


def _stacked(column: Sequence[Any], device: str) -> Any:
    return list(column) if isinstance(column[0], str) else torch.stack(list(column)).to(device)


def _read_ahead(
    network: Network, missing: dict[bytes, Input]
) -> Iterator[list[tuple[bytes, tuple[Any, ...] | dict[Path, str]]]]:
    """Batches of keys, each with what the network takes or with what is wrong with its pictures; two read ahead."""

    def read(item: tuple[bytes, Input]) -> tuple[bytes, tuple[Any, ...] | dict[Path, str]]:
        parts, problems = [], {}
        for part in _parts(item[1]):
            try:
                parts.append(part if isinstance(part, str) else network.preprocess(part))
            except Exception as error:  # PIL fails on broken files in ways beyond listing
                problems[Path(part)] = " ".join(str(error).split()) or type(error).__name__
        return item[0], problems or tuple(parts)

    items = iter(missing.items())
    ahead: deque[Iterator[Any]] = deque()
    with ThreadPoolExecutor(_READERS) as pool:
        while chunk := list(islice(items, network.batch)):
            ahead.append(pool.map(read, chunk))
            if len(ahead) > 2:
                yield list(ahead.popleft())
        while ahead:
            yield list(ahead.popleft())
