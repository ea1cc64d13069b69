"""The label editor in a real browser: what is painted there is, to the last pixel, what reaches Python."""

from contextlib import closing
from functools import partial
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from actions import at, choose, corner, drag, generate, map_in, opacity, pen_stroke, press, stroke, touch
from PIL import Image

from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import CLASS_ID, NAMES, NUM_CLASSES, from_colours, mirror, to_colours
from facemogle.masks import resize_nearest
from facemogle.ui.label_editor import MAX_FILE_BYTES, LabelEditor
from facemogle.ui.templates import template_face
from facemogle.ui.views import data_url


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
    before = map_in(page)
    assert opacity(page, 80, 64) == 255
    page.get_by_label(f"Hide {NAMES[before[80, 64]]}").locator("..").click()
    assert opacity(page, 80, 64) == 0
    page.get_by_role("button", name="All classes").click()
    assert opacity(page, 80, 64) == 255
    assert np.array_equal(map_in(page), before)


def test_one_class_is_shown_alone_by_button_key_and_eye(page):
    def shown() -> set[str]:
        page.evaluate("() => new Promise(requestAnimationFrame)")
        alpha = page.eval_on_selector(
            "#label-editor canvas",
            "c => Array.from(c.getContext('2d').getImageData(0, 0, 128, 128).data.filter((_, i) => i % 4 == 3))",
        )
        seen = {NAMES[class_id] for class_id in before.ravel()[np.array(alpha) == 255]}
        eyes = page.eval_on_selector_all("#label-editor [name=hide]", "eyes => eyes.map(eye => !eye.checked)")
        assert {NAMES[class_id] for class_id in set(before.ravel()) if eyes[class_id]} == seen
        return seen

    before = map_in(page)
    every = {NAMES[class_id] for class_id in before.ravel()}
    solo, show_all = page.locator("#label-editor [name=solo]"), page.get_by_role("button", name="All classes")
    assert solo.inner_text() == "Only hair"
    assert show_all.is_disabled()
    solo.focus()
    page.keyboard.press("Enter")
    assert shown() == {"hair"}
    assert solo.get_attribute("aria-pressed") == "true"
    page.locator("#label-editor canvas").focus()
    page.keyboard.press("2")  # another class takes its place
    assert shown() == {"nose"}
    assert solo.inner_text() == "Only nose"
    page.keyboard.press("s")
    assert shown() == every
    page.get_by_label("Hide skin").locator("..").dblclick()
    assert shown() == {"skin"}
    page.get_by_label("Hide nose").locator("..").click()
    assert shown() == {"skin", "nose"}
    choose(page, "hair")  # what one paints with is shown
    assert shown() == {"skin", "nose", "hair"}
    show_all.click()
    assert shown() == every
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


