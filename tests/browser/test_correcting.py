"""A correction session in a real browser: three faces, each saved, and none lost on reload."""

import json
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from facemogle.data.face_set import FaceSet
from facemogle.label_files import read_label_map
from facemogle.ui.correction import page as correction
from tests.browser.actions import choose, map_in, press, shut, stroke
from tests.browser.test_access import faults
from tests.face_sets import face_set, first_map, second_map
from train.data import check


@pytest.fixture
def served(tmp_path):
    """Three faces on the list, and one that lacks a caption."""
    data = tmp_path / "data"
    face_set(data, "a", "b", "c", taken={"d": ""})
    blocks = correction.build(FaceSet(data))
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, **correction.launch_options())
    yield SimpleNamespace(data=data, url=url)
    shut(blocks)


def shows(page, where: str, label_map: np.ndarray | None = None) -> None:
    """Wait until a page is at "2 of 4", with that map."""
    page.wait_for_selector(f".place b >> text='{where}'")
    if label_map is not None:
        page.wait_for_function(
            "sum => document.querySelector('#label-editor canvas').labelMap().reduce((a, b) => a + b) == sum",
            arg=int(label_map.sum()),
        )
        assert np.array_equal(map_in(page), label_map)


def saved(served, name: str) -> np.ndarray:
    return read_label_map(served.data / "masks" / f"{name}.png").label_map


def test_three_faces_are_corrected_saved_and_none_is_lost_on_reload(browser, served):
    problems = []
    with closing(browser.new_context(viewport={"width": 1440, "height": 900})) as context:
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        caption = page.locator("#prompt textarea")
        page.goto(served.url)
        shows(page, "1 of 4", first_map(0))
        assert page.locator("#label-editor .backdrop").is_visible() and page.locator("#as-it-is img").is_visible()
        share = 100 * (first_map(0) != second_map(0)).mean()
        assert page.locator(".marked label:has([name=differing]) output").inner_text() == f"{share:.0f}%"
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
        assert faults(page) == []

        press(page, "Clear")
        page.click("#generate")
        page.wait_for_selector("#status .failed >> text=It is background everywhere")
        press(page, "Undo")

        # Drawn and written, and not saved.
        choose(page, "hat")
        stroke(page, (0.3, 0.05), (0.7, 0.05))
        first = map_in(page)
        assert not np.array_equal(first, first_map(0))
        caption.fill("a man with a hat")
        page.wait_for_timeout(100)
        page.reload()
        shows(page, "1 of 4", first)
        page.wait_for_function("document.querySelector('#prompt textarea').value == 'a man with a hat'")
        press(page, "Undo")
        assert np.array_equal(map_in(page), first_map(0))
        press(page, "Redo")

        page.keyboard.press("Control+Enter")
        shows(page, "2 of 4", first_map(1))
        assert caption.input_value() == "" and page.locator("#label-editor [name=undo]").is_disabled()
        assert np.array_equal(saved(served, "a"), first)

        # Left with a stroke on it, and come back to.
        choose(page, "hair")
        stroke(page, (0.1, 0.9), (0.4, 0.9))
        second = map_in(page)
        page.get_by_role("button", name="Skip", exact=True).click()
        shows(page, "3 of 4", first_map(2))
        page.get_by_role("button", name="Previous").click()
        shows(page, "2 of 4", second)
        caption.fill("a woman")
        caption.press("Enter")
        shows(page, "3 of 4", first_map(2))
        page.reload()
        shows(page, "3 of 4", first_map(2))
        choose(page, "neck")
        stroke(page, (0.5, 0.9), (0.6, 0.9))
        third = map_in(page)

        # Another window saves the same face: this one is told, and may insist.
        other = context.new_page()
        other.goto(served.url)
        shows(other, "3 of 4", third)  # of the same browser
        press(other, "Reset")
        other.click("#generate")
        shows(other, "4 of 4", first_map(3))
        page.click("#generate")
        page.wait_for_selector("#status .failed >> text=saved in another window")
        assert np.array_equal(saved(served, "c"), first_map(2))
        page.click("#generate")
        shows(page, "4 of 4", first_map(3))
        assert np.array_equal(saved(served, "c"), third)

        page.locator(".onward summary").click()
        page.get_by_role("button", name="not a person").click()
        shows(page, "Done")
        assert page.locator("#label-editor").is_hidden() and "3 corrected, 1 not usable" in page.inner_text("#status")
        drafts = page.evaluate("Object.keys(localStorage).filter(key => /@0|caption/.test(key))")
        assert drafts == []
        page.reload()
        shows(page, "Done")
    assert problems == []
    assert np.array_equal(saved(served, "a"), first) and np.array_equal(saved(served, "b"), second)
    known = [json.loads(line) for line in (served.data / "metadata.jsonl").read_text().splitlines()]
    assert [(line["file_name"], line["text"]) for line in known] == [
        ("faces/a.png", "a man with a hat"), ("faces/b.png", "a woman"), ("faces/c.png", ""),
    ]  # fmt: skip
    report = check(served.data)
    assert report.usable and report.pairs == 3


def test_a_phone_has_all_of_it_in_reach(browser, served):
    with closing(browser.new_context(viewport={"width": 400, "height": 844}, has_touch=True)) as context:
        page = context.new_page()
        page.goto(served.url)
        shows(page, "1 of 4", first_map(0))
        for part in ("#label-editor .stage", "#as-it-is img", "#prompt", "#generate", "#onward", "#status"):
            box = page.locator(part).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 400 and box["y"] + box["height"] <= 844, part
        page.tap("#exchange")
        assert page.locator("#as-it-is img").bounding_box()["width"] > 250
        page.tap("#exchange")
        page.tap("#generate")
        shows(page, "2 of 4", first_map(1))
