"""Neck and clothes."""

import numpy as np

from train.mini.portraits import shading
from train.mini.portraits.attributes import CLOTHES_COLOURS, Attributes
from train.mini.portraits.face import skin_colours
from train.mini.portraits.shading import Canvas, colour, mix, soft
from train.mini.portraits.shapes import Pose, both_sides, head_outline, mirror, ribbon, shifted, spline


def cloth_ramp(name: str, jitter: float, tone: np.ndarray) -> np.ndarray:
    base = colour(CLOTHES_COLOURS[name]) * (1 + 0.04 * jitter)
    return shading.ramp(base * np.array((0.62, 0.6, 0.66), np.float32), base, mix(base, (1, 1, 1), 0.3), tone)


def draw_neck(canvas: Canvas, pose: Pose, a: Attributes):
    k = a.shape.neck_width
    half = [(0.5, 1.12), (0.4, 1.0), (0.2 * k, 0.93), (0.138 * k, 0.87), (0.132 * k, 0.8), (0.135 * k, 0.65)]
    neck = [pose.body(spline(both_sides(half)))]
    x = float(pose.body([(0.0, 0.0)])[0, 0])
    tone = 0.8 * shading.ellipsoid_light((x, 0.93), (0.24, 0.7), a.light) - 0.1
    canvas.paint(neck, shading.ramp(*skin_colours(a), tone), name="neck")
    chin = shading.moved(soft([pose.outline(head_outline(a.shape))], 0.02), 0.0, 0.045)
    canvas.shade(0.75 * chin)


def _neckline(a: Attributes) -> list:
    k = a.shape.neck_width
    return {
        "shirt": [(0.185 * k, 0.915), (0.13 * k, 0.975), (0.0, 1.0)],
        "vneck": [(0.185 * k, 0.912), (0.09 * k, 0.99), (0.0, 1.06)],
        "collar": [(0.165 * k, 0.9), (0.08 * k, 0.96), (0.0, 1.015)],
        "jacket": [(0.18 * k, 0.905), (0.12 * k, 0.965), (0.0, 0.985)],
        "turtleneck": [(0.15 * k, 0.85), (0.1 * k, 0.88), (0.0, 0.89)],
    }[a.clothes]


def draw_clothes(canvas: Canvas, pose: Pose, a: Attributes):
    k, jitter = a.shape.neck_width, a.shape.clothes_jitter
    x = float(pose.body([(0.0, 0.0)])[0, 0])
    tone = 0.6 * shading.ellipsoid_light((x, 1.05), (0.62, 0.5), a.light)
    neckline = _neckline(a)
    shoulder = spline([(0.6, 1.12), (0.5, 0.99), (0.36, 0.93), (0.25 * k, 0.905), neckline[0]])
    line = spline(both_sides(neckline))[::-1]
    garment = np.concatenate([mirror(shoulder), line[::-1], shoulder[::-1], [(0.6, 1.2), (-0.6, 1.2)]])
    body = [pose.body(garment)]
    main = cloth_ramp(a.clothes_colour, jitter, tone)
    canvas.shade(0.3 * soft(body, 0.012))
    if a.clothes == "jacket":
        shirt = "white" if a.clothes_colour not in ("white", "yellow") else "grey"
        canvas.paint(body, cloth_ramp(shirt, jitter, tone - 0.1), name="cloth")
        lapels = [
            np.array(
                [
                    (s * 0.185 * k, 0.89),
                    (s * 0.3, 0.91),
                    (s * 0.6, 1.0),
                    (s * 0.6, 1.2),
                    (s * 0.05, 1.2),
                    (s * 0.11, 1.04),
                    (s * 0.15 * k, 0.95),
                ]
            )
            for s in (-1, 1)
        ]
        lapels = [pose.body(spline(p, closed=True)) for p in lapels]
        canvas.shade(0.4 * shading.moved(soft(lapels, 0.012), 0.0, 0.006))
        canvas.paint(lapels, main, name="cloth")
        return
    canvas.paint(body, main, name="cloth")
    if a.clothes == "turtleneck":
        fold = [pose.body(ribbon(shifted(line, 0.0, 0.045), (0.006, 0.014, 0.006)))]
        canvas.paint(fold, cloth_ramp(a.clothes_colour, jitter, tone - 0.8), opacity=0.7)
    elif a.clothes == "collar":
        flaps = [
            np.array(
                [(s * 0.148 * k, 0.872), (s * 0.19 * k, 0.9), (s * 0.2, 0.965), (s * 0.115, 1.03), (s * 0.015, 0.995)]
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
