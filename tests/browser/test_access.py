"""The page by keyboard, for screen readers, and for fingers, in a real browser."""

import io
from contextlib import closing

import pytest
from PIL import Image

from facemogle.labels import CLASS_ID, NAMES
from tests.browser.actions import choose, generate, map_in, open_advanced, set_number, stroke

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe: see requirements-dev.txt")

# The experimental one is what a person who speaks to the page relies on.
OPTIONS = {"rules": {"label-content-name-mismatch": {"enabled": True}}, "resultTypes": ["violations"]}


# What is still fading in has no contrast that a person reads at; what turns for ever stays as it is.
SETTLED = """async () => {
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    await Promise.all(document.getAnimations()
        .filter((each) => each.effect.getComputedTiming().endTime < Infinity)
        .map((each) => each.finished.catch(() => null)));
}"""


def faults(page) -> list[str]:
    """What axe-core finds, each with where it is, once what fades in is there."""
    page.evaluate(SETTLED)
    found = axe.Axe().run(page, options=OPTIONS).response["violations"]
    return [f"{each['id']}: {node['target']} {node['any'][:1]}" for each in found for node in each["nodes"]]


@pytest.fixture(params=["light", "dark"])
def theme(request) -> str:
    return request.param


@pytest.fixture
def themed(open_page, theme):
    return open_page(f"?__theme={theme}", viewport={"width": 1440, "height": 900})


def test_axe_finds_no_fault(themed):
    page = themed
    assert faults(page) == []
    page.locator("#prompt textarea").fill("a face with a hat")
    generate(page)
    page.wait_for_selector("#history button")
    page.wait_for_selector("#prompt-notes button")
    open_advanced(page)
    assert faults(page) == []
    for tab in page.get_by_role("tab").all():
        tab.click()
        assert faults(page) == [], tab.inner_text()
    for view in page.locator("#gating input[name=view]").all():
        if view.is_visible():
            view.check(force=True)
            assert faults(page) == []
    page.keyboard.press("Escape")
    page.locator("#label-editor canvas").focus()
    page.keyboard.press("?")
    page.wait_for_selector("dialog.sheet[open]")
    assert faults(page) == []


def test_axe_finds_no_fault_beside_a_photo(themed):
    file = io.BytesIO()
    Image.fromarray(pytest.importorskip("skimage.data", reason="needs a photo with a face").astronaut()).save(
        file, "PNG"
    )
    photo = {"name": "me.png", "mimeType": "image/png", "buffer": file.getvalue()}
    themed.set_input_files("#drop input[type=file]", photo)
    themed.wait_for_selector("#photo .note >> text=was found in", timeout=60_000)
    themed.wait_for_selector("#faces button")
    assert faults(themed) == []
    themed.get_by_text("Crop by hand").click()
    themed.locator("#parser input").click()
    themed.locator("#parser [role=option]").first.wait_for()
    assert faults(themed) == []
    themed.get_by_role("option", name="mistaken").click()
    themed.wait_for_selector("#photo .note.swapped, #label-editor .marked label:has([name=differing]):not([hidden])")
    themed.set_input_files("#drop input[type=file]", {**photo, "buffer": b"no picture"})
    themed.wait_for_selector("#photo .note.failed")
    assert faults(themed) == []


def test_axe_finds_no_fault_in_a_failed_run(themed):
    set_number(themed, "seed", "")
    themed.click("#generate")
    themed.wait_for_selector("#status .failed")
    assert faults(themed) == []
    assert "Error" not in themed.locator("#studio").inner_text()


def test_axe_finds_no_fault_where_the_server_is_lost(browser, app, theme):
    with closing(browser.new_context(viewport={"width": 1440, "height": 900})) as context:
        page = context.new_page()
        page.goto(f"{app.url}?__theme={theme}")
        page.wait_for_selector(".checkpoint.ready")
        page.wait_for_selector("#label-editor canvas")
        page.route("**/app_id", lambda route: route.abort())
        page.wait_for_selector("#connection .lost", state="visible")
        assert faults(page) == []


