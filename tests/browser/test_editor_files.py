"""Label maps to start from, and label maps as files: opened, saved, refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import CLASS_ID, NUM_CLASSES, to_colours
from facemogle.sketch import read_sketch
from facemogle.templates import template_face
from facemogle.ui.label_editor.component import MAX_FILE_BYTES
from tests.browser.actions import at, choose, generate, map_in, press, stroke
from tests.sketches import drawn


def test_a_drawn_face_or_a_blank_map_is_a_start(page, app):
    for kind, expected in [("bald", template_face("bald")), ("blank", np.zeros((512, 512), np.uint8))]:
        page.locator("#label-editor summary").filter(has_text="New").click()
        press(page, kind)
        page.wait_for_selector(f"#label-editor >> text=Started from: {kind}.")
        assert np.array_equal(map_in(page), expected)
    choose(page, "hat")
    stroke(page, (0.3, 0.3), (0.6, 0.3))
    generate(page)
    assert np.array_equal(app.received[-1], map_in(page))
    assert app.received[-1].shape == (512, 512)
    press(page, "Reset")
    assert not map_in(page).any()


def open_file(page, path) -> str:
    """-> what the page says of it"""
    page.eval_on_selector("#label-editor .message", "message => { message.textContent = ''; }")
    page.locator("#label-editor [name=file]").set_input_files(path)
    page.wait_for_function(
        "() => /^(Opened|Not)/.test(document.querySelector('#label-editor .message').textContent)", timeout=60_000
    )
    return page.locator("#label-editor .message").inner_text()


def test_a_map_in_another_class_order_is_told_of_and_mended(page):
    path = Path(__file__).parents[1] / "cases" / "map-bisenet-order.png"
    assert "order of face-parsing.pytorch" in open_file(page, path)
    page.locator("#label-editor [name=order]").select_option("face-parsing.pytorch")
    page.wait_for_selector("#label-editor >> text=in the order of face-parsing.pytorch.")
    assert np.array_equal(map_in(page), read_label_map(path, classes="face-parsing.pytorch").label_map)


def test_a_line_drawing_or_the_pencil_makes_a_map_with_doubts_hatched(page, tmp_path):
    path = Path(__file__).parents[2] / "train/mini/drawings/04.png"
    drawing = drawn(read_label_map(path).label_map, 3)
    Image.fromarray(drawing).save(tmp_path / "drawing.png")
    assert open_file(page, tmp_path / "drawing.png").startswith("Opened. A line drawing: skin, nose, eyes, brows, ")
    sketch = read_sketch(drawing)
    assert np.array_equal(map_in(page), sketch.label_map)
    hatched = page.locator("#label-editor .unsure")
    page.wait_for_function("() => document.querySelector('#label-editor path.unsure').getAttribute('d')")
    row, column = np.argwhere(sketch.doubtful).mean(0) / 512
    choose(page, "Fill")
    choose(page, "lower lip")
    page.mouse.click(*at(page, column, row))  # what is painted over counts as settled
    page.wait_for_function("() => !document.querySelector('#label-editor path.unsure').getAttribute('d')")
    assert (map_in(page)[sketch.doubtful] == CLASS_ID["lower_lip"]).all()
    write_label_map(tmp_path / "face.png", sketch.label_map)
    open_file(page, tmp_path / "face.png")
    assert hatched.get_attribute("d") == "" and not page.get_by_text("Unsure places").is_visible()
    press(page, "Clear")
    page.locator("#label-editor [name=tool][value=pencil]").check(force=True)
    turn = np.linspace(0, 2 * np.pi, 8)
    ovals = (0.5, 0.53, 0.22, 0.3), (0.4, 0.5, 0.05, 0.02), (0.6, 0.5, 0.05, 0.02), (0.1, 0.1, 0.05, 0.05)
    for x, y, wide, high in ovals:
        first, *others = np.stack([x + wide * np.cos(turn), y + high * np.sin(turn)], axis=1)
        page.mouse.move(*at(page, *first))
        page.mouse.down()
        for place in others:
            page.mouse.move(*at(page, *place))
        page.mouse.up()
    drawn_lines = page.locator("#label-editor path.line").first.get_attribute("d")
    page.reload()
    page.wait_for_selector(".checkpoint.ready")
    assert page.locator("#label-editor path.line").first.get_attribute("d") == drawn_lines
    press(page, "Undo line")
    press(page, "Make a map of it")
    page.wait_for_selector("#label-editor >> text=Made a map. A line drawing: skin, eyes recognised.")
    made = map_in(page)
    assert [made[256, 205], made[256, 307], made[51, 51]] == [CLASS_ID["right_eye"], CLASS_ID["left_eye"], 0]
    make = page.get_by_role("button", name="Make a map of it")
    assert make.is_hidden()
    press(page, "Undo")
    assert not map_in(page).any() and make.is_visible()
    press(page, "Redo")
    assert np.array_equal(map_in(page), made) and make.is_hidden()


@pytest.mark.parametrize(("form", "mode"), [("Indexed PNG", "P"), ("Colour PNG", "RGB")])
def test_what_is_saved_opens_as_the_same_integers(page, tmp_path, form, mode):
    face = np.random.default_rng(0).integers(0, NUM_CLASSES, (40, 60), dtype=np.uint8)
    write_label_map(tmp_path / "face.png", face)
    assert open_file(page, tmp_path / "face.png") == "Opened, 60×40."
    assert np.array_equal(map_in(page), face)
    page.locator("#label-editor summary").filter(has_text="Save").click()
    with page.expect_download() as download:
        press(page, form)
    download.value.save_as(tmp_path / "saved.png")
    with Image.open(tmp_path / "saved.png") as picture:
        assert picture.mode == mode
    assert np.array_equal(read_label_map(tmp_path / "saved.png")[0], face)
    press(page, "Clear")
    assert open_file(page, tmp_path / "saved.png") == "Opened, 60×40."
    assert np.array_equal(map_in(page), face)


def test_masks_off_the_palette_are_snapped_and_counted(page, tmp_path):
    face = template_face(size=96)
    colours = to_colours(face)
    colours[face == CLASS_ID["right_brow"]] = (51, 255, 255)  # the published variant is on the palette
    colours[:2, :96] = (4, 3, 9)
    Image.fromarray(colours).save(tmp_path / "off.png")
    said = "Opened, 96×96. 192 pixels (2.1%) are not in the palette's colours; took the nearest class."
    assert open_file(page, tmp_path / "off.png") == said
    assert np.array_equal(map_in(page), face)
    many = np.random.default_rng(0).integers(0, 256, (200, 3)).astype(np.uint8).repeat(10, 0).reshape(40, 50, 3)
    Image.fromarray(many).save(tmp_path / "many.png")
    assert "many.png is a photograph or a drawing" in open_file(page, tmp_path / "many.png")
    assert np.array_equal(map_in(page), face)


def test_bad_files_are_explained_and_nothing_is_lost(page, tmp_path):
    stroke(page, (0.1, 0.1), (0.9, 0.3))
    painted = map_in(page)
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (8000, 5000)).save(tmp_path / "huge.png")
    Image.effect_noise((256, 256), 50).save(tmp_path / "whole.png")
    (tmp_path / "truncated.png").write_bytes((tmp_path / "whole.png").read_bytes()[:9000])
    indexed = Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20))
    indexed.putpalette(np.random.default_rng(0).integers(0, 256, 600).astype(np.uint8).tobytes())
    indexed.save(tmp_path / "colours.png")
    (tmp_path / "large.png").write_bytes(bytes(MAX_FILE_BYTES + 1))
    for name, reason in [
        ("text", "not a picture that can be read"),
        ("huge", "8000x5000 pixels are more than 4096x4096. Scale it down"),
        ("truncated", "truncated"),
        ("colours", "colours.png has 200 colours, which are not the palette's"),
        ("large", "larger than 32 MB"),
    ]:
        said = open_file(page, tmp_path / f"{name}.png")
        assert said.startswith("Not opened: ")
        assert reason in said
        assert page.locator("#label-editor .message.failed").count() == 1
        assert np.array_equal(map_in(page), painted)
    page.evaluate("() => { FileReader.prototype.readAsDataURL = function () { this.onerror(); }; }")
    assert "cannot read whole.png" in open_file(page, tmp_path / "whole.png")
    press(page, "Undo")
    press(page, "Redo")
    assert np.array_equal(map_in(page), painted)
    assert page.locator("[name=redo]").is_disabled()
