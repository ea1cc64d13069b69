"""One thread for all that the page asks of torch, run by run.

On a CPU each thread that calls torch gets workers of its own, and while two such teams live, waiting for work makes
both slower: a face took half as long again.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# By process: one that was forked, as on ZeroGPU, has not the threads of its parent.
_threads: dict[int, ThreadPoolExecutor] = {}


def submit(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Call it once all that was submitted before is done."""
    process = os.getpid()
    thread = _threads.get(process) or _threads.setdefault(process, ThreadPoolExecutor(1, thread_name_prefix="torch"))
    return thread.submit(function, *args, **kwargs)


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What it returns, or raises. Small work: where there is a GPU for the large, at once in the calling thread."""
    import torch

    if torch.cuda.is_available():
        return function(*args, **kwargs)
    return submit(function, *args, **kwargs).result()
