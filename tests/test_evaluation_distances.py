"""Distances between sets of features against closed forms, formulas written out, and clean-fid's own functions."""

import numpy as np
import pytest
from cleanfid import fid as cleanfid
from scipy import linalg

from facemogle.evaluation.distances import frechet_distance, frechet_of_moments, gaussian_mmd, kernel_distance
from facemogle.evaluation.roc import area_under_curve, average_precision, equal_error_rate

SKLEARN = (
    (0.6040909090909091, 0.41818181818181815, 0.4848435171403693),
    (0.6736363636363636, 0.38181818181818183, 0.6312759051145607),
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_frechet_distance_of_known_gaussians(rng):
    channels = 6
    mean, turn = rng.normal(size=channels), np.linalg.qr(rng.normal(size=(channels, channels)))[0]
    stds = rng.uniform(0.5, 2, (2, channels))
    cov_x, cov_y = (turn @ np.diag(std**2) @ turn.T for std in stds)  # of the same axes, so that roots are known
    expected = np.sum(mean**2) + np.sum((stds[0] - stds[1]) ** 2)
    assert frechet_of_moments(np.zeros(channels), cov_x, mean, cov_y) == pytest.approx(expected, rel=1e-12)
    x = rng.normal(size=(200, channels))
    assert frechet_distance(x, x + mean) == pytest.approx(np.sum(mean**2), rel=1e-9)  # a shift alone
    centred = x - x.mean(0)
    spread = np.trace(np.cov(x, rowvar=False))
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * spread, rel=1e-9)  # (3 - 1)^2
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    few = x[:4]  # fewer than channels: singular
    assert frechet_distance(few, few + mean) == pytest.approx(np.sum(mean**2), rel=1e-6)
    with pytest.raises(ValueError, match="two pictures"):
        frechet_distance(x[:1], x)


def test_frechet_distance_is_clean_fids(rng):
    mix = rng.normal(size=(24, 24))
    x, y = rng.normal(size=(150, 24)) @ mix, rng.normal(0.1, 1.1, size=(120, 24))
    moments = [value for z in (x, y) for value in (z.mean(0), np.cov(z, rowvar=False))]
    try:
        expected = cleanfid.frechet_distance(*moments)
    except TypeError:  # SciPy 1.18 took an argument away that it passes
        root = linalg.sqrtm(moments[1] @ moments[3]).real
        expected = np.sum((moments[0] - moments[2]) ** 2) + np.trace(moments[1] + moments[3] - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_is_clean_fids_to_its_own_draws(rng):
    made, real = rng.normal(0.2, 1, (60, 8)), rng.normal(size=(50, 8))
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-4)):
        np.random.seed(42)  # noqa: NPY002 what the published code does
        expected = cleanfid.kernel_distance(real.astype(dtype), made.astype(dtype), num_subsets=20, max_subset_size=30)
        value, each = kernel_distance(made.astype(dtype), real.astype(dtype), subsets=20, size=30)
        assert value == pytest.approx(expected, rel=tolerance) and each.shape == (20,) and each.std() > 0


def test_kernel_distance_written_out(rng):
    x, y = rng.normal(0.5, 1, (7, 3)), rng.normal(size=(7, 3))

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    within = [np.mean([kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]) for z in (x, y)]
    expected = sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])
    value, each = kernel_distance(x, y, subsets=3)  # each subset is all there is
    assert value == pytest.approx(expected, rel=1e-12) and np.ptp(each) < 1e-12
    with pytest.raises(ValueError, match="two pictures"):
        kernel_distance(x[:1], y)


def test_gaussian_mmd_written_out(rng):
    x, y = rng.normal(0, 3, (1003, 4)), rng.normal(1, 3, (5, 4))  # more than one block of rows

    def mean_kernel(a, b):
        return np.mean(np.exp(-(np.linalg.norm(a[:, None] - b, axis=2) ** 2) / (2 * 10**2)))

    expected = 1000 * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y))
    assert gaussian_mmd(x, y) == pytest.approx(expected, rel=1e-9)
    apart = np.array([[3.0, 4.0]])  # 5 from the origin
    assert gaussian_mmd(np.zeros((4, 2)), apart) == pytest.approx(2000 * (1 - np.exp(-25 / 200)), rel=1e-12)
    assert gaussian_mmd(x, x) == pytest.approx(0, abs=1e-9)


def test_scores_tell_made_from_real_as_scikit_learn_says(rng):
    # What its roc_curve, auc and average_precision_score give for these; one decimal makes many equal scores.
    for decimals, expected in enumerate(SKLEARN, 1):
        made, real = rng.normal(0.6, 0.3, 40).round(decimals), rng.normal(0.4, 0.3, 55).round(decimals)
        found = area_under_curve(made, real), equal_error_rate(made, real), average_precision(made, real)
        assert found == pytest.approx(expected, rel=1e-12)
        pairs = np.sign(made[:, None] - real)
        assert found[0] == pytest.approx(np.mean(pairs == 1) + np.mean(pairs == 0) / 2)
    ones, zeros = np.ones(3), np.zeros(4)
    assert [area_under_curve(ones, zeros), equal_error_rate(ones, zeros), average_precision(ones, zeros)] == [1, 0, 1]
    assert area_under_curve(ones, ones) == 0.5
