"""One thread for all that the page asks of torch, run by run.

On a CPU each thread that calls torch gets workers of its own, and while two such teams live, waiting for work makes
both slower: a face took half as long again.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def submit(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Call it once all that was submitted before is done."""
    return _thread_of(os.getpid()).submit(function, *args, **kwargs)


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What it returns, or raises. Small work: where there is a GPU for the large, at once in the calling thread."""
    import torch

    if torch.cuda.is_available():
        return function(*args, **kwargs)
    return submit(function, *args, **kwargs).result()


@cache
def _thread_of(process: int) -> ThreadPoolExecutor:
    """A process that was forked, as ZeroGPU does, has not the threads of its parent."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="torch")
