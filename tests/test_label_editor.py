"""The label editor's Python side: what the page sends, what it is sent, files in and out."""

import base64
import io
import re
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest
from gradio.blocks import postprocess_update_dict
from PIL import Image

from facemogle.label_files import read_label_map
from facemogle.labels import CLASS_ID, NUM_CLASSES, PALETTE, mirror, to_colours
from facemogle.sketch import files as sketch_files
from facemogle.sketch import line_tone
from facemogle.templates import TEMPLATES, template_face
from facemogle.ui.label_editor import component
from facemogle.ui.label_editor.component import (
    IF_CHALK,
    MAX_SIDE,
    LabelEditor,
    decode,
    encode,
    fit,
    open_label_map,
    save_colours,
    save_label_map,
    start_from,
)
from tests.sketches import drawn

FOLDER = Path(component.__file__).parent


def png(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (48, 31), (512, 512)])
def test_decode_inverts_encode(shape):
    label_map = np.random.default_rng(0).integers(0, NUM_CLASSES, shape, dtype=np.uint8)
    decoded = decode(encode(label_map))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, label_map)


def test_runs_are_as_long_as_they_can_be():
    assert encode(np.array([[3, 3, 3], [3, 0, 18]], np.uint8)) == {"height": 2, "width": 3, "runs": [3, 4, 0, 1, 18, 1]}


FORGED = {
    "not a map": [0, 4],
    "no runs": {"height": 2, "width": 2},
    "side of zero": {"height": 0, "width": 2, "runs": []},
    "huge side": {"height": 10**9, "width": 10**9, "runs": [0, 10**18]},
    "side as text": {"height": "2", "width": 2, "runs": [0, 4]},
    "side as truth value": {"height": True, "width": 4, "runs": [0, 4]},
    "too short": {"height": 2, "width": 2, "runs": [0, 3]},
    "too long": {"height": 2, "width": 2, "runs": [0, 5]},
    "odd number": {"height": 2, "width": 2, "runs": [0, 4, 1]},
    "too many runs": {"height": 2, "width": 2, "runs": [0, 1] * 5},
    "negative length": {"height": 2, "width": 2, "runs": [0, 8, 1, -4]},
    "empty run": {"height": 2, "width": 2, "runs": [0, 4, 1, 0]},
    "class 19": {"height": 2, "width": 2, "runs": [19, 4]},
    "class -1": {"height": 2, "width": 2, "runs": [-1, 4]},
    "fractions": {"height": 2, "width": 2, "runs": [0.0, 4.0]},
    "nested": {"height": 2, "width": 2, "runs": [[0], [4]]},
}


@pytest.mark.parametrize("data", FORGED.values(), ids=FORGED)
def test_forged_maps_are_refused(data):
    with pytest.raises(ValueError, match=r"label map must be|Class ids are|runs must be"):
        decode(data)
    with pytest.raises(gr.Error):
        LabelEditor().preprocess(data)


def test_component_passes_maps_through():
    editor, face = LabelEditor(), template_face(size=64)
    assert np.array_equal(editor.preprocess(editor.postprocess(face)), face)
    assert editor.preprocess(None) is None
    assert editor.postprocess(None) is None
    assert editor.process_example(face) == "64×64"
    assert np.array_equal(editor.example_value(), editor.preprocess(editor.example_payload()))


def test_component_leaves_no_stub_beside_its_source():
    assert not list(FOLDER.glob("*.pyi"))


