"""What the page's events do. Plain functions: layout.py wires them, the tests call them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import gradio as gr
import numpy as np
from PIL import Image

from facemogle.ui import views
from facemogle.ui.examples import Example
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.run import Request, Run, Step, stream

MAX_SEED = 2**32 - 1
KEEP = gr.skip()


async def watch_loading(provider: PipelineProvider) -> AsyncIterator[tuple[str, dict]]:
    """Yield (checkpoint, steps): while the weights load, say so; at the end, set the steps to the checkpoint's own.

    Asynchronous, so that many visitors of a long download take no threads.
    """
    while provider.loading:
        yield show_checkpoint(provider), KEEP
        await asyncio.sleep(1)
    steps = KEEP if provider.failure else gr.update(value=provider.get().config.num_inference_steps)
    yield show_checkpoint(provider), steps


def show_checkpoint(provider: PipelineProvider) -> str:
    """Which checkpoint serves the page, and whether it is there."""
    if provider.loading:
        return views.checkpoint(provider.description, "Loading the weights …", state="loading")
    if provider.failure:
        return views.checkpoint(provider.description, str(provider.failure), state="failed")
    return views.checkpoint(provider.description, provider.details(), state="ready")


def generate(
    provider: PipelineProvider, label_map: np.ndarray | None, prompt: str | None, seed: int | None, steps: int
) -> Iterator[tuple[Image.Image | dict, str, Run | dict]]:
    """Yield (picture, status, run) as the face forms: previews first, then the face and the run that made it."""
    provider.retry()
    try:
        request = read_request(label_map, prompt, seed, steps)
        for _ in provider.waiting():
            yield KEEP, views.status("Waiting for the weights …", running=True), KEEP
        pipeline = provider.get()
        yield KEEP, views.status("Starting …", share=0, running=True), KEEP
        with closing(stream(pipeline, request, lock=provider.lock)) as events:  # closing it cancels the run
            for event in events:
                if isinstance(event, Step):
                    yield event.preview or KEEP, progress(event), KEEP
                else:
                    yield event.face, done(event), event
    except Exception as error:  # every failure is a message on the page, never a dead page
        yield KEEP, views.status(str(error), failed=True), KEEP
        raise gr.Error(str(error), visible=False, print_exception=not isinstance(error, ValueError)) from error


def read_request(label_map: np.ndarray | None, prompt: str | None, seed: int | None, steps: int) -> Request:
    """The page's fields, some of which may be empty; ValueError without a usable seed."""
    if seed is None or not 0 <= seed <= MAX_SEED:
        got = "an empty field" if seed is None else seed
        raise ValueError(f"Seed must be a whole number from 0 to {MAX_SEED}, got {got}; New seed draws one.")
    return Request((prompt or "").strip(), empty_to_none(label_map), seed, steps)


def empty_to_none(label_map: np.ndarray | None) -> np.ndarray | None:
    """A map that is all background asks for nothing: the prompt alone decides."""
    return label_map if label_map is not None and label_map.any() else None


def progress(step: Step) -> str:
    left = "" if step.seconds_left is None else f", {step.seconds_left:.0f} s left"
    return views.status(f"Step {step.number} of {step.total}{left}", share=step.number / step.total, running=True)


def done(run: Run) -> str:
    source = "prompt and map" if run.request.prompt else "the map alone"
    if run.request.label_map is None:
        source = "the prompt alone, the map is empty" if run.request.prompt else "neither prompt nor map"
    return views.status(" ".join([f"Made from {source} in {run.seconds:.1f} s.", *run.notes]))


def last_face(run: Run | None) -> Image.Image | None:
    """The face of the last complete run, of which the experts still tell, in place of a broken run's preview."""
    return run.face if run else None


def pick_example(examples: list[Example], index: int) -> tuple[np.ndarray, str]:
    """The label map and prompt of an example."""
    example = examples[index]
    return example.label_map, example.prompt


def roll_seed() -> int:
    return secrets.randbelow(MAX_SEED + 1)


def show_gating(run: Run) -> tuple[dict, str]:
    """After a run: the slider over its steps, at the last one, and the experts there."""
    steps = len(run.gating.weights)
    # A slider of one place is an error to Gradio, even where it is not shown.
    return gr.update(maximum=max(2, steps), value=steps, visible=steps > 1), show_step(run, steps)


def show_step(run: Run | None, step: int) -> str:
    """The experts at a step, counted from 1, from the recorded gating; nothing before the first run."""
    if run is None:
        return ""
    return views.experts(run.gating, step - 1, face=run.face, label_map=run.request.label_map)
