"""From named regions to a whole label map: every line goes to a region, and what is missing comes from a template.

H, W: pixels.
"""

from functools import cache

import cv2
import numpy as np

from facemogle.labels import CLASS_ID, NAMES, mirror
from facemogle.sketch.costs import NOTHING, Frame
from facemogle.sketch.naming import Naming
from facemogle.sketch.regions import Regions
from facemogle.templates import TEMPLATES, template_face

_PEN = 0.016  # of the longer side: as thick as a stroke for brows or lips becomes
_UNLINED = 255
# Parts that a face has, and the classes that they may be painted on. A part comes from the template if none of it is
# drawn. Eyes may be behind glasses.
_PARTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("neck",), ("background",)),
    (("cloth",), ("background",)),
    (("left_ear", "right_ear"), ("background",)),
    (("left_brow",), ("skin",)),
    (("right_brow",), ("skin",)),
    (("left_eye",), ("skin",)),
    (("right_eye",), ("skin",)),
    (("nose",), ("skin",)),
    (("upper_lip", "lower_lip", "mouth"), ("skin",)),
)
_WORTH = 0.5  # of a template's part that finds place, or it is left out: ears under hair


def painted(regions: Regions, naming: Naming, width: float) -> np.ndarray:
    """-> (H, W) class ids. A line belongs to the smaller, which is the inner, of what it parts."""
    classes = _without_nothing(regions, naming.classes)
    label_map = np.full(regions.region_of.shape, _UNLINED, np.uint8)
    label_map[regions.region_of >= 0] = classes[regions.region_of[regions.region_of >= 0]]
    lines = regions.region_of < 0
    around = np.ones((2 * round(width) + 1,) * 2, np.uint8)
    for region in np.argsort(-regions.filled, kind="stable"):
        if not regions.strokes[region]:
            grown = cv2.dilate((regions.region_of == region).astype(np.uint8), around) > 0
            label_map[grown & lines] = classes[region]
    label_map = nearest_known(label_map)
    for region in np.flatnonzero(regions.strokes & (naming.classes != NOTHING)):
        where = _thickened(regions, int(region), NAMES[classes[region]], width)
        if NAMES[classes[region]] in ("hair", "hat"):  # an outline left open, around the face
            where &= label_map == CLASS_ID["background"]
        label_map[where] = classes[region]
    return label_map


def _without_nothing(regions: Regions, classes: np.ndarray) -> np.ndarray:
    """What means nothing takes the class of what it lies in, or else touches most."""
    classes = classes.copy()
    for region in np.argsort(-regions.filled, kind="stable"):
        if classes[region] == NOTHING:
            holders = np.flatnonzero(regions.within[:, region] & (classes != NOTHING))
            beside = np.where(classes == NOTHING, -1, regions.touching[region])
            holder = holders[regions.filled[holders].argmin()] if len(holders) else beside.argmax()
            classes[region] = classes[holder] if classes[holder] != NOTHING else CLASS_ID["background"]
    return classes


def _thickened(regions: Regions, region: int, name: str, width: float) -> np.ndarray:
    """(H, W) bool: a stroke as a part of a face, which may be what the stroke goes around."""
    mask = (regions.region_of == region).astype(np.uint8)
    if name in ("nose", "left_eye", "right_eye", "hair", "hat"):
        points = np.argwhere(mask)[:, ::-1].astype(np.int32)
        mask = cv2.fillConvexPoly(mask, cv2.convexHull(points), 1)
    half = round((max(_PEN * max(mask.shape), width) - width) / 2)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * half + 1, 2 * half + 1))
    return cv2.dilate(mask, disc) > 0


def nearest_known(label_map: np.ndarray) -> np.ndarray:
    """(H, W) class ids, 255 where none is known -> the same, there with the class of the nearest known pixel."""
    unknown = label_map == _UNLINED
    if not unknown.any() or unknown.all():
        return np.where(unknown, 0, label_map).astype(np.uint8)
    nearest = cv2.distanceTransformWithLabels(unknown.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[
        1
    ]
    class_of = np.zeros(nearest.max() + 1, np.uint8)
    class_of[nearest[~unknown]] = label_map[~unknown]
    return class_of[nearest]


def completed(label_map: np.ndarray, frame: Frame, drawn: set[str]) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """-> the map with what is missing, the template that it came from, and the names of the classes that came from it.

    drawn: names of the classes that the drawing has.
    """
    kind, template = _nearest(label_map, frame)
    if "skin" not in drawn:  # parts without a face: the template's lies under them
        whole = np.where(np.isin(label_map, (CLASS_ID["background"], CLASS_ID["skin"])), template, label_map)
        added = sorted({NAMES[class_id] for class_id in np.unique(whole)} - drawn, key=CLASS_ID.__getitem__)
        return whole.astype(np.uint8), kind, tuple(added)
    whole, added = label_map.copy(), []
    for part, places in _PARTS:
        if drawn.intersection(part) or (part[0].endswith("eye") and "eyeglasses" in drawn):
            continue
        ids = [CLASS_ID[name] for name in part]
        wanted = np.isin(template, ids)
        free = wanted & np.isin(label_map, [CLASS_ID[name] for name in places])
        if wanted.any() and free.sum() >= _WORTH * wanted.sum() * (part[0] not in ("neck", "cloth")):
            whole[free] = template[free]
            added += [name for name in part if (template[free] == CLASS_ID[name]).any()]
    return whole, kind, tuple(added)


def _nearest(label_map: np.ndarray, frame: Frame) -> tuple[str, np.ndarray]:
    """The template that agrees with most of the map, laid on it."""
    laid = {kind: _laid(face, frame, label_map.shape) for kind, face in _templates().items()}
    kind = max(laid, key=lambda one: int((laid[one] == label_map).sum()))
    return kind, laid[kind]


@cache
def _templates() -> dict[str, np.ndarray]:
    faces = {kind: template_face(kind) for kind in TEMPLATES}
    turned = {f"{kind}, mirrored": mirror(faces[kind]) for kind, one in TEMPLATES.items() if one.turn}
    return faces | {kind: np.ascontiguousarray(face) for kind, face in turned.items()}


def _laid(face: np.ndarray, frame: Frame, shape: tuple[int, ...]) -> np.ndarray:
    onto = frame.matrix() * len(face)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(face, onto, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)
