"""What the page's events do. Plain functions: layout.py wires them, the tests call them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from facemogle import templates
from facemogle.masks import picture_size, resize_nearest
from facemogle.picture_files import MAX_SEED, MAX_STEPS, Settings
from facemogle.ui import torch_thread, views
from facemogle.ui.examples import Example
from facemogle.ui.failures import plain
from facemogle.ui.fidelity.view import fidelity, no_parser
from facemogle.ui.gating_inspector.component import FORGOTTEN, Inspected
from facemogle.ui.label_editor.component import encode, laid_under
from facemogle.ui.live import Latest
from facemogle.ui.names import lora_title, title_of
from facemogle.ui.photo.handlers import OpenPhoto
from facemogle.ui.picture_strip import strip
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.run import Base, Cancelled, Edit, Request, Run, Step, stream
from facemogle.ui.visit import BLANK_SIDE, Visit, picture_file

MAX_IMAGES = 8
DRAWN_SEEDS = 2**32  # of those that New seed draws, which should be short enough to be told
LIVE_STEPS, LIVE_SHARE = 4, 0.75  # of a face while painting: at most, and of the steps that Generate would take
SLIDERS = STEPS, GUIDANCE, CONDITION = (1, 50), (1, 10), (0, 2)  # where they end, unless a picture asks for more
WIDEST_GUIDANCE, WIDEST_CONDITION = (0, 100), (0, 10)  # which a model still makes something of
LORA = 0, 2
BEFORE, PHOTO = "The picture before", "The photo"  # what the result is compared with
HARDLY = 0.01  # of the range of a picture's values: what is no more than that is hardly seen
KEEP = gr.skip()


async def watch_loading(provider: PipelineProvider) -> AsyncIterator[str]:
    """Yield what `show_checkpoint` says, until the weights are there or have failed to load.

    Asynchronous, so that many visitors of a long download take no threads.
    """
    while provider.loading:
        yield show_checkpoint(provider)
        await asyncio.sleep(1)
    yield show_checkpoint(provider)


def show_checkpoint(provider: PipelineProvider) -> str:
    """Which checkpoint serves the page, and whether it is there."""
    if provider.loading:
        return views.checkpoint(provider.description, "Loading the weights …", state="loading")
    if provider.failure:
        return views.checkpoint(provider.description, str(provider.failure), state="failed")
    return views.checkpoint(provider.description, provider.details(), state="ready")


# The fields of a request, in the order in which layout.py lists them.


def read_request(
    label_map: np.ndarray | None,
    prompt: str | None,
    seed: int | None,
    num_images: int | None,
    steps: int,
    guidance_scale: float,
    condition_scale: float,
    expert_scale: dict[str, float] | None,
    in_place: bool = False,
    strength: float = 1.0,
    base: Base | None = None,
    region: np.ndarray | None = None,
    *lora_scales: float,
    loras: Iterable[str] = (),
) -> Request:
    """The page's fields, some of which may be empty; ValueError without a usable seed, number of pictures or of steps.

    in_place: change `base`, in `region` or where the maps differ, see run.Edit; ValueError where there is no base.
    lora_scales: of `loras`, in their order; those without one count as they were loaded.
    """
    if seed is None or not 0 <= seed <= MAX_SEED:
        got = "an empty field" if seed is None else str(seed)[:40]
        raise ValueError(f"Seed must be a whole number from 0 to {MAX_SEED}, got {got}; New seed draws one.")
    num_images = num_images or 1
    if not 1 <= num_images <= MAX_IMAGES:
        raise ValueError(f"Pictures must be a whole number from 1 to {MAX_IMAGES}, got {str(num_images)[:40]}.")
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"Steps must be a whole number from 1 to {MAX_STEPS}, got {str(steps)[:40]}.")
    if guidance_scale is not None:
        check_range("Guidance", guidance_scale, *WIDEST_GUIDANCE)
    check_range("Condition scale", condition_scale, *WIDEST_CONDITION)
    check_range("Strength", strength, 0, 1)
    if in_place and base is None:
        raise ValueError("There is no picture under the map to change. Drop a photo, or generate a face first.")
    if in_place and base is not None and region is None and unchanged(label_map, base.label_map):
        raise ValueError(
            "Nothing is free to change yet. Repaint a part of the map, or switch on Paint the region, under the map's "
            "tools, and mark where the picture may change."
        )
    edit = Edit(base, region, strength) if in_place and base is not None else None
    return Request(
        prompt=(prompt or "").strip(),
        label_map=label_map if edit else empty_to_none(label_map),
        seed=seed,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        condition_scale=condition_scale,
        expert_scale=expert_scale or None,
        num_images=num_images,
        edit=edit,
        lora_scale=dict(zip(loras, lora_scales, strict=False)) or None,
    )


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """ValueError unless it is a number within, which NaN never is."""
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low} to {high}, got {str(value)[:40]}.")


def unchanged(label_map: np.ndarray | None, source: np.ndarray) -> bool:
    """Whether a map is still the one that belongs to the picture, which may have another size."""
    return label_map is not None and np.array_equal(resize_nearest(label_map, *source.shape), source)


def fields_of(settings: Settings, num_images: int = 1) -> tuple:
    """The page's fields that make a picture again."""
    label_map = np.zeros((BLANK_SIDE, BLANK_SIDE), np.uint8) if settings.label_map is None else settings.label_map
    return (
        label_map,
        settings.prompt,
        settings.seed,
        num_images,
        settings.num_inference_steps,
        settings.guidance_scale,
        settings.condition_scale,
        dict(settings.expert_scale or {}),
    )


