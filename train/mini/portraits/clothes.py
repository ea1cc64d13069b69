"""Neck and clothes."""

import numpy as np

from train.mini.portraits import shading
from train.mini.portraits.attributes import CLOTHES_COLOURS, Attributes
from train.mini.portraits.face import skin_colours
from train.mini.portraits.shading import Canvas, colour, mix, soft
from train.mini.portraits.shapes import Pose, both_sides, head_outline, ribbon, shifted, spline


def cloth_ramp(name: str, jitter: float, tone: np.ndarray) -> np.ndarray:
    base = colour(CLOTHES_COLOURS[name]) * (1 + 0.04 * jitter)
    return shading.ramp(base * np.array((0.62, 0.6, 0.66), np.float32), base, mix(base, (1, 1, 1), 0.3), tone)


def draw_neck(canvas: Canvas, pose: Pose, a: Attributes):
    k = a.shape.neck_width
    half = [(0.5, 1.12), (0.4, 1.02), (0.23 * k, 0.95), (0.168 * k, 0.885), (0.158 * k, 0.8), (0.16 * k, pose.neck_top)]
    neck = [pose.body(spline(both_sides(half)))]
    x = float(pose.body([(0.0, 0.0)])[0, 0])
    tone = 0.8 * shading.ellipsoid_light((x, 0.93), (0.24, 0.7), a.light) - 0.1
    canvas.paint(neck, shading.ramp(*skin_colours(a), tone), name="neck")
    chin = shading.moved(soft([pose.head(head_outline(a.shape))], 0.02), 0.0, 0.045)
    canvas.shade(0.75 * chin)


def _neckline(a: Attributes) -> list:
    k = a.shape.neck_width
    return {
        "shirt": [(0.225 * k, 0.935), (0.15 * k, 0.99), (0.0, 1.012)],
        "vneck": [(0.225 * k, 0.93), (0.1 * k, 1.0), (0.0, 1.07)],
        "collar": [(0.19 * k, 0.905), (0.09 * k, 0.965), (0.0, 1.02)],
        "jacket": [(0.21 * k, 0.915), (0.14 * k, 0.972), (0.0, 0.995)],
        "scarf": [(0.21 * k, 0.915), (0.14 * k, 0.972), (0.0, 0.995)],
        "turtleneck": [(0.172 * k, 0.85), (0.11 * k, 0.88), (0.0, 0.89)],
    }[a.clothes]


def _shoulder(a: Attributes, neck: tuple[float, float], side: int) -> np.ndarray:
    """From the arm up to the neckline's end `neck`; a tilt lifts one side."""
    x = neck[0]
    rise = a.shape.shoulder_height + side * a.shape.shoulder_tilt * 0.5
    fall = [(0.75, 1.12), (0.55, 0.995), (0.4, 0.935), (x + 0.07, 0.9)]
    if a.shape.solid:  # smaller heads show the arms
        fall = [(0.8, 2.0), (0.77, 1.5), (0.715, 1.24), (0.64, 1.085), (0.52, 0.995), (0.38, 0.94), (x + 0.06, 0.9)]
    return spline([*((side * px, py - rise * (min(px, 0.75) - x) / 0.3) for px, py in fall), (side * x, neck[1])])


def draw_clothes(canvas: Canvas, pose: Pose, a: Attributes):
    k, jitter = a.shape.neck_width, a.shape.clothes_jitter
    x = float(pose.body([(0.0, 0.0)])[0, 0])
    tone = 0.6 * shading.ellipsoid_light((x, 1.05), (0.62, 0.5), a.light)
    neckline = _neckline(a)
    line = spline(both_sides(neckline))[::-1]
    left, right = (_shoulder(a, neckline[0], side) for side in (-1, 1))
    garment = np.concatenate([left, line[::-1], right[::-1], [(0.8, 3.0), (-0.8, 3.0)]])
    body = [pose.body(garment)]
    main = cloth_ramp(a.clothes_colour, jitter, tone)
    canvas.shade(0.3 * soft(body, 0.012))
    if a.clothes == "scarf":
        coat = "grey" if a.clothes_colour not in ("grey", "white", "black") else "blue"
        canvas.paint(body, cloth_ramp(coat, jitter, tone - 0.3), name="cloth")
        _draw_scarf(canvas, pose, a, tone)
        return
    if a.clothes == "jacket":
        shirt = "white" if a.clothes_colour not in ("white", "yellow") else "grey"
        canvas.paint(body, cloth_ramp(shirt, jitter, tone - 0.1), name="cloth")
        edge = [(0.19 * k, 0.84), (0.16 * k, 0.95), (0.115, 1.04), (0.05, 1.2)]
        lapels = [
            pose.body(np.concatenate([spline(edge), [(0.03, 3.0), (0.9, 3.0), (0.9, 0.6)]]) * (side, 1))
            for side in (-1, 1)
        ]
        canvas.shade(0.4 * shading.moved(soft(lapels, 0.012), 0.0, 0.006) * soft(body, 0.002))
        canvas.paint(lapels, main, name="cloth", inside=body)
        return
    canvas.paint(body, main, name="cloth")
    if a.clothes == "turtleneck":
        fold = [pose.body(ribbon(shifted(line, 0.0, 0.045), (0.006, 0.014, 0.006)))]
        canvas.paint(fold, cloth_ramp(a.clothes_colour, jitter, tone - 0.8), opacity=0.7)
    elif a.clothes == "collar":
        flaps = [
            np.array(
                [(s * 0.172 * k, 0.87), (s * 0.215 * k, 0.9), (s * 0.23, 0.968), (s * 0.13, 1.035), (s * 0.015, 1.0)]
            )
            for s in (-1, 1)
        ]
        flaps = [pose.body(p) for p in flaps]
        canvas.shade(0.35 * shading.moved(soft(flaps, 0.01), 0.0, 0.012))
        canvas.paint(flaps, cloth_ramp(a.clothes_colour, jitter, tone + 0.25), name="cloth")
    else:
        canvas.paint(
            [pose.body(ribbon(shifted(line, 0.0, 0.01), (0.018, 0.018)))],
            cloth_ramp(a.clothes_colour, jitter, tone - 0.35),
            name="cloth",
        )


def _draw_scarf(canvas: Canvas, pose: Pose, a: Attributes, tone: np.ndarray):
    """Two turns round the neck and an end that hangs down."""
    k = a.shape.neck_width
    side = 1 if a.shape.parting > 0 else -1
    end = spline([(0.05, 0.95), (0.17, 0.96), (0.2, 1.15), (0.19, 1.36), (0.05, 1.36), (0.07, 1.15)], closed=True)
    low = [(0.235 * k, 0.86), (0.27 * k, 0.945), (0.2 * k, 1.02), (0.0, 1.055)]
    high = [(0.19 * k, 0.79), (0.225 * k, 0.86), (0.17 * k, 0.925), (0.0, 0.955)]
    rounds = []
    for line, up in ((low, 0.86), (high, 0.82)):
        over = [(0.12 * k, up), (0.0, up + 0.015), (-0.12 * k, up)]
        rounds.append(spline(np.concatenate([both_sides(line), over]), closed=True))
    for points in (end * (side, 1), *rounds):
        shape = [pose.body(points)]
        relief = 0.8 * shading.relief_light(soft(shape, 0.014), 5.0, a.light)
        canvas.shade(0.45 * shading.moved(soft(shape, 0.012), 0.0, 0.012))
        canvas.paint(shape, cloth_ramp(a.clothes_colour, a.shape.clothes_jitter, tone + relief), name="cloth")
