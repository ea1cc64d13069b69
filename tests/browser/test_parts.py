"""Parts of the page in a real browser, on a page of their own: sliders of the experts, the drop, the fidelity."""

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from facemogle.gating import EXPERTS
from facemogle.labels import CLASS_ID
from facemogle.picture_files import Settings, write_picture
from facemogle.templates import template_face
from facemogle.ui.expert_scales.component import ExpertScales
from facemogle.ui.fidelity.view import fidelity, fidelity_view, no_parser
from facemogle.ui.picture_drop.component import MAX_FILE_BYTES, PictureDrop
from tests.browser.actions import shut

FACE = template_face(size=128)
SETTINGS = Settings(
    prompt="a woman 頭",
    label_map=template_face("hat", size=300),
    seed=2**53 - 1,  # the largest that JavaScript keeps exactly
    num_inference_steps=12,
    guidance_scale=0.1 + 0.2,
    condition_scale=1 / 3,
    height=48,
    width=64,
    expert_scale={"hair": 0.0, "global": 4.3},
    checkpoint="mini",
)

# As the browser would: an event of a drag carries its files, and bubbles up from what lies under the pointer.
DRAG = """([name, target, file, fileName]) => {
    const transfer = new DataTransfer();
    if (file === null) transfer.setData("text/plain", "a word");
    else {
        const contents = Uint8Array.from(atob(file), letter => letter.charCodeAt(0));
        transfer.items.add(new File([contents], fileName, {type: "image/png"}));
    }
    const event = new DragEvent(name, {bubbles: true, cancelable: true, dataTransfer: transfer});
    document.querySelector(target).dispatchEvent(event);
    return event.defaultPrevented;
}"""


@pytest.fixture(scope="module")
def parts() -> Iterator[SimpleNamespace]:
    """`restored` and `sent` are what reached Python: settings of pictures, factors at a click on Send."""
    parts = SimpleNamespace(restored=[], sent=[])

    def restore(settings):
        parts.restored.append(settings)
        return settings.prompt, settings.expert_scale

    with gr.Blocks(analytics_enabled=False) as blocks:
        prompt = gr.Textbox(label="Prompt", elem_id="prompt")
        with gr.Row():
            with gr.Column() as place:
                drop = PictureDrop(elem_id="drop")
            scales = ExpertScales(elem_id="scales")
        wide = ExpertScales({"hat": 1.3}, elem_id="wide")
        send, mute = gr.Button("Send"), gr.Button("Mute all")
        hide, back = gr.Button("Hide"), gr.Button("Show again")
        view = fidelity_view(elem_id="fidelity")
        drop.restore(restore, drop, [prompt, scales])
        send.click(parts.sent.append, scales)
        mute.click(lambda: dict.fromkeys(EXPERTS, 0), None, wide)
        hide.click(lambda: gr.update(visible=False), None, place)
        back.click(lambda: gr.update(visible=True), None, place)
        read = FACE.copy()
        read[read == CLASS_ID["hair"]] = CLASS_ID["hat"]
        blocks.load(lambda: fidelity(Image.effect_noise((64, 64), 60), FACE, read), None, view)
    _, parts.url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield parts
    shut(blocks)


@pytest.fixture
def open_parts(browser, parts) -> Iterator:
    """As open_page, on the page of parts."""
    problems: list[str] = []
    contexts = []

    def open_parts(**options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(parts.url)
        page.wait_for_selector("#fidelity table", timeout=30_000)
        return page

    parts.restored.clear()
    parts.sent.clear()
    yield open_parts
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_parts):
    return open_parts(viewport={"width": 1440, "height": 1000})


def png(settings: Settings | None) -> bytes:
    file, image = io.BytesIO(), Image.effect_noise((64, 48), 60).convert("RGB")
    if settings is None:
        image.save(file, format="PNG")
    else:
        write_picture(file, image, settings)
    return file.getvalue()


def drag(page, event: str, contents: bytes | None, *, target: str = "body", name: str = "face.png") -> bool:
    """Dispatch an event of a drag; without contents it drags text. -> Whether the page took it."""
    file = None if contents is None else base64.b64encode(contents).decode()
    return page.evaluate(DRAG, [event, target, file, name])


def choose(page, contents: bytes, *, name: str = "face.png") -> None:
    page.set_input_files("#drop input", {"name": name, "mimeType": "image/png", "buffer": contents})


