"""One run of the pipeline as a stream of events: the model works in a thread, the page draws what it reports.

B pictures of the run, N tokens, C channels, S steps, E experts, (h, w) token grid.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from traceback import clear_frames
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facemogle.gating import GatingRecord
from facemogle.masks import picture_size
from facemogle.picture_files import MAX_SEED, Settings
from facemogle.ui import torch_thread
from facemogle.ui.photo.held import Origin

if TYPE_CHECKING:  # torch takes seconds to import, and the page need not wait for it
    from torch import Tensor

    from facemogle.pipeline import FaceMoGLEPipeline

log = logging.getLogger("facemogle.runs")


@dataclass(frozen=True, eq=False)
class Base:
    """A picture that lies under the label map, and the label map that belongs to it, (H, W) class ids.

    `unsure` and `differing`, (H, W) bool or None: where the parser that read that map was unsure, and another differs.
    `origin`: the photo that it is a crop of, if it is one.
    """

    picture: Image.Image
    label_map: np.ndarray
    unsure: np.ndarray | None = None
    differing: np.ndarray | None = None
    origin: Origin | None = None


@dataclass(frozen=True, eq=False)
class Edit:
    """A change in place of `base`: in `region` (H, W) bool, or, if that is None, where the label maps differ."""

    base: Base
    region: np.ndarray | None = None
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Request:
    """What a person asked for: the pipeline's arguments, and the seed of the first of `num_images` pictures.

    `label_map` (H, W) class ids, or None: the prompt alone decides. The next pictures' seeds count up. `edit`: change
    that picture in place; None: draw all of a new one.
    """

    prompt: str
    label_map: np.ndarray | None
    seed: int
    num_inference_steps: int
    guidance_scale: float | None = None  # None: the checkpoint's own
    condition_scale: float = 1.0
    expert_scale: Mapping[str, float] | None = None
    num_images: int = 1
    edit: Edit | None = None
    previews: bool = True
    lora_scale: Mapping[str, float] | None = None  # of loaded LoRAs; None: as they were loaded


@dataclass(frozen=True)
class Step:
    """`number` of `total` steps are done."""

    number: int
    total: int
    seconds_left: float | None  # None after the first, which also held the encoding
    preview: Image.Image | None


@dataclass(frozen=True, eq=False)
class Run:
    """What a run left behind: pictures, and for each the settings that make it alone; `notes` are warnings.

    The gating weights (S, B, E, h, w) are kept in half precision: a visit holds several runs. They and the timesteps
    are None where the pictures alone have come back from the browser.
    """

    request: Request
    faces: list[Image.Image]
    settings: list[Settings]
    gating_weights: np.ndarray | None
    timesteps: np.ndarray | None
    seconds: float
    notes: tuple[str, ...]
    id: str = field(default_factory=partial(secrets.token_hex, 8))  # no other run's

    def key(self, image: int = 0) -> str:
        """Of one of its pictures: no other picture has it."""
        return f"{self.id} {image}"

    @property
    def gating(self) -> GatingRecord | None:
        if self.gating_weights is None or self.timesteps is None:
            return None
        return GatingRecord(self.gating_weights, self.timesteps)


class Cancelled(Exception):
    """Raised in the pipeline's callback, so that a run ends with the step it is in and decodes nothing."""


def stream(
    pipeline: FaceMoGLEPipeline,
    request: Request,
    *,
    checkpoint: str,
    cancelled: threading.Event | None = None,
) -> Generator[Step | Run, None, None]:
    """Run the pipeline in torch's thread: a Step after every step, a Run at the end; raises what the run raised.

    Closing the iterator, or setting `cancelled`, stops the run within one step; the latter raises Cancelled.
    `checkpoint` is its name in the pictures' settings.
    """
    events: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
    cancelled = cancelled or threading.Event()
    start = time.monotonic()

    def work() -> Run:
        end = "made"
        try:
            if cancelled.is_set():  # while it waited
                raise Cancelled
            return _run(pipeline, request, checkpoint, events, cancelled)
        except Exception as error:
            end = "cancelled" if isinstance(error, Cancelled) else type(error).__name__
            clear_frames(error.__traceback__)  # of the run's tensors, which who handles the error would hold on to
            raise
        finally:
            # Nothing of what was said or drawn: who hosts the app reads this.
            steps, seconds = request.num_inference_steps, time.monotonic() - start
            log.info("%s: %d picture(s), %d steps, %.1f s since it was asked", end, request.num_images, steps, seconds)
            events.put(None)

    made = torch_thread.submit(work)
    try:
        while (step := events.get()) is not None:
            yield step
        yield made.result()
    finally:
        cancelled.set()
        del made  # an error that it holds refers to this frame, and both would stay for the garbage collector


