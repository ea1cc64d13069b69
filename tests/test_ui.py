"""The page's handlers, called as plain functions with a real, tiny pipeline."""

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import closing

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from facemogle.label_files import write_label_map
from facemogle.ui import handlers, layout, views
from facemogle.ui.examples import Example, load_examples
from facemogle.ui.provider import PipelineProvider, describe
from facemogle.ui.run import Request, Run, Step, estimate, picture_size, stream
from facemogle.ui.suggestions import toggle_phrase
from facemogle.ui.templates import template_face

FACE = template_face(size=64)


@pytest.fixture
def provider(pipeline):
    return PipelineProvider("tiny: random weights", lambda: pipeline)


def request_of(label_map=FACE, *, prompt="a face", seed=3, steps=4) -> Request:
    return Request(prompt, label_map, seed, steps)


def generate(provider, label_map=FACE, prompt="a face", seed=3, steps=4):
    return list(handlers.generate(provider, label_map, prompt, seed, steps))


def watch(provider):
    async def collect():
        return [update async for update in handlers.watch_loading(provider)]

    return asyncio.run(collect())


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
    picture, status, run = updates[-1]
    steps = [update[1] for update in updates if "Step " in update[1]]  # a slow machine waits for the weights first
    assert all(f"Step {n} of 4" in step for n, step in zip(range(1, 5), steps, strict=True))
    assert all('class="run running"' in update[1] for update in updates[:-1])
    assert 'class="run idle"' in status
    assert "prompt and map" in status
    expected = pipeline(
        "a face", label_map=FACE, num_inference_steps=4, generator=torch.Generator().manual_seed(3), record_gating=True
    )
    assert picture.tobytes() == expected.images[0].tobytes()
    assert np.array_equal(run.gating.weights, expected.gating.weights)


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
    updates = handlers.generate(provider, FACE, "a face", seed, 1)
    assert f"whole number from 0 to {handlers.MAX_SEED}" in next(updates)[1]
    with pytest.raises(gr.Error, match="New seed draws one"):
        next(updates)


def test_a_long_prompt_is_cut_and_the_page_says_so(provider):
    assert "was cut to 16" in generate(provider, prompt="freckles " * 1100, steps=1)[-1][1]


def test_previews_show_where_the_run_is_heading(pipeline):
    steps = [event for event in stream(pipeline, request_of(steps=6), lock=threading.Lock()) if isinstance(event, Step)]
    previews = [step.preview for step in steps if step.preview]
    assert previews
    assert previews[0].size == (64, 64)
    assert steps[-1].seconds_left == 0


def test_estimate_inverts_the_flow():
    clean, noise = torch.randn(2, 1, 4, 64, generator=torch.Generator().manual_seed(0))
    before, after = (clean + sigma * (noise - clean) for sigma in (0.8, 0.6))
    torch.testing.assert_close(estimate(before, after, 0.8, 0.6), clean)


def test_a_closed_run_stops_within_a_step_and_leaves_the_pipeline_usable(pipeline, provider):
    lock, forwards = threading.Lock(), []
    with (
        pipeline.transformer.register_forward_hook(lambda *_: forwards.append(1)),
        closing(stream(pipeline, request_of(steps=1000), lock=lock)) as events,
    ):
        next(events)
        events.close()
        assert lock.acquire(timeout=30)
    assert len(forwards) < 100
    assert isinstance(generate(provider, steps=1)[-1][2], Run)


def test_a_run_that_fails_says_so_and_the_next_one_works(provider, pipeline, monkeypatch):
    def diverge(*_):
        raise FloatingPointError("latents became <NaN>")

    updates = []
    with monkeypatch.context() as patched, pytest.raises(gr.Error, match="latents became"):
        patched.setattr(pipeline, "decode_latents", diverge)
        for update in handlers.generate(provider, FACE, "a face", 3, 1):
            updates.append(update)
    assert 'class="run failed" role="alert"' in updates[-1][1]
    assert "&lt;NaN&gt;" in updates[-1][1]
    assert isinstance(generate(provider, steps=1)[-1][2], Run)


