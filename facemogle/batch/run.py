"""A batch from its jobs to its manifest: what is there stays, what is missing is made, and all is written down."""

import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from facemogle.batch.jobs import Job
from facemogle.batch.libraries import library
from facemogle.batch.shards import Shards
from facemogle.batch.workers import Maker, Workers
from facemogle.batch.writing import COLUMNS, MANIFEST, Entry, Journal, Store, read_entries, write_manifest

_RECORDED = ("bytes", "sha256", "seconds", "failure")


@dataclass(frozen=True)
class Outcome:
    """Of pictures: made now, there before, failed; interrupted: before all was tried."""

    made: int
    there: int
    failed: int
    interrupted: bool = False


def run(
    jobs: Sequence[Job], maker: Maker, workers: Workers, *, shard_size: int | None = None, replace: bool = False
) -> Outcome:
    """Make what is missing of the jobs' pictures. Killed and run again, it ends as if undisturbed.

    shard_size: pictures in a tar file; None: each picture is a file. replace: make anew what is there of other jobs.
    ValueError where it is there, BlockingIOError while another batch writes there, CheckpointError, OSError.
    """
    library("pyarrow.parquet", "The manifest")  # hours before it is written
    store = maker.store
    with store.own():
        files = {maker.file_of(job): job for job in jobs}
        sizes = store.sizes()
        entries = read_entries(store, sizes)
        shards = Shards(store, files, shard_size, sizes, replace=replace)
        strangers = [file for file, entry in entries.items() if _is_of_other(entry, files.get(file))]
        if strangers and not replace:
            raise ValueError(_refusal(store, strangers, entries, files))
        if MANIFEST not in sizes and not entries and not replace and (others := sizes.keys() & files.keys()):
            raise ValueError(
                f"{store.address} holds no batch, but {len(others)} files that its pictures would take the place of, "
                f"such as {min(others)}. Choose another folder, or have them made anew with --replace."
            )
        store.remove([file for file in strangers if file in sizes])
        known = {file: entry for file, entry in entries.items() if file in files and file not in set(strangers)}
        there = {
            file: entry
            for file, entry in known.items()
            if not entry.get("failure") and (sizes.get(file) == entry["bytes"] or shards.has(file))
        }
        with _told_of(store):
            write_manifest(store, _rows(files, there, shards))
        return _make_missing(files, there, maker, workers, shards)


def _make_missing(
    files: Mapping[str, Job], there: Mapping[str, Entry], maker: Maker, workers: Workers, shards: Shards
) -> Outcome:
    missing = [job for file, job in files.items() if file not in there]
    entries = dict(there)
    journal, failed = Journal(maker.store), 0
    try:
        with (
            _polite_stop() as stop,
            tqdm(
                total=len(files), initial=len(there), unit="picture", smoothing=0.05,
                mininterval=0.5 if sys.stderr.isatty() else 30, dynamic_ncols=True,
            ) as progress,
            closing(workers.make(maker, missing, stop)) as made,
        ):  # fmt: skip
            with _told_of(maker.store):
                shards.pack(entries)
            for entry in made:
                with _told_of(maker.store):
                    if "unwritten" in entry:
                        raise OSError(entry["unwritten"])
                    journal.add(entry)
                    entries[entry["file"]] = entry
                    failed += "failure" in entry
                    shards.pack(entries, entry["file"])
                progress.set_postfix(failures=failed, refresh=False)
                progress.update()
            interrupted = stop.is_set() and len(entries) < len(files)
    finally:
        with _told_of(maker.store):
            journal.close()
            write_manifest(maker.store, _rows(files, entries, shards))
    return Outcome(len(entries) - len(there) - failed, len(there), failed, interrupted)


@contextmanager
def _told_of(store: Store) -> Iterator[None]:
    """What fails with it, such as a full disk, is told with the remedy."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{store.address} cannot be written to: {error.strerror or error}. Make it so, and run the same command "
            "again: it goes on from here."
        ) from error


def _rows(files: Mapping[str, Job], entries: Mapping[str, Entry], shards: Shards) -> list[Entry]:
    """In the jobs' order, and as they describe them today."""
    return [
        {"file": file, "job": job.digest, "shard": shards.shard_of(file), **job.described()}
        | {name: entries[file].get(name) for name in _RECORDED}
        for file, job in files.items()
        if file in entries
    ]


def _is_of_other(entry: Entry, job: Job | None) -> bool:
    return not entry.get("failure") and (job is None or job.digest != entry["job"])


def _refusal(store: Store, strangers: Sequence[str], entries: Mapping[str, Entry], files: Mapping[str, Job]) -> str:
    first = strangers[0]
    entry, job = entries[first], files.get(first)
    if job is None:
        why = "which is not among them"
    else:
        told = {name: value for name, value in job.described().items() if name in COLUMNS and name in entry}
        told = {name: told[name] for name in told if name not in ("number", "face", "group", "caption", "label_map")}
        other = [f"{name} {entry[name]!r}, not {value!r}" for name, value in told.items() if entry[name] != value]
        why = f"made with {', '.join(other)}" if other else "made with another label map, other weights or settings"
    return (
        f"{store.address} holds {len(strangers)} pictures of other jobs, such as {first}, {why}. Choose another "
        "folder, or have them removed and made anew with --replace."
    )


@contextmanager
def _polite_stop() -> Iterator[threading.Event]:
    """Set by the first Ctrl+C, or by who asks the process to end; the second Ctrl+C is as ever."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tqdm.write("Stopping after the pictures in hand. Ctrl+C again: at once.", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