def prompt_becomes(page, text: str) -> None:
    page.wait_for_function("text => document.querySelector('#prompt textarea').value == text", arg=text)


def same(one: Settings, other: Settings) -> bool:
    maps = one.label_map, other.label_map
    alike = vars(one) | {"label_map": None} == vars(other) | {"label_map": None}
    return alike and maps[0].dtype == maps[1].dtype and np.array_equal(*maps)


def test_a_picture_dropped_anywhere_restores_its_settings_exactly(page, parts):
    hint = page.locator("#drop .hint")
    assert hint.is_hidden()
    assert drag(page, "dragover", png(SETTINGS), target="#prompt textarea")
    assert hint.bounding_box() == {"x": 0, "y": 0, "width": 1440, "height": 1000}
    assert drag(page, "drop", png(SETTINGS), target="#prompt textarea")
    assert hint.is_hidden()
    prompt_becomes(page, SETTINGS.prompt)
    assert len(parts.restored) == 1 and same(parts.restored[0], SETTINGS)
    assert "Settings from face.png" in page.locator("#drop [role=status]").inner_text()
    page.wait_for_selector("#scales .count >> text=2 changed")


def test_chosen_pictures_restore_one_after_the_other(page, parts):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Photo").click()
    assert not chooser.value.is_multiple()
    for turn in range(3):
        choose(page, png(replace(SETTINGS, prompt=f"turn {turn % 2}", seed=turn)))  # the last as the first
        prompt_becomes(page, f"turn {turn % 2}")
    assert [settings.seed for settings in parts.restored] == [0, 1, 2]
    choose(page, png(replace(SETTINGS, prompt="without", label_map=None, expert_scale=None)))
    prompt_becomes(page, "without")
    assert parts.restored[-1].label_map is None and parts.restored[-1].expert_scale is None
    page.wait_for_function("!document.querySelector('#scales .count').textContent")


REFUSED = {
    "text": (b"a text file named .png", "notes.png is not a picture that can be read."),
    "truncated": (png(SETTINGS)[:500], "notes.png cannot be read as a picture"),
    "plain": (png(None), "Open in the label editor loads label maps."),
    "empty": (b"", "notes.png is not a picture that can be read."),
}