def nose_in(page) -> tuple[np.ndarray, tuple[int, int]]:
    """The nose cut out of the map, and where its left top is: row, column."""
    nose = map_in(page) == CLASS_ID["nose"]
    rows, columns = np.nonzero(nose)
    cut = nose[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return cut, (rows.min(), columns.min())


def test_the_frame_of_a_region_scales_it_exactly(page):
    maps, (nose, place) = [map_in(page)], nose_in(page)
    bottom, right = place[0] + nose.shape[0], place[1] + nose.shape[1]
    choose(page, "Move")
    page.mouse.click(*at(page, 0.5, 0.62))
    assert np.array_equal(map_in(page), maps[0])  # only taken
    assert page.locator("[name=undo]").is_disabled()
    for by in [(0.06, 0.15), (-0.2, -0.3), (0.2, 0.1)]:  # larger, smaller than lasts, larger again
        drag(page, corner(page, "right bottom"), by)
        scaled, now_at = nose_in(page)
        assert now_at == place
        assert scaled.shape != nose.shape
        assert np.array_equal(scaled, resize_nearest(nose, *scaled.shape))
        maps.append(map_in(page))
    assert nose.shape[0] > 20 and (maps[2] == CLASS_ID["nose"]).sum() < 100
    for earlier in reversed(maps[:-1]):  # a step for each drag
        press(page, "Undo")
        assert np.array_equal(map_in(page), earlier)
    assert page.locator("#label-editor .frame").is_hidden()
    page.mouse.click(*at(page, 0.5, 0.62))
    page.keyboard.down("Shift")
    drag(page, corner(page, "left top"), (-0.01, -nose.shape[0] / 128))
    page.keyboard.up("Shift")
    scaled, (top, left) = nose_in(page)
    assert (top + scaled.shape[0], left + scaled.shape[1]) == (bottom, right)
    assert scaled.shape == pytest.approx((2 * nose.shape[0], 2 * nose.shape[1]), abs=3)
    assert np.array_equal(scaled, resize_nearest(nose, *scaled.shape))


def test_a_scaled_region_is_moved_and_scaled_on_without_loss(page):
    before, (nose, (top, left)) = map_in(page), nose_in(page)
    choose(page, "Move")
    page.mouse.click(*at(page, 0.5, 0.62))
    drag(page, corner(page, "left top"), (0.5, 0.5))  # beyond the other corner: one pixel
    assert nose_in(page)[0].shape == (1, 1)
    drag(page, corner(page, "left top"), (-(nose.shape[1] - 1) / 128, -(nose.shape[0] - 1) / 128))
    assert np.array_equal(map_in(page), before)
    drag(page, at(page, 0.5, 0.62), (0.125, -0.25))
    assert np.array_equal(nose_in(page)[0], nose)
    assert nose_in(page)[1] == (top - 32, left + 16)
    page.mouse.move(*at(page, 0.5 + 0.125, 0.62 - 0.25))
    page.mouse.down()
    page.mouse.move(*at(page, 0.5, 0.5), steps=3)
    dropped = map_in(page)
    page.keyboard.press("Escape")
    page.mouse.move(*at(page, 0.2, 0.2), steps=3)
    page.mouse.up()
    assert np.array_equal(map_in(page), dropped)
    assert page.locator("#label-editor .frame").is_hidden()


def test_brackets_scale_a_region_taken_by_the_space_bar(page):
    before, (nose, _) = map_in(page), nose_in(page)
    page.locator("#label-editor canvas").focus()
    page.keyboard.press("v")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.wait_for_selector("#label-editor >> text=Took nose.")
    page.keyboard.press("]")
    once = nose_in(page)[0]
    assert once.shape == pytest.approx(np.array(nose.shape) * 1.1, abs=1)
    assert np.array_equal(once, resize_nearest(nose, *once.shape))
    page.keyboard.press("[")
    assert np.array_equal(map_in(page), before)
    page.keyboard.down("Space")
    for key in "]]]":
        page.keyboard.press(key)
    page.keyboard.press("ArrowLeft")
    page.keyboard.up("Space")
    larger = nose_in(page)[0]
    assert np.array_equal(larger, resize_nearest(nose, *larger.shape))
    assert larger.shape == pytest.approx(np.array(nose.shape) * 1.1**3, abs=1)
    page.keyboard.press("Control+z")  # all that happened while space was down
    assert np.array_equal(map_in(page), before)
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert page.locator("#label-editor .frame").is_hidden()


def test_scaling_knows_locks_and_the_mirror(page):
    before = map_in(page)
    page.get_by_label("Lock background").locator("..").click()
    page.get_by_label("Lock right brow").locator("..").click()
    choose(page, "Mirror")
    choose(page, "Move")
    page.mouse.click(*at(page, 0.622, 0.478))
    drag(page, corner(page, "right top"), (0.3, -0.1))
    after = map_in(page)
    for name in ("background", "right_brow"):
        kept = before == CLASS_ID[name]
        assert (after[kept] == CLASS_ID[name]).all()
    eyes = {name: after == CLASS_ID[name] for name in ("left_eye", "right_eye")}
    assert eyes["left_eye"].sum() > 5 * (before == CLASS_ID["left_eye"]).sum()
    free = ~np.isin(before, [CLASS_ID["right_brow"], CLASS_ID["left_brow"]])
    assert np.array_equal((eyes["left_eye"] & free)[:, ::-1], eyes["right_eye"] & free[:, ::-1])
    page.get_by_label("Lock left eye").locator("..").click()
    assert page.locator("#label-editor .frame").is_hidden()
    page.mouse.click(*at(page, 0.622, 0.478))
    page.wait_for_selector("#label-editor >> text=Locked: left eye.")


def test_fingers_scale_pinch_and_pan(open_page):
    page = open_page(viewport={"width": 360, "height": 780}, has_touch=True, is_mobile=True)
    page.locator("#label-editor .stage").scroll_into_view_if_needed()
    before, (nose, place) = map_in(page), nose_in(page)
    whole = page.locator("#label-editor canvas").bounding_box()

    def fingers(*places: tuple[float, float]) -> list[tuple[float, float]]:
        return [(whole["x"] + x * whole["width"], whole["y"] + y * whole["height"]) for x, y in places]

    touch(page, fingers((0.4, 0.5)), *[fingers((0.4 - d, 0.5), (0.6 + d, 0.5)) for d in (0, 0.1, 0.2)])
    box = page.locator("#label-editor canvas").bounding_box()
    assert box["width"] == pytest.approx(3 * whole["width"], rel=0.02)
    assert box["x"] + box["width"] / 2 == pytest.approx(whole["x"] + whole["width"] / 2, abs=3)
    touch(page, fingers((0.4, 0.5)), *[fingers((0.4 + d, 0.5 - d), (0.6 + d, 0.5 - d)) for d in (0, 0.1)])
    moved = page.locator("#label-editor canvas").bounding_box()
    assert moved["x"] - box["x"] == pytest.approx(0.1 * whole["width"], abs=8)
    touch(page, fingers((0.1, 0.1)), *[fingers((0.1 + d, 0.1 + d), (0.9 - d, 0.9 - d)) for d in (0, 0.2, 0.38)])
    assert page.locator("#label-editor canvas").bounding_box() == pytest.approx(whole, abs=1)
    assert np.array_equal(map_in(page), before)  # the dot of the first finger is gone
    assert page.locator("[name=undo]").is_disabled()

    choose(page, "Move")
    touch(page, fingers((0.5, 0.62)))
    x, y = corner(page, "right bottom")
    touch(page, *[[(x + d, y + d)] for d in (0, 10, 25)])
    scaled, now_at = nose_in(page)
    assert now_at == place
    assert scaled.shape[0] > nose.shape[0] + 8
    assert np.array_equal(scaled, resize_nearest(nose, *scaled.shape))


def test_a_pen_paints_and_its_hand_does_not(page):
    press(page, "Clear")
    page.evaluate("addEventListener('pointerdown', event => { window.kind = event.pointerType; }, true)")
    pen_stroke(page, (0.2, 0.3), (0.5, 0.3), (0.8, 0.3))
    assert page.evaluate("window.kind") == "pen"
    rows, columns = np.nonzero(map_in(page))
    assert set(map_in(page)[rows, columns]) == {CLASS_ID["hair"]}
    assert (columns.min(), columns.max()) == pytest.approx((25 - 12, 102 + 12), abs=2)
    page.evaluate(
        """() => {
            const canvas = document.querySelector("#label-editor canvas"), box = canvas.getBoundingClientRect();
            canvas.setPointerCapture = () => {};
            const send = (type, pointerId, pointerType, button, x, y) => canvas.dispatchEvent(new PointerEvent(type, {
                bubbles: true, cancelable: true, pointerId, pointerType, button,
                clientX: box.x + x * box.width, clientY: box.y + y * box.height,
            }));
            send("pointerdown", 7, "pen", 5, 0.5, 0.3);  // its other end rubs out
            for (const palm of [8, 9]) send("pointerdown", palm, "touch", 0, 0.8, 0.9);
            send("pointermove", 9, "touch", -1, 0.7, 0.9);
            send("pointermove", 7, "pen", -1, 0.8, 0.3);
            for (const pointer of [7, 8, 9]) send("pointerup", pointer, "", 0, 0.8, 0.3);
        }"""
    )
    assert not map_in(page)[:, 64:].any()
    assert map_in(page)[:, :50].any()
    assert page.locator("[name=fit]").inner_text() == "100%"


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


def open_file(page, path) -> str:
    """-> what the page says of it"""
    page.eval_on_selector("#label-editor .message", "message => { message.textContent = ''; }")
    page.locator("#label-editor [name=file]").set_input_files(path)
    page.wait_for_function(
        "() => /^(Opened|Not)/.test(document.querySelector('#label-editor .message').textContent)", timeout=60_000
    )
    return page.locator("#label-editor .message").inner_text()


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
    said = "Opened, 96×96. 192 pixels (2.1%) were off the palette and took the nearest class."
    assert open_file(page, tmp_path / "off.png") == said
    assert np.array_equal(map_in(page), face)
    many = np.random.default_rng(0).integers(0, 256, (200, 3)).astype(np.uint8).repeat(10, 0).reshape(40, 50, 3)
    Image.fromarray(many).save(tmp_path / "many.png")
    said = open_file(page, tmp_path / "many.png")
    assert "2000 pixels (100.0%) were off the palette" in said
    assert np.array_equal(map_in(page), from_colours(many)[0])
    press(page, "Undo")
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
        ("colours", "no class has the values [19, 20, 21, 22, 23]. Class ids are 0 (background) to 18 (cloth)"),
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


@pytest.fixture(scope="module")
def listener():
    """A page of its own: `heard` are the maps that `stroke` brought, `answer` what the button sends to the editor."""
    listener = SimpleNamespace(heard=[], answer=None)
    with gr.Blocks() as blocks:
        editor = LabelEditor(template_face(size=128), backdrop=backdrop(200), elem_id="label-editor")
        send = gr.Button("Send")
        send.click(lambda: listener.answer, None, editor)
        editor.stroke(listener.heard.append, editor, None, trigger_mode="always_last", show_progress="hidden")
    _, listener.url, _ = blocks.launch(prevent_thread_lock=True, quiet=True)
    yield listener
    blocks.close()


def backdrop(grey: int) -> str:
    return data_url(Image.new("RGB", (30, 20), (grey, grey, grey)), format="PNG")


@pytest.fixture
def listened(browser, listener):
    listener.heard.clear()
    with closing(browser.new_context(viewport={"width": 1000, "height": 900})) as context:
        page = context.new_page()
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(listener.url)
        page.wait_for_selector("#label-editor [name=opacity]", state="visible")
        yield page
    assert problems == []


def test_a_picture_under_the_map_changes_no_class(listened, listener):
    def send(answer) -> None:
        listener.answer = answer
        listened.get_by_role("button", name="Send").click()

    under, slider = listened.locator("#label-editor .backdrop"), listened.locator("#label-editor [name=opacity]")
    face = map_in(listened)
    edge = int(np.flatnonzero(np.diff(face[64]))[0])  # the last background pixel of its row
    whole = listened.locator("#label-editor canvas").bounding_box()
    assert under.bounding_box() == pytest.approx(whole, abs=0.5)
    for percent in ("100", "30", "0"):
        slider.fill(percent)
        assert opacity(listened, 64, 3) == opacity(listened, 70, 45) == pytest.approx(2.55 * int(percent), abs=1)
        assert opacity(listened, 64, edge) == opacity(listened, 64, edge + 1) == 255  # outlines stay
    stroke(listened, (0.05, 0.05), (0.3, 0.05))
    painted = map_in(listened)
    row = int(np.flatnonzero(painted[:, 20] == CLASS_ID["hair"]).max())
    assert opacity(listened, row, 20) == opacity(listened, row + 1, 20) == 255  # of the stroke as well
    assert opacity(listened, row - 6, 20) == 0
    assert listened.eval_on_selector("#label-editor canvas", "canvas => canvas.labelMap().length") == 128 * 128
    press(listened, "Undo")
    assert np.array_equal(map_in(listened), face)

    last = under.get_attribute("src")
    send(gr.update(value=template_face("hat", 96), backdrop=backdrop(90)))
    listened.wait_for_function("last => document.querySelector('#label-editor .backdrop').src != last", arg=last)
    assert np.array_equal(map_in(listened), template_face("hat", 96))
    assert under.is_visible()
    send(gr.update(backdrop=""))
    slider.wait_for(state="hidden")
    assert under.is_hidden()
    assert opacity(listened, 3, 3) == 255
    send(gr.update(backdrop="data:image/png;base64,AAAA"))
    listened.wait_for_selector("#label-editor .failed >> text=The picture under the map cannot be shown.")
    assert slider.is_hidden()
    send(template_face("bald", 96))  # a plain value, as if nothing had been
    send(gr.update(backdrop=backdrop(50)))
    slider.wait_for(state="visible")
    assert np.array_equal(map_in(listened), template_face("bald", 96))
    assert listener.heard == []


def test_strokes_reach_python_only_while_the_page_is_live(listened, listener):
    def heard(number: int) -> np.ndarray:
        for _ in range(100):
            if len(listener.heard) >= number:
                break
            listened.wait_for_timeout(50)
        listened.wait_for_timeout(200)
        assert len(listener.heard) == number
        assert np.array_equal(listener.heard[-1], map_in(listened))
        return listener.heard[-1]

    stroke(listened, (0.1, 0.1), (0.4, 0.1))
    listened.eval_on_selector("#label-editor form", "form => { form.dataset.live = 'on'; }")
    listened.wait_for_timeout(300)
    assert listener.heard == []
    stroke(listened, (0.1, 0.9), (0.4, 0.9))
    heard(1)
    for number, name in enumerate(("Undo", "Redo", "Mirror map", "Clear", "Reset"), start=2):
        press(listened, name)
        heard(number)
    press(listened, "Reset")  # nothing changes
    choose(listened, "Fill")
    listened.locator("#label-editor summary").filter(has_text="New").click()
    press(listened, "bald")
    assert heard(7).shape == (512, 512)
    listener.answer = template_face("hat", 96)  # what Python says, it need not hear
    listened.get_by_role("button", name="Send").click()
    listened.wait_for_function("() => document.querySelector('#label-editor canvas').width == 96")
    for place in (0.1, 0.3, 0.5):  # quicker than they are served: the newest arrives
        choose(listened, "hat" if place != 0.3 else "hair")
        listened.mouse.click(*at(listened, place, 0.1))
    for _ in range(100):
        if np.array_equal(listener.heard[-1], map_in(listened)):
            break
        listened.wait_for_timeout(50)
    assert np.array_equal(listener.heard[-1], map_in(listened))
    number = len(listener.heard)
    assert 8 <= number <= 10
    listened.eval_on_selector("#label-editor form", "form => { form.dataset.live = ''; }")
    press(listened, "Clear")
    listened.wait_for_timeout(300)
    assert len(listener.heard) == number
