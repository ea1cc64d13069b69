"""Clumsier label maps: still valid, still of the same portrait, and reproducible."""

import numpy as np
import pytest

from facemogle.labels import CLASS_ID, NUM_CLASSES, mirror
from facemogle.sketch.completion import nearest_known
from train.mini.augment import (
    OPERATIONS,
    augment,
    drop_classes,
    ellipse_of,
    jitter_borders,
    to_blobs,
    to_marks,
    to_polygons,
)  # fmt: skip
from train.mini.portraits import render, sample_attributes


@pytest.fixture(scope="module")
def label_maps() -> list[np.ndarray]:
    return [render(sample_attributes(np.random.default_rng(seed)), size=128)[1] for seed in range(40)]


@pytest.mark.parametrize("operation", [*OPERATIONS, augment])
def test_maps_stay_valid_and_alike(operation, label_maps):
    kept = [label_map.copy() for label_map in label_maps]
    changed = [operation(label_map, np.random.default_rng(i)) for i, label_map in enumerate(label_maps)]
    assert all(map(np.array_equal, kept, label_maps))
    for label_map, other in zip(label_maps, changed, strict=True):
        assert other.shape == label_map.shape and other.dtype == np.uint8 and other.max() < NUM_CLASSES
        assert set(np.unique(other)) <= set(np.unique(label_map))
    shares = [(other == label_map).mean() for label_map, other in zip(label_maps, changed, strict=True)]
    assert min(shares) > 0.8 and np.mean(shares) > 0.9


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_changes_a_portrait(operation, label_maps):
    for seed, label_map in enumerate(label_maps):
        assert not np.array_equal(operation(label_map, np.random.default_rng(seed)), label_map)


def test_the_same_draw_gives_the_same_map(label_maps):
    first, second = (
        [augment(label_map, rng) for label_map in label_maps]
        for rng in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert all(map(np.array_equal, first, second))


def test_about_half_of_the_maps_are_left_alone(label_maps):
    rng = np.random.default_rng(0)
    same = [np.array_equal(augment(label_map, rng), label_map) for _ in range(10) for label_map in label_maps]
    assert 0.42 < np.mean(same) < 0.58


@pytest.mark.parametrize("operation", [to_polygons, jitter_borders, to_blobs])
def test_left_stays_left(operation, label_maps):
    """What is on the right of the picture before is so after, also for a mirrored portrait."""
    for label_map in (*label_maps[:10], *map(mirror, label_maps[:10])):
        other = operation(label_map, np.random.default_rng(0))
        for part in ("eye", "brow"):
            left, right = ((other == CLASS_ID[f"{side}_{part}"]).nonzero()[1] for side in ("left", "right"))
            assert not len(left) or not len(right) or left.mean() > right.mean()


def test_eyes_become_dots_and_the_mouth_a_stroke():
    label_map = np.full((256, 256), CLASS_ID["skin"], np.uint8)
    label_map[100:108, 60:100], label_map[100:108, 160:200] = CLASS_ID["right_eye"], CLASS_ID["left_eye"]
    for i, name in enumerate(("upper_lip", "mouth", "lower_lip")):
        label_map[180 + 6 * i : 186 + 6 * i, 100:160] = CLASS_ID[name]
    seen = set()
    for seed in range(40):
        other = to_marks(label_map, np.random.default_rng(seed))
        mouth = other[180:198, 100:160]
        stroke = mouth.min() == mouth.max()
        assert stroke or np.array_equal(mouth, label_map[180:198, 100:160])
        rows, columns = (other == CLASS_ID["left_eye"]).nonzero()
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        dots = width == height
        if dots:
            assert 6 < width < 17 and abs(columns.mean() - 179.5) < 1 and abs(rows.mean() - 103.5) < 1
        assert dots or (width, height) == (40, 8)
        seen.add((stroke, dots))
    assert seen == {(True, True), (True, False), (False, True)}


def test_missing_parts_become_their_surroundings():
    label_map = np.full((64, 64), CLASS_ID["skin"], np.uint8)
    label_map[:8] = CLASS_ID["hair"]
    label_map[20:30, 20:44] = CLASS_ID["eyeglasses"]
    label_map[24:26, 22:26] = CLASS_ID["right_eye"]
    outcomes = [drop_classes(label_map, np.random.default_rng(seed)) for seed in range(40)]
    kept_eye = [other for other in outcomes if CLASS_ID["right_eye"] in other and CLASS_ID["eyeglasses"] not in other]
    assert kept_eye and all(CLASS_ID["right_eye"] in other for other in outcomes)
    for other in kept_eye:
        assert (other == CLASS_ID["right_eye"]).sum() == 8  # the eye does not grow into the lens
        assert (other[20:30, 20:44] == CLASS_ID["skin"]).sum() == 10 * 24 - 8


def test_sunglasses_are_never_left_out():
    label_map = np.full((64, 64), CLASS_ID["skin"], np.uint8)
    label_map[20:30, 20:44], label_map[35:40, 30:34] = CLASS_ID["eyeglasses"], CLASS_ID["nose"]
    for seed in range(40):
        other = drop_classes(label_map, np.random.default_rng(seed))
        assert CLASS_ID["eyeglasses"] in other and CLASS_ID["nose"] not in other


def test_plain_maps_pass():
    for class_id in (0, CLASS_ID["hair"]):
        plain = np.full((32, 32), class_id, np.uint8)
        for operation in OPERATIONS:
            assert np.array_equal(operation(plain, np.random.default_rng(0)), plain)


def test_gaps_take_the_nearest_class():
    row = np.array([[1, 255, 255, 255, 2], [1, 255, 255, 255, 2]], np.uint8)
    filled = nearest_known(row)
    assert filled[:, [1, 3]].tolist() == [[1, 2], [1, 2]] and set(filled[:, 2]) <= {1, 2}


def test_ellipse_covers_about_the_same_pixels():
    mask = np.zeros((64, 64), np.uint8)
    mask[20:30, 12:52] = 1
    ellipse = ellipse_of(mask)
    assert abs(int(ellipse.sum()) / int(mask.sum()) - 1) < 0.2
    assert (ellipse & mask).sum() / (ellipse | mask).sum() > 0.7
    assert ellipse[:, :8].sum() == 0
