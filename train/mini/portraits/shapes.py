"""Curves in head coordinates and their way into the picture.

Head coordinates: x from the middle of the face to the right of the picture, y downwards, both in fractions of the
picture; for a frontal head of scale 1 the picture's point is (x + 0.5, y). A polygon is an (N, 2) float array.
"""

import cv2
import numpy as np

from train.mini.portraits.attributes import Shape

Points = np.ndarray
EYE_DEPTH = 0.125  # eyes keep their place in the picture when the head turns, as in CelebA-HQ's alignment
TURN_CENTRE = (0.0, 0.52)


def spline(points, *, closed: bool = False, steps: int = 7) -> Points:
    """Catmull-Rom curve through (N, 2) or (N, 3) points -> about N * steps of them."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([p[-1:], p, p[:2]] if closed else [2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(-1, p.shape[1])
    return curve if closed else np.concatenate([curve, p[-2:-1]])


def smooth(points, *, steps: int = 8) -> np.ndarray:
    """Rows of (y, value, ...) with y increasing -> more rows, through monotone cubic curves: no overshoot."""
    p = np.asarray(points, np.float64)
    y = p[:, 0]
    slope = np.diff(p[:, 1:], axis=0) / np.diff(y)[:, None]
    before, after = np.concatenate([slope[:1], slope]), np.concatenate([slope, slope[-1:]])
    tangent = np.where(before * after > 0, 2 * before * after / np.where(before * after > 0, before + after, 1), 0.0)
    t = (np.arange(steps) / steps)[None, :, None]
    width = np.diff(y)[:, None, None]
    a, b, m, n = (each[:, None] for each in (p[:-1, 1:], p[1:, 1:], tangent[:-1], tangent[1:]))
    m, n = m * width, n * width
    values = a + m * t + (3 * (b - a) - 2 * m - n) * t**2 + (2 * (a - b) + m + n) * t**3
    rows = np.concatenate([np.broadcast_to(y[:-1, None, None] + width * t, (*values.shape[:2], 1)), values], 2)
    return np.concatenate([rows.reshape(-1, p.shape[1]), p[-1:]])


def ellipse(x: float, y: float, radius_x: float, radius_y: float, *, count: int = 28) -> Points:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], 1)


def hull(points) -> Points:
    """The convex polygon around points."""
    return cv2.convexHull(np.asarray(points, np.float32))[:, 0].astype(np.float64)


def mirror(points) -> Points:
    """The same points on the other side of the face."""
    return np.asarray(points, np.float64) * (-1, 1)


def shifted(points, dx: float, dy: float) -> Points:
    return np.asarray(points, np.float64) + np.array((dx, dy))


def both_sides(points) -> Points:
    """Points from the bottom of the right side up to the middle -> the symmetric curve from left to right."""
    half = np.asarray(points, np.float64)
    middle = half[-1:] if half[-1, 0] == 0 else half[:0]
    side = half[:-1] if len(middle) else half
    return np.concatenate([mirror(side), middle, side[::-1]])


def _normals(curve: Points) -> Points:
    tangent = np.gradient(curve, axis=0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    return normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)


def _arc_length(curve: Points) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])


def ribbon(points, widths) -> Points:
    """A stroke along a curve through `points`, its full width interpolated from `widths` -> polygon."""
    curve = spline(points)
    half = np.interp(np.linspace(0, 1, len(curve)), np.linspace(0, 1, len(widths)), widths)[:, None] / 2
    normal = _normals(curve)
    return np.concatenate([curve + normal * half, (curve - normal * half)[::-1]])


def resample(curve: Points, step: float) -> Points:
    """The curve with points at equal distances of about `step`."""
    length = _arc_length(curve)
    at = np.linspace(0, length[-1], max(int(length[-1] / step), 4))
    return np.stack([np.interp(at, length, curve[:, i]) for i in range(2)], 1)


def scalloped(curve: Points, *, bump: float, height: float) -> Points:
    """Round curls of width `bump` along a curve, bulging to the left of its direction."""
    fine = resample(curve, bump / 8)
    length = _arc_length(fine)
    count = max(round(length[-1] / bump), 1)
    return fine + _normals(fine) * (height * np.abs(np.sin(np.pi * count * length / length[-1])))[:, None]


def wavy(curve: Points, *, period: float, height: float) -> Points:
    """Soft waves along a curve, growing from the crown downwards."""
    fine = resample(curve, period / 12)
    length = _arc_length(fine)
    growth = np.clip(4 * (fine[:, 1] - 0.12), 0, 1)
    return fine + _normals(fine) * (height * growth * np.sin(2 * np.pi * length / period))[:, None]


class Pose:
    """Head coordinates -> fractions of the picture, for heads that turn a little, as in CelebA-HQ's alignment."""

    breadth = 0.3  # of the ellipsoid that lights the head
    neck_top = 0.65

    def __init__(self, shape: Shape):
        self.yaw = shape.yaw
        self.scale = shape.scale
        self.lean = shape.lean
        self.rotation = np.array([[np.cos(shape.roll), np.sin(shape.roll)], [-np.sin(shape.roll), np.cos(shape.roll)]])
        self.offset = np.array([0.5 + shape.shift_x, shape.shift_y])

    def outline(self, points, *, depth: float | np.ndarray = 0.0) -> Points:
        """Points of a silhouette, at one depth or one each: moved by a turn of the head, but not narrowed."""
        p = np.array(points, np.float64)
        p[:, 0] += (depth - EYE_DEPTH) * np.sin(self.yaw)
        return (p - TURN_CENTRE) @ self.rotation * self.scale + TURN_CENTRE + self.offset

    def face(self, points, *, lift: float = 0.0) -> Points:
        """Points on the front of the face, moved and narrowed by a turn as on a rounded surface (`lift`: above it)."""
        p = np.array(points, np.float64)
        depth = 0.16 * (1 - np.minimum((p[:, 0] / 0.26) ** 2, 1.3)) + lift
        cosine = np.cos(self.yaw)
        p[:, 0] = p[:, 0] * cosine / (0.5 + 0.5 * cosine) + (depth - EYE_DEPTH) * np.sin(self.yaw)
        return (p - TURN_CENTRE) @ self.rotation * self.scale + TURN_CENTRE + self.offset

    def beard(self, edge: Points) -> Points:
        """All below the upper edge of a full beard, from left to right."""
        return self.face(np.concatenate([edge, [(0.35, 0.6), (0.3, 1.0), (-0.3, 1.0), (-0.35, 0.6)]]))

    def head(self, points) -> Points:
        """The head's outline: the chin, in front, goes with the mouth, the skull against it."""
        p = np.asarray(points, np.float64)
        return self.outline(p, depth=0.02 + 0.08 * np.clip((p[:, 1] - 0.6) / 0.28, 0, 1) ** 2)

    def hanging(self, lobe, side: int):
        """Places what hangs from an ear's `lobe` (x, y), given as for the right of the picture."""
        return lambda points: self.outline(np.asarray(points) * (side, 1), depth=0.02)

    def narrowing(self, points: Points, width: float) -> float:
        """How much narrower than in front a part is drawn: a frontal head's turns are small."""
        return 1.0

    def body(self, points) -> Points:
        """Points of neck and shoulders: they follow scale and place of the head, not its turn, and lean to a side."""
        p = np.array(points, np.float64)
        p[:, 0] += self.lean * np.clip((p[:, 1] - 0.7) / 0.25, 0, 1.2) - 0.05 * np.sin(self.yaw)
        return (p - TURN_CENTRE) * self.scale + TURN_CENTRE + self.offset


def head_outline(shape: Shape) -> Points:
    """Skull, cheeks, jaw and chin, closed; chin at y = 0.893, or further down."""
    w, drop = shape.face_width, shape.chin_drop
    half = [
        (0.085 * w * shape.chin, 0.87 + drop), (0.172 * w * shape.jaw, 0.768 + 0.6 * drop),
        (0.222 * w * shape.cheek * (0.5 + 0.5 * shape.jaw), 0.63),
        (0.244 * w * shape.cheek, 0.49), (0.242 * w, 0.34), (0.21 * w, 0.218), (0.127 * w, 0.133), (0.0, 0.1),
    ]  # fmt: skip
    return spline(np.concatenate([both_sides(half), [(0.0, 0.893 + drop)]]), closed=True)
