"""From a picture of a drawing to its lines: what is ink, where the pen stops short, and how far it meant to go.

H, W: pixels, of which the longer side has SIDE.
"""

from typing import Literal

import cv2
import numpy as np

SIDE = 512
GAPS = (0.04, 0.12)  # of SIDE, over which an end of a line is led on; the second where the first closes no face
_PAPER = 0.06  # of SIDE: wider dark areas are no lines, but shadow on the paper, or painted
_DARKER = 0.82  # than the paper around it, at most this share of its light
_SPECK = 6  # pixels of ink, or fewer: dirt
_REACH = 12  # pixels at the end of a line that tell where it is going
_AHEAD = 0.4  # cosine of the widest angle that an end is led on by
# What a line drawing is: its paper's grey at least, the share of ink, the share of bare paper, and how even that is.
_LIGHT, _INK, _BARE, _SMOOTH, _EVEN = 135, (0.002, 0.25), 0.4, 6.0, 0.6
# Of light lines, those longer than this share of SIDE together, in widths of the pen: masks of brows, lips or glasses
# have at most 63, and faces of few strokes 180.
_STROKE, _LONG = 0.1, 120


def grey_of(picture: np.ndarray) -> np.ndarray:
    """(., .) grey, (., ., 3) RGB or (., ., 4) RGBA uint8, which lies on white paper -> (H, W) uint8 grey.

    ValueError where it is none of these.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or not picture.size:
        raise ValueError(f"A drawing must be uint8 grey, RGB or RGBA, got {picture.dtype} of shape {picture.shape}.")
    if picture.ndim == 3 and picture.shape[2] not in (3, 4):
        raise ValueError(f"A drawing has 1, 3 or 4 channels, got shape {picture.shape}. Save it as an RGB PNG.")
    grey = picture
    if picture.ndim == 3:
        grey = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY)
        if picture.shape[2] == 4:
            opaque = picture[..., 3].astype(np.float32) / 255
            grey = np.round(grey * opaque + 255 * (1 - opaque)).astype(np.uint8)
    scale = SIDE / max(grey.shape)
    size = [max(1, round(side * scale)) for side in grey.shape[::-1]]
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def dark_on_light(grey: np.ndarray) -> np.ndarray:
    """(H, W) uint8 grey, inverted where it is chalk on a board: dark, and what is thin in it lighter than the rest.

    A sheet in poor light is dark, too.
    """
    thin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    light, dark = (cv2.morphologyEx(grey, how, thin).mean() for how in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT))
    return 255 - grey if np.median(grey) < 128 and light > dark else grey


def ink_in(grey: np.ndarray) -> np.ndarray:
    """(H, W) uint8 grey -> bool: darker than the paper around, whatever light falls on that."""
    light = cv2.GaussianBlur(grey, (0, 0), 0.7).astype(np.float32)
    paper = cv2.blur(cv2.morphologyEx(light, cv2.MORPH_CLOSE, _wide()), (9, 9))
    share = np.minimum(light / np.maximum(paper, 1), 1)
    # Halfway between the paper and the darkest lines, so that faint pencil counts as much as ink.
    darkest = float(np.quantile(share, 0.005))
    ink = (share < min(_DARKER, (1 + darkest) / 2)).astype(np.uint8)
    _, part_of, parts, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    return (ink > 0) & (parts[part_of, cv2.CC_STAT_AREA] > _SPECK)


def line_tone(picture: np.ndarray) -> Literal["dark", "light"] | None:
    """Of a drawing's lines: thin, and hardly anything else. None of all else, such as a label map or a photo of a face.

    Light ones are long: a mask of one part of a face is light on dark, too.
    """
    grey = grey_of(picture)
    if _lines_alone(grey):
        return "dark"
    inverted = dark_on_light(grey)
    if inverted is grey or not _lines_alone(inverted):
        return None
    ink = ink_in(inverted)
    skeleton = thinned(ink)
    lengths = cv2.connectedComponentsWithStats(skeleton.astype(np.uint8), connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    long = lengths[lengths > _STROKE * SIDE].sum() > _LONG * max(line_width(ink, skeleton), 4)
    return "light" if long else None


def _lines_alone(grey: np.ndarray) -> bool:
    ink = ink_in(grey)
    near = cv2.dilate(ink.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    bare = grey[~near]
    if not _INK[0] < ink.mean() < _INK[1] or bare.size < _BARE * grey.size or np.median(bare) < _LIGHT:
        return False
    # Light may fall on paper from one side; it has no borders away from the lines.
    paper = np.where(near, cv2.morphologyEx(grey, cv2.MORPH_CLOSE, _wide()), grey).astype(np.float32)
    slope = np.abs(cv2.GaussianBlur(paper, (0, 0), 2) - cv2.GaussianBlur(paper, (0, 0), 5))[~near]
    return bool(np.quantile(slope, 0.99) < _SMOOTH and np.quantile(bare, 0.02) > _EVEN * np.median(bare))


def _wide() -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(_PAPER * SIDE / 2) + 1,) * 2)


def thinned(ink: np.ndarray) -> np.ndarray:
    """(H, W) bool -> its lines, one pixel wide (Guo and Hall 1989)."""
    skeleton = np.pad(ink, 1)
    while True:
        before = skeleton.sum()
        for half in (0, 4):  # from one side, then from the other
            ring = _ring(skeleton)
            above, after = ring[::2], np.roll(ring, -1, 0)
            runs = (~above & (after[::2] | np.roll(ring, -2, 0)[::2])).sum(0)
            sides = np.minimum((above | ring[1::2]).sum(0), (after[1::2] | ring[1::2]).sum(0))
            p4, p2, p3, p5 = (ring[(half + place) % 8] for place in (2, 0, 1, 3))
            gone = (runs == 1) & (sides >= 2) & (sides <= 3) & ~((p2 | p3 | ~p5) & p4)
            skeleton[1:-1, 1:-1] &= ~gone
        if skeleton.sum() == before:
            return skeleton[1:-1, 1:-1]


def _ring(padded: np.ndarray) -> np.ndarray:
    """(H + 2, W + 2) -> (8, H, W): the neighbours of each pixel, clockwise from the one above."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    steps = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    return np.stack([padded[row : row + height, column : column + width] for row, column in steps])


