"""A stand-in for CUDA's capture: it records operators, and runs them again without their Python."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recording(TorchDispatchMode):
    """Operators, their arguments and results, as a CUDA graph holds kernels and addresses; it, too, cannot wait."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, result in self.calls:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():  # no view, nor written in place
                    old.copy_(new)


class Capture:
    """Counts what it captures. While it records, unlike CUDA, the work is done, as in a warm-up."""

    def __init__(self, error=None, *, warm_ups=0):
        self.captured = self.replayed = 0
        self.error, self.warm_ups = error, warm_ups

    def __call__(self, work):
        self.captured += 1
        if self.error:
            raise self.error
        for _ in range(self.warm_ups):
            work()
        with Recording() as recording:
            results = work()
        for leaf in tree_leaves(results):
            leaf.zero_()  # a capture runs nothing

        def replay():
            self.replayed += 1
            recording.replay()

        return replay, results
