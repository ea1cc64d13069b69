"""How well scores tell made pictures from real ones. made (n,), real (m,): the higher, the surer that one is made."""

import numpy as np


def area_under_curve(made: np.ndarray, real: np.ndarray) -> float:
    """The share of pairs in which the made one has the higher score; equal ones count half. 0.5: it cannot tell."""
    false, true, _ = _curve(made, real)
    return float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))


def equal_error_rate(made: np.ndarray, real: np.ndarray) -> float:
    """The false positive rate where it is nearest to the false negative rate, among the curve's corners.

    Points within a straight part are no corners, as with scikit-learn, which Wavelet-CLIP's code computes it with.
    """
    false, true, _ = _curve(made, real)
    counts = np.stack([false * len(real), true * len(made)])
    bends = np.abs(np.diff(counts, 2)).max(0) > 0.5 if counts.shape[1] > 2 else np.empty(0, bool)
    corners = np.r_[True, bends, True]
    false, true = false[corners], true[corners]
    return float(false[np.argmin(np.abs(1 - true - false))])


def average_precision(made: np.ndarray, real: np.ndarray) -> float:
    """The precision at each threshold, by how much recall it adds."""
    _, true, precision = _curve(made, real)
    return float(np.sum(np.diff(true) * precision[1:]))


def _curve(made: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False and true positive rates and precision, at each threshold from above all scores down to the lowest."""
    if not len(made) or not len(real):
        raise ValueError("Telling made pictures from real ones needs both.")
    scores = np.concatenate([made, real]).astype(float)
    is_made = np.arange(len(scores)) < len(made)
    order = np.argsort(-scores, kind="stable")
    last = np.r_[np.diff(scores[order]) != 0, True]  # of equal scores
    true, false = np.cumsum(is_made[order])[last], np.cumsum(~is_made[order])[last]
    precision = np.r_[1, true / (true + false)]
    return np.r_[0, false / len(real)], np.r_[0, true / len(made)], precision
