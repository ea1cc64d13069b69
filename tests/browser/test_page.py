"""The whole page in a real browser."""

import io
import re
import threading
import time
from contextlib import closing

import gradio_client
import httpx
import numpy as np
import pytest
from PIL import Image

from facemogle.gating import load_gating
from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import CLASS_ID
from facemogle.picture_files import Settings, read_settings, write_picture
from facemogle.templates import template_face
from facemogle.ui import handlers, layout
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.run import Run
from tests.browser.actions import (
    EXAMPLES,
    FACE,
    at,
    choose,
    face_address,
    face_changes,
    file_of,
    generate,
    map_in,
    open_advanced,
    press,
    said,
    set_number,
    show_step,
    stroke,
)


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
    assert len({said(page), show_step(page, 3), show_step(page, 1)}) == 3
    assert len(app.received) == runs  # the slider does not run the model


def test_examples_replace_map_and_prompt(page, app):
    page.locator("#examples button").nth(1).click()
    page.wait_for_function("document.querySelector('#prompt textarea')?.value == 'a face upside down'")
    assert np.array_equal(map_in(page), EXAMPLES[1].label_map)
    stroke(page, (0.1, 0.1), (0.9, 0.9))
    page.locator("#examples button").nth(1).click()
    page.wait_for_function(
        "sum => document.querySelector('#label-editor canvas').labelMap().reduce((a, b) => a + b) == sum",
        arg=int(EXAMPLES[1].label_map.sum()),
    )
    generate(page)
    assert np.array_equal(app.received[-1], EXAMPLES[1].label_map)


def test_generate_waits_for_an_example_that_was_picked_before(page, app, monkeypatch):
    generate(page)
    pick = handlers.pick_example
    monkeypatch.setattr(handlers, "pick_example", lambda *values: time.sleep(1.5) or pick(*values))
    page.locator("#examples button").nth(1).click()
    page.click("#generate")
    page.wait_for_selector("#history button:nth-of-type(2)")
    page.wait_for_selector("#status .run.idle >> text=Made from")
    assert np.array_equal(app.received[-1], EXAMPLES[1].label_map)
    page.wait_for_selector("#history button:nth-of-type(2)[aria-current]")
    assert page.locator("#face img").is_visible()


def test_of_what_is_asked_of_a_slow_server_the_page_shows_the_newest(page, monkeypatch):
    """The views of the second run take longer than those of the first, which are asked for in between."""
    show, answered = handlers.show, []

    def late(provider, parser, visit, *others):
        views = show(provider, parser, visit, *others)
        time.sleep(1.0 if visit.shown == 1 else 0)
        answered.append(visit.shown)
        return views

    monkeypatch.setattr(handlers, "show", late)
    generate(page)
    page.wait_for_selector("#history button")
    answered.clear()
    set_number(page, "seed", 8)
    page.click("#generate")
    page.wait_for_selector("#status .run.idle >> text=seed 8")
    page.wait_for_timeout(200)
    page.locator("#history button").first.click()
    page.wait_for_selector("#status .run.idle >> text=seed 7")
    for _ in range(50):
        page.wait_for_timeout(100)
        if len(answered) == 2:
            break
    page.wait_for_selector("#history button:nth-of-type(2)")
    page.wait_for_timeout(300)  # for what may come after it
    assert page.locator("#history button").first.get_attribute("aria-current") == "true"
    assert read_settings(file_of(page, face_address(page))).seed == 7
    assert answered == [1, 0]


