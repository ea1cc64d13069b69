"""The label editor in a real browser: what is painted there is, to the last pixel, what reaches Python."""

from contextlib import closing
from functools import partial

import numpy as np
import pytest
from actions import at, choose, generate, map_in, press, stroke

from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import CLASS_ID, NAMES, NUM_CLASSES, mirror
from facemogle.ui.label_editor import MAX_FILE_BYTES
from facemogle.ui.templates import template_face


def test_tools_undo_and_redo(page, app):
    maps = [map_in(page)]

    def done() -> None:
        maps.append(map_in(page))
        assert (maps[-1] != maps[-2]).any()

    choose(page, "skin")
    choose(page, "Fill")
    page.mouse.click(*at(page, 0.02, 0.02))
    done()
    assert maps[-1][0, 0] == CLASS_ID["skin"]
    assert (maps[-1] == maps[0]).sum() == (maps[0] != 0).sum()  # all of the background, and nothing else
    choose(page, "Eraser")
    stroke(page, (0.5, 0.5), (0.6, 0.6))
    done()
    assert set(maps[-1][maps[-1] != maps[-2]]) == {CLASS_ID["background"]}
    press(page, "Clear")
    done()
    assert not maps[-1].any()
    press(page, "Reset")
    done()
    assert np.array_equal(maps[-1], maps[0])

    page.locator("#label-editor canvas").focus()
    for earlier in reversed(maps[:-1]):
        page.keyboard.press("Control+z")
        assert np.array_equal(map_in(page), earlier)
    for later in maps[1:3]:
        page.keyboard.press("Control+Shift+Z")
        assert np.array_equal(map_in(page), later)
    generate(page)
    assert np.array_equal(app.received[-1], maps[2])


def test_keys_set_the_brush_and_paint(page):
    canvas = page.locator("#label-editor canvas")
    canvas.focus()
    size = int(page.locator("[name=diameter]").inner_text())
    page.keyboard.press("]")
    assert int(page.locator("[name=diameter]").inner_text()) > size
    page.keyboard.press("[")
    assert int(page.locator("[name=diameter]").inner_text()) == size
    before = map_in(page)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    assert set(map_in(page)[map_in(page) != before]) == {CLASS_ID["hair"]}


def test_the_palette_tells_shares_and_takes_keys(page):
    def shares() -> list[str]:
        page.evaluate("() => new Promise(requestAnimationFrame)")
        return page.locator("#label-editor .share").all_inner_texts()

    def expected() -> list[str]:
        percents = 100 * np.bincount(map_in(page).ravel(), minlength=NUM_CLASSES) / map_in(page).size
        return [
            "–" if not share else "<0.1%" if share < 0.1 else f"{share:.{1 if share < 9.95 else 0}f}%"
            for share in percents
        ]

    assert shares() == expected()
    page.locator("#label-editor canvas").focus()
    for key, class_id in [("4", 4), ("Shift+Digit8", 18), ("0", 0), ("Shift+Digit4", 14)]:
        page.keyboard.press(key)
        assert page.locator("#label-editor [name=class]:checked").input_value() == str(class_id)
    before = shares()
    page.mouse.move(*at(page, 0.2, 0.2))
    page.mouse.down()
    page.mouse.move(*at(page, 0.8, 0.2), steps=4)
    assert shares() == expected() != before  # while the stroke goes on
    page.mouse.up()


