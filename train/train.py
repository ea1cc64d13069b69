"""Train a LoRA and a MoGLE on a frozen base: `python -m train.train --config train/configs/mini.yaml`.

In many processes: `accelerate launch -m train.train --config ...`. The same command again goes on where it stopped.
"""

import importlib.util
import json
import logging
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from tqdm import tqdm

from facemogle.checkpoints import CheckpointError
from facemogle.data.pairs import find_pairs
from facemogle.folders import own_folder
from facemogle.picture_formats import save_picture
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.whole_files import whole_file
from train import saving
from train.batches import Samples
from train.building import autocast_dtype, load_base, optional
from train.cache import CachedDataset
from train.config import TrainingConfig, parse_arguments
from train.data import FaceDataset
from train.publish import CHECKPOINTS_FOLDER, CONFIG_FILE, WEIGHTS_FOLDER, publish, results_of
from train.run import Run
from train.validation import Validation

LOG_FILE, VALIDATION_FOLDER = "log.jsonl", "validation"

logger = logging.getLogger(__name__)


def train(config: TrainingConfig, pipeline: FaceMoGLEPipeline, samples: Samples, accelerator: Accelerator) -> int:
    """Train to the last step, and write the weights -> 0; or stop at a signal, having saved -> 128 + its number.

    `pipeline` is a base on the accelerator's device; its adapter and MoGLE are made here, or taken with
    from_checkpoint. A run that is in the output folder goes on; within `sole_run`, it is the only one there.
    On a full disk it goes on without checkpoints; at its end the weights are written, if they alone find room.
    Diverged, OSError, ValueError.
    """
    run = Run(config, pipeline, samples, accelerator)
    folder = run.folder / CHECKPOINTS_FOLDER
    with accelerator.main_process_first():  # so that the others do not meet what it sets aside
        state = saving.newest(folder, set_aside=accelerator.is_main_process)
    if state is not None:
        run.restore(state)
        logger.info(f"Going on from step {run.step} of {run.folder}.")
    record = Record(run)
    validation = Validation(pipeline, run.encoder, samples, config)
    loader, kept = run.loader(), True
    with saving.stop_signals() as stop, record.bar:
        while run.step < config.steps:
            run.take_step(loader)
            record.bar.update()
            last = run.step == config.steps
            if last or due(run, config.log_every):
                record.write()
            if config.validation_every and (last or due(run, config.validation_every)):
                validate(run, validation, record)
                record.lap()
            stopping = asked_to_stop(stop, run)
            if last or stopping or due(run, config.checkpoint_every):
                kept = keep(run, saving.path_of(folder, run.step))
            if stopping and not last:
                leave(run, kept)
                return 128 + (stop.signal or 0)
    write_weights(run)
    accelerator.end_training()
    say(run, f"Done: the weights are in {run.folder / WEIGHTS_FOLDER}.")
    if not kept:
        say(run, "With more steps the run would go on from an earlier one: the last checkpoint could not be written.")
    return 0


def leave(run: Run, kept: bool) -> None:
    """Before the last step. Without a checkpoint, the weights, a small part of it, may still find room."""
    if kept:
        say(run, f"Stopped at step {run.step}, and saved. The same command goes on from there.")
        return
    write_weights(run)
    say(
        run,
        f"Stopped at step {run.step}: its checkpoint could not be written, its weights are in "
        f"{run.folder / WEIGHTS_FOLDER}. The same command goes on from the checkpoint before.",
    )


def write_weights(run: Run) -> None:
    if run.accelerator.is_main_process:
        with run.averaged():
            publish(run.pipeline, run.config, run.folder / WEIGHTS_FOLDER, results_of(run.state()))


def due(run: Run, every: int) -> bool:
    return run.step % every == 0


def asked_to_stop(stop: saving.Stop, run: Run) -> bool:
    """Several processes have to agree, which they do as often as they look at the loss."""
    if run.accelerator.num_processes == 1:
        return bool(stop)
    if not due(run, run.config.log_every):
        return False
    asked = torch.tensor([float(bool(stop))], device=run.accelerator.device)
    return bool(run.accelerator.reduce(asked, "sum").item())


def validate(run: Run, validation: Validation, record: "Record") -> None:
    """By the averaged weights; the best so far are kept. Every process takes part: a base may be spread over all."""
    run.window.settle(run.accelerator)
    with run.averaged():
        run.validation_loss = validation.loss(run.trained)
        page = validation.draw() if run.config.validation_pictures else None
    if page is not None and run.accelerator.is_main_process:
        path = run.folder / VALIDATION_FOLDER / f"step-{run.step:08d}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_picture(page, path)
        except OSError as error:
            logger.error(f"{error} Training goes on.")
    record.add(validation_loss=run.validation_loss)
    if run.best is None or run.validation_loss < run.best:
        run.best = run.validation_loss
        keep(run, run.folder / CHECKPOINTS_FOLDER / saving.BEST)
    run.accelerator.wait_for_everyone()


def keep(run: Run, path: Path) -> bool:
    """Save a checkpoint, then delete old ones -> whether that worked: a full disk does not end a run."""
    run.window.settle(run.accelerator)
    if not run.accelerator.is_main_process:
        return True
    try:
        saving.save_making_room(run.state(), path)
    except saving.SaveError as error:
        logger.error(f"{error} Training goes on without it.")
        return False
    if path.name != saving.BEST:
        saving.prune(path.parent, run.config.keep_checkpoints, saved=path)
    return True


