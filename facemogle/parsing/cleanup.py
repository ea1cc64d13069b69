"""What goes wrong in parsed label maps, and how it is mended: small islands, left and right exchanged.

A label map is (H, W) uint8 class ids.
"""

import cv2
import numpy as np

from facemogle.labels import mirror

# Of the picture: 26 pixels of 512x512. Real parts, even an earring or a closed eye, have ten times as many.
ISLAND = 1e-4


def join_islands(label_map: np.ndarray, *, share: float = ISLAND) -> tuple[np.ndarray, int]:
    """-> the label map without islands, and how many there were.

    An island is a connected region, diagonals included, of at most `share` of the picture. It takes the class that it
    touches most; islands side by side take one together. Where there is nothing but islands all stay.
    """
    small, count = _islands(label_map, share * label_map.size)
    if small.all():
        return label_map, 0
    joined = label_map.copy()
    _, group_of, boxes, _ = cv2.connectedComponentsWithStats(small.astype(np.uint8), connectivity=8)
    for group, (left, top, width, height, _) in enumerate(boxes[1:], start=1):
        window = np.s_[max(0, top - 1) : top + height + 1, max(0, left - 1) : left + width + 1]
        inside = group_of[window] == group
        shore = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~inside
        joined[window][inside] = np.bincount(label_map[window][shore]).argmax()
    return joined, count


def _islands(label_map: np.ndarray, most: float) -> tuple[np.ndarray, int]:
    """(H, W) bool, True in regions of at most `most` pixels, and the number of these."""
    small, count = np.zeros(label_map.shape, bool), 0
    for class_id in np.unique(label_map):
        region_of_class = (label_map == class_id).astype(np.uint8)
        _, region_of, boxes, _ = cv2.connectedComponentsWithStats(region_of_class, connectivity=8)
        is_small = boxes[:, cv2.CC_STAT_AREA] <= most
        is_small[0] = False  # all that is not of the class
        small |= is_small[region_of]
        count += int(is_small.sum())
    return small, count


def swap_sides(label_map: np.ndarray) -> np.ndarray:
    """Left and right classes exchanged in place."""
    return np.ascontiguousarray(mirror(label_map)[:, ::-1])
