"""The page's handlers, called as plain functions with a real, tiny pipeline."""

import asyncio
import gc
import html
import json
import subprocess
import sys
import threading
import weakref
from contextlib import closing
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from facemogle.label_files import write_label_map
from facemogle.masks import picture_size
from facemogle.picture_files import Settings, read_settings
from facemogle.templates import template_face
from facemogle.ui import handlers, layout, recall, run, torch_thread, views
from facemogle.ui.between import choices
from facemogle.ui.component import PageComponent
from facemogle.ui.examples import Example, load_examples
from facemogle.ui.kept_runs.component import decode as decode_run
from facemogle.ui.kept_runs.component import encode as encode_run
from facemogle.ui.label_editor.component import decode
from facemogle.ui.live import Latest
from facemogle.ui.photo.handlers import OpenPhoto
from facemogle.ui.photo.held import Held
from facemogle.ui.provider import PipelineProvider, describe
from facemogle.ui.run import Base, Step, estimate
from facemogle.ui.suggestions import toggle_phrase
from facemogle.ui.visit import MAX_RUNS, Visit

FACE = template_face(size=64)


@pytest.fixture
def provider(pipeline):
    return PipelineProvider("tiny: random weights", lambda: pipeline)


def fields(label_map=FACE, prompt="a face", seed=3, steps=4, *, num_images=1, guidance=3.5, condition=1.0, scale=None):
    """As layout.py lists them."""
    return label_map, prompt, seed, num_images, steps, guidance, condition, scale


def generate(provider, *values, visit=None, **named):
    return list(handlers.generate(provider, visit or Visit(), *fields(*values, **named)))


def sent(restored) -> list:
    """What handlers set the page's fields to -> what the page then sends."""
    return [each["value"] if isinstance(each, dict) and each.get("__type__") == "update" else each for each in restored]


def visit_of(provider, *values, **named) -> Visit:
    return generate(provider, *values, **named)[-1][2]


def stream(pipeline, **named):
    request = handlers.read_request(*fields(**named))
    return run.stream(pipeline, request, checkpoint="tiny")


def watch(provider):
    """What the page's two listeners of loading are told: -> words on the checkpoint, and (steps, guidance)."""

    async def collect(updates):
        return [update async for update in updates]

    said = asyncio.run(collect(handlers.watch_loading(provider)))
    return said, asyncio.run(collect(recall.await_defaults(provider, None)))


def test_a_phrase_is_added_replaced_and_taken_back():
    colours = ["red hair", "blue hair"]
    prompt = toggle_phrase("a woman", "red hair", colours)
    assert prompt == "a woman, red hair"
    prompt = toggle_phrase(f"{prompt},smiling", "blue hair", colours)
    assert prompt == "a woman, blue hair, smiling"
    assert toggle_phrase(prompt, "blue hair", colours) == "a woman, smiling"
    assert toggle_phrase("", "red hair", colours) == "red hair"


def test_generate_tells_each_step_and_ends_with_the_face(provider, pipeline):
    updates = generate(provider)
    picture, status, visit = updates[-1]
    steps = [update[1] for update in updates if "Step " in update[1]]  # a slow machine waits for the weights first
    assert all(f"Step {n} of 4" in step for n, step in zip(range(1, 5), steps, strict=True))
    assert all('class="run running"' in update[1] for update in updates[:-1])
    assert 'class="run idle"' in status
    assert "prompt and map" in status
    expected = pipeline(
        "a face", label_map=FACE, num_inference_steps=4, generator=torch.Generator().manual_seed(3), record_gating=True
    )
    assert Image.open(picture).tobytes() == visit.face.tobytes() == expected.images[0].tobytes()
    assert np.array_equal(visit.run.gating.weights, expected.gating.weights.astype(np.float16))


@pytest.mark.parametrize(
    ("label_map", "prompt", "source"),
    [
        (FACE, "  ", "the map alone"),
        (None, "a face", "the prompt alone"),
        (np.zeros((64, 64), np.uint8), "a face", "the prompt alone"),
        (None, "", "neither prompt nor map"),
        (None, None, "neither prompt nor map"),
    ],
)
def test_either_input_may_be_empty(provider, label_map, prompt, source):
    assert source in generate(provider, label_map, prompt, steps=1)[-1][1]


