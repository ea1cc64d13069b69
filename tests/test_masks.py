import numpy as np
import pytest

from facemogle.labels import NUM_CLASSES, PALETTE
from facemogle.masks import check_label_map, condition_images, resize_nearest


def test_condition_images(label_map):
    images = condition_images(label_map)
    assert images.shape == (20, 3, 64, 64) and images.dtype == np.float32
    # In the layout of pictures the VAE's group norm is less exact on CPU.
    assert images.flags.c_contiguous
    assert np.array_equal((images[0] * 255).round().transpose(1, 2, 0), PALETTE[label_map])
    assert np.array_equal(images[1:].sum(0), np.ones((3, 64, 64)))
    for class_id in range(NUM_CLASSES):
        assert np.array_equal(images[1 + class_id, 0], label_map == class_id)


def test_background_is_a_class_like_any_other():
    images = condition_images(np.zeros((16, 16), np.uint8))
    assert images[1].all() and not images[2:].any() and not images[0].any()


@pytest.mark.parametrize("factor", [2, 3])
def test_resize_up_and_down_again(factor, label_map):
    larger = resize_nearest(label_map, 64 * factor, 64 * factor)
    assert np.array_equal(larger, label_map.repeat(factor, 0).repeat(factor, 1))
    assert np.array_equal(resize_nearest(larger, 64, 64), label_map)


def test_resize_takes_pixel_centres():
    row = np.arange(5)[None]
    assert resize_nearest(row, 1, 1).tolist() == [[2]]
    assert resize_nearest(row, 2, 3).tolist() == [[0, 2, 4]] * 2


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_good_label_maps(dtype, label_map):
    checked = check_label_map(label_map.astype(dtype))
    assert checked.dtype == np.uint8 and np.array_equal(checked, label_map)
    assert check_label_map([[0, 18]]).tolist() == [[0, 18]]


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"got shape \(4, 4, 3\).*from_colours"),
        (np.zeros(4, np.uint8), r"got shape \(4,\)"),
        (np.zeros((0, 4), np.uint8), r"empty.*Pass None"),
        (np.zeros((4, 4)), r"got float64.*astype"),
        (np.zeros((4, 4), bool), r"got bool"),
        (np.full((4, 4), 19), r"0 to 18, got \[19\]"),
        (np.full((4, 4), 255, np.uint8), r"got \[255\].*unlabelled"),
        (np.full((4, 4), -1), r"got \[-1\]"),
        ("face.png", r"got shape \(\).*read_label_map"),
    ],
)
def test_bad_label_maps(label_map, message):
    with pytest.raises(ValueError, match=message):
        check_label_map(label_map)
