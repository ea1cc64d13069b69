"""The gating inspector's Python side: what the page is sent, and the files that it asks for."""

import base64
import io
import re
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from facemogle.gating import EXPERTS, GatingRecord, inside_outside
from facemogle.ui.gating_inspector import component
from facemogle.ui.gating_inspector.component import (
    MAX_SIDE,
    MAX_STEPS,
    MAX_TITLE,
    MAX_TOKENS,
    GatingInspector,
    Inspected,
    export_gating,
    from_data,
    to_data,
)
from facemogle.ui.label_editor.component import decode

FOLDER = Path(component.__file__).parent


def inspected(steps: int = 3, images: int = 1, grid: tuple[int, int] = (4, 6), *, image: int = 0) -> Inspected:
    """Random weights; skin on the left, hair on the right, all else absent."""
    scores = np.exp(np.random.default_rng(0).normal(size=(steps, images, 20, *grid)))
    record = GatingRecord(scores / scores.sum(2, keepdims=True), np.linspace(1000, 100, steps))
    label_map = np.ones((64, 96), np.uint8)
    label_map[:, 40:] = 13
    face = Image.new("RGB", (96, 64), (200, 90, 60))
    return Inspected("seed 7, a woman", record, image, face, label_map, prompt="a woman", seed=7)


@pytest.fixture
def request_of():
    """A request for a file, as the page makes it, with changes to its data."""

    def request_of(kind: str, run: Inspected | None = None, **changes):
        data = {key: value for key, value in to_data(run or inspected()).items() if key not in ("locality", "thumb")}
        return {"data": data | changes, "kind": kind, "step": 1, "tops": [0.5] * 20}

    return request_of


def content(answer: dict[str, str]) -> io.BytesIO:
    assert "error" not in answer, answer
    return io.BytesIO(base64.b64decode(answer["file"]))


def test_the_page_gets_the_weights_of_the_image_in_half_precision():
    run = inspected(images=2, image=1)
    data = to_data(run)
    weights = np.frombuffer(base64.b64decode(data["weights"]), "<f2").reshape(3, 20, *data["grid"])
    np.testing.assert_array_equal(weights, run.gating.weights[:, 1].astype(np.float16))
    assert data["timesteps"] == [1000, 550, 100]
    with pytest.raises(IndexError, match="images 0 to 1"):
        to_data(Inspected(run.title, run.gating, 2, run.face, run.label_map))


def test_the_page_gets_inside_and_outside_of_every_step():
    run = inspected()
    table = to_data(run)["locality"]
    assert table[0][EXPERTS.index("hat") - 1][0] is None  # absent
    expected = inside_outside(run.gating.weights[2, 0], run.label_map)
    np.testing.assert_allclose(np.array(table[2], float), expected, atol=1e-6)


