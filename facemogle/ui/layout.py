"""The page: which components there are and which handler serves which event."""

import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from facemogle.picture_files import Settings
from facemogle.templates import template_face
from facemogle.ui import handlers, recall, views
from facemogle.ui.api import add_api
from facemogle.ui.api_fields import explain_inputs
from facemogle.ui.between import Between, choices
from facemogle.ui.body_limit import BodyLimit
from facemogle.ui.component import lean
from facemogle.ui.connection.component import Connection
from facemogle.ui.effects import Effects
from facemogle.ui.examples import Example, pictures_of
from facemogle.ui.expert_scales.component import ExpertScales
from facemogle.ui.fair_queue import Streams, make_fair
from facemogle.ui.fidelity.view import fidelity_view
from facemogle.ui.gating_inspector.component import GatingInspector
from facemogle.ui.guard import LOOPBACK, Guard
from facemogle.ui.kept_runs.component import KeptRuns
from facemogle.ui.keys.component import Keys
from facemogle.ui.label_editor.component import LabelEditor, Region
from facemogle.ui.lifespan import living
from facemogle.ui.live import Latest
from facemogle.ui.names import lora_title
from facemogle.ui.part_picker import handlers as part_handlers
from facemogle.ui.part_picker.component import PartPicker, to_change
from facemogle.ui.photo.handlers import OpenPhoto, Parsers
from facemogle.ui.photo.panel import PhotoPanel
from facemogle.ui.picture_drop.component import PictureDrop
from facemogle.ui.picture_strip import picture_strip, strip
from facemogle.ui.prompt_notes import component as prompt_notes
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.run import Base
from facemogle.ui.showing.component import TURN, Showing, asking
from facemogle.ui.suggestions import suggestion_list, toggle_phrase
from facemogle.ui.turns.component import MODEL, Pace, Turns, turn
from facemogle.ui.visit import Visit

HEADLINE = "# Face-MoGLE\nPaint a label map, type a prompt, see the face, and what each expert said to it."
HINT = "Paint the map, or start from an example. Generate draws the face."
HOUR = 3600
MAX_SESSIONS = 256  # at once; the one that was used longest ago is let go

# Status in, status out, in the page alone: the server says nothing of a request before its turn, if it refuses it, or
# once it is cancelled. A run that fails says why, so that one that ends while it seems to run was refused or cancelled.
_WAITING = json.dumps(views.status("Waiting for your turn …", waiting=True))
_REFUSED = json.dumps(views.status("Not started. If many are waiting, try again in a minute.", failed=True))
_CANCELLING = json.dumps(views.status("Cancelling …", running=True))
_CANCELLED = json.dumps(views.status("Cancelled."))
# What was said of a file is settled by what is done next.
SETTLE = """(...values) => {
  for (const message of document.querySelectorAll("#drop .message")) message.textContent = "";
  for (const note of document.querySelectorAll("#photo .note.failed")) note.hidden = true;
  return values;
}"""
SETTLE_TURN = f"(...values) => ({TURN})(...({SETTLE})(...values))"
BEGIN = f"""(status, seed, keep) => [
  status.includes("running") ? status : {_WAITING},
  keep ? seed : Math.floor(Math.random() * {handlers.DRAWN_SEEDS}),
]"""
BEGIN_CHANGE = f'status => status.includes("running") ? status : {_WAITING}'
SAY_CANCELLING = f"() => {_CANCELLING}"
SAY_ENDED = f'status => status === {_WAITING} ? {_REFUSED} : status.includes("running") ? {_CANCELLED} : status'


SET_LIVE = '(live) => { document.querySelector("#label-editor form").dataset.live = live ? "on" : ""; }'
SET_EDIT = '(edit) => { document.querySelector("#label-editor form").dataset.edit = edit ? "on" : ""; }'
# On a phone, where the other one of map and picture is small.
EXCHANGE = """() => {
  const studio = document.querySelector("#studio"), picture = studio.dataset.large !== "picture";
  studio.dataset.large = picture ? "picture" : "map";
  document.querySelector("#exchange").textContent = `Show the ${picture ? "map" : "picture"} large`;
  if (!picture) document.querySelector("#result [role=tab]").click(); // the face is what is seen small
}"""
# Gradio makes what is in a tab when the tab is first shown; these have to be there for every run.
OPEN_TABS = """() => {
  const tabs = [...document.querySelectorAll("#result [role=tab]")];
  const named = (name) => tabs.find((tab) => tab.textContent.trim() === name);
  const next = ([tab, ...others]) => {
    tab.click();
    if (others.length) requestAnimationFrame(() => next(others));
  };
  next([named("Experts"), named("Change"), tabs[0]]);
}"""
# The page's values, of which the last is to be the region of the map at a place among them.
TAKE_REGION = """(...values) => {{
  const map = values[{map}];
  const region = map?.region && {{ height: map.height, width: map.width, runs: map.region }};
  return [...values.slice(0, {place}), region ?? null, ...values.slice({place} + 1)];
}}"""