def restored(settings: Settings, num_images: int = 1) -> tuple:
    """`fields_of`, with sliders that reach as far as these settings do."""
    label_map, prompt, seed, count, *slid, expert_scale = fields_of(settings, num_images)
    sliders = [
        gr.update(value=value, minimum=min(low, value), maximum=max(high, value))
        for value, (low, high) in zip(slid, SLIDERS, strict=True)
    ]
    return label_map, prompt, seed, count, *sliders, expert_scale


def lora_values(loras: Iterable[str], settings: Settings) -> list[float]:
    """How much each of the page's LoRAs counted in a picture."""
    return [(settings.loras or {}).get(name, 0.0) for name in loras]


def lora_sliders(loras: Iterable[str], settings: Settings) -> list[dict]:
    """`lora_values`, with sliders that reach as far."""
    low, high = LORA
    values = lora_values(loras, settings)
    return [gr.update(value=each, minimum=min(low, each), maximum=max(high, each)) for each in values]


def empty_to_none(label_map: np.ndarray | None) -> np.ndarray | None:
    """A map that is all background asks for nothing: the prompt alone decides."""
    return label_map if label_map is not None and label_map.any() else None


# Runs.


def generate(provider: PipelineProvider, visit: Visit, *fields: Any) -> Iterator[tuple]:
    """Yield (picture, status, visit) as the face forms: previews first, then the face and the run that made it."""
    provider.retry()
    try:
        request = read_request(*fields, loras=provider.loras)
        for _ in provider.waiting():
            yield KEEP, views.status("Waiting for the weights …", running=True), KEEP
        pipeline = provider.get()
        yield KEEP, views.status("Starting …", share=0, running=True), KEEP
        # closing it cancels the run
        with closing(stream(pipeline, request, checkpoint=provider.checkpoint)) as events:
            for event in events:
                if isinstance(event, Step):
                    yield event.preview or KEEP, progress(event), KEEP
                else:
                    visit = visit.added(event)
                    yield picture_file(event, 0), done(visit), visit
    except Exception as error:  # every failure is a message on the page, never a dead page
        yield KEEP, views.status(plain(error), failed=True), KEEP
        raise gr.Error(plain(error), visible=False, print_exception=not isinstance(error, ValueError)) from error


def join(visit: Visit, made: Visit) -> tuple:
    """A visit as it is now, with the run that just ended -> (visit, made: None, the run to keep, editor, status).

    Much may have come to pass since it began.
    """
    visit = visit.added(made.runs[-1])
    return visit, None, visit.run, KEEP, done(visit)


