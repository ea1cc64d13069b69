"""A training run: what learns, how, how far it is, and one step of it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from facemogle.pipeline import FaceMoGLEPipeline
from train.bases import identities
from train.batches import Encoder, Samples, Stream, batches, positions
from train.building import (
    Trained,
    add_trained,
    autocast_dtype,
    build_optimizer,
    freeze_idle,
    learning_rate,
    put,
    shard,
)
from train.config import TrainingConfig

# What may differ when a run goes on: how far, where, and how it is watched, but not what a step does.
FREE = {
    "cache", "data", "output", "steps", "batch", "accumulation", "gradient_checkpointing", "compile", "workers",
    "log_every", "checkpoint_every", "keep_checkpoints", "validation_every", "validation_pictures", "tracker",
    "on_error", "shard_base",
}  # fmt: skip


class Diverged(FloatingPointError):
    """A loss that is no number."""


@dataclass
class Window:
    """Losses since the last record. On the device they stay tensors, so that no step waits for them."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    pending: list[tuple[Tensor, list[str]]] = field(default_factory=list)

    def add(self, loss: Tensor, norm: Tensor, names: list[str]) -> None:
        self.pending.append((torch.stack([loss.detach(), norm.to(loss)]), names))

    def settle(self, accelerator: Accelerator) -> None:
        """Wait for the device; average over the processes. Diverged names the samples of the first bad step."""
        if not self.pending:
            return
        values = accelerator.reduce(torch.stack([pair for pair, _ in self.pending]), "mean").tolist()
        for (loss, norm), (_, names) in zip(values, self.pending, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise Diverged(
                    f"The loss became {loss} and the gradient's norm {norm} on the samples "
                    f"{', '.join(gather_object(names))}. Look at these files, or lower the learning rate; the same "
                    "command goes on from the last checkpoint."
                )
            self.losses.append(loss)
            self.norms.append(norm)
        self.pending.clear()


class Run:
    """A training run: what learns, how, and how far it is."""

    def __init__(self, config: TrainingConfig, pipeline: FaceMoGLEPipeline, samples: Samples, accelerator: Accelerator):
        """`pipeline` is a base on the accelerator's device; its adapter and MoGLE are made, or taken, here."""
        self.config, self.pipeline, self.accelerator = config, pipeline, accelerator
        length = len(samples) - config.validation_samples
        if length < 1:
            raise ValueError(
                f"There are {len(samples)} samples, and validation_samples holds {config.validation_samples} of them "
                "out of training. Lower it."
            )
        self.identities = identities(config, pipeline)
        add_trained(pipeline, config)
        self.trained = Trained(pipeline, config)
        self.idle = freeze_idle(self.trained, autocast_dtype(config, accelerator.device))
        self.learning = self.trained.learning()
        self.parameters = list(self.learning.values())
        if config.compile:
            pipeline.transformer.compile_repeated_blocks()
        if config.shard_base and accelerator.num_processes > 1:
            shard(self.trained, accelerator.num_processes)
        self.model: nn.Module = accelerator.prepare(self.trained)
        self.optimizer = build_optimizer(self.parameters, config)
        self.average = EMAModel(self.parameters, decay=config.ema_decay, foreach=True)
        self.encoder = Encoder(pipeline, config, samples)
        self.stream = Stream(samples, length, config.seed)
        self.folder = Path(config.output)
        self.window = Window()
        self.step = self.samples = 0
        self.seconds = 0.0
        self.validation_loss: float | None = None
        self.best: float | None = None

    def loader(self) -> Iterator[dict[str, Any]]:
        """This process's batches, from where the run is."""
        accelerator = self.accelerator
        places = positions(self.samples, self.config, accelerator.process_index, accelerator.num_processes)
        return batches(self.stream, self.config, places, pin=accelerator.device.type == "cuda")

    def take_step(self, loader: Iterator[dict[str, Any]]) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        losses, names = [], []
        for micro in range(self.config.accumulation):
            collated = next(loader)
            last = micro == self.config.accumulation - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                loss = self.model(*self.encoder.training_batch(collated)) / self.config.accumulation
                self.accelerator.backward(loss)
            losses.append(loss.detach())
            names += collated["name"]
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.step(self.parameters)
        self.window.add(torch.stack(losses).sum(), norm, names)
        self.step += 1
        self.samples += self.config.batch * self.config.accumulation * self.accelerator.num_processes

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the weights that learn are their averages."""
        self.average.store(self.parameters)
        self.average.copy_to(self.parameters)
        try:
            yield
        finally:
            self.average.restore(self.parameters)

    def state(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "identities": self.identities,
            "step": self.step,
            "samples": self.samples,
            "seconds": self.seconds,
            "weights": {name: parameter.detach() for name, parameter in self.learning.items()},
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "window": {"losses": self.window.losses, "norms": self.window.norms},
            "validation_loss": self.validation_loss,
            "best": self.best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """ValueError where the checkpoint is of another config."""
        own, then, identities_then = asdict(self.config), dict(state["config"]), state.get("identities", {})
        for name in self.identities.keys() & identities_then.keys():  # else by its name
            own[name], then[name] = self.identities[name], identities_then[name]
        if changed := sorted(name for name in own if name not in FREE and then.get(name) != own[name]):
            raise ValueError(
                f"The run in {self.folder} was begun with another {', '.join(changed)}. Set them back to go on with "
                "it, or choose another output folder."
            )
        put(self.learning, state["weights"])
        self.average.load_state_dict(state["average"])
        self.average.to(self.accelerator.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.window = Window(**state["window"])
        self.step, self.samples, self.seconds = state["step"], state["samples"], state["seconds"]
        self.validation_loss, self.best = state["validation_loss"], state["best"]
