"""Workers on a Ray cluster: Ray Data's actors, each with the pipeline loaded once, that take jobs as they get free.

Every node needs this package, and the same paths or addresses for label maps, checkpoint and results.
"""

import logging
import pickle
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from facemogle.batch.jobs import Job
from facemogle.batch.libraries import library
from facemogle.batch.model import THREADS, Survey
from facemogle.batch.workers import TRIES, Maker, Surveyed, begin, lost
from facemogle.batch.writing import Entry
from facemogle.checkpoints import CheckpointError

BLOCKS = 5_000  # of jobs at most: what Ray hands out at once, and does again where an actor dies


@dataclass(frozen=True)
class RayWorkers:
    """address: of a running cluster, "auto" for this machine's, "local" for one that is started and ends with this.

    count: of actors; None: one for each of the cluster's GPUs, else for each of its CPUs. device: "cpu" takes no GPU.
    """

    address: str = "local"
    device: str | None = None
    count: int | None = None

    def survey(self, model: Surveyed) -> Survey:
        ray = self._connected()
        try:
            return ray.get(ray.remote(**self._needs(ray)[0])(_surveyed).remote(pickle.dumps(model)))
        except ray.exceptions.RayTaskError as error:  # its own words hold the traceback
            raise CheckpointError(str(error.cause)) from error

    def make(self, maker: Maker, jobs: Sequence[Job], stop: threading.Event) -> Generator[Entry]:
        """CheckpointError where the model cannot be loaded."""
        missing = {job.digest: job for job in jobs}
        # A job that kills its actor takes along what the actor has besides: that comes once more, each by itself.
        for blocks, at_once in ((BLOCKS, 2), (len(jobs), 1)):
            for entry in self._made(maker, list(missing.values()), blocks, at_once):
                del missing[entry["job"]]
                yield entry
                if stop.is_set():
                    return
        for job in missing.values():
            yield lost(maker, job, f"the process that drew it ended {TRIES} times")

    def _made(self, maker: Maker, jobs: Sequence[Job], blocks: int, at_once: int) -> Iterator[Entry]:
        """Of so many blocks, an actor has `at_once`. What is lost with an actor too often is left out."""
        if not jobs:
            return
        blocks = min(blocks, len(jobs))
        ray, data = self._connected(), library("ray.data", "--ray")
        context = data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_errored_blocks = -1  # they come again, or are told of
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")  # which alone ends retrying, before 2.64
        needs, most = self._needs(ray)
        rows = [{"job": pickle.dumps(job)} for job in jobs]
        made = data.from_items(rows, override_num_blocks=blocks).map(
            _Actor,
            fn_constructor_args=[pickle.dumps(maker)],
            compute=data.ActorPoolStrategy(
                min_size=1, max_size=min(most, blocks), max_tasks_in_flight_per_actor=at_once
            ),
            max_task_retries=TRIES - 1,
            **needs,
        )
        for row in made.iter_rows():
            entry = pickle.loads(row["entry"])
            if isinstance(entry, CheckpointError):
                raise entry
            yield entry

    def _needs(self, ray: Any) -> tuple[dict[str, Any], int]:
        """Of each actor, and how many there may be."""
        has = ray.cluster_resources()
        if has.get("GPU") and self.device != "cpu":
            return {"num_gpus": 1, "num_cpus": THREADS}, self.count or int(has["GPU"])
        return {"num_cpus": THREADS}, self.count or max(1, int(has.get("CPU", 1)))

    def _connected(self) -> Any:
        ray = library("ray", "--ray")
        if not ray.is_initialized():
            local = {"include_dashboard": False} if self.address == "local" else {}
            ray.init(address=self.address, logging_level="ERROR", log_to_driver=False, **local)
        return ray


def _surveyed(model: bytes) -> Survey:
    return pickle.loads(model).survey()


class _Actor:
    def __init__(self, maker: bytes):
        self._made = begin(pickle.loads(maker))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        made = self._made
        return {"entry": pickle.dumps(made if isinstance(made, CheckpointError) else made(pickle.loads(row["job"])))}
