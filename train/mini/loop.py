"""One resumable training loop for every stage: a step's randomness depends on the step's number alone."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of parameters; the decay grows with the step, so that early weights are forgotten."""

    def __init__(self, parameters: list[nn.Parameter], decay: float):
        self.decay = decay
        self.values = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, parameters: list[nn.Parameter], step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [parameter.detach() for parameter in parameters], 1 - decay)


def learning_rate_factor(step: int, steps: int, *, warmup: int = 100, decay_share: float = 0.25) -> float:
    """Linear warm-up, a plateau, then a linear descent to zero over the last share of the steps."""
    descent = max(1.0, steps * decay_share)
    return min(1.0, (step + 1) / warmup, max(0.0, (steps - step) / descent))


def fit(
    folder: Path,
    modules: dict[str, nn.Module],
    loss_of: Callable[[torch.Generator, int], Tensor],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    settings: dict[str, str],
    ema_decay: float = 0.999,
    weight_decay: float = 0.01,
    checkpoint_seconds: float = 60.0,
    log_every: int = 50,
) -> None:
    """Train what requires gradients, resume from `folder` if it holds a checkpoint, end with averaged parameters.

    `loss_of(generator, step)` returns a scalar; everything random in it must come from the generator, which is seeded
    by the step, so a resumed run goes on exactly where it stopped. The log is `folder/log.jsonl`. A checkpoint of other
    `settings` is not resumed: ValueError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    named = [
        (f"{name}.{key}", parameter)
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
        if parameter.requires_grad
    ]
    parameters = [parameter for _, parameter in named]
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay, betas=(0.9, 0.99), fused=True)
    average = Average(parameters, ema_decay)
    step, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        if changed := [name for name in settings if state["settings"].get(name) != settings[name]]:
            raise ValueError(
                f"{checkpoint} was trained with other settings ({', '.join(changed)}). "
                "Set them back to resume it, or delete the file to start anew."
            )
        for (name, parameter), value in zip(named, average.values, strict=True):
            parameter.data.copy_(state["parameters"][name])
            value.copy_(state["average"][name])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]

    def save() -> None:
        names = [name for name, _ in named]
        state = {
            "parameters": dict(zip(names, (parameter.detach() for parameter in parameters), strict=True)),
            "average": dict(zip(names, average.values, strict=True)),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "seconds": seconds,
            "settings": settings,
        }
        torch.save(state, checkpoint.with_suffix(".part"))
        os.replace(checkpoint.with_suffix(".part"), checkpoint)

    losses: list[float] = []
    started = saved = time.monotonic()
    while step < steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * learning_rate_factor(step, steps)
        loss = loss_of(torch.Generator().manual_seed(seed * 1_000_003 + step), step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        average.update(parameters, step)
        losses.append(loss.item())
        now = time.monotonic()
        if step % log_every == 0 or step == steps:
            mean = sum(losses) / len(losses)
            if mean != mean:
                raise FloatingPointError(f"The loss became NaN before step {step}. Lower the learning rate and resume.")
            record = {"step": step, "loss": round(mean, 6), "seconds": round(seconds + now - started, 1)}
            with open(folder / "log.jsonl", "a") as log:
                log.write(json.dumps(record) + "\n")
            print(f"{folder.name}: step {step}/{steps}  loss {mean:.4f}  {record['seconds']:.0f} s", flush=True)
            losses.clear()
        if now - saved > checkpoint_seconds or step == steps:
            seconds += now - started
            started = saved = now
            save()
    load_average(folder, modules)


def load_average(folder: Path, modules: dict[str, nn.Module]) -> None:
    """Put the averaged parameters of a stage's checkpoint into the modules."""
    state = torch.load(folder / "checkpoint.pt", weights_only=True, map_location="cpu")
    for name, module in modules.items():
        own = {
            key: state["average"][f"{name}.{key}"]
            for key, _ in module.named_parameters()
            if f"{name}.{key}" in state["average"]
        }
        if not own:
            raise ValueError(f"{folder} holds no weights for {name}.")
        missing = module.load_state_dict(own, strict=False).missing_keys
        trainable = {key for key, parameter in module.named_parameters() if parameter.requires_grad}
        if trainable & set(missing):
            raise ValueError(f"{folder} lacks {sorted(trainable & set(missing))[:3]} of {name}.")