# The other way: the region that a run had goes with the map.
GIVE_REGION = "(map, region) => ({ ...map, region: region?.runs ?? null })"


def build(
    provider: PipelineProvider,
    examples: list[Example],
    *,
    suggestions: dict[str, list[str]] | None = None,
    prompt_words: int | None = None,
    defaults: tuple[int, float] = (28, 3.5),
    load_parser: Callable[[], Any] | None = None,
    parsers: Parsers | None = None,
    live: bool = True,
    on_gpu: Callable[[Callable], Callable] = lambda generate: generate,
) -> gr.Blocks:
    """The whole page.

    suggestions: attribute -> phrases that the checkpoint knows. prompt_words: how many words of a prompt it reads.
    defaults: its steps and guidance scale, which the page starts from before it is loaded. load_parser: of the parser
    that reads its faces, if there is one. parsers: those that read photos; without, the page takes none. live: offer
    painting that answers at once. on_gpu wraps the one function that runs the model, as `spaces.GPU` does.
    """
    start = examples[0] if examples else Example(template_face(), "")
    parser, latest, pace = load_parser and cache(load_parser), Latest(), Pace()
    with gr.Blocks(title="Face-MoGLE", analytics_enabled=False) as page:
        visit = gr.State(Visit(), time_to_live=HOUR)
        photo, base = gr.State(None, time_to_live=HOUR), gr.State(None, time_to_live=HOUR)
        picture = gr.State(None, time_to_live=HOUR)  # the picture whose parts may be changed
        made = gr.State(None, time_to_live=HOUR)  # what a run left that just ended
        again = gr.State(None, time_to_live=HOUR)  # the same of a run that was made again, and that run
        region = Region()
        Keys(elem_id="keys")
        Connection(elem_id="connection")
        turns = Turns(elem_id="turns")
        showing = Showing(elem_id="showing")
        with gr.Row(elem_id="head"):
            gr.Markdown(HEADLINE)
            checkpoint = gr.HTML()
        with gr.Row(elem_id="studio"):
            editor = LabelEditor(start.label_map, elem_id="label-editor")
            with gr.Column(elem_id="views"):
                sample = gr.HTML(views.sample(start.face), elem_id="sample")
                with gr.Tabs(elem_id="result"):
                    with gr.Tab("Face"):
                        face = gr.Image(
                            label="Face", format="png", type="filepath", interactive=False, show_label=False,
                            buttons=["download", "fullscreen"], elem_id="face",
                        )  # fmt: skip
                    with gr.Tab("Change"):
                        picker = PartPicker(suggestions or {}, checkpoint=provider.checkpoint, elem_id="picker")
                    with gr.Tab("Before, after"):
                        against = gr.Radio(
                            [handlers.BEFORE, handlers.PHOTO], value=handlers.BEFORE, label="Compare with",
                            container=False, elem_id="against",
                        )  # fmt: skip
                        comparison = gr.ImageSlider(
                            label="What was there before, and now", format="png", buttons=["fullscreen"],
                            interactive=False, elem_id="comparison",
                        )  # fmt: skip
                        between = Between() if live else None
                    with gr.Tab("Map check"):
                        fidelity = fidelity_view(elem_id="fidelity")
                    with gr.Tab("Experts"):
                        inspector = GatingInspector(elem_id="gating")
                        expert_scales = ExpertScales(elem_id="expert-scales")
                        effects = Effects()
            exchange = gr.Button("Show the picture large", elem_id="exchange")
            with gr.Row(elem_id="composer"):
                with gr.Column(elem_id="ask", min_width=0):
                    prompt = gr.Textbox(
                        start.prompt, label="Prompt", lines=2, max_lines=2, elem_id="prompt",
                        placeholder="A woman with red hair. Without a prompt, the map alone decides.",
                    )  # fmt: skip
                    notes = prompt_notes.PromptNotes(elem_id="prompt-notes")
                    with gr.Row(elem_id="ask-more"):
                        words = suggestion_list(suggestions or {}, words=prompt_words, elem_id="words")
                        in_place = gr.Checkbox(
                            label="Change only what I repaint", container=False, elem_id="in-place",
                            info="The rest of the picture under the map stays as it is, to the last pixel",
                        )  # fmt: skip
                with gr.Column(elem_id="make", min_width=0):
                    with gr.Row(elem_id="told"):
                        status = gr.HTML(views.status(HINT), elem_id="status")
                        go_on = gr.Button("Go on from this face", size="sm", visible=False, elem_id="go-on")
                    with gr.Row(elem_id="actions"):
                        generate = gr.Button("Generate", variant="primary", elem_id="generate")
                        cancel = gr.Button("Cancel", variant="stop", min_width=0, elem_id="cancel")
                        paint_live = gr.Checkbox(
                            label="Live", container=False, min_width=60, scale=0, visible=live, elem_id="live",
                            info="a quick face after every stroke",
                        )  # fmt: skip
                    with gr.Row(elem_id="settings"):
                        seed = gr.Number(
                            7, label="Seed", precision=0, min_width=0, elem_id="seed",
                            info="Which noise the face grows from",
                        )  # fmt: skip
                        dice = gr.Button("New seed", size="sm", min_width=0, elem_id="dice")
                        keep = gr.Checkbox(True, label="Keep seed", container=False, min_width=0, elem_id="keep")
                        num_images = gr.Number(
                            1, label="Pictures", precision=0, min_width=0,  # whose bounds read_request explains
                            info="Each from the next seed", elem_id="num-images",
                        )  # fmt: skip
                        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
                            steps = gr.Slider(
                                *handlers.STEPS, defaults[0], step=1, precision=0, label="Steps", buttons=[],
                                info="How often the face is refined from noise: more takes longer and adds detail",
                                elem_id="steps",
                            )  # fmt: skip
                            guidance = gr.Slider(
                                *handlers.GUIDANCE, defaults[1], step=0.1, label="Guidance", buttons=[],
                                info="How boldly the face follows the prompt; too much makes it harsh",
                                elem_id="guidance",
                            )  # fmt: skip
                            condition_scale = gr.Slider(
                                *handlers.CONDITION, 1, step=0.05, label="Condition scale", elem_id="condition-scale",
                                info="How much the face listens to the label map: 0 not at all, 1 as it was trained",
                            )  # fmt: skip
                            strength = gr.Slider(
                                0.05, 1, 1, step=0.05, label="Strength", elem_id="strength",
                                info="How much of the picture is drawn anew where it may change: less keeps more of it",
                            )  # fmt: skip
                            lora_scales = [
                                gr.Slider(
                                    min(handlers.LORA[0], scale), max(handlers.LORA[1], scale), scale, step=0.05,
                                    label=f"LoRA {lora_title(name)}", info="How much this style counts",
                                    elem_id=f"lora-{place}",
                                )
                                for place, (name, scale) in enumerate(provider.loras.items())
                            ]  # fmt: skip
            panel = PhotoPanel(parsers) if parsers else None
            with gr.Row(elem_id="strips"):
                drop = PictureDrop(photos=parsers is not None, elem_id="drop")
                start_from = picture_strip(strip("Start from", pictures_of(examples)), elem_id="examples")
                variations = picture_strip("", elem_id="variations")
                history = picture_strip("", elem_id="history")
                kept_runs = KeptRuns(provider.checkpoint, elem_id="kept-runs")

        fields = [editor, prompt, seed, num_images, steps, guidance, condition_scale, expert_scales]
        inputs, shown = [*fields, in_place, strength, base, region, *lora_scales], [visit, photo, against, base]
        views_of_visit = [face, variations, comparison, fidelity, inspector, history, editor, base, go_on]
        views_of_visit += [picture, picker, *([between.other] if between else [])]
        private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        paint = pace.timed(on_gpu(partial(handlers.generate, provider)))

        def show(visit: Visit, photo: OpenPhoto | None, against: str, base: Base | None):
            views_of_visit = handlers.show(provider, parser, visit, photo, against)
            others = [choices(visit)] if between else []
            return *views_of_visit, *part_handlers.to_be_changed(parser, visit, base), *others

        showing.wire("views", private, fn=show, inputs=shown, outputs=views_of_visit)
        showing.wire("face", private, fn=handlers.last_face, inputs=visit, outputs=face)
        showing.wire("comparison", private, fn=handlers.compare, inputs=shown[:3], outputs=comparison)
        # A press on Generate waits for these, see keys/hold.js.
        take_turn = partial(showing.take_turn, private=private)

        def pick(visit: Visit, event: gr.EventData):
            return *handlers.pick_example(examples, visit, event.index), views.status(HINT)

        def pick_phrase(prompt: str, event: gr.EventData):
            return toggle_phrase(prompt, event.phrase, (suggestions or {})[event.attribute])

        def add_part(label_map: np.ndarray, event: gr.EventData):
            return handlers.add_part(label_map, event.name)

        def take_prompt(event: gr.EventData):
            return str(event.prompt)

        def pick_image(visit: Visit, event: gr.EventData):
            if not visit.runs:
                return handlers.KEEP, handlers.KEEP, handlers.ended()
            visit = handlers.pick_image(visit, event.index)
            return visit, visit.settings and visit.settings.seed, handlers.done(visit)

        def pick_run(visit: Visit, event: gr.EventData):
            if not visit.runs:
                return *(handlers.KEEP,) * 12, handlers.ended(), *(handlers.KEEP for _ in lora_scales)
            picked = handlers.pick_run(visit, event.index)
            counted = handlers.lora_sliders(provider.loras, picked[0].settings)
            return *picked, *handlers.edit_again(picked[0]), handlers.done(picked[0]), *counted

        def restore(settings: Settings, visit: Visit):
            status, label_map, *others = handlers.restore(provider, settings)
            visit, *under = handlers.start_from(visit, label_map)
            return visit, *under, "", status, *others, *handlers.lora_sliders(provider.loras, settings)

        def run_live(request: gr.Request, *fields: Any):
            yield gr.skip(), gr.skip()  # Gradio empties what a generator leaves out that yields nothing
            yield from handlers.generate_live(provider, latest, request.session_hash, *fields)

        def tell_turn(request: gr.Request):
            return turn(page._queue, pace, request.session_hash)

        def stop_live(request: gr.Request):
            latest.stop(request.session_hash)

        page.load(partial(handlers.watch_loading, provider), None, checkpoint, concurrency_limit=None, **private)
        page.load(None, None, None, js=OPEN_TABS, **private)
        filling = recall.wire(page, provider, fields[1:], [steps, guidance], private)
        # What a person sets while the weights load stays.
        gr.on([steps.release, guidance.release], None, None, None, cancels=[filling], **private)
        started = [visit, editor, base, in_place, sample]
        take_turn(start_from.pick, fn=pick, inputs=visit, outputs=[*started, prompt, status], js=SETTLE_TURN)
        words.pick(pick_phrase, prompt, prompt, queue=False, **private)
        read_prompt = partial(prompt_notes.read, provider)
        listening: dict[str, Any] = {"queue": False, "trigger_mode": "always_last", **private}
        prompt.change(read_prompt, prompt, notes, **listening)
        checkpoint.change(read_prompt, prompt, notes, **listening)  # once the weights are there
        notes.replace(take_prompt, None, prompt, queue=False, **private)
        notes.wear(add_part, editor, editor, queue=False, **private)
        dice.click(handlers.roll_seed, None, seed, queue=False, **private)
        take_turn(
            drop.restore, fn=restore, inputs=[drop, visit], outputs=[*started, status, *fields[1:], *lora_scales],
            cancels=[filling],
        )  # fmt: skip
        # The page serves listeners in order, so that every other word comes after this one.
        generate.click(None, [status, seed, keep], [status, seed], js=BEGIN, **private)
        # A face of a stroke before that would come over what is asked for.
        for asked in (generate.click, start_from.pick, drop.restore, variations.pick, history.pick, picker.undo):
            asked(stop_live, None, None, queue=False, **private)
        picker.wish(None, status, status, js=BEGIN_CHANGE, **private)
        turns.ask(tell_turn, None, turns, queue=False, **private)
        running = generate.click(
            paint, [visit, *inputs], [face, status, made], concurrency_limit=1, concurrency_id=MODEL,
            js=TAKE_REGION.format(map=1, place=1 + inputs.index(region)), **private,
        )  # fmt: skip
        changing = picker.wish(
            partial(part_handlers.change_part, paint),
            [visit, picker, picture, seed, steps, guidance, condition_scale, expert_scales, strength, *lora_scales],
            [face, status, made], concurrency_limit=1, concurrency_id=MODEL, **private,
        )  # fmt: skip
        for run, joining in ((running, handlers.join), (changing, part_handlers.join)):
            run.success(None, None, None, js=SETTLE, **private)
            run.then(partial(handlers.show_checkpoint, provider), None, checkpoint, queue=False, **private)
            take_turn(run.success, fn=joining, inputs=[visit, made], outputs=[visit, made, kept_runs, editor, status])
            run.failure(None, status, status, js=SAY_ENDED, **private)
            run.failure(**asking("face"), **private)
        take_turn(picker.undo, fn=part_handlers.undo, inputs=visit, outputs=[visit, editor, base, status])
        picker.save(part_handlers.save_photo, picture, picker, concurrency_limit=1, concurrency_id="photo", **private)
        looking = inspector.again(
            partial(handlers.look_again, paint, loras=tuple(provider.loras)), visit, [status, again],
            concurrency_limit=1, concurrency_id=MODEL, **private,
        )  # fmt: skip
        if between:
            between.wire(provider, visit, status, fields, take_turn, concurrency_id=MODEL, private=private)
        effects.wire(paint, tuple(provider.loras), visit, status, face, concurrency_id=MODEL, private=private)
        take_turn(looking.success, fn=handlers.join_again, inputs=[visit, again], outputs=[visit, again, status])
        take_turn(kept_runs.back, fn=handlers.come_back, inputs=[visit, kept_runs], outputs=visit)
        take_turn(kept_runs.forget, fn=handlers.forget, inputs=photo, outputs=[visit, status, editor, base])
        # Cancel ends a run as a failure, dispatched once the page takes the next Generate; a click before that is lost.
        cancel.click(None, None, status, js=SAY_CANCELLING, cancels=[running, changing], **private)
        against.change(**asking("comparison"), **private)
        take_turn(variations.pick, fn=pick_image, inputs=visit, outputs=[visit, seed, status])
        take_turn(
            history.pick, fn=pick_run, inputs=visit,
            outputs=[visit, *fields, in_place, strength, region, status, *lora_scales], js=SETTLE_TURN,
            then={"fn": None, "inputs": [editor, region], "outputs": editor, "js": GIVE_REGION},
        )  # fmt: skip
        exchange.click(None, None, None, js=EXCHANGE, **private)
        paint_live.change(None, paint_live, None, js=SET_LIVE, **private)
        in_place.change(None, in_place, None, js=SET_EDIT, **private)
        take_turn(go_on.click, fn=handlers.go_on, inputs=visit, outputs=[editor, base], show=())
        editor.stroke(
            run_live, inputs, [face, status], trigger_mode="multiple", concurrency_limit=8,
            js=TAKE_REGION.format(map=0, place=inputs.index(region)), **private,
        )  # fmt: skip
        if panel:
            prompts = {example.prompt for example in examples}
            panel.wire(
                drop, editor, prompt, in_place, photo=photo, base=base, template_prompts=prompts, private=private,
                shown=lambda event: event.success(
                    lambda base: (base, to_change(base)), base, [picture, picker], queue=False, **private
                ),
            )  # fmt: skip

        def leave(request: gr.Request):
            session = page.state_holder.session_data.get(request.session_hash)  # which Gradio keeps for an hour more
            left = session and session.state_data.get(photo._id)
            if left:
                left.held.let_go()

        page.unload(leave)
        photo_parsers = panel.parsers if panel else None
        add_api(provider, paint, parser, photo_parsers, concurrency_id=MODEL, studies=live)
    explain_inputs(page)
    return make_fair(page, concurrency_id=MODEL)


