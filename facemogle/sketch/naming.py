"""Which class each region of a drawing is: the sum of all costs is made as small as a beam search finds it.

A face is laid on the drawing by a `Frame`, first by the outline of a region that may be the face, then by its features.
R: regions; K: the classes, and NOTHING behind them.
"""

from dataclasses import dataclass

import numpy as np

from facemogle.labels import CLASS_ID, NUM_CLASSES
from facemogle.sketch.costs import FEATURES, Frame, forms_of, pair_costs, side_of, single_costs, whole_costs
from facemogle.sketch.regions import Regions

BEAM = 100
_FACELESS = 12.0


@dataclass(frozen=True, eq=False)
class Naming:
    """`classes` (R,) of 0..18 or NOTHING; `likelihoods` (R, K) of each region's own, the others as they are."""

    frame: Frame
    classes: np.ndarray
    likelihoods: np.ndarray
    cost: float


def name_regions(regions: Regions, fixed: dict[int, int]) -> Naming:
    """fixed: region -> class id that is known."""
    height, width = regions.region_of.shape
    found = []
    for face in (*_faces(regions), None):
        if face is not None and fixed.get(face, CLASS_ID["skin"]) != CLASS_ID["skin"]:
            continue
        frame = Frame(1 / width, 1 / height, 0, 0) if face is None else _frame_of(regions, face)
        known = fixed if face is None else fixed | {face: CLASS_ID["skin"]}
        found.append((_named(regions, frame, face, known), face, known))
    # A drawing without a face is the last thing to believe.
    naming, face, known = min(found, key=lambda one: one[0].cost + _FACELESS * (one[1] is None))
    for _ in range(2):
        again = _named(regions, _refitted(regions, naming), face, known)
        naming = min(naming, again, key=lambda one: one.cost)
    return naming


def _faces(regions: Regions) -> list[int]:
    """Regions that may be the face, the likeliest first."""
    if not len(regions):
        return []
    height, width = regions.region_of.shape
    share = regions.filled / (height * width)
    sides = regions.boxes[:, 2:] - regions.boxes[:, :2]
    slim = sides[:, 0] / sides[:, 1]
    fits = (
        ~regions.strokes & (share > 0.03) & (share < 0.6) & (regions.borders.sum(1) <= 1) & (slim > 0.4) & (slim < 1.7)
    )
    holds = regions.within.sum(1)
    order = sorted(np.flatnonzero(fits), key=lambda region: (-min(holds[region], 3), -regions.areas[region]))
    return [int(region) for region in order[:4]]


def _frame_of(regions: Regions, face: int) -> Frame:
    left, _, right, bottom = regions.boxes[face]
    scale = 0.492 / (right - left)
    return Frame(scale, scale, 0.504 - scale * (left + right) / 2, 0.905 - scale * bottom)


def _refitted(regions: Regions, naming: Naming) -> Frame:
    """Moved and stretched so that the features lie where they do in faces."""
    places = []
    for region in np.flatnonzero(np.isin(naming.classes, [CLASS_ID[name] for name in FEATURES])):
        class_id = int(naming.classes[region])
        _, offset, _, row, *_ = forms_of(class_id)[0]
        places.append((*regions.centres[region], 0.5 + side_of(class_id) * offset, row))
    if not places:
        return naming.frame
    frame = naming.frame
    x, y, to_x, to_y = np.array(places).T
    scale_x, x_0 = _line(x, to_x, frame.scale_x, frame.x_0)
    scale_y, y_0 = _line(y, to_y, frame.scale_y, frame.y_0)
    return Frame(scale_x, scale_y, x_0, y_0)


def _line(values: np.ndarray, targets: np.ndarray, scale: float, offset: float) -> tuple[float, float]:
    """Least squares, held to what it was by the four corners of the face."""
    held = (np.array([0.25, 0.25, 0.75, 0.75]) - offset) / scale
    values, targets = np.r_[values, held], np.r_[targets, 0.25, 0.25, 0.75, 0.75]
    weights = np.r_[np.ones(len(values) - 4), np.full(4, 0.3)]
    slope, shift = np.polyfit(values, targets, 1, w=np.sqrt(weights))
    return float(np.clip(slope, 0.6 * scale, 1.6 * scale)), float(shift)


def _named(regions: Regions, frame: Frame, face: int | None, fixed: dict[int, int]) -> Naming:
    single, pairs = single_costs(regions, frame, face), pair_costs(regions, frame)
    for region, class_id in fixed.items():
        single[region, np.arange(NUM_CLASSES + 1) != class_id] += 100
    order = np.argsort(-regions.filled, kind="stable")
    states, costs = np.zeros((1, 0), int), np.zeros(1)
    for place, region in enumerate(order):
        step = costs[:, None] + single[region]
        for before in range(place):
            step = step + pairs[region, order[before]][:, states[:, before]].T
        best = np.argsort(step, axis=None, kind="stable")[:BEAM]
        parents, choices = np.unravel_index(best, step.shape)
        states, costs = np.c_[states[parents], choices], step[parents, choices]
    whole = costs + whole_costs(states)
    winner = int(whole.argmin())
    classes = np.zeros(len(regions), int)
    classes[order] = states[winner]
    cost = float(whole[winner])
    # The beam may have lost what one region more or less makes better.
    given = _given(single, pairs, classes)
    for _ in range(2 * len(regions)):
        gain = given[np.arange(len(regions)), classes][:, None] - given
        if gain.max(initial=0) < 1e-6:
            break
        region, class_id = divmod(int(gain.argmax()), NUM_CLASSES + 1)
        cost -= float(gain[region, class_id])
        classes[region] = class_id
        given = _given(single, pairs, classes)
    likelihoods = np.exp(given.min(1, keepdims=True) - given)
    return Naming(frame, classes, likelihoods / likelihoods.sum(1, keepdims=True), cost)


def _given(single: np.ndarray, pairs: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(R, K): what each class of a region would cost, the others being of these classes (R,)."""
    costs = single + pairs[:, np.arange(len(classes)), :, classes].sum(0)
    for region in range(len(classes)):
        instead = np.repeat(classes[None], NUM_CLASSES + 1, 0)
        instead[:, region] = np.arange(NUM_CLASSES + 1)
        costs[region] += whole_costs(instead)
    return costs