def test_the_last_thing_that_was_asked_is_what_the_page_tells(page, app, monkeypatch):
    """Whatever kind of thing it is, and however long the one before takes."""

    def ask(slow: str, seconds: float, *clicks) -> None:
        answer = getattr(handlers, slow)
        with monkeypatch.context() as patch:
            patch.setattr(handlers, slow, lambda *given: time.sleep(seconds) or answer(*given))
            for click in clicks:
                click()
                page.wait_for_timeout(100)
            page.wait_for_timeout(1000 * seconds + 700)  # until all is answered

    run, example = page.locator("#history button").first, page.locator("#examples button").nth(1)
    chosen, prompt = page.locator("#history button[aria-current]"), page.locator("#prompt textarea")
    generate(page)
    run.wait_for()
    ask("pick_run", 0.8, run.click, example.click)
    page.wait_for_selector("#status >> text=Paint the map")
    for gone in (chosen, page.locator("#face img")):
        gone.wait_for(state="detached")
    assert prompt.input_value() == "a face upside down"
    ask("pick_example", 0.8, example.click, run.click)
    page.wait_for_selector("#status >> text=seed 7")
    chosen.wait_for()
    assert prompt.input_value() == "a face"

    # A run ends while another is being picked: it is shown, and neither is lost.
    monkeypatch.setattr(app, "pace", 0.1)
    set_number(page, "seed", 8)
    ask("pick_run", 1.5, lambda: page.click("#generate"), run.click)
    page.wait_for_selector("#status >> text=seed 8")
    page.wait_for_selector("#history button:nth-of-type(2)[aria-current]")
    assert read_settings(file_of(page, face_address(page))).seed == 8


def test_what_fails_holds_up_nothing_that_is_asked_after_it(browser, app, monkeypatch):
    failed = []

    def fail(*given):
        failed.append(given)
        raise ValueError("a slip")

    with closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(app.url)
        page.wait_for_selector(".checkpoint.ready")
        generate(page)
        page.wait_for_selector("#history button")
        for name in ("pick_run", "show"):
            with monkeypatch.context() as patch:
                patch.setattr(handlers, name, fail)
                page.locator("#history button").first.click()
                page.wait_for_timeout(700)
        assert len(failed) == 2
        page.locator("#examples button").nth(1).click()
        page.wait_for_selector("#face img", state="detached")
        assert page.locator("#status").inner_text().startswith("Paint the map")


def test_what_is_forgotten_while_a_run_goes_on_does_not_come_back(page, app, slow):
    generate(page)
    page.wait_for_selector("#kept-runs >> text=The last run is kept")
    set_number(page, "steps", 12)
    set_number(page, "seed", 5)
    page.click("#generate")
    page.wait_for_selector("#status >> text=/Step [2-9]/")
    page.get_by_role("button", name="Forget them").click()
    page.wait_for_selector("#history button", state="detached")
    page.wait_for_selector("#status .run.idle >> text=seed 5")
    page.wait_for_selector("#history button")
    page.wait_for_selector("#kept-runs >> text=The last run is kept")
    assert page.locator("#history button").count() == 1


def test_known_words_are_clicked_into_the_prompt(page):
    def prompt_becomes(text: str) -> None:
        page.wait_for_function("text => document.querySelector('#prompt textarea')?.value == text", arg=text)

    page.locator("#prompt textarea").fill("a woman")
    page.get_by_text("Words it knows").click()
    assert page.get_by_text("It reads the first 31 words of a prompt.").is_visible()
    page.locator("#words").get_by_text("hair colour").click()
    page.get_by_role("button", name="red hair").click()
    prompt_becomes("a woman, red hair")
    page.get_by_role("button", name="blue hair").click()
    prompt_becomes("a woman, blue hair")
    page.locator("#words").get_by_text("hat", exact=True).click()
    page.get_by_role("button", name="a wide hat").click()
    prompt_becomes("a woman, blue hair, a wide hat")


