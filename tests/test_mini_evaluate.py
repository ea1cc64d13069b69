"""The yardsticks: each must give the right answer where it is known."""

import numpy as np
import pytest

from facemogle.parsing.mini import MiniParser
from train.mini import evaluate


def test_kernel_distance_grows_with_what_differs():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 300, 6))
    assert abs(evaluate.kernel_distance(one, other)) < 0.05
    assert evaluate.kernel_distance(one + 0.5, other) > 10 * abs(evaluate.kernel_distance(one, other))


def test_kernel_distance_does_not_depend_on_where_the_features_lie():
    """The parser's are no deviations from 0: a kernel of them as they are would tell of their size alone."""
    rng = np.random.default_rng(0)
    size, middle = 10.0 ** rng.uniform(-2, 2, 64), rng.uniform(-50, 50, 64)
    one, other = (rng.normal(size=(2, 300, 64)) + middle) * size
    halves = evaluate.kernel_distance(one, other)
    assert abs(halves) < 0.05
    assert evaluate.kernel_distance(one + size, other) > max(1, 20 * abs(halves))
    assert np.isclose(halves, evaluate.kernel_distance(one - middle * size, other - middle * size), atol=1e-6)


def test_features_tell_pictures_apart():
    pictures = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    rows = evaluate.features(MiniParser(size=32, widths=(8, 8, 8), dilations=(1,)).eval(), pictures)
    assert rows.shape == (3, 16)
    assert len(np.unique(rows.round(6), axis=0)) == 3


def test_total_variation_tells_how_far_apart_two_gatings_are():
    one = np.zeros((1, 20, 2, 2))
    one[0, 3] = 1
    other = one.copy()
    other[0, 3, 0, 0], other[0, 4, 0, 0] = 0.75, 0.25
    other[0, 3, 1, 1], other[0, 5, 1, 1] = 0, 1
    assert evaluate.total_variation(one, other) == pytest.approx((0.25 + 1) / 4)
