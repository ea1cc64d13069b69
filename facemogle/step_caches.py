"""Step caches by name: steps that are told from those before them instead of being computed.

diffusers' own, by `enable_cache`, with what they need to know of a run: MagCache takes how much the blocks' residual
grows from each step to the next, which depends on the checkpoint and on the number of steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig
from torch import Tensor

from facemogle.transformer import FaceMoGLETransformer2DModel

FIRST_BLOCK = 0.08  # how much the first block's residual may change, in its own size
INTERVAL = 3  # of steps that TaylorSeer computes, after the first three
MAGNITUDE = 0.06  # how far the residual's size may be off, summed since the last computed step

_CONFIGS: dict[str, Callable[[], Any]] = {
    "first-block": lambda: FirstBlockCacheConfig(threshold=FIRST_BLOCK),
    "taylor": lambda: TaylorSeerCacheConfig(cache_interval=INTERVAL, use_lite_mode=True, taylor_factors_dtype=None),
}
NAMES = (*_CONFIGS, "magnitude")


@dataclass
class StepCache:
    """One of NAMES on a transformer, whose blocks may be compiled afterwards, but for "magnitude". ValueError."""

    transformer: FaceMoGLETransformer2DModel
    name: str
    ratios: dict[int, list[float]] = field(default_factory=dict)  # by number of steps
    growth: "Growth | None" = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"There is no step cache {self.name!r}. They are {', '.join(NAMES)}.")
        self._refuse_compiled()
        self.remove()
        if self.name in _CONFIGS:
            self.transformer.enable_cache(_CONFIGS[self.name]())

    def begin(self, steps: int) -> None:
        """Before a run of so many steps. "magnitude" computes all of the first of each number, and learns from it."""
        if self.name in _CONFIGS:
            return
        self._refuse_compiled()
        if self.growth is not None and self.growth.whole:
            self.ratios[self.growth.steps] = self.growth.ratios()
        self.remove()
        if steps in self.ratios:
            config = MagCacheConfig(threshold=MAGNITUDE, num_inference_steps=steps, mag_ratios=self.ratios[steps])
            self.transformer.enable_cache(config)
        else:
            self.growth = Growth(self.transformer, steps)

    def _refuse_compiled(self) -> None:
        if any(block._compiled_call_impl is not None for block in self.transformer.blocks()):
            raise ValueError(
                f"The step cache {self.name} cannot be put into blocks that are compiled. Enable it before; magnitude, "
                "which changes from run to run, goes with blocks that are not compiled."
            )

    def remove(self) -> None:
        if self.growth is not None:
            self.growth.remove()
            self.growth = None
        if self.transformer.is_cache_enabled:
            self.transformer.disable_cache()


class Growth:
    """Watches a run: how much the blocks' residual on the image and condition rows grows from step to step."""

    def __init__(self, transformer: FaceMoGLETransformer2DModel, steps: int):
        self.steps = steps
        self.norms: list[Tensor] = []  # of each row's residual, call by call
        blocks = transformer.blocks()
        self.given: Tensor | None = None
        self.hooks = [
            blocks[0].register_forward_pre_hook(self._before),
            blocks[-1].register_forward_hook(self._after),
            transformer.register_forward_hook(self._called),
        ]
        self.calls = 0

    def _before(self, block: Any, arguments: tuple) -> None:
        self.given = arguments[0]

    def _after(self, block: Any, arguments: tuple, output: tuple) -> None:
        assert self.given is not None
        self.norms.append((output[1] - self.given).float().norm(dim=-1))

    def _called(self, *_: Any) -> None:
        self.given = None

    @property
    def whole(self) -> bool:
        """Whether the run was not broken off; with guidance by two prompts, a step has two calls."""
        return len(self.norms) in (self.steps, 2 * self.steps)

    def ratios(self) -> list[float]:
        """(steps,), the first 1."""
        calls = self.norms[:: len(self.norms) // self.steps]
        growth = [(after / (before + 1e-8)).mean() for before, after in pairwise(calls)]
        return [1.0, *torch.stack(growth).tolist()] if growth else [1.0]

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()
