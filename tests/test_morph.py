from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from facemogle.cli import main
from facemogle.label_files import read_label_map
from facemogle.labels import NUM_CLASSES
from facemogle.morph import between, label_maps_between, morph, slerp, strip
from facemogle.picture_files import Settings, write_picture

EXAMPLES = [f"assets/examples/{name}.png" for name in ("afro", "red-bob-hat", "moustache", "long-waves")]


@pytest.fixture
def ends(label_map):
    """Two runs of the tiny pipeline."""
    settings = Settings(
        prompt="a woman", label_map=label_map, seed=3, num_inference_steps=2, guidance_scale=3.5, condition_scale=1.0,
        height=64, width=64, expert_scale=None, checkpoint="tiny",
    )  # fmt: skip
    other = replace(
        settings, prompt="an old man", seed=8, label_map=label_map[:, ::-1], guidance_scale=2.0, num_inference_steps=4
    )
    return settings, other


def test_the_ends_are_the_runs_to_the_last_bit(pipeline, ends, seed):
    frames = list(morph(pipeline, *ends, frames=3))
    assert [frame.t for frame in frames] == [0, 0.5, 1]
    for frame, settings in zip(frames[::2], ends, strict=True):
        run = pipeline(**settings.arguments(), generator=seed(settings.seed))
        assert np.array_equal(frame.image, run.images[0])
    middle = frames[1].settings
    assert (middle.num_inference_steps, middle.guidance_scale) == (3, 2.75)
    assert not any(np.array_equal(frames[1].image, frames[place].image) for place in (0, 2))
    assert strip([frame.image for frame in frames], side=32).size == (96, 32)


def test_every_map_is_valid_and_every_area_goes_one_way():
    maps = [read_label_map(path).label_map for path in EXAMPLES]
    for first, second in pairwise(maps):
        way = label_maps_between(first, second, 9)
        assert np.array_equal(way[0], first) and np.array_equal(way[-1], second)
        assert all(((one == first) | (one == second)).all() and one.dtype == np.uint8 for one in way)
        areas = np.stack([np.bincount(one.ravel(), minlength=NUM_CLASSES) for one in way])
        steps = np.diff(areas, axis=0) * np.sign(areas[-1] - areas[0])
        assert steps.min() >= -NUM_CLASSES  # pixels of 262,144, from rounding
        even = areas[0] + np.linspace(0, 1, 9)[:, None] * (areas[-1] - areas[0])
        assert np.abs(areas - even).max() <= 2 * NUM_CLASSES


def test_a_front_moves_across():
    """From a disc to a larger disc: the classes' border is a circle all the way."""
    rows, columns = np.mgrid[:128, :128] - 64
    away = np.hypot(rows, columns)
    way = label_maps_between((away < 20).astype(np.uint8), (away < 50).astype(np.uint8), 5)
    for one in way:
        inside = one == 1
        radius = np.sqrt(inside.sum() / np.pi)
        assert (inside == (away < radius)).mean() > 0.995


def test_maps_of_two_sizes_and_of_none(pipeline, ends):
    first, second = ends
    assert label_maps_between(np.zeros((8, 8), np.uint8), np.ones((16, 16), np.uint8), 2)[-1].shape == (8, 8)
    textual = replace(first, label_map=None)
    halfway = between(textual, second, 0.5, second.label_map)
    assert halfway.condition_scale == 0.5 and np.array_equal(halfway.label_map, second.label_map)
    both = [frame.settings.label_map for frame in morph(pipeline, textual, replace(second, label_map=None), frames=3)]
    assert both == [None] * 3


def test_numbers_of_the_way(ends):
    first, second = replace(ends[0], expert_scale={"hair": 0.0}), replace(ends[1], expert_scale={"hat": 3.0})
    assert between(first, second, 0.25, None).expert_scale == {"hair": 0.25, "hat": 1.5}
    assert between(first, second, 0.0, None) is first and between(first, second, 1.0, None) is second


def test_slerp_keeps_what_noise_has():
    one, other = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    middle = slerp(one, other, 0.5, dims=(0, 1))
    assert middle.std() == pytest.approx(1, abs=0.05) and ((one + other) / 2).std() < 0.75
    assert slerp(one, other, 0, dims=(0, 1)) is one and slerp(one, other, 1, dims=(0, 1)) is other
    torch.testing.assert_close(slerp(one, one, 0.3, dims=(0, 1)), one)
    right, up = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    torch.testing.assert_close(slerp(right, up, 0.5, dims=(1,)), torch.tensor([[3.0, 3.0]]) / 2**0.5)


def test_runs_without_a_way_between_them(pipeline, ends):
    first, second = ends
    for changes, word in (
        ({"checkpoint": "flux"}, "another checkpoint"), ({"width": 128}, "another width"),
        ({"strength": 1.0}, "changed photo"), ({"loras": {"ink": 1.0}}, "other LoRAs"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            next(morph(pipeline, first, replace(second, **changes)))
    with pytest.raises(ValueError, match="at least 2"):
        next(morph(pipeline, first, second, frames=1))


def test_on_the_command_line(tmp_path, ends, capsys):
    faces = [tmp_path / f"{name}.png" for name in "ab"]
    for face, settings in zip(faces, ends, strict=True):
        write_picture(face, Image.new("RGB", (64, 64)), replace(settings, checkpoint="mini", num_inference_steps=1))
    film = tmp_path / "film.gif"
    pictures = ["--out", str(film), "--strip", str(tmp_path / "strip.png"), "--frames", "3"]
    assert main(["morph", *map(str, faces), *pictures]) == 0
    assert Image.open(film).n_frames == 3 and Image.open(tmp_path / "strip.png").size == (3 * 192, 192)
    assert main(["morph", *map(str, faces), "--out", str(tmp_path / "film.png")]) == 2
    assert "film.gif" in capsys.readouterr().err
