"""The parts of a face as people name them, and what has to be drawn anew for one of them to change.

H, W: pixels of a label map. Widths and areas are shares of the face's size, so that they mean the same at every size.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np

from facemogle.editing import distance_to
from facemogle.labels import CLASS_ID, NAMES
from facemogle.templates import PARTS as ADDABLE
from facemogle.templates import add_part

# Name -> classes, the first of which the part is where it is added.
PARTS = {
    "hair": ("hair",),
    "hat": ("hat",),
    "face": ("skin",),
    "brows": ("left_brow", "right_brow"),
    "eyes": ("left_eye", "right_eye"),
    "glasses": ("eyeglasses",),
    "nose": ("nose",),
    "lips": ("upper_lip", "mouth", "lower_lip"),
    "ears": ("left_ear", "right_ear"),
    "earrings": ("earring",),
    "neck": ("neck",),
    "necklace": ("necklace",),
    "clothes": ("cloth",),
    "background": ("background",),
}
CLOSE = 0.02  # half the width of gaps that are closed, of the face's size
GROW = 0.08  # around the part: 11 pixels of a face that is 140 wide, so that the feather lies beside what is drawn
SPECK = 0.01  # of the face's area: a hole of at most that is the parser's, not the face's
FRAGMENT = 0.02  # of the largest piece of a part: what is smaller is none of it
FEW = 0.1  # of what would be added: with less of it than that, a part is misread, and not there
FEATURE = 0.002  # of the face's area: a quarter of an eye
# What makes a face known: a region grows around it.
FEATURES = ("left_eye", "right_eye", "left_brow", "right_brow", "nose", "mouth", "upper_lip", "lower_lip")
NO_HOLES = (*FEATURES, "eyeglasses", "left_ear", "right_ear")  # in what lies around them
BEHIND = {"eyeglasses": ("left_eye", "right_eye", "left_brow", "right_brow", "nose")}  # drawn anew with it
_FACE = ("skin", "eyeglasses", *FEATURES)


@dataclass(frozen=True, eq=False)
class PartChange:
    """What a change of one part draws: `label_map` (H, W) class ids as it is to be, `region` (H, W) bool."""

    part: str
    label_map: np.ndarray
    region: np.ndarray


def part_of(class_id: int) -> str:
    """The part that a class belongs to."""
    return next(part for part, names in PARTS.items() if NAMES[class_id] in names)


def parts_of(label_map: np.ndarray) -> list[str]:
    """The parts that a map (H, W) has, and those that can be added to it, in the order of PARTS."""
    there = {part_of(int(one)) for one in np.unique(label_map)}
    return [part for part, names in PARTS.items() if part in there or names[0] in ADDABLE]


def classes_of(part: str) -> tuple[str, ...]:
    """The classes of a part, which may also be one class by its own name. ValueError for an unknown one."""
    if part in PARTS:
        return PARTS[part]
    if part in NAMES:
        return (part,)
    raise ValueError(f"There is no part {part!r}. Choose one of {', '.join(PARTS)}, or a class such as left_eye.")


def change_of(label_map: np.ndarray, part: str, *, to: str | None = None, grow: float = GROW) -> PartChange:
    """What to draw so that a part becomes another one of its kind, or something of the part `to`.

    The region is the part, its gaps closed and its holes filled, grown by `grow` of the face's size. Hat, glasses,
    earrings and a necklace that the map (H, W) has not are added where they are worn. The map changes where a hole or a
    gap is the parser's, and with `to`. ValueError for an unknown part, or one that is not there and cannot be added.
    """
    own = classes_of(part)
    area = float(_is(label_map, _FACE).sum() or label_map.size / 4)
    size, drawn = area**0.5, label_map.copy()
    behind = [name for class_name in own for name in BEHIND.get(class_name, ())]
    kept, enclosed = (
        _is(label_map, [name for name in names if name not in (*own, *behind)]) for names in (FEATURES, NO_HOLES)
    )
    there = _is(label_map, own)
    added = add_part(label_map, own[0]) if own[0] in ADDABLE and to is None else None
    if there.any() and (added is None or there.sum() >= FEW * _is(added, own).sum()):
        solid = _closed(_without_fragments(there), CLOSE * size)
        solid |= _holes(solid, enclosed, area, at_most=SPECK * area)
        solid &= there | ~(enclosed | _is(label_map, behind))
        drawn[solid] = _nearest(label_map, there)[solid]
        if to is not None:
            drawn[solid] = CLASS_ID[classes_of(to)[0]]
    elif added is not None:
        drawn = added
        solid = drawn != label_map
    else:
        others = [one for one in parts_of(label_map) if to is None or _is(label_map, PARTS[one]).any()]
        raise ValueError(f"The picture shows no {part}. Choose one of {', '.join(others)}, or paint it in the map.")
    region = (distance_to(solid) <= grow * size) & ~kept | solid
    region |= _holes(region, enclosed, area)
    return PartChange(part, drawn, region)


def prompt_for(part: str, text: str) -> str:
    """What a person says of a part, with its name where that is missing: of hair, "red" -> "red hair"."""
    text, nouns = text.strip(), _NOUNS.get(part, (part.replace("_", " "),))
    said = set(re.findall(r"[a-z]+", text.lower()))
    return text if not text or said & {word for noun in nouns for word in (noun, f"{noun}s")} else f"{text} {nouns[0]}"


# What else names a part in a prompt; the first is the one that checkpoints of few words know.
_NOUNS = {
    "hair": ("hair", "afro", "bob", "ponytail", "fringe", "bun", "curl", "wig", "bald", "parting"),
    "hat": ("hat", "beanie", "cap", "hood", "crown", "helmet"),
    "face": ("skin", "face", "beard", "goatee", "moustache", "stubble", "woman", "man", "person"),
    "brows": ("eyebrows", "brow", "eyebrow"),
    "eyes": ("eyes", "eye", "wink"),
    "glasses": ("glasses", "sunglasses", "eyeglasses", "spectacles"),
    "lips": ("lipstick", "lip", "mouth", "teeth", "smile", "smiling", "laughing", "serious", "calm", "surprised"),
    "ears": ("ears", "ear"),
    "earrings": ("earrings", "earring"),
    "necklace": ("necklace", "chain", "pearl"),
    "clothes": ("shirt", "jacket", "turtleneck", "dress", "coat", "suit", "sweater", "clothes", "blouse"),
}


def _is(label_map: np.ndarray, names: Collection[str]) -> np.ndarray:
    return np.isin(label_map, [CLASS_ID[name] for name in names])


def _closed(region: np.ndarray, radius: float) -> np.ndarray:
    """Grown by a radius in pixels and shrunk again; beyond the border there is nothing to shrink from."""
    return (distance_to(~(distance_to(region) <= radius)) > radius) | region


def _without_fragments(region: np.ndarray) -> np.ndarray:
    _, piece_of, boxes, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    areas = boxes[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return (areas >= FRAGMENT * areas.max())[piece_of] & region


def _holes(region: np.ndarray, enclosed: np.ndarray, area: float, *, at_most: float = np.inf) -> np.ndarray:
    """(H, W) bool: what the region encloses, in pieces of at most so many pixels, without a part of a face in them.

    enclosed: where such parts lie; area: of the face.
    """
    count, hole_of, boxes, _ = cv2.connectedComponentsWithStats((~region).astype(np.uint8), connectivity=4)
    outside = np.unique(np.concatenate([hole_of[0], hole_of[-1], hole_of[:, 0], hole_of[:, -1]]))
    parts = np.bincount(hole_of[enclosed], minlength=count)
    filled = (parts <= FEATURE * area) & (boxes[:, cv2.CC_STAT_AREA] <= at_most)
    filled[outside] = False
    return filled[hole_of] & ~region


def _nearest(label_map: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(H, W) class ids: of each pixel, that of the nearest known one."""
    _, index = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    classes = np.zeros(index.max() + 1, label_map.dtype)
    classes[index[known]] = label_map[known]
    return classes[index]
