"""A step without Python: its kernels are captured once, and then launched as one (a CUDA graph).

FLUX's step takes a GPU less time than Python takes to launch its kernels one by one. A graph holds addresses: it reads
its inputs from buffers of its own, into which each step's are copied, and stands for the modules as they were.
"""

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from facemogle.transformer import has_hooks

MAX_GRAPHS = 4  # sizes, batches and settings
WARM_UPS = 2  # in which libraries set up what may not be set up in a capture, and compiled blocks are compiled

Capture = Callable[[Callable[[], Any]], tuple[Callable[[], object], Any]]

logger = logging.getLogger(__name__)


class CudaCapture:
    """Work that takes no arguments -> what launches it again, and where its results then are. RuntimeError."""

    def __init__(self) -> None:
        self.pool: Any = None  # one for all graphs, which never run at a time

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        if not torch.cuda.is_available():
            raise RuntimeError("there is no CUDA device")
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # What other threads do on the device, such as a parser's work, is no part of it and does not break it.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            results = work()
        return graph.replay, results


@dataclass
class Graph:
    """Inputs are the graph's own buffers; sources, what was last copied into each, with its version then."""

    replay: Callable[[], object]
    inputs: list[Tensor]
    sources: list[tuple[Tensor, int | None]]
    results: Any

    def __call__(self, tensors: list[Tensor]) -> Any:
        """Run on these, which are as its inputs -> results that the next run leaves alone."""
        changed = defaultdict(list)
        for place, (tensor, (source, version)) in enumerate(zip(tensors, self.sources, strict=True)):
            if tensor is not source or version_of(tensor) != version:
                changed[tensor.dtype].append(place)
        for places in changed.values():
            torch._foreach_copy_([self.inputs[place] for place in places], [tensors[place] for place in places])
        self.sources = [(tensor, version_of(tensor)) for tensor in tensors]
        self.replay()
        return tree_map_only(Tensor, Tensor.clone, self.results)


class StepGraphs:
    """Replays a function of tensors, captured on first use for each shape of its arguments and state of its modules.

    Steps aside, with a line in the log, where hooks, caches or offloading watch the modules, a LoRA lies beside their
    weights, there is no CUDA device, or a capture fails, for want of memory for one.
    """

    def __init__(self, capture: Capture | None = None):
        self.capture = capture or CudaCapture()
        self.graphs: OrderedDict[Hashable, Graph | None] = OrderedDict()  # None: could not be captured
        self.said: set[str] = set()

    def of(self, function: Callable[..., Any], modules: Iterable[nn.Module]) -> Callable[..., Any]:
        """`function`, replayed for the length of a run, in which all modules that take part in it stay as they are."""
        modules = list(modules)
        if any(has_hooks(module) for module in modules):
            return self._aside(function, "hooks, a step cache or offloading are on")
        if any(isinstance(module, BaseTunerLayer) and not module.merged for module in modules):
            return self._aside(function, "a LoRA is not fused; pipeline.fuse_lora() does it")
        state = state_of(modules)

        def replayed(*arguments: Any) -> Any:
            leaves, structure = tree_flatten(arguments)
            tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
            key = state, tuple(map(kind, leaves))
            if key not in self.graphs:
                self.graphs[key] = self._captured(function, leaves, structure)
                while len(self.graphs) > MAX_GRAPHS:
                    self.graphs.popitem(last=False)
            self.graphs.move_to_end(key)
            graph = self.graphs[key]
            return function(*arguments) if graph is None else graph(tensors)

        return replayed

    def _captured(self, function: Callable[..., Any], leaves: list[Any], structure: Any) -> Graph | None:
        own = [leaf.clone(memory_format=torch.contiguous_format) if is_tensor(leaf) else leaf for leaf in leaves]
        try:
            replay, results = self.capture(lambda: function(*tree_unflatten(own, structure)))
        except Exception as error:  # of CUDA, its libraries, compilers: whatever it is, the step itself may still run
            self._aside(function, f"the capture failed: {(str(error).strip() or type(error).__name__).splitlines()[0]}")
            return None
        return Graph(replay, list(filter(is_tensor, own)), [(leaf, None) for leaf in own if is_tensor(leaf)], results)

    def _aside(self, function: Callable[..., Any], why: str) -> Callable[..., Any]:
        if why not in self.said:
            logger.warning(f"Steps are launched from Python, not replayed: {why}.")
            self.said.add(why)
        return function


def is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor)


def version_of(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def kind(leaf: Any) -> Hashable:
    """What a graph may not stand for two of."""
    return (leaf.shape, leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def state_of(modules: Iterable[nn.Module]) -> Hashable:
    """Where the weights lie, and what else of the modules is part of their kernels."""
    values = [each for module in modules for each in (*module.parameters(False), *module.buffers(False))]
    settings = [
        (
            getattr(module, "adapter_scale", None),
            getattr(getattr(module, "processor", None), "_attention_backend", None),
            module._compiled_call_impl is not None,
        )
        for module in modules
    ]
    return hash((tuple((each.dtype, each.device, address(each)) for each in values), tuple(settings)))


def address(tensor: Tensor) -> Hashable:
    """Quantised tensors are made of several."""
    if is_traceable_wrapper_subclass(tensor):
        return tuple(address(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return tensor.data_ptr()
