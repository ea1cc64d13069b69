"""Hair of heads at any angle: shells around the skull, their edge by forehead, ears and nape, and what hangs."""

import numpy as np

from train.mini.portraits.attributes import LONG_STYLES, Attributes
from train.mini.portraits.hair import HEAD_WIDTH, HairShapes, front_edge, side_length
from train.mini.portraits.shapes import Points, ellipse, resample, ribbon, scalloped, spline, wavy
from train.mini.portraits.turned import Solid, TurnedPose, extents, heights

BOTH_SIDES = 0.35  # up to this turn the far side's hair lies before the cheek, beyond it behind the head
TIED = ("ponytail", "bun", "braids")

# Degrees from the front and height: down before the ear, over it, and behind it to the nape.
AROUND_THE_EAR = [(67, 0.45), (72, 0.525), (79, 0.535), (83, 0.47), (91, 0.425), (101, 0.435), (109, 0.51), (117, 0.6),
    (136, 0.665), (180, 0.7)]  # fmt: skip
AFRO_SIDE = [*AROUND_THE_EAR[:-4], (118, 0.55), (130, 0.6), (180, 0.62)]
TUCKED = AROUND_THE_EAR[:6]


def radians(points) -> Points:
    return np.asarray(points, np.float64).reshape(-1, 2) * (np.pi / 180, 1)


def crown(top: float, v: float) -> list[tuple]:
    """Rows of height, half width, front and back of a shell around the skull, `v` thicker than close-fitting."""
    return [
        (top, 0.0, -0.03, -0.03), (top + 0.004, 0.06, 0.03, -0.09), (top + 0.018, 0.115, 0.09, -0.15),
        (top + 0.055, 0.185 + 0.5 * v, 0.165 + 0.4 * v, -0.235 - 0.5 * v),
        (0.13, 0.247 + 0.9 * v, 0.22 + 0.5 * v, -0.305 - v), (0.21, 0.286 + v, 0.27 + 0.5 * v, -0.36 - v),
        (0.34, 0.304 + v, 0.297 + 0.3 * v, -0.39 - v),
    ]  # fmt: skip


def dome(top: float, bottom: float, half_width: float, front: float, back: float) -> list[tuple]:
    """Rows of a round crown, down to its full extents."""
    middle, angle = (front + back) / 2, np.linspace(0, np.pi / 2, 10)
    rows = zip(top + (bottom - top) * (1 - np.cos(angle)), np.sin(angle) ** 0.85, strict=True)
    return [(y, half_width * r, middle + (front - middle) * r, middle + (back - middle) * r) for y, r in rows]


class Shell:
    """Something around the head that ends at a front edge: hair, a hood, a veil."""

    def __init__(
        self,
        pose: TurnedPose,
        rows: list,
        edge: tuple[Points, Points],
        *,
        drape: Points | None = None,
        taper: float = 0.12,
        blunt: float = 1.35,
    ):
        """`edge`: left and right of the picture, each (N, 2) of (angle, y) on the skull, from the front to the side or
        the nape. `drape` (M, 3): how the edge goes on downwards, at the right. An edge that goes out of sight at the
        near side ends at `blunt` radians, so that no thin tip remains."""
        self.blunt = blunt
        self.pose, self.taper, self.drape = pose, taper, drape
        y = heights(rows[0][0], rows[-1][0])
        self.solid = Solid(pose, y, *extents(y, rows))
        left, right = edge
        near, far = (left, right) if pose.side > 0 else (right, left)
        self.near, self.far = near, far

    def _until_hidden(self, edge: Points, limit: float) -> Points:
        """The part of an edge, from the front on, that the viewer sees at less than `limit` (negative: near side)."""
        view = self.pose.side * edge[:, 0] + self.pose.turn
        beyond = np.flatnonzero(view > limit if limit > 0 else view < limit)
        return edge[: beyond[0] + 1] if len(beyond) else edge

    def _silhouette(self, bottom: float, *, far: bool, free: bool) -> Points:
        """From the top down to `bottom`; where the edge ends there the shell comes down to the skin."""
        top = self.solid.y[0]
        y = heights(top, bottom, 0.012)
        outer = self.solid.edge(y, far=far)
        if free:
            return outer
        skin = self.pose.skull.edge(np.maximum(y, self.pose.skull.y[0]), far=far)
        amount = np.clip((bottom - y) / max(min(self.taper, 0.5 * (bottom - top)), 1e-3), 0, 1)[:, None]
        return skin + (outer - skin) * np.sin(amount * np.pi / 2)

    def _on_skin(self, edge: Points) -> Points:
        """Before the ear the edge lies on the skin, behind it on the shell, since the jaw ends there."""
        behind = np.abs(edge[:, :1]) > 1.8
        return np.where(behind, self.solid.at(edge[:, 0], edge[:, 1]), self.pose.skull.at(edge[:, 0], edge[:, 1]))

    def front(self) -> tuple[Points, Points]:
        """Outer edge, from the near side's bottom over the crown, and the edge over the forehead back to there."""
        both = self.drape is not None and self.pose.turn <= (BOTH_SIDES if self.drape[0, 2] > 0 else 0.1)
        near = self.near if self.drape is not None else self._until_hidden(self.near, -self.blunt)
        far = self.far if both else self._until_hidden(self.far, np.pi / 2)
        bottom = self.solid.y[-1]
        low = bottom if self.drape is not None else near[-1, 1]
        outer = np.concatenate([
            self._silhouette(low, far=False, free=low > 0.6)[::-1],
            self._silhouette(bottom if both else far[-1, 1], far=True, free=both)[1:],
        ])  # fmt: skip
        inner = [self._on_skin(far[::-1]), self._on_skin(near)]
        if self.drape is not None:
            side = self.pose.side
            inner = [*inner, self.pose.project(self.drape * (-side, 1, 1))]
            if both:
                inner = [self.pose.project(self.drape[::-1] * (side, 1, 1)), *inner]
        return outer, np.concatenate(inner)


