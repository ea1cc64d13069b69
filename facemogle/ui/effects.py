"""What does each expert do? The shown picture once more without each of them, as tiles under their weights."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from facemogle.expert_effects import ExpertEffects
from facemogle.figures import effect_tiles
from facemogle.gating import EXPERTS
from facemogle.picture_files import Settings
from facemogle.ui import views
from facemogle.ui.begin_stop import BeginStop
from facemogle.ui.handlers import KEEP, fields_of, lora_values
from facemogle.ui.names import title_of
from facemogle.ui.visit import Visit

STEPS = 8  # of each picture, at most
TILE = 160  # pixels, each of the two pictures in a tile
TOLD_EVERY = 4  # pictures, new tiles are sent
_CSS = """
p { margin: 8px 0; color: var(--body-text-color-subdued); font-size: 13px; }
div { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 12px; }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; margin: 0; border-radius: 8px; }
figcaption { margin-top: 4px; font-size: 13px; line-height: 1.35; }
b { display: block; font-weight: 600; }
"""


class Effects:
    """What begins and stops it, and the tiles. To be made within a layout."""

    def __init__(self) -> None:
        self.making = BeginStop("What does each expert do?", elem_id="without")
        self.tiles = gr.HTML("", css_template=_CSS, apply_default_css=False, elem_id="without-tiles")

    def wire(
        self,
        paint: Callable[..., Iterator[tuple]],
        loras: Iterable[str],
        visit: gr.State,
        status: gr.HTML,
        face: gr.Image,
        *,
        concurrency_id: str,
        private: dict[str, Any],
    ) -> None:
        """paint: as `handlers.generate` of a provider, with LoRAs of these names."""
        self.making.wire(
            partial(muted_one_by_one, paint, loras), [visit], [status, self.tiles],
            concurrency_id=concurrency_id, private=private,
        )  # fmt: skip
        face.change(None, None, self.tiles, js='() => ""', **private)  # the server may be away


def muted_one_by_one(
    paint: Callable[..., Iterator[tuple]], loras: Iterable[str], visit: Visit
) -> Iterator[tuple[str, Any]]:
    """Yield (status, tiles in HTML): a run for each expert, from the shown picture's noise, in its steps or STEPS.

    Where it has more steps, the picture itself is made again in as many, to compare with.
    """
    run, settings, loras = visit.run, visit.settings, tuple(loras)
    if run is None or settings is None or visit.face is None:
        yield views.status("There is no face yet. Generate one first.", failed=True), KEEP
        return
    if settings.strength is not None:
        text = "This is a change of a picture, which is not kept here. Choose a face that was drawn whole."
        yield views.status(text, failed=True), KEEP
        return
    given = dict(settings.expert_scale or {})
    names = [name for name in EXPERTS if given.get(name, 1.0)]
    if len(names) < 2:
        yield views.status("All experts but one are muted already.", failed=True), KEEP
        return
    steps = min(STEPS, settings.num_inference_steps)
    effects = ExpertEffects(visit.face, (), ())

    def made(scale: dict[str, float]) -> Iterator[tuple[str, Image.Image | None]]:
        again = replace(settings, num_inference_steps=steps, expert_scale=scale)
        fields = *fields_of(again), False, 1.0, None, None, *lora_values(loras, settings)
        for _, status, visited in paint(Visit(), *fields):
            yield status, visited.face if isinstance(visited, Visit) else None

    if steps < settings.num_inference_steps:
        for status, face in made(given):
            if face is None:
                yield _idle(status), KEEP
            else:
                effects = ExpertEffects(face, (), ())
    for name in names:
        for status, face in made(given | {name: 0.0}):
            if face is None and "failed" in status:
                yield status, KEEP
            elif face is not None:
                effects = ExpertEffects(effects.image, (*effects.experts, name), (*effects.muted, face))
        count, total = len(effects.experts), len(names)
        said = f"Without {name.replace('_', ' ')}: {count} of {total} experts."
        fresh = count % TOLD_EVERY == 0 or count == total
        yield views.status(said, share=count / total), tiles(effects, settings, title_of(settings)) if fresh else KEEP
    yield (
        views.status(f"Each of {total} experts was muted once, in {steps} steps: see under Steer the experts."),
        KEEP,
    )


def tiles(effects: ExpertEffects, settings: Settings, title: str) -> str:
    """HTML: the strongest first, each with the share by which the picture changed, and its own class in it."""
    of_class: dict[str, float] = {}
    if settings.label_map is not None:
        inside = effects.inside_outside(settings.label_map)[:, 0].tolist()
        of_class = {name: value for name, value in zip(effects.experts, inside, strict=True) if value == value}
    means, figures = dict(effects.ranked()), []
    for name, tile in effect_tiles(effects, TILE):
        title_of = f"without {name.replace('_', ' ')}"
        share = f", {of_class[name]:.1%} of its class" if name in of_class else ""
        figures.append(
            f'<figure><img src="{views.data_url(tile, format="WEBP")}" alt="The face {title_of}, and what changed">'
            f"<figcaption><b>{title_of}</b> {means[name]:.1%} of the picture{share}</figcaption></figure>"
        )
    return f"<p>{escape(title)}: the face without each expert, and what changed</p><div>{''.join(figures)}</div>"


def _idle(status: str) -> str:
    """Cancel is for the runs of Generate, and Gradio refuses to cancel what is not under way."""
    return status.replace("run running", "run idle")
