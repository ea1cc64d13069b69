"""The queue under load: nobody takes all of it, and nothing runs on for who has gone or never listened."""

import json
import time
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from starlette.middleware import Middleware

from facemogle.ui import fair_queue, layout, run
from facemogle.ui.fair_queue import PER_ADDRESS, PER_SESSION, Streams, forgetting, make_fair
from facemogle.ui.provider import PipelineProvider

STEP, LISTEN, KEEP = 0.05, 3.0, 2.0  # seconds


@pytest.fixture
def served(monkeypatch):
    """A page of two functions: /slow, a run of 200 steps, and /quick, of one; both are of the model."""
    ticks = []

    def work(steps, name):
        for step in range(steps):
            ticks.append(name)
            time.sleep(STEP)
            yield step

    with gr.Blocks() as page:
        name, result = gr.Textbox(), gr.Number()
        for api_name, steps in (("slow", 200), ("quick", 1)):
            gr.Button().click(
                partial(work, steps), name, result, api_name=api_name, concurrency_limit=1, concurrency_id="model"
            )
        page.unload(lambda: None)
    monkeypatch.setattr(fair_queue, "MAX_RECORDED", 5)
    make_fair(page, concurrency_id="model", listen_within=LISTEN)
    app_kwargs = {"middleware": [Middleware(Streams)], "lifespan": forgetting(KEEP)}
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, app_kwargs=app_kwargs)
    with httpx.Client(base_url=f"{url}gradio_api", timeout=20) as http:
        yield SimpleNamespace(http=http, ticks=ticks, page=page, sessions=page.state_holder.session_data)
    page.close()


def join(http: httpx.Client, session: str, function: int = 0) -> httpx.Response:
    return http.post("/queue/join", json={"data": [session], "fn_index": function, "session_hash": session})


@contextmanager
def listening(http: httpx.Client, session: str):
    with http.stream("GET", "/queue/data", params={"session_hash": session}) as response:
        yield (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: "))


def finish(http: httpx.Client, session: str) -> float:
    """Join as a visitor who stays -> seconds until the quick run is over."""
    start = time.monotonic()
    assert join(http, session, 1).status_code == 200
    with listening(http, session) as messages:
        assert any(message["msg"] == "process_completed" and message["success"] for message in messages)
    return time.monotonic() - start


def test_a_session_gets_a_few_places_and_hears_why_no_more(served):
    answers = [join(served.http, "greedy") for _ in range(12)]
    assert [answer.status_code for answer in answers] == [200] * PER_SESSION + [503] * (12 - PER_SESSION)
    assert f"has {PER_SESSION} runs that wait already" in answers[-1].json()["detail"]
    assert join(served.http, "modest").status_code == 200


def test_an_address_leaves_places_for_others(served):
    answers = [join(served.http, f"visitor{number}") for number in range(PER_ADDRESS + 2)]
    assert [answer.status_code for answer in answers[-3:]] == [200, 503, 503]
    assert f"From your address {PER_ADDRESS} runs" in answers[-1].json()["detail"]
    assert len(served.page._queue.event_analytics) == 5  # of which Gradio keeps 10,000


def test_what_nobody_listens_to_is_dropped(served):
    for number in range(10):  # 100 seconds of runs
        assert join(served.http, f"ghost{number}").status_code == 200
    assert finish(served.http, "visitor") < 10
    assert served.ticks[-1] == "visitor" and len(served.ticks) < 100


def test_a_run_ends_with_the_step_in_which_its_visitor_leaves(served):
    for number in range(3):
        join(served.http, f"leaver{number}")
        with listening(served.http, f"leaver{number}") as messages:
            if number == 0:
                assert any(message["msg"] == "process_generating" for message in messages)
    time.sleep(4 * STEP)
    seen = len(served.ticks)
    assert finish(served.http, "visitor") < 5
    assert served.ticks[seen:] == ["visitor"]


def test_who_listens_is_not_dropped(served):
    join(served.http, "patient")
    with listening(served.http, "patient") as messages:
        outputs = (message for message in messages if message["msg"] == "process_generating")
        for _ in range(round(2 * LISTEN / STEP)):  # well past the time in which to listen
            next(outputs)


def test_a_session_s_next_run_is_not_dropped_for_the_last_one(served):
    assert finish(served.http, "regular") < 10
    time.sleep(LISTEN - 0.5)
    joined = time.monotonic()
    join(served.http, "regular", 1)
    time.sleep(max(0.0, joined + 0.8 - time.monotonic()))  # the first one's time is up before the second one listens
    with listening(served.http, "regular") as messages:
        assert any(message["msg"] == "process_completed" for message in messages)


def test_a_session_that_is_not_used_any_more_is_forgotten(served):
    finish(served.http, "regular")
    time.sleep(0.6 * KEEP)
    finish(served.http, "regular")
    finish(served.http, "once")
    time.sleep(0.6 * KEEP)
    assert set(served.sessions) == {"regular", "once"}  # the first stream's time is over, its session was used again
    time.sleep(0.6 * KEEP)
    assert not served.sessions


def test_so_is_one_that_never_listened_or_whose_page_was_closed_last_of_all(served):
    join(served.http, "ghost", 1)
    join(served.http, "ghost")
    finish(served.http, "closes")
    with served.http.stream("GET", "/heartbeat/closes") as beat:
        next(beat.iter_lines())
    join(served.http, "leaver")
    with listening(served.http, "leaver") as messages:
        next(messages)
    join(served.http, "patient")
    with listening(served.http, "patient") as messages:
        next(messages)
        time.sleep(LISTEN + KEEP + 0.5)
        assert set(served.sessions) == {"patient"}
    queue = served.page._queue
    assert not {"ghost", "closes", "leaver"} & {*queue.pending_messages_per_session, *queue.pending_event_ids_session}


def test_the_api_s_run_ends_when_its_caller_leaves(pipeline, monkeypatch):
    steps, reporter = [], run._Reporter.__call__

    def slow(self, *arguments):
        steps.append(arguments)
        time.sleep(STEP)
        return reporter(self, *arguments)

    monkeypatch.setattr(run._Reporter, "__call__", slow)
    page = layout.build(PipelineProvider("tiny", lambda: pipeline), [])
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    try:
        with httpx.Client(base_url=f"{url}gradio_api", timeout=20) as http:
            event = http.post("/call/generate", json={"data": [None, "a face", 7, 150, None, 1, None, ""]}).json()
            with http.stream("GET", f"/call/generate/{event['event_id']}") as response:
                next(response.iter_lines())
            deadline = time.monotonic() + 5
            while len(steps) < 3 and time.monotonic() < deadline:
                time.sleep(STEP)
            time.sleep(10 * STEP)
            seen = len(steps)
            time.sleep(10 * STEP)
            assert 0 < seen == len(steps) < 150
    finally:
        page.close()


def test_bounds_leave_room_for_others():
    assert PER_SESSION < PER_ADDRESS < fair_queue.MAX_WAITING
