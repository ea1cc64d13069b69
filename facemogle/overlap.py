"""How well two label maps agree: counts of classes against classes, and what follows from them."""

import numpy as np

from facemogle.labels import NUM_CLASSES


def confusion(read: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Two arrays of class ids of one shape -> (19, 19) counts, wanted by read. ValueError on different shapes."""
    if read.shape != wanted.shape:
        raise ValueError(
            f"read and wanted must have one shape, got {read.shape} and {wanted.shape}. "
            "Bring one to the other's size with masks.resize_nearest()."
        )
    pairs = wanted.astype(np.int64) * NUM_CLASSES + read
    return np.bincount(pairs.ravel(), minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)


def overall_agreement(counts: np.ndarray) -> float:
    """(19, 19) counts -> in 0..1, the share of all pixels, background included, on which both name one class."""
    return float(np.trace(counts) / counts.sum())


def intersection_over_union(counts: np.ndarray) -> np.ndarray:
    """(19, 19) counts -> (19,) in 0..1, NaN for a class that is neither wanted nor read."""
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), np.nan)