def edges(pose: TurnedPose, line, side_part: list) -> tuple[Points, Points]:
    """A front edge (x, y) from left to right, and how it goes on at the sides in degrees -> (angle, y) edges."""
    line = np.asarray(line) * (HEAD_WIDTH, 1)
    front = np.stack([pose.skull.angle(line[:, 0], line[:, 1]), line[:, 1]], 1)
    rest = radians(side_part)
    whole = spline(np.concatenate([rest[::-1] * (-1, 1), front, rest]))
    middle = int(np.abs(whole[:, 0]).argmin())
    return whole[middle::-1], whole[middle:]


def _long_rows(a: Attributes, v: float) -> list:
    bottom = side_length(a)
    if a.hair_style == "bob":
        return [(0.5, 0.346 + v, 0.13, -0.41 - v), (0.66, 0.365 + 1.5 * v, 0.1, -0.4 - 1.2 * v),
            (bottom - 0.03, 0.325 + v, 0.09, -0.34 - v), (bottom, 0.26, 0.05, -0.26)]  # fmt: skip
    spread = 1.0 if a.hair_forward else 0.86
    return [(0.5, 0.346 + v, 0.13, -0.42 - v), (0.7, (0.405 + 1.8 * v) * spread, 0.11, -0.41 - 1.4 * v),
        (0.92, (0.455 + 2 * v) * spread, 0.1, -0.38 - 1.4 * v), (1.1, (0.45 + 2 * v) * spread, 0.1, -0.34 - v),
        (1.15, (0.36 + 2 * v) * spread, 0.08, -0.27 - v)]  # fmt: skip


def _drape(a: Attributes) -> Points:
    """The front edge of hanging hair, on the right, from the temple or from behind the ear down."""
    bottom = side_length(a) if a.hair_style == "bob" else 1.15
    if a.ears_free:
        start = [(0.246, 0.5, -0.11), (0.246, 0.6, -0.13), (0.243, 0.7, -0.13)]
    else:
        start = [(0.228, 0.46, 0.115), (0.226, 0.62, 0.085)]
    if a.hair_style == "bob":
        return spline([*start, (0.215, bottom, 0.03 if not a.ears_free else -0.12)])
    return spline([*start, (0.208, 0.8, 0.07 if not a.ears_free else -0.1), (0.195, 0.95, 0.07), (0.21, bottom, 0.08)])


def _strand(pose: TurnedPose, points, widths) -> Points:
    """A tapering strand along points in space."""
    return ribbon(pose.project(points), np.asarray(widths) * pose.scale)


def braid(pose: TurnedPose, side: int) -> list[Points]:
    """A plait over the shoulder: overlapping lobes."""
    path = resample_space([(0.275, 0.64, -0.07), (0.3, 0.72, -0.02), (0.315, 0.86, 0.06), (0.29, 1.06, 0.12),
        (0.28, 1.25, 0.13)], 0.046)  # fmt: skip
    p = pose.project(path * (side, 1, 1))
    lobes = []
    for i in range(len(p) - 1):
        along = (p[i + 1] - p[i]) / np.linalg.norm(p[i + 1] - p[i])
        across = np.array((-along[1], along[0])) * (1 if i % 2 else -1)
        lobe = ellipse(0, 0, 0.055, 0.04, count=18) * pose.scale
        axes = np.stack([along * 0.75 - across * 0.66, across * 0.75 + along * 0.66])
        lobes.append(p[i] + across * 0.016 * pose.scale + lobe @ axes)
    return lobes


def resample_space(points, step: float) -> np.ndarray:
    """(N, 3) points -> points at equal distances along a smooth curve through them."""
    curve = spline(points)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.arange(0, length[-1], step)
    return np.stack([np.interp(at, length, curve[:, i]) for i in range(3)], 1)


