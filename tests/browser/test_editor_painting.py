"""Painting in the label editor: tools, palette, keys and mirror, in a real browser."""

import numpy as np
import pytest

from facemogle.labels import CLASS_ID, NAMES, NUM_CLASSES, mirror
from tests.browser.actions import at, choose, generate, map_in, opacity, press, stroke


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


def test_the_palette_tells_shares_and_takes_keys(page):
    def shares() -> list[str]:
        page.evaluate("() => new Promise(requestAnimationFrame)")
        rows = page.locator("#label-editor .class").evaluate_all(
            "rows => rows.map(row => [row.querySelector('input').value, row.querySelector('.share').textContent])"
        )
        return [share for _, share in sorted(rows, key=lambda row: int(row[0]))]

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
        eyes = page.eval_on_selector_all(
            "#label-editor [name=hide]", "eyes => Object.fromEntries(eyes.map(eye => [eye.value, !eye.checked]))"
        )
        assert {NAMES[class_id] for class_id in set(before.ravel()) if eyes[str(class_id)]} == seen
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


def test_shift_draws_a_polygon_with_the_lasso(page):
    press(page, "Clear")
    choose(page, "Lasso")
    page.mouse.move(*at(page, 0.25, 0.25))
    page.mouse.down()
    for detour, place in [((0.6, 0.1), (0.75, 0.25)), ((0.9, 0.4), (0.75, 0.75))]:
        page.keyboard.down("Shift")
        page.mouse.move(*at(page, *detour), steps=5)  # no matter which way the pointer takes
        page.mouse.move(*at(page, *place), steps=5)
        page.keyboard.up("Shift")
        page.mouse.move(*at(page, *place))
    page.mouse.up()
    rows, columns = np.indices((128, 128)) + 0.5
    inside = (columns > rows) & (columns < 96) & (rows > 32)
    assert (map_in(page) == CLASS_ID["hair"]).sum() == pytest.approx(inside.sum(), rel=0.05)
    assert ((map_in(page) == CLASS_ID["hair"]) != inside).mean() < 0.02


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
