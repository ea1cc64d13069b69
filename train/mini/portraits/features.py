"""What is drawn on the face with crisp edges: eyes, brows, mouth, beard."""

import numpy as np

from train.mini.portraits import shading
from train.mini.portraits.attributes import EYE_COLOURS, LIPSTICK_COLOURS, Attributes
from train.mini.portraits.face import EYE_X, EYE_Y, skin_colours, smile_of
from train.mini.portraits.hair import hair_colours
from train.mini.portraits.shading import Canvas, colour, mix, soft
from train.mini.portraits.shapes import Points, Pose, both_sides, ellipse, head_outline, ribbon, shifted, spline

EYE_SHADOWS = ((116, 62, 150), (44, 116, 168), (30, 130, 122), (150, 84, 46), (196, 72, 128))


def _eye_frame(a: Attributes, side: int):
    """(x, y) in eye coordinates (outwards, downwards, from the eye's centre) -> head coordinates."""
    tilt = a.shape.eye_tilt

    def to_head(points) -> Points:
        p = np.asarray(points, np.float64)
        return np.stack([side * (EYE_X + p[:, 0]), EYE_Y + p[:, 1] - tilt * p[:, 0] / 0.05], 1)

    return to_head


def draw_eye(canvas: Canvas, pose: Pose, a: Attributes, side: int, *, label: bool = True):
    name = ("left_eye" if side > 0 else "right_eye") if label else None
    closed = a.eyes == "closed" or (a.eyes == "winking" and side * a.shape.parting > 0)
    frame = _eye_frame(a, side)
    w = 0.0415 * a.shape.eye_size
    lash = mix(hair_colours(a)[0], (0.1, 0.06, 0.07), 0.75)
    if closed:
        arc = ribbon(
            [(-w, 0.008), (-0.5 * w, -0.006), (0.0, -0.011), (0.5 * w, -0.006), (w, 0.008)],
            (0.009, 0.017, 0.018, 0.017, 0.009),
        )
        canvas.paint([pose.face(frame(arc))], lash, name=name)
        return
    h = 0.0245 * a.shape.eye_height * {"surprised": 1.18, "laughing": 0.82, "smiling": 0.94}.get(a.expression, 1.0)
    upper = [(-w, 0.006), (-0.66 * w, -0.6 * h), (-0.05 * w, -h), (0.6 * w, -0.74 * h), (w, 0.0)]
    lower = [(0.6 * w, 0.68 * h), (-0.05 * w, 0.88 * h), (-0.62 * w, 0.66 * h)]
    corners = pose.face(frame([(-w, 0.006), (w, 0.0)]))
    narrow = pose.narrowing(corners, 2 * w)
    if narrow < 0.22:
        return
    if a.makeup != "none":
        _draw_eye_shadow(canvas, pose, a, frame, w, h)
    eye = [pose.face(spline(frame(upper + lower), closed=True))]
    canvas.paint(eye, (0.97, 0.97, 0.98), name=name)

    iris_colour = colour(EYE_COLOURS[a.eye_colour])
    x, y = pose.face(frame([(0.0, 0.0)]))[0] + (a.shape.gaze, 0.0)
    r = 0.0218 * a.shape.scale
    rx = r * (0.35 + 0.65 * narrow)
    canvas.paint([ellipse(x, y, rx, r)], iris_colour * 0.5, inside=eye)
    canvas.paint([ellipse(x, y + 0.001, rx * 0.86, r * 0.86)], iris_colour, inside=eye)
    canvas.paint([ellipse(x, y + 0.45 * r, rx * 0.62, r * 0.42)], mix(iris_colour, (1, 1, 1), 0.38), inside=eye)
    canvas.paint([ellipse(x, y, rx * 0.46, r * 0.46)], (0.05, 0.04, 0.06), inside=eye)
    lid = pose.face(ribbon(frame([(p[0], p[1] + 0.006) for p in upper]), (0.006, 0.012, 0.012, 0.012, 0.006)))
    canvas.paint([lid], (0.3, 0.2, 0.25), opacity=0.35, inside=eye)
    glint = -0.4 if shading.LIGHTS[a.light][0] <= 0 else 0.4
    canvas.paint([ellipse(x + glint * rx, y - 0.4 * r, 0.32 * rx, 0.32 * r)], (1.0, 1.0, 1.0))

    thickness = (0.006, 0.012, 0.015, 0.016, 0.008) if a.person == "woman" else (0.005, 0.009, 0.011, 0.011, 0.005)
    wing = 1.16 if a.person == "woman" else 1.05
    line = ribbon(frame([*upper[:-1], (wing * w, -0.008 if wing > 1.1 else -0.002)]), thickness)
    canvas.paint([pose.face(line)], lash)
    crease = ribbon(
        frame([(-0.75 * w, -0.8 * h - 0.008), (0.0, -h - 0.016), (0.8 * w, -0.85 * h - 0.008)]), (0.003, 0.007, 0.003)
    )
    canvas.paint([pose.face(crease)], skin_colours(a)[0], opacity=0.65)


