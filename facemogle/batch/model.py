"""What draws the pictures: a checkpoint, with how it is placed, as every worker loads it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from facemogle.checkpoints import ADAPTER_FILE, CheckpointError, LocalFiles, find_files, find_lora, load_pipeline
from facemogle.masks import pixels_per_token
from facemogle.picture_files import Settings
from facemogle.presets import AUTOMATIC, PRESETS, choose_preset
from facemogle.weight_files import check_device, read_settings

# Raised whenever the same settings and weights make other pictures.
VERSION = 1
THREADS = 1  # of the CPU: on another number of them, a CPU's sums differ in their last bits
HASHED_BYTES = 2**28  # larger files of weights are told by name and size: of FLUX.1-dev, the base's own

Draw = Callable[[Settings], Image.Image]


@dataclass(frozen=True)
class Survey:
    """What is known of a model before it is loaded. defaults: fields of Settings; gigabytes: of its weights.

    weights: tells them from others. preset: by which every worker places it. pixels_per_token: of its side.
    loras: what tells each from others; unfound: why others cannot be loaded.
    """

    defaults: dict[str, Any]
    weights: str
    preset: str
    gigabytes: float
    pixels_per_token: int
    loras: dict[str, str] = field(default_factory=dict)
    unfound: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """As `load_pipeline` takes it. loras: files that jobs may name. folder: that relative paths are within."""

    checkpoint: str = "mini"
    adapter: str | None = None
    mogle: str | None = None
    loras: tuple[str, ...] = ()
    device: str | None = None
    preset: str | None = None
    step_cache: str | None = None
    condition_refresh: int = 1
    folder: str = ""

    def survey(self) -> Survey:
        """Finds the weights, and fetches what is not yet here. Raises as `load_pipeline` does."""
        import torch

        self._go_to_folder()
        if self.device is not None:
            check_device(self.device)
        files = find_files(self.checkpoint, adapter=self.adapter, mogle=self.mogle, download=True)
        told = read_settings(files.base / "model_index.json")
        fluxes = {"height": 512, "width": 512, "num_inference_steps": 28, "guidance_scale": 3.5}
        preset = self.preset
        if preset is None:
            on_cuda = torch.cuda.is_available() and self.device != "cpu"
            count = torch.cuda.device_count() if on_cuda and self.device in (None, "cuda") else 0
            devices = [f"cuda:{index}" for index in range(count)] or [self.device or "cpu"]
            chosen = {choose_preset(torch.device(device), files.base) for device in devices}
            # One for all of them, the smallest, so that it does not matter which of them draws a picture.
            preset = max(chosen, key=lambda name: AUTOMATIC.index(name) if name in AUTOMATIC else -1)
        gigabytes = sum(path.stat().st_size for path in _weights(files)) / 1e9
        defaults = {name: told.get(name, value) for name, value in fluxes.items()} | {"checkpoint": self.checkpoint}
        blocks = read_settings(files.base / "vae" / "config.json").get("block_out_channels")
        if not isinstance(blocks, list):
            raise CheckpointError(f"{files.base / 'vae' / 'config.json'} has no list of block_out_channels.")
        loras, unfound = {}, {}
        for name in self.loras:  # here, since a cluster's files are on its nodes
            try:
                loras[name] = _fingerprint([find_lora(name, download=True)])
            except CheckpointError as error:
                unfound[name] = str(error)
        weights = _fingerprint(_weights(files))
        return Survey(defaults, weights, preset, gigabytes, pixels_per_token(blocks), loras, unfound)

    def identity(self, survey: Survey) -> str:
        """All that a picture's pixels depend on besides its settings and the machine."""
        return json.dumps([VERSION, survey.weights, survey.preset, self.step_cache, self.condition_refresh])

    def load(self) -> Draw:
        """Settings -> the picture. Raises as `load_pipeline` does."""
        _be_quiet()
        import torch

        self._go_to_folder()
        torch.set_num_threads(THREADS)
        pipeline = load_pipeline(
            self.checkpoint,
            adapter=self.adapter,
            mogle=self.mogle,
            loras=dict.fromkeys(self.loras, 0.0),
            device=self.device,
            preset=self.preset,
            step_cache=self.step_cache,
            condition_refresh=self.condition_refresh,
        )
        pipeline.set_progress_bar_config(disable=True)

        def drawn(settings: Settings) -> Image.Image:
            try:
                generator = torch.Generator().manual_seed(settings.seed)
                # One at a time: in a batch it need not be, to the last bit, what its seed makes alone.
                made = pipeline(**settings.arguments(), generator=generator, lora_scale=settings.loras)
                return made.images[0]
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                raise

        return drawn

    def check_sizes(self, sizes: set[tuple[int, int]]) -> None:
        """ValueError where a picture would depend on those before it."""
        if self.step_cache == "magnitude":
            raise ValueError(
                "The step cache magnitude learns from the first picture, so that others would depend on which that "
                "was. Take first-block or taylor."
            )
        if self.preset and PRESETS[self.preset].compiled and len(sizes) > 1:
            raise ValueError(
                f"The preset {self.preset} compiles for a size, and what comes of others may depend on their order, "
                f"but the jobs have {len(sizes)} sizes. Make a batch of each, or take the preset quality."
            )

    def _go_to_folder(self) -> None:
        if self.folder and os.path.isdir(self.folder):  # a worker of a cluster begins elsewhere
            os.chdir(self.folder)


def _be_quiet() -> None:
    """The batch itself tells how it goes; the notes on prompts would be as many as pictures."""
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ[f"{library}_VERBOSITY"] = "error"
    import diffusers
    import transformers

    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
    logging.getLogger("facemogle").setLevel(logging.ERROR)


def _weights(files: LocalFiles) -> Iterator[Path]:
    """Every file that a model is read from, in an order that is the same wherever it lies."""
    yield from sorted(path for path in files.base.glob("*/*") if path.suffix in (".json", ".safetensors", ".model"))
    own = None if files.adapter else files.base / ADAPTER_FILE
    for path in (files.adapter, files.mogle, files.transformer, own):
        if path is not None and path.exists():
            yield from sorted(path.iterdir()) if path.is_dir() else [path]


def _fingerprint(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        if size <= HASHED_BYTES:
            digest.update(path.read_bytes())
    return digest.hexdigest()
