"""What takes many runs of faces that were made here, for programs: what each expert does, and a way to another face."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import gradio as gr
from PIL import Image

from facemogle import figures
from facemogle.gating import EXPERTS
from facemogle.masks import resize_nearest
from facemogle.picture_files import Settings, read_settings
from facemogle.ui import torch_thread
from facemogle.ui.api_fields import Names, Number, explained, given, saved
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.run import Cancelled

MAX_STEPS = 28  # of each run: FLUX's own number
MIN_FRAMES, MAX_FRAMES = 2, 12
EVERY = 0.2  # seconds after which the caller may be found gone
T = TypeVar("T")

log = logging.getLogger("facemogle.runs")


def add_studies(provider: PipelineProvider, runs: dict[str, Any]) -> None:
    """Add /expert_effects and /morph to the page that is being built. runs: how the page's runs share the model."""

    def expert_effects(
        face: str, experts: list[str] | None = None, steps: int | None = None
    ) -> Iterator[tuple[str | None, dict[str, float] | None]]:
        """Show what each expert does to a face: its run once more without that expert, and what became different.

        Takes as many runs as there are experts, and one more.

        Args:
            face: a PNG that was made here, drawn whole, with its settings.
            experts: names of those to mute one by one; none: all 20.
            steps: of each run, 1 to 28; fewer are quicker, and another picture; none: the face's own.

        Returns:
            A sheet of the face, of it without each expert, and of where it changed, the strongest expert first; and
            the mean change of the picture by expert, 0 to 1.
        """
        settings = read_run("Face", face, provider, steps)

        def work(step_done: Callable) -> Any:
            import torch

            return provider.get().expert_effects(
                **settings.arguments(),
                experts=experts or EXPERTS,
                generator=torch.Generator().manual_seed(settings.seed),
                callback_on_step_end=step_done,
            )

        for effects in streamed(work):
            if effects is None:
                yield None, None
            else:
                yield saved("sheet.png", figures.effect_sheet(effects).save), dict(effects.ranked())

    def morph(
        first: str, second: str, frames: int = 6, steps: int | None = None
    ) -> Iterator[tuple[str | None, str | None]]:
        """Go from one face to another: label map, prompt and noise change evenly from picture to picture.

        Takes a run for each picture.

        Args:
            first: a PNG that was made here, drawn whole, with its settings.
            second: another, of the same size.
            frames: how many pictures, 2 to 12, both ends included.
            steps: of each run, 1 to 28; fewer are quicker, and other pictures; none: the faces' own.

        Returns:
            The pictures side by side, and as a film, a GIF.
        """
        from facemogle.morph import check_ends, strip
        from facemogle.morph import morph as frames_between

        ends = read_run("First", first, provider, steps), read_run("Second", second, provider, steps)
        with explained(None, "Frames"):
            check_number(frames, MIN_FRAMES, MAX_FRAMES)
        with explained(None, "Second"):
            check_ends(*ends)

        def work(step_done: Callable) -> list[Image.Image]:
            made = frames_between(provider.get(), *ends, frames=frames, callback_on_step_end=step_done)
            return [frame.image for frame in made]

        for images in streamed(work):
            if images is None:
                yield None, None
            else:
                film = partial(figures.save_animation, frames=images, milliseconds=150)
                yield saved("strip.png", strip(images).save), saved("morph.gif", film)

    def steps() -> Number:
        return Number(None, label="Steps", precision=0)

    def picture(label: str) -> gr.Image:
        return gr.Image(label=label, type="filepath", format="png")

    gr.Button().click(
        expert_effects, [gr.File(label="Face"), Names(EXPERTS, label="Experts"), steps()],
        [picture("Sheet"), gr.JSON(label="Changes")],
        api_name="expert_effects", **runs,
    )  # fmt: skip
    gr.Button().click(
        morph,
        [gr.File(label="First"), gr.File(label="Second"), Number(6, label="Frames", precision=0), steps()],
        [picture("Strip"), gr.File(label="Film")], api_name="morph", **runs,
    )  # fmt: skip


def streamed(work: Callable[[Callable], T]) -> Iterator[T | None]:
    """Call `work` in torch's thread, with a callback for the pipeline: None again and again, then what it returns.

    Closing the iterator stops it within a step.
    """
    start, left = time.monotonic(), threading.Event()

    def step_done(pipeline: Any, step: int, timestep: Any, tensors: dict) -> dict:
        if left.is_set():
            raise Cancelled
        return {}

    running, end = torch_thread.submit(work, step_done), "cancelled"
    try:
        while not wait([running], EVERY).done:
            yield None
        end = type(error).__name__ if (error := running.exception()) else "made"
        with explained(None):
            result = running.result()
        yield result
    finally:
        left.set()
        running.cancel()  # where it has not begun
        log.info("%s: a study, %.1f s since it was asked", end, time.monotonic() - start)
        del running  # see run.stream


def read_run(field: str, path: str | None, provider: PipelineProvider, steps: int | None) -> Settings:
    """What makes a picture again, with that many steps; gr.Error, naming the field, where that cannot be done here.

    A forged picture may ask for anything: none is made that is larger than the checkpoint's own.
    """
    path = given(field, path)
    with explained(path, field):
        settings, config = read_settings(path), provider.get().config
        if settings is None:
            raise ValueError("it carries no settings. PNG files that were made here do.")
        if settings.strength is not None:
            raise ValueError("it was made by changing a picture, which it does not carry. Take one drawn whole.")
        if settings.checkpoint != provider.checkpoint:
            raise ValueError("it was made by another checkpoint than the one that is loaded here.")
        if (settings.loras or {}) != provider.loras:
            raise ValueError("it was made with other LoRAs, or other scales of them.")
        if settings.height * settings.width > config.height * config.width:
            most = f"{config.width}x{config.height}"
            raise ValueError(f"it has {settings.width}x{settings.height} pixels, and here at most {most} are made.")
    with explained(None, "Steps"):
        steps = check_number(settings.num_inference_steps if steps is None else steps, 1, MAX_STEPS)
    label_map = settings.label_map
    if label_map is not None:  # it may be much larger than the picture, which follows it at its own size
        label_map = resize_nearest(label_map, settings.height, settings.width)
    return replace(settings, num_inference_steps=steps, label_map=label_map)


def check_number(number: int | None, low: int, high: int) -> int:
    if number is None or not low <= number <= high:
        raise ValueError(f"must be a whole number from {low} to {high}, got {str(number)[:40]}.")
    return number
