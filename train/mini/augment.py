"""Clumsier label maps of the same portrait, so that what is drawn by hand or read by another parser is obeyed too.

S size in pixels. Nothing moves as a whole: the map still belongs to its picture.
"""

from collections.abc import Callable

import cv2
import numpy as np

from facemogle.labels import CLASS_ID, NAMES
from facemogle.sketch.completion import nearest_known

# What the operations do, in pixels of a 256 px map.
SCALE = 256
JITTER, JITTER_CELLS = (1.0, 4.0), (6, 24)
POLYGON_TOLERANCE, POLYGON_SHARE = (1.5, 5.0), 0.03  # at most this share of a contour's length
BLOB_RADIUS = (1.0, 4.0)
DOT_RADIUS = (3, 8)
# Chance of a class to change, or of a group to go missing, once the operation is chosen.
RESHAPED, MISSING = 0.6, 0.2

# Later classes are painted over earlier ones where they meet.
ORDER = (
    "background", "hair", "cloth", "neck", "necklace", "right_ear", "left_ear", "skin", "nose", "right_brow",
    "left_brow", "right_eye", "left_eye", "upper_lip", "lower_lip", "mouth", "eyeglasses", "hat", "earring",
)  # fmt: skip
EYES = {"left_eye", "right_eye"}
MOUTH = ("upper_lip", "mouth", "lower_lip")
THIN = {"eyeglasses", "earring", "necklace"}
COMPACT = {name for name in NAMES if name.endswith(("_eye", "_brow", "_ear", "_lip"))} | {"nose", "mouth"}
# What a hasty drawing leaves out; both of a pair, or it would look like a turned head.
OPTIONAL = (
    ("right_brow", "left_brow"), ("right_eye", "left_eye"), ("right_ear", "left_ear"), ("nose",), ("mouth",),
    MOUTH, ("eyeglasses",), ("earring",), ("necklace",), ("neck",),
)  # fmt: skip
SURROUNDINGS = {"background", "skin", "hair", "hat", "neck", "cloth", *MOUTH}
UNKNOWN = 255  # to `nearest_known`


def augment(label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, S) uint8 class ids -> the same, each operation by its own chance; about half come back as they are."""
    for operation, chance in OPERATIONS.items():
        if rng.random() < chance:
            label_map = operation(label_map, rng)
    return label_map


def drop_classes(label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Small parts give way to what surrounds them; at least one does if there is any."""
    present = {NAMES[class_id] for class_id in np.unique(label_map)}
    kept: set[str] = set()
    if "eyeglasses" in present:  # sunglasses alone say where the eyes are; eyes missing from a lens would leave skin
        kept = EYES if present & EYES else {"eyeglasses"}
    groups = [group for group in OPTIONAL if present.intersection(group) - kept]
    if not groups:
        return label_map
    chosen = rng.random(len(groups)) < MISSING
    chosen[rng.integers(len(groups))] = True
    dropped = {name for group, goes in zip(groups, chosen, strict=True) if goes for name in group}
    label_map = label_map.copy()
    if "neck" in dropped and "cloth" in present:  # the nearest would often be the chin
        label_map[label_map == CLASS_ID["neck"]] = CLASS_ID["cloth"]
    gone = np.isin(label_map, [CLASS_ID[name] for name in dropped])
    # Eyes must not grow into the lenses around them, so only large regions and what is left of the mouth fill the gap.
    sources = np.isin(label_map, [CLASS_ID[name] for name in SURROUNDINGS])
    filled = nearest_known(np.where(sources & ~gone, label_map, np.uint8(UNKNOWN)))
    return np.where(gone, filled, label_map)


