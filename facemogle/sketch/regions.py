"""What the lines of a drawing enclose, and the strokes that enclose nothing: their places, sizes and neighbours.

H, W: pixels; R: regions, in the order of reading.
"""

from dataclasses import dataclass

import cv2
import numpy as np

_SPECK = 14  # pixels between lines, or fewer: nothing was meant by them
_SHORT = 0.014  # of the longer side: shorter strokes mean nothing, unless they are round
# Half the width, in lines, and the share of the picture, of what was left between two lines.
_SLIVER, _SMALL = 1.4, 0.0012
_MOST = 60  # regions; hatching has more
_WITHIN = 0.8  # of a region inside another's outline: it is in it


@dataclass(frozen=True, eq=False)
class Regions:
    """`region_of` (H, W) int32: the number of the region at each pixel, -1 on the lines; a stroke's own pixels are it.

    All else by region. `boxes` (R, 4) left, top, right, bottom and `centres` (R, 2) x, y in pixels; `areas` (R,) in
    pixels, what lies within included in `filled`; `strokes` (R,) bool; `borders` (R, 4) bool: which of the picture's
    left, top, right, bottom it touches; `slivers` (R,) bool: hardly wider than a line; `within` (R, R) bool: [i, j]
    where j lies in the outline of i; `touching` (R, R) in 0..1: the share of the rim of the smaller along the other.
    """

    region_of: np.ndarray
    boxes: np.ndarray
    centres: np.ndarray
    areas: np.ndarray
    filled: np.ndarray
    strokes: np.ndarray
    borders: np.ndarray
    slivers: np.ndarray
    within: np.ndarray
    touching: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)

    def outline(self, region: int) -> np.ndarray:
        """(H, W) bool: the region and all that lies in it."""
        return filled_outline(self.region_of == region)


def filled_outline(mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, -1) > 0


def find_regions(ink: np.ndarray, lines: np.ndarray, width: float) -> Regions:
    """`lines` (H, W) bool close what `ink` (H, W) bool leaves open; width: of a line, in pixels."""
    _, region_of, parts, _ = cv2.connectedComponentsWithStats((~lines).astype(np.uint8), connectivity=4)
    region_of[(parts[:, cv2.CC_STAT_AREA] <= _SPECK)[region_of] | lines] = 0
    strokes = _strokes(ink, region_of, width)
    numbers = np.where(strokes > 0, strokes + len(parts), region_of)
    used = [int(number) for number in np.unique(numbers) if number]
    if len(used) > _MOST:
        raise ValueError(
            f"The drawing has {len(used)} regions, where a face has a dozen. Draw outlines, and no shading."
        )
    rows = {number: np.argwhere(numbers == number) for number in used}
    used.sort(key=lambda number: (round(rows[number][:, 0].mean()), round(rows[number][:, 1].mean())))
    table = np.full(int(numbers.max()) + 1, -1, np.int32)
    table[used] = np.arange(len(used))
    return _measured(table[numbers], np.array([number > len(parts) for number in used], bool), width)


def _strokes(ink: np.ndarray, region_of: np.ndarray, width: float) -> np.ndarray:
    """(H, W) int32: 1, 2, ... where a line has the same region on both sides, 0 elsewhere."""
    around = np.ones((2 * round(width) + 3,) * 2, np.uint8)
    known = region_of.astype(np.float32)
    highest = cv2.dilate(known, around)
    lowest = cv2.erode(np.where(region_of > 0, known, np.float32(1e9)), around)
    _, part_of, parts, _ = cv2.connectedComponentsWithStats(
        (ink & (lowest >= highest)).astype(np.uint8), connectivity=8
    )
    sides = parts[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    thick = parts[:, cv2.CC_STAT_AREA] >= 3 * max(width, 3) * width
    short = (sides.max(1) < _SHORT * max(ink.shape)) & ~(thick & (sides.max(1) < 2 * sides.min(1)))
    short[0] = True
    part_of[short[part_of]] = 0
    return part_of


def _measured(region_of: np.ndarray, strokes: np.ndarray, width: float) -> Regions:
    count, reach = len(strokes), 2 * round(width) + 3
    boxes, centres = np.zeros((count, 4)), np.zeros((count, 2))
    areas, filled, cores = np.zeros(count), np.zeros(count), np.zeros(count)
    within, beside, rim = np.zeros((count, count), bool), np.zeros((count, count)), np.ones(count)
    size = np.bincount(region_of.ravel() + 1, minlength=count + 1)[1:]
    for region in range(count):
        mask = region_of == region
        rows, columns = np.nonzero(mask)
        boxes[region] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        outline = filled_outline(mask)
        in_it = np.bincount(region_of[outline] + 1, minlength=count + 1)[1:]
        within[region] = (in_it >= _WITHIN * size) & (np.arange(count) != region)
        filled_rows, filled_columns = np.nonzero(outline)
        centres[region] = filled_columns.mean() + 0.5, filled_rows.mean() + 0.5
        areas[region], filled[region] = len(rows), len(filled_rows)
        cores[region] = cv2.distanceTransform(np.pad(outline, 1).astype(np.uint8), cv2.DIST_L2, 5).max()
        grown = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
        beside[region] = np.bincount(region_of[grown] + 1, minlength=count + 1)[1:]
        rim[region] = max(1, (grown & ~mask).sum() * 0.4)
    touching = np.minimum(beside / np.minimum(rim[:, None], rim), 1) * (1 - np.eye(count))
    height, across = region_of.shape
    near = round(width) + 1
    borders = np.stack([
        boxes[:, 0] <= near, boxes[:, 1] <= near, boxes[:, 2] >= across - near, boxes[:, 3] >= height - near
    ], axis=1)  # fmt: skip
    slivers = ~strokes & (cores <= _SLIVER * width) & (filled < _SMALL * region_of.size)
    return Regions(region_of, boxes, centres, areas, filled, strokes, borders, slivers, within, touching)