def _draw_eye_shadow(canvas: Canvas, pose: Pose, a: Attributes, frame, w: float, h: float):
    lid = [(-1.1 * w, 0.004), (-0.6 * w, -h - 0.016), (0.1 * w, -h - 0.026), (0.8 * w, -h - 0.018), (1.45 * w, -0.02),
        (1.1 * w, 0.006), (0.0, 0.002)]  # fmt: skip
    tint = EYE_SHADOWS[int(a.shape.tint * len(EYE_SHADOWS))]
    canvas.stain(0.75 * soft([pose.face(spline(frame(lid), closed=True))], 0.007), colour(tint), name="skin")


def draw_brow(canvas: Canvas, pose: Pose, a: Attributes, side: int):
    s = a.shape
    lift = s.brow_height - {"surprised": 0.02, "serious": -0.006}.get(a.expression, 0.0)
    frown = {"serious": 0.01, "surprised": -0.004}.get(a.expression, 0.0)
    arch = 0.014 * s.brow_arch
    points = [
        (0.06, 0.422 + frown),
        (0.098, 0.415 - 0.6 * arch + 0.5 * frown),
        (0.148, 0.414 - 0.75 * arch),
        (0.196, 0.428),
    ]
    curve = (shifted(points, 0.0, lift)) * (side, 1)
    widths = np.array((0.013, 0.025, 0.029, 0.027, 0.023, 0.017, 0.007)) * s.brow_thickness
    if pose.narrowing(pose.face(curve[[0, -1]]), 0.136) < 0.16:
        return
    brow = [pose.face(ribbon(curve, widths))]
    dark, base, _ = hair_colours(a)
    paint = (
        mix(mix(dark, base, 0.45), skin_colours(a)[0], 0.12)
        if base.mean() < 0.8
        else mix(base, skin_colours(a)[0], 0.3)
    )
    canvas.paint(brow, paint, name="left_brow" if side > 0 else "right_brow")


def _lip_colours(a: Attributes) -> tuple[np.ndarray, np.ndarray]:
    """Upper lip, lower lip."""
    base = skin_colours(a)[1]
    natural = mix(base, (0.78, 0.22, 0.26), 0.42 if a.person == "woman" else 0.3)
    lips = natural if a.lipstick == "none" else mix(colour(LIPSTICK_COLOURS[a.lipstick]), natural, 0.12)
    return lips * np.float32(0.84), lips


