"""Class statistics of portraits beside those of real label maps: how often a class is there, how large, and where."""

import numpy as np

from facemogle.labels import NAMES
from train.mini.portraits import WIDE, World, render, sample_attributes
from train.mini.report import table

COLUMNS = ("present", "share 25%", "share 50%", "share 75%", "x 5%", "x 50%", "x 95%", "y 5%", "y 50%", "y 95%")

# Of 1,000 label maps as in CelebAMask-HQ: the share of the maps that have the class, and, where they do, quantiles of
# its share of the picture and of its centre in fractions of width and height.
REAL: dict[str, tuple[float, ...]] = {
    "background": (1.000, 0.1994, 0.2860, 0.3765, 0.175, 0.492, 0.810, 0.189, 0.432, 0.559),
    "skin": (1.000, 0.2208, 0.2546, 0.2865, 0.419, 0.503, 0.586, 0.498, 0.549, 0.641),
    "nose": (1.000, 0.0187, 0.0205, 0.0224, 0.471, 0.499, 0.526, 0.555, 0.577, 0.597),
    "eyeglasses": (0.058, 0.0423, 0.0525, 0.0673, 0.466, 0.499, 0.535, 0.212, 0.490, 0.519),
    "left_eye": (0.970, 0.0018, 0.0023, 0.0027, 0.381, 0.621, 0.630, 0.470, 0.478, 0.486),
    "right_eye": (0.971, 0.0018, 0.0023, 0.0028, 0.369, 0.378, 0.617, 0.469, 0.477, 0.484),
    "left_brow": (0.967, 0.0032, 0.0041, 0.0053, 0.376, 0.626, 0.651, 0.388, 0.415, 0.436),
    "right_brow": (0.964, 0.0030, 0.0041, 0.0053, 0.346, 0.370, 0.618, 0.388, 0.416, 0.437),
    "left_ear": (0.531, 0.0043, 0.0082, 0.0125, 0.206, 0.805, 0.937, 0.469, 0.561, 0.655),
    "right_ear": (0.476, 0.0037, 0.0067, 0.0116, 0.067, 0.206, 0.778, 0.465, 0.564, 0.668),
    "mouth": (0.564, 0.0021, 0.0046, 0.0069, 0.482, 0.499, 0.517, 0.720, 0.744, 0.771),
    "upper_lip": (0.995, 0.0032, 0.0040, 0.0049, 0.481, 0.499, 0.517, 0.695, 0.726, 0.751),
    "lower_lip": (0.996, 0.0055, 0.0066, 0.0079, 0.484, 0.499, 0.513, 0.738, 0.766, 0.798),
    "hair": (0.969, 0.1862, 0.3182, 0.4504, 0.312, 0.502, 0.680, 0.165, 0.378, 0.543),
    "hat": (0.053, 0.1382, 0.2109, 0.2576, 0.296, 0.482, 0.677, 0.108, 0.211, 0.352),
    "earring": (0.233, 0.0010, 0.0047, 0.0109, 0.107, 0.511, 0.879, 0.591, 0.705, 0.851),
    "necklace": (0.036, 0.0003, 0.0007, 0.0019, 0.196, 0.464, 0.769, 0.831, 0.934, 0.982),
    "neck": (0.975, 0.0305, 0.0419, 0.0515, 0.253, 0.504, 0.749, 0.858, 0.925, 0.951),
    "cloth": (0.595, 0.0167, 0.0394, 0.0741, 0.129, 0.505, 0.873, 0.843, 0.936, 0.976),
}  # fmt: skip


def class_statistics(label_maps) -> dict[str, tuple[float, ...]]:
    """Label maps (each (H, W) class ids) -> for each class the numbers of `COLUMNS`; NaN where it never occurs."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in NAMES}
    count = 0
    for label_map in label_maps:
        count += 1
        height, width = label_map.shape
        for class_id in np.unique(label_map):
            rows, columns = np.nonzero(label_map == class_id)
            place = (columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height
            found[NAMES[class_id]].append((len(rows) / label_map.size, *place))
    statistics = {}
    for name, values in found.items():
        shares, x, y = np.array(values).T if values else np.full((3, 1), np.nan)
        quantiles = (*np.quantile(shares, (0.25, 0.5, 0.75)), *np.quantile(x, (0.05, 0.5, 0.95)))
        statistics[name] = (len(values) / count, *map(float, quantiles), *map(float, np.quantile(y, (0.05, 0.5, 0.95))))
    return statistics


def statistics_table(count: int = 500, *, world: World | None = WIDE, seed: int = 0, size: int = 128) -> str:
    """A Markdown table: `count` portraits of a world, each number beside that of the real maps in brackets."""
    maps = (render(sample_attributes(np.random.default_rng(seed + i), world), size)[1] for i in range(count))
    digits = [2] + [3] * 3 + [2] * 6
    rows = []
    for name, values in class_statistics(maps).items():
        triples = zip(values, REAL[name], digits, strict=True)
        rows.append([name, *(f"{ours:.{n}f} ({real:.{n}f})" for ours, real, n in triples)])
    return table(["class", *COLUMNS], rows)