def test_locked_classes_are_not_painted_over(page):
    before = map_in(page)
    page.get_by_label("Lock skin").locator("..").click()
    page.get_by_label("Lock background").locator("..").click()
    skin = (before == CLASS_ID["skin"]) | (before == 0)
    choose(page, "hat")
    stroke(page, (0.05, 0.5), (0.95, 0.5))
    choose(page, "Lasso")
    stroke(page, (0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
    painted = map_in(page)
    assert np.array_equal(painted[skin], before[skin])
    assert (painted[20:110, 20:110][~skin[20:110, 20:110]] == CLASS_ID["hat"]).all()
    choose(page, "Fill")
    page.mouse.click(*at(page, 0.02, 0.02))
    assert np.array_equal(map_in(page), painted)
    page.get_by_label("Lock background").locator("..").click()
    page.mouse.click(*at(page, 0.02, 0.02))
    assert map_in(page)[0, 0] == CLASS_ID["hat"]


def test_hidden_classes_are_not_shown_but_stay(page):
    def alpha() -> int:
        page.evaluate("() => new Promise(requestAnimationFrame)")
        return page.eval_on_selector(
            "#label-editor canvas", "canvas => canvas.getContext('2d').getImageData(64, 80, 1, 1).data[3]"
        )

    before = map_in(page)
    assert alpha() == 255
    page.get_by_label(f"Hide {NAMES[before[80, 64]]}").locator("..").click()
    assert alpha() == 0
    assert np.array_equal(map_in(page), before)


def test_shift_draws_a_straight_line_from_the_last_stroke(page):
    press(page, "Clear")
    page.locator("[name=size]").fill("4")
    page.mouse.click(*at(page, 0.25, 0.25))
    page.keyboard.down("Shift")
    page.mouse.click(*at(page, 0.75, 0.75))
    page.keyboard.up("Shift")
    rows, columns = np.nonzero(map_in(page))
    assert set(map_in(page)[rows, columns]) == {CLASS_ID["hair"]}
    assert (rows.min(), rows.max()) == pytest.approx((30, 97), abs=1)
    assert set(range(31, 97)) <= set(rows)
    assert abs(rows - columns).max() <= 3


def test_alt_and_pick_take_the_class_under_the_pointer(page):
    before = map_in(page)
    page.keyboard.down("Alt")
    page.mouse.click(*at(page, 0.5, 0.6))
    page.keyboard.up("Alt")
    assert page.locator("#label-editor [name=class]:checked").input_value() == str(before[76, 64])
    choose(page, "Pick")
    page.mouse.click(*at(page, 0.5, 0.95))
    assert page.locator("#label-editor [name=class]:checked").input_value() == str(before[121, 64])
    assert before[121, 64] != before[76, 64]
    assert page.locator("#label-editor [name=tool]:checked").input_value() == "brush"
    assert np.array_equal(map_in(page), before)


def test_the_lasso_fills_its_outline(page):
    press(page, "Clear")
    choose(page, "Lasso")
    choose(page, "hat")
    stroke(page, (0.25, 0.25), (0.75, 0.25), (0.75, 0.5), (0.25, 0.5))
    expected = np.zeros((128, 128), np.uint8)
    expected[32:64, 32:96] = CLASS_ID["hat"]
    assert (map_in(page) != expected).sum() <= 2 * (32 + 64)  # the rim, where the window's pixels round
    assert (map_in(page)[34:62, 34:94] == CLASS_ID["hat"]).all()


def test_mirror_painting_knows_left_from_right(page):
    press(page, "Clear")
    choose(page, "Mirror")
    choose(page, "left eye")
    stroke(page, (0.7, 0.3), (0.8, 0.4))
    painted = map_in(page)
    assert set(painted[:, 64:].ravel()) == {0, CLASS_ID["left_eye"]}
    assert set(painted[:, :64].ravel()) == {0, CLASS_ID["right_eye"]}
    assert np.array_equal(mirror(painted), painted)
    choose(page, "hair")
    stroke(page, (0.1, 0.1), (0.6, 0.15))
    assert np.array_equal(mirror(map_in(page)), map_in(page))
    before = map_in(page)
    choose(page, "Fill")
    choose(page, "right brow")
    page.mouse.click(*at(page, 0.25, 0.35))
    assert np.array_equal(map_in(page) == CLASS_ID["left_brow"], before == CLASS_ID["left_eye"])
    assert np.array_equal(map_in(page) == CLASS_ID["right_brow"], before == CLASS_ID["right_eye"])


def test_mirror_map_is_the_mirror_of_the_labels(page, app):
    stroke(page, (0.1, 0.1), (0.4, 0.3))
    before = map_in(page)
    press(page, "Mirror map")
    assert np.array_equal(map_in(page), mirror(before))
    generate(page)
    assert np.array_equal(app.received[-1], mirror(before))


def test_the_view_zooms_about_the_pointer_and_pans(page):
    def pixel(class_name: str) -> list[int]:
        choose(page, class_name)
        page.mouse.move(*place)
        page.mouse.down()
        page.mouse.up()
        return np.argwhere(map_in(page) == CLASS_ID[class_name])[0].tolist()

    press(page, "Clear")
    page.locator("[name=size]").fill("1")
    page.locator("#label-editor .stage").scroll_into_view_if_needed()
    whole = page.locator("#label-editor canvas").bounding_box()
    place = at(page, 0.3, 0.6)
    here = pixel("skin")
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.querySelector('[name=fit]').innerText == '200%'")
    ring = page.locator("#label-editor .cursor").bounding_box()
    assert pixel("hat") == here
    assert page.locator("#label-editor canvas").bounding_box()["width"] == pytest.approx(2 * whole["width"], abs=1)
    assert ring["width"] == pytest.approx(2 * whole["width"] / 128, abs=0.5)
    before = map_in(page)
    page.keyboard.down("Space")
    page.mouse.down()
    page.mouse.move(place[0] + whole["width"] / 16, place[1], steps=3)
    page.mouse.up()
    page.keyboard.up("Space")
    assert np.array_equal(map_in(page), before)
    assert np.array(pixel("hair")) - here == pytest.approx((0, -4), abs=1)
    page.mouse.move(*place)
    page.mouse.down(button="middle")
    page.mouse.move(place[0] + 2000, place[1] + 2000)  # no further than the map's corner
    page.mouse.up(button="middle")
    assert page.locator("#label-editor canvas").bounding_box()["x"] == pytest.approx(whole["x"], abs=1)
    page.get_by_role("button", name="Show all").click()
    assert page.locator("#label-editor canvas").bounding_box() == pytest.approx(whole, abs=1)


def test_move_takes_a_region_along_and_closes_the_gap(page):
    press(page, "Clear")
    choose(page, "Lasso")
    choose(page, "skin")
    stroke(page, (0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))
    skin = map_in(page)
    choose(page, "Brush")
    choose(page, "nose")
    page.mouse.click(*at(page, 0.4, 0.4))
    nose = np.argwhere(map_in(page) == CLASS_ID["nose"])
    choose(page, "Move")
    stroke(page, (0.4, 0.4), (0.5, 0.6))
    moved = np.argwhere(map_in(page) == CLASS_ID["nose"])
    assert len(moved) == len(nose) > 100
    assert (moved - nose).min(0) == pytest.approx((26, 13), abs=1)
    assert len(np.unique(moved - nose, axis=0)) == 1
    rest = map_in(page)
    rest[rest == CLASS_ID["nose"]] = CLASS_ID["skin"]
    assert np.array_equal(rest, skin)
    press(page, "Undo")
    assert np.array_equal(np.argwhere(map_in(page) == CLASS_ID["nose"]), nose)


def test_a_hundred_random_operations_are_undone_and_redone_exactly(page, app):
    random = np.random.default_rng(0)

    corner, end = np.array(at(page, 0.05, 0.05)), np.array(at(page, 0.95, 0.95))

    def place() -> list[float]:
        return random.uniform(corner, end).tolist()

    def drag(key: str) -> None:
        page.keyboard.press(key)
        page.mouse.move(*place())
        page.mouse.down()
        for _ in range(3):
            page.mouse.move(*place())
        page.mouse.up()

    operations = [partial(drag, key) for key in "beflv"] * 3
    operations += [lambda: press(page, "Mirror map"), lambda: press(page, "Clear"), lambda: page.keyboard.press("m")]
    states, done = [map_in(page)], []
    page.locator("#label-editor canvas").focus()
    while len(states) <= 105:
        class_id = int(random.integers(NUM_CLASSES))
        page.keyboard.press("Shift+" * (class_id > 9) + f"Digit{class_id % 10}")
        operation = operations[random.integers(len(operations))]
        operation()
        state = map_in(page)
        if (state != states[-1]).any():
            states.append(state)
            done.append(operations.index(operation))
    assert set(done) >= {*range(5), 15, 16}
    for earlier in states[-2:-102:-1]:
        page.keyboard.press("Control+z")
        assert np.array_equal(map_in(page), earlier)
    assert page.locator("[name=undo]").is_disabled()
    for later in states[-100:]:
        page.keyboard.press("Control+Shift+Z")
        assert np.array_equal(map_in(page), later)
    assert page.locator("[name=redo]").is_disabled()
    generate(page)
    assert np.array_equal(app.received[-1], states[-1])


def test_a_reload_restores_the_drawing(page, app):
    loaded = map_in(page)
    stroke(page, (0.1, 0.1), (0.9, 0.3))
    painted = map_in(page)
    page.reload()
    page.wait_for_selector("#label-editor >> text=Your last drawing is back")
    assert np.array_equal(map_in(page), painted)
    page.wait_for_selector(".checkpoint.ready")
    generate(page)
    assert np.array_equal(app.received[-1], painted)
    press(page, "Reset")
    assert np.array_equal(map_in(page), loaded)
    page.evaluate('localStorage.setItem(\'facemogle-label-map\', \'{"height": 2, "width": 2, "runs": [19, 4]}\')')
    page.reload()
    page.wait_for_selector("#label-editor canvas")
    assert np.array_equal(map_in(page), loaded)


@pytest.mark.parametrize(
    "storage",
    [
        "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }",
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } })",
    ],
    ids=["full", "blocked"],
)
def test_the_editor_works_without_storage(browser, app, storage):
    with closing(browser.new_context(viewport={"width": 1440, "height": 1000})) as context:
        context.add_init_script(f"{storage};")
        page = context.new_page()
        page.goto(app.url)
        page.wait_for_selector(".checkpoint.ready")
        before = map_in(page)
        stroke(page, (0.1, 0.1), (0.9, 0.3))
        painted = map_in(page)
        assert (painted != before).any()
        generate(page)
        assert np.array_equal(app.received[-1], painted)