@pytest.mark.parametrize("seed", [None, -1, handlers.MAX_SEED + 1])
def test_a_seed_that_cannot_be_used_is_explained(provider, seed):
    updates = handlers.generate(provider, Visit(), *fields(seed=seed, steps=1))
    assert f"whole number from 0 to {handlers.MAX_SEED}" in next(updates)[1]
    with pytest.raises(gr.Error, match="New seed draws one"):
        next(updates)


def test_a_long_prompt_is_cut_and_the_page_says_so(provider):
    said = html.unescape(generate(provider, prompt="freckles " * 1100, steps=1)[-1][1])
    assert "Only the first 15 of the prompt's 8800 tokens count" in said


def test_previews_show_where_the_run_is_heading(pipeline):
    steps = [event for event in stream(pipeline, steps=6) if isinstance(event, Step)]
    assert [step.preview and step.preview.size for step in steps] == [None, *[(64, 64)] * 4, None]
    assert steps[-1].seconds_left == 0


def test_estimate_inverts_the_flow():
    clean, noise = torch.randn(2, 1, 4, 64, generator=torch.Generator().manual_seed(0))
    before, after = (clean + sigma * (noise - clean) for sigma in (0.8, 0.6))
    torch.testing.assert_close(estimate(before, after, 0.8, 0.6), clean)


def test_a_closed_run_stops_within_a_step_and_leaves_the_pipeline_usable(pipeline, provider):
    forwards = []
    with (
        pipeline.transformer.register_forward_hook(lambda *_: forwards.append(1)),
        closing(stream(pipeline, steps=handlers.MAX_STEPS)) as events,
    ):
        next(events)
        events.close()
        torch_thread.submit(lambda: None).result(timeout=30)  # which comes after the run
    assert len(forwards) < 100
    assert visit_of(provider, steps=1).run


@pytest.mark.parametrize("way", ["left", "stopped", "failed"])
def test_a_run_that_ends_early_holds_on_to_none_of_its_tensors(pipeline, monkeypatch, way):
    """Not even for the garbage collector, which counts objects: it comes late where a few are large."""
    latents, stopped, report = [], threading.Event(), run._Reporter.__call__

    def watched(self, pipeline, step, timestep, tensors):
        latents.append(weakref.ref(tensors["latents"]))
        if way == "failed":
            raise MemoryError
        return report(self, pipeline, step, timestep, tensors)

    monkeypatch.setattr(run._Reporter, "__call__", watched)
    request = handlers.read_request(*fields(steps=handlers.MAX_STEPS))
    errors = []
    gc.disable()
    try:
        with closing(run.stream(pipeline, request, checkpoint="tiny", cancelled=stopped)) as events:
            try:
                next(events)
                if way == "stopped":
                    stopped.set()
                    list(events)
            except (run.Cancelled, MemoryError) as error:
                errors.append(error)  # as Gradio keeps it for a while
        torch_thread.submit(lambda: None).result(timeout=30)  # which comes after the run
        assert latents and not any(each() is not None for each in latents)
        assert len(errors) == (way != "left")
    finally:
        gc.enable()


def test_runs_and_the_reading_of_their_faces_share_a_thread(provider, pipeline):
    threads = []

    class Parser:
        def parse(self, pictures):
            threads.append(threading.current_thread())
            return [np.zeros(picture.shape[:2], np.uint8) for picture in pictures]

    with pipeline.transformer.register_forward_hook(lambda *_: threads.append(threading.current_thread())):
        visit = visit_of(provider, steps=2)
        list(handlers.generate_live(provider, Latest(), "me", *fields(steps=2)))
    handlers.show(provider, Parser, visit)
    assert len(threads) > 4
    assert set(threads) == {torch_thread.submit(threading.current_thread).result()}


def test_a_run_that_fails_says_so_and_the_next_one_works(provider, pipeline, monkeypatch):
    def diverge(*_):
        raise FloatingPointError("latents became <NaN>")

    updates = []
    with monkeypatch.context() as patched, pytest.raises(gr.Error, match="latents became"):
        patched.setattr(pipeline, "decode_latents", diverge)
        for update in handlers.generate(provider, Visit(), *fields(steps=1)):
            updates.append(update)
    assert 'class="run failed" role="alert"' in updates[-1][1]
    assert "&lt;NaN&gt;" in updates[-1][1]
    assert visit_of(provider, steps=1).run


