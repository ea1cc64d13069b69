"""A change of a photo's crop, brought back into the photo: in its own resolution, and exact where nothing changed.

H, W: pixels of the photo. h, w: of a run, which shows the photo's crop at its own size.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from facemogle.editing import FEATHER, distance_to, feathered
from facemogle.labels import CLASS_ID
from facemogle.masks import resize_nearest
from facemogle.parsing.alignment import Frame

FADE = 4 * FEATHER  # of the crop's shorter side: where the photo goes on beyond it, a change ends before its border
TEXTURED = ("skin", "hair", "neck", "cloth")
FADES = "goes on beyond the crop of the face, and the change fades out there"  # said of what `goes_on`
EDGE = 0.01  # of the shorter side
STRIP = 512  # rows of the photo at a time, so that large ones do not fill the memory


@dataclass(frozen=True, eq=False)
class CropChange:
    """What a run made of a crop: `before` and `after` (h, w, 3) uint8, which differ in `region` (., .) bool alone.

    `label_maps` (., .) of both, or None: hair that stays hair, or skin, keeps the photo's fine detail, which a run is
    too small for; of what comes in place of something else that detail would be a ghost.
    """

    before: np.ndarray
    after: np.ndarray
    region: np.ndarray
    label_maps: tuple[np.ndarray, np.ndarray] | None = None


def put_back(photo: np.ndarray, frame: Frame, changes: Iterable[CropChange]) -> np.ndarray:
    """The photo (H, W, 3) uint8 with changes of what `frame` shows of it, one after the other; a copy.

    The difference alone is enlarged: every pixel whose centre lies outside the regions, as a run sees them, or
    outside the crop, is the photo's own.
    """
    changed = photo.copy()
    for change in changes:
        _add(changed, frame, change)
    return changed


def goes_on(size: tuple[int, int], frame: Frame, region: np.ndarray) -> bool:
    """Whether a region (., .) of what `frame` shows of a photo of size (H, W) ends at its border, and the photo not."""
    edges = region[0], region[-1], region[:, 0], region[:, -1]
    return any(bool(edge.any()) for side, edge in zip(_sides_within(frame, *size), edges, strict=True) if side)


def _add(photo: np.ndarray, frame: Frame, change: CropChange) -> None:
    height, width = change.after.shape[:2]
    region = resize_nearest(change.region, height, width)
    inner = _sides_within(frame, *photo.shape[:2])
    fade = _fade(height, width, inner)
    opacity: np.ndarray = feathered(region) * fade * (1 - _kept_detail(change, height, width))
    inside = np.minimum(distance_to(~region), np.float32(2))
    difference: np.ndarray = (change.after.astype(np.float32) - change.before) * fade[..., None]
    before: np.ndarray = change.before.astype(np.float32)
    # Padded by a pixel, which is in no region where the photo goes on beyond the crop.
    difference, opacity, before, inside = (
        np.pad(each, ((1, 1), (1, 1)) + ((0, 0),) * (each.ndim - 2), mode="edge")
        for each in (difference, opacity, before, inside)
    )
    for side, edge in zip(inner, (inside[0], inside[-1], inside[:, 0], inside[:, -1]), strict=True):
        if side:
            edge[:] = 0
    linear = frame.to_photo[:, :2] * (frame.width / width, frame.height / height)
    offset = frame.to_photo[:, 2] - linear @ (1, 1)
    # Scaled down by areas first where the photo has fewer pixels than the run, since a warp only samples points.
    size = np.array(inside.shape[::-1])
    small = np.maximum(1, np.round(size * np.minimum(1, np.linalg.norm(linear, axis=0)))).astype(int)
    if (small < size).any():
        difference, opacity, before = (
            cv2.resize(each, tuple(map(int, small)), interpolation=cv2.INTER_AREA)
            for each in (difference, opacity, before)
        )

    for rows in _strips(inside, linear, offset, photo.shape[0]):
        part = photo[rows]
        # Rises from the centres of the region's outermost pixels to those of the next: nowhere outside is it above 0.
        weight = np.clip(_warped(inside, linear, offset, part, rows.start) - 1, 0, 1)
        columns = np.flatnonzero(weight.any(0))
        if not columns.size:
            continue
        part, weight = (each[:, columns[0] : columns[-1] + 1] for each in (part, weight))
        place = linear * (size / small), offset, part, rows.start, columns[0]
        detail = part - _warped(before, *place, smooth=True)
        moved = _warped(difference, *place, smooth=True) - _warped(opacity, *place)[..., None] * detail
        drawn = np.clip(np.round(part + weight[..., None] * moved), 0, 255).astype(np.uint8)
        np.copyto(part, drawn, where=weight[..., None] > 0)


def _kept_detail(change: CropChange, height: int, width: int) -> np.ndarray:
    """(h, w) bool: where the maps agree on something of a texture, but not beside all else, whose edges are its own."""
    if change.label_maps is None:
        return np.zeros((height, width), bool)
    old, new = (resize_nearest(each, height, width) for each in change.label_maps)
    textured = (old == new) & np.isin(new, [CLASS_ID[name] for name in TEXTURED])
    return distance_to(~textured) > EDGE * min(height, width)


def _sides_within(frame: Frame, height: int, width: int) -> tuple[bool, bool, bool, bool]:
    """Top, bottom, left, right of the crop: whether the photo goes on beyond it, by a pixel at least."""
    along, zero = np.linspace(0, 1, 33), np.zeros(33)
    sides = ((along, zero), (along, zero + 1), (zero, along), (zero + 1, along))
    found = []
    for x, y in sides:
        points = np.stack([x * frame.width, y * frame.height, zero + 1])
        across, down = frame.to_photo @ points
        found.append(bool(((across > 1) & (across < width - 1) & (down > 1) & (down < height - 1)).any()))
    return found[0], found[1], found[2], found[3]


def _fade(height: int, width: int, inner: tuple[bool, bool, bool, bool]) -> np.ndarray:
    """(h, w) in 0..1, falling towards these sides."""
    reach = FADE * min(height, width)
    top, left = np.arange(height) + 0.5, np.arange(width) + 0.5
    down, across = np.full(height, np.inf), np.full(width, np.inf)
    for side, distances, own in zip(
        inner, (top, top[::-1], left, left[::-1]), (down, down, across, across), strict=True
    ):
        if side:
            np.minimum(own, distances, out=own)
    return np.clip(np.minimum(down[:, None], across) / reach, 0, 1).astype(np.float32)


def _strips(inside: np.ndarray, linear: np.ndarray, offset: np.ndarray, height: int) -> Iterator[slice]:
    """The photo's rows that the region may reach, some at a time."""
    rows, columns = np.nonzero(inside)
    if not rows.size:
        return
    across, down = (columns.min(), columns.max() + 1), (rows.min(), rows.max() + 1)
    reached = [linear[1] @ (x, y) + offset[1] for x in across for y in down]
    first, end = max(0, int(np.floor(min(reached))) - 1), min(height, int(np.ceil(max(reached))) + 1)
    for start in range(first, end, STRIP):
        yield slice(start, min(end, start + STRIP))


def _warped(
    layer: np.ndarray,
    linear: np.ndarray,
    offset: np.ndarray,
    part: np.ndarray,
    row: int,
    column: int = 0,
    *,
    smooth: bool = False,
) -> np.ndarray:
    """(., .) or (., ., 3) float32 -> where linear and offset take it in part (., ., 3), which begins at row, column."""
    offset = offset + linear @ (0.5, 0.5) - 0.5 - (column, row)  # OpenCV counts from the first pixel's centre
    how = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    place = np.c_[linear, offset]
    return cv2.warpAffine(layer, place, part.shape[1::-1], flags=how, borderMode=cv2.BORDER_REPLICATE)
