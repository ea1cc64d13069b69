"""Heads at any angle: bodies of horizontal slices, turned about the head's axis, and what of them can be seen.

Head coordinates as in `shapes`, with z from the axis between the ears towards the viewer of a frontal head. On a body a
point is (angle, y): the angle around the axis, 0 in front, positive towards the right of the picture, in radians.
"""

import numpy as np

from train.mini.portraits.attributes import Shape
from train.mini.portraits.shapes import TURN_CENTRE, Points, Pose, head_outline, resample, smooth

EYE_Z = 0.24
SQUARENESS = 2.2  # exponent of the slices: 2 is an ellipse
VIEW = np.radians(np.linspace(-100, 100, 81))  # angles from the direction of view

# Height, front and back of the skull in the middle plane; nose, lips and chin are bumps upon it.
SKULL = np.array([
    (0.1, -0.03, -0.03), (0.104, 0.04, -0.1), (0.115, 0.09, -0.15), (0.14, 0.145, -0.215), (0.17, 0.18, -0.25),
    (0.22, 0.22, -0.29), (0.3, 0.256, -0.33), (0.4, 0.272, -0.345), (0.465, 0.258, -0.335), (0.52, 0.257, -0.31),
    (0.57, 0.262, -0.255), (0.605, 0.265, -0.19), (0.635, 0.268, -0.11), (0.66, 0.268, -0.045), (0.7, 0.272, -0.02),
    (0.745, 0.27, 0.005), (0.775, 0.262, 0.04), (0.8, 0.257, 0.08), (0.85, 0.253, 0.15), (0.88, 0.235, 0.185),
    (0.893, 0.21, 0.2),
])  # fmt: skip
LIPS_AND_CHIN = np.array([
    (0.69, 0.004), (0.71, 0.018), (0.725, 0.029), (0.735, 0.02), (0.745, 0.018), (0.762, 0.027), (0.785, 0.01),
    (0.805, 0.004), (0.85, 0.026), (0.875, 0.016), (0.893, 0.0),
])  # fmt: skip
NOSE = np.array([
    (0.45, 0.0, 0.03), (0.48, 0.008, 0.03), (0.52, 0.026, 0.035), (0.57, 0.054, 0.045), (0.61, 0.077, 0.06),
    (0.63, 0.086, 0.068), (0.642, 0.081, 0.07), (0.652, 0.062, 0.068), (0.66, 0.03, 0.06), (0.668, 0.0, 0.05),
])  # fmt: skip


NOWHERE = np.full((3, 2), -9.0)