@pytest.mark.parametrize("way", ["chosen", "dropped"])
@pytest.mark.parametrize(("contents", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_settings_is_explained_and_the_page_lives(page, parts, contents, message, way):
    if way == "chosen":
        choose(page, contents, name="notes.png")
    else:
        drag(page, "drop", contents, name="notes.png")
    page.wait_for_selector(f"#drop .failed[role=alert] >> text={message}")
    assert parts.restored == []
    choose(page, png(SETTINGS))
    prompt_becomes(page, SETTINGS.prompt)
    assert page.locator("#drop [role=alert]").count() == 0


def test_a_file_too_large_never_leaves_the_page(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "film.png"));
            const options = {bubbles: true, cancelable: true, dataTransfer: transfer};
            document.body.dispatchEvent(new DragEvent("drop", options));
        }""",
        MAX_FILE_BYTES + 1,
    )
    page.wait_for_selector("#drop [role=alert] >> text=film.png is larger than 32 MB")
    assert asked == []


def test_only_files_from_outside_are_taken(page, parts):
    hint = page.locator("#drop .hint")
    for event in ("dragover", "drop"):
        assert not drag(page, event, None, target="#prompt textarea")  # text goes where it always went
    drag(page, "dragstart", png(SETTINGS))  # a picture of the page itself
    for event in ("dragover", "drop"):
        assert not drag(page, event, png(SETTINGS))
    assert hint.is_hidden()
    drag(page, "dragend", png(SETTINGS))
    page.evaluate("document.querySelector('#prompt').addEventListener('drop', event => event.preventDefault())")
    assert drag(page, "drop", png(SETTINGS), target="#prompt textarea")  # another component took it first
    assert drag(page, "dragover", png(SETTINGS))
    assert hint.is_visible()
    hint.wait_for(state="hidden")  # the pointer left the window
    assert parts.restored == [] and page.locator("#drop .message").inner_text() == ""


def test_a_server_that_is_gone_is_named(browser, parts):
    page = browser.new_page()  # not open_parts: a request that fails is an error on the console
    page.goto(parts.url)
    page.wait_for_selector("#fidelity table")
    page.route("**/component_server**", lambda route: route.abort())
    choose(page, png(SETTINGS))
    page.wait_for_selector("#drop [role=alert] >> text=The server does not answer.")
    page.close()


def test_a_drop_that_was_hidden_and_came_back_listens_once(page, parts):
    page.get_by_role("button", name="Hide").click()
    page.wait_for_selector("#drop .drop", state="detached")
    assert not drag(page, "drop", png(SETTINGS))
    page.get_by_role("button", name="Show again").click()
    page.wait_for_selector("#drop .drop")
    assert drag(page, "drop", png(SETTINGS))
    prompt_becomes(page, SETTINGS.prompt)
    send(page, parts)  # so that a second event would have come
    assert len(parts.restored) == 1


def slider(page, name: str, *, within: str = "#scales"):
    return page.locator(within).get_by_role("slider", name=name, exact=True)


def send(page, parts) -> dict[str, float] | None:
    count = len(parts.sent)
    page.get_by_role("button", name="Send").click()
    for _ in range(100):
        if len(parts.sent) > count:
            return parts.sent[-1]
        page.wait_for_timeout(50)
    raise AssertionError("Nothing was sent.")


def test_sliders_reach_python_at_once(page, parts):
    assert slider(page, "hair").is_hidden()
    assert send(page, parts) is None
    page.locator("#scales summary").focus()
    page.keyboard.press("Enter")
    slider(page, "hair").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    slider(page, "left brow").focus()
    page.keyboard.press("Home")
    assert send(page, parts) == {"hair": 2.0, "left_brow": 0.0}
    changed = page.locator("#scales .changed").all_inner_texts()
    assert [text.split() for text in changed] == [["left", "brow", "mute"], ["hair", "×2"]]
    assert slider(page, "hair").get_attribute("aria-valuetext") == "times 2"
    assert slider(page, "left brow").get_attribute("aria-valuetext") == "muted"
    assert page.locator("#scales .count").inner_text() == "2 changed"
    slider(page, "hair").fill("1")
    assert send(page, parts) == {"left_brow": 0.0}
    page.get_by_role("button", name="All back to 1").click()
    assert page.locator("#scales .count").inner_text() == ""
    assert page.get_by_role("button", name="All back to 1").is_disabled()
    assert slider(page, "left brow").input_value() == "1"
    assert send(page, parts) is None


def test_factors_from_python_are_kept_to_the_digit(page, parts):
    choose(page, png(SETTINGS))  # beyond the sliders' end
    page.wait_for_selector("#scales .count >> text=2 changed")
    page.locator("#scales summary").click()
    assert slider(page, "global").locator("xpath=following-sibling::output").inner_text() == "×4.3"
    assert slider(page, "global").input_value() == "3"
    slider(page, "hat").fill("0.25")
    assert send(page, parts) == {"hair": 0.0, "global": 4.3, "hat": 0.25}
    assert page.locator("#wide .count").inner_text() == "1 changed"  # from the first


def test_all_muted_is_said_where_it_happens(page):
    page.locator("#wide summary").click()
    page.get_by_role("button", name="Mute all").click()
    page.wait_for_selector("#wide [role=status] >> text=All experts are muted.")
    slider(page, "skin", within="#wide").fill("0.5")
    assert page.locator("#wide [role=status]").inner_text() == ""


@pytest.mark.parametrize("width", [360, 1440])
def test_parts_fit_the_width(open_parts, width):
    page = open_parts(viewport={"width": width, "height": 900})
    for name in ("scales", "wide"):
        page.locator(f"#{name} summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    lefts = page.eval_on_selector_all("#wide label", "labels => labels.map(e => e.getBoundingClientRect().left)")
    assert len(set(lefts)) == (1 if width == 360 else 2)
    assert page.eval_on_selector("#fidelity img", "img => img.naturalWidth") == 512
    table = page.locator("#fidelity table").inner_text()
    assert "hair missing" in table and "hat not asked for" in table
    assert "hair, drawn as hat" in page.locator("#fidelity figcaption").inner_text()


def test_every_control_of_the_parts_has_a_name(page):
    unnamed = page.evaluate(
        """() => Array.from(document.querySelectorAll(':is(#drop, #scales) :is(button, input)'))
            .filter(e => !e.ariaLabel && !e.labels?.length && !e.textContent.trim()).map(e => e.outerHTML)"""
    )
    assert unnamed == []
    assert "title=" in no_parser("mini")
