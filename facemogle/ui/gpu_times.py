"""How many seconds of a Space's GPU a run asks for: what runs like it took before. A visitor has few of them a day."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facemogle.ui.visit import Visit

if TYPE_CHECKING:
    import numpy as np

START = 5.0  # seconds until a run begins on a GPU that was just given: the weights' way there
MARGIN = 1.5  # over the slowest of the last runs
UNMEASURED = 0.25  # seconds a step and picture of 512x512 before any run: twice what an H200 took
LONGEST = 120  # seconds, which Spaces give at most
LAST_RUNS, KINDS = 8, 64  # kept of each kind of work, and of kinds


@dataclass(frozen=True)
class Work:
    steps: int
    pictures: int
    pixels: int  # of a picture

    @property
    def amount(self) -> float:
        """In steps of a picture of 512x512."""
        return self.steps * self.pictures * self.pixels / 512**2


class GpuTimes:
    """Records the runs of the function that it watches. `size`: a label map or None -> height, width of the picture."""

    def __init__(self, size: Callable[[np.ndarray | None], tuple[int, int]]):
        self.size = size
        self.seconds: OrderedDict[Work, deque[float]] = OrderedDict()

    def wanted(self, visit: Visit, *fields: Any) -> int:
        """Seconds for the page's fields, as `spaces.GPU(duration=...)` asks."""
        return min(LONGEST, math.ceil(START + MARGIN * self.expected(self.work(*fields))))

    def watched(self, generate: Callable[..., Generator[tuple]]) -> Callable[..., Generator[tuple]]:
        """The same, in the process of the page: what it yields comes from that of the GPU."""

        def watching(visit: Visit, *fields: Any) -> Generator[tuple]:
            work, asked, start = self.work(*fields), self.wanted(visit, *fields), time.monotonic()
            try:
                with closing(generate(visit, *fields)) as updates:
                    for outputs in updates:
                        if isinstance(outputs[-1], Visit) and outputs[-1].run is not None:
                            self.add(work, outputs[-1].run.seconds)
                        yield outputs
            except Exception:
                if time.monotonic() - start >= asked:  # the GPU was taken away: ask for more the next time
                    self.add(work, 2.0 * asked)
                raise

        return watching

    def work(self, label_map: np.ndarray | None, prompt: Any, seed: Any, pictures: Any, steps: Any, *_: Any) -> Work:
        """Of the page's fields, as `handlers.read_request` takes them."""
        height, width = self.size(label_map)
        return Work(steps or 1, pictures or 1, height * width)

    def add(self, work: Work, seconds: float) -> None:
        self.seconds.setdefault(work, deque(maxlen=LAST_RUNS)).append(seconds)
        self.seconds.move_to_end(work)
        if len(self.seconds) > KINDS:
            self.seconds.popitem(last=False)

    def expected(self, work: Work) -> float:
        """Seconds of such a run, rather too many than too few: as before, or in proportion to others."""
        if work in self.seconds:
            return max(self.seconds[work])
        if not self.seconds:
            return UNMEASURED * work.amount
        slowest = {other: max(seconds) for other, seconds in self.seconds.items()}
        in_proportion = max(seconds / other.amount for other, seconds in slowest.items()) * work.amount
        of_more_work = [seconds for other, seconds in slowest.items() if other.amount >= work.amount]
        return min(in_proportion, *of_more_work) if of_more_work else in_proportion
