"""What is on the first screen, on desks and on a phone, in a real browser."""

import pytest

from facemogle.labels import CLASS_ID
from tests.browser.actions import (
    at,
    choose,
    face_address,
    face_changes,
    generate,
    map_in,
    open_advanced,
    set_number,
    stroke,
)

DESKS = [(1440, 900), (1366, 768), (1024, 768)]
PHONE = (390, 844)
MAIN = ("#prompt textarea", "#generate", "#label-editor canvas")


def box(page, selector: str) -> tuple[float, float, float, float]:
    """left, top, right, bottom in the window."""
    left, top, width, height = page.locator(selector).first.bounding_box().values()
    return left, top, left + width, top + height


def on_screen(page, *selectors: str) -> None:
    assert page.evaluate("[scrollX, scrollY]") == [0, 0]
    window = page.viewport_size
    for selector in selectors:
        left, top, right, bottom = box(page, selector)
        assert min(left, top) >= 0 and right <= window["width"] and bottom <= window["height"], (selector, bottom)


@pytest.mark.parametrize("size", DESKS, ids=str)
def test_a_desk_shows_map_and_picture_side_by_side_and_all_that_a_run_needs(open_page, size):
    page = open_page(viewport=dict(zip(("width", "height"), size, strict=True)))
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    on_screen(page, *MAIN, "#face", "#status", "#examples button", "#label-editor .class:last-child")
    before = map_in(page)
    choose(page, "hat")
    stroke(page, (0.3, 0.1), (0.7, 0.1))
    page.locator("#prompt textarea").fill("a face with a hat")
    generate(page)
    page.wait_for_selector("#face img")
    on_screen(page, *MAIN, "#face img", "#history button")
    assert set(map_in(page)[map_in(page) != before]) == {CLASS_ID["hat"]}
    (left, top, right, bottom), picture = box(page, "#label-editor canvas"), box(page, "#face img")
    assert (top, bottom) == pytest.approx(picture[1::2], abs=1)  # side by side, equal, close to each other
    assert right - left == pytest.approx(picture[2] - picture[0], abs=1) and 0 < picture[0] - right < 20
    assert right - left > 0.37 * size[0] or right - left > 0.6 * size[1]


@pytest.mark.parametrize("size", [*DESKS, PHONE], ids=str)
def test_nothing_jumps_when_a_run_begins_and_ends(open_page, size):
    page = open_page(viewport=dict(zip(("width", "height"), size, strict=True)))
    fixed = [*MAIN, "#face", "#seed", "#label-editor .class:last-child", "#examples button"]
    places = [box(page, each) for each in fixed]
    generate(page)
    page.wait_for_selector("#label-editor .backdrop:not([hidden])")  # and with it map opacity, and change only
    for each, place in zip(fixed, places, strict=True):
        assert box(page, each) == pytest.approx(place, abs=1), each