def line_width(ink: np.ndarray, skeleton: np.ndarray) -> float:
    """Pixels, of most of the lines."""
    if not skeleton.any():
        return 1.0
    return (
        2
        * float(np.median(cv2.distanceTransform(np.pad(ink, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1][skeleton]))
        - 1
    )


def led_on(ink: np.ndarray, skeleton: np.ndarray, reach: float) -> np.ndarray:
    """(H, W) bool, its ends joined to the nearest ink ahead of them, or to the picture's border: (H, W) bool.

    reach: pixels at most. Other ends are preferred to the sides of lines.
    """
    margin = int(np.ceil(reach)) + 1
    targets = np.pad(np.pad(ink, 1, constant_values=True), margin)  # the picture's border is one
    lines = np.pad(skeleton, margin + 1)
    ends_map = np.zeros(lines.shape, bool)
    ends = np.argwhere(_ends(skeleton)) + margin + 1
    ends_map[tuple(ends.T)] = True
    joined = ink.astype(np.uint8)
    rows, columns = np.mgrid[-margin : margin + 1, -margin : margin + 1]
    distance = np.hypot(rows, columns)
    for row, column in ends:
        window = np.s_[row - margin : row + margin + 1, column - margin : column + margin + 1]
        own = _hanging_together(lines[window], margin)
        behind = own & (distance <= _REACH)
        way = -np.array([rows[behind].mean(), columns[behind].mean()])
        length = float(np.hypot(*way))
        if length < 0.5:  # a dot
            continue
        ahead = (rows * way[0] + columns * way[1]) / length / np.maximum(distance, 1)
        itself = _hanging_together(targets[window] & (distance <= max(_REACH, reach / 2)), margin)
        free = targets[window] & ~itself & (distance <= reach) & (ahead > _AHEAD)
        if free.any():
            cost = np.where(free, distance * (2 - ahead), np.inf)
            cost[ends_map[window]] *= 0.6
            to_row, to_column = np.unravel_index(int(cost.argmin()), cost.shape)
            here = (int(column) - margin - 1, int(row) - margin - 1)
            there = (here[0] + int(to_column) - margin, here[1] + int(to_row) - margin)
            cv2.line(joined, here, there, 1, 2)
    return joined > 0


def _ends(skeleton: np.ndarray) -> np.ndarray:
    """Where a line begins or ends: one neighbour, or two that touch each other."""
    ring = _ring(np.pad(skeleton, 1))
    return skeleton & (ring.sum(0) <= 2) & ((~ring & np.roll(ring, -1, 0)).sum(0) <= 1)


def _hanging_together(lines: np.ndarray, middle: int) -> np.ndarray:
    """What of a window of lines hangs together with its middle."""
    _, part_of = cv2.connectedComponents(lines.astype(np.uint8), connectivity=8)
    return (part_of == part_of[middle, middle]) & lines
