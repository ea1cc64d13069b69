"""From one face of the visit to the one that is shown: a film, and its pictures to start from."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr

from facemogle.figures import save_animation
from facemogle.picture_files import Settings
from facemogle.ui import views
from facemogle.ui.begin_stop import BeginStop
from facemogle.ui.failures import plain
from facemogle.ui.handlers import KEEP, restored
from facemogle.ui.picture_strip import picture_strip, strip
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.studies import saved, streamed
from facemogle.ui.visit import Visit

FRAMES = 8
HOUR = 3600
# What opens lies below the picture, in a part of the page that scrolls.
SHOW = """() => setTimeout(() => {
    const pane = document.querySelector("#between").closest(".tabitem");
    pane.scrollTop = pane.scrollHeight;
}, 50)"""


class Between:
    """To be made within a layout: where from, what begins and stops it, the film, and its pictures."""

    def __init__(self) -> None:
        with gr.Accordion("The way from another face", open=False, elem_id="between") as self.panel:
            self.other = gr.Radio([], label="From", info="to the face that is shown", elem_id="between-from")
            self.making = BeginStop(f"Make {FRAMES} pictures", elem_id="way")
            self.film = gr.Image(
                label="The way", type="filepath", interactive=False, show_label=False, visible=False,
                buttons=["download"], elem_id="between-film",
            )  # fmt: skip
            self.frames = picture_strip("", elem_id="between-frames")
        self.made = gr.State(None, time_to_live=HOUR)  # the settings of each picture

    def wire(
        self,
        provider: PipelineProvider,
        visit: gr.State,
        status: gr.HTML,
        fields: list[Any],
        take_turn: Callable[..., None],
        *,
        concurrency_id: str,
        private: dict[str, Any],
    ) -> None:
        """fields: those of a request, which a picture that is picked fills, in its turn: see Showing."""
        self.panel.expand(None, None, None, js=SHOW, **private)
        self.making.wire(
            partial(way, provider), [visit, self.other], [status, self.film, self.frames, self.made],
            concurrency_id=concurrency_id, private=private,
        )  # fmt: skip

        def pick(made: list[Settings] | None, event: gr.EventData) -> tuple:
            return start_at(made, event.index)

        take_turn(self.frames.pick, fn=pick, inputs=self.made, outputs=[*fields, status], show=())


def choices(visit: Visit) -> dict[str, Any]:
    """The visit's other runs by their keys, the newest chosen -> of `other`."""
    names = visit.names
    others = [(names[run.key()], run.key()) for place, run in enumerate(visit.runs) if place != visit.shown]
    return gr.update(choices=others, value=others[-1][1] if others else None)


def way(provider: PipelineProvider, visit: Visit, other: str | None) -> Iterator[tuple]:
    """Yield (status, film, strip, settings of its pictures) as they are made. other: the key of a run."""
    settings = visit.settings
    first = next((run.settings[0] for run in visit.runs if run.key() == other), None)
    if settings is None or first is None:
        yield views.status("Two faces are needed: generate another one.", failed=True), KEEP, KEEP, KEEP
        return
    from facemogle.morph import check_ends, morph

    try:
        check_ends(first, settings)
        yield views.status("On the way …", share=0), KEEP, KEEP, KEEP
        made: list[Any] = []
        loras = {name: (settings.loras or {}).get(name, 0.0) for name in provider.loras} or None

        def work(step_done: Callable) -> list[Any]:
            pipeline = provider.get()
            for frame in morph(pipeline, first, settings, FRAMES, lora_scale=loras, callback_on_step_end=step_done):
                made.append(frame)
            return made

        told = 0
        for _ in streamed(work):
            if len(made) > told:
                told = len(made)
                said = f"Picture {told} of {FRAMES} on the way"
                pictures = strip("The way", [(frame.image, _title(frame)) for frame in made])
                yield views.status(said, share=told / FRAMES), KEEP, pictures, [each.settings for each in made]
        film = saved("morph.gif", partial(save_animation, frames=[each.image for each in made], milliseconds=150))
        said = "The way is there. A click on one of its pictures brings its map, and the nearer face's words."
        yield views.status(said), gr.update(value=film, visible=True), KEEP, KEEP
    except Exception as error:  # every failure is a message on the page
        yield views.status(plain(error), failed=True), KEEP, KEEP, KEEP


def _title(frame: Any) -> str:
    return f"{frame.t:.0%} of the way"


def start_at(made: list[Settings] | None, index: int) -> tuple:
    """A picture of the way as a new start -> (*fields, status)."""
    if not made or not 0 <= index < len(made):
        return *(KEEP for _ in range(8)), views.status("These pictures are not here any more. Make them once more.")
    settings = made[index]
    words = f"The map {index / (FRAMES - 1):.0%} of the way. Generate draws it from the nearer face's noise and words."
    return *restored(settings), views.status(words)
