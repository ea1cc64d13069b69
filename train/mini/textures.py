"""Surfaces as photographs have them: noise of natural spectrum, strands, cloth, and what stands behind a person.

S: side of a picture. Colours are float32 RGB in 0..1; fields are (S, S) float32.
"""

from collections.abc import Callable

import cv2
import numpy as np

from train.mini.portraits.attributes import RGB

# From the lightest to the darkest; between neighbours lies every skin.
SKINS: tuple[RGB, ...] = (
    (255, 226, 206), (238, 196, 166), (214, 162, 128), (178, 124, 92), (128, 84, 62), (84, 54, 42), (54, 36, 30),
)  # fmt: skip
HAIRS: tuple[RGB, ...] = (
    (22, 18, 18), (48, 32, 24), (84, 56, 38), (126, 88, 58), (176, 134, 88), (222, 190, 140), (122, 58, 34),
    (150, 148, 146), (222, 220, 216),
)  # fmt: skip


def along(rng: np.random.Generator, colours: tuple[RGB, ...]) -> np.ndarray:
    """A colour between two neighbours of a list, with a little of its own -> (3,)."""
    place = rng.uniform(0, len(colours) - 1)
    first, rest = colours[int(place)], place % 1
    second = colours[min(int(place) + 1, len(colours) - 1)]
    mixed = (1 - rest) * np.array(first) + rest * np.array(second)
    return np.clip(mixed / 255 * rng.normal(1, 0.05, 3), 0, 1).astype(np.float32)


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """Of skin, of hair, nearly black, or any, mostly dull -> (3,)."""
    kind = rng.random()
    if kind < 0.15:
        return along(rng, SKINS)
    if kind < 0.35:
        return along(rng, HAIRS)
    if kind < 0.45:
        return rng.uniform(0, 0.15, 3).astype(np.float32)
    grey = rng.uniform(0.05, 0.95)
    return np.clip(grey + rng.beta(1, 2) * rng.uniform(-0.5, 0.5, 3), 0, 1).astype(np.float32)


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Mean 0, deviation 1, nearly normal: sums of two bytes, which cost a tenth of normal numbers."""
    count = int(np.prod(shape))
    pairs = np.frombuffer(rng.bytes(2 * count), np.uint8).reshape(2, count)
    return ((pairs[0].astype(np.float32) + pairs[1] - 255) / np.float32(104.5)).reshape(shape)


def clouds(rng: np.random.Generator, size: int, *, cells: int = 2, finest: int = 256, roughness: float = 1.0):
    """Noise of mean 0 and deviation 1 or so, of octaves from `cells` to `finest` cells a side -> (S, S).

    The amplitude falls by `roughness` an octave: 1 is the spectrum of natural pictures (amplitude 1/f), 0.5 is smooth.
    """
    field, power, amplitude, cells = np.zeros((size, size), np.float32), 0.0, 1.0, min(cells, size)
    while cells <= min(finest, size):
        grid = noise(rng, cells, cells)
        field += amplitude * cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
        power += amplitude**2 * 0.6  # what linear interpolation leaves of the variance, roughly
        cells, amplitude = cells * 2, amplitude * roughness
    return field / np.float32(np.sqrt(power))


def strands(rng: np.random.Generator, size: int, crown: np.ndarray, curl: float) -> np.ndarray:
    """Fine lines that run away from `crown` (x, y in pixels), bent by `curl` (in shares of the picture) -> (S, S)."""
    fine = cv2.blur(noise(rng, size, size), (size // 5, 1))
    clumps = cv2.resize(noise(rng, size // 6, 5), (size, size), interpolation=cv2.INTER_CUBIC)
    lines = fine * np.float32(0.55 * np.sqrt(size // 5)) + 0.8 * clumps
    x, y = grid_of(size)
    dx, dy = x - np.float32(crown[0]), y - np.float32(crown[1])
    bend = clouds(rng, size, cells=8, finest=32, roughness=0.6) * np.float32(curl * size)
    distance, angle = cv2.cartToPolar(dx + bend, dy - bend)
    return cv2.remap(lines, distance, angle * np.float32(size / np.pi), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def grid_of(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel, (S, S) each."""
    steps = np.arange(size, dtype=np.float32)
    return np.broadcast_to(steps, (size, size)), np.broadcast_to(steps[:, None], (size, size))