def draw_mouth(canvas: Canvas, pose: Pose, a: Attributes):
    s, smile = a.shape, smile_of(a)
    w = 0.093 * s.mouth_width * {"laughing": 1.12, "smiling": 1.1, "surprised": 0.66}.get(a.expression, 1.0)
    gap = {"laughing": 0.044, "surprised": 0.052}.get(a.expression, 0.0) * s.mouth_open**2  # now and then wide open
    y = 0.731 + s.mouth_height - 0.35 * gap
    corner, top, low = y - 0.021 * smile + 0.22 * gap, 0.0205 * s.lip_fullness, 0.041 * s.lip_fullness
    round_mouth = a.expression == "surprised"
    if round_mouth:
        corner = y + 0.45 * gap
    sag, bulge = (0.5, 0.88) if round_mouth else (0.2, 0.66)
    line_top = [
        (-w, corner),
        (-0.55 * w, y + sag * gap * 0.2 + 0.004 * smile),
        (0.0, y + 0.006 * smile),
        (0.55 * w, y + sag * gap * 0.2 + 0.004 * smile),
        (w, corner),
    ]
    line_low = [
        (-w, corner),
        (-0.6 * w, y + bulge * gap + 0.004 * smile),
        (0.0, y + gap + 0.006 * smile),
        (0.6 * w, y + bulge * gap + 0.004 * smile),
        (w, corner),
    ]
    top_edge = [
        (-1.04 * w, corner),
        (-0.55 * w, y - 0.72 * top),
        (-0.17 * w, y - top),
        (0.0, y - 0.8 * top),
        (0.17 * w, y - top),
        (0.55 * w, y - 0.72 * top),
        (1.04 * w, corner),
    ]
    low_edge = [
        (-1.0 * w, corner + 0.003),
        (-0.6 * w, y + bulge * gap + 0.72 * low),
        (0.0, y + gap + low + 0.004),
        (0.6 * w, y + bulge * gap + 0.72 * low),
        (1.0 * w, corner + 0.003),
    ]
    between = lambda one, other: [pose.face(np.concatenate([spline(one), spline(other)[::-1]]), lift=0.02)]  # noqa: E731
    upper_colour, lower_colour = _lip_colours(a)

    if gap:
        inside = between(line_top, line_low)
        canvas.paint(inside, (0.38, 0.09, 0.12), name="mouth")
        canvas.paint(
            [pose.face(ellipse(0.0, y + gap + 0.008, 0.6 * w, 0.5 * gap), lift=0.02)], (0.86, 0.42, 0.44), inside=inside
        )
        teeth_low = [
            (-0.93 * w, corner + 0.006),
            (-0.5 * w, y + 0.5 * gap),
            (0.0, y + 0.58 * gap + 0.006),
            (0.5 * w, y + 0.5 * gap),
            (0.93 * w, corner + 0.006),
        ]
        if not round_mouth:
            canvas.paint(between(line_top, teeth_low), (0.98, 0.97, 0.95), inside=inside)
    lower = between(line_low, low_edge)
    tone = 0.55 * soft([pose.face(ellipse(0.0, y + gap + 0.5 * low, 0.4 * w, 0.2 * low), lift=0.02)], 0.008)
    canvas.paint(
        lower, shading.ramp(upper_colour, lower_colour, mix(lower_colour, (1, 1, 1), 0.5), tone), name="lower_lip"
    )
    canvas.paint(between(top_edge, line_top), upper_colour, name="upper_lip")
    if not gap:
        canvas.paint(
            [pose.face(ribbon(line_top, (0.004, 0.008, 0.008, 0.008, 0.004)), lift=0.02)],
            upper_colour * np.float32(0.5),
            opacity=0.8,
        )


def draw_beard(canvas: Canvas, pose: Pose, a: Attributes):
    """Facial hair, labelled skin as in CelebAMask-HQ."""
    if a.beard == "none":
        return
    s = a.shape
    dark, base, bright = hair_colours(a)
    head = [pose.head(head_outline(s))]
    jaw = np.array([(0.285, 0.53), (0.228, 0.63), (0.175, 0.685), (0.125, 0.668), (0.06, 0.684), (0.0, 0.69)])
    full = pose.beard(spline(both_sides(jaw)))
    moustache = spline(
        [
            (0.0, 0.687),
            (0.055, 0.682),
            (0.105, 0.715),
            (0.122, 0.752),
            (0.088, 0.738),
            (0.0, 0.728),
            (-0.088, 0.738),
            (-0.122, 0.752),
            (-0.105, 0.715),
            (-0.055, 0.682),
        ],
        closed=True,
    )
    chin = spline(both_sides([(0.06, 0.91), (0.095, 0.858), (0.085, 0.81), (0.0, 0.814)])) * (s.chin * 0.9 + 0.1, 1)
    if a.beard == "stubble":
        amount = 0.34 * soft([full, pose.face(moustache)], 0.014)
        canvas.stain(amount, mix(dark, (0.24, 0.17, 0.15), 0.6), name="skin")  # dyed hair grows back dark
        return
    parts = {
        "full": [full, pose.face(moustache, lift=0.02)],
        "goatee": [pose.face(chin), pose.face(moustache, lift=0.02)],
        "moustache": [pose.face(moustache, lift=0.02)],
    }[a.beard]
    tone = 0.9 * shading.relief_light(soft(parts, 0.016), 4.0, a.light) + 0.6 * shading.ellipsoid_light(
        pose.outline([(0.0, 0.55)])[0], (0.32, 0.46), a.light
    )
    canvas.paint(parts, shading.ramp(dark, mix(dark, base, 0.8), bright, tone), name="skin", inside=head)