def test_a_phone_paints_generates_and_swaps_by_touch(open_page):
    page = open_page(viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    on_screen(page, *MAIN, "#face", "#live", "#label-editor .class:has([name=class]:checked)")
    width = box(page, "#label-editor canvas")[2] - box(page, "#label-editor canvas")[0]
    assert width > 0.9 * PHONE[0]
    page.locator("#label-editor .class").filter(has=page.get_by_text("skin", exact=True)).tap()
    before = map_in(page)
    page.touchscreen.tap(*at(page, 0.05, 0.05))
    assert set(map_in(page)[map_in(page) != before]) == {CLASS_ID["skin"]}
    page.locator("#generate").tap()
    page.wait_for_selector("#status >> text=Made from", timeout=60_000)
    on_screen(page, *MAIN, "#face img")
    page.locator("#exchange").tap()
    page.wait_for_function("document.querySelector('#face img').getBoundingClientRect().width > 340")
    on_screen(page, "#face img", "#generate", "#label-editor canvas")
    assert box(page, "#label-editor canvas")[2] - box(page, "#label-editor canvas")[0] < 130
    page.locator("#exchange").tap()
    page.wait_for_function("document.querySelector('#label-editor canvas').getBoundingClientRect().width > 340")
    small = box(page, "#face img")
    assert small[2] - small[0] < 130 and small[1] >= box(page, "#label-editor canvas")[3]  # covers nothing of the map
    last = face_address(page)
    page.get_by_label("Live").check()
    page.touchscreen.tap(*at(page, 0.5, 0.1))
    face_changes(page, last)
    on_screen(page, "#face img", "#label-editor canvas")


@pytest.mark.parametrize("width", [360, 320])
def test_nothing_of_a_narrow_phone_sticks_out_or_scrolls_sideways(open_page, width):
    page = open_page(viewport={"width": width, "height": 780}, has_touch=True, is_mobile=True)
    generate(page)
    for tab in (None, "Face", "Before, after", "Map check", "Experts"):
        if tab == "Face":
            page.locator("#exchange").tap()
        if tab:
            page.get_by_role("tab", name=tab).tap()
        # But for the rows of classes and of small pictures, which a finger moves.
        astray = page.evaluate(
            """() => Array.from(document.querySelectorAll("body *"))
                .filter(one => one.checkVisibility() && !one.closest(".classes, .strip, #keys, [hidden], svg"))
                .filter(one => {
                    const { left, right, width } = one.getBoundingClientRect();
                    const scrolls = ["auto", "scroll"].includes(getComputedStyle(one).overflowX);
                    return (width > 1 && (left < 0 || right > innerWidth + 0.5))
                        || (scrolls && one.scrollWidth > one.clientWidth + 1);
                })
                .map(one => one.outerHTML.slice(0, 120))"""
        )
        assert astray == [], tab


def test_many_examples_leave_room_for_the_last_two_runs(open_page):
    page = open_page(viewport={"width": 1024, "height": 768})
    page.eval_on_selector(
        "#examples [role=group]", "row => { for (let i = 0; i < 12; i++) row.append(row.children[0].cloneNode(true)); }"
    )
    for seed in (1, 2, 3):
        set_number(page, "seed", seed)
        generate(page)
        page.wait_for_selector(f"#history button:nth-of-type({seed})[aria-current]")
    page.wait_for_timeout(300)
    left, _, right, _ = box(page, "#history")
    for number in (2, 3):
        run = box(page, f"#history button:nth-of-type({number})")
        assert left <= run[0] and run[2] <= right


@pytest.mark.parametrize("size", [*DESKS, PHONE], ids=str)
def test_an_expert_is_seen_whole_in_its_tab(open_page, size):
    page = open_page(viewport=dict(zip(("width", "height"), size, strict=True)))
    generate(page)
    if size == PHONE:
        page.locator("#exchange").click()
    page.get_by_role("tab", name="Experts").click()
    page.wait_for_selector("#gating .card:nth-of-type(20) b:not(:empty)")
    page.locator("#gating .card").nth(2).click()
    panel = box(page, "#result [role=tabpanel]:has(#gating)")
    for part in (".named", ".picture"):
        assert box(page, f"#gating .large {part}")[3] <= panel[3] + 1
    heights = page.locator("#gating .named button").evaluate_all("all => all.map(one => one.offsetHeight)")
    assert len(set(heights)) == 1  # none takes two lines


def test_before_a_face_there_is_a_sample_and_an_example_starts_afresh(page):
    generate(page)
    page.wait_for_selector("#label-editor .backdrop:not([hidden])")
    page.locator("#examples button").nth(1).click()
    page.wait_for_selector("#label-editor .backdrop", state="hidden")  # the face belongs to another map
    page.wait_for_selector("#face img", state="detached")
    assert "Made from" not in page.locator("#status").inner_text()
    assert page.locator("#history button").count() == 1 and page.locator("#history [aria-current]").count() == 0


def test_seed_and_status_belong_to_the_picture_that_is_shown(page):
    set_number(page, "seed", 20)
    set_number(page, "num-images", 2)
    generate(page)
    page.locator("#variations button").nth(1).click()
    page.wait_for_function("document.querySelector('#seed input').value == '21'")
    page.wait_for_selector("#status >> text=seed 21")
    set_number(page, "num-images", 1)
    set_number(page, "seed", 5)
    generate(page)
    page.wait_for_selector("#status >> text=seed 5")
    page.wait_for_selector("#history button:nth-of-type(2)")
    page.locator("#history button").nth(0).click()
    page.wait_for_selector("#status >> text=seed 20")


def test_what_was_said_ends_with_the_next_step(page):
    message = page.locator("#label-editor .message")
    file = {"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.set_input_files("#label-editor input[name=file]", file)
    page.wait_for_selector("#label-editor .message.failed >> text=Not opened")
    stroke(page, (0.2, 0.2), (0.4, 0.2))
    assert message.inner_text() == ""
    page.reload()
    page.wait_for_selector("#label-editor .message >> text=Your last drawing is back")
    page.wait_for_selector(".checkpoint.ready")
    generate(page)
    page.wait_for_selector("#label-editor .message", state="hidden")


def test_an_expert_picks_its_class_and_is_steered_beside_the_map(page):
    generate(page)
    page.get_by_role("tab", name="Experts").click()
    page.wait_for_selector("#gating .card:nth-of-type(20) b:not(:empty)")
    hair = page.locator("#gating .card").nth(CLASS_ID["hair"] + 1)
    choose(page, "skin")
    hair.click()
    assert page.locator("#label-editor [name=class]:checked").input_value() == str(CLASS_ID["hair"])
    page.wait_for_function("document.querySelector('#label-editor .marks .picked').getAttribute('d')")
    large = box(page, "#gating .large .picture")
    assert large[2] - large[0] > 0.7 * (box(page, "#label-editor canvas")[2] - box(page, "#label-editor canvas")[0])
    on_screen(page, "#gating .large .picture", "#gating .steer")
    steer = page.locator("#gating .steer")
    counted = page.locator("#expert-scales .count")
    for name, changed in {"Mute": "1 changed", "Double": "1 changed", "Solo": "19 changed"}.items():
        steer.get_by_role("button", name=name).click()
        page.wait_for_selector(f"#gating .steer [aria-pressed=true] >> text={name}")
        assert counted.text_content() == changed
    steer.get_by_role("button", name="Solo").click()
    page.wait_for_selector("#gating .steer [aria-pressed=true]", state="detached")
    steer.get_by_role("button", name="Mute").click()
    stroke(page, (0.1, 0.1), (0.2, 0.1))
    page.wait_for_function("!document.querySelector('#label-editor .marks .picked').getAttribute('d')")
    generate(page)
    page.wait_for_selector("#gating select option:nth-of-type(2)", state="attached")
    assert page.locator("#gating select option").nth(1).inner_text() == "1: not steered, map 1"
    page.locator("#gating .choice").get_by_text("Over the steps").click()
    page.wait_for_selector("#gating .cells figure:nth-of-type(15) b >> text=silent")
    assert "NaN" not in page.locator("#gating").inner_text()


def test_advanced_opens_over_the_picture_and_moves_nothing(page):
    fixed = ("#seed", "#generate", "#advanced > button", "#examples button")
    places = [box(page, each) for each in fixed]
    open_advanced(page)
    assert [box(page, each) for each in fixed] == places
    assert box(page, "#steps")[3] <= box(page, "#generate")[1]


LAYERS = {  # what opens it -> what then lies over the page
    "#advanced > button": "#steps",
    "#words summary": "#words .listed",
    ".checkpoint summary": ".checkpoint .about",
    "#label-editor .menu summary": "#label-editor .menu [role=group]",
}


@pytest.mark.parametrize("opener", LAYERS)
def test_what_opens_over_the_page_shuts_by_escape_and_by_a_press_elsewhere(page, opener):
    opener, layer = page.locator(opener).first, page.locator(LAYERS[opener]).first
    assert layer.is_hidden()
    opener.click()
    layer.locator("button, input, p").first.focus()
    layer.click(position={"x": 3, "y": 3})
    assert layer.is_visible()
    page.keyboard.press("Escape")
    layer.wait_for(state="hidden")
    assert opener.evaluate("one => one === document.activeElement")
    opener.click()
    layer.wait_for()
    page.locator("#prompt textarea").click()
    layer.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    opener.click()
    layer.wait_for()
    opener.click()
    layer.wait_for(state="hidden")


def test_the_experts_hold_the_runs_that_were_made_before_they_were_looked_at(page):
    generate(page)
    page.fill("#prompt textarea", "a man with blue hair")
    generate(page)
    assert page.get_by_role("tab", name="Face").get_attribute("aria-selected") == "true"
    page.get_by_role("tab", name="Experts").click()
    page.wait_for_function("document.querySelectorAll('#gating select[name=other] option').length === 2")
    assert page.locator("#gating .compare").is_visible()


def test_what_opens_below_the_comparison_comes_into_view(page):
    generate(page)
    page.get_by_role("tab", name="Before, after").click()
    page.get_by_text("The way from another face").click()
    page.wait_for_function(
        """() => {
            const button = document.querySelector("#way-begin"), box = button.getBoundingClientRect();
            return button.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
        }"""
    )
