"""95% intervals by bootstrap: faces are drawn anew, with all their pictures, and the value is computed of each draw.

n pictures, k numbers of each, b draws.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache

import numpy as np

DRAWS = 1_000
Interval = tuple[float, float]


def of_mean(
    values: Sequence[float] | np.ndarray, *, faces: Sequence[Hashable] | None = None, seed: int = 0
) -> Interval:
    """Of the mean of (n,) values. faces: whose each is, where some are of one face and so depend on each other."""
    rows = np.stack([np.asarray(values, float), np.ones(len(values))], axis=1)
    return of_sums(rows, lambda sums: sums[:, 0] / sums[:, 1], faces=faces, seed=seed)


def of_sums(
    rows: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    faces: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Interval:
    """Of a value that follows from the sum of (n, k) rows; statistic: sums of all draws (b, k) -> values (b,)."""
    if faces is not None:
        places = {face: place for place, face in enumerate(dict.fromkeys(faces))}
        summed = np.zeros((len(places), rows.shape[1]))
        np.add.at(summed, [places[face] for face in faces], rows)
        rows = summed
    values = statistic(_counts(len(rows), seed) @ rows.astype(float))
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)


@lru_cache(maxsize=2)
def _counts(n: int, seed: int) -> np.ndarray:
    """(b, n): how often each is drawn."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(float)
