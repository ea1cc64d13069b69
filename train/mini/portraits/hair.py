"""Hair: outlines of the styles, and its shading in broad locks with one gloss band."""

from dataclasses import dataclass, field

import numpy as np

from train.mini.portraits import shading
from train.mini.portraits.attributes import HAIR_COLOURS, LONG_STYLES, Attributes
from train.mini.portraits.shapes import Points, Pose, both_sides, ellipse, resample, scalloped, shifted, spline, wavy

HEAD_WIDTH = 1.07
BACK_DEPTH = -0.07  # the skull lies behind the face, so it moves against a turn


@dataclass(frozen=True)
class HairShapes:
    """Polygons in the picture: `back` behind the neck, `front` over the face."""

    back: list[Points] = field(default_factory=list)
    front: list[Points] = field(default_factory=list)


def hair_colours(a: Attributes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shadow, base and gloss."""
    base = shading.colour(HAIR_COLOURS[a.hair_colour]) * (1 + 0.04 * a.shape.hair_jitter)
    gloss = shading.mix(base, (1.0, 0.97, 0.93), 0.42 if base.mean() > 0.3 else 0.3)
    return base * (0.47 + 0.28 * base), base, gloss


def front_edge(a: Attributes) -> Points:
    """The front edge over the forehead, from the left of the picture to the right."""
    lift = a.shape.hairline
    fronts = {
        "swept": [(-0.212, 0.36), (-0.195, 0.285), (-0.13, 0.225), (0.0, 0.205), (0.13, 0.225), (0.195, 0.285),
        (0.212, 0.36)],
        "fringe": [(-0.216, 0.4), (-0.17, 0.375), (-0.08, 0.36), (0.0, 0.352), (0.08, 0.36), (0.17, 0.375),
        (0.216, 0.4)],
        "side": [(-0.214, 0.38), (-0.19, 0.29), (-0.14, 0.235), (-0.095, 0.195), (0.02, 0.262), (0.12, 0.312),
        (0.19, 0.355), (0.214, 0.41)],
        "middle": [(-0.214, 0.41), (-0.19, 0.32), (-0.1, 0.255), (0.0, 0.175), (0.1, 0.255), (0.19, 0.32),
        (0.214, 0.41)],
    }  # fmt: skip
    points = shifted(fronts[a.hair_front], 0.0, lift)
    if a.age == "elderly" and a.person == "man" and a.hair_front == "swept":  # receding
        points = np.array(
            [
                (-0.212, 0.36),
                (-0.2, 0.27),
                (-0.15, 0.17),
                (-0.07, 0.175),
                (0.0, 0.2),
                (0.07, 0.175),
                (0.15, 0.17),
                (0.2, 0.27),
                (0.212, 0.36),
            ]
        )
    if a.shape.parting < 0:
        points = points[::-1] * (-1, 1)
    return points


def side_length(a: Attributes) -> float:
    """How far down the hair hangs, in head coordinates."""
    if a.hair_style == "bob":
        return 0.79 + a.shape.hair_length
    return 1.15 if a.hair_forward else 0.86 + a.shape.hair_length


def _cap_sides(a: Attributes, v: float) -> tuple[list, list]:
    """Outer and inner edge of the right side, from the bottom up, below the temple; `v` is the volume."""
    if a.hair_style not in LONG_STYLES:
        return [(0.232, 0.52), (0.262 + v, 0.43)], [(0.218, 0.5), (0.21, 0.43)]
    bottom = side_length(a)
    if a.hair_style == "bob":
        outer = [(0.225, bottom), (0.305, bottom - 0.02), (0.345 + 1.5 * v, 0.66), (0.328 + v, 0.5)]
        return outer, [(0.2, bottom - 0.02), (0.205, 0.68), (0.222, 0.55), (0.216, 0.45)]
    if a.hair_forward:
        outer = [(0.42 + 2 * v, bottom), (0.43 + 2 * v, 0.92), (0.385 + 1.8 * v, 0.7), (0.328 + v, 0.5)]
        return outer, [(0.2, bottom), (0.185, 0.95), (0.198, 0.8), (0.216, 0.62), (0.216, 0.45)]
    outer = [(0.22, bottom + 0.02), (0.29, bottom), (0.34 + 1.5 * v, 0.7), (0.316 + v, 0.5)]
    return outer, [(0.19, bottom), (0.2, 0.72), (0.219, 0.58), (0.216, 0.45)]


def _falling(outer: Points, a: Attributes) -> Points:
    """Hanging hair follows the shoulders, and is fuller on the parting's side."""
    dx = (a.shape.lean + 0.03 * a.shape.parting) * np.clip((outer[:, 1] - 0.45) / 0.5, 0, 1)
    return outer + np.stack([dx, 0 * dx], 1)


def _cap(pose: Pose, a: Attributes) -> Points:
    """Hair over forehead, crown and sides: outer edge from left to right, then back along the hairline."""
    v = a.shape.hair_volume + {"curly": 0.02, "short": -0.025 if a.person == "man" else -0.01}.get(a.hair_style, 0.0)
    if a.hat != "none" and a.hair_style not in LONG_STYLES:
        v = -0.012
    flat = a.hair_style in ("ponytail", "bun")
    side_outer, side_inner = _cap_sides(a, v)
    crown = [(0.288 + v, 0.34), (0.27 + v, 0.2), (0.175 + 0.6 * v, 0.06 - v), (0.0, 0.005 - v)]
    if flat:
        side_outer, side_inner = [(0.236, 0.46), (0.25, 0.4)], [(0.222, 0.44)]
        crown = [(0.262, 0.33), (0.246, 0.2), (0.165, 0.08), (0.0, 0.025)]
    if a.hat != "none":  # pressed flat
        crown = [(0.262, 0.36), (0.23, 0.27), (0.15, 0.16), (0.0, 0.13)]
    outer = _falling(spline(both_sides(side_outer + crown)), a)
    left, right = np.array(side_inner) * (-1, 1), np.array(side_inner)[::-1]
    inner = spline(np.concatenate([left, front_edge(a), right]))
    if a.hair_style == "curly":
        outer, inner = scalloped(outer, bump=0.105, height=0.04), scalloped(inner, bump=0.09, height=-0.022)
    elif a.hair_style == "wavy":
        outer = wavy(outer, period=0.19, height=0.017)
    outer, inner = outer * (HEAD_WIDTH, 1), inner * (HEAD_WIDTH, 1)
    return np.concatenate([pose.outline(outer, depth=BACK_DEPTH + 0.04), pose.face(inner)[::-1]])


def _afro(pose: Pose, a: Attributes) -> HairShapes:
    v = a.shape.hair_volume
    cloud = scalloped(resample(ellipse(0, 0.33, 0.385 + v, 0.315 + v, count=80)[::-1], 0.01), bump=0.13, height=-0.03)
    angle = np.linspace(np.pi * 0.97, np.pi * 2.03, 40)
    dome = np.stack([(0.375 + v) * np.cos(angle), 0.36 + (0.325 + v) * np.sin(angle)], 1)
    hairline = scalloped(
        spline(
            [(-0.245, 0.42), (-0.21, 0.29), (-0.12, 0.225), (0.0, 0.21), (0.12, 0.225), (0.21, 0.29), (0.245, 0.42)]
        ),
        bump=0.09,
        height=-0.015,
    )
    front = np.concatenate(
        [pose.outline(scalloped(dome, bump=0.13, height=0.028), depth=BACK_DEPTH + 0.04), pose.face(hairline)[::-1]]
    )
    return HairShapes(back=[pose.outline(cloud, depth=BACK_DEPTH)], front=[front])


def _back(pose: Pose, a: Attributes) -> list[Points]:
    """What hangs behind the neck or stands up behind the head."""
    side, v = np.sign(a.shape.parting), a.shape.hair_volume
    if a.hair_style == "ponytail":
        tail = spline(
            [
                (0.1, 0.12),
                (0.27, 0.1),
                (0.385, 0.22),
                (0.415, 0.44),
                (0.4, 0.66),
                (0.33, 0.86),
                (0.3, 0.7),
                (0.285, 0.52),
                (0.2, 0.4),
            ],
            closed=True,
        )
        return [pose.outline(tail * (side, 1), depth=BACK_DEPTH + 0.04)]
    if a.hair_style == "bun":
        return [pose.outline(ellipse(0.03 * side, 0.03, 0.125 + v, 0.1 + v), depth=BACK_DEPTH)]
    if a.hair_style == "bob":
        bottom = side_length(a) + 0.01
        half = [(0.17, bottom), (0.285, bottom - 0.04), (0.32 + v, 0.6), (0.29, 0.4), (0.0, 0.2)]
    elif a.hair_style in LONG_STYLES:
        half = [(0.38 + 2 * v, 1.15), (0.39 + 2 * v, 0.92), (0.35 + 1.5 * v, 0.65), (0.29, 0.4), (0.0, 0.2)]
    else:
        return []
    outer = _falling(spline(both_sides(half)), a)
    if a.hair_style == "wavy":
        outer = wavy(outer, period=0.19, height=0.017)
    return [pose.outline(outer * (HEAD_WIDTH, 1), depth=BACK_DEPTH)]


def hair_shapes(pose: Pose, a: Attributes) -> HairShapes:
    if a.hair_style == "bald":
        return HairShapes()
    if a.hair_style == "afro":
        return _afro(pose, a)
    return HairShapes(back=_back(pose, a), front=[_cap(pose, a)])


def _curls(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """A height field of round curls, in a gently bent hexagonal order."""
    x, y = dx + 0.02 * np.sin(9 * dy), dy + 0.02 * np.sin(11 * dx)
    waves = (
        np.cos(2 * np.pi / 0.105 * (x * np.cos(angle) + y * np.sin(angle)))
        for angle in (0.3, 0.3 + np.pi / 3, 0.3 + 2 * np.pi / 3)
    )
    return np.float32(0.5) * np.tanh(sum(waves))


def hair_paint(pose: Pose, a: Attributes, polygons: list[Points], *, back: bool = False) -> np.ndarray:
    """Colour field (3, G, G): rounded volume, broad locks fanning out from the parting, a band of gloss."""
    (x, y) = pose.outline([(0.0, 0.36)], depth=BACK_DEPTH + 0.04)[0]
    dx, dy = shading.GRID_X - x, shading.GRID_Y - y
    volume = shading.relief_light(shading.soft(polygons, 0.028), 7.0, a.light) * 0.75
    tone = volume + 0.5 * shading.ellipsoid_light((x, y), (0.36, 0.42), a.light)
    if a.hair_style in ("afro", "curly"):
        tone += shading.relief_light(_curls(dx, dy), 3.2, a.light)
    else:
        start = 0.09 * a.shape.parting * (a.hair_front == "side")
        bend = 0.5 * np.sin(dy * 2 * np.pi / 0.24) if a.hair_style == "wavy" else 0.0
        tone += 0.13 * np.sin(15 * np.arctan2(dx - start, np.maximum(dy + 0.4, 0.04)) + bend + a.shape.hair_jitter * 3)
    radius = np.hypot(dx / 0.27, dy / 0.34)
    lx, ly, _ = shading.LIGHTS[a.light]
    facing = np.clip(0.45 + (dx * lx + dy * ly) * 2.2, 0, 1)
    tone += 0.75 * np.exp(-(((radius - 0.76) / 0.1) ** 2)) * facing * np.clip(0.6 - dy * 4, 0, 1)
    return shading.ramp(*hair_colours(a), tone - (0.42 if back else 0.0))