def test_loading_failure_names_the_remedy_and_generate_tries_again(pipeline):
    answers = iter([RuntimeError("No weights. Put them there."), pipeline])

    def load():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    provider = PipelineProvider("tiny", load)
    shown, steps = watch(provider)[-1]
    assert "checkpoint failed" in shown
    assert "Put them there." in shown
    assert steps == handlers.KEEP
    assert isinstance(generate(provider, steps=1)[-1][2], Run)
    shown, steps = watch(provider)[-1]
    assert "checkpoint ready" in shown
    assert steps["value"] == pipeline.config.num_inference_steps


def test_page_and_generate_wait_for_the_weights(pipeline):
    loaded = threading.Event()
    provider = PipelineProvider("tiny", lambda: loaded.wait(30) and pipeline)
    generating = handlers.generate(provider, FACE, "", 3, 1)
    assert "Loading the weights" in handlers.show_checkpoint(provider)
    assert "Waiting for the weights" in next(generating)[1]
    threading.Timer(0.1, loaded.set).start()
    seen = watch(provider)
    assert "Loading the weights" in seen[0][0]
    assert "ready" in seen[-1][0]
    assert isinstance(list(generating)[-1][2], Run)


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
    assert "No weights." in watch(provider)[-1][0]


def test_loading_does_not_hold_up_the_exit():
    code = "import time; from facemogle.ui.provider import PipelineProvider as P; P('', lambda: time.sleep(600))"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_description_counts_parameters(pipeline):
    assert describe(pipeline) == "0.7 million parameters on CPU"


def test_picture_keeps_the_maps_proportions(pipeline):
    assert picture_size(pipeline, None) == (64, 64)
    assert picture_size(pipeline, np.zeros((512, 512), np.uint8)) == (64, 64)
    assert picture_size(pipeline, np.zeros((512, 256), np.uint8)) == (64, 32)
    assert picture_size(pipeline, np.zeros((1, 1000), np.uint8)) == (16, 64)


def test_experts_change_with_the_step_without_the_model(provider, pipeline, monkeypatch):
    run = generate(provider)[-1][2]
    monkeypatch.setattr(type(pipeline), "__call__", None)
    slider, last = handlers.show_gating(run)
    assert (slider["maximum"], slider["value"], slider["visible"]) == (4, 4, True)
    shown = [handlers.show_step(run, step) for step in range(1, 5)]
    assert shown[-1] == last
    assert len(set(shown)) == 4
    assert last.count("<figure>") == 20
    for name in ("global", "left eye", "cloth"):
        assert f'alt="Where the expert for {name} speaks"' in last
    assert handlers.show_step(None, 1) == ""
    assert handlers.last_face(run) is run.face
    assert handlers.last_face(None) is None


def test_examples_are_read_with_their_prompts(tmp_path):
    assert load_examples(tmp_path) == []
    write_label_map(tmp_path / "face.png", FACE)
    (tmp_path / "examples.json").write_text(json.dumps([{"label_map": "face.png", "prompt": "a face"}]))
    examples = load_examples(tmp_path)
    label_map, prompt = handlers.pick_example(examples, 0)
    assert np.array_equal(label_map, FACE)
    assert prompt == "a face"


def test_seeds_are_drawn_from_the_whole_range():
    seeds = [handlers.roll_seed() for _ in range(50)]
    assert len(set(seeds)) > 40
    assert all(0 <= seed <= handlers.MAX_SEED for seed in seeds)


def test_text_on_the_page_is_escaped():
    assert "<script>" not in views.status("<script>", failed=True) + views.checkpoint(
        "<script>", "<script>", state="ready"
    )


def test_page_builds_and_offers_one_endpoint(provider):
    page = layout.build(provider, [Example(FACE, "a face"), Example(FACE, "another")])
    assert list(page.get_api_info()["named_endpoints"]) == ["/generate"]


def test_data_url_holds_the_picture():
    assert views.data_url(Image.new("RGB", (4, 4)), format="PNG").startswith("data:image/png;base64,iVBOR")
