"""Skin and its light: head, ears, nose."""

import numpy as np

from train.mini.portraits import shading
from train.mini.portraits.attributes import SKIN_TONES, Attributes
from train.mini.portraits.shading import Canvas, colour, mix, soft
from train.mini.portraits.shapes import Points, Pose, both_sides, ellipse, head_outline, ribbon, spline
from train.mini.portraits.turned import TurnedPose

EYE_X, EYE_Y = 0.119, 0.478
NOSE_Y = 0.646  # under the tip
SIDES = {"right": -1, "left": 1}  # the subject's left is on the right of the picture


def skin_colours(a: Attributes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shadow, base and highlight."""
    base = colour(SKIN_TONES[a.skin]) * (1 + 0.04 * a.shape.skin_jitter)
    return base * np.array((0.77, 0.61, 0.57), np.float32), base, mix(base, (1.0, 0.95, 0.88), 0.45)


def smile_of(a: Attributes) -> float:
    return {"smiling": 1.0, "laughing": 1.0, "neutral": 0.5, "serious": -0.15, "surprised": 0.1}[a.expression]


def _face_tone(pose: Pose, a: Attributes) -> np.ndarray:
    """Light on the face, (G, G) about -1..1: a rounded head, with soft sockets, nose, cheeks, lip and chin shadows."""
    s = a.shape
    lx = shading.LIGHTS[a.light][0]
    centre = pose.outline([(0.0, 0.5)], depth=0.05)[0]
    # The constant brings the median close to the colour of the skin tone's word.
    tone = 0.75 * shading.ellipsoid_light(centre, (pose.breadth, 0.47), a.light) + 0.13

    def add(amount: float, points, blur: float, lift: float = 0.0):
        nonlocal tone
        tone += amount * soft([pose.face(points, lift=lift)], blur)

    bottom = NOSE_Y + s.nose_length
    for side in SIDES.values():
        add(-0.17, ellipse(side * 0.112, 0.45, 0.055, 0.024), 0.02)
        add(0.2, ellipse(side * 0.15, 0.585, 0.05, 0.03), 0.03)
        add(-0.2, ellipse(side * 0.05 * s.nose_width, bottom - 0.004, 0.02, 0.012), 0.01, 0.03)
        if a.age == "elderly":
            add(
                -0.45,
                ribbon([(side * 0.075, 0.645), (side * 0.108, 0.7), (side * 0.115, 0.75)], (0.006, 0.018, 0.006)),
                0.005,
                0.02,
            )
            if a.shape.solid:
                for y in (0.462, 0.485, 0.508):
                    add(-0.28, ribbon([(side * 0.178, 0.485), (side * 0.205, y)], (0.01, 0.005)), 0.004)
                add(-0.4, ribbon([(side * 0.095, 0.765), (side * 0.125, 0.815)], (0.008, 0.02)), 0.008)
            add(
                -0.3,
                ribbon([(side * 0.085, 0.53), (side * 0.122, 0.545), (side * 0.16, 0.53)], (0.004, 0.014, 0.004)),
                0.005,
            )
        elif smile_of(a) > 0.9:
            add(
                -0.25,
                ribbon([(side * 0.08, 0.65), (side * 0.112, 0.7), (side * 0.118, 0.74)], (0.006, 0.016, 0.006)),
                0.008,
                0.02,
            )
    if a.age == "elderly":
        for y in (0.29, 0.33):
            add(-0.3, ribbon([(-0.1, y + 0.008), (0.0, y), (0.1, y + 0.008)], (0.004, 0.014, 0.004)), 0.005)
    add(-0.22, ribbon([(-0.042 * np.sign(lx), 0.47), (-0.04 * np.sign(lx), 0.58)], (0.02, 0.03)), 0.014, 0.04)
    add(0.3, ribbon([(0.0, 0.45), (0.0, 0.6)], (0.022, 0.03)), 0.011, 0.07)
    add(0.55, ellipse(lx * 0.02, bottom - 0.04, 0.02, 0.016), 0.009, 0.09)
    add(-0.5, ellipse(0.0, bottom + 0.012, 0.055 * s.nose_width, 0.012), 0.009, 0.03)
    add(-0.3, ellipse(0.0, 0.82 + s.mouth_height, 0.055, 0.01), 0.011)
    add(0.15, ellipse(0.0, 0.855, 0.04, 0.016), 0.014)
    return tone


def draw_ear(canvas: Canvas, pose: Pose, a: Attributes, side: int):
    name = "left_ear" if side > 0 else "right_ear"
    k = a.shape.ear_size
    outer = np.array(
        [
            (0.222, 0.5),
            (0.25, 0.445),
            (0.283, 0.45),
            (0.292, 0.5),
            (0.276, 0.56),
            (0.258, 0.615),
            (0.236, 0.615),
            (0.224, 0.56),
        ]
    )
    inner = np.array([(0.25, 0.49), (0.268, 0.475), (0.277, 0.505), (0.263, 0.55), (0.251, 0.575), (0.247, 0.54)])
    centre = np.array((0.232, 0.53))
    place_at = (0.02 * side, 0.026)
    width = 1 + 0.5 * side * -pose.yaw

    def place(points: Points) -> Points:
        stretched = centre + (points - centre) * (k * width, k)
        return pose.outline(spline(stretched * (side, 1) + place_at, closed=True), depth=0.02)

    shape = [place(outer)]
    dark, base, bright = skin_colours(a)
    blush = mix(base, (0.86, 0.34, 0.3), 0.16)
    tone = 0.8 * shading.relief_light(soft(shape, 0.014), 5.0, a.light)
    canvas.paint(shape, shading.ramp(dark, blush, bright, tone), name=name)
    canvas.paint([place(inner)], mix(dark, blush, 0.25), name=name, opacity=0.75)


def draw_turned_ear(canvas: Canvas, pose: TurnedPose, a: Attributes, side: int):
    """An ear stands off the side of the head, half to the side and half to the back."""
    k = a.shape.ear_size
    outer = [(0.0, 0.495), (0.012, 0.45), (0.045, 0.43), (0.082, 0.445), (0.095, 0.49), (0.078, 0.55), (0.05, 0.605),
        (0.022, 0.627), (0.0, 0.612), (-0.004, 0.56)]  # fmt: skip
    inner = [(0.02, 0.49), (0.045, 0.462), (0.07, 0.48), (0.066, 0.525), (0.04, 0.57), (0.024, 0.56), (0.03, 0.525)]

    def place(points) -> Points:
        p = spline(np.array((0.0, 0.53)) + (np.array(points) - (0.0, 0.53)) * k, closed=True)
        return pose.ear(p, side)

    shape = [place(outer)]
    dark, base, bright = skin_colours(a)
    blush = mix(base, (0.86, 0.34, 0.3), 0.16)
    tone = 0.8 * shading.relief_light(soft(shape, 0.014 * pose.scale), 5.0, a.light)
    canvas.shade(0.3 * shading.moved(soft(shape, 0.012), 0.0, 0.008))
    canvas.paint(shape, shading.ramp(dark, blush, bright, tone), name="left_ear" if side > 0 else "right_ear")
    canvas.paint([place(inner)], mix(dark, blush, 0.25), opacity=0.75)


def draw_head(canvas: Canvas, pose: Pose, a: Attributes):
    dark, base, bright = skin_colours(a)
    head = [pose.head(head_outline(a.shape))]
    tone = _face_tone(pose, a)
    rim = np.clip(soft(head, 0.004) - soft(head, 0.02), 0, 1) * np.clip(
        (shading.GRID_X - 0.5) * -np.sign(shading.LIGHTS[a.light][0]) * 4, 0, 1
    )
    skin = shading.ramp(dark, base, bright, tone + 0.5 * rim)
    cheeks = soft([pose.face(ellipse(side * 0.15, 0.61, 0.045, 0.03)) for side in SIDES.values()], 0.03)
    tip = soft([pose.face(ellipse(0, 0.63, 0.03, 0.018), lift=0.07)], 0.015)
    skin = mix(skin, mix(base, (0.96, 0.34, 0.3), 0.42), np.clip(a.shape.blush * (0.62 * cheeks + 0.25 * tip), 0, 1))
    canvas.paint(head, skin, name="skin")
    _draw_nose(canvas, pose, a)


def _draw_nose(canvas: Canvas, pose: Pose, a: Attributes):
    """The nose's light is part of the face; here are its label and the nostrils."""
    s = a.shape
    w, bottom = 0.07 * s.nose_width, NOSE_Y + s.nose_length
    half = [
        (0.02, bottom + 0.004),
        (0.052 * s.nose_width, bottom - 0.002),
        (w, bottom - 0.03),
        (0.056 * s.nose_width, bottom - 0.07),
        (0.034, 0.54),
        (0.031, 0.472),
    ]
    outline = [pose.face(spline(np.concatenate([both_sides(half), [(0.0, bottom + 0.01)]]), closed=True), lift=0.03)]
    canvas.paint(outline, skin_colours(a)[0], name="nose", opacity=0.0)
    dark = mix(skin_colours(a)[0], (0.25, 0.06, 0.06), 0.35)
    nostrils = [
        pose.face(ellipse(side * 0.028 * s.nose_width, bottom - 0.004, 0.013, 0.0075), lift=0.045)
        for side in SIDES.values()
    ]
    canvas.paint(nostrils, dark, opacity=0.6)
    wings = [pose.face(ribbon([(side * 0.062 * s.nose_width, bottom - 0.045),
    (side * 0.068 * s.nose_width, bottom - 0.022),
    (side * 0.052 * s.nose_width, bottom - 0.004)], (0.004, 0.009, 0.004)),
    lift=0.03) for side in SIDES.values()]  # fmt: skip
    canvas.paint(wings, skin_colours(a)[0], opacity=0.45)
