"""What it costs to take a region of a drawing for a class: negative logarithms of likelihoods, from statistics of maps.

Of regions alone, by place and size in a face, and of two, by how they lie to each other. R: regions; K: the classes,
and NOTHING behind them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from facemogle.labels import CLASS_ID, LEFT_RIGHT_PAIRS, NAMES, NUM_CLASSES
from facemogle.sketch.regions import Regions

NOTHING = NUM_CLASSES  # belongs to what it lies in: a curl, a wrinkle, a highlight
_UNLIKELY, _WRONG = 4.0, 8.0
_FRINGE = 0.44  # hair hangs lower than this beside the face: in 95% of the maps to 0.46
# Where classes lie and how large they are, in shares of the picture: the first form of each near the medians over 1,000
# label maps as in CelebAMask-HQ. Second forms (halves, open mouths, single lenses) and spreads are set by hand, these
# mostly wider than in the maps, since hands are less exact.
# The columns: how rare (-log of the share of faces that have it), distance of the centre from the middle column and its
# spread, row and its spread, width, height, and the spread of both's logarithm.
_FORMS: dict[str, list[tuple[float, ...]]] = {
    "background": [(0.0, 0.0, 0.15, 0.45, 0.15, 1.0, 0.9, 0.5), (2.5, 0.35, 0.1, 0.6, 0.25, 0.15, 0.2, 1.0)],
    "skin": [(0.0, 0.0, 0.05, 0.549, 0.06, 0.49, 0.7, 0.35), (1.0, 0.0, 0.15, 0.5, 0.15, 0.2, 0.2, 0.9)],
    "nose": [(0.0, 0.0, 0.035, 0.577, 0.04, 0.139, 0.197, 0.5)],
    "eyeglasses": [(2.8, 0.0, 0.04, 0.49, 0.05, 0.51, 0.16, 0.4), (3.2, 0.13, 0.04, 0.48, 0.04, 0.2, 0.15, 0.3)],
    "eye": [(0.0, 0.122, 0.035, 0.478, 0.035, 0.086, 0.035, 0.5)],
    "brow": [(0.0, 0.127, 0.04, 0.415, 0.04, 0.155, 0.05, 0.5)],
    "ear": [(0.7, 0.3, 0.06, 0.56, 0.06, 0.075, 0.177, 0.5)],
    "mouth": [(0.6, 0.0, 0.035, 0.744, 0.035, 0.18, 0.035, 0.5), (1.0, 0.0, 0.035, 0.75, 0.035, 0.2, 0.09, 0.4)],
    "upper_lip": [(0.0, 0.0, 0.035, 0.726, 0.03, 0.2, 0.033, 0.5)],
    "lower_lip": [(0.0, 0.0, 0.035, 0.766, 0.03, 0.19, 0.055, 0.5)],
    "hair": [(0.0, 0.0, 0.11, 0.378, 0.13, 0.75, 0.7, 0.5), (1.5, 0.27, 0.07, 0.5, 0.13, 0.13, 0.35, 0.6)],
    "hat": [(2.9, 0.0, 0.1, 0.17, 0.09, 0.75, 0.36, 0.4)],
    "earring": [(2.0, 0.29, 0.06, 0.7, 0.06, 0.05, 0.08, 0.7)],
    "necklace": [(3.3, 0.0, 0.12, 0.92, 0.05, 0.4, 0.08, 0.6)],
    "neck": [(0.0, 0.0, 0.09, 0.92, 0.05, 0.35, 0.17, 0.6)],
    "cloth": [(0.5, 0.0, 0.15, 0.95, 0.05, 0.8, 0.17, 0.6), (1.5, 0.3, 0.12, 0.94, 0.05, 0.4, 0.15, 0.6)],
}
FEATURES = ("nose", "left_eye", "right_eye", "left_brow", "right_brow", "mouth", "upper_lip", "lower_lip")
_IN_FACE = (*FEATURES, "eyeglasses")
_STROKES = (*_IN_FACE, "necklace")  # what a single line may be
_ONCE = (*FEATURES, "left_ear", "right_ear")
_UNLIKELY, _WRONG = 4.0, 8.0
_HOPELESS = 25.0  # worse than another face: not worth moving the frame for
_FRINGE = 0.44  # hair hangs lower than this beside the face: in 95% of the maps to 0.46
# The upper of each two, in pictures of faces.
_UPPER_LOWER = (
    ("left_brow", "left_eye"), ("right_brow", "right_eye"), ("left_eye", "nose"), ("right_eye", "nose"),
    ("nose", "upper_lip"), ("nose", "mouth"), ("nose", "lower_lip"), ("upper_lip", "mouth"), ("mouth", "lower_lip"),
    ("upper_lip", "lower_lip"), ("neck", "cloth"), ("hat", "hair"), ("skin", "neck"), ("hair", "cloth"),
    ("left_brow", "nose"), ("right_brow", "nose"), ("skin", "cloth"),
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """Pixels of the drawing -> shares of a face's picture: x * scale_x + x_0, y * scale_y + y_0."""

    scale_x: float
    scale_y: float
    x_0: float
    y_0: float

    def matrix(self) -> np.ndarray:
        """(2, 3)"""
        return np.array([[self.scale_x, 0, self.x_0], [0, self.scale_y, self.y_0]])