class TurnedPose(Pose):
    """Head coordinates -> fractions of the picture, for every yaw, pitch and roll; the surface that faces the viewer.

    It answers to what `Pose` does, so that the same functions draw a face in front and in profile.
    """

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.shape = shape
        self.side = 1 if shape.yaw >= 0 else -1  # where the face looks; tables hold heads that look to the right
        self.turn = abs(shape.yaw)
        self.breadth = 0.3 + 0.08 * np.sin(self.turn)
        self.neck_top = 0.5
        self.skull = skull(self)

    def place(self, across, y, depth) -> Points:
        """After the turn: x from the axis, y, and depth towards the viewer -> (..., 2) in the picture."""
        pitch = self.shape.pitch
        across = across - self.shape.anchor * EYE_Z * np.sin(self.yaw)
        y = 0.5 + (y - 0.5) * np.cos(pitch) + (depth - 0.1) * np.sin(pitch)
        p = np.stack(np.broadcast_arrays(across, y), -1)
        return (p - TURN_CENTRE) @ self.rotation * self.scale + TURN_CENTRE + self.offset

    def project(self, points) -> Points:
        """(N, 3) points in space -> (N, 2), hidden or not."""
        x, y, z = np.asarray(points, np.float64).T
        sine, cosine = np.sin(self.yaw), np.cos(self.yaw)
        return self.place(x * cosine + z * sine, y, z * cosine - x * sine)

    def outline(self, points, *, depth: float | np.ndarray = 0.0) -> Points:
        """Points in the plane that faces the viewer, at `depth` on the head's axis."""
        p = np.asarray(points, np.float64)
        return self.place(p[:, 0] + depth * np.sin(self.yaw), p[:, 1], depth * np.cos(self.yaw))

    def face(self, points, *, lift: float = 0.0) -> Points:
        """What shows of a polygon on the skin, or points; nose and lips stand out already, so `lift` adds nothing."""
        p = np.asarray(points, np.float64)
        if len(p) > 2:
            return self.skull.visible(np.stack([self.skull.angle(p[:, 0], p[:, 1]), p[:, 1]], 1))
        return self.skull.at(self.skull.angle(p[:, 0], p[:, 1]), p[:, 1])

    def beard(self, edge: Points) -> Points:
        """All below the upper edge of a full beard, from left to right, between the ears."""
        p = edge[np.abs(edge[:, 0]) < 0.175]
        middle = np.stack([self.skull.angle(p[:, 0], p[:, 1]), p[:, 1]], 1)
        low = self.skull.y[-1]
        side = np.radians((76, 80, 96, 98, 135, 180, 180))
        y = np.array((0.57, 0.5, 0.5, 0.6, 0.69, 0.72, low))
        right = np.stack([side, y], 1)
        return self.skull.visible(np.concatenate([middle, right, right[::-1] * (-1, 1)]))

    def head(self, points) -> Points:
        return self.skull.silhouette()

    def ear(self, points, side: int) -> Points:
        """(N, 2) points of an ear, backwards from where it sits, and y: it stands off to the side and to the back."""
        p = np.asarray(points, np.float64)
        width = 0.236 * self.shape.face_width * self.shape.cheek
        return self.project(np.stack([side * (width + 0.62 * p[:, 0]), p[:, 1] + 0.02, -0.005 - 0.85 * p[:, 0]], 1))

    def hanging(self, lobe, side: int):
        """Places what hangs down from an ear's `lobe` (x, y), given as for the right of the picture."""
        at = self.ear([(0.032, 0.53 + 0.078 * self.shape.ear_size)], side)[0]
        return lambda points: at + (np.asarray(points) - lobe) * (side * self.scale, self.scale)

    def narrowing(self, points: Points, width: float) -> float:
        """How wide the points appear, as a share of what a frontal head would show."""
        return float(np.clip(np.linalg.norm(points[0] - points[-1]) / (width * self.scale), 0, 1))

    def body(self, points) -> Points:
        """Points of neck and shoulders: the neck comes from under the skull, the shoulders turn a part of the way."""
        p = np.array(points, np.float64)
        s, sine = self.shape, np.sin(self.yaw)
        low = np.clip((p[:, 1] - 0.74) / 0.22, 0, 1)
        low = low * low * (3 - 2 * low)
        p[:, 0] *= (1 - 0.35 * low * np.sin(s.body_turn) ** 2) * (1 + (s.body_width - 1) * low)
        p[:, 0] += (0.16 * np.sin(s.body_turn) - 0.06 * sine) * low - (0.06 + 0.04 * low) * sine
        p[:, 0] += s.lean * np.clip((p[:, 1] - 0.7) / 0.25, 0, 1.2) - s.anchor * EYE_Z * sine
        p[:, 0] -= 0.8 * np.sin(s.roll - s.body_roll) * np.clip(p[:, 1] - 0.52, 0, 0.33)
        angle = s.body_roll
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return (p - TURN_CENTRE) @ rotation * self.scale + TURN_CENTRE + self.offset