def test_loading_failure_names_the_remedy_and_generate_tries_again(pipeline):
    answers = iter([RuntimeError("No weights. Put them there."), pipeline])

    def load():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    provider = PipelineProvider("tiny", load)
    said, defaults = watch(provider)
    assert "checkpoint failed" in said[-1]
    assert "Put them there." in said[-1]
    assert all(update == (handlers.KEEP, handlers.KEEP) for update in defaults)
    assert visit_of(provider, steps=1).run
    said, defaults = watch(provider)
    assert "checkpoint ready" in said[-1]
    assert defaults[-1] == (pipeline.config.num_inference_steps, pipeline.config.guidance_scale)


def test_page_and_generate_wait_for_the_weights(pipeline):
    loaded = threading.Event()
    provider = PipelineProvider("tiny", lambda: loaded.wait(30) and pipeline)
    generating = handlers.generate(provider, Visit(), *fields(prompt="", steps=1))
    assert "Loading the weights" in handlers.show_checkpoint(provider)
    assert "Waiting for the weights" in next(generating)[1]
    threading.Timer(0.1, loaded.set).start()
    said, _ = watch(provider)
    assert "Loading the weights" in said[0]
    assert "ready" in said[-1]
    assert list(generating)[-1][2].run


def test_loading_may_stay_in_the_calling_thread(pipeline):
    threads = []

    def load():
        threads.append(threading.current_thread())
        return pipeline

    provider = PipelineProvider("tiny", load, in_thread=False)
    assert threads == [threading.current_thread()]
    assert (provider.loading, provider.get()) == (False, pipeline)

    def fail():
        threads.append(None)
        raise RuntimeError("No weights.")

    provider = PipelineProvider("tiny", fail, in_thread=False)
    provider.retry()
    assert threads.count(None) == 1
    assert "No weights." in watch(provider)[0][-1]


def test_loading_does_not_hold_up_the_exit():
    code = "import time; from facemogle.ui.provider import PipelineProvider as P; P('', lambda: time.sleep(600))"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_the_pipeline_warms_up_ahead_of_the_first_run(pipeline):
    """Hardly a second, in which no one can have painted yet."""
    done = []

    def warm_up(loaded):
        run.warm_up(loaded)
        done.append("warm")

    with pipeline.transformer.register_forward_hook(lambda *_: done.append("step")):
        generate(PipelineProvider("tiny", lambda: pipeline, warm_up=warm_up), steps=2)
    assert done == ["step", "warm", "step", "step"]


def test_description_counts_parameters(pipeline):
    assert describe(pipeline) == "0.7 million parameters on CPU"


def test_picture_keeps_the_maps_proportions(pipeline):
    assert picture_size(pipeline, None) == (64, 64)
    assert picture_size(pipeline, np.zeros((512, 512), np.uint8)) == (64, 64)
    assert picture_size(pipeline, np.zeros((512, 256), np.uint8)) == (64, 32)
    assert picture_size(pipeline, np.zeros((1, 1000), np.uint8)) == (16, 64)


def test_what_was_made_is_shown_without_the_model(provider, pipeline, monkeypatch):
    assert handlers.show(provider, None, Visit())[0] is None
    assert handlers.last_face(Visit()) is None
    first = visit_of(provider)
    second = visit_of(provider, seed=5, prompt="", num_images=2, visit=first)
    monkeypatch.setattr(type(pipeline), "__call__", None)
    face, variations, comparison, _, inspected, history, editor, base, go_on = handlers.show(provider, None, second)
    assert face == handlers.last_face(second)
    assert [title in variations for title in ("seed 5", "seed 6", "seed 7")] == [True, True, False]
    assert comparison == (first.face, second.face)
    assert (inspected.title, inspected.image) == ("no prompt, seed 5", 0)
    assert inspected.gating.weights.shape == (4, 2, 20, 4, 4)
    assert history.count("<img") == 2
    assert editor["backdrop"].startswith("data:image/webp") and "value" not in editor
    assert base.picture is second.face and np.array_equal(base.label_map, FACE)
    assert np.array_equal(decode(json.loads(editor["source"])), FACE)
    assert editor["unsure"] == editor["differing"] == ""
    assert go_on["visible"] is False  # what is drawn whole is under the map already

    other = handlers.pick_image(second, 1)
    assert handlers.show(provider, None, other)[4].title == "no prompt, seed 6"
    assert read_settings(handlers.show(provider, None, other)[0]).seed == 6
    back, *restored = handlers.pick_run(other, 0)
    assert back.face is first.face
    assert handlers.show(provider, None, back)[2] is None  # nothing came before it
    assert np.array_equal(restored[0], FACE)
    assert tuple(sent(restored)[1:]) == (*fields()[1:-1], {})
    for forged in (-1, 2):
        with pytest.raises(ValueError, match="no picture"):
            handlers.pick_run(other, forged)
        with pytest.raises(ValueError, match="no picture"):
            handlers.pick_image(other, forged)


