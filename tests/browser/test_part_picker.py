"""Change this part in a real browser."""

import io

import numpy as np
import pytest
from PIL import Image

from facemogle.labels import CLASS_ID
from tests.browser.actions import map_in, set_number

data = pytest.importorskip("skimage.data", reason="needs a photo with a face: see requirements-dev.txt")

HATS = f"document.querySelector('#label-editor canvas').labelMap().filter((id) => id === {CLASS_ID['hat']}).length"


def test_one_click_and_a_word(open_page):
    page = open_page(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    set_number(page, "steps", 2)
    file, photo = io.BytesIO(), data.astronaut()
    Image.fromarray(photo).save(file, "PNG")
    page.set_input_files(
        "#drop input[type=file]", {"name": "me.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    page.wait_for_selector("#photo .note >> text=was found in", timeout=60_000)
    page.get_by_role("tab", name="Change", exact=True).click()
    page.wait_for_selector("#picker canvas:not([hidden])")
    page.wait_for_function("document.querySelector('#label-editor canvas').width == 512")
    before = map_in(page)

    # What is pointed at has a name, and a click chooses it.
    box = page.locator("#picker canvas").bounding_box()
    side = min(box["width"], box["height"])
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    rows, columns = np.nonzero(before == CLASS_ID["hair"])
    middle = len(rows) // 2
    place = left + (columns[middle] + 0.5) / 512 * side, top + (rows[middle] + 0.5) / 512 * side
    page.mouse.move(*place)
    assert page.locator("#picker .name").inner_text() == "hair"
    page.mouse.click(*place)
    assert page.locator("#picker .names [aria-pressed=true]").inner_text() == "hair"
    assert page.get_by_role("textbox", name="hair: what should it be?").evaluate(
        "one => one === document.activeElement"
    )
    page.keyboard.type("red")
    page.keyboard.press("Enter")
    page.wait_for_selector("#picker [name=back]:not([hidden])", timeout=60_000)
    assert "Made from prompt and map" in page.locator("#status").inner_text()
    assert "the change fades out there" in page.locator("#picker .honest").inner_text()  # by the crop's border

    # The whole photo comes in its own size, and is its own but for the hair.
    with page.expect_download() as saved:
        page.get_by_role("button", name="Whole photo").click()
    changed = np.asarray(Image.open(saved.value.path()))
    differs = (changed != photo).any(-1)
    assert saved.value.suggested_filename == "me-changed.png" and changed.shape == photo.shape
    assert 0.005 < differs.mean() < 0.1 and not differs[150:].any() and differs[:80, 190:300].any()

    # By keys: a part by its button, a suggestion; then back to the photo as it was.
    page.get_by_role("group", name="Parts of the picture").get_by_role("button", name="hat").focus()
    page.keyboard.press("Enter")
    last = page.locator("#picker img").get_attribute("src")
    page.get_by_role("group", name="Suggestions").get_by_role("button", name="a wide hat").press("Enter")
    page.wait_for_function("last => document.querySelector('#picker img').src != last", arg=last, timeout=60_000)
    hat = int((before == CLASS_ID["hat"]).sum())  # the parser may have seen some
    page.wait_for_function(f"{HATS} > {hat}")
    for _ in range(2):
        last = page.locator("#picker img").get_attribute("src")
        page.get_by_role("button", name="Undo", exact=True).and_(page.locator("#picker button")).click()
        page.wait_for_function("last => document.querySelector('#picker img').src != last", arg=last)
    page.wait_for_function(f"{HATS} == {hat}")
    assert np.array_equal(map_in(page), before) and page.locator("#picker [name=back]").is_hidden()
    assert "fades out" not in page.locator("#picker .honest").inner_text()
