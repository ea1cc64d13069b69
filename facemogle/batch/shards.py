"""Pictures in tar files as WebDataset reads them: NUMBER.png or .jpg, .txt with the prompt, .map.png, .json.

A shard holds as many jobs, in their order, whoever made them. It is written whole once all of them were tried, and then
takes the place of their files.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping

from facemogle.batch.jobs import Job
from facemogle.batch.writing import Entry, Store
from facemogle.label_files import write_label_map
from facemogle.picture_files import read_settings


class Shards:
    """size: jobs in each; None: each picture stays a file. sizes: what the store holds.

    ValueError where it holds shards of other jobs, or in another order, unless they may be replaced.
    """

    def __init__(
        self,
        store: Store,
        files: Mapping[str, Job],
        size: int | None,
        sizes: Mapping[str, int],
        *,
        replace: bool = False,
    ):
        self._store, self._files = store, files
        names = list(files) if size else []
        step = size or 1
        self._members = {f"{start // step:06}.tar": names[start : start + step] for start in range(0, len(names), step)}
        self._shard_of = {file: shard for shard, members in self._members.items() for file in members}
        self._keys = {file: f"{place:08}" for place, file in enumerate(names)}
        self._packed: dict[str, dict[str, str]] = {}  # of each shard, the digests of the jobs in it
        for shard in sorted(name for name in sizes if re.fullmatch(r"\d{6}\.tar", name)):
            try:
                packed = {told["file"]: told["job"] for told in self._told(shard)}
            except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
                why = " ".join(str(error).split())
                raise ValueError(
                    f"{store.address}/{shard} is damaged, or no shard of a batch: {why}. Move it away."
                ) from error
            if set(packed) <= set(self._members.get(shard, ())):
                self._packed[shard] = packed
                store.remove([file for file in packed if file in sizes and self.has(file)])  # `_write` was killed
            elif replace:
                store.remove([shard])
            else:
                raise ValueError(
                    f"{store.address} holds the shard {shard} of other jobs, of others in another order, or of another "
                    "--shards. Give them as before, choose another folder, or have it made anew with --replace."
                )

    def shard_of(self, file: str) -> str | None:
        return self._shard_of.get(file)

    def has(self, file: str) -> bool:
        """Whether a shard holds the picture of this very job."""
        return self._packed.get(self._shard_of.get(file, ""), {}).get(file) == self._files[file].digest

    def pack(self, entries: Mapping[str, Entry], made: str | None = None) -> None:
        """Write the shards all of whose jobs were tried: that of the picture just made, or any. OSError."""
        for shard, members in self._members.items():
            if made is not None and shard != self._shard_of[made]:
                continue
            if all(file in entries for file in members):
                good = [file for file in members if not entries[file].get("failure")]
                digests = {file: self._files[file].digest for file in good}
                if digests != self._packed.get(shard, {}):
                    self._write(shard, good, entries)
                    self._packed[shard] = digests

    def _write(self, shard: str, files: list[str], entries: Mapping[str, Entry]) -> None:
        kept = [file for file in files if self.has(file)]
        single = [file for file in files if not self.has(file)]
        with self._store.whole(shard) as part, tarfile.open(part, "w") as tar:
            old = dict(self._pictures(shard)) if kept else {}
            for file in files:
                data = old[file] if file in kept else self._store.read(file)
                for ending, content in self._sample(file, data, entries[file]):
                    about = tarfile.TarInfo(f"{self._keys[file]}.{ending}")  # of no time and nobody, so that it repeats
                    about.size = len(content)
                    tar.addfile(about, io.BytesIO(content))
        self._store.remove(single)

    def _sample(self, file: str, data: bytes, entry: Entry) -> Iterator[tuple[str, bytes]]:
        job = self._files[file]
        yield file.rpartition(".")[2], data
        yield "txt", job.settings.prompt.encode()
        settings = read_settings(io.BytesIO(data))
        if settings is not None and settings.label_map is not None:
            png = io.BytesIO()
            write_label_map(png, settings.label_map)
            yield "map.png", png.getvalue()
        told = {"file": file, "job": job.digest, "sha256": entry["sha256"], **job.described()}
        yield "json", json.dumps(told).encode()

    def _told(self, shard: str) -> Iterator[dict]:
        with self._store.opened(shard) as file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                if member.name.endswith(".json") and (content := tar.extractfile(member)) is not None:
                    yield json.loads(content.read())

    def _pictures(self, shard: str) -> Iterator[tuple[str, bytes]]:
        files = {f"{key}.{file.rpartition('.')[2]}": file for file, key in self._keys.items()}
        with self._store.opened(shard) as source, tarfile.open(fileobj=source) as tar:
            for member in tar:
                if member.name in files and (content := tar.extractfile(member)) is not None:
                    yield files[member.name], content.read()
