"""The page: which components there are and which handler serves which event."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from facemogle.ui import handlers, views
from facemogle.ui.example_strip import example_strip
from facemogle.ui.examples import Example
from facemogle.ui.label_editor import LabelEditor
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.suggestions import suggestion_list, toggle_phrase
from facemogle.ui.templates import template_face

HEADLINE = "# Face-MoGLE\nPaint a label map, type a prompt, see the face, and what each expert said to it."
GATING_HELP = (
    "## What each expert said\nAt every step, 20 small experts share the word on each patch of the picture: one that "
    "sees the whole map, and one for each class. Yellow is where an expert speaks loudest in this run; the number is "
    "its share of the word at this step."
)
HOUR = 3600

# Status in, status out, in the page alone: the server says nothing of a request before its turn, if it refuses it, or
# once it is cancelled. A run that fails says why, so that one that ends while it seems to run was refused or cancelled.
_WAITING = json.dumps(views.status("Waiting for your turn …", running=True))
_REFUSED = json.dumps(views.status("Not started. If many are waiting, try again in a minute.", failed=True))
_CANCELLING = json.dumps(views.status("Cancelling …", running=True))
_CANCELLED = json.dumps(views.status("Cancelled."))
SAY_WAITING = f'status => status.includes("running") ? status : {_WAITING}'
SAY_CANCELLING = f"() => {_CANCELLING}"
SAY_ENDED = f'status => status === {_WAITING} ? {_REFUSED} : status.includes("running") ? {_CANCELLED} : status'


def build(
    provider: PipelineProvider,
    examples: list[Example],
    *,
    suggestions: dict[str, list[str]] | None = None,
    on_gpu: Callable[[Callable], Callable] = lambda generate: generate,
) -> gr.Blocks:
    """The whole page.

    suggestions: attribute -> phrases that the checkpoint knows. on_gpu wraps the one function that runs the model, as
    `spaces.GPU` does.
    """
    start = examples[0] if examples else Example(template_face(), "")
    with gr.Blocks(title="Face-MoGLE", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as page:
        run = gr.State(None, time_to_live=HOUR)
        with gr.Row(elem_id="head"):
            gr.Markdown(HEADLINE)
            checkpoint = gr.HTML()
        with gr.Row(elem_id="studio"):
            with gr.Column(scale=7, min_width=320):
                editor = LabelEditor(start.label_map, elem_id="label-editor")
                strip = example_strip(examples, elem_id="examples")
            with gr.Column(scale=5, min_width=320):
                prompt = gr.Textbox(
                    start.prompt, label="Prompt", lines=2, max_lines=4, elem_id="prompt",
                    placeholder="A woman with red hair. Without a prompt, the map alone decides.",
                )  # fmt: skip
                words = suggestion_list(suggestions or {}, elem_id="words")
                with gr.Row(elem_id="actions"):
                    generate = gr.Button("Generate", variant="primary", elem_id="generate")
                    cancel = gr.Button("Cancel", variant="stop", min_width=100, elem_id="cancel")
                status = gr.HTML(views.status("Paint, type, and press Generate."), elem_id="status")
                face = gr.Image(
                    label="Face", format="png", type="pil", interactive=False, buttons=["download", "fullscreen"],
                    elem_id="face",
                )  # fmt: skip
                with gr.Row(elem_id="settings"):
                    steps = gr.Slider(
                        1, 50, 16, step=1, precision=0, label="Steps", buttons=[], scale=3, min_width=120,
                        elem_id="steps",
                    )  # fmt: skip
                    seed = gr.Number(7, label="Seed", precision=0, scale=2, min_width=80, elem_id="seed")
                    dice = gr.Button("New seed", scale=1, min_width=96, size="sm", elem_id="dice")
        with gr.Column(elem_id="gating"):
            gr.Markdown(GATING_HELP)
            step = gr.Slider(
                1, 2, 1, step=1, precision=0, label="Step", interactive=True, buttons=[], visible=False, elem_id="step"
            )
            experts = gr.HTML(elem_id="experts")

        def pick(event: gr.EventData):
            return handlers.pick_example(examples, event.index)

        def pick_phrase(prompt: str, event: gr.EventData):
            return toggle_phrase(prompt, event.phrase, (suggestions or {})[event.attribute])

        private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        page.load(
            partial(handlers.watch_loading, provider), None, [checkpoint, steps], concurrency_limit=None, **private
        )
        strip.pick(pick, None, [editor, prompt], queue=False, **private)
        words.pick(pick_phrase, prompt, prompt, queue=False, **private)
        dice.click(handlers.roll_seed, None, seed, queue=False, **private)
        # The page serves listeners in order, so that every other word comes after this one.
        generate.click(None, status, status, js=SAY_WAITING, **private)
        running = generate.click(
            on_gpu(partial(handlers.generate, provider)), [editor, prompt, seed, steps], [face, status, run],
            show_progress="hidden", concurrency_limit=1, api_name="generate",
        )  # fmt: skip
        running.then(partial(handlers.show_checkpoint, provider), None, checkpoint, queue=False, **private)
        running.success(handlers.show_gating, run, [step, experts], queue=False, **private)
        # Cancel ends a run as a failure, dispatched once the page takes the next Generate; a click before that is lost.
        cancel.click(None, None, status, js=SAY_CANCELLING, cancels=[running], **private)
        running.failure(None, status, status, js=SAY_ENDED, **private)
        running.failure(handlers.last_face, run, face, queue=False, **private)
        step.input(handlers.show_step, [run, step], experts, trigger_mode="always_last", concurrency_limit=8, **private)
    return page.queue(max_size=32)


def launch_options() -> dict[str, Any]:
    """Theme and style, which Gradio takes at launch. System fonts: the page asks nothing of the network."""
    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    ).set(body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400")
    return {
        "theme": theme,
        "css_paths": Path(__file__).with_name("style.css"),
        "ssr_mode": False,
        "footer_links": ["api", "settings"],
    }