def forms_of(class_id: int) -> list[tuple[float, ...]]:
    name = NAMES[class_id]
    return _FORMS[name.split("_")[1] if name.startswith(("left", "right")) else name]


def side_of(class_id: int) -> int:
    """Of a class's place across, 0 where it has no side. `left` is the subject's left: right in the picture."""
    return {"left": 1, "right": -1}.get(NAMES[class_id].split("_")[0], 0)


def single_costs(regions: Regions, frame: Frame, face: int | None) -> np.ndarray:
    """(R, K)"""
    count = len(regions)
    x, y = regions.centres[:, 0] * frame.scale_x + frame.x_0 - 0.5, regions.centres[:, 1] * frame.scale_y + frame.y_0
    sides = regions.boxes[:, 2:] - regions.boxes[:, :2]
    wide, high = sides[:, 0] * frame.scale_x, sides[:, 1] * frame.scale_y
    costs = np.zeros((count, NUM_CLASSES + 1))
    for class_id in range(NUM_CLASSES):
        side = side_of(class_id)
        forms = []
        for rare, offset, across, row, down, width, height, spread in forms_of(class_id):
            place = (x * side if side else np.abs(x)) - offset
            off = [place / across, (y - row) / down, np.log(wide / width) / spread, np.log(high / height) / spread]
            forms.append(rare + sum(np.minimum(one**2 / 2, 7) for one in off) + np.log(across * down * spread**2))
        costs[:, class_id] = np.min(forms, axis=0)
    costs[:, NOTHING] = np.where(regions.strokes, 2.5, 5.0) + np.minimum(regions.filled * frame.scale_x**2 * 200, 10)
    costs[regions.slivers, NOTHING] -= 7
    inside = _share_inside(regions, frame, face)
    left, top, right, bottom = regions.borders.T
    touches = regions.borders.sum(1)
    for name, class_id in CLASS_ID.items():
        if name in _IN_FACE:
            costs[:, class_id] += 8 * (1 - inside) + 5 * (touches > 0)
        elif name == "skin":
            costs[:, class_id] += 6 * (1 - inside) + 3 * touches
        elif name != "background":
            costs[:, class_id] += (6 if name == "hair" else 8) * inside
        if name not in _STROKES:
            costs[regions.strokes, class_id] += 2.0 if name in ("hair", "hat") else _WRONG  # an outline left open
    background, cloth, neck = CLASS_ID["background"], CLASS_ID["cloth"], CLASS_ID["neck"]
    costs[:, background] += np.where(touches == 0, 2.0, 0) + 8 * inside
    corner = top & (left | right)
    costs[corner, background] -= 3
    costs[corner & left & right, :] += 20
    costs[corner & left & right, background] -= 20
    low = regions.boxes[:, 3] * frame.scale_y + frame.y_0
    costs[:, CLASS_ID["hair"]] += np.minimum(np.maximum((_FRINGE - low) / 0.05, 0) ** 2 / 2, 6)
    costs[:, cloth] += np.where(bottom, 0, 1.5) + 6 * top
    costs[:, neck] += 3 * (left | right | top)
    return costs


def _share_inside(regions: Regions, frame: Frame, face: int | None) -> np.ndarray:
    """(R,) in 0..1: of each region in the face, which is the outline found and where a face would be."""
    height, width = regions.region_of.shape
    area = np.zeros((height, width), np.uint8)
    centre = ((0.5 - frame.x_0) / frame.scale_x, (0.545 - frame.y_0) / frame.scale_y)
    axes = (2 * 0.24 / frame.scale_x, 2 * 0.335 / frame.scale_y)
    if face is None:
        cv2.ellipse(area, (centre, axes, 0), 1, -1)
    else:
        area |= regions.outline(face).astype(np.uint8)
        # Glasses or a fringe may cut the outline in two.
        inner = (0.8 * axes[0], 0.75 * axes[1])
        cv2.ellipse(area, (centre, inner, 0), 1, -1)
    return np.array([area[regions.region_of == region].mean() for region in range(len(regions))])


