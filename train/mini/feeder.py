"""Worker processes that make samples without end, in memory that the trainer shares. Without torch: they start fast.

A recipe makes one sample from a seed, arrays by name, of the same shapes and dtypes each time; it is pickled on its way
to the workers. They share nothing with each other, so that one may die at any time and hold up no other.
"""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from itertools import chain, repeat
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import cv2
import numpy as np

from facemogle.threads import inherited

Sample = dict[str, np.ndarray]
Recipe = Callable[[int], Sample]
FAILURES, DEATHS = 20, 3  # samples in a row, and workers for each that there are, after which it is given up
# Each worker has a core, not all of them.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Worker(NamedTuple):
    process: BaseProcess
    orders: Connection  # for places in `samples`, with the seeds to fill them from
    samples: np.ndarray


class Feed(AbstractContextManager):
    """Samples of a recipe by `workers` processes, for seeds of `seeds` alone; a context manager that ends them.

    Past its end `seeds` begins again. slots: for each worker, the most samples that wait to be taken. `sample`: one, to
    tell what they are like.
    """

    def __init__(self, recipe: Recipe, *, workers: int, slots: int, seeds: range):
        self.recipe, self.slots, self.sample = recipe, slots, recipe(seeds[0])
        self.dtype = np.dtype([(name, array.dtype, array.shape) for name, array in self.sample.items()])
        self.seeds = chain.from_iterable(repeat(seeds))
        self.failures = self.deaths = 0
        self.workers: dict[Connection, Worker] = {}  # by where they tell of filled places
        for _ in range(workers):
            self._start()

    def _start(self) -> None:
        spawn = get_context("spawn")
        memory = spawn.RawArray("B", self.slots * self.dtype.itemsize)  # in /dev/shm if there is room, else in a file
        (theirs, orders), (made, their_made) = spawn.Pipe(duplex=False), spawn.Pipe(duplex=False)
        arguments = self.recipe, memory, self.dtype, theirs, their_made
        process = spawn.Process(target=work, args=arguments, daemon=True)
        with inherited(ONE_THREAD), theirs, their_made:  # both are closed here, so that a death shows
            process.start()
        self.workers[made] = worker = Worker(process, orders, np.frombuffer(memory, self.dtype))
        for place in range(self.slots):
            self._order(worker, place)

    def _order(self, worker: Worker, place: int) -> None:
        with suppress(BrokenPipeError):  # its death is seen where it is heard
            worker.orders.send((place, next(self.seeds)))

    def __exit__(self, *exception) -> None:
        self.stop()

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.join()
        self.workers.clear()

    def take(self, limit: int) -> Sample:
        """At most `limit` finished samples, stacked, or nothing: it does not wait. Workers that died are told of and
        replaced; RuntimeError once too many have, or too many samples in a row could not be made."""
        taken: list[tuple[Worker, int, bool]] = []
        made: Any  # the connections of workers
        while len(taken) < limit and (ready := wait(self.workers, 0)):
            for made in ready[: limit - len(taken)]:
                try:
                    taken.append((self.workers[made], *made.recv()))
                except EOFError:
                    process = self.workers.pop(made).process
                    process.join()
                    print(f"a worker died (exit code {process.exitcode}); another takes its place", flush=True)
                    self.deaths += 1
                    self._start()
        arrays = {
            name: [worker.samples[name][place] for worker, place, filled in taken if filled] for name in self.sample
        }
        samples = {name: np.stack(values) for name, values in arrays.items() if values}
        for worker, place, filled in taken:
            self.failures = 0 if filled else self.failures + 1
            self._order(worker, place)
        if self.failures >= FAILURES or self.deaths > DEATHS * len(self.workers):
            raise RuntimeError(
                f"{self.deaths} workers that make samples have died, and {self.failures} samples in a row could not be "
                "made. Their own messages stand above; memory may be short: try fewer --workers."
            )
        return samples


def work(recipe: Recipe, memory, dtype: np.dtype, orders: Connection, made: Connection) -> None:
    """The life of a worker. It ends when the trainer is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted trainer ends its workers itself
    with suppress(AttributeError, OSError):
        os.nice(10)
    cv2.setNumThreads(1)
    samples = np.frombuffer(memory, dtype)
    with suppress(EOFError, BrokenPipeError):
        while True:
            place, seed = orders.recv()
            try:
                samples[place] = tuple(recipe(seed).values())
                filled = True
            except Exception as error:
                print(f"seed {seed}: {error!r}", flush=True)
                filled = False
            made.send((place, filled))
