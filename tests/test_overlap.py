"""Overlap of label maps: each number must be right where it is known."""

import numpy as np
import pytest

from facemogle.labels import NUM_CLASSES
from facemogle.overlap import confusion, intersection_over_union, overall_agreement


@pytest.fixture
def halves() -> np.ndarray:
    """(8, 8) class ids: skin above, background below."""
    label_map = np.zeros((8, 8), np.uint8)
    label_map[:4] = 1
    return label_map


def test_overlap_of_equal_and_of_shifted_maps(halves):
    iou = intersection_over_union(confusion(halves, halves))
    assert iou[0] == iou[1] == 1 and np.isnan(iou[2:]).all()
    iou = intersection_over_union(confusion(np.roll(halves, 2, axis=0), halves))
    assert iou[1] == pytest.approx(2 / 6)


def test_counts_are_of_wanted_by_read(halves):
    read = halves.copy()
    read[0, :3] = 18
    counts = confusion(read, halves)
    assert counts.shape == (NUM_CLASSES, NUM_CLASSES)
    assert counts[1, 18] == 3 and counts[18, 1] == 0
    assert overall_agreement(counts) == 61 / 64
    assert counts.sum() == halves.size
    assert intersection_over_union(counts)[18] == 0


def test_stacks_count_as_their_maps_together(halves):
    others = np.roll(halves, 1, axis=0)
    together = confusion(np.stack([others, halves]), np.stack([halves, halves]))
    assert np.array_equal(together, confusion(others, halves) + confusion(halves, halves))


def test_maps_of_two_sizes_are_refused(halves):
    with pytest.raises(ValueError, match="resize_nearest"):
        confusion(halves[:1], halves)
