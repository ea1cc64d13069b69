"""The memory that open photos take: bounded, and given back when their visitor leaves."""

import gc
import time

import gradio as gr
import httpx
import numpy as np
import pytest

from facemogle.ui import layout
from facemogle.ui.photo import handlers as photos
from facemogle.ui.photo.handlers import OpenPhoto
from facemogle.ui.photo.held import Held
from facemogle.ui.provider import PipelineProvider

PHOTO = np.zeros((100, 100, 3), np.uint8)


def opened(count: int) -> list[Held]:
    return [Held(PHOTO.copy(), limit=3 * PHOTO.nbytes) for _ in range(count)]


def kept(photo: Held) -> bool:
    try:
        return photo.pixels.shape == PHOTO.shape
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch):
    monkeypatch.setattr(Held, "_open", [])


def test_the_photo_that_was_opened_first_is_let_go_first():
    assert [kept(photo) for photo in opened(5)] == [False, False, True, True, True]


def test_what_no_visit_holds_any_more_does_not_count():
    left, stays = opened(2)
    del left
    gc.collect()
    more = opened(2)
    assert kept(stays) and all(map(kept, more))


def test_a_photo_larger_than_the_bound_is_kept_alone():
    small, large = Held(PHOTO, limit=10), Held(np.zeros((200, 200, 3), np.uint8), limit=10)
    assert not kept(small) and large.pixels.shape == (200, 200, 3)


def test_the_page_says_that_a_photo_was_let_go():
    photo = OpenPhoto("me.jpg", Held(PHOTO), ())
    photo.held.let_go()
    telling = photos.take_whole(None, photo, "mini", True)
    said = next(telling).note
    assert "was let go" in said and "Drop it again" in said and "failed" in said
    with pytest.raises(gr.Error, match="let go"):
        next(telling)


def test_it_is_let_go_when_its_visitor_leaves(pipeline):
    page = layout.build(PipelineProvider("tiny", lambda: pipeline), [])
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    states = [block for block in page.blocks.values() if isinstance(block, gr.State)]
    here, gone = (OpenPhoto("me.jpg", Held(PHOTO), ()) for _ in range(2))
    try:
        for session, photo in (("here", here), ("gone", gone)):
            for state in states:
                if state.value is None:
                    page.state_holder[session][state._id] = photo
        with httpx.Client(base_url=f"{url}gradio_api", timeout=20) as http, http.stream("GET", "/heartbeat/here"):
            with http.stream("GET", "/heartbeat/gone") as beat:
                next(beat.iter_lines())
            deadline = time.monotonic() + 10
            while kept(gone.held) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert kept(here.held) and not kept(gone.held)
    finally:
        page.close()
