"""The sliders' Python side: what the page may send, and what it is sent."""

import re
from pathlib import Path

import gradio as gr
import pytest

from facemogle.gating import EXPERTS
from facemogle.pipeline import expert_scale_tensor
from facemogle.ui.expert_scales import component
from facemogle.ui.expert_scales.component import MAX_FACTOR, ExpertScales

FOLDER = Path(component.__file__).parent


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (None, None),
        ("", None),
        ({}, None),
        ({"hair": 1, "global": 1.0}, None),
        ({"hair": 2, "global": 0, "neck": 1}, {"hair": 2.0, "global": 0.0}),
        ({"hat": MAX_FACTOR}, {"hat": MAX_FACTOR}),
        (dict.fromkeys(EXPERTS[1:], 0), dict.fromkeys(EXPERTS[1:], 0.0)),
    ],
    ids=["nothing", "untouched", "empty", "all 1", "some", "largest", "the global expert alone"],
)
def test_factors_other_than_1_come_through(sent, got):
    factors = ExpertScales().preprocess(sent)
    assert factors == got
    assert all(type(factor) is float for factor in (factors or {}).values())
    assert expert_scale_tensor(factors or {}).any()


FORGED = {
    "no mapping": ([["hair", 2]], "list"),
    "unknown": ({"hair": 2, "beard": 2}, "no expert 'beard'"),
    "long name": ({"x" * 10**6: 2}, "no expert 'x{40}'"),
    "negative": ({"hair": -0.25}, "from 0 to 100, got -0.25 for hair"),
    "too large": ({"hair": 100.5}, "100.5 for hair"),
    "huge": ({"hair": 10**400}, "from 0 to 100"),
    "infinite": ({"hair": float("inf")}, "inf for hair"),
    "no number": ({"hair": float("nan")}, "nan for hair"),
    "text": ({"hair": "2"}, "2 for hair"),
    "truth value": ({"hair": True}, "True for hair"),
    "nested": ({"hair": {"hair": 2}}, "for hair"),
}


@pytest.mark.parametrize(("sent", "message"), FORGED.values(), ids=FORGED)
def test_forged_factors_are_refused_in_words(sent, message):
    with pytest.raises(gr.Error, match=message) as error:
        ExpertScales().preprocess(sent)
    assert len(error.value.message) < 400


def test_python_sets_what_it_would_get():
    scales = ExpertScales()
    assert scales.postprocess(None) is scales.postprocess({}) is scales.postprocess({"hair": 1}) is None
    assert scales.postprocess({"hair": 0.3, "neck": 1.0}) == {"hair": 0.3}
    assert ExpertScales({"hair": 7}).value == {"hair": 7}
    assert scales.preprocess(scales.example_payload()) == scales.example_value()


def test_the_page_shows_every_expert():
    assert [expert["name"] for expert in ExpertScales().props["experts"]] == list(EXPERTS)


def test_the_component_leaves_no_stub_beside_its_source():
    assert not list(FOLDER.glob("*.pyi"))


@pytest.mark.parametrize("name", ["scales.html", "scales.css"])
def test_templates_survive_gradios_two_template_engines(name):
    text = re.sub(r"\{\{(#each \w+|/each|this\.\w+)\}\}", "", (FOLDER / name).read_text("utf-8"))
    assert not re.search(r"`|\$\{|\{\{|\}\}|\\", text)
