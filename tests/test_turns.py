"""How long those who wait for the model are told to wait."""

import gradio as gr

from facemogle.ui.turns import component
from facemogle.ui.turns.component import Pace, turn


def test_runs_that_came_to_their_end_tell_how_long_the_next_ones_take(monkeypatch):
    now = 100.0
    monkeypatch.setattr(component.time, "monotonic", lambda: now)

    def paint(seconds):
        nonlocal now
        yield "begun"
        now += seconds
        yield "done"

    pace = Pace()
    broken_off = pace.timed(paint)(9)
    next(broken_off)
    broken_off.close()
    assert pace.left(1) is None
    for seconds in (1, 2, 9):
        assert list(pace.timed(paint)(seconds)) == ["begun", "done"]
    next(pace.timed(paint)(9))
    assert pace.left(3) == 6  # of the median three times
    now += 1.5
    assert pace.left(3) == 4.5
    now += 50
    assert pace.left(3) == 4  # the present one takes longer than others did


def test_before_the_first_run_nobody_waits():
    with gr.Blocks() as page:
        assert turn(page._queue, Pace(), "a session") == ""