def generate_live(provider: PipelineProvider, latest: Latest, visitor: str | None, *fields: Any) -> Iterator[tuple]:
    """Yield (picture, status) of a single picture in few steps, unless a newer stroke takes its place."""
    if provider.loading or provider.failure:
        return
    try:
        request = read_request(*fields, loras=provider.loras)
        whole = request.num_inference_steps
        steps = min(LIVE_STEPS, round(LIVE_SHARE * whole) or 1)
        request = replace(request, num_images=1, num_inference_steps=steps, previews=False)
        with latest.begin(visitor) as stopped:
            for event in stream(provider.get(), request, checkpoint=provider.checkpoint, cancelled=stopped):
                if isinstance(event, Run) and not stopped.is_set():
                    text = f"Live: {steps} of {whole} steps in {event.seconds:.1f} s. Generate takes them all."
                    yield event.faces[0], views.status(text)
    except Cancelled:
        return
    except Exception as error:
        yield KEEP, views.status(plain(error), failed=True)
        raise gr.Error(plain(error), visible=False, print_exception=not isinstance(error, ValueError)) from error


def progress(step: Step) -> str:
    left = "" if step.seconds_left is None else f", {step.seconds_left:.0f} s left"
    return views.status(f"Step {step.number} of {step.total}{left}", share=step.number / step.total, running=True)


def done(visit: Visit) -> str:
    """How the picture that is shown was made."""
    run, settings = visit.run, visit.settings
    if run is None or settings is None:
        return views.status("")
    source = "prompt and map" if run.request.prompt else "the map alone"
    if run.request.label_map is None:
        source = "the prompt alone, the map is empty" if run.request.prompt else "neither prompt nor map"
    kept = ["Outside the region the picture is as it was."] if run.request.edit else []
    moved = visit.steered
    steered = (
        [] if moved is None or moved > HARDLY else [f"The experts' factors hardly moved the picture: {moved:.1%}."]
    )
    made = f"Made from {source} in {run.seconds:.1f} s, seed {settings.seed}."
    return views.status(" ".join([made, *steered, *kept, *run.notes]))


# What was made.


def show(
    provider: PipelineProvider,
    load_parser: Callable[[], Any] | None,
    visit: Visit,
    photo: OpenPhoto | None = None,
    against: str = BEFORE,
) -> tuple:
    """(face, variations, comparison, fidelity, inspected, history, editor, base, go_on) of what the visit shows."""
    run, settings, names = visit.run, visit.settings, visit.names
    history = strip("This visit", [(each.faces[0], names[each.key()]) for each in visit.runs], chosen=visit.shown)
    if run is None or settings is None or visit.face is None or visit.base is None:
        return None, "", None, "", None, history, KEEP, KEEP, gr.update(visible=False)
    titles = [f"seed {each.seed}" for each in run.settings]
    pictures = list(zip(run.faces, titles, strict=True))
    variations = strip("Variations", pictures if len(pictures) > 1 else [], chosen=visit.image)
    if load_parser is None:
        followed = no_parser(provider.checkpoint)
    else:
        (read,) = torch_thread.call(load_parser().parse, [np.asarray(visit.face)])
        followed = fidelity(visit.face, settings.label_map, read)
    comparison = compare(visit, photo, against)
    inspected: Inspected | str = FORGOTTEN
    if run.gating is not None:
        inspected = Inspected(
            title_of(settings), run.gating, visit.image, visit.face, settings.label_map,
            run.key(visit.image), names, settings.prompt, settings.seed,
        )  # fmt: skip
    editor, next_change = laid_under(visit.base), gr.update(visible=run.request.edit is not None and not visit.onward)
    face = picture_file(run, visit.image)
    return face, variations, comparison, followed, inspected, history, editor, visit.base, next_change


def compare(visit: Visit, photo: OpenPhoto | None, against: str) -> tuple[Image.Image, Image.Image] | None:
    """(what was there before, the face): the photo if one is open and asked for, or there was nothing else."""
    from_photo = photo and photo.base and photo.base.picture
    before = from_photo if from_photo and (against == PHOTO or visit.before is None) else visit.before
    if before is None or visit.face is None:
        return None
    return before.resize(visit.face.size, Image.Resampling.LANCZOS), visit.face


def go_on(visit: Visit) -> tuple:
    """The face that is shown is what is changed next -> (editor, base)."""
    return (KEEP, KEEP) if visit.drawn is None else (laid_under(visit.drawn), visit.drawn)


def come_back(visit: Visit, runs: tuple[Run, ...]) -> Visit:
    """With what the browser kept of it, before whatever was made since the page opened."""
    return visit.after(runs) if runs else visit


