"""The whole page in a real browser."""

from pathlib import Path

import gradio_client
import numpy as np
import pytest
from actions import EXAMPLES, at, choose, expert_pictures, generate, map_in, press, set_number, show_step, stroke

from facemogle.labels import CLASS_ID
from facemogle.ui.label_editor import encode
from facemogle.ui.templates import template_face


def test_a_stroke_reaches_python_and_gives_a_face_and_its_gating(page, app):
    before = map_in(page)
    choose(page, "hat")
    stroke(page, (0.2, 0.1), (0.7, 0.15), (1.3, 0.15))  # released outside the canvas
    generate(page)
    painted = map_in(page)
    assert np.array_equal(app.received[-1], painted)
    assert (before != painted).any()
    assert set(painted[before != painted]) == {CLASS_ID["hat"]}
    assert painted[19, 127] == CLASS_ID["hat"]

    page.wait_for_selector("#face img")
    assert page.eval_on_selector("#face img", "img => [img.naturalWidth, img.naturalHeight]") == [64, 64]
    runs = len(app.received)
    assert len({expert_pictures(page), show_step(page, 3), show_step(page, 1)}) == 3
    assert len(app.received) == runs  # the slider does not run the model


def test_examples_replace_map_and_prompt(page, app):
    page.locator("#examples button").nth(1).click()
    page.wait_for_function("document.querySelector('#prompt textarea').value == 'a face upside down'")
    assert np.array_equal(map_in(page), EXAMPLES[1].label_map)
    stroke(page, (0.1, 0.1), (0.9, 0.9))
    page.locator("#examples button").nth(1).click()
    page.wait_for_function(
        "sum => document.querySelector('#label-editor canvas').labelMap().reduce((a, b) => a + b) == sum",
        arg=int(EXAMPLES[1].label_map.sum()),
    )
    generate(page)
    assert np.array_equal(app.received[-1], EXAMPLES[1].label_map)


def test_known_words_are_clicked_into_the_prompt(page):
    def prompt_becomes(text: str) -> None:
        page.wait_for_function("text => document.querySelector('#prompt textarea').value == text", arg=text)

    page.locator("#prompt textarea").fill("a woman")
    page.get_by_text("Words it knows").click()
    page.locator("#words").get_by_text("hair colour").click()
    page.get_by_role("button", name="red hair").click()
    prompt_becomes("a woman, red hair")
    page.get_by_role("button", name="blue hair").click()
    prompt_becomes("a woman, blue hair")
    page.locator("#words").get_by_text("hat", exact=True).click()
    page.get_by_role("button", name="a wide hat").click()
    prompt_becomes("a woman, blue hair, a wide hat")


def test_cancel_leaves_the_page_usable(page, app, slow):
    set_number(page, "steps", 50)
    for runs in range(2):  # without and with a face from before
        face = page.locator("#face img").get_attribute("src") if runs else None
        assert page.locator("#cancel").is_hidden()
        page.click("#generate")
        page.wait_for_selector("#status >> text=Step 4")
        page.click("#cancel")
        page.wait_for_selector("#status >> text=Cancelled.")
        assert page.locator("#cancel").is_hidden()
        assert page.locator(".toast-body").count() == 0
        if not runs:
            page.wait_for_selector("#face img", state="detached")
            set_number(page, "steps", 2)
            generate(page)
            set_number(page, "steps", 50)
        else:
            page.wait_for_function("face => document.querySelector('#face img')?.src == face", arg=face)


def test_who_waits_is_told_and_may_cancel(open_page, app, slow):
    first, second = open_page(), open_page()
    set_number(first, "steps", 50)
    first.click("#generate")
    first.wait_for_selector("#status >> text=Step")
    runs = len(app.received)
    second.click("#generate")
    second.wait_for_selector("#status .running >> text=Waiting for your turn")
    second.click("#cancel")
    second.wait_for_selector("#status >> text=Cancelled.")
    first.click("#cancel")
    first.wait_for_selector("#status >> text=Cancelled.")
    app.pace = 0
    generate(first)
    assert len(app.received) == runs + 1


def test_a_refused_request_does_not_wait_for_ever(browser, app, monkeypatch):
    page = browser.new_page()  # not open_page: the refusal is an error on the console
    page.goto(app.url)
    page.wait_for_selector(".checkpoint.ready")
    with monkeypatch.context() as full:
        full.setattr(app.blocks._queue, "max_size", 0)
        page.click("#generate")
        page.wait_for_selector("#status .failed >> text=Not started.")
    generate(page)
    page.close()


def test_a_missing_seed_is_explained(page):
    set_number(page, "seed", "")
    page.click("#generate")
    page.wait_for_selector("#status .failed >> text=Seed must be a whole number")
    page.click("#dice")
    page.wait_for_function("document.querySelector('#seed input').value")
    set_number(page, "steps", "")
    generate(page)  # one step, so that there is no slider over the steps
    page.wait_for_selector("#experts figure:nth-of-type(20)")


def test_two_visitors_do_not_meet(open_page, app):
    first, second = open_page(), open_page()
    press(first, "Clear")
    set_number(first, "seed", 1)
    set_number(second, "seed", 2)
    generate(first)
    own = [expert_pictures(first), show_step(first, 1)]
    generate(second)
    assert np.array_equal(app.received[-1], EXAMPLES[0].label_map)
    assert expert_pictures(second) not in own
    assert show_step(first, 4) == own[0]
    assert show_step(first, 1) == own[1]


def test_a_phone_paints_by_touch_and_nothing_overflows(open_page):
    page = open_page(viewport={"width": 360, "height": 780}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    before = map_in(page)
    page.locator("#label-editor canvas").scroll_into_view_if_needed()
    page.touchscreen.tap(*at(page, 0.5, 0.5))
    assert set(map_in(page)[map_in(page) != before]) == {CLASS_ID["hair"]}


def test_every_control_has_a_name(page):
    unnamed = page.evaluate(
        """() => Array.from(document.querySelectorAll('.gradio-container :is(button, input, textarea, canvas)'))
            .filter(e => e.offsetParent && !e.ariaLabel && !e.labels?.length && !e.textContent.trim() && !e.title
                         && !e.querySelector('img[alt]'))
            .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []


def test_the_api_takes_label_maps_and_survives_forged_ones(app):
    client = gradio_client.Client(app.url, verbose=False)
    with pytest.raises(gradio_client.exceptions.AppError, match="cover 8x8 pixels exactly"):
        client.predict({"height": 8, "width": 8, "runs": [0, 10**12]}, "", 3, 1, api_name="/generate")
    face = template_face(size=32)
    picture, status = client.predict(encode(face), "", 3, 1, api_name="/generate")
    assert np.array_equal(app.received[-1], face)
    assert Path(picture).suffix == ".png"
    assert "the map alone" in status
