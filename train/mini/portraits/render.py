"""A portrait from its attributes: the order of the layers, from back to front."""

import numpy as np

from train.mini.portraits import clothes, cover, face, features, hair, headgear, shading, turned_hair, wear
from train.mini.portraits.attributes import BACKGROUND_COLOURS, LONG_STYLES, Attributes
from train.mini.portraits.shading import Canvas, colour, mix, soft
from train.mini.portraits.shapes import Pose
from train.mini.portraits.turned import TurnedPose


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
    _draw_features(canvas, pose, a)


def _draw_features(canvas: Canvas, pose: Pose, a: Attributes):
    features.draw_beard(canvas, pose, a)
    features.draw_mouth(canvas, pose, a)
    for side in face.SIDES.values():
        features.draw_brow(canvas, pose, a, side)
    if a.glasses != "none":
        if isinstance(pose, TurnedPose):
            headgear.draw_lenses(canvas, pose, a)
        else:
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
    canvas = Canvas(size)
    canvas.image[:] = canvas.spread(_background(attributes))
    if attributes.shape.solid:
        _draw_turned(canvas, TurnedPose(attributes.shape), attributes)
    else:
        _draw_frontal(canvas, Pose(attributes.shape), attributes)
    return canvas.finish(attributes.light)


def _draw_frontal(canvas: Canvas, pose: Pose, a: Attributes):
    shapes = hair.hair_shapes(pose, a)
    if shapes.back:
        canvas.paint(
            shapes.back,
            hair.hair_paint(pose, a, shapes.back, back=a.hair_style not in ("bun", "ponytail")),
            name="hair",
        )
    _draw_body(canvas, pose, a)
    long = a.hair_style in LONG_STYLES
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


def _draw_turned(canvas: Canvas, pose: TurnedPose, a: Attributes):
    headgear.draw_behind(canvas, pose, a)
    if a.hair_style == "braids" and pose.turn >= 0.3:
        _draw_braid(canvas, pose, a, pose.side)
    shapes = turned_hair.hair_shapes(pose, a) if a.hat not in headgear.WRAPS else hair.HairShapes()
    if shapes.back:
        paint = hair.hair_paint(pose, a, shapes.back, back=a.hair_style in LONG_STYLES)
        canvas.paint(shapes.back, paint, name="hair")
    _draw_body(canvas, pose, a)
    headgear.draw_around_neck(canvas, pose, a)
    ears = [side for side in face.SIDES.values() if side * pose.yaw < 0.3] if a.hat not in headgear.WRAPS else []
    ears_first = pose.turn < 0.25 and a.hair_style not in LONG_STYLES
    if ears_first:
        for side in ears:
            face.draw_turned_ear(canvas, pose, a, side)
    face.draw_head(canvas, pose, a)
    _draw_features(canvas, pose, a)
    if a.glasses != "none" and not a.ears_free:
        headgear.draw_frame(canvas, pose, a)
    if shapes.front:
        canvas.shade(0.5 * shading.moved(soft(shapes.front, 0.012), 0.0, 0.014))
        canvas.paint(shapes.front, hair.hair_paint(pose, a, shapes.front), name="hair")
    if a.ears_free and not ears_first:
        for side in ears:
            face.draw_turned_ear(canvas, pose, a, side)
    if a.glasses != "none" and a.ears_free:
        headgear.draw_frame(canvas, pose, a)
    if a.hat == "veil":
        headgear.draw_veil(canvas, pose, a)
    elif a.hat in headgear.WRAPS:
        headgear.draw_wrap(canvas, pose, a)
    elif a.hat != "none":
        headgear.draw_hat(canvas, pose, a)
    if a.earrings != "none":
        for side in ears:
            wear.draw_earring(canvas, pose, a, side)
    if a.hair_style == "braids":
        for side in face.SIDES.values():
            if side * pose.yaw < 0.3:
                _draw_braid(canvas, pose, a, side)
    if a.covering == "hand":
        cover.draw_hand(canvas, pose, a)
    elif a.covering == "strands":
        cover.draw_strands(canvas, pose, a)


def _draw_braid(canvas: Canvas, pose: TurnedPose, a: Attributes, side: int):
    lobes = turned_hair.braid(pose, side)
    canvas.shade(0.5 * shading.moved(soft(lobes, 0.012), 0.0, 0.012))
    dark, base, bright = hair.hair_colours(a)
    for lobe in lobes:
        tone = 1.1 * shading.relief_light(soft([lobe], 0.01), 5.0, a.light) + 0.1
        canvas.shade(0.3 * soft([lobe], 0.006))
        canvas.paint([lobe], shading.ramp(dark, base, bright, tone), name="hair")
