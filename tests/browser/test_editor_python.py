"""The label editor and Python, on a page of their own: what comes from there, and what goes there by itself."""

from contextlib import closing
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from facemogle.labels import CLASS_ID
from facemogle.templates import template_face
from facemogle.ui.label_editor.component import LabelEditor
from facemogle.ui.views import data_url
from tests.browser.actions import at, choose, map_in, opacity, press, shut, stroke


@pytest.fixture(scope="module")
def listener():
    """A page of its own: `heard` are the maps that `stroke` brought, `answer` what the button sends to the editor."""
    listener = SimpleNamespace(heard=[], answer=None)
    with gr.Blocks() as blocks:
        editor = LabelEditor(template_face(size=128), backdrop=backdrop(200), elem_id="label-editor")
        send = gr.Button("Send")
        send.click(lambda: listener.answer, None, editor)
        editor.stroke(listener.heard.append, editor, None, trigger_mode="always_last", show_progress="hidden")
    _, listener.url, _ = blocks.launch(prevent_thread_lock=True, quiet=True)
    yield listener
    shut(blocks)


def backdrop(grey: int) -> str:
    return data_url(Image.new("RGB", (30, 20), (grey, grey, grey)), format="PNG")


@pytest.fixture
def listened(browser, listener):
    listener.heard.clear()
    with closing(browser.new_context(viewport={"width": 1000, "height": 900})) as context:
        page = context.new_page()
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(listener.url)
        page.wait_for_selector("#label-editor [name=opacity]:enabled")
        yield page
    assert problems == []


def test_a_picture_under_the_map_changes_no_class(listened, listener):
    def send(answer) -> None:
        listener.answer = answer
        listened.get_by_role("button", name="Send").click()

    def map_becomes(label_map: np.ndarray) -> None:
        listened.wait_for_function(
            "sum => document.querySelector('#label-editor canvas').labelMap().reduce((a, b) => a + b) == sum",
            arg=int(label_map.sum()),
        )
        assert np.array_equal(map_in(listened), label_map)

    under, slider = listened.locator("#label-editor .backdrop"), listened.locator("#label-editor [name=opacity]")
    face = map_in(listened)
    edge = int(np.flatnonzero(np.diff(face[64]))[0])  # the last background pixel of its row
    whole = listened.locator("#label-editor canvas").bounding_box()
    assert under.bounding_box() == pytest.approx(whole, abs=0.5)
    for percent in ("100", "30", "0"):
        slider.fill(percent)
        assert opacity(listened, 64, 3) == opacity(listened, 70, 45) == pytest.approx(2.55 * int(percent), abs=1)
        assert opacity(listened, 64, edge) == opacity(listened, 64, edge + 1) == 255  # outlines stay
    stroke(listened, (0.05, 0.05), (0.3, 0.05))
    painted = map_in(listened)
    row = int(np.flatnonzero(painted[:, 20] == CLASS_ID["hair"]).max())
    assert opacity(listened, row, 20) == opacity(listened, row + 1, 20) == 255  # of the stroke as well
    assert opacity(listened, row - 6, 20) == 0
    assert listened.eval_on_selector("#label-editor canvas", "canvas => canvas.labelMap().length") == 128 * 128
    press(listened, "Undo")
    assert np.array_equal(map_in(listened), face)

    last = under.get_attribute("src")
    send(gr.update(value=template_face("hat", 96), backdrop=backdrop(90)))
    listened.wait_for_function("last => document.querySelector('#label-editor .backdrop').src != last", arg=last)
    map_becomes(template_face("hat", 96))
    assert under.is_visible()
    send(gr.update(backdrop=""))
    listened.wait_for_selector("#label-editor [name=opacity]:disabled")
    assert under.is_hidden()
    assert opacity(listened, 3, 3) == 255
    send(gr.update(backdrop="data:image/png;base64,AAAA"))
    listened.wait_for_selector("#label-editor .failed >> text=The picture under the map cannot be shown.")
    assert slider.is_disabled()
    send(template_face("bald", 96))  # a plain value, as if nothing had been
    map_becomes(template_face("bald", 96))
    send(gr.update(backdrop=backdrop(50)))
    listened.wait_for_selector("#label-editor [name=opacity]:enabled")
    assert np.array_equal(map_in(listened), template_face("bald", 96))
    assert listener.heard == []


def test_strokes_reach_python_only_while_the_page_is_live(listened, listener):
    def heard(number: int) -> np.ndarray:
        for _ in range(100):
            if len(listener.heard) >= number:
                break
            listened.wait_for_timeout(50)
        listened.wait_for_timeout(200)
        assert len(listener.heard) == number
        assert np.array_equal(listener.heard[-1], map_in(listened))
        return listener.heard[-1]

    stroke(listened, (0.1, 0.1), (0.4, 0.1))
    listened.eval_on_selector("#label-editor form", "form => { form.dataset.live = 'on'; }")
    listened.wait_for_timeout(300)
    assert listener.heard == []
    stroke(listened, (0.1, 0.9), (0.4, 0.9))
    heard(1)
    for number, name in enumerate(("Undo", "Redo", "Mirror map", "Clear", "Reset"), start=2):
        press(listened, name)
        heard(number)
    press(listened, "Reset")  # nothing changes
    choose(listened, "Fill")
    listened.locator("#label-editor summary").filter(has_text="New").click()
    press(listened, "bald")
    assert heard(7).shape == (512, 512)
    listener.answer = template_face("hat", 96)  # what Python says, it need not hear
    listened.get_by_role("button", name="Send").click()
    listened.wait_for_function("() => document.querySelector('#label-editor canvas').width == 96")
    for place in (0.1, 0.3, 0.5):  # quicker than they are served: the newest arrives
        choose(listened, "hat" if place != 0.3 else "hair")
        listened.mouse.click(*at(listened, place, 0.1))
    for _ in range(100):
        if np.array_equal(listener.heard[-1], map_in(listened)):
            break
        listened.wait_for_timeout(50)
    assert np.array_equal(listener.heard[-1], map_in(listened))
    number = len(listener.heard)
    assert 8 <= number <= 10
    listened.eval_on_selector("#label-editor form", "form => { form.dataset.live = ''; }")
    press(listened, "Clear")
    listened.wait_for_timeout(300)
    assert len(listener.heard) == number