class Solid:
    """A body of slices, each rounded from `half_width` at the sides, `front` and `back`; what the viewer sees of it."""

    def __init__(self, pose: TurnedPose, y, half_width, front, back, *, relief=None):
        """`y` (R,), at equal distances, and the extents (R,); `relief`: (x, y) -> height upon the front."""
        self.pose, self.y, self.half_width = pose, np.asarray(y), np.maximum(half_width, 1e-4)
        self.middle, self.depth = (front + back)[:, None] / 2, (front - back)[:, None] / 2
        angle = VIEW - pose.turn
        sine, cosine = np.sin(angle), np.cos(angle)
        x = self.half_width[:, None] * np.sign(sine) * np.abs(sine) ** (2 / SQUARENESS)
        z = self.middle + self.depth * np.sign(cosine) * np.abs(cosine) ** (2 / SQUARENESS)
        if relief is not None:
            z = z + relief(x, self.y[:, None]) * np.clip(4 * cosine, 0, 1)
        across = x * np.cos(pose.turn) + z * np.sin(pose.turn)
        depth = z * np.cos(pose.turn) - x * np.sin(pose.turn)
        # From the near edge on, whatever falls back behind what came before (a nose's far side) is hidden by it.
        columns = np.arange(len(VIEW))
        first = across[:, : len(VIEW) // 2].argmin(1)[:, None]
        onwards = np.where(columns < first, -np.inf, across)
        seen = np.where(onwards >= np.maximum.accumulate(onwards, 1), columns, first)
        seen = np.maximum.accumulate(seen, 1)
        across, depth = np.take_along_axis(across, seen, 1), np.take_along_axis(depth, seen, 1)
        self.hidden = seen != columns
        self.table = pose.place(pose.side * across, self.y[:, None], depth)

    def angle(self, x, y) -> np.ndarray:
        """Where on the slices a frontal head shows x; beyond the half width: at the side."""
        share = np.asarray(x) / np.interp(y, self.y, self.half_width)
        return np.arcsin(np.sign(share) * np.minimum(np.abs(share), 1) ** (SQUARENESS / 2))

    def at(self, angle, y) -> Points:
        """(N,) angles and heights -> (N, 2); what is turned away comes to lie on the silhouette."""
        (r, c), (v, u) = self._cell(angle, y)
        v, u, t = v[:, None], u[:, None], self.table
        return (t[r, c] * (1 - u) + t[r, c + 1] * u) * (1 - v) + (t[r + 1, c] * (1 - u) + t[r + 1, c + 1] * u) * v

    def _cell(self, angle, y) -> tuple[tuple, tuple]:
        """Row and column in the table, whole and rest."""
        view = self.pose.side * np.asarray(angle) + self.pose.turn
        column = np.clip((view - VIEW[0]) / (VIEW[1] - VIEW[0]), 0, len(VIEW) - 1.001)
        row = np.clip((np.asarray(y) - self.y[0]) / (self.y[1] - self.y[0]), 0, len(self.y) - 1.001)
        r, c = row.astype(int), column.astype(int)
        return (r, c), (row - r, column - c)

    def visible(self, polygon: Points) -> Points:
        """A polygon of (angle, y) -> what shows of it, closed along the silhouette; if nothing, `NOWHERE`."""
        p = resample(np.concatenate([polygon, polygon[:1]]), 0.03)[:-1]
        (r, c), _ = self._cell(p[:, 0], p[:, 1])
        hidden = self.hidden[r, c] & self.hidden[r, c + 1]
        if hidden.all():
            return NOWHERE
        if hidden.any():
            start = np.flatnonzero(~hidden & np.roll(hidden, 1))[0]
            p, hidden = np.roll(p, -start, 0), np.roll(hidden, -start)
            cuts = np.flatnonzero(np.diff(hidden)) + 1
            runs, turned_away = np.split(p, cuts), hidden[np.concatenate([[0], cuts])]
            p = np.concatenate([
                np.linspace(run[0], run[-1], 8) if away else run for run, away in zip(runs, turned_away, strict=True)
            ])  # fmt: skip
        return self.at(p[:, 0], p[:, 1])

    def edge(self, y, *, far: bool) -> Points:
        """The silhouette at heights (N,): on the side of the back of the head, or on that of the face (`far`)."""
        return np.stack([np.interp(y, self.y, self.table[:, -1 if far else 0, i]) for i in range(2)], 1)

    def silhouette(self) -> Points:
        return np.concatenate([self.table[:, 0], self.table[::-1, -1]])


def heights(top: float, bottom: float, step: float = 0.007) -> np.ndarray:
    return np.linspace(top, bottom, max(int((bottom - top) / step), 8))


def extents(y: np.ndarray, points) -> tuple[np.ndarray, ...]:
    """Rows of (y, extent, ...) through smooth curves -> the extents at heights `y`."""
    curve = smooth(points)
    return tuple(np.interp(y, curve[:, 0], curve[:, i]) for i in range(1, curve.shape[1]))


def skull(pose: TurnedPose) -> Solid:
    s = pose.shape
    half = head_outline(s)
    half = half[half[:, 0] >= 0]
    half = half[half[:, 1].argsort()]
    y = heights(half[0, 1], half[-1, 1], 0.0062)
    low = np.clip((SKULL[:, 0] - 0.6) / 0.293, 0, 1)
    front, back = extents(y, SKULL + np.stack([s.chin_drop * low, 0 * low, 0 * low], 1))
    lips, chin_drop = LIPS_AND_CHIN.copy(), s.chin_drop
    lips[:, 0] += np.interp(lips[:, 0], (0.69, 0.79, 0.893), (s.mouth_height, s.mouth_height, chin_drop))
    lips[:6, 1] *= 0.4 + 0.6 * s.lip_fullness
    nose = NOSE.copy()
    nose[:, 0] = 0.45 + (nose[:, 0] - 0.45) * (0.196 + s.nose_length) / 0.196
    nose[:, 1] *= s.nose_height
    (lip_z,), (nose_z, nose_x) = extents(y, lips), extents(y, nose)
    inside = (y > nose[0, 0]) & (y < nose[-1, 0])

    def relief(x, _):
        bump = (lip_z * (y > lips[0, 0]))[:, None] * np.exp(-((x / 0.075) ** 2))
        ridge = 1 - np.minimum(np.abs(x) / (nose_x[:, None] * (0.4 + 0.6 * s.nose_width)), 1) ** 1.6
        socket = np.exp(-(((np.abs(x) - 0.105) / 0.06) ** 2) - ((y[:, None] - 0.478) / 0.045) ** 2)
        return bump + (nose_z * inside)[:, None] * ridge - 0.022 * socket

    return Solid(pose, y, np.interp(y, half[:, 1], half[:, 0]), front, back, relief=relief)
