"""What the browser keeps of a visit, and how it comes back."""

import base64
import io
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from facemogle.picture_files import Settings, write_picture
from facemogle.templates import template_face
from facemogle.ui import handlers
from facemogle.ui.gating_inspector.component import FORGOTTEN
from facemogle.ui.kept_runs.component import KeptRuns, decode, encode
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.visit import MAX_RUNS, Visit

FACE = template_face(size=64)


@pytest.fixture
def provider(pipeline):
    return PipelineProvider("tiny: random weights", lambda: pipeline, checkpoint="tiny")


@pytest.fixture
def run(provider):
    *_, (_, _, visit) = handlers.generate(provider, Visit(), FACE, "a face", 5, 2, 2, 3.5, 0.75, {"nose": 2.0})
    return visit.run


def png(settings: Settings | None, size=(64, 64)) -> str:
    file = io.BytesIO()
    picture = Image.new("RGB", size)
    if settings:
        write_picture(file, picture, settings)
    else:
        picture.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_run_comes_back_with_its_pictures_and_settings(run):
    back = decode(encode(run))
    assert [face.tobytes() for face in back.faces] == [face.tobytes() for face in run.faces]
    for ours, theirs in zip(back.settings, run.settings, strict=True):
        assert np.array_equal(ours.label_map, theirs.label_map)
        assert vars(ours) | {"label_map": None} == vars(theirs) | {"label_map": None}
    assert (back.request.prompt, back.request.seed, back.request.num_images) == ("a face", 5, 2)
    assert back.gating is None


def test_what_came_back_is_shown_and_its_experts_are_asked_again(provider, run):
    visit = handlers.come_back(Visit(), (decode(encode(run)),))
    assert handlers.show(provider, None, visit)[4] == FORGOTTEN
    *_, (status, both) = handlers.look_again(lambda *values: handlers.generate(provider, *values), visit)
    assert "Made from" in status
    again, none, said = handlers.join_again(visit.showing(image=1), both)
    assert again.image == 1 and none is None and "Made from" in said
    assert np.array_equal(again.run.gating_weights, run.gating_weights)
    assert again.run.faces[1].tobytes() == run.faces[1].tobytes()
    later, *_ = handlers.join_again(visit.added(run), both)  # another picture was picked meanwhile: it stays
    assert later.run is run and later.runs[0] is again.run
    assert handlers.join_again(Visit().added(run), both)[0].runs == (run,)  # forgotten meanwhile


def test_runs_come_back_before_those_made_since(run):
    kept = tuple(decode(encode(run)) for _ in range(3))
    visit = handlers.come_back(Visit().added(run), kept)
    assert visit.runs == (*kept, run)
    assert visit.run is run
    assert handlers.come_back(visit, ()) is visit


def test_a_change_of_a_picture_cannot_be_made_again_without_it(provider, run):
    settings = Settings("a face", FACE, 5, 2, 3.5, 1, 64, 64, None, "tiny", strength=0.5)
    visit = handlers.come_back(Visit(), (decode([png(settings)]),))
    ((status, kept),) = handlers.look_again(lambda *_: pytest.fail("made again"), visit)
    assert "drop that" in status
    assert kept == handlers.KEEP and handlers.join_again(visit, None)[0] == handlers.KEEP


def test_forgetting_leaves_an_open_photo(run):
    visit, _, _, base = handlers.forget(None)
    assert (visit.runs, base) == ((), None)
    photo = SimpleNamespace(base=Visit().added(run).base)
    assert handlers.forget(photo)[3] is photo.base


GOOD = Settings("a face", FACE, 5, 2, 3.5, 1, 64, 64, None, "tiny")


@pytest.mark.parametrize(
    "forged",
    ["text", {"a": 1}, [[]], [["no base64!"]], [[base64.b64encode(b"no picture").decode()]], [[png(None)]], [[7]],
     [[png(GOOD, (32, 32))]], [[png(GOOD)]] * (MAX_RUNS + 1), [[png(GOOD)] * (handlers.MAX_IMAGES + 1)],
     [["A" * 40_000_000]]],
)  # fmt: skip
def test_what_others_wrote_into_the_browser_is_refused(forged):
    with pytest.raises(gr.Error, match="cannot be read"):
        KeptRuns("tiny").preprocess(forged)


def test_nothing_kept_is_no_run():
    assert KeptRuns("tiny").preprocess(None) == ()
    assert len(KeptRuns("tiny").preprocess([[png(GOOD)]])) == 1