class Record:
    """What can be watched of a run: a line in its log every few steps, the tracker, and the progress bar."""

    def __init__(self, run: Run):
        self.run, self.file = run, run.folder / LOG_FILE
        self.since, self.unwritten = (time.monotonic(), run.samples), b""
        main = run.accelerator.is_main_process
        self.bar = tqdm(total=run.config.steps, initial=run.step, unit="step", disable=None if main else True)
        if main:
            run.folder.mkdir(parents=True, exist_ok=True)
            run.config.save(run.folder / CONFIG_FILE)
            # Of steps after the checkpoint that the run goes on from, there will be other lines, with the same losses.
            with whole_file(self.file) as part:
                part.write_text("".join(json.dumps(line) + "\n" for line in read_log(self.file, run.step)))
        folder = {"wandb": {"dir": run.config.output}}  # tensorboard writes there by itself
        run.accelerator.init_trackers("face-mogle", config=asdict(run.config), init_kwargs=folder)

    def write(self) -> None:
        """The means since the last line; waits for the device."""
        run = self.run
        run.window.settle(run.accelerator)
        losses, norms = run.window.losses, run.window.norms
        seconds, samples = self.lap()
        values = {
            "loss": sum(losses) / len(losses),
            "gradient_norm": sum(norms) / len(norms),
            "learning_rate": run.optimizer.param_groups[0]["lr"],
            "samples_per_second": round(samples / seconds, 3),
            "memory_gb": round(peak_memory(run.accelerator.device) / 1e9, 2),
        }
        losses.clear()
        norms.clear()
        self.bar.set_postfix({name.replace("_", " "): f"{value:.4g}" for name, value in values.items()})
        self.add(**values, seconds=round(run.seconds, 1))

    def lap(self) -> tuple[float, int]:
        """Seconds and samples since the last lap."""
        now, (then, samples) = time.monotonic(), self.since
        self.since = now, self.run.samples
        self.run.seconds += now - then
        return now - then, self.run.samples - samples

    def add(self, **values: Any) -> None:
        if self.run.accelerator.is_main_process:
            self.unwritten += json.dumps({"step": self.run.step, **values}).encode() + b"\n"
            with suppress(OSError), open(self.file, "ab", buffering=0) as log:  # on a full disk, lines wait for room
                self.unwritten = self.unwritten[log.write(self.unwritten) :]
        self.run.accelerator.log(values, step=self.run.step)


def read_log(file: Path, last_step: int) -> list[dict[str, Any]]:
    """The lines up to a step; not the ends of lines that a kill, or a full disk, broke off."""
    lines = []
    for text in file.read_text(errors="replace").splitlines() if file.exists() else ():
        with suppress(ValueError):
            line = json.loads(text)
            lines += [line] if isinstance(line, dict) and line.get("step", 0) <= last_step else []
    return lines


def peak_memory(device: torch.device) -> int:
    """Bytes: of a GPU what torch has held at most, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def say(run: Run, message: str) -> None:
    if run.accelerator.is_main_process:
        print(message, file=sys.stderr, flush=True)


def build_accelerator(config: TrainingConfig) -> Accelerator:
    tracker = config.tracker
    if tracker == "auto":
        tracker = "tensorboard" if importlib.util.find_spec("tensorboard") else "none"
    elif tracker != "none":
        optional(tracker, f"tracker={tracker}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="no" if autocast_dtype(config, device) is None else "bf16",
        log_with=None if tracker == "none" else tracker,
        project_dir=config.output,
    )


def read_samples(config: TrainingConfig, pipeline: FaceMoGLEPipeline) -> Samples:
    size = {"height": config.height, "width": config.width, "seed": config.seed}
    if config.cache:
        return CachedDataset(Path(config.cache), model=config.checkpoint, pipeline=pipeline, **size)
    return FaceDataset(
        find_pairs(Path(config.data), classes=config.classes or None),
        flip=config.flip,
        on_error=config.on_error,
        **size,
    )


@contextmanager
def sole_run(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Within, the folder is this run's alone, and can be written to; else an OSError, in each of its processes."""
    refusal: list[OSError | None] = [None]
    with ExitStack() as stack:
        if accelerator.is_main_process:
            try:
                stack.enter_context(own_folder(folder, CHECKPOINTS_FOLDER, VALIDATION_FOLDER, WEIGHTS_FOLDER))
                saving.sweep(folder / CHECKPOINTS_FOLDER)
            except OSError as error:
                refusal = [error]
        broadcast_object_list(refusal)
        if refusal[0] is not None:
            raise refusal[0]
        yield


@contextmanager
def begun(config: TrainingConfig) -> Iterator[tuple[FaceMoGLEPipeline, Samples, Accelerator]]:
    """What `train` takes, loaded once the output folder is this run's alone."""
    accelerator = build_accelerator(config)
    with sole_run(Path(config.output), accelerator):
        pipeline = load_base(config, accelerator.device)
        yield pipeline, read_samples(config, pipeline), accelerator


def main(arguments: Sequence[str] | None = None) -> int:
    """-> the exit code: 0, 2 after an error that is explained, 128 + its number after a signal."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = parse_arguments(arguments)
    try:
        with begun(config) as (pipeline, samples, accelerator):
            return train(config, pipeline, samples, accelerator)
    except (CheckpointError, ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"train.train: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
