"""Faces drawn from formulas, to start painting from: five kinds, framed like CelebA-HQ."""

from dataclasses import dataclass

import numpy as np

from facemogle.labels import CLASS_ID

HEAD_RADIUS = 0.3  # of the cylinder that the face is drawn on, in widths of the picture
EYE_OFFSET = 0.122  # of each eye from the middle of the face


@dataclass(frozen=True)
class Template:
    """What sets a kind apart. `turn` is in degrees, towards the right of the picture."""

    hair: str = "short"  # or "long", or "none"
    hat: bool = False
    turn: float = 0.0


TEMPLATES = {
    "short hair": Template(),
    "long hair": Template(hair="long"),
    "bald": Template(hair="none"),
    "hat": Template(hat=True),
    "turned": Template(turn=25.0),
}


def template_face(kind: str = "short hair", size: int = 512) -> np.ndarray:
    """(size, size) uint8: a face of one of the kinds in TEMPLATES, as the median label maps of CelebA-HQ frame it.

    Eyes lie at height 0.478, at 0.378 and 0.622 across; skin covers a quarter of the picture, more where it is bald.
    """
    if kind not in TEMPLATES:
        raise ValueError(f"There is no template face {kind!r}. Choose one of {', '.join(TEMPLATES)}.")
    template, drawing = TEMPLATES[kind], _Drawing(size, size)
    sine = np.sin(np.radians(template.turn))
    # Face across: a turned face is moved so that its eyes stay in the middle, which is how CelebA-HQ was aligned.
    middle = 0.5 - np.sqrt(HEAD_RADIUS**2 - EYE_OFFSET**2) * sine
    angle = np.arcsin(np.clip((drawing.x - middle) / HEAD_RADIUS, -1, 1)) - np.radians(template.turn)
    _behind_the_face(drawing, template, sine)
    drawing.across = HEAD_RADIUS * np.sin(angle)
    _face(drawing, template, sine)
    if template.hat:
        drawing.across = drawing.x - 0.5
        drawing.paint("hat", _hat(drawing))
    return drawing.label_map


def add_part(label_map: np.ndarray, name: str) -> np.ndarray:
    """(H, W) class ids with a part of PARTS drawn where the map has its face, or where faces are if it has none.

    It covers what a part of its kind covers: eyes stay in front of glasses.
    """
    if name not in PARTS:
        raise ValueError(f"There is no part {name!r}. Choose one of {', '.join(PARTS)}.")
    drawing, covered = _Drawing(label_map.shape[0], label_map.shape[1]), label_map.copy()
    left, top, right, bottom = _face_box(label_map)
    # The template's face lies at 0.243 to 0.757 across and 0.215 to 0.903 down.
    drawing.x = 0.5 + (drawing.x - (left + right) / 2) * 0.514 / (right - left)
    drawing.y = 0.215 + (drawing.y - top) * 0.688 / (bottom - top)
    drawing.across = drawing.x - 0.5
    region = PARTS[name](drawing)
    if name == "hat":  # no hair stands out over it
        covered[(label_map == CLASS_ID["hair"]) & (drawing.y < 0.3)] = 0
    if name == "eyeglasses":
        region &= ~np.isin(label_map, [CLASS_ID["left_eye"], CLASS_ID["right_eye"]])
    covered[region] = CLASS_ID[name]
    return covered


