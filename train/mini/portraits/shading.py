"""The canvas: crisp antialiased layers with a label map beside them, and soft light computed on a coarse grid.

G = GRID, side of the coarse grid; N, side of the supersampled canvas. Colours are floats in 0..1, their fields planes.
"""

import cv2
import numpy as np

from facemogle.labels import CLASS_ID
from train.mini.portraits.shapes import Points

GRID = 128  # light is smooth: coarse is enough, the same at every size, and fast
SUPERSAMPLING = 2
SUBPIXEL_BITS = 4

LIGHTS = {
    "left": (-0.62, -0.45, 0.64), "right": (0.62, -0.45, 0.64), "soft": (-0.1, -0.4, 0.91),
    "warm": (-0.4, -0.45, 0.8), "cool": (0.4, -0.45, 0.8),
}  # fmt: skip
LIGHT_TINTS = {"warm": (1.03, 1.0, 0.91), "cool": (0.965, 0.995, 1.035)}

SHADOW = np.array((0.46, 0.3, 0.34), np.float32)

Window = tuple[slice, slice]
WHOLE: Window = (slice(None), slice(None))

GRID_Y, GRID_X = (np.mgrid[0:GRID, 0:GRID].astype(np.float32) + 0.5) / GRID


def _fill(polygons: list[Points], side: int) -> np.ndarray:
    """Union of polygons -> (side, side) uint8 coverage."""
    coverage = np.zeros((side, side), np.uint8)
    for polygon in polygons:
        corners = np.round((polygon * side - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(coverage, [corners], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return coverage


def soft(polygons: list[Points], blur: float) -> np.ndarray:
    """Union of polygons, blurred by a standard deviation of `blur` -> (G, G) in 0..1."""
    coverage = _fill(polygons, GRID).astype(np.float32) / 255
    return cv2.GaussianBlur(coverage, (0, 0), blur * GRID)


def moved(field: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """(G, G) field moved by (dx, dy) in fractions of the picture."""
    matrix = np.array([[1, 0, dx * GRID], [0, 1, dy * GRID]], np.float32)
    return cv2.warpAffine(field, matrix, (GRID, GRID), borderMode=cv2.BORDER_REPLICATE)


def ellipsoid_light(centre, radii, light: str) -> np.ndarray:
    """Lambert shading of an ellipsoid, about 0 in the mean -> (G, G)."""
    x, y = (GRID_X - centre[0]) / radii[0], (GRID_Y - centre[1]) / radii[1]
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0.03))
    lx, ly, lz = LIGHTS[light]
    return (x * lx + y * ly + z * lz) / np.sqrt(x * x + y * y + z * z) - 0.66


def relief_light(height: np.ndarray, strength: float, light: str) -> np.ndarray:
    """Lambert shading of a (G, G) height field, 0 where it is flat."""
    lx, ly, _ = LIGHTS[light]
    slope_y, slope_x = np.gradient(height)
    slope_x, slope_y = slope_x * strength, slope_y * strength
    return -(slope_x * lx + slope_y * ly) / np.sqrt(1 + slope_x**2 + slope_y**2)


def colour(rgb) -> np.ndarray:
    return np.asarray(rgb, np.float32) / 255


def _planes(paint) -> np.ndarray:
    """A colour (3,) -> (3, 1, 1), which spreads over a field; a field (3, G, G) as it is."""
    paint = np.asarray(paint, np.float32)
    return paint[:, None, None] if paint.ndim == 1 else paint


def mix(a, b, amount) -> np.ndarray:
    """a where `amount` is 0, b where it is 1; (3,) colours stay so unless an amount of (G, G) makes them (3, G, G)."""
    amount = np.asarray(amount, np.float32)
    if amount.ndim == 2:
        a, b = _planes(a), _planes(b)
    return np.asarray(a, np.float32) * (1 - amount) + np.asarray(b, np.float32) * amount


def ramp(dark, base, bright, tone: np.ndarray) -> np.ndarray:
    """Tone -1 -> dark, 0 -> base, 1 -> bright; (G, G) -> (3, G, G)."""
    tone = np.tanh(tone * 1.2) / 0.83
    return mix(mix(base, dark, np.clip(-tone, 0, 1)), bright, np.clip(tone, 0, 1))


def _touched(amount: np.ndarray, side: int) -> Window | None:
    """The part of a canvas that a (G, G) amount reaches."""
    rows, columns = np.flatnonzero(amount.any(1)), np.flatnonzero(amount.any(0))
    if not len(rows):
        return None
    low, high = (lambda i: max(0, (i - 1) * side // GRID)), (lambda i: min(side, -(-(i + 2) * side // GRID)))
    return slice(low(rows[0]), high(rows[-1])), slice(low(columns[0]), high(columns[-1]))


def _majority(label_map: np.ndarray) -> np.ndarray:
    """(2S, 2S) class ids -> (S, S), the most frequent of each four; of two equally frequent, the first pixel's."""
    a, b, c, d = (label_map[y::2, x::2] for y in (0, 1) for x in (0, 1))
    first = (a == b) | (a == c) | (a == d)
    return np.where(first, a, np.where((b == c) | (b == d), b, np.where(c == d, c, a)))


class Canvas:
    """A picture, as colour planes, and its label map, painted layer by layer from back to front."""

    def __init__(self, size: int):
        self.size = size
        self.side = size * SUPERSAMPLING
        self.image = np.zeros((3, self.side, self.side), np.float32)
        self.label_map = np.zeros((self.side, self.side), np.uint8)

    def _window(self, polygons: list[Points]) -> tuple[slice, slice]:
        low = np.min([p.min(0) for p in polygons], 0)
        high = np.max([p.max(0) for p in polygons], 0)
        x0, y0 = np.clip(np.floor(low * self.side) - 2, 0, self.side).astype(int)
        x1, y1 = np.clip(np.ceil(high * self.side) + 2, 0, self.side).astype(int)
        return slice(y0, y1), slice(x0, x1)

    def spread(self, field: np.ndarray, window: Window = WHOLE) -> np.ndarray:
        """([3,] G, G) enlarged to ([3,] N, N), the window of it alone."""
        if field.ndim == 3:
            return np.stack([self.spread(plane, window) for plane in field])
        if self.side % GRID:
            return cv2.resize(field.astype(np.float32), (self.side, self.side), interpolation=cv2.INTER_LINEAR)[window]
        factor = self.side // GRID
        (top, bottom, _), (left, right, _) = (each.indices(self.side) for each in window)
        y, x = max(0, top // factor - 1), max(0, left // factor - 1)
        part = np.ascontiguousarray(field[y : -(-bottom // factor) + 1, x : -(-right // factor) + 1], np.float32)
        large = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        return large[top - y * factor : bottom - y * factor, left - x * factor : right - x * factor]

    def paint(
        self,
        polygons: list[Points],
        paint,
        *,
        name: str | None = None,
        opacity: float = 1.0,
        inside: list[Points] | None = None,
    ):
        """Fill the union of polygons (within `inside`) with a colour (3,) or (3, G, G); label it `name` if given."""
        window = self._window(polygons)
        if window[0].start >= window[0].stop or window[1].start >= window[1].stop:
            return
        coverage = _fill(polygons, self.side)[window].astype(np.float32) / 255
        if inside is not None:
            coverage *= _fill(inside, self.side)[window].astype(np.float32) / 255
        if name is not None:
            self.label_map[window][coverage >= 0.5] = CLASS_ID[name]
        alpha = coverage * np.float32(opacity)
        for view, plane in zip(self.image[(..., *window)], _planes(paint), strict=True):
            view += ((self.spread(plane, window) if plane.size > 1 else plane) - view) * alpha

    def shade(self, amount: np.ndarray):
        """Multiply the person painted so far by a warm shadow of (G, G) strength."""
        if window := _touched(amount, self.side):
            spread = self.spread(amount, window) * (self.label_map[window] > 0)
            for view, strength in zip(self.image[(..., *window)], 1 - SHADOW, strict=True):
                view *= 1 - spread * strength

    def stain(self, amount: np.ndarray, paint: np.ndarray, *, name: str):
        """Blend a colour (3,) into one class by a soft (G, G) amount."""
        if window := _touched(amount, self.side):
            view = self.image[(..., *window)]
            spread = self.spread(amount, window) * (self.label_map[window] == CLASS_ID[name])
            view += (_planes(paint) - view) * spread

    def finish(self, light: str) -> tuple[np.ndarray, np.ndarray]:
        """-> (S, S, 3) uint8 picture in the light's tint, (S, S) uint8 class ids."""
        image = cv2.merge(list(self.image))
        image = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)
        image = image * np.asarray(LIGHT_TINTS.get(light, (1, 1, 1)), np.float32)
        picture = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
        return picture, _majority(self.label_map)