def test_cancel_leaves_the_page_usable(page, app, slow):
    open_advanced(page)
    set_number(page, "steps", 50)
    for runs in range(2):  # without and with a face from before
        face = page.locator("#face img").get_attribute("src") if runs else None
        assert page.locator("#cancel").is_hidden()
        page.click("#generate")
        page.wait_for_selector("#status >> text=/Step ([4-9]|[1-4][0-9]) /")
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
    first, second, third = open_page(), open_page(), open_page()
    generate(first)  # whose time is the estimate
    open_advanced(first)
    set_number(first, "steps", 50)
    first.click("#generate")
    first.wait_for_selector("#status >> text=Step")
    runs = len(app.received)
    second.click("#generate")
    told = "#status .running >> text=/^Waiting for your turn: {} before you, about [1-9][0-9]* s.$/"
    second.wait_for_selector(told.format(1))
    third.click("#generate")
    third.wait_for_selector(told.format(2))
    second.click("#cancel")
    second.wait_for_selector("#status >> text=Cancelled.")
    third.wait_for_selector(told.format(1))
    third.click("#cancel")
    third.wait_for_selector("#status >> text=Cancelled.")
    second.wait_for_timeout(1500)
    assert second.locator("#status").inner_text() == "Cancelled."
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
    open_advanced(page)
    set_number(page, "steps", "")
    generate(page)  # one step, so that there is no slider over the steps
    assert said(page)


def test_what_no_run_can_be_made_of_is_told_in_the_status(page):
    set_number(page, "num-images", 9)
    page.click("#generate")
    page.wait_for_selector("#status .failed >> text=Pictures must be a whole number from 1 to 8, got 9.")
    set_number(page, "num-images", 1)
    page.evaluate(
        """() => document.dispatchEvent(new CustomEvent("facemogle:steer", {
            detail: Object.fromEntries(Array.from({ length: 20 }, (_, expert) => [expert, 0])) }))"""
    )
    page.click("#generate")
    page.wait_for_selector("#status .failed >> text=All experts are muted")
    assert page.locator(".toast-body").count() == 0


def test_a_picture_that_the_server_does_not_take_is_told_of(browser, app):
    file = io.BytesIO()
    write_picture(file, Image.new("RGB", (8, 8)), Settings("a face", FACE, 5, 4, 1.0, 1.0, 64, 64, None, "tiny"))
    with closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(app.url)
        page.wait_for_selector(".checkpoint.ready")
        page.route(re.compile("component_server"), lambda route: route.abort())
        picture = {"name": "face.png", "mimeType": "image/png", "buffer": file.getvalue()}
        page.locator("#drop input[type=file]").set_input_files(picture)
        page.wait_for_selector("#drop .message.failed >> text=The server does not answer")


def test_two_visitors_do_not_meet(open_page, app):
    first, second = open_page(), open_page()
    press(first, "Clear")
    set_number(first, "seed", 1)
    set_number(second, "seed", 2)
    generate(first, second)
    own = [said(first), show_step(first, 1)]
    assert sorted(label_map.any() for label_map in app.received[-2:]) == [False, True]
    generate(second)
    assert np.array_equal(app.received[-1], EXAMPLES[0].label_map)
    assert said(second) not in own
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


def test_variations_are_shown_one_by_one(page):
    set_number(page, "seed", 20)
    set_number(page, "num-images", 3)
    generate(page)
    page.wait_for_selector("#variations button:nth-of-type(3)")
    shown = []
    for place in (0, 1, 2):
        if place:
            page.locator("#variations button").nth(place).click()
            face_changes(page, shown[-1])
        shown.append(face_address(page))
        assert read_settings(file_of(page, shown[-1])).seed == 20 + place
        page.wait_for_selector(f"#variations button:nth-of-type({place + 1})[aria-current]")
    set_number(page, "num-images", 1)
    generate(page)
    page.wait_for_selector("#variations button", state="detached")


def test_a_seed_that_is_not_kept_is_drawn_anew(page):
    page.get_by_label("Keep seed").uncheck()
    seeds = set()
    for _ in range(2):
        face = page.locator("#face img").get_attribute("src") if seeds else None
        generate(page)
        seeds.add(read_settings(file_of(page, face_changes(page, face))).seed)
    assert len(seeds) == 2
    assert int(page.input_value("#seed input")) in seeds  # the field tells the last one


