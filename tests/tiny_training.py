"""A training run of seconds: the tiny FLUX on a few samples in memory, here or in a process of its own."""

import json
import logging
import multiprocessing
import os
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState

from train.building import load_base
from train.config import TrainingConfig
from train.train import build_accelerator, sole_run, train

TINY = Path(__file__).parent / "reference" / "tiny-flux"
ERRORS = "stderr.txt"  # where a run in a process of its own says what it has to say
TOKENS, CHANNELS, WORDS, WIDTH = 16, 64, 4, 32  # of a picture of 64 pixels; of a prompt

CONFIG = TrainingConfig(
    checkpoint=str(TINY),
    cache="in memory",
    height=64,
    width=64,
    steps=12,
    batch=2,
    optimizer="adamw",
    learning_rate=1e-2,
    precision="float32",
    workers=0,
    log_every=3,
    checkpoint_every=4,
    validation_samples=2,
    validation_pictures=0,
    validation_every=6,
    tracker="none",
)


class TinySamples:
    """As CachedDataset gives them. `broken` names one whose latents are NaN. widths: of a prompt, and pooled."""

    def __init__(
        self, count: int = 7, broken: int | None = None, *, side: int = 64, widths: tuple[int, int] = (WIDTH, WIDTH)
    ):
        generator = torch.Generator().manual_seed(0)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        self.empty_prompt = {"prompt_embeds": random(WORDS, widths[0]), "pooled_prompt_embeds": random(widths[1])}
        self.samples = [
            {
                "name": f"{number:05d}",
                "latents": random(TOKENS * side**2 // 64**2, CHANNELS),
                "label_map": blocks(generator, side),
                "prompt_embeds": random(WORDS, widths[0]),
                "pooled_prompt_embeds": random(widths[1]),
            }
            for number in range(count)
        ]
        if broken is not None:
            self.samples[broken]["latents"][0, 0] = float("nan")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(self.samples[index])

    def set_epoch(self, epoch: int) -> None:
        pass


def blocks(generator: torch.Generator, side: int = 64) -> torch.Tensor:
    """(side, side) class ids in blocks of a quarter of it, of three classes."""
    classes = torch.tensor([1, 2, 13], dtype=torch.uint8)
    return (
        classes[torch.randint(3, (4, 4), generator=generator)]
        .repeat_interleave(side // 4, 0)
        .repeat_interleave(side // 4, 1)
    )


def run(folder: Path, samples: TinySamples | None = None, **changes: Any) -> int:
    """Train in this process."""
    config = replace(CONFIG, output=str(folder), **changes)
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = build_accelerator(config)
    with sole_run(folder, accelerator):
        return train(config, load_base(config, accelerator.device), samples or TinySamples(), accelerator)


def _child(folder: Path, environment: dict[str, str], changes: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    os.environ.update(environment)
    folder.mkdir(exist_ok=True)
    os.dup2(os.open(folder / ERRORS, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os._exit(run(folder, **changes))


_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.tiny_training"])


def start(folder: Path, environment: dict[str, str] | None = None, **changes: Any) -> Any:
    """Train in a process of its own, which can be killed."""
    process = _context.Process(target=_child, args=(folder, environment or {}, changes))
    process.start()
    return process


def start_pair(folder: Path, **changes: Any) -> list[Any]:
    """Train in two processes, as accelerate starts them."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = str(server.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start(folder, common | {"RANK": rank, "LOCAL_RANK": rank}, **changes) for rank in "01"]


def wait_for_step(folder: Path, process: Any, step: int) -> None:
    """Until the log shows that the run is at least so far, or over."""
    while process.is_alive() and last_step(folder) < step:
        time.sleep(0.01)


def last_step(folder: Path) -> int:
    file = folder / "log.jsonl"
    lines = (
        [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")] if file.exists() else []
    )
    return json.loads(lines[-1])["step"] if lines else -1
