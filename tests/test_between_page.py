from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from facemogle.picture_files import Settings
from facemogle.ui.between import FRAMES, choices, start_at, way
from facemogle.ui.handlers import KEEP, read_request
from facemogle.ui.run import Run
from facemogle.ui.visit import Visit


@pytest.fixture
def visit(pipeline, label_map, seed):
    """Two runs, the second of which is shown."""
    settings = Settings(
        prompt="a woman", label_map=label_map, seed=3, num_inference_steps=1, guidance_scale=3.5, condition_scale=1.0,
        height=64, width=64, expert_scale=None, checkpoint="tiny",
    )  # fmt: skip
    visit = Visit()
    for one in (settings, replace(settings, prompt="a man", seed=8, label_map=label_map[:, ::-1])):
        image = pipeline(**one.arguments(), generator=seed(one.seed)).images[0]
        request = read_request(one.label_map, one.prompt, one.seed, 1, 1, 3.5, 1.0, None)
        visit = visit.added(Run(request, [image], [one], None, None, 1.0, ()))
    return visit


def test_the_way_begins_and_ends_with_the_two_faces(pipeline, visit, seed):
    provider = SimpleNamespace(get=lambda: pipeline, loras={})
    first = visit.runs[0].key()
    assert choices(visit) == choices(visit) | {"choices": [("seed 3, a woman, map 1", first)], "value": first}
    # The run goes by its key: its place is another one once the visit let an older run go.
    ((said, *_),) = way(provider, replace(visit, runs=visit.runs[1:], shown=0), first)
    assert "Two faces are needed" in said
    updates = list(way(provider, visit, first))
    *_, (status, film, strip, _) = updates
    assert "The way is there" in status and strip is KEEP
    told = [settings for _, _, _, settings in updates if settings is not KEEP]
    settings = told[-1]
    assert len(settings) == FRAMES
    assert settings[0] is visit.runs[0].settings[0] and settings[-1] is visit.settings
    with Image.open(film["value"]) as opened:
        assert opened.n_frames == FRAMES and opened.size == (64, 64)
    last = next(each for _, _, each, _ in reversed(updates) if each is not KEEP)
    assert last.count("<button") == FRAMES and "100% of the way" in last
    *fields, said = start_at(settings, 3)
    assert np.array_equal(fields[0], settings[3].label_map) and fields[1] == "a woman" and "43% of the way" in said
    assert start_at(settings[:4], 3)[-1] == said  # of a way that was stopped


def test_without_a_way_it_is_said(pipeline, visit):
    provider = SimpleNamespace(get=lambda: pipeline, loras={})
    changed = replace(visit.settings, strength=1.0)
    edited = visit.added(replace(visit.run, settings=[changed]))
    for one, other, words in (
        (Visit(), None, "Two faces are needed"), (visit, "5", "Two faces are needed"),
        (edited, visit.runs[0].key(), "changed photo"),
    ):  # fmt: skip
        ((status, *rest),) = way(provider, one, other)
        assert words in status and "failed" in status and rest == [KEEP] * 3
    assert "not here any more" in start_at(None, 0)[-1] and len(start_at([], 4)) == 9
    assert choices(Visit())["value"] is None
