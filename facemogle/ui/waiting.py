"""The place in the queue, told while it lasts."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr
from gradio.queueing import Queue

from facemogle.ui import views

EVERY = 0.5  # seconds
GRACE = 1.0  # seconds, in which the request has to be in the queue


async def watch_place(queue: Queue, line: str, visitor: str | None) -> AsyncIterator[Any]:
    """Yield what the status says while a request of this visitor waits in the line, a concurrency_id of the queue.

    Asynchronous, so that many who wait take no threads.
    """
    yield gr.skip()
    start, seen = time.monotonic(), False
    while True:
        ahead, seconds = place(queue, line, visitor)
        if ahead is not None:
            seen = True
            if ahead:
                yield views.status(_told(ahead, seconds), running=True)
        elif seen or time.monotonic() - start > GRACE:
            return
        await asyncio.sleep(EVERY)


def place(queue: Queue, line: str, visitor: str | None) -> tuple[int | None, float | None]:
    """(runs before the visitor's, seconds until its turn): None where nothing waits, or no run has been timed yet."""
    events = queue.event_queue_per_concurrency_id.get(line)
    waiting = [event.session_hash for event in events.queue] if events else []
    if events is None or visitor not in waiting:
        return None, None
    under_way = [start for starts in events.start_times_per_fn.values() for start in starts]
    ahead = waiting.index(visitor)
    taken = [queue.process_time_per_fn[event.fn].avg_time for event in events.queue
             if event.fn in queue.process_time_per_fn]  # fmt: skip
    if not taken:
        return ahead + len(under_way), None
    usual = sum(taken) / len(taken)
    left = max((usual - (time.time() - start) for start in under_way), default=0)
    return ahead + len(under_way), max(0, left) + ahead * usual


def _told(ahead: int, seconds: float | None) -> str:
    runs = "one run" if ahead == 1 else f"{ahead} runs"
    when = "" if seconds is None else f", about {max(1, round(seconds))} s"
    return f"Waiting for your turn: {runs} before yours{when} …"
