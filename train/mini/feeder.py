"""Worker processes that make samples without end, into memory that the trainer shares. Without torch: they start fast.

A recipe makes one sample from a seed, arrays by name, of the same shapes and dtypes each time; it is pickled on its way
to the workers. Every worker has a ring of slots with one writer, itself, and one reader.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from multiprocessing import get_context, parent_process

import cv2
import numpy as np

from facemogle.threads import inherited

Sample = dict[str, np.ndarray]
Recipe = Callable[[int], Sample]
FAILURES = 20  # samples in a row, after which a worker gives up
MADE, TAKEN, NEXT, STOPPED = range(4)
# Each worker has a core, not all of them.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Rings:
    """The shared memory of all workers: their samples, which are like the one given, and counters."""

    def __init__(self, sample: Sample, workers: int, slots: int):
        self.workers, self.slots = workers, slots
        self.spec = {name: (array.shape, array.dtype.name) for name, array in sample.items()}
        self._dtype = np.dtype([(name, dtype, shape) for name, (shape, dtype) in self.spec.items()])
        allocate = get_context("spawn").RawArray  # in /dev/shm where there is room, else in a temporary file
        self._samples = allocate(ctypes.c_uint8, workers * slots * self._dtype.itemsize)
        self._counters = allocate(ctypes.c_int64, workers * 4)

    def samples(self) -> np.ndarray:
        """(workers, slots) records; `samples()[name]` is (workers, slots, ...)."""
        return np.frombuffer(self._samples, self._dtype).reshape(self.workers, self.slots)

    def counters(self) -> np.ndarray:
        """(workers, 4): made, taken, the next seed, whether to stop."""
        return np.frombuffer(self._counters, np.int64).reshape(self.workers, 4)


class Feed(AbstractContextManager):
    """Samples of a recipe by `workers` processes, for seeds of `seeds` alone; a context manager that ends them.

    They end by themselves when this process is gone, however it went. Past its end `seeds` begins again.
    """

    def __init__(self, recipe: Recipe, *, workers: int, slots: int, seeds: range):
        self.recipe, self.seeds = recipe, seeds
        self.rings = Rings(recipe(seeds[0]), workers, slots)
        self.samples, self.counters = self.rings.samples(), self.rings.counters()
        self.counters[:, NEXT] = np.arange(workers)
        self.processes = [self._start(index) for index in range(workers)]
        self.deaths, self.turn = 0, 0

    def _start(self, index: int):
        process = get_context("spawn").Process(
            target=work, args=(self.recipe, self.rings, index, self.seeds), daemon=True
        )
        with inherited(ONE_THREAD):
            process.start()
        return process

    def __exit__(self, *exception) -> None:
        self.stop()

    def stop(self) -> None:
        self.counters[:, STOPPED] = 1
        end = time.monotonic() + 3
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def made(self) -> int:
        return int(self.counters[:, MADE].sum())

    def take(self, into: Sample, limit: int) -> int:
        """Copy at most `limit` finished samples to the front of arrays (limit, ...) -> how many."""
        count = 0
        for step in range(len(self.processes)):
            worker = (self.turn + step) % len(self.processes)
            made, taken = self.counters[worker, [MADE, TAKEN]].tolist()
            while taken < made and count < limit:
                first = taken % self.rings.slots
                more = min(made - taken, self.rings.slots - first, limit - count)
                for name, target in into.items():
                    target[count : count + more] = self.samples[name][worker, first : first + more]
                taken, count = taken + more, count + more
            self.counters[worker, TAKEN] = taken
        self.turn = (self.turn + 1) % len(self.processes)
        return count

    def mend(self) -> None:
        """Say which workers have died and start others in their place. RuntimeError once none is likely to live."""
        for index, process in enumerate(self.processes):
            if process.is_alive():
                continue
            self.deaths += 1
            print(f"worker {index} died (exit code {process.exitcode}); another takes its place", flush=True)
            if self.deaths > 3 * len(self.processes):
                raise RuntimeError(
                    f"{self.deaths} workers that make samples have died, the last one with exit code "
                    f"{process.exitcode}. Their own messages stand above; memory may be short: try fewer --workers."
                )
            self.processes[index] = self._start(index)


def work(recipe: Recipe, rings: Rings, index: int, seeds: range) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted trainer ends its workers itself
    with suppress(AttributeError, OSError):
        os.nice(10)
    cv2.setNumThreads(1)
    samples, counters, parent = rings.samples()[index], rings.counters()[index], parent_process()
    failures = 0
    while not counters[STOPPED] and parent is not None and parent.is_alive():
        if counters[MADE] - counters[TAKEN] >= rings.slots:
            time.sleep(0.01)
            continue
        seed = seeds[int(counters[NEXT]) % len(seeds)]
        counters[NEXT] += rings.workers  # first, so that a seed that kills is not tried again
        try:
            sample = recipe(seed)
        except Exception as error:
            failures += 1
            print(f"worker {index}, seed {seed}: {error!r}", flush=True)
            if failures == FAILURES:
                raise
            continue
        failures = 0
        for name, value in sample.items():
            samples[name][counters[MADE] % rings.slots] = value
        counters[MADE] += 1
