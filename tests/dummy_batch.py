"""A batch of a dummy in place of a model, for tests: `python -m tests.dummy_batch JOBS OUT [WORKERS [SHARD_SIZE]]`."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facemogle.batch.jobs import Job, Source, finish, read_jobs
from facemogle.batch.model import Survey
from facemogle.batch.run import Outcome, run
from facemogle.batch.workers import LocalWorkers, Maker
from facemogle.batch.writing import Store
from facemogle.picture_files import Settings

SURVEY = Survey(
    defaults={"height": 16, "width": 16, "num_inference_steps": 1, "guidance_scale": 1.0},
    weights="", preset="", gigabytes=0.0, pixels_per_token=8,
)  # fmt: skip


@dataclass(frozen=True)
class Dummy:
    """Noise of the settings' seed. Prompts may ask it to fail, to wait, or to kill its process, once or whenever."""

    pause: float = 0.0

    def load(self):
        return self._draw

    def _draw(self, settings: Settings) -> Image.Image:
        time.sleep(self.pause)
        match settings.prompt.split():
            case ["fail"]:
                raise ValueError("there is no\nsuch face")
            case ["die"]:
                os._exit(9)
            case ["die", "until", marker] if not Path(marker).exists():
                Path(marker).touch()
                os.kill(os.getpid(), 9)
            case ["full", "until", marker] if not Path(marker).exists():
                Path(marker).touch()
                raise RuntimeError("CUDA out of memory")
        noise = np.random.default_rng([settings.seed, len(settings.prompt)])
        return Image.fromarray(noise.integers(0, 256, (settings.height, settings.width, 3), np.uint8))


def dummy_jobs(place: str | os.PathLike, identity: str = "dummy", survey: Survey = SURVEY, **source) -> list[Job]:
    whole = Source(str(place), **source)
    jobs, _ = read_jobs(whole, {"checkpoint": "dummy"})
    return finish(jobs, whole, survey, identity)


def dummy_batch(jobs: list[Job], out: str | os.PathLike, workers=None, pause: float = 0.0, **options) -> Outcome:
    return run(jobs, Maker(Dummy(pause), Store(str(out))), workers or LocalWorkers("cpu", 1), **options)


if __name__ == "__main__":
    place, out, count, size = sys.argv[1:]
    outcome = dummy_batch(
        dummy_jobs(place), out, LocalWorkers("cpu", int(count)), pause=0.01, shard_size=int(size) or None
    )
    sys.exit(130 if outcome.interrupted else int(outcome.failed > 0))
