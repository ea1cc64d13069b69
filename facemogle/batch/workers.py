"""What a worker does, and workers on one machine: a process for each GPU, or some on the CPU.

A process has one job at a time. Whichever draws a picture, its bytes are the same.
"""

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any, Protocol

from facemogle.batch.jobs import Job
from facemogle.batch.model import THREADS, Draw, Survey
from facemogle.batch.writing import Entry, Store, hash_of
from facemogle.checkpoints import CheckpointError
from facemogle.picture_files import CARRYING, write_picture
from facemogle.threads import inherited

TRIES = 3  # of a job whose process died, and of starting one
BROKEN = 70  # exit code of a process whose GPU does nothing any more
SPARE = 2.0  # GB of memory that a process takes besides its weights, twice, which are read before they are placed

Make = Callable[[Job], Entry]
_spawn = multiprocessing.get_context("spawn")


class Loads(Protocol):
    """As model.Model."""

    def load(self) -> Draw: ...


class Surveyed(Loads, Protocol):
    def survey(self) -> Survey: ...


class Workers(Protocol):
    """Where pictures are made."""

    def survey(self, model: Any) -> Survey: ...

    def make(self, maker: "Maker", jobs: Sequence[Job], stop: threading.Event) -> Generator[Entry]:
        """One entry for each job, in any order; once `stop` is set, only of those that are being made."""
        ...


@dataclass(frozen=True)
class Maker:
    """Makes pictures and puts them in their places.

    ending: of their names, which says the format. gigabytes: of the model's weights.
    """

    model: Loads
    store: Store
    ending: str = ".png"
    gigabytes: float = 0.0

    def start(self) -> Make:
        """Raises what loading the model does."""
        draw = self.model.load()
        return lambda job: self._made(job, draw)

    def file_of(self, job: Job) -> str:
        return job.name + self.ending

    def _made(self, job: Job, draw: Draw) -> Entry:
        """Whatever goes wrong is in the entry. What may go right a second time is tried again."""
        begin = time.perf_counter()
        entry: Entry = {"file": self.file_of(job), "job": job.digest}
        for last in (False, True):
            data = None
            try:
                data = self._drawn(job, draw)
                self.store.write(entry["file"], data)
                entry |= {"bytes": len(data), "sha256": hash_of(data)}
                break
            except Exception as error:
                why = " ".join(str(error).split()) or type(error).__name__
                if last and data is not None:  # nor would the next be written
                    entry["unwritten"] = why
                if "CUDA error" in why:  # nor would any later job succeed in this process
                    print(f"facemogle: {entry['file']}: {why}", file=sys.stderr, flush=True)
                    os._exit(BROKEN)
                if last or not (isinstance(error, OSError) or "out of memory" in why):
                    entry["failure"] = why
                    break
        return entry | {"seconds": round(time.perf_counter() - begin, 3)}

    def _drawn(self, job: Job, draw: Draw) -> bytes:
        settings = job.whole_settings()
        file = io.BytesIO()
        write_picture(file, draw(settings), settings, format=CARRYING[self.ending])
        return file.getvalue()


def begin(maker: Maker) -> Make | CheckpointError:
    """In a worker, from which the error is handed on."""
    try:
        return maker.start()
    except (CheckpointError, ValueError, OSError, RuntimeError) as error:
        return CheckpointError(str(error))


def lost(maker: Maker, job: Job, why: str) -> Entry:
    """Of a job whose worker did not come back."""
    return {"file": maker.file_of(job), "job": job.digest, "failure": why, "seconds": None}


# On one machine


