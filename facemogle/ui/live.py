"""Painting that answers at once: a visitor's newest run in few steps stops the one before."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Latest:
    """At most one run for each visitor goes on: beginning another, or `stop`, sets the flag of the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped: dict[str | None, threading.Event] = {}

    @contextmanager
    def begin(self, visitor: str | None) -> Iterator[threading.Event]:
        stopped = threading.Event()
        with self._lock:
            before = self._stopped.get(visitor)
            self._stopped[visitor] = stopped
        if before:
            before.set()
        try:
            yield stopped
        finally:
            with self._lock:
                if self._stopped.get(visitor) is stopped:
                    del self._stopped[visitor]

    def stop(self, visitor: str | None) -> None:
        with self._lock:
            stopped = self._stopped.get(visitor)
        if stopped:
            stopped.set()
