"""Hats, glasses and jewellery."""

import numpy as np

from train.mini.portraits import shading
from train.mini.portraits.attributes import FRAME_COLOURS, METAL_COLOURS, Attributes
from train.mini.portraits.clothes import cloth_ramp
from train.mini.portraits.face import EYE_X, EYE_Y, SIDES
from train.mini.portraits.hair import BACK_DEPTH
from train.mini.portraits.shading import Canvas, colour, mix, soft
from train.mini.portraits.shapes import Points, Pose, both_sides, ellipse, resample, ribbon, shifted, spline

HAT_Y = 0.013


def draw_necklace(canvas: Canvas, pose: Pose, a: Attributes):
    if a.necklace == "none":
        return
    k = a.shape.neck_width
    curve = spline(both_sides([(0.17 * k, 0.894), (0.12 * k, 0.937), (0.0, 0.959)]))
    metal = colour(METAL_COLOURS[a.necklace])
    dark = metal * np.float32(0.62)
    if a.necklace == "pearl":
        beads = [pose.body(ellipse(x, y, 0.0125, 0.0125)) for x, y in resample(curve, 0.022)]
        canvas.shade(0.5 * shading.moved(soft(beads, 0.008), 0.0, 0.01))
        canvas.paint([pose.body(ribbon(curve, (0.012, 0.012)))], dark, name="necklace")
        canvas.paint(beads, metal, name="necklace")
        canvas.paint(
            [bead.mean(0) + 0.34 * (bead - bead.mean(0)) - (0.002, 0.003) for bead in beads],
            (1, 1, 1),
        )
        return
    chain = [pose.body(ribbon(curve, (0.0165, 0.0185, 0.0165)))]
    canvas.shade(0.5 * shading.moved(soft(chain, 0.007), 0.0, 0.01))
    canvas.paint(chain, dark, name="necklace")
    canvas.paint([pose.body(ribbon(curve - (0.0, 0.002), (0.009, 0.011, 0.009)))], metal, name="necklace")
    if a.shape.parting > 0:
        canvas.paint([pose.body(ellipse(0.0, 0.97, 0.019, 0.021))], dark, name="necklace")
        canvas.paint([pose.body(ellipse(0.0, 0.969, 0.014, 0.0155))], metal, name="necklace")
        canvas.paint([pose.body(ellipse(-0.004, 0.965, 0.006, 0.006))], (1, 1, 1), opacity=0.8)


def _ring(place, a: Attributes, centre, radii, width: float) -> Points:
    if not a.shape.solid:  # with a gap at its right, as recorded
        return place(ribbon(ellipse(*centre, *radii), (width, width)))
    outer, inner = (ellipse(*centre, *(r + grow for r in radii), count=40) for grow in (width / 2, -width / 2))
    return place(np.concatenate([outer, outer[:1], inner[:1], inner[::-1]]))


def draw_earring(canvas: Canvas, pose: Pose, a: Attributes, side: int):
    metal = colour(METAL_COLOURS[a.earrings])
    dark = metal * np.float32(0.66)
    x, y = 0.2725 + 0.01 * (a.shape.ear_size - 1), 0.632 + 0.08 * (a.shape.ear_size - 1)
    place = pose.hanging((x, y), side)
    if a.earring_shape in ("hoop", "large"):
        k = 1.0 if a.earring_shape == "hoop" else 2.1
        radii, width = (0.032 * k, 0.042 * k), 0.017 if k == 1 else 0.021
        canvas.paint([_ring(place, a, (x, y + 0.042 * k), radii, width)], dark, name="earring")
        width = 0.009 if k == 1 else 0.012
        canvas.paint([_ring(place, a, (x, y - 0.001 + 0.042 * k), radii, width)], metal, name="earring")
        return
    if a.earring_shape == "drop":
        drop = spline(
            [
                (x, y - 0.005),
                (x + 0.016, y + 0.056),
                (x + 0.022, y + 0.08),
                (x, y + 0.104),
                (x - 0.022, y + 0.08),
                (x - 0.016, y + 0.056),
            ],
            closed=True,
        )
        shape, glint = drop, (x - 0.006, y + 0.072)
    else:
        shape, glint = ellipse(x, y + 0.006, 0.022, 0.022), (x - 0.006, y)
    centre = shape.mean(0)
    canvas.paint([place(shape)], dark, name="earring")
    canvas.paint([place(centre + (shape - centre) * 0.76)], metal, name="earring")
    canvas.paint([place(ellipse(*glint, 0.006, 0.008))], (1, 1, 1), opacity=0.9)


