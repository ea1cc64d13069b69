import tracemalloc

import numpy as np
import pytest

from facemogle import labels


@pytest.fixture
def label_map():
    return np.random.default_rng(0).integers(0, labels.NUM_CLASSES, (12, 10), dtype=np.uint8)


def test_classes():
    assert len(labels.NAMES) == len(set(labels.NAMES)) == labels.NUM_CLASSES == 19
    assert len({tuple(colour) for colour in labels.PALETTE.tolist()}) == 19
    assert labels.NAMES[labels.CLASS_ID["hair"]] == "hair"


def test_colours_and_back(label_map):
    picture = labels.to_colours(label_map)
    assert picture.shape == (12, 10, 3) and picture.dtype == np.uint8
    class_ids, off_palette = labels.from_colours(picture)
    assert np.array_equal(class_ids, label_map) and class_ids.dtype == np.uint8
    assert off_palette == 0


def test_published_variant_is_read_and_never_written():
    variant = np.full((2, 2, 3), (51, 255, 255), np.uint8)
    class_ids, off_palette = labels.from_colours(variant)
    assert (class_ids == labels.CLASS_ID["right_brow"]).all() and off_palette == 0
    assert not np.array_equal(labels.to_colours(class_ids), variant)


def test_colours_off_the_palette_take_the_nearest(label_map):
    picture = labels.to_colours(label_map).astype(int)
    picture[0, :4] += np.where(picture[0, :4] < 128, 5, -5)
    class_ids, off_palette = labels.from_colours(picture.astype(np.uint8))
    assert np.array_equal(class_ids, label_map) and off_palette == 4


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_colour_mask(picture):
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        labels.from_colours(picture)


def test_mirror(label_map):
    mirrored = labels.mirror(label_map)
    assert np.array_equal(labels.mirror(mirrored), label_map) and mirrored.dtype == label_map.dtype
    left, right = labels.CLASS_ID["left_eye"], labels.CLASS_ID["right_eye"]
    assert np.array_equal(mirrored == right, (label_map == left)[:, ::-1])
    assert np.array_equal(mirrored == labels.CLASS_ID["hair"], (label_map == labels.CLASS_ID["hair"])[:, ::-1])


def test_a_photo_of_many_colours_takes_little_memory():
    photo = np.random.default_rng(0).integers(256, size=(1000, 1000, 3), dtype=np.uint8)
    tracemalloc.start()
    labels.from_colours(photo)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6  # bytes; all distances at once would be a gigabyte
