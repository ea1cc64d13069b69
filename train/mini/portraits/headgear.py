"""What is worn on heads at any angle: hats, hoods, scarves, helmets, veils, glasses."""

import numpy as np

from train.mini.portraits import shading, wear
from train.mini.portraits.attributes import FRAME_COLOURS, Attributes
from train.mini.portraits.clothes import cloth_ramp
from train.mini.portraits.shading import Canvas, colour, soft
from train.mini.portraits.shapes import Points, ellipse, hull, ribbon, spline
from train.mini.portraits.turned import Solid, TurnedPose, extents, heights
from train.mini.portraits.turned_hair import BOTH_SIDES, Shell, crown, dome, edges

# How far down a hat comes: degrees from the front, height.
BRIMS = {
    "beanie": [(0, 0.345), (60, 0.365), (90, 0.388), (130, 0.425), (180, 0.445)],
    "cap": [(0, 0.292), (60, 0.31), (90, 0.34), (130, 0.38), (180, 0.4)],
    "wide": [(0, 0.285), (180, 0.285)],
    "helmet": [(0, 0.272), (40, 0.28), (60, 0.335), (74, 0.43), (90, 0.5), (115, 0.57), (180, 0.6)],
}
CROWNS = {
    "beanie": (-0.055, 0.022),
    "cap": (0.005, 0.02),
    "wide": (0.0, 0.006),
    "helmet": (-0.04, 0.025),
}


def _hat(pose: TurnedPose, a: Attributes, *, grow: float = 0.0) -> Solid:
    top, v = CROWNS[a.hat]
    v += a.shape.hat_size + grow
    rows = [*dome(top - grow, 0.33, 0.292 + v, 0.297, -0.385 - v), (0.45, 0.292 + v, 0.297, -0.39 - v),
        (0.56, 0.285 + v, 0.29, -0.37 - v), (0.66, 0.27 + v, 0.28, -0.33 - v)]  # fmt: skip
    y = heights(top - grow, 0.66)
    return Solid(pose, y, *extents(y, rows))