@dataclass(frozen=True)
class LocalWorkers:
    """count: of processes; None: one for each GPU, else as many as the CPU has cores and the memory has room for."""

    device: str | None = None
    count: int | None = None

    def survey(self, model: Surveyed) -> Survey:
        if not self._gpus():
            return model.survey()
        with ProcessPoolExecutor(1, mp_context=_spawn) as pool:  # who has looked at a GPU keeps some of its memory
            return pool.submit(model.survey).result()

    def environments(self, gigabytes: float = 0.0) -> list[dict[str, str]]:
        """Of each process, for weights of so many GB."""
        if gpus := self._gpus():
            count = min(self.count or len(gpus), len(gpus))
            return [{"CUDA_VISIBLE_DEVICES": gpu, **_ONE_THREAD} for gpu in gpus[:count]]
        on_cpu = self.device in (None, "cpu", "cuda")
        return [_ONE_THREAD] * (self.count or (_fitting(gigabytes) if on_cpu else 1))

    def _gpus(self) -> list[str]:
        """As CUDA_VISIBLE_DEVICES names them; [] where they are not used."""
        if self.device not in (None, "cuda"):
            return []
        import torch

        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = [name.strip() for name in visible.split(",")] if visible else map(str, range(1024))
        return [name for name, _ in zip(names, range(torch.cuda.device_count()), strict=False)]

    def make(self, maker: Maker, jobs: Sequence[Job], stop: threading.Event) -> Generator[Entry]:
        """CheckpointError where processes cannot begin."""
        waiting, tries = deque(jobs), Counter[str]()
        failed_starts = 0
        processes = [_Process(maker, each) for each in self.environments(maker.gigabytes)[: len(jobs)]]
        try:
            while any(process.job for process in processes) or (waiting and not stop.is_set()):
                heard = connection.wait([process.pipe for process in processes], timeout=0.5)
                for index, process in enumerate(processes):
                    if process.pipe not in heard:
                        continue
                    entry = process.receive()
                    if isinstance(entry, CheckpointError):
                        raise entry
                    if isinstance(entry, _Died):
                        failed_starts += not process.ready
                        if failed_starts >= TRIES:
                            raise CheckpointError(f"Processes end before they can draw: {entry.why}.")
                        if (job := process.job) is not None:
                            tries[job.name] += 1
                            if tries[job.name] < TRIES:
                                waiting.appendleft(job)
                            else:
                                yield lost(maker, job, f"{entry.why}, {TRIES} times")
                        processes[index] = _Process(maker, process.environment)
                        continue
                    failed_starts, process.job = 0, None
                    if waiting and not stop.is_set():
                        process.give(waiting.popleft())
                    if entry is not None:
                        yield entry
        finally:
            for process in processes:
                process.end()


@dataclass
class _Died:
    why: str


@dataclass
class _Process:
    """pipe: gives None once it is ready, then an entry for each job. job: what it has in hand."""

    maker: Maker
    environment: dict[str, str]
    job: Job | None = None
    ready: bool = False
    pipe: connection.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_work, args=(theirs, self.maker), daemon=True)
        with inherited(self.environment):
            self._process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it has died, as receiving will tell
            self.pipe.send(job)

    def receive(self) -> Entry | CheckpointError | _Died | None:
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            return _Died(f"the process that drew it ended with {_told(self._process.exitcode or 0)}")
        self.ready = True
        return message

    def end(self) -> None:
        """At once where it has a picture in hand: that is not in the journal, and will be made again."""
        self.pipe.close()
        if self.job is None and self.ready:
            self._process.join(timeout=10)
        self._process.kill()
        self._process.join()


def _work(pipe: connection.Connection, maker: Maker) -> None:
    """A process: until its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to all; the parent says when to end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    make = begin(maker)
    if isinstance(make, CheckpointError):
        pipe.send(make)
        return
    pipe.send(None)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(make(pipe.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _told(exit_code: int) -> str:
    if exit_code < 0:
        killed = signal.Signals(-exit_code).name
        return killed + (", as for want of memory" if killed == "SIGKILL" else "")
    return f"exit code {exit_code}" + (" after a CUDA error" if exit_code == BROKEN else "")


_ONE_THREAD = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}


def _fitting(gigabytes: float) -> int:
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory().available / 1e9
    return max(1, min(cores, int(memory / (SPARE + 2 * gigabytes))))
