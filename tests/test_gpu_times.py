"""The seconds of a Space's GPU that a run asks for, with a stand-in for `spaces`, which the app wraps its runs with."""

from functools import partial
from types import SimpleNamespace

import pytest

import app
from facemogle.picture_files import Settings
from facemogle.ui import handlers
from facemogle.ui.gpu_times import KINDS, LONGEST, MARGIN, START, UNMEASURED, GpuTimes
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.run import Run
from facemogle.ui.visit import Visit


class Spaces:
    """Asks for seconds before each run, as the decorator of a ZeroGPU does, and takes the GPU away after them."""

    def __init__(self, takes=None):
        self.asked = []
        self.takes = takes

    def GPU(self, *, duration):
        def decorate(task):
            def generate(*arguments):
                self.asked.append(duration(*arguments))
                if self.takes is not None and self.takes > self.asked[-1]:
                    raise RuntimeError("GPU task aborted")
                yield from task(*arguments)

            return generate

        return decorate


def fields(steps=28, num_images=1, label_map=None):
    settings = Settings("", label_map, 7, steps, 3.5, 1.0, 512, 512, None, "flux")
    return handlers.fields_of(settings, num_images=num_images)  # as layout.py lists them


def visit_of(seconds):
    return Visit().added(Run(None, [], [], None, None, seconds, ()))


@pytest.fixture
def times():
    return GpuTimes(lambda label_map: (512, 512))


def wrapped(times, spaces, generate):
    return times.watched(spaces.GPU(duration=times.wanted)(generate))


def test_asked_from_what_runs_took(times):
    took = [3.4]

    def generate(visit, *fields):
        yield handlers.KEEP, "Starting", handlers.KEEP
        yield "picture", "done", visit_of(took[0])

    spaces = Spaces()
    run = wrapped(times, spaces, generate)
    assert [outputs[0] for outputs in run(Visit(), *fields())][-1] == "picture"
    list(run(Visit(), *fields()))
    assert spaces.asked == [START + MARGIN * UNMEASURED * 28 + 0.5, 11]  # 5 + 1.5 * 3.4, rounded up
    took[0] = 5.0
    list(run(Visit(), *fields()))
    assert times.wanted(Visit(), *fields()) == 13
    took[0] = 2.0
    for _ in range(8):  # slow ones are forgotten
        list(run(Visit(), *fields()))
    assert times.wanted(Visit(), *fields()) == 8
    assert times.wanted(Visit(), *fields(num_images=4)) == 5 + 12
    assert times.wanted(Visit(), *fields(steps=56)) == 5 + 6
    assert times.wanted(Visit(), *fields(steps=14)) == 5 + 2  # in proportion
    label_map, prompt, seed, _, _, *others = fields()
    assert times.wanted(Visit(), label_map, prompt, seed, None, None, *others) == 6  # fields that were left empty
    assert times.wanted(Visit(), *fields(steps=100, num_images=8)) <= LONGEST


def test_of_less_work_no_more_is_expected(times):
    def generate(visit, *given):
        yield "picture", "done", visit_of(6.0 if given[4] == 1 else 8.0)

    run = wrapped(times, Spaces(), generate)
    list(run(Visit(), *fields(steps=1)))  # nearly all of it is encoding
    list(run(Visit(), *fields(steps=20)))
    assert times.expected(times.work(*fields(steps=10))) == 8.0
    assert times.expected(times.work(*fields(steps=40))) == 240.0
    assert times.wanted(Visit(), *fields(steps=40)) == LONGEST


def test_a_gpu_that_was_taken_away_is_asked_for_longer(times, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("facemogle.ui.gpu_times.time.monotonic", lambda: clock[0])

    def generate(visit, *fields):
        yield "picture", "done", visit_of(30.0)

    spaces = Spaces(takes=30)

    def late(duration):
        clock[0] += 40
        return duration

    run = times.watched(spaces.GPU(duration=lambda *arguments: late(times.wanted(*arguments)))(generate))
    with pytest.raises(RuntimeError, match="aborted"):
        list(run(Visit(), *fields()))
    list(run(Visit(), *fields()))
    assert spaces.asked[1] > 30 > spaces.asked[0]


def test_other_failures_teach_nothing(times):
    def generate(visit, *fields):
        yield "picture", "done", handlers.KEEP
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(wrapped(times, Spaces(), generate)(Visit(), *fields()))
    assert not times.seconds


def test_sizes_and_bounds(times):
    sizes = iter([(512, 512), (1024, 512)])
    times = GpuTimes(lambda label_map: next(sizes))
    assert times.work(*fields()).amount == 28 and times.work(*fields()).amount == 56
    times = GpuTimes(lambda label_map: (512, 512))
    for steps in range(1, 2 * KINDS):
        times.add(times.work(*fields(steps=steps)), 1.0)
    assert len(times.seconds) == KINDS


def test_the_app_asks_by_its_own_runs(monkeypatch, pipeline, label_map):
    """The whole page with a stand-in of spaces: a run of its own handler, at the size that it draws."""
    spaces, pages, loaded = Spaces(), [], SimpleNamespace(pipeline=pipeline)
    monkeypatch.setattr(app, "spaces", spaces)
    monkeypatch.setattr(app, "load_pipeline", lambda *_, **__: loaded.pipeline)
    monkeypatch.setattr("gradio.Blocks.launch", lambda page, **options: pages.append(page))
    app.main(["--checkpoint", "mini"])
    (paint,) = {function.fn for function in pages[0].fns.values() if getattr(function.fn, "__name__", "") == "timing"}
    given = fields(steps=2, label_map=label_map)
    list(paint(Visit(), *given))
    list(paint(Visit(), *given))
    first = START + MARGIN * UNMEASURED * 2 * 64**2 / 512**2
    assert spaces.asked[0] in (int(first) + 1, int(START + MARGIN * UNMEASURED * 2) + 1)  # before or after it is loaded
    assert START < spaces.asked[1] <= START + 60


def test_the_size_is_that_of_the_picture(pipeline, label_map):
    provider = PipelineProvider("tiny", lambda: pipeline, in_thread=False)
    assert provider.picture_size(label_map) == provider.picture_size(None) == (64, 64)
    assert provider.picture_size(label_map[:32]) == (32, 64)
    failed = PipelineProvider("nothing", partial(int, "x"), in_thread=False)
    assert failed.picture_size(label_map) == (512, 512)