def test_a_drawn_face_or_a_blank_map_is_a_start(page, app):
    for kind, expected in [("bald", template_face("bald")), ("blank", np.zeros((512, 512), np.uint8))]:
        page.locator("#label-editor summary").click()
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


def test_held_space_and_arrows_are_a_stroke(page):
    press(page, "Clear")
    page.locator("#label-editor canvas").focus()
    page.keyboard.down("Space")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.keyboard.up("Space")
    columns = np.nonzero(map_in(page))[1]
    assert columns.max() - columns.min() == pytest.approx(24 + 36, abs=2)
    page.keyboard.press("Control+z")
    assert not map_in(page).any()


def test_maps_are_opened_saved_and_refused(page, tmp_path):
    face = np.random.default_rng(0).integers(0, 19, (40, 60), dtype=np.uint8)
    write_label_map(tmp_path / "face.png", face)
    (tmp_path / "text.png").write_text("no picture")
    chooser = page.locator("#label-editor [name=file]")
    chooser.set_input_files(tmp_path / "face.png")
    page.wait_for_selector("#label-editor >> text=Opened, 60×40.")
    assert np.array_equal(map_in(page), face)
    chooser.set_input_files(tmp_path / "text.png")
    page.wait_for_selector("#label-editor .failed >> text=not a picture")
    assert np.array_equal(map_in(page), face)
    (tmp_path / "large.png").write_bytes(bytes(MAX_FILE_BYTES + 1))
    chooser.set_input_files(tmp_path / "large.png")
    page.wait_for_selector("#label-editor .failed >> text=larger than 32 MB")
    page.evaluate("() => { FileReader.prototype.readAsDataURL = function () { this.onerror(); }; }")
    chooser.set_input_files(tmp_path / "face.png")
    page.wait_for_selector("#label-editor .failed >> text=cannot read face.png")
    with page.expect_download() as download:
        press(page, "Save")
    download.value.save_as(tmp_path / "saved.png")
    assert np.array_equal(read_label_map(tmp_path / "saved.png")[0], face)