def test_fit_shrinks_large_maps_with_nearest():
    label_map = np.repeat(np.arange(2, dtype=np.uint8) * 18, 1500)[None].repeat(2000, 0)  # (2000, 3000), two halves
    fitted = fit(label_map)
    assert fitted.shape == (683, MAX_SIDE)
    assert (fitted[:, : MAX_SIDE // 2] == 0).all()
    assert (fitted[:, MAX_SIDE // 2 :] == 18).all()
    assert fit(fitted) is fitted


def opened(file: str, order: str = "celebamask-hq") -> dict:
    return open_label_map({"name": "map.png", "file": file, "order": order})


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_open_reads_every_kind_of_mask(mode):
    face = template_face(size=96)
    picture = Image.fromarray(to_colours(face) if mode == "RGB" else face)
    if mode == "P":
        picture.putpalette(PALETTE.tobytes())
    assert picture.mode == mode
    answer = opened(png(picture))
    assert np.array_equal(decode(answer["value"]), face)
    assert answer["message"] == "Opened, 96×96."


def test_open_counts_pixels_off_the_palette():
    colours = to_colours(template_face(size=96))
    colours[:3, 0] = 7, 9, 8
    assert "3 pixels (0.0%) are not in the palette" in opened(png(Image.fromarray(colours)))["message"]


def test_open_makes_a_map_of_a_line_drawing_and_marks_its_doubts():
    drawing = np.full((256, 256), 255, np.uint8)
    cv2.ellipse(drawing, (128, 136), (64, 90), 0, 0, 360, 0, 2)
    for x in (96, 160):
        cv2.ellipse(drawing, (x, 122), (12, 6), 0, 0, 360, 0, 2)
    cv2.ellipse(drawing, (128, 188), (24, 8), 0, 0, 360, 0, 2)
    answer = opened(png(Image.fromarray(drawing)))
    assert answer["message"].startswith("Opened. A line drawing: skin, eyes, ")
    assert "Doubtful: " in answer["message"] and "From the template" in answer["message"]
    label_map, doubtful = decode(answer["value"]), decode(answer["doubtful"])
    assert label_map.shape == doubtful.shape == (512, 512)
    assert label_map[244, 320] == CLASS_ID["left_eye"] and label_map[244, 192] == CLASS_ID["right_eye"]
    assert doubtful[376, 256] and not doubtful[244, 320]
    assert "doubtful" not in opened(png(Image.fromarray(template_face(size=96))))


def test_light_lines_on_dark_are_a_drawing_unless_they_are_a_label_map(monkeypatch):
    looks = []
    monkeypatch.setattr(sketch_files, "line_tone", lambda picture: looks.append(1) or line_tone(picture))
    board = 255 - drawn(template_face("bald"))
    on_paper = opened(png(Image.fromarray(255 - board)))
    two_values = Image.fromarray(board).point(lambda grey: 255 * (grey > 127))
    looks.clear()
    for picture in (Image.fromarray(board), two_values, two_values.convert("1")):
        answer = opened(png(picture))
        assert answer["message"].startswith("Opened. A line drawing: skin, ") and len(looks) == 1
        looks.clear()
        assert (decode(answer["value"]) == decode(on_paper["value"])).mean() > 0.95

    lines = np.asarray(two_values) > 0
    indexed = Image.fromarray(lines.astype(np.uint8))
    indexed.putpalette([0, 0, 0, 255, 255, 255])
    answer = opened(png(indexed))  # class ids 0 and 1, too
    assert np.array_equal(decode(answer["value"]), lines) and IF_CHALK in answer["message"]
    face = template_face("bald")
    parts = Image.fromarray((face == CLASS_ID["skin"]).astype(np.uint8))
    parts.putpalette([0, 0, 0, 255, 255, 255])
    answer = opened(png(parts))
    assert np.array_equal(decode(answer["value"]), face == CLASS_ID["skin"]) and IF_CHALK not in answer["message"]
    for name in ("skin", "upper_lip", "left_brow"):
        mask = np.where(face == CLASS_ID[name], np.uint8(255), np.uint8(0))
        assert "two values alone, 0 and 255" in opened(png(Image.fromarray(mask)))["error"]


def test_open_scales_large_masks_down_and_says_so():
    answer = opened(png(Image.fromarray(np.zeros((1, 3000), np.uint8))))
    assert "Scaled down" in answer["message"]
    assert decode(answer["value"]).shape == (1, MAX_SIDE)


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("not base64!", "base64"),
        (base64.b64encode(b"a text file named .png").decode(), "not a picture"),
        (png(Image.fromarray(np.full((4, 4), 19, np.uint8))), "19"),
        (png(Image.effect_noise((64, 64), 9))[:400], "cannot be read"),
        ("A" * (45 * 2**20), "larger than"),
    ],
    ids=["no base64", "text", "class 19", "truncated", "too large"],
)
def test_open_explains_what_it_cannot_read(file, error):
    answer = opened(file)
    assert error in answer["error"]
    assert "value" not in answer


@pytest.mark.parametrize(("save", "mode"), [(save_label_map, "P"), (save_colours, "RGB")])
def test_save_writes_a_png_of_the_same_integers(save, mode):
    face = template_face(size=96)
    file = io.BytesIO(base64.b64decode(save(encode(face))["file"]))
    picture = Image.open(file)
    assert picture.mode == mode
    assert np.array_equal(np.asarray(picture.convert("RGB")), to_colours(face))
    assert np.array_equal(read_label_map(file)[0], face)
    assert "label map must be" in save({"height": 1})["error"]


def test_strokes_and_the_picture_below_are_gradios_to_use():
    with gr.Blocks() as blocks:
        editor = LabelEditor(template_face(size=64), backdrop="data:,")
        editor.stroke(lambda label_map: None, editor, None)
    assert [listener.targets for listener in blocks.fns.values()] == [[(editor._id, "stroke")]]
    # What gr.update does: the editor is made once more from these, and the page gets the change, once.
    again = LabelEditor(**{**editor.constructor_args, "backdrop": "data:,again", "render": False})
    assert again.props["backdrop"] == "data:,again"
    sent = postprocess_update_dict(again, {"backdrop": "data:,again"})
    assert sent == {"__type__": "update", "props": {"backdrop": "data:,again"}}


@pytest.mark.parametrize("kind", ["blank", *TEMPLATES])
def test_the_page_offers_every_template_and_starts_from_it(kind):
    assert kind in LabelEditor().props["kinds"]
    expected = np.zeros((512, 512), np.uint8) if kind == "blank" else template_face(kind)
    assert np.array_equal(decode(start_from(kind)["value"]), expected)


def test_the_page_knows_the_classes_as_the_labels_do():
    classes = LabelEditor().props["classes"]
    swapped = mirror(np.arange(NUM_CLASSES)[:, None])[:, 0]
    assert [entry["mirrored"] for entry in classes] == swapped.tolist()
    assert len({entry["shortcut"] for entry in classes}) == NUM_CLASSES


@pytest.mark.parametrize("name", ["editor.html", "editor.css"])
def test_templates_survive_gradios_two_template_engines(name):
    text = re.sub(r"\{\{(#each [\w.]+|/each|@index|this(\.\w+)?)\}\}", "", (FOLDER / name).read_text("utf-8"))
    assert not re.search(r"`|\$\{|\{\{|\}\}|\\", text)
