"""Line drawings made from label maps, as a hand would draw them: 3 px lines that shake a little and have small gaps."""

import cv2
import numpy as np

SIDE = 512


def drawn(label_map: np.ndarray, seed: int = 0, *, jitter: float = 1.5, gaps: int = 12, gap: int = 6) -> np.ndarray:
    """(H, W) class ids -> (512, 512) uint8 grey: the borders of its classes, black on white.

    jitter in pixels; gap: the length of each of so many places where the pen was lifted.
    """
    rng = np.random.default_rng(seed)
    label_map = enlarged(label_map)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    for cells in (8, 48):  # the hand drifts, and it trembles
        shift = rng.uniform(-jitter, jitter, (cells, cells, 2)).astype(np.float32)
        shift = cv2.resize(shift, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        columns, rows = columns + shift[..., 0], rows + shift[..., 1]
    moved = cv2.remap(label_map, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    border = np.zeros((SIDE, SIDE), np.uint8)
    border[:, 1:] |= moved[:, 1:] != moved[:, :-1]
    border[1:] |= moved[1:] != moved[:-1]
    paper = np.full((SIDE, SIDE), 255, np.uint8)
    paper[cv2.dilate(border, np.ones((3, 3), np.uint8)) > 0] = 0
    places = np.argwhere(border)
    for row, column in places[rng.integers(len(places), size=gaps)]:
        cv2.circle(paper, (int(column), int(row)), gap // 2, 255, -1)
    return cv2.GaussianBlur(paper, (3, 3), 0)


def enlarged(label_map: np.ndarray) -> np.ndarray:
    """(H, W) -> (512, 512), nearest."""
    return cv2.resize(label_map, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
