"""What the label editor remembers: undo, redo, and the drawing after a reload."""

from contextlib import closing
from functools import partial

import numpy as np
import pytest

from facemogle.labels import CLASS_ID, NUM_CLASSES
from tests.browser.actions import at, choose, generate, map_in, press, stroke


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
