"""One resumable loop for every phase: bounded by time, and a step's randomness depends on the step's number alone."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facemogle.step_graph import StepGraphs
from train.mini.config import MiniConfig, Phase
from train.mini.log import Log
from train.saving import SaveError, load, save

Draw = dict[str, Tensor]

LOG_EVERY = 50
KEPT_EVERY = 4 * LOG_EVERY  # steps, after which an average is kept to fall back on
CLIP = 1.0


def schedule(step: int, share: float, warmup: int) -> float:
    """Factor of the learning rate: a linear warm-up over steps, times half a cosine over the phase's share."""
    return min(1.0, (step + 1) / warmup) * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, share))) / 2)


class Learner:
    """Parameters with their optimiser and their average; a step asks the device nothing."""

    def __init__(self, modules: dict[str, nn.Module], phase: Phase, rates: dict[str, float]):
        self.phase, self.step, self.rate = phase, 0, phase.learning_rate
        groups: list[dict[str, Any]] = [
            {
                "params": [parameter for parameter in module.parameters() if parameter.requires_grad],
                "factor": rates.get(name, 1.0),
            }
            for name, module in modules.items()
        ]
        self.parameters: list[Tensor] = [parameter for group in groups for parameter in group["params"]]
        device = self.parameters[0].device
        for group in groups:
            group["lr"] = torch.zeros((), device=device)
        self.optimizer = torch.optim.AdamW(
            groups, weight_decay=0.01, betas=(0.9, 0.99), fused=True, capturable=device.type == "cuda"
        )
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.kept = [value.clone() for value in self.average]

    def set_rate(self, share: float) -> None:
        rate = self.rate * schedule(self.step, share, self.phase.warmup)
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate * group["factor"])

    def descend(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step down "loss"; none, if a gradient is not finite -> the parts, to be logged."""
        self.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, CLIP, foreach=True)
        # The fused optimiser heeds these, as GradScaler sets them.
        self.optimizer.grad_scale = None  # type: ignore[attr-defined]
        self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        return {name: value.detach() for name, value in parts.items()}

    @torch.no_grad()
    def follow(self) -> None:
        """The average takes in the newest weights; early ones are soon forgotten."""
        self.step += 1
        decay = min(self.phase.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self.parameters], 1 - decay)

    @torch.no_grad()
    def fall_back(self) -> None:
        """To the last average that was kept, at half the rate and without momentum."""
        for target in (self.parameters, self.average):
            torch._foreach_copy_(target, self.kept)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        self.rate /= 2

    @torch.no_grad()
    def keep(self) -> None:
        torch._foreach_copy_(self.kept, self.average)

    @torch.no_grad()
    def adopt_average(self) -> None:
        torch._foreach_copy_(self.parameters, self.average)

    def state(self) -> dict:
        return {
            "parameters": [parameter.detach() for parameter in self.parameters],
            "average": self.average,
            "optimizer": self.optimizer.state_dict()["state"],
            "step": self.step,
            "rate": self.rate,
        }

    @torch.no_grad()
    def load(self, state: dict) -> None:
        torch._foreach_copy_(self.parameters, state["parameters"])
        torch._foreach_copy_(self.average, state["average"])
        # The groups are its own: their rates lie on the device.
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state["optimizer"]})
        self.step, self.rate = state["step"], state["rate"]
        self.keep()


@dataclass(frozen=True)
class Lesson:
    """A phase's modules, what a step draws, and what it makes of that: "loss", and parts of it to be logged."""

    modules: dict[str, nn.Module]
    draw: Callable[[torch.Generator, Phase], Draw]
    loss: Callable[[Draw], dict[str, Tensor]]
    rates: dict[str, float] = field(default_factory=dict)  # of modules that learn faster or slower


def learn(
    name: str,
    lesson: Lesson,
    config: MiniConfig,
    *,
    seconds: float,
    log: Log,
    checkpoint: Path | None = None,
    graphs: StepGraphs | None = None,
) -> None:
    """Train for `seconds`, or for the phase's own number of steps; end with averaged weights.

    checkpoint: a file, written every `checkpoint_seconds`, from which the same call goes on where it stopped. graphs:
    what replays the steps, if the loss draws nothing at random and waits for nothing. FloatingPointError if it stops
    being a number again and again.
    """
    phase = config.phase(name)
    learner = Learner(lesson.modules, phase, lesson.rates)
    generator, seed = torch.Generator(config.device), (config.seed + 1) * 1_000_003
    spent, rescues, first = 0.0, 0, math.nan
    if checkpoint is not None and checkpoint.exists():
        state = load(checkpoint)
        learner.load(state)
        spent, seconds = state["spent"], state["seconds"]

    def take(draw: Draw) -> dict[str, Tensor]:
        return learner.descend(lesson.loss(draw))

    # A capture's warm-ups are steps too: from the first draw it learns more than once.
    step = graphs.of(take, []) if graphs else take
    sums: dict[str, Tensor] = {}
    started = saved = logged = time.monotonic()
    logged_step = learner.step

    while True:
        now = time.monotonic()
        share = learner.step / phase.steps if phase.steps else (spent + now - started) / seconds
        over = share >= 1 and (phase.steps is not None or learner.step > 1)
        if sums and (over or learner.step % LOG_EVERY == 0 or learner.step == 1):
            # The only place that waits for the device, but for checkpoints.
            means = {key: float(value) / (learner.step - logged_step) for key, value in sums.items()}
            now = time.monotonic()
            log.record(
                phase=name, step=learner.step, **means, seconds=spent + now - started,
                per_second=(learner.step - logged_step) * phase.batch / (now - logged),
            )  # fmt: skip
            sums, logged, logged_step = {}, now, learner.step
            if not math.isfinite(first):
                first = means["loss"]
            if not means["loss"] <= 3 * first + 0.1:
                rescues += 1
                if rescues > 3 or not math.isfinite(first):
                    raise FloatingPointError(f"{name}: the loss went to {means['loss']}. Lower the learning rate.")
                log.say(f"{name}: the loss went to {means['loss']:.3g}; back to good weights, at half the rate")
                learner.fall_back()
            elif learner.step % KEPT_EVERY == 0:
                learner.keep()
        if over:
            break
        if checkpoint is not None and now - saved > config.checkpoint_seconds:
            try:
                save(learner.state() | {"seconds": seconds, "spent": spent + now - started}, checkpoint)
            except SaveError as error:  # the phase goes on: its weights may find room at its end
                log.say(str(error))
            saved = now
        learner.set_rate(share)
        parts = step(lesson.draw(generator.manual_seed(seed + learner.step), phase))
        learner.follow()
        sums = {key: value + sums.get(key, 0) for key, value in parts.items()}
    learner.adopt_average()