def launch_options(
    *, hosts: frozenset[str] | None = LOOPBACK, routes: Sequence[Route] = (), files: Path | None = None
) -> dict[str, Any]:
    """What Gradio takes at launch: style, with system fonts, since the page asks nothing of the network; and what all
    requests pass: Gradio compresses its own scripts and not the page, which holds all of ours.

    hosts: the names that the page answers to, None: any. routes: of the server, beside the page's own. files: a folder
    in which tools may read, for callers on this computer: ValueError where there may be others.
    """
    if files is not None and hosts is None:
        raise ValueError("A folder is opened to tools on this computer alone, and the page is to answer to others.")
    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    ).set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        color_accent="*primary_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
    )
    return {
        "theme": theme,
        # Not as `css`, of which Gradio takes :root and commas within :is() apart, and leaves out container queries.
        "head": f"<style>{lean(Path(__file__).with_name('page.css').read_text('utf-8'))}</style>",
        "ssr_mode": False,
        "state_session_capacity": MAX_SESSIONS,
        "footer_links": ["api", "settings"],
        "app_kwargs": {
            "middleware": [
                Middleware(Guard, hosts),
                Middleware(BodyLimit),
                Middleware(Streams),
                Middleware(GZipMiddleware, compresslevel=6),
            ],
            "routes": list(routes),
            "lifespan": partial(living, keep=HOUR, files=files),
        },
    }