def _run(
    pipeline: FaceMoGLEPipeline,
    request: Request,
    checkpoint: str,
    events: queue.SimpleQueue[Step | None],
    cancelled: threading.Event,
) -> Run:
    import torch

    start = time.monotonic()
    height, width = picture_size(pipeline, request.label_map)
    edit, region = request.edit, request.edit and request.edit.region
    guidance_scale = pipeline.config.guidance_scale if request.guidance_scale is None else request.guidance_scale
    seeds = [(request.seed + index) % (MAX_SEED + 1) for index in range(request.num_images)]
    pipeline.set_progress_bar_config(disable=True)  # the page has one
    notes = _Notes()
    logger = logging.getLogger("facemogle")
    logger.addHandler(notes)
    try:
        result = pipeline(
            request.prompt,
            label_map=request.label_map,
            image=edit and edit.base.picture,
            edit_region=region,
            source_label_map=edit.base.label_map if edit and region is None else None,
            strength=edit.strength if edit else 1.0,
            height=height,
            width=width,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=guidance_scale,
            condition_scale=request.condition_scale,
            expert_scale=request.expert_scale,
            lora_scale=request.lora_scale,
            num_images_per_prompt=request.num_images,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            callback_on_step_end=_Reporter(events, cancelled, request, (height, width)),
            record_gating=True,
        )
    finally:
        logger.removeHandler(notes)
    assert result.gating is not None
    settings = [
        Settings(
            request.prompt, request.label_map, seed, request.num_inference_steps, guidance_scale,
            request.condition_scale, height, width, request.expert_scale, checkpoint,
            strength=edit.strength if edit else None,
            loras=pipeline.use_loras(request.lora_scale) or None,
        )
        for seed in seeds
    ]  # fmt: skip
    weights = result.gating.weights.astype(np.float16)
    seconds = time.monotonic() - start
    return Run(request, result.images, settings, weights, result.gating.timesteps, seconds, tuple(notes.messages))


def warm_up(pipeline: FaceMoGLEPipeline) -> None:
    """A step for nobody: what torch sets up in its first run is there for the first face."""
    import torch

    blank = np.zeros((pipeline.config.height, pipeline.config.width), np.uint8)
    pipeline("", label_map=blank, num_inference_steps=1, generator=torch.Generator().manual_seed(0), record_gating=True)


def estimate(before: Tensor, after: Tensor, sigma: float, next_sigma: float) -> Tensor:
    """Where an Euler step from `before`, at sigma, to `after`, at next_sigma, is heading: x_0 = x - sigma v."""
    velocity = (after - before) / (next_sigma - sigma)
    return after - next_sigma * velocity


class _Reporter:
    """callback_on_step_end of one run: stops it if cancelled, else reports the step, with a preview."""

    def __init__(self, events: queue.SimpleQueue, cancelled: threading.Event, request: Request, size: tuple[int, int]):
        self.events = events
        self.cancelled = cancelled
        self.total = request.num_inference_steps
        self.previews = request.previews
        self.size = size
        self.start = time.monotonic()
        self.first_done = 0.0
        self.before: Tensor | None = None

    def __call__(self, pipeline: FaceMoGLEPipeline, step: int, timestep: Tensor, tensors: dict) -> dict:
        if self.cancelled.is_set():
            raise Cancelled
        first = pipeline.scheduler.begin_index or 0  # an edit of less than full strength leaves out the steps before
        total = self.total - first
        left = total - step - 1
        preview = self._preview(pipeline, first + step, tensors["latents"]) if left and self.previews else None
        self.before = tensors["latents"]
        if step == 0:
            self.first_done = self._elapsed()
        seconds_left = (self._elapsed() - self.first_done) / step * left if step else None
        self.events.put(Step(step + 1, total, seconds_left, preview))
        return {}

    def _preview(self, pipeline: FaceMoGLEPipeline, step: int, latents: Tensor) -> Image.Image | None:
        if self.before is None:
            return None
        sigma, next_sigma = pipeline.scheduler.sigmas[step : step + 2].tolist()
        first = estimate(self.before[:1], latents[:1], sigma, next_sigma)
        return pipeline.preview_latents(first, *self.size)[0]

    def _elapsed(self) -> float:
        return time.monotonic() - self.start


class _Notes(logging.Handler):
    """Collects the warnings of the thread that made it: a prompt that was cut, for one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self.thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.messages.append(record.getMessage())
