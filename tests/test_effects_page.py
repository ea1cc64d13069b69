from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from facemogle.gating import EXPERTS
from facemogle.picture_files import Settings
from facemogle.ui import views
from facemogle.ui.effects import STEPS, Effects, muted_one_by_one
from facemogle.ui.handlers import KEEP, read_request
from facemogle.ui.run import Run
from facemogle.ui.visit import Visit

SETTINGS = Settings(
    prompt="a <b>", label_map=np.full((16, 16), 13, np.uint8), seed=3, num_inference_steps=STEPS, guidance_scale=2.0,
    condition_scale=1.0, height=16, width=16, expert_scale=None, checkpoint="tiny",
)  # fmt: skip


def visit_of(settings, level=0):
    face = Image.new("RGB", (16, 16), (level, level, level))
    request = read_request(settings.label_map, settings.prompt, 3, 1, settings.num_inference_steps, 2.0, 1.0, None)
    return Visit().added(Run(request, [face], [settings], None, None, 1.0, ()))


@pytest.fixture
def asked():
    """The requests that were painted."""
    return []


@pytest.fixture
def paint(asked):
    """A run whose picture is lighter by the number of the muted expert."""

    def paint(visit, *fields):
        request = read_request(*fields, loras=("ink",))
        asked.append(request)
        yield KEEP, views.status("Step 1 of 8", running=True), KEEP
        scales = {name: factor for name, factor in (request.expert_scale or {}).items() if name != "nose"}
        muted = [EXPERTS.index(name) for name, factor in scales.items() if not factor]
        yield "file", views.status("Made"), visit_of(SETTINGS, level=max(muted, default=0))

    return paint


def test_every_expert_is_muted_once_and_the_strongest_comes_first(paint, asked):
    settings = replace(SETTINGS, loras={"ink": 0.5}, expert_scale={"nose": 0.0, "hair": 2.0})
    updates = list(muted_one_by_one(paint, ("ink",), visit_of(settings)))
    assert len(asked) == 19 and all(each.lora_scale == {"ink": 0.5} for each in asked)
    assert asked[0].expert_scale == {"nose": 0.0, "hair": 2.0, "global": 0.0}
    sent = [tiles for _, tiles in updates if tiles is not KEEP]
    assert [each.count("<figure>") for each in sent] == [4, 8, 12, 16, 19]
    order = [part.split("</b>")[0] for part in sent[-1].split("<b>")[1:]]
    assert order == [f"without {name.replace('_', ' ')}" for name in reversed(EXPERTS) if name != "nose"]
    assert "a &lt;b&gt;, seed 3" in sent[-1] and "5.5% of the picture" in sent[-1]  # hair: 14 of 255
    assert "19 of 19" in updates[-2][0] and "muted once, in 8 steps" in updates[-1][0]
    assert not any("running" in status for status, _ in updates)  # Cancel is for the runs of Generate


def test_many_steps_become_few_and_the_face_is_made_again_in_as_many(paint, asked):
    updates = list(muted_one_by_one(paint, (), visit_of(replace(SETTINGS, num_inference_steps=28), level=255)))
    assert len(asked) == 21 and {each.num_inference_steps for each in asked} == {STEPS}
    assert asked[0].expert_scale is None
    (last,) = [tiles for _, tiles in updates if tiles is not KEEP][-1:]
    assert "without global</b> 0.0% of the picture" in last  # against the face in 8 steps, which is black here


def test_what_cannot_be_muted_is_said(paint, asked):
    for visit, words in (
        (Visit(), "Generate one first"),
        (visit_of(replace(SETTINGS, strength=1.0)), "change of a picture"),
        (visit_of(replace(SETTINGS, expert_scale=dict.fromkeys(EXPERTS[1:], 0.0))), "muted already"),
    ):
        ((status, tiles),) = muted_one_by_one(paint, (), visit)
        assert words in status and "failed" in status and tiles is KEEP
    assert not asked


def test_another_face_takes_the_tiles_away_without_the_server(paint):
    with gr.Blocks() as page:
        effects, face = Effects(), gr.Image()
        effects.wire(paint, (), gr.State(), gr.HTML(), face, concurrency_id="model", private={})
    (changed,) = [listener for listener in page.fns.values() if (face._id, "change") in listener.targets]
    assert changed.fn is None and changed.outputs == [effects.tiles]
