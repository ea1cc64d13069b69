"""A portrait from its attributes: the order of the layers, from back to front."""

import numpy as np

from train.mini.portraits import clothes, face, features, hair, shading, wear
from train.mini.portraits.attributes import BACKGROUND_COLOURS, Attributes
from train.mini.portraits.shading import Canvas, colour, mix, soft
from train.mini.portraits.shapes import Pose


def _background(a: Attributes) -> np.ndarray:
    """A calm gradient, lighter behind the head on the lit side -> (3, G, G)."""
    base = colour(BACKGROUND_COLOURS[a.background_colour]) * (1 + 0.03 * a.shape.background_jitter)
    x = 0.5 + 0.25 * shading.LIGHTS[a.light][0]
    distance = np.hypot(shading.GRID_X - x, shading.GRID_Y - 0.35)
    return shading.ramp(base * 0.72, base, mix(base, (1, 1, 1), 0.45), 0.55 - 1.15 * distance)


def _draw_body(canvas: Canvas, pose: Pose, a: Attributes):
    clothes.draw_neck(canvas, pose, a)
    if a.clothes != "none":
        clothes.draw_clothes(canvas, pose, a)
    wear.draw_necklace(canvas, pose, a)


def _draw_face(canvas: Canvas, pose: Pose, a: Attributes):
    face.draw_head(canvas, pose, a)
    features.draw_beard(canvas, pose, a)
    features.draw_mouth(canvas, pose, a)
    for side in face.SIDES.values():
        features.draw_brow(canvas, pose, a, side)
    if a.glasses != "none":
        wear.draw_lenses(canvas, pose, a)
    if a.glasses != "sunglasses":
        for side in face.SIDES.values():
            features.draw_eye(canvas, pose, a, side)


def _draw_ears(canvas: Canvas, pose: Pose, a: Attributes):
    for side in face.SIDES.values():
        if side * pose.yaw < 0.3:  # the far ear is hidden by the head
            face.draw_ear(canvas, pose, a, side)


def render(attributes: Attributes, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """-> (S, S, 3) uint8 RGB picture and (S, S) uint8 class ids; the same composition at every size."""
    a = attributes
    canvas, pose = Canvas(size), Pose(a.shape)
    canvas.image[:] = canvas.spread(_background(a))
    shapes = hair.hair_shapes(pose, a)
    if shapes.back:
        canvas.paint(
            shapes.back,
            hair.hair_paint(pose, a, shapes.back, back=a.hair_style not in ("bun", "ponytail")),
            name="hair",
        )
    _draw_body(canvas, pose, a)
    long = a.hair_style in ("bob", "straight", "wavy")
    if not long:
        _draw_ears(canvas, pose, a)
    _draw_face(canvas, pose, a)
    if shapes.front:
        canvas.shade(0.5 * shading.moved(soft(shapes.front, 0.012), 0.0, 0.014))
        canvas.paint(shapes.front, hair.hair_paint(pose, a, shapes.front), name="hair")
    if long and a.ears_free:
        _draw_ears(canvas, pose, a)
    if a.glasses != "none":
        wear.draw_frame(canvas, pose, a)
    if a.hat != "none":
        wear.draw_hat(canvas, pose, a)
    if a.earrings != "none":
        for side in face.SIDES.values():
            if side * pose.yaw < 0.3:
                wear.draw_earring(canvas, pose, a, side)
    return canvas.finish(a.light)