def test_a_visit_keeps_the_last_runs(provider):
    visit = made = visit_of(provider, steps=1)
    for _ in range(MAX_RUNS + 2):
        visit = visit.added(made.run)
    assert len(visit.runs) == MAX_RUNS
    assert visit.shown == MAX_RUNS - 1


def test_variations_are_one_call_and_each_can_be_made_alone(provider, pipeline):
    calls = []
    with pipeline.transformer.register_forward_hook(lambda *_: calls.append(1)):
        visit = visit_of(provider, seed=handlers.MAX_SEED, steps=2, num_images=3, condition=0.7, scale={"hair": 0.0})
    assert len(calls) == 2
    assert [each.seed for each in visit.run.settings] == [handlers.MAX_SEED, 0, 1]
    for face, settings in zip(visit.run.faces, visit.run.settings, strict=True):
        alone = generate(provider, *handlers.fields_of(settings)[:3], steps=2, condition=0.7, scale={"hair": 0.0})
        difference = np.abs(np.asarray(face, int) - np.asarray(alone[-1][2].face, int))
        assert difference.max() <= 1  # the order of a sum may differ in a batch


@pytest.mark.parametrize("count", [9, -1])
def test_a_number_of_pictures_that_cannot_be_drawn_is_explained(provider, count):
    with pytest.raises(gr.Error, match="from 1 to 8"):
        generate(provider, num_images=count)


def test_a_picture_gives_back_all_that_made_it(provider):
    visit = visit_of(provider, prompt="a face", seed=11, steps=3, guidance=2.5, condition=0.5, scale={"nose": 2.0})
    settings = read_settings(handlers.last_face(visit))
    status, *restored = handlers.restore(provider, settings)
    assert "Settings restored" in status
    again = list(handlers.generate(provider, Visit(), *sent(restored)))[-1][2]
    assert again.face.tobytes() == visit.face.tobytes()
    assert np.array_equal(restored[0], FACE)
    without = read_settings(handlers.last_face(visit_of(provider, None, "words", steps=1)))
    assert not handlers.restore(provider, without)[1].any()


def test_sliders_reach_as_far_as_a_picture_asks_and_no_further():
    settings = Settings("", FACE, 7, 60, 0.5, 1.0, 64, 64, None, "tiny")
    steps, guidance, condition = handlers.restored(settings)[4:7]
    assert (steps["value"], steps["minimum"], steps["maximum"]) == (60, 1, 60)
    assert (guidance["value"], guidance["minimum"], guidance["maximum"]) == (0.5, 0.5, 10)
    assert (condition["value"], condition["minimum"], condition["maximum"]) == (1.0, 0, 2)


def test_what_the_browser_kept_is_what_the_page_starts_from():
    kept = json.dumps(["a face", 7, 2, 60, 4, 0.5, {"nose": 2}])
    assert sent(recall.read(kept)) == ["a face", 7, 2, 60, 4.0, 0.5, {"nose": 2.0}]
    assert recall.read(json.dumps(["", 0, 1, 1, 3.5, 1, None]))[-1] == {}