def _tied(pose: TurnedPose, a: Attributes) -> list[Points]:
    """What stands off or hangs behind the head."""
    side, v = np.sign(a.shape.parting), a.shape.hair_volume
    if a.hair_style == "bun":
        (x, y), r = pose.project([(0.02 * side, 0.06, -0.2)])[0], pose.scale
        return [ellipse(x, y, (0.125 + v) * r, (0.105 + v) * r)]
    if a.hair_style == "ponytail":
        x = side * np.cos(pose.yaw)
        path = [(0.06 * x, 0.2, -0.3), (0.17 * x, 0.17, -0.43), (0.31 * x, 0.32, -0.5), (0.36 * x, 0.55, -0.5),
            (0.31 * x, 0.88, -0.42)]  # fmt: skip
        return [_strand(pose, path, (0.1, 0.15, 0.19, 0.18, 0.15, 0.1, 0.02))]
    return []


def hair_shapes(pose: TurnedPose, a: Attributes) -> HairShapes:
    style, s = a.hair_style, a.shape
    if style == "bald":
        return HairShapes()
    if style == "afro":
        return _afro(pose, a)
    v = s.hair_volume + {"curly": 0.02, "short": -0.025 if a.person == "man" else -0.01}.get(style, 0.0)
    if style in TIED or (a.hat != "none" and style not in LONG_STYLES):
        v = -0.02
    if a.hat != "none":
        v = min(v, 0.015)
    top = 0.062 if a.hat != "none" else (0.035 if style in TIED else 0.02 - v)
    long = style in LONG_STYLES
    rows = crown(top, v)
    if a.hat != "none":  # pressed flat
        rows = crown(top, -0.03)[:-1] + rows[-1:]
    short = [(0.46, 0.288 + v, 0.29, -0.375 - v), (0.55, 0.25 + v / 2, 0.28, -0.315 - v / 2),
        (0.62, 0.22, 0.27, -0.278), (0.68, 0.19, 0.2, -0.252), (0.74, 0.165, 0.18, -0.24)]  # fmt: skip
    rows += _long_rows(a, v) if long else short
    sides = AROUND_THE_EAR if not long else TUCKED if a.ears_free else []
    edge = edges(pose, front_edge(a), sides)
    shell = Shell(pose, rows, edge, drape=_drape(a) if long else None, blunt=1.1 if style == "curly" else 1.35)
    outer, inner = shell.front()
    k, side = pose.scale, pose.side
    if style in ("curly", "wavy"):
        outer = spline(resample(outer, 0.045 * k))
    if style == "curly":
        outer = scalloped(outer, bump=0.105 * k, height=0.034 * k * side)
        inner = scalloped(inner, bump=0.09 * k, height=0.02 * k * side)
    if style == "wavy":
        outer = wavy(outer, period=0.19 * k, height=0.017 * k)
    back = _tied(pose, a)
    if long:
        behind = [(y, w, front, back) if y < 0.45 else (y, w - 0.01, front - 0.03, back + 0.01)
            for y, w, front, back in rows]  # fmt: skip
        solid = Shell(pose, behind, edge).solid
        y = heights(0.42, rows[-1][0], 0.02)
        far = solid.edge(y, far=True)
        far = far + (pose.skull.edge(y, far=True) - far) * np.clip(1 - (y - 0.42) / 0.2, 0, 1)[:, None]
        hanging = np.concatenate([solid.edge(y[::-1], far=False), far])
        back = [wavy(hanging, period=0.19 * k, height=0.017 * k) if style == "wavy" else hanging]
    return HairShapes(back=back, front=[np.concatenate([outer, inner])])


def _afro(pose: TurnedPose, a: Attributes) -> HairShapes:
    v, k, side = a.shape.hair_volume, pose.scale, pose.side
    angle = np.linspace(0.04, np.pi - 0.04, 30)
    y, r = 0.33 - (0.325 + v) * np.cos(angle), np.sin(angle)
    rows = [(0.33 - (0.325 + v), 0, -0.06, -0.06)]
    rows += [(y, (0.375 + v) * r, -0.06 + (0.32 + v) * r, -0.06 - (0.4 + v) * r) for y, r in zip(y, r, strict=True)]
    line = np.array(
        [(-0.2, 0.36), (-0.185, 0.28), (-0.11, 0.222), (0.0, 0.205), (0.11, 0.222), (0.185, 0.28), (0.2, 0.36)]
    )
    shell = Shell(pose, rows, edges(pose, line, AFRO_SIDE), taper=0.1, blunt=1.1)
    outer, inner = shell.front()
    outer = spline(resample(outer, 0.045 * k))
    behind = Solid(pose, shell.solid.y, *extents(shell.solid.y, [(y, w, min(f, 0.08), b) for y, w, f, b in rows]))
    y = shell.solid.y
    cloud = np.concatenate([behind.edge(y[::-1], far=False), behind.edge(y[1:], far=True)])
    cloud = spline(resample(cloud, 0.045 * k))
    cloud = scalloped(cloud, bump=0.13 * k, height=0.028 * k * side)
    front = np.concatenate([scalloped(outer, bump=0.13 * k, height=0.028 * k * side),
        scalloped(inner, bump=0.09 * k, height=0.015 * k * side)])  # fmt: skip
    return HairShapes(back=[cloud], front=[front])