def look_again(paint: Callable[..., Iterator[tuple]], visit: Visit, loras: Iterable[str] = ()) -> Iterator[tuple]:
    """Make the shown run again, for its gating weights -> (status, both runs); `paint` is `generate` of a provider."""
    run = visit.run
    if run is None:
        yield ended(), KEEP
        return
    if run.settings[0].strength is not None:
        yield views.status("It was a change of a picture that is not kept here: drop that, and change it again."), KEEP
        return
    fields = *fields_of(run.settings[0], len(run.faces)), False, 1.0, None, None, *lora_values(loras, run.settings[0])
    for _, status, made in paint(Visit(), *fields):
        # As idle: Cancel is for the runs of Generate, and Gradio refuses to cancel what is not under way.
        again = (run, made.runs[-1]) if isinstance(made, Visit) else KEEP
        yield status.replace("run running", "run idle"), again


def join_again(visit: Visit, again: tuple[Run, Run] | None) -> tuple:
    """As `join`, with a run in place of that which it makes again -> (visit, again: None, status)."""
    if again is None:
        return KEEP, KEEP, KEEP
    visit = visit.replaced(*again)
    return visit, None, done(visit) if visit.run else KEEP


def forget(photo: OpenPhoto | None) -> tuple:
    """An empty visit -> (visit, status, editor, base): an open photo stays, and lies under the map again."""
    base = photo.base if photo else None
    return Visit(), views.status("This visit's faces are forgotten."), laid_under(base), base


def last_face(visit: Visit) -> str | None:
    """The face that is shown, of which the experts still tell, in place of a broken run's preview."""
    return picture_file(visit.run, visit.image) if visit.run else None


def ended() -> str:
    """Status where the page shows runs that this server has not."""
    text = "The server holds a visit for an hour, and this one is over. Reload the page: the browser kept its faces."
    return views.status(text, failed=True)


def pick_image(visit: Visit, image: int) -> Visit:
    return visit.showing(image=image)


def pick_run(visit: Visit, index: int) -> tuple:
    """A run of this visit again -> (visit, *fields)."""
    visit = visit.showing(index)
    assert visit.run is not None
    return visit, *restored(visit.run.settings[0], len(visit.run.faces))


def edit_again(visit: Visit) -> tuple:
    """What else made the shown run -> (in_place, strength, region): the latter as the page holds it, or None."""
    edit = visit.run.request.edit if visit.run else None
    if edit is None:
        return False, KEEP, None
    return True, edit.strength, None if edit.region is None else encode(edit.region)


def restore(provider: PipelineProvider, settings: Settings) -> tuple:
    """The fields that made a picture, from its file -> (status, *fields)."""
    notes = ["Settings restored; Generate makes the picture again."]
    if settings.strength is not None:
        notes = ["Settings restored. It changed a part of a picture that its file lacks: Generate draws a whole face."]
    if not (provider.loading or provider.failure):
        height, width = picture_size(provider.get(), settings.label_map)
        if (height, width) != (settings.height, settings.width):
            notes.append(f"It was {settings.width}×{settings.height}; this page makes {width}×{height}.")
    counted = [name for name, scale in (settings.loras or {}).items() if scale]
    if absent := [lora_title(name) for name in counted if name not in provider.loras]:
        notes.append(f"It was made with the LoRA {', '.join(absent)}, which this page has not, and will differ.")
    if settings.checkpoint != provider.checkpoint:
        notes.append(f"It was made with {settings.checkpoint}; this page runs {provider.checkpoint}, and will differ.")
    return views.status(" ".join(notes)), *restored(settings)


def pick_example(examples: list[Example], visit: Visit, index: int) -> tuple:
    """Start from an example -> (visit, editor, base, in_place, sample, prompt): nothing is left of the run before."""
    example = examples[index]
    return *start_from(visit, example.label_map), views.sample(example.face), example.prompt


def start_from(visit: Visit, label_map: np.ndarray) -> tuple:
    """A label map that no picture belongs to -> (visit, editor, base, in_place)."""
    return visit.put_aside(), laid_under(None) | {"value": label_map}, None, False


def add_part(label_map: np.ndarray | None, name: str) -> np.ndarray:
    """The map with one of templates.PARTS in it."""
    return templates.add_part(np.zeros((BLANK_SIDE, BLANK_SIDE), np.uint8) if label_map is None else label_map, name)


def roll_seed() -> int:
    return secrets.randbelow(DRAWN_SEEDS)