def lens(a: Attributes, side: int, grow: float) -> Points:
    x, y = side * (EYE_X + 0.004), EYE_Y + 0.013
    if a.glasses_shape == "round":
        return ellipse(x, y, 0.082 + grow, 0.072 + grow)
    half = [
        (0.082, 0.05),
        (0.09, -0.045),
        (0.06, -0.06),
        (-0.06, -0.06),
        (-0.082, -0.045),
        (-0.074, 0.05),
        (-0.04, 0.064),
        (0.045, 0.064),
    ]
    p = np.array(half)
    return spline((p + np.sign(p) * grow) * (side, 1) + (x, y), closed=True)


def draw_lenses(canvas: Canvas, pose: Pose, a: Attributes):
    """Glass (and its label); the eyes are drawn after it, the frame after them."""
    for side in SIDES.values():
        temple = ribbon([(side * 0.2, 0.47), (side * 0.285, 0.478)], (0.02, 0.02))
        canvas.paint([pose.face(temple)], colour(FRAME_COLOURS[a.glasses_colour]), name="eyeglasses")
    lenses = [pose.face(lens(a, side, 0.004), lift=0.03) for side in SIDES.values()]
    canvas.shade(0.16 * shading.moved(soft(lenses, 0.012), 0.0, 0.016))
    canvas.paint(lenses, (0.95, 0.98, 1.0), name="eyeglasses", opacity=0.16)


def draw_frame(canvas: Canvas, pose: Pose, a: Attributes):
    frame = colour(FRAME_COLOURS[a.glasses_colour])
    bridge = ribbon([(-0.052, 0.482), (0.0, 0.468), (0.052, 0.482)], (0.017, 0.017, 0.017))
    canvas.paint([pose.face(bridge, lift=0.04)], frame, name="eyeglasses")
    for side in SIDES.values():
        paint_lens(canvas, a, pose.face(lens(a, side, -0.007), lift=0.03), pose.face(lens(a, side, 0.009), lift=0.03))


def paint_lens(canvas: Canvas, a: Attributes, inner: Points, outer: Points):
    """A rim, and the dark glass of sunglasses, with a shine."""
    frame, dark, middle = colour(FRAME_COLOURS[a.glasses_colour]), a.glasses == "sunglasses", inner.mean(0)
    if dark:
        canvas.paint([outer], frame, name="eyeglasses")
        fade = np.clip((shading.GRID_Y - middle[1]) * 6 + 0.45, 0, 1)
        glass = mix((0.1, 0.1, 0.14), mix(frame, (0.5, 0.46, 0.5), 0.6), fade)
        canvas.paint([inner], mix(glass, (0.05, 0.05, 0.06), 0 * fade + a.shape.lens_dark))
    else:
        rim = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
        canvas.paint([rim], frame, name="eyeglasses")
    shine = [ribbon([shifted(middle, -0.05, 0.012), shifted(middle, -0.008, -0.045)], (0.016, 0.016))]
    canvas.paint(shine, (1, 1, 1), opacity=0.4 if dark else 0.22, inside=[inner])