def test_a_click_on_a_run_of_this_visit_restores_it(page):
    generate(page)
    first, drawn = face_changes(page, None), map_in(page)
    press(page, "Clear")
    page.locator("#prompt textarea").fill("something else")
    set_number(page, "seed", 8)
    generate(page)
    face_changes(page, first)
    page.wait_for_selector("#history button:nth-of-type(2)")
    page.locator("#history button").nth(0).click()
    page.wait_for_function("face => document.querySelector('#face img').src == face", arg=first)
    page.wait_for_function("document.querySelector('#seed input').value == '7'")
    assert np.array_equal(map_in(page), drawn)
    assert page.input_value("#prompt textarea") == "a face"


def test_a_dropped_picture_restores_what_made_it(open_page):
    page, other = open_page(), open_page()
    choose(page, "hat")
    stroke(page, (0.3, 0.1), (0.7, 0.2))
    page.locator("#prompt textarea").fill("a face of its own")
    set_number(page, "seed", 12345)
    open_advanced(page)
    set_number(page, "steps", 3)
    set_number(page, "guidance", 2.5)
    set_number(page, "condition-scale", 0.65)
    generate(page)
    picture = file_of(page, face_changes(page, None))
    other.locator("#drop input[type=file]").set_input_files(
        {"name": "face.png", "mimeType": "image/png", "buffer": picture.getvalue()}
    )
    other.wait_for_selector("#status >> text=Settings restored")
    other.wait_for_function("document.querySelector('#prompt textarea')?.value == 'a face of its own'")
    assert np.array_equal(map_in(other), map_in(page))
    generate(other)
    again = file_of(other, face_changes(other, None))
    assert again.getvalue() == picture.getvalue()  # the same picture, with the same settings in it