def ramp(dark: np.ndarray, bright: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Tone (S, S), -1 -> dark, 1 -> bright -> (S, S, 3)."""
    share = np.clip(tone * np.float32(0.5) + np.float32(0.5), 0, 1)[..., None]
    return dark + (bright - dark) * share


def hair_paint(rng: np.random.Generator, size: int, lines: np.ndarray, colour: np.ndarray) -> np.ndarray:
    contrast = rng.uniform(0.1, 0.5)
    shine = np.clip(colour * (1 + contrast) + 0.12 * contrast, 0, 1).astype(np.float32)
    wide = clouds(rng, size, cells=3, finest=6)
    return ramp(colour * np.float32(1 - contrast), shine, 0.7 * lines + rng.uniform(0, 0.7) * wide)


def cloth_paint(rng: np.random.Generator, size: int) -> np.ndarray:
    """Plain, striped, checked, blotched or knitted, often dark, with folds -> (S, S, 3)."""
    base, other = any_colour(rng), any_colour(rng)
    if rng.random() < 0.4:
        base = base * np.float32(rng.uniform(0.05, 0.4))
    tone = np.full((size, size), -1, np.float32)
    kind = rng.integers(5)
    if kind in (1, 2):
        x, y = grid_of(size)
        turn, period = rng.uniform(0, np.pi), size * rng.uniform(0.02, 0.12)
        bend = clouds(rng, size, cells=2, finest=8, roughness=0.5) * np.float32(0.03 * size)
        across = (x + bend) * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))
        tone = np.sin(across * np.float32(2 * np.pi / period))
        if kind == 2:
            tone = tone + np.sin((y - bend) * np.float32(2 * np.pi / period))
        tone = np.clip(tone * rng.uniform(1, 5), -1, 1)
    elif kind == 3:
        tone = np.clip(clouds(rng, size, cells=8, finest=64) * 3 + rng.uniform(-2, 2), -1, 1)
    elif kind == 4:
        tone = clouds(rng, size, cells=32) * np.float32(rng.uniform(0.2, 0.8)) - np.float32(0.5)
    folds = clouds(rng, size, cells=3, finest=12) * np.float32(rng.uniform(0, 0.25))
    return ramp(base, other, tone) * (1 + folds)[..., None]


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """What stands behind a person, from a studio's wall to a blurred street -> (S, S, 3)."""
    kinds: tuple[tuple[float, Callable], ...] = (
        (0.2, _wall), (0.2, _natural), (0.3, _clutter), (0.12, _lights), (0.08, _foliage), (0.1, cloth_paint),
    )  # fmt: skip
    paint = kinds[rng.choice(len(kinds), p=[share for share, _ in kinds])][1](rng, size)
    if rng.random() < 0.45:  # out of focus
        paint = blurred(paint, size * rng.uniform(0.004, 0.04))
    if rng.random() < 0.3:
        paint = paint * np.float32(rng.uniform(0.05, 0.6))
    return np.clip(paint, 0, 1.3)


def blurred(field: np.ndarray, deviation: float) -> np.ndarray:
    """A Gaussian blur, strong ones on a smaller picture; (S, S[, 3])."""
    if deviation < 4:
        return cv2.GaussianBlur(field, (0, 0), max(deviation, 0.2))
    factor = int(deviation / 2)
    small = cv2.resize(field, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), deviation / factor)
    return cv2.resize(small, field.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _wall(rng: np.random.Generator, size: int) -> np.ndarray:
    light = clouds(rng, size, cells=2, finest=2) * np.float32(rng.uniform(0.05, 0.5))
    grain = clouds(rng, size, cells=16) * np.float32(rng.uniform(0, 0.04))
    return any_colour(rng) * (1 + light + grain)[..., None]


def _natural(rng: np.random.Generator, size: int) -> np.ndarray:
    grey = clouds(rng, size, roughness=rng.uniform(0.7, 1.1))
    hue = clouds(rng, size, cells=2, finest=32, roughness=0.8)[..., None] * rng.normal(0, 0.12, 3).astype(np.float32)
    return ramp(any_colour(rng) * np.float32(0.5), any_colour(rng), grey * np.float32(0.6)) + hue


def _clutter(rng: np.random.Generator, size: int) -> np.ndarray:
    """Shapes of every kind before one another, as furniture, windows, people and signs are out of context."""
    paint = _wall(rng, size)
    for _ in range(rng.integers(5, 40)):
        centre, side = rng.uniform(-0.1, 1.1, 2) * size, size * rng.uniform(0.02, 0.4)
        colour = tuple(map(float, any_colour(rng)))
        kind, turn = rng.integers(4), rng.uniform(0, 180)
        point, axes = tuple(map(int, centre)), (int(side) + 1, int(side * rng.uniform(0.2, 1)) + 1)
        if kind == 0:
            cv2.ellipse(paint, point, axes, turn, 0, 360, colour, -1, cv2.LINE_AA)
        elif kind == 1:
            upright = 0.0 if rng.random() < 0.7 else turn
            corners = cv2.boxPoints((tuple(centre), (2.0 * axes[0], 2.0 * axes[1]), upright))
            cv2.fillConvexPoly(paint, corners.astype(np.int32), colour, cv2.LINE_AA)
        elif kind == 2:
            corners = (centre + rng.normal(0, side, (rng.integers(3, 7), 2))).astype(np.int32)
            cv2.fillPoly(paint, [corners], colour, cv2.LINE_AA)
        else:
            end = tuple(map(int, centre + rng.normal(0, 2 * side, 2)))
            cv2.line(paint, point, end, colour, int(1 + size * 0.03 * rng.random() ** 2), cv2.LINE_AA)
    texture = clouds(rng, size, cells=8) * np.float32(rng.uniform(0, 0.15))
    return paint * (1 + texture)[..., None]


def _lights(rng: np.random.Generator, size: int) -> np.ndarray:
    """Discs of light, as lamps are out of focus, before something dark."""
    paint, discs = _wall(rng, size) * np.float32(0.4), np.zeros((size, size, 3), np.float32)
    for _ in range(rng.integers(5, 30)):
        centre = tuple(map(int, rng.uniform(0, size, 2)))
        colour = np.clip(any_colour(rng) + 0.3, 0, 1) * rng.uniform(0.2, 0.8)
        cv2.circle(discs, centre, int(1 + size * rng.uniform(0.01, 0.08)), tuple(map(float, colour)), -1, cv2.LINE_AA)
    return paint + discs


def _foliage(rng: np.random.Generator, size: int) -> np.ndarray:
    leaves = clouds(rng, size, cells=8, roughness=0.9)
    green = np.array((rng.uniform(0.1, 0.5), rng.uniform(0.25, 0.6), rng.uniform(0.02, 0.3)), np.float32)
    sky = np.clip(any_colour(rng) + 0.2, 0, 1) if rng.random() < 0.5 else green * np.float32(1.6)
    return ramp(green * np.float32(0.3), sky, leaves * np.float32(rng.uniform(0.5, 1.5)))
