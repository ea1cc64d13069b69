"""What threads are told by the environment, before torch or numpy is imported: how to wait, how many to be."""

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

# OpenMP's threads spin for milliseconds before they sleep. Where another program wants the core, that takes much longer
# than sleeping at once; where none does, threads that sleep at once are a quarter slower. What lies between is measured
# by tests/benchmarks/threads.py.
SHORT_SPIN = {
    "GOMP_SPINCOUNT": "3000",  # rounds, of libgomp, which is in torch's wheels for Linux
    "KMP_BLOCKTIME": "1",  # milliseconds, of libomp and libiomp5, in those for macOS and Windows, and in conda
}
CHOSEN = "OMP_WAIT_POLICY"  # the standard's own, which says the same of any OpenMP


def spin_shortly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads that are out of work sleep soon, unless the person has said how they wait."""
    if CHOSEN in environment:
        return
    for name, value in SHORT_SPIN.items():
        environment.setdefault(name, value)


@contextmanager
def inherited(changes: dict[str, str]) -> Iterator[None]:
    """By a process that is started within: variables of its environment."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
