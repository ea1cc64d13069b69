"""Portraits made hard for the parser: pictures and maps that still belong together."""

import cv2
import numpy as np
import pytest

from facemogle.labels import CLASS_ID, NUM_CLASSES
from train.mini import camera, textures
from train.mini.hard import Scene, harden, occlude
from train.mini.portraits import render, sample_attributes

SEEDS = range(6)


@pytest.fixture(scope="module")
def portraits() -> list[tuple[np.ndarray, np.ndarray]]:
    return [render(sample_attributes(np.random.default_rng(seed)), size=128) for seed in SEEDS]


@pytest.fixture(scope="module")
def hard(portraits) -> list[tuple[np.ndarray, np.ndarray]]:
    return [harden(*portrait, np.random.default_rng(seed)) for seed, portrait in zip(SEEDS, portraits, strict=True)]


def test_shapes_types_and_classes_stay(portraits, hard):
    for (image, label_map), (picture, classes) in zip(portraits, hard, strict=True):
        assert picture.shape == image.shape and picture.dtype == np.uint8
        assert classes.shape == label_map.shape and classes.dtype == np.uint8 and classes.max() < NUM_CLASSES
        assert not set(np.unique(classes)) - set(np.unique(label_map)) - mirrored(label_map)
        assert (picture != image).mean() > 0.5


def mirrored(label_map: np.ndarray) -> set[int]:
    """The other of left and right."""
    return {
        class_id + 1 if class_id % 2 == 0 else class_id - 1 for class_id in np.unique(label_map) if 4 <= class_id <= 9
    }


def test_a_seed_gives_the_same_rendering_and_leaves_the_portrait_alone(portraits, hard):
    image, label_map = (each.copy() for each in portraits[0])
    again = harden(image, label_map, np.random.default_rng(0))
    assert np.array_equal(again[0], hard[0][0]) and np.array_equal(again[1], hard[0][1])
    assert np.array_equal(image, portraits[0][0]) and np.array_equal(label_map, portraits[0][1])
    other = harden(image, label_map, np.random.default_rng(1))
    assert not np.array_equal(other[0], again[0]) and not np.array_equal(other[1], again[1])


def test_picture_and_map_move_together(portraits):
    """A picture of the map's own classes still shows them after all that moves it."""
    for seed, (_, label_map) in zip(SEEDS, portraits, strict=True):
        shown = np.where(np.isin(label_map, (CLASS_ID["skin"], CLASS_ID["hair"])), np.uint8(200), np.uint8(20))
        picture, classes, up = camera.turned(
            np.repeat(shown[..., None], 3, axis=2), label_map, np.random.default_rng(seed)
        )
        there = np.isin(classes, (CLASS_ID["skin"], CLASS_ID["hair"]))
        inside = cv2.erode(there.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert inside.any() and picture[inside].min() > 120
        assert np.linalg.norm(up) == pytest.approx(1, abs=1e-4) and up[1] < 0


def test_a_map_without_a_face_is_no_obstacle():
    image = np.full((64, 64, 3), 127, np.uint8)
    for name in ("background", "hair", "cloth"):
        label_map = np.full((64, 64), CLASS_ID[name], np.uint8)
        picture, classes = harden(image, label_map, np.random.default_rng(0))
        assert picture.shape == image.shape and classes.shape == label_map.shape


def test_what_stands_before_a_face_is_background(portraits):
    """Some of what was skin is background then, and nothing else changes."""
    image, label_map = portraits[0]
    before = label_map == CLASS_ID["skin"]
    covered = 0
    for seed in range(8):
        scene = Scene(
            image.astype(np.float32) / 255, label_map.copy(), np.array((0, -1), np.float32), np.random.default_rng(seed)
        )
        occlude(scene)
        new = scene.label_map != label_map
        assert (scene.label_map[new] == CLASS_ID["background"]).all()
        covered += (new & before).any()
    assert covered >= 2


def test_noise_has_the_spectrum_that_is_asked_for():
    rng = np.random.default_rng(0)
    assert textures.noise(rng, 200, 200).std() == pytest.approx(1, abs=0.02)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128) * 128, np.fft.rfftfreq(128) * 128, indexing="ij"))
    low, high = ((frequency > middle / 1.3) & (frequency < middle * 1.3) for middle in (4, 16))
    slopes = []
    for roughness in (0.5, 1.0):
        power = [abs(np.fft.rfft2(textures.clouds(rng, 128, roughness=roughness))) ** 2 for _ in range(8)]
        slopes.append(np.log(np.mean(power, 0)[low].mean() / np.mean(power, 0)[high].mean()) / np.log(4))
    smooth, natural = slopes
    assert natural == pytest.approx(2, abs=0.5)  # of the power
    assert smooth > natural + 0.6


def test_jpeg_leaves_its_traces():
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
    poor, good = (abs(camera.compressed(image, quality).astype(int) - image).mean() for quality in (10, 95))
    assert poor > good > 0