def test_a_slider_shows_and_runs_what_a_picture_says_beyond_its_end(page):
    file = io.BytesIO()
    write_picture(file, Image.new("RGB", (8, 8)), Settings("a face", FACE, 5, 60, 12.345, 2.625, 64, 64, None, "tiny"))
    page.locator("#drop input[type=file]").set_input_files(
        {"name": "face.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    page.wait_for_selector("#status >> text=Settings restored")
    open_advanced(page)
    for name, value in (("steps", "60"), ("guidance", "12.345"), ("condition-scale", "2.625")):
        field = page.locator(f"#{name} input[type=number]")
        page.wait_for_selector(f"#{name} input[type=range][max='{value}']")
        field.focus()
        field.blur()  # where it would be brought back within its ends
        assert field.input_value() == page.locator(f"#{name} input[type=range]").get_attribute("max") == value
    generate(page)
    made = read_settings(file_of(page, face_changes(page, None)))
    assert (made.num_inference_steps, made.guidance_scale, made.condition_scale) == (60, 12.345, 2.625)


def test_a_reload_loses_no_setting(page):
    page.locator("#prompt textarea").fill("in my own words")
    set_number(page, "seed", 99)
    set_number(page, "num-images", 2)
    open_advanced(page)
    page.wait_for_function("document.querySelector('#steps input[type=number]')?.value == '4'")  # the checkpoint's own
    set_number(page, "steps", 3)
    set_number(page, "condition-scale", 0.65)
    page.get_by_role("button", name="Advanced").click()  # it lies over the experts
    page.get_by_role("tab", name="Experts").click()
    page.locator("#expert-scales summary").click()
    page.get_by_role("slider", name="nose", exact=True).fill("2")
    page.reload()
    page.wait_for_selector(".checkpoint.ready")
    page.wait_for_function("document.querySelector('#prompt textarea')?.value == 'in my own words'")
    generate(page)
    made = read_settings(file_of(page, face_changes(page, None)))
    assert (made.prompt, made.seed, made.num_inference_steps) == ("in my own words", 99, 3)
    assert (made.condition_scale, made.expert_scale) == (0.65, {"nose": 2.0})
    page.wait_for_selector("#variations button:nth-of-type(2)")
    page.evaluate("Object.keys(localStorage).forEach(key => localStorage.setItem(key, '[\"forged\", -1]'))")
    page.reload()
    page.wait_for_function("document.querySelector('#prompt textarea')?.value == 'a face'")
    page.wait_for_selector(".checkpoint.ready")  # a page that closes earlier breaks its requests off


def test_what_is_set_while_the_weights_load_stays(browser, pipeline):
    loaded = threading.Event()
    provider = PipelineProvider("slow", lambda: loaded.wait(60) and pipeline, checkpoint="slow")
    blocks = layout.build(provider, EXAMPLES)
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    with closing(blocks), closing(browser.new_context()) as one, closing(browser.new_context()) as other:
        pages = [one.new_page(), other.new_page()]
        for page, steps in zip(pages, (9, None), strict=True):
            page.goto(url)
            page.wait_for_selector(".checkpoint.loading")
            open_advanced(page)
            if steps:
                set_number(page, "steps", steps)
        loaded.set()
        for page, steps in zip(pages, ("9", str(pipeline.config.num_inference_steps)), strict=True):
            page.wait_for_selector(".checkpoint.ready")
            page.wait_for_timeout(1500)
            assert page.locator("#steps input[type=number]").input_value() == steps


def test_live_answers_every_stroke_and_the_last_one_wins(page, app):
    page.get_by_label("Live").check()
    last = None
    for x in (0.3, 0.5):
        stroke(page, (x, 0.2), (x, 0.6))
        last = face_changes(page, last)
    page.wait_for_selector("#status >> text=Live: 3 of 4 steps")
    for x in (0.1, 0.2, 0.8, 0.9):
        stroke(page, (x, 0.2), (x, 0.6))
    face_changes(page, last)
    page.wait_for_function("!document.querySelector('#status .running')")
    generate(page)
    assert np.array_equal(app.received[-1], map_in(page))
    page.get_by_label("Live").uncheck()
    face = face_address(page)
    stroke(page, (0.1, 0.9), (0.9, 0.9))
    page.wait_for_timeout(1500)
    assert face_address(page) == face


def test_a_live_face_gives_way_to_a_picture_that_is_picked_after_its_stroke(page, monkeypatch):
    stream, drawn = handlers.stream, []

    def late(*arguments, **options):
        try:
            for event in stream(*arguments, **options):
                time.sleep(1.0 if isinstance(event, Run) else 0)
                yield event
        finally:
            drawn.append(True)

    generate(page)
    picked = face_address(page)
    page.wait_for_selector("#history button")
    monkeypatch.setattr(handlers, "stream", late)
    page.get_by_label("Live").check()
    stroke(page, (0.3, 0.2), (0.3, 0.6))
    page.wait_for_timeout(500)
    page.locator("#history button").first.click()
    page.wait_for_function("!document.querySelector('#status .running')")
    for _ in range(50):
        page.wait_for_timeout(100)
        if drawn:
            break
    page.wait_for_timeout(300)  # for what may come after it
    assert drawn and face_address(page) == picked
    page.get_by_label("Live").uncheck()


def test_the_result_is_compared_with_the_run_before_and_with_the_map(page):
    generate(page)
    page.get_by_role("tab", name="Map check").click()
    page.wait_for_selector("#fidelity table", state="visible")
    page.get_by_role("tab", name="Before, after").click()
    empty = page.locator("#comparison .empty")
    assert empty.is_visible()
    assert "a second time" in empty.evaluate("empty => getComputedStyle(empty, '::after').content")
    set_number(page, "seed", 9)
    generate(page)
    page.wait_for_selector("#comparison img >> nth=1")
    assert page.locator("#against").is_hidden()  # there is no photo to compare with
    sources = page.eval_on_selector_all("#comparison img", "images => images.map(image => image.src)")
    assert len(set(sources)) == 2


def test_a_prompt_of_any_length_is_served(page):
    page.locator("#prompt textarea").fill("freckles " * 1200)
    generate(page)
    assert "Only the first" in page.locator("#status").inner_text()


@pytest.fixture
def client(app) -> gradio_client.Client:
    return gradio_client.Client(app.url, verbose=False)


def test_programs_generate_parse_and_look_into_the_experts(app, client, tmp_path):
    face = template_face(size=32)
    write_label_map(tmp_path / "map.png", face)
    picture, gating = client.predict(
        gradio_client.handle_file(tmp_path / "map.png"), "", 3, 2, None, 1, {"hair": 0}, api_name="/generate"
    )
    assert np.array_equal(app.received[-1], face)
    settings = read_settings(picture)
    assert (settings.seed, settings.num_inference_steps, settings.expert_scale) == (3, 2, {"hair": 0})
    record = load_gating(gating)
    assert len(record.weights) == 2
    assert record.expert_map("hair").max() == 0
    figure = client.predict(gradio_client.handle_file(gating), 1, api_name="/gating")
    assert Image.open(figure).width == 900
    label_map = read_label_map(client.predict(gradio_client.handle_file(picture), api_name="/parse")).label_map
    assert label_map.shape == (64, 64)
    text_only, _ = client.predict(None, "a face", 3, 1, None, 1, None, api_name="/generate")
    assert read_settings(text_only).label_map is None


def test_programs_are_told_what_is_wrong(client, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    broken = gradio_client.handle_file(tmp_path / "text.png")
    for reason, arguments in {
        "cannot be read|not a picture": ((broken, "", 3, 1, None, 1, None), "/generate"),
        "Seed must be": ((None, "", -1, 1, None, 1, None), "/generate"),
        "no picture that can be read": ((broken,), "/parse"),
        "not a gating record": ((broken, None), "/gating"),
    }.items():
        with pytest.raises(gradio_client.exceptions.AppError, match=reason):
            client.predict(*arguments[0], api_name=arguments[1])
    assert client.predict(None, "", 3, 1, None, 1, None, api_name="/generate")


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        ({"height": 8, "width": 8, "runs": [0, 10**12]}, "cover 8x8 pixels exactly"),
        ({"height": 8, "width": 8, "runs": [19, 64]}, "Class ids are 0"),
        ({"height": 2**20, "width": 2**20, "runs": [0, 2**40]}, "sides from 1 to"),
        ("a map", "A label map must be"),
    ],
)
def test_a_label_map_written_by_hand_is_refused(page, app, forged, reason):
    answer = ask(page, app, forged)
    assert reason in answer
    generate(page)


def test_a_request_of_any_size_leaves_the_server_serving(page, app):
    # The browser's own request would carry so much through pipes for two minutes.
    response = httpx.post(
        f"{app.url}gradio_api/queue/join",
        content=b"[" + b"0," * 40_000_000 + b"0]",
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 413
    assert "at most 64 MB" in response.text
    generate(page)


def ask(page, app, label_map) -> str:
    """What the server says to a request for a face that no page sent."""
    function, *_ = (fn for fn in app.blocks.fns.values() if fn.concurrency_id == "model" and fn.api_name != "generate")
    data = [None, label_map, "", 3, 1, 1, 3.5, 1, None, False, 1, None, None]
    job = {"data": data, "fn_index": function._id, "session_hash": "forged"}
    response = page.request.post(f"{app.url}gradio_api/queue/join", data=job)
    assert response.ok
    return page.request.get(f"{app.url}gradio_api/queue/data?session_hash=forged").text()


def test_what_each_expert_does(page):
    generate(page)
    page.get_by_role("tab", name="Experts").click()
    page.locator("#without-begin").click()
    page.wait_for_selector("#without-tiles figure >> nth=3", timeout=60_000)
    caption = page.locator("#without-tiles figcaption").first.inner_text()
    assert re.match(r"without [\w ]+\n[\d.]+% of the picture", caption)
    page.locator("#without-stop").click()
    page.wait_for_selector("#status >> text=Stopped.")
    page.wait_for_selector("#without-stop", state="hidden")
    assert page.locator("#without-begin").is_enabled()
    generate(page)
    page.wait_for_selector("#without-tiles figure", state="detached")  # they were of another face