def pair_costs(regions: Regions, frame: Frame) -> np.ndarray:
    """(R, R, K, K)"""
    x, y = regions.centres[:, 0] * frame.scale_x, regions.centres[:, 1] * frame.scale_y
    right_of, below, sizes = x[:, None] - x, y[:, None] - y, np.log(np.maximum(regions.filled, 1))
    apart = np.minimum((below / 0.05) ** 2 / 2 + (sizes[:, None] - sizes) ** 2 / 2, 3)
    nested = regions.within | regions.within.T
    directly = regions.within & ~(regions.within.astype(int) @ regions.within > 0)  # with nothing between them
    side = np.sign(x + frame.x_0 - 0.5)
    weighted = [
        (np.where(nested, 0, np.where(regions.touching > 0.15, 3, _WRONG)), _diagonal(dict.fromkeys(_ONCE, 1.0))),
        (~nested & (side[:, None] == side), _diagonal({"earring": 3.0})),
        (regions.touching, _LINED),
        (apart, _SIDES + _SIDES.T),
        (_WRONG * (right_of <= 0), _SIDES),
        (_WRONG * (right_of >= 0), _SIDES.T),
        (_UNLIKELY * (below > 0), _ABOVE),
        (_UNLIKELY * (below < 0), _ABOVE.T),
        (directly, _NESTED),
        (directly.T, _NESTED.T),
    ]
    amounts, tables = (np.stack(each).astype(np.float32) for each in zip(*weighted, strict=True))
    amounts[:, np.eye(len(regions), dtype=bool)] = 0
    return np.einsum("tij,tab->ijab", amounts, tables, optimize=True)


def _table(costs: Iterable[tuple[str, str, float]]) -> np.ndarray:
    """(K, K) of (class of the one, class of the other, cost)."""
    table = np.zeros((NUM_CLASSES + 1, NUM_CLASSES + 1))
    for one, other, cost in costs:
        table[CLASS_ID[one], CLASS_ID[other]] += cost
    return table


def _diagonal(costs: dict[str, float]) -> np.ndarray:
    return _table((name, name, cost) for name, cost in costs.items())


_BROWS = ("left_brow", "right_brow")
# Of regions along each other: a line between two of one class would mean nothing, and brows lie in the skin.
_LINED = _diagonal({"hair": 3.0, "skin": 2.0, "background": 3.0, "hat": 2.0, "neck": 2.0, "cloth": 1.0})
_LINED += _table([pair for brow in _BROWS for pair in (("hair", brow, 6.0), (brow, "hair", 6.0))])
_SIDES = _table((NAMES[left], NAMES[right], 1.0) for left, right in LEFT_RIGHT_PAIRS)
_ABOVE = _table((upper, lower, 1.0) for upper, lower in _UPPER_LOWER)
# Of a region, and one that lies in it.
_NESTED = _table(
    [
        *((outer, inner, _UNLIKELY) for outer in FEATURES for inner in NAMES if inner != outer),
        *(("skin", inner, _UNLIKELY) for inner in NAMES if inner not in (*_IN_FACE, "skin", "hair")),
        ("skin", "skin", 3.0),
        *(("background", inner, _UNLIKELY) for inner in FEATURES),
        *(("eyeglasses", brow, _UNLIKELY) for brow in _BROWS),
        *(("eyeglasses", eye, -1.0) for eye in ("left_eye", "right_eye")),
    ]
)


def whole_costs(states: np.ndarray) -> np.ndarray:
    """Of whole namings (B, R): what a face has to have."""
    has = {name: (states == class_id).any(1) for name, class_id in CLASS_ID.items()}
    cost = np.zeros(len(states))
    for left, right in LEFT_RIGHT_PAIRS:
        cost += 2.0 * (has[NAMES[left]] ^ has[NAMES[right]])
    cost += 3.0 * (has["hat"] & ~has["hair"])
    lips = has["lower_lip"].astype(int) + has["upper_lip"]
    cost += np.where(lips == 1, 1.0 + 2.0 * has["mouth"], 0)
    cost += 2.0 * (~has["background"])
    return cost