def test_ctrl_and_enter_generate_from_anywhere(page, app):
    for place in ("#prompt textarea", "#label-editor canvas", "body"):
        runs = len(app.received)
        if place != "body":
            page.locator(place).focus()
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("#status .running")
        page.wait_for_selector("#status .run.idle >> text=Made from")
        assert len(app.received) == runs + 1
    assert page.input_value("#prompt textarea") == "a face"


def test_a_sheet_tells_all_shortcuts(page):
    page.locator("#prompt textarea").press("End")
    page.keyboard.type("?")
    assert page.locator("dialog.sheet").is_hidden()
    assert page.input_value("#prompt textarea") == "a face?"
    page.locator("#label-editor canvas").focus()
    page.keyboard.press("?")
    sheet = page.locator("dialog.sheet[open]").inner_text()
    announced = page.eval_on_selector_all("[aria-keyshortcuts]", "all => all.map(one => one.ariaKeyShortcuts)")
    for keys in " ".join(announced).split():
        plain = keys.replace("Control", "Ctrl")
        assert plain in sheet or plain.removeprefix("Shift+").isdigit(), keys
    page.keyboard.press("Escape")
    assert page.locator("dialog.sheet").is_hidden()


def test_classes_are_one_stop_and_arrows_walk_them(page):
    first = page.locator("#label-editor input[name=class]:checked")
    first.focus()
    seen = [first.input_value()]
    for _ in NAMES[1:]:
        page.keyboard.press("ArrowDown")
        seen.append(page.evaluate("document.activeElement.value"))
    assert sorted(map(int, seen)) == list(range(len(NAMES)))
    last = seen[-1]
    for name in ("lock", "hide"):  # of the chosen class alone
        page.keyboard.press("Tab")
        assert page.evaluate("[document.activeElement.name, document.activeElement.value]") == [name, last]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") not in ("lock", "hide", "class")


def test_the_first_tabs_skip_to_the_parts(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the map"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"
    page.get_by_role("button", name="Skip to Generate").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status .run.idle >> text=Made from")


def test_generate_is_few_tabs_away(page):
    passed = []
    while not passed or passed[-1] != "generate":
        page.keyboard.press("Tab")
        passed.append(page.evaluate("document.activeElement.id"))
        assert len(passed) < 40


def test_what_is_told_of_the_prompt_helps_at_a_click(page):
    choose(page, "hair")
    page.locator("#prompt textarea").fill("a man with a hat")
    page.get_by_role("button", name="Add a hat to the map").click()
    page.wait_for_function(
        "hat => document.querySelector('#label-editor canvas').labelMap().includes(hat)", arg=CLASS_ID["hat"]
    )
    page.wait_for_selector("#prompt-notes button", state="detached")
    before = map_in(page)
    page.locator("#label-editor button[name=undo]").click()
    assert CLASS_ID["hat"] not in map_in(page)
    page.wait_for_selector("#prompt-notes >> text=The prompt names a hat, and the map has none.")
    page.locator("#label-editor button[name=redo]").click()
    assert (map_in(page) == before).all()
    page.locator("#prompt textarea").fill("a man")
    page.get_by_role("button", name="Say “a hat”").click()
    page.wait_for_function("document.querySelector('#prompt textarea').value == 'a man, a hat'")
    choose(page, "eyeglasses")
    stroke(page, (0.3, 0.5), (0.7, 0.5))
    page.wait_for_selector("#prompt-notes >> text=The prompt does not name the glasses of the map.")


def test_targets_are_large_enough_for_fingers(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator("#prompt textarea").fill("a face with a hat")
    generate(page)
    page.wait_for_selector("#prompt-notes button")
    small = page.evaluate(
        """() => Array.from(document.querySelectorAll(":is(button, summary, select, label:has(input))"))
            .filter(one => one.checkVisibility({ visibilityProperty: true }) && !one.closest("footer, .skip"))
            .map(one => [one.outerHTML.slice(0, 120), one.getBoundingClientRect()])
            .filter(([, { width, height }]) => width > 0 && Math.min(width, height) < 31.5)
            .map(([html, { width, height }]) => `${Math.round(width)}x${Math.round(height)} ${html}`)"""
    )
    assert small == []
