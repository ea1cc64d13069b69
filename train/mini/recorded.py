"""A step that is recorded once as a CUDA graph and replayed: Python launches a small model's kernels too slowly."""

from collections.abc import Callable

import torch
from torch import Tensor

Draw = dict[str, Tensor]
WARM_UP = 3  # calls that run as they are: kernels are chosen and compiled, optimiser states made


class Recorder:
    """How a step is recorded by CUDA."""

    def aside(self, call: Callable[[], Draw]) -> Draw:
        """Run it as a recording would, but for real."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            results = call()
        torch.cuda.current_stream().wait_stream(stream)
        return results

    def record(self, call: Callable[[], Draw]) -> tuple[Draw, Callable[[], None]]:
        """Record it, without running it -> where its results will be, and what runs it."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        # Only this thread's calls are held to what a recording allows: others may save or copy meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            results = call()
        return results, graph.replay


class RecordedStep:
    """Call it as the step itself; it must draw nothing at random, wait for nothing, and keep its shapes.

    recorder: None runs the step as it is, as does a recording that fails, which is said.
    """

    def __init__(self, step: Callable[[Draw], Draw], recorder: Recorder | None):
        self.step, self.recorder = step, recorder
        self.calls = 0
        self._replay: Callable[[], None] | None = None
        self._inputs: Draw = {}
        self._results: Draw = {}

    def __call__(self, draw: Draw) -> Draw:
        self.calls += 1
        if self.recorder is None:
            return self.step(draw)
        if self.calls <= WARM_UP:
            return self.recorder.aside(lambda: self.step(draw))
        if self._replay is None:
            self._inputs = {name: tensor.clone() for name, tensor in draw.items()}
            try:
                self._results, self._replay = self.recorder.record(lambda: self.step(self._inputs))
            except Exception as error:
                print(f"a step cannot be recorded, and runs as it is: {str(error).splitlines()[0]!r}", flush=True)
                self.recorder = None
                return self.step(draw)
        for name, tensor in draw.items():
            self._inputs[name].copy_(tensor)
        self._replay()
        return self._results