def _face_box(label_map: np.ndarray) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of skin and what is in it, in shares of the map's sides; a template's without any."""
    rows, columns = np.nonzero((label_map >= CLASS_ID["skin"]) & (label_map <= CLASS_ID["right_brow"])
                               | (label_map >= CLASS_ID["mouth"]) & (label_map <= CLASS_ID["lower_lip"]))  # fmt: skip
    if not rows.size:
        return 0.243, 0.215, 0.757, 0.903
    height, width = label_map.shape
    return columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height


def _hat(drawing: "_Drawing") -> np.ndarray:
    crown = drawing.ellipse(0, 0.3, 0.3, 0.28) & (drawing.y < 0.3)
    return crown | drawing.ellipse(0, 0.3, 0.42, 0.055)


def _glasses(drawing: "_Drawing") -> np.ndarray:
    region = (abs(drawing.y - 0.47) < 0.008) & (abs(drawing.across) < 0.05)  # the bridge
    for side in (-1, 1):
        region |= drawing.ellipse(side * EYE_OFFSET, 0.485, 0.085, 0.058)
    return region


def _earrings(drawing: "_Drawing") -> np.ndarray:
    return drawing.ellipse(-0.262, 0.655, 0.018, 0.028) | drawing.ellipse(0.262, 0.655, 0.018, 0.028)


def _necklace(drawing: "_Drawing") -> np.ndarray:
    outer, inner = drawing.ellipse(0, 0.88, 0.15, 0.095), drawing.ellipse(0, 0.872, 0.138, 0.082)
    return outer & ~inner & (drawing.y > 0.9)


PARTS = {"hat": _hat, "eyeglasses": _glasses, "earring": _earrings, "necklace": _necklace}


class _Drawing:
    """A label map, and the places of its pixels; `across` is 0 in the middle of what is being drawn."""

    def __init__(self, height: int, width: int):
        rows, columns = np.mgrid[:height, :width] + 0.5
        self.y, self.x = rows / height, columns / width
        self.across = self.x - 0.5
        self.label_map = np.zeros((height, width), np.uint8)

    def paint(self, name: str, region: np.ndarray) -> None:
        self.label_map[region] = CLASS_ID[name]

    def ellipse(self, centre_x: float, centre_y: float, radius_x: float | np.ndarray, radius_y: float) -> np.ndarray:
        return ((self.across - centre_x) / radius_x) ** 2 + ((self.y - centre_y) / radius_y) ** 2 <= 1


def _behind_the_face(drawing: _Drawing, template: Template, sine: float) -> None:
    """Clothes, hair, neck and ears; the back of a turned head shows on the left."""
    y, across = drawing.y, drawing.across
    drawing.paint("cloth", drawing.ellipse(0, 1.17, 0.5, 0.29))
    if template.hair == "short":
        drawing.paint("hair", drawing.ellipse(-0.24 * sine, 0.375, 0.305, 0.33))
    if template.hair == "long":
        sides = abs(across) < 0.345 + 0.025 * (1 - np.cos(7 * (y - 0.39)))
        drawing.paint("hair", drawing.ellipse(0, 0.39, 0.345, 0.36) | (sides & (y > 0.39)))
        drawing.paint("cloth", (abs(across) < 0.12 + 0.6 * (y - 0.84)) & drawing.ellipse(0, 1.17, 0.5, 0.29))
    throat = 0.12 + 2.5 * np.clip(y - 0.86, 0, 1) ** 2
    drawing.paint("neck", (abs(across + 0.1 * sine) < throat) & drawing.ellipse(0, 0.8, 0.25, 0.19))
    if template.hair != "long":
        drawing.paint("right_ear", drawing.ellipse(-0.262 - 0.13 * sine, 0.55, 0.042, 0.085))
        if not template.turn:
            drawing.paint("left_ear", drawing.ellipse(0.262, 0.55, 0.042, 0.085))


def _face(drawing: _Drawing, template: Template, sine: float) -> None:
    y, across = drawing.y, drawing.across
    jaw = 0.257 - 0.045 * np.clip((y - 0.55) / 0.35, 0, 1) ** 2
    face = drawing.ellipse(0, 0.545, jaw, 0.358)
    if template.hair == "none":
        drawing.paint("skin", face | drawing.ellipse(0, 0.415, 0.257, 0.285))
    else:
        drawing.paint("skin", face & (y > 0.215 + 1.1 * across**2))
    for side, name in ((1, "left"), (-1, "right")):
        outward = side * across - 0.126
        arch = abs(y - 0.408 - 3.2 * outward**2) < 0.015 - 1.6 * outward**2
        drawing.paint(f"{name}_brow", arch & (abs(outward) < 0.082))
        drawing.paint(f"{name}_eye", drawing.ellipse(side * EYE_OFFSET, 0.478, 0.043, 0.0175))
    down = np.clip((y - 0.465) / 0.16, 0, 1)
    tip = 0.09 * sine  # the nose stands out from the cylinder, so that it turns further
    bridge = (abs(across - tip * down) < 0.027 + 0.04 * down**2) & (y > 0.465) & (y < 0.63)
    drawing.paint("nose", bridge | drawing.ellipse(tip, 0.62, 0.07, 0.042))
    bow = 0.031 * (1 - (across / 0.098) ** 2) - 0.008 * np.exp(-((across / 0.02) ** 2))
    drawing.paint("upper_lip", (y > 0.743 - bow) & (y < 0.743))
    drawing.paint("lower_lip", drawing.ellipse(0, 0.741, 0.092, 0.05) & (y >= 0.743))
