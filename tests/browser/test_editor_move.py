"""Moving and scaling a region in the label editor, by mouse, keys, fingers and pen, and moving the view of it."""

import numpy as np
import pytest

from facemogle.labels import CLASS_ID
from facemogle.masks import resize_nearest
from tests.browser.actions import at, choose, corner, drag, map_in, pen_stroke, press, stroke, touch


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