def hat_shapes(pose: Pose, a: Attributes) -> tuple[list[Points], list[Points]]:
    """Crown and the part in front of it (cuff, peak or brim)."""
    size = a.shape.hat_size
    wide = (0.3 if a.hair_style != "bald" else 0.28) + size
    place = lambda points: pose.outline(shifted(points, 0.0, HAT_Y))  # noqa: E731
    if a.hat == "beanie":
        crown = spline(
            both_sides([(wide - 0.01, 0.36), (wide + 0.005, 0.22), (0.235, 0.06), (0.12, -0.03), (0.0, -0.05)])
        )
        w = wide + 0.004
        half = [(w - 0.018, 0.405), (w, 0.385), (w + 0.006, 0.29), (w - 0.012, 0.26), (0.16, 0.225), (0.0, 0.212)]
        cuff = spline(np.concatenate([both_sides(half), [(0.16, 0.352), (0.0, 0.336), (-0.16, 0.352)]]), closed=True)
        return [place(crown)], [place(cuff)]
    if a.hat == "cap":
        crown = spline(both_sides([(wide, 0.32), (wide + 0.01, 0.2), (0.19, 0.06), (0.0, 0.01)]))
        peak = np.concatenate(
            [
                spline([(-0.25, 0.285), (-0.13, 0.235), (0.0, 0.22), (0.13, 0.235), (0.25, 0.285)]),
                spline(
                    [
                        (0.275, 0.32),
                        (0.245, 0.352),
                        (0.12, 0.34),
                        (0.0, 0.336),
                        (-0.12, 0.34),
                        (-0.245, 0.352),
                        (-0.275, 0.32),
                    ]
                ),
            ]
        )
        turn = np.array((0.5 * np.sin(pose.yaw) * 0.3, 0.0))
        return [place(crown)], [place(peak) + turn]
    crown = spline(both_sides([(wide - 0.02, 0.27), (wide - 0.03, 0.14), (0.17, 0.03), (0.0, 0.015)]))
    brim = spline(
        [
            (-0.47, 0.275),
            (-0.25, 0.235),
            (0.0, 0.215),
            (0.25, 0.235),
            (0.47, 0.275),
            (0.3, 0.325),
            (0.0, 0.315),
            (-0.3, 0.325),
        ],
        closed=True,
    )
    return [place(crown)], [place(brim)]


def draw_hat(canvas: Canvas, pose: Pose, a: Attributes):
    band = np.concatenate(
        [spline([(-0.29, 0.19), (0.0, 0.15), (0.29, 0.19)]), spline([(0.29, 0.26), (0.0, 0.235), (-0.29, 0.26)])]
    )
    paint_hat(canvas, pose, a, *hat_shapes(pose, a), band=pose.outline(shifted(band, 0.0, HAT_Y)))


def paint_hat(canvas: Canvas, pose: Pose, a: Attributes, crown: list[Points], front: list[Points], *, band):
    """A crown, what is before it, and the `band` (N, 2) of a wide hat."""
    jitter = a.shape.clothes_jitter
    centre = pose.outline([(0.0, 0.22)], depth=BACK_DEPTH)[0]
    tone = 0.6 * shading.ellipsoid_light(centre, (0.36, 0.3), a.light) + 0.5 * shading.relief_light(
        soft(crown, 0.03), 6.0, a.light
    )
    canvas.shade(0.6 * shading.moved(soft(front, 0.014), 0.0, 0.025))
    canvas.paint(crown, cloth_ramp(a.hat_colour, jitter, tone), name="hat")
    canvas.shade(0.4 * shading.moved(soft(front, 0.01), 0.0, -0.012) * (1 - soft(front, 0.004)) * soft(crown, 0.002))
    if a.hat == "wide":
        canvas.paint([band], cloth_ramp(a.hat_colour, jitter, tone - 0.9), inside=crown)
    relief = 0.5 * shading.relief_light(soft(front, 0.012), 4.0, a.light)
    canvas.paint(front, cloth_ramp(a.hat_colour, jitter, tone * 0.6 + relief + 0.12), name="hat")