@pytest.mark.parametrize(
    "kept",
    [None, "", "no JSON", "[" * 10**5, "7", "{}", "[]", '["a face", 7, 2, 60, 4, 0.5]', '["", 7, 9, 6, 4, 1, null]',
     '["", 7, 1, "6", 4, 1, null]', '["", null, 1, 6, 4, 1, null]', '["", 7, 1, 6, 4, 1, {"hare": 1}]'],
)  # fmt: skip
def test_what_others_wrote_into_the_browser_is_passed_over(kept):
    assert recall.read(kept) is None


@pytest.mark.parametrize("steps", [0, handlers.MAX_STEPS + 1])
def test_a_number_of_steps_that_no_visit_could_keep_is_explained(provider, steps):
    with pytest.raises(gr.Error, match=f"Steps must be a whole number from 1 to {handlers.MAX_STEPS}"):
        generate(provider, steps=steps)


def test_the_face_is_compared_with_the_run_before_or_with_the_photo(provider):
    first = visit_of(provider, steps=1)
    second = visit_of(provider, steps=1, seed=9, visit=first)
    crop = Image.new("RGB", (32, 32), "red")
    photo = OpenPhoto("me.jpg", Held(np.zeros((32, 32, 3), np.uint8)), (), base=Base(crop, FACE))
    red = crop.resize(first.face.size)
    before, after = handlers.compare(second, photo, handlers.PHOTO)
    assert (before, after) == (red, second.face)
    assert handlers.compare(second, photo, handlers.BEFORE) == (first.face, second.face)
    assert handlers.compare(second, None, handlers.PHOTO) == (first.face, second.face)  # it was let go
    assert handlers.compare(first, photo, handlers.BEFORE) == (red, first.face)  # there is nothing else
    assert handlers.compare(first, replace(photo, base=None), handlers.PHOTO) is None
    assert handlers.compare(Visit(), photo, handlers.PHOTO) is None
    assert handlers.show(provider, None, second, photo, handlers.PHOTO)[2] == (red, second.face)


def test_settings_of_another_checkpoint_or_size_are_pointed_out(provider):
    settings = visit_of(provider, steps=1).settings
    other = replace(settings, checkpoint="flux", height=512, width=512, strength=1.0)
    status = handlers.restore(provider, other)[0]
    assert "changed a part of a picture" in status and "makes the picture again" not in status
    assert "made with flux" in status
    assert "It was 512×512; this page makes 64×64." in status


def test_live_asks_for_one_picture_in_few_steps(provider, monkeypatch):
    requests = []

    def stream(pipeline, request, **named):
        requests.append(request)
        return run.stream(pipeline, request, **named)

    monkeypatch.setattr(handlers, "stream", stream)
    provider.get()
    for steps in (16, 4, 1):
        list(handlers.generate_live(provider, Latest(), "me", *fields(steps=steps, num_images=4)))
    assert [live.num_inference_steps for live in requests] == [4, 3, 1]
    assert not any(live.num_images > 1 or live.previews for live in requests)


def test_live_takes_few_steps_and_gives_way_to_the_next_stroke(provider, pipeline):
    latest = Latest()
    live = partial(handlers.generate_live, provider, latest, "visitor")
    provider.get()
    ((face, status),) = live(*fields(steps=16, num_images=4))
    assert face.size == (64, 64)
    assert "Live: 4 of 16 steps" in status
    started, go_on = threading.Event(), threading.Event()

    def wait(*_):
        started.set()
        go_on.wait(30)

    older = []
    with pipeline.transformer.register_forward_hook(wait):
        thread = threading.Thread(target=lambda: older.extend(live(*fields(steps=4))))
        thread.start()
        assert started.wait(30)
        with latest.begin("another visitor"):
            pass
        with latest.begin("visitor"):
            go_on.set()
            thread.join(30)
    assert older == []
    assert live(*fields(seed=None)).__next__()[1].count("whole number")


def test_how_well_the_face_follows_is_told_where_a_parser_reads_it(provider):
    visit = visit_of(provider, steps=1)
    assert "No " in handlers.show(provider, None, visit)[3]
    reader = SimpleNamespace(parse=lambda pictures: [np.asarray(FACE)])
    assert "<table" in handlers.show(provider, lambda: reader, visit)[3]


