"""What lies over parts of a face: a hand, strands of hair."""

import numpy as np

from train.mini.portraits import shading
from train.mini.portraits.attributes import Attributes
from train.mini.portraits.face import skin_colours
from train.mini.portraits.hair import hair_paint
from train.mini.portraits.shading import Canvas, mix, soft
from train.mini.portraits.shapes import Points, ribbon, spline
from train.mini.portraits.turned import TurnedPose

# Across and along the hand, from the middle of the palm to the finger tips (negative along).
FINGERS = [((-0.05, -0.05), (-0.062, -0.12), (-0.066, -0.168)), ((-0.017, -0.06), (-0.019, -0.145), (-0.018, -0.21)),
    ((0.018, -0.06), (0.024, -0.14), (0.027, -0.2)), ((0.05, -0.05), (0.063, -0.11), (0.07, -0.15))]  # fmt: skip
THUMB = ((-0.05, 0.03), (-0.088, -0.01), (-0.104, -0.07))
PALM = [(-0.062, -0.05), (-0.02, -0.065), (0.02, -0.065), (0.062, -0.05), (0.068, 0.02), (0.052, 0.09), (-0.046, 0.09),
    (-0.066, 0.02)]  # fmt: skip
# Where the palm lies on the face, and how far the fingers lean over, for the side of the picture that is told.
PLACES = {"cheek": (0.2, 0.72, -0.15), "mouth": (0.1, 0.8, -1.0), "eye": (0.14, 0.53, -0.5), "chin": (0.1, 0.93, -0.4)}


def draw_hand(canvas: Canvas, pose: TurnedPose, a: Attributes):
    """A hand before cheek, mouth, eye or chin, labelled skin."""
    side = -pose.side if pose.turn > 0.3 else (1 if a.shape.parting > 0 else -1)
    x, y, lean = list(PLACES.values())[int(abs(a.shape.parting) * 97) % len(PLACES)]
    turn = 0.25 * np.sin(pose.yaw)
    centre = pose.project([(side * x * np.cos(pose.yaw) ** 2, y, 0.25)])[0] - (0.3 * turn * pose.scale, 0.0)
    angle = side * lean
    axes = np.array([(side * np.cos(angle), side * np.sin(angle)), (-np.sin(angle), np.cos(angle))]) * pose.scale * 0.95

    def place(points) -> Points:
        return centre + np.asarray(points) @ axes

    dark, base, bright = skin_colours(a)
    wrist, low = place([(0.0, 0.07), (0.0, 0.16)]), np.array([(centre[0] + 0.18 * side, 1.2)])
    arm = ribbon(np.concatenate([wrist, low]), (0.1 * pose.scale, 0.105 * pose.scale, 0.15 * pose.scale))
    palm = place(spline(PALM, closed=True))
    fingers = [place(_finger(points)) for points in (*FINGERS, THUMB)]
    whole = [arm, palm, *fingers]
    canvas.shade(0.55 * shading.moved(soft(whole, 0.018), 0.0, 0.014))
    tone = 0.9 * shading.relief_light(soft(whole, 0.012), 4.0, a.light) + 0.15
    paint = shading.ramp(dark, base, bright, tone)
    canvas.paint([arm, palm], paint, name="skin")
    for finger, points in zip(fingers, (*FINGERS, THUMB), strict=True):
        canvas.shade(0.3 * soft([finger], 0.006))
        canvas.paint([finger], paint, name="skin")
        tip, before = np.array(points[-1]), np.array(points[-2])
        along = (tip - before) / np.linalg.norm(tip - before)
        nail = ribbon([tip - along * 0.013, tip + along * 0.004], (0.016, 0.018))
        canvas.paint([place(nail)], mix(base, (1.0, 0.82, 0.8), 0.55), opacity=0.8)


def _finger(points) -> Points:
    """A rounded strip."""
    strip = ribbon(points, (0.037, 0.036, 0.033))
    half = len(strip) // 2
    tip, before = np.array(points[-1]), np.array(points[-2])
    along = (tip - before) / np.linalg.norm(tip - before)
    turn = np.linspace(0, np.pi, 9)[1:-1, None]
    across = strip[half - 1] - tip
    return np.concatenate([strip[:half], tip + across * np.cos(turn) + along * 0.0165 * np.sin(turn), strip[half:]])


def draw_strands(canvas: Canvas, pose: TurnedPose, a: Attributes):
    """Strands that fall from the hairline over brow, eye and cheek."""
    side = -pose.side if pose.turn > 0.3 else (1 if a.shape.parting > 0 else -1)
    strands = []
    for i, (x, bend, length) in enumerate(
        [(0.02, 0.1, 0.42), (0.06, 0.14, 0.5), (0.1, 0.165, 0.36), (0.13, 0.19, 0.46)]
    ):
        low = 0.2 + length * (0.8 + 0.2 * abs(a.shape.parting))
        xs = np.array((x, 0.5 * (x + bend) + 0.012, bend, bend - 0.03))
        ys = np.array((0.11, 0.3, 0.2 + 0.7 * (low - 0.2), low))
        points = np.stack([side * xs, ys, 0.285 - 1.4 * xs**2], 1)
        strands.append(
            ribbon(pose.project(points), np.array((0.02, 0.045, 0.05, 0.042, 0.028 - 0.003 * i, 0.002)) * pose.scale)
        )
    canvas.stain(0.6 * shading.moved(soft(strands, 0.01), 0.0, 0.012), skin_colours(a)[0], name="skin")
    canvas.paint(strands, hair_paint(pose, a, strands), name="hair")