def test_pictures_and_maps_are_made_small_enough():
    run = inspected()
    large = np.zeros((1200, 3000), np.uint8)
    large[:600] = 13
    data = to_data(Inspected("a\n b" + "x" * 999, run.gating, 0, Image.new("RGBA", (2000, 1000)), large))
    assert decode(data["label_map"]).shape == (205, MAX_SIDE)
    assert from_data(data).face.size == (MAX_SIDE, MAX_SIDE // 2)
    assert data["title"].startswith("a bx") and len(data["title"]) == MAX_TITLE


def test_a_run_without_a_label_map(request_of):
    run = inspected()
    run = Inspected(run.title, run.gating, 0, run.face, None)
    data = to_data(run)
    assert data["label_map"] is data["locality"] is None
    assert content(export_gating(request_of("png", run)))


def test_weights_for_numpy(request_of):
    answer = export_gating(request_of("npz"))
    file = np.load(content(answer), allow_pickle=False)
    assert answer["name"] == "gating.npz"
    np.testing.assert_array_equal(file["weights"], inspected().gating.weights.astype(np.float16))
    np.testing.assert_array_equal(file["timesteps"], [1000, 550, 100])
    assert (tuple(file["experts"]), str(file["prompt"]), int(file["seed"])) == (EXPERTS, "a woman", 7)


def test_a_picture_of_one_step_and_a_film_of_all(request_of):
    answer = export_gating(request_of("png"))
    assert answer["name"] == "experts-step-2.png"
    picture = Image.open(content(answer))
    assert picture.format == "PNG" and picture.width > 1000
    others = [request_of("png") | change for change in ({"step": 2}, {"tops": [0.1] * 20})]
    assert len({answer["file"], *(export_gating(other)["file"] for other in others)}) == 3
    with Image.open(content(export_gating(request_of("gif")))) as film:
        assert film.format == "GIF" and film.n_frames == 3


@pytest.mark.parametrize("grid", [(MAX_TOKENS, 1), (1, MAX_TOKENS)])
def test_slivers_make_no_huge_pictures(request_of, grid):
    run = inspected(steps=1, grid=grid)
    picture = Image.open(content(export_gating(request_of("png", run) | {"step": 0})))
    assert picture.width * picture.height < 2e6


def halves(array: np.ndarray) -> str:
    return base64.b64encode(array.astype("<f2").tobytes()).decode()


def webp(*size: int, format: str = "WEBP") -> str:
    file = io.BytesIO()
    Image.new("L", size).save(file, format=format)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


EVEN = np.full((3, 20, 4, 6), 0.05)
NEGATIVE = EVEN.copy()
NEGATIVE[:, :2] = np.array([-0.05, 0.15])[:, None, None]
FORGED = {
    "title is no text": ({"title": 3}, "title must be"),
    "title too long": ({"title": "x" * (MAX_TITLE + 1)}, "title must be"),
    "no grid": ({"grid": None}, "grid must be"),
    "grid of one": ({"grid": [4]}, "grid must be"),
    "grid of zero": ({"grid": [0, 6]}, "grid must be"),
    "grid too fine": ({"grid": [4, MAX_TOKENS + 1]}, "grid must be"),
    "grid of truth values": ({"grid": [True, 6]}, "grid must be"),
    "other grid": ({"grid": [6, 6]}, "weights must be float16 of shape"),
    "no steps": ({"timesteps": []}, "timesteps must be"),
    "too many steps": ({"timesteps": [1.0] * (MAX_STEPS + 1)}, "timesteps must be"),
    "step is text": ({"timesteps": ["1000", 550, 100]}, "timesteps must be"),
    "step is not finite": ({"timesteps": [float("nan"), 550, 100]}, "timesteps must be"),
    "step is huge": ({"timesteps": [1e300, 550, 100]}, "timesteps must be"),
    "other steps": ({"timesteps": [1000, 550]}, "weights must be"),
    "weights are no text": ({"weights": [0.05] * 1440}, "weights must be base64"),
    "weights are no base64": ({"weights": "!" * 100}, "weights is no base64"),
    "weights are not ASCII": ({"weights": "ä" * 100}, "weights is no base64"),
    "weights too long": ({"weights": "A" * 10**6}, "weights must be base64 of at most"),
    "NaN": ({"weights": halves(np.full_like(EVEN, np.nan))}, "must be finite"),
    "infinity": ({"weights": halves(np.full_like(EVEN, np.inf))}, "must be finite"),
    "negative": ({"weights": halves(NEGATIVE)}, "at least 0"),
    "sum of 2": ({"weights": halves(2 * EVEN)}, "sum to 1"),
    "no face": ({"face": None}, "face must be"),
    "face elsewhere": ({"face": "http://localhost/face.webp"}, "face must be"),
    "face is a PNG": ({"face": webp(8, 8, format="PNG")}, "WebP"),
    "face is broken": ({"face": webp(64, 64)[:-40]}, "face"),
    "face too large": ({"face": webp(MAX_SIDE + 1, 8)}, f"at most {MAX_SIDE} pixels"),
    "face file too large": ({"face": "data:image/webp;base64," + "A" * 2**21}, "face must be base64 of at most"),
    "map is forged": ({"label_map": {"height": 2, "width": 2, "runs": [99, 4]}}, "Class ids are 0"),
}


@pytest.mark.parametrize("kind", ["png", "npz"])
@pytest.mark.parametrize("change", FORGED)
def test_forged_runs_get_a_clear_error(request_of, change, kind):
    changes, message = FORGED[change]
    answer = export_gating(request_of(kind, **changes))
    assert answer.keys() == {"error"}
    assert message in answer["error"] and len(answer["error"]) < 200


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "exe"}, "kind"),
        ({"kind": None}, "kind"),
        ({"kind": ["png"]}, "kind"),
        ({"data": []}, "JSON object"),
        ({"step": 3}, "from 0 to 2"),
        ({"step": -1}, "from 0 to 2"),
        ({"step": "1"}, "from 0 to 2"),
        ({"tops": [0.5] * 19}, "tops"),
        ({"tops": [float("inf")] * 20}, "tops"),
        ({"tops": "x" * 20}, "tops"),
    ],
)
def test_forged_requests_get_a_clear_error(request_of, change, message):
    answer = export_gating(request_of("png") | change)
    assert answer.keys() == {"error"} and message in answer["error"]


@pytest.mark.parametrize("request_", [None, [], "png", [{"kind": "png"}, "png"]])
def test_a_request_is_an_object(request_):
    assert "kind" in export_gating(request_)["error"]


def test_output_only():
    inspector = GatingInspector()
    assert inspector.postprocess(None) is None and inspector.preprocess({"weights": "x" * 10}) is None
    assert inspector.postprocess(inspected())["title"] == "seed 7, a woman"


def test_the_template_stays_constant():
    """What depends on the value would make Gradio draw the page anew, and the runs held there would be lost."""
    html = (FOLDER / "inspector.html").read_text()
    assert not re.search(r"\$\{|`|{{\s*value", html)
    css = (FOLDER / "inspector.css").read_text()
    assert not re.search(r"\$\{|`|{{|url\(", css)


def test_a_page_can_be_built():
    with gr.Blocks() as page:
        inspector = GatingInspector(elem_id="inspector")
        gr.Button().click(inspected, None, inspector)
    assert page.get_config_file()["components"]