def _round(pose: TurnedPose, solid: Solid, brim: list, above: float = 0.0) -> Points:
    """The line around a hat at a height above its brim, from the near silhouette to the far one."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 33) - pose.turn
    y = np.interp(np.abs(np.degrees(angle)), *np.array(spline(brim)).T)
    return solid.at(pose.side * angle, y - above)


def _over(pose: TurnedPose, solid: Solid, brim: list) -> Points:
    """All of a hat above its brim."""
    near, far = (
        np.interp(np.degrees(angle), *spline(brim).T) for angle in (np.pi / 2 + pose.turn, abs(np.pi / 2 - pose.turn))
    )
    up, down = heights(solid.y[0], near, 0.012)[::-1], heights(solid.y[0], far, 0.012)
    return np.concatenate([solid.edge(up, far=False), solid.edge(down, far=True), _round(pose, solid, brim)[::-1]])


def _front_of(pose: TurnedPose, a: Attributes, solid: Solid) -> list[Points]:
    """Cuff, peak, brim or rim."""
    brim = BRIMS[a.hat]
    if a.hat == "beanie":
        cuff = _hat(pose, a, grow=0.007)
        return [np.concatenate([_round(pose, cuff, brim), _round(pose, cuff, brim, 0.135)[::-1]])]
    if a.hat == "cap":
        angle = np.radians(np.linspace(-64, 64, 25))
        bow = np.cos(angle * 90 / 64)
        inner = pose.project(np.stack([0.285 * np.sin(angle), 0.31 - 0.075 * bow, 0.3 * np.cos(angle) ** 0.9], 1))
        outer = pose.project(
            np.stack([0.3 * np.sin(angle), 0.31 + 0.042 * bow, 0.3 * np.cos(angle) ** 0.9 + 0.21 * bow], 1)
        )
        return [hull(np.concatenate([inner, outer]))]
    if a.hat == "wide":
        return [pose.outline(ellipse(0, 0.275, 0.46, max(0.052 + 0.3 * np.sin(a.shape.pitch), 0.025)), depth=-0.02)]
    return [ribbon(_round(pose, solid, brim)[::2], (0.05 * pose.scale,) * 2)]


def draw_hat(canvas: Canvas, pose: TurnedPose, a: Attributes):
    solid = _hat(pose, a)
    over, front = [_over(pose, solid, BRIMS[a.hat])], _front_of(pose, a, solid)
    if a.hat == "helmet":
        angle, y = np.radians((92, 88, 76, 48, 0)), np.array((0.56, 0.66, 0.78, 0.872, 0.9))
        for side in (-1, 1):
            if side * pose.yaw < 0.3:
                strap = ribbon(pose.skull.at(side * angle, y), (0.018 * pose.scale,) * 2)
                canvas.paint([strap], (0.16, 0.15, 0.18), name="hat")
        wear.paint_hat(canvas, pose, a, over, over, band=None)
        x, y = pose.outline([(0.0, 0.13)], depth=-0.03)[0] + (0.11 * np.sign(shading.LIGHTS[a.light][0]), 0.0)
        gloss = np.exp(-(((shading.GRID_X - x) / 0.09) ** 2) - ((shading.GRID_Y - y) / 0.06) ** 2)
        canvas.stain(0.55 * gloss, np.ones(3, np.float32), name="hat")
        canvas.paint(front, cloth_ramp("black" if a.hat_colour != "black" else "grey", 0.0, 0 * gloss), inside=over)
        return
    band = np.concatenate([_round(pose, solid, BRIMS[a.hat], 0.02), _round(pose, solid, BRIMS[a.hat], 0.085)[::-1]])
    wear.paint_hat(canvas, pose, a, over, front, band=band)


# Cloth around the head: height, half width, front, back from the ears down; front edge; how the edge falls.
HOOD = [(0.5, 0.365, 0.14, -0.45), (0.7, 0.37, 0.13, -0.43), (0.84, 0.39, 0.13, -0.4), (0.96, 0.5, 0.15, -0.38),
    (1.2, 0.72, 0.2, -0.4)]  # fmt: skip
SCARF = [(0.5, 0.29, 0.2, -0.37), (0.65, 0.262, 0.2, -0.33), (0.8, 0.235, 0.2, -0.27), (0.93, 0.3, 0.17, -0.27),
    (0.99, 0.35, 0.18, -0.28)]  # fmt: skip
CAPE = [
    *SCARF[1:],
    (1.06, 0.44, 0.2, -0.3),
    (1.11, 0.44, 0.2, -0.28),
    (1.14, 0.36, 0.18, -0.22),
    (1.15, 0.2, 0.1, -0.1),
]
VEIL = [(0.5, 0.385, 0.0, -0.46), (0.7, 0.43, 0.0, -0.48), (0.95, 0.5, 0.0, -0.48), (1.2, 0.56, 0.0, -0.48)]
WRAPS = {
    "hood": (-0.05, 0.05, HOOD, [(0.2, 0.3), (0.12, 0.18), (0.0, 0.15)], [(66, 0.44)],
        [(0.245, 0.5, 0.1), (0.25, 0.65, 0.11), (0.21, 0.83, 0.17), (0.13, 0.96, 0.21), (0.1, 1.2, 0.25)]),
    "headscarf": (-0.01, 0.018, SCARF, [(0.19, 0.33), (0.11, 0.245), (0.0, 0.222)], [(60, 0.46)],
        [(0.222, 0.58, 0.1), (0.2, 0.7, 0.13), (0.14, 0.82, 0.19), (0.05, 0.893, 0.23), (0.0, 0.93, 0.2),
            (0.0, 0.99, 0.19)]),
}  # fmt: skip


def _wrap(pose: TurnedPose, a: Attributes) -> Shell:
    top, v, rows, line, side, drape = WRAPS[a.hat]
    line = [*((-x, y) for x, y in line[:-1]), *line[::-1]]
    return Shell(pose, crown(top, v) + rows, edges(pose, line, side), drape=spline(drape), taper=0.1)


def draw_behind(canvas: Canvas, pose: TurnedPose, a: Attributes):
    """The part of a hood, scarf or veil that lies behind the head."""
    if a.hat in WRAPS:
        top, v, rows, *_ = WRAPS[a.hat]
        rows = [(y, w, min(front, 0.12), back) for y, w, front, back in crown(top, v) + rows]
        y = heights(top, 1.2)
        near, tone = _wrap(pose, a).solid, -0.7
        far = near if pose.turn <= BOTH_SIDES else Solid(pose, y, *extents(y, rows))
    elif a.hat == "veil":
        near = far = _veil(pose)
        tone = 0.0
    else:
        return
    y = heights(0.1, 1.2, 0.02)
    polygon = [np.concatenate([near.edge(y[::-1], far=False), far.edge(y, far=True)])]
    canvas.paint(polygon, _cloth(pose, a, polygon, tone), name="hat")


def draw_around_neck(canvas: Canvas, pose: TurnedPose, a: Attributes):
    if a.hat == "headscarf":
        y = heights(0.65, 1.15, 0.02)
        solid = Solid(pose, y, *extents(y, CAPE))
        polygon = [np.concatenate([solid.edge(y[::-1], far=False), solid.edge(y, far=True)])]
        canvas.paint(polygon, _cloth(pose, a, polygon), name="hat")
        canvas.shade(0.6 * shading.moved(soft([pose.head(None)], 0.02), 0.0, 0.04))


def _cloth(pose: TurnedPose, a: Attributes, polygons: list[Points], tone: float = 0.0) -> np.ndarray:
    (x, y) = pose.outline([(0.0, 0.4)], depth=-0.05)[0]
    folds = 0.12 * np.sin(9 * np.arctan2(shading.GRID_X - x, np.maximum(shading.GRID_Y - y + 0.5, 0.05)) * 2)
    light = 0.6 * shading.ellipsoid_light((x, y), (0.42, 0.5), a.light)
    relief = 0.6 * shading.relief_light(soft(polygons, 0.025), 6.0, a.light)
    return cloth_ramp(a.hat_colour, a.shape.clothes_jitter, light + relief + folds + tone)


def draw_wrap(canvas: Canvas, pose: TurnedPose, a: Attributes):
    """The part of a hood or scarf that lies before the head, with its seam."""
    outer, inner = _wrap(pose, a).front()
    front = [np.concatenate([outer, inner])]
    canvas.shade(0.6 * shading.moved(soft(front, 0.016), 0.0, 0.016))
    canvas.paint(front, _cloth(pose, a, front), name="hat")
    seam = [ribbon(inner[::3] if len(inner) > 12 else inner, (0.03 * pose.scale if a.hat == "hood" else 0.012,) * 2)]
    canvas.paint(seam, _cloth(pose, a, seam, -0.25 if a.hat == "hood" else 0.2), name="hat", inside=front)


def _veil(pose: TurnedPose) -> Solid:
    rows = crown(-0.02, 0.05)
    rows = [(y, w, min(front, 0.05), back) for y, w, front, back in rows] + VEIL
    y = heights(-0.02, 1.2)
    return Solid(pose, y, *extents(y, rows))


def draw_veil(canvas: Canvas, pose: TurnedPose, a: Attributes):
    """A veil falls from the crown, over the hair at the back and sides; some of the hair shows through."""
    solid, side = _veil(pose), pose.side
    fall = spline([(0.0, 0.055, 0.15), (0.12, 0.075, 0.11), (0.225, 0.16, 0.06), (0.285, 0.3, 0.0),
        (0.31, 0.5, -0.04), (0.36, 0.75, -0.06), (0.42, 1.2, -0.04)])  # fmt: skip
    y = heights(-0.02, 1.2, 0.02)
    low = 1.3 if pose.turn < BOTH_SIDES else 0.2  # the rest of the far side hangs behind the head
    far_y, far_fall = y[y < low], fall[fall[:, 1] < low]
    parts = [
        np.concatenate([solid.edge(y[::-1], far=False), pose.project(fall * (-side, 1, 1))]),
        np.concatenate([solid.edge(far_y[::-1], far=True), pose.project(far_fall * (side, 1, 1))]),
    ]
    canvas.shade(0.35 * shading.moved(soft(parts, 0.016), 0.0, 0.012))
    canvas.paint(parts, _cloth(pose, a, parts), name="hat", opacity=0.9)


def lens_outlines(pose: TurnedPose, a: Attributes, grow: float) -> list[Points]:
    """In a bent plane before the eyes; the far one is hidden by the nose of a head in profile."""
    sides = [side for side in (pose.side, -pose.side) if side != pose.side or pose.turn < 0.95]
    return [_on_glasses(pose, wear.lens(a, side, grow)) for side in sides]


def _on_glasses(pose: TurnedPose, points: Points) -> Points:
    p = np.asarray(points)
    return pose.project(np.stack([p[:, 0], p[:, 1], 0.275 - 0.9 * p[:, 0] ** 2], 1))


def draw_lenses(canvas: Canvas, pose: TurnedPose, a: Attributes):
    """Glass and its label; the eyes are drawn after it, the frame after them."""
    lenses = lens_outlines(pose, a, 0.004)
    canvas.shade(0.16 * shading.moved(soft(lenses, 0.012), 0.0, 0.016))
    canvas.paint(lenses, (0.95, 0.98, 1.0), name="eyeglasses", opacity=0.16)


def draw_frame(canvas: Canvas, pose: TurnedPose, a: Attributes):
    frame, k = colour(FRAME_COLOURS[a.glasses_colour]), pose.scale
    for side in (-1, 1):
        if side * pose.yaw < 0.12:
            arm = pose.project(
                np.array([(0.203, 0.475, 0.238), (0.245, 0.474, 0.15), (0.253, 0.478, -0.01)]) * (side, 1, 1)
            )
            canvas.paint([ribbon(arm, (0.02 * k,) * 2)], frame, name="eyeglasses")
    bridge = _on_glasses(pose, ribbon([(-0.052, 0.482), (0.0, 0.468), (0.052, 0.482)], (0.017, 0.017, 0.017)))
    canvas.paint([bridge], frame, name="eyeglasses")
    for inner, outer in zip(lens_outlines(pose, a, -0.007), lens_outlines(pose, a, 0.009), strict=True):
        wear.paint_lens(canvas, a, inner, outer)