def to_marks(label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Eyes become dots, the mouth a stroke of one class, or both."""
    present = {NAMES[class_id] for class_id in np.unique(label_map)}
    eyes, mouth = ([CLASS_ID[name] for name in names if name in present] for names in (sorted(EYES), MOUTH))
    dots, stroke = ((True, True), (True, False), (False, True))[rng.integers(3)]
    radius = round(rng.integers(*DOT_RADIUS) * len(label_map) / SCALE)
    marks = label_map.copy()
    if eyes and dots:
        marks = nearest_known(np.where(np.isin(marks, eyes), np.uint8(UNKNOWN), marks))
        for class_id in eyes:
            row, column = np.argwhere(label_map == class_id).mean(0).round().astype(int).tolist()
            cv2.circle(marks, (column, row), radius, class_id, -1)
    if mouth and (stroke or not eyes):
        marks[np.isin(marks, mouth)] = rng.choice(mouth)
    return marks


def to_polygons(label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every region's border becomes a polygon of few corners; thin parts, which would vanish, stay."""
    tolerance = rng.uniform(*POLYGON_TOLERANCE) * len(label_map) / SCALE

    def reshape(mask: np.ndarray, name: str) -> np.ndarray:
        if name in THIN:
            return mask
        contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        polygons = [
            cv2.approxPolyDP(contour, min(tolerance, POLYGON_SHARE * cv2.arcLength(contour, True)), True)
            for contour in contours
        ]
        return cv2.fillPoly(np.zeros_like(mask), polygons, 1)  # holes are contours too, and stay holes

    return repaint(label_map, reshape)


def to_blobs(label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some parts swell, shrink, or become ellipses."""
    radius = rng.uniform(*BLOB_RADIUS) * len(label_map) / SCALE
    changes = rng.random(len(NAMES)) < RESHAPED
    kinds = rng.integers(3, size=len(NAMES))

    def reshape(mask: np.ndarray, name: str) -> np.ndarray:
        class_id = CLASS_ID[name]
        if name == "background" or not changes[class_id]:
            return mask
        if name in COMPACT and kinds[class_id] == 2:
            return ellipse_of(mask)
        # A part that erosion could consume is only ever swollen.
        grows = name in THIN | COMPACT or kinds[class_id] == 0
        half = max(1, round(radius * (0.5 if name in THIN | COMPACT else 1.0)))
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * half + 1, 2 * half + 1))
        return cv2.dilate(mask, brush) if grows else cv2.erode(mask, brush)

    return repaint(label_map, reshape)


def jitter_borders(label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every pixel takes the class of one a few pixels away, by a smooth random field."""
    size = len(label_map)
    amplitude = rng.uniform(*JITTER) * size / SCALE
    cells = int(rng.integers(*JITTER_CELLS))
    coarse = rng.uniform(-amplitude, amplitude, (cells, cells, 2)).astype(np.float32)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    field = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return cv2.remap(
        label_map, columns + field[..., 0], rows + field[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )


# Coarse before fine; the chances leave about half of the maps alone.
OPERATIONS = {drop_classes: 0.16, to_marks: 0.06, to_polygons: 0.14, to_blobs: 0.16, jitter_borders: 0.18}


def repaint(label_map: np.ndarray, reshape: Callable[[np.ndarray, str], np.ndarray]) -> np.ndarray:
    """Reshape every class's mask, (S, S) of 0 and 1, and paint them in order; gaps take the nearest class."""
    canvas = np.full_like(label_map, UNKNOWN)
    present = np.unique(label_map)
    for name in ORDER:
        class_id = CLASS_ID[name]
        if class_id in present:
            canvas[reshape((label_map == class_id).astype(np.uint8), name) > 0] = class_id
    return nearest_known(canvas)


def ellipse_of(mask: np.ndarray) -> np.ndarray:
    """The ellipse of a region's centre and second moments, which has about its area."""
    points = np.argwhere(mask)[:, ::-1].astype(np.float64)
    centre = points.mean(0)
    variances, axes = np.linalg.eigh((points - centre).T @ (points - centre) / len(points) + np.eye(2) / 12)
    lengths = np.maximum(4 * np.sqrt(variances) - 1, 1)  # OpenCV paints the border too
    angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))
    box = (tuple(centre.tolist()), (float(lengths[1]), float(lengths[0])), angle)
    return cv2.ellipse(np.zeros_like(mask), box, 1, -1)
