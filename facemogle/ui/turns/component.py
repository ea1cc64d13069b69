"""Whose turn it is: who waits for the model is told how many runs go before, and for about how long."""

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from facemogle.ui.component import PageComponent, script_beside

MODEL = "model"  # the queue in which all runs of it stand
LAST = 9  # runs, of which the median tells how long the next one takes


class Turns(PageComponent):
    """Shows nothing of its own: its value, in words, takes the place of a status that only says to wait.

    The event `ask`, again and again while the page waits, is for a new value.
    """

    def __init__(self, *, elem_id: str | None = None, render: bool = True):
        super().__init__(elem_id=elem_id, render=render, **script_beside(__file__, "turns"))


class Pace:
    """How long runs took that came to their end, and since when the present one runs."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=LAST)
        self._start = 0.0

    def timed(self, paint: Callable[..., Iterator[tuple]]) -> Callable[..., Iterator[tuple]]:
        def timing(*fields: Any) -> Iterator[tuple]:
            self._start = time.monotonic()
            yield from paint(*fields)
            self._seconds.append(time.monotonic() - self._start)

        return timing

    def left(self, runs: int) -> float | None:
        """Seconds until so many runs are through, the present one among them; None before one has been."""
        if not self._seconds:
            return None
        each, since = statistics.median(self._seconds), time.monotonic() - self._start
        return each * (runs - 1) + max(0.0, each - since)


def turn(queue: Any, pace: Pace, session: str | None) -> str:
    """What a session is told that waits in Gradio's queue; "" where it has no run there."""
    line = queue.event_queue_per_concurrency_id.get(MODEL)  # None before the first run of all
    sessions = [event.session_hash for event in line.queue] if line else []
    before = line.current_concurrency + sessions.index(session) if session in sessions else 0
    if not before:
        return ""
    seconds = pace.left(before)
    about = "" if seconds is None else f", about {max(1, round(seconds))} s"
    return f"Waiting for your turn: {before} before you{about}."