def test_examples_are_read_with_their_prompts(tmp_path):
    assert load_examples(tmp_path) == []
    write_label_map(tmp_path / "face.png", FACE)
    (tmp_path / "examples.json").write_text(json.dumps([{"label_map": "face.png", "prompt": "a face"}]))
    examples = load_examples(tmp_path)
    _, editor, base, in_place, sample, prompt = handlers.pick_example(examples, Visit(), 0)
    assert np.array_equal(editor["value"], FACE) and editor["backdrop"] == ""
    assert (base, in_place, sample) == (None, False, "")
    assert prompt == "a face"


def test_seeds_are_drawn_from_the_whole_range():
    seeds = [handlers.roll_seed() for _ in range(50)]
    assert len(set(seeds)) > 40
    assert all(0 <= seed <= handlers.MAX_SEED for seed in seeds)


def test_text_on_the_page_is_escaped():
    assert "<script>" not in views.status("<script>", failed=True) + views.checkpoint(
        "<script>", "<script>", state="ready"
    )


def test_page_builds_and_offers_its_endpoints(provider):
    page = layout.build(provider, [Example(FACE, "a face"), Example(FACE, "another")])
    endpoints = ["/generate", "/edit", "/parse", "/cut_out", "/gating", "/expert_effects", "/morph"]
    assert list(page.get_api_info()["named_endpoints"]) == endpoints


def test_every_component_takes_an_update_that_changes_nothing(provider):
    """Gradio makes a component anew for each, gr.skip() among them."""
    page = layout.build(provider, [], load_parser=lambda: None)
    own = [block for block in page.blocks.values() if isinstance(block, PageComponent)]
    assert len({type(block) for block in own}) >= 10
    for block in own:
        type(block)(**block.constructor_args | {"render": False})


def test_data_url_holds_the_picture():
    assert views.data_url(Image.new("RGB", (4, 4)), format="PNG").startswith("data:image/png;base64,iVBOR")


def test_runs_are_named_by_what_differs_wherever_they_are_named(provider):
    visit = visit_of(provider, steps=1)
    assert visit.names == {visit.run.key(): "a face, seed 3"}  # one that differs from nothing
    shared = {"steps": 1, "scale": {"hair": 0.0}}
    visit = visit_of(provider, **shared, visit=visit)
    *_, inspected, history, _, _, _ = handlers.show(provider, None, visit)
    (told,) = choices(visit)["choices"]
    assert told[0] == "not steered" and "not steered" in history and "hair ×0" in history and "seed" not in history
    steered = inspected.names[inspected.key], inspected.names[visit.runs[0].key()]
    assert steered == ("hair ×0", "not steered") and inspected.title == "a face, seed 3, hair ×0"
    visit = visit_of(provider, None, "red hair", 8, **shared, num_images=2, visit=visit)
    assert list(visit.names.values()) == [
        "not steered, seed 3, a face, map 1", "hair ×0, seed 3, a face, map 1",
        "hair ×0, seed 8, red hair, no map", "hair ×0, seed 9, red hair, no map",
    ]  # fmt: skip
    back = handlers.come_back(Visit(), tuple(decode_run(encode_run(each)) for each in visit.runs))
    assert list(back.names.values()) == list(visit.names.values())  # as the browser keeps them, too


def test_factors_that_hardly_move_the_picture_are_told(provider):
    plain = visit_of(provider, steps=1)
    steered = visit_of(provider, steps=1, scale={"hair": 2.0}, visit=plain)
    assert (
        visit_of(provider, steps=1, seed=4, scale={"hair": 2.0}, visit=plain).steered is None
    )  # the seed differs, too
    for faces, hardly in ((plain.run.faces, True), ([ImageChops.invert(plain.face)], False)):
        visit = Visit((plain.run, replace(steered.run, faces=faces)), 1)
        assert ("hardly moved the picture" in handlers.done(visit)) == hardly


def test_a_new_map_is_no_ones_picture(provider):
    visit, editor, base, in_place = handlers.start_from(visit_of(provider, steps=1), FACE)
    assert np.array_equal(editor["value"], FACE) and editor["backdrop"] == ""
    assert base is None and not in_place and visit.run is None and len(visit.runs) == 1
    face, variations, *_, history, _, _, _ = handlers.show(provider, None, visit)
    assert face is None and variations == "" and "aria-current" not in history and "seed 3" in history
    assert visit_of(provider, steps=1, seed=8, visit=visit).before is not None
