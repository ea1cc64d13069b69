"""How far two sets of features are from each other. x (n, C), y (m, C); n, m: pictures, C: channels.

Pure functions of numpy arrays, in float64 unless said otherwise.
"""

import numpy as np


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Squared, of the Gaussians with their means and covariances (Heusel 2017): FID and FD-DINOv2.

    |mean_x - mean_y|^2 + tr(cov_x + cov_y - 2 (cov_x cov_y)^(1/2)). ValueError below two pictures.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"A covariance needs two pictures at least, got {len(x)} and {len(y)}.")
    moments = [(np.mean(z, axis=0), np.atleast_2d(np.cov(z, rowvar=False))) for z in (x.astype(float), y.astype(float))]
    return frechet_of_moments(*moments[0], *moments[1])


def frechet_of_moments(mean_x: np.ndarray, cov_x: np.ndarray, mean_y: np.ndarray, cov_y: np.ndarray) -> float:
    """The root's trace is the sum of the roots of the product's eigenvalues.

    They are those of cov_x^(1/2) cov_y cov_x^(1/2) as well, which is symmetric: so none comes out complex, or fails.
    """
    values, vectors = np.linalg.eigh(cov_x)
    root = vectors * np.sqrt(values.clip(0))
    trace = np.sqrt(np.linalg.eigvalsh(root.T @ cov_y @ root).clip(0)).sum()
    return float(np.sum((mean_x - mean_y) ** 2) + np.trace(cov_x) + np.trace(cov_y) - 2 * trace)


def kernel_distance(
    x: np.ndarray, y: np.ndarray, *, subsets: int = 100, size: int = 1000, seed: int = 42
) -> tuple[float, np.ndarray]:
    """KID (Binkowski 2018), unbiased, with the kernel (a b / C + 1)^3: mean over subsets, and each (subsets,).

    x: of the results, y: real. Each subset is of min(n, m, size) pictures. The seed gives the published code's own
    draws, which sets numpy's global one to 42. Products are in the features' precision, as there.
    ValueError below two pictures.
    """
    count, channels = min(len(x), len(y), size), x.shape[1]
    if count < 2:
        raise ValueError(f"A kernel distance needs two pictures at least, got {len(x)} and {len(y)}.")
    draw = np.random.RandomState(seed)
    found = np.empty(subsets)
    for subset in range(subsets):
        a = x[draw.choice(len(x), count, replace=False)]
        b = y[draw.choice(len(y), count, replace=False)]
        within = sum(_off_diagonal_sum((z @ z.T / channels + 1) ** 3) for z in (a, b))
        across = ((a @ b.T / channels + 1) ** 3).sum(dtype=float)
        found[subset] = (within / (count - 1) - 2 * across / count) / count
    return float(found.mean()), found


def _off_diagonal_sum(matrix: np.ndarray) -> float:
    return matrix.sum(dtype=float) - np.trace(matrix, dtype=float)


def gaussian_mmd(x: np.ndarray, y: np.ndarray, *, sigma: float = 10, scale: float = 1000) -> float:
    """CMMD (Jayasumana 2024): squared, biased (the diagonals stay), with the kernel exp(-|a - b|^2 / (2 sigma^2))."""
    if not len(x) or not len(y):
        raise ValueError("A distance needs pictures on both sides.")
    x, y = x.astype(float), y.astype(float)
    return scale * (_mean_kernel(x, x, sigma) + _mean_kernel(y, y, sigma) - 2 * _mean_kernel(x, y, sigma))


def _mean_kernel(x: np.ndarray, y: np.ndarray, sigma: float) -> float:
    """Row by row of a thousand: all of 30,000 pictures at once would take 7 GB."""
    total = 0.0
    for start in range(0, len(x), 1000):
        rows = x[start : start + 1000]
        squares = (rows**2).sum(1)[:, None] + (y**2).sum(1) - 2 * rows @ y.T
        total += np.exp(squares / (-2 * sigma**2)).sum()
    return total / (len(x) * len(y))
