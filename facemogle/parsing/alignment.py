"""Where the faces of a photo are, and the crop of one of them that the parsers and the generator expect.

A photo is (H, W, 3) uint8 RGB, upright. Points are (x, y) in pixels from the upper left corner of the photo, or of the
crop: the centre of the first pixel is (0.5, 0.5), and the lower right corner (W, H).
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from facenet_pytorch import MTCNN

CROP_SIDE = 512
MAX_SIDE = 1024  # of a photo that is taken as it is
DETECTION_SIDE = 1024  # larger photos are scaled down to it before faces are looked for
MIN_FACE = 20  # pixels of a face's shorter side, after that
MIN_SCORE = 0.9
# How far, in shares of the shorter side, a corner of the ideal crop may lie from the photo's own, which then is left
# as it is. On pictures in that framing the landmarks err by up to 0.08.
FRAMED = 0.12
SQUARE = 0.05  # how far, in the same shares, its sides may then differ


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a photo.

    `box`: left, top, right, bottom. `landmarks` (5, 2): centres of the eyes, tip of the nose, corners of the mouth, of
    each pair first the one on the left of the picture. `score` in 0..1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float


@dataclass(frozen=True, eq=False)
class Frame:
    """What is cut from a photo: `to_photo` (2, 3) takes a point of the crop to its place in the photo."""

    to_photo: np.ndarray
    height: int
    width: int

    def crop(self, photo: np.ndarray) -> np.ndarray:
        """The photo's pixels within the frame, (height, width, 3); beyond its border the last ones go on."""
        linear, offset = self.to_photo[:, :2], self.to_photo[:, 2]
        # Scaled down by areas first, along each side of the photo, since a warp only samples points.
        shrink = np.maximum(1, np.linalg.norm(linear, axis=1))
        size = np.array(photo.shape[1::-1])
        small = np.maximum(1, np.round(size / shrink)).astype(int)
        if (small < size).any():
            photo = cv2.resize(photo, tuple(map(int, small)), interpolation=cv2.INTER_AREA)
        linear, offset = linear * (small / size)[:, None], offset * small / size
        offset = offset + linear @ (0.5, 0.5) - 0.5  # OpenCV counts from the first pixel's centre
        return cv2.warpAffine(
            photo,
            np.c_[linear, offset],
            (self.width, self.height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,  # mirrored, a face cut off by the border would have a third eye
        )


def find_faces(photo: np.ndarray) -> list[Face]:
    """Every face that MTCNN finds (arXiv 1604.02878), the largest first. Its weights come with facenet-pytorch.

    Where there is none, the photo may lie on its side or upside down: it is looked at turned, too. What is found then
    has its places in the photo as it is, so that frame_face turns it upright.
    """
    for quarters in (0, 1, 3, 2):
        if faces := _find_upright(np.rot90(photo, quarters)):
            return [_turned_back(face, photo, quarters) for face in faces]
    return []


def _turned_back(face: Face, photo: np.ndarray, quarters: int) -> Face:
    """A face in np.rot90(photo, quarters), counter-clockwise, -> where it is in the photo."""
    points = np.concatenate([face.box.reshape(2, 2), face.landmarks])
    height, width = photo.shape[:2]
    for left in reversed(range(quarters)):  # turns that remain after one is undone
        points = np.stack([(height if left % 2 else width) - points[:, 1], points[:, 0]], axis=1)
    corners = points[:2]
    return Face(np.concatenate([corners.min(0), corners.max(0)]), points[2:], face.score)


def _find_upright(photo: np.ndarray) -> list[Face]:
    scale = min(1.0, DETECTION_SIDE / max(photo.shape[:2]))
    height, width = (round(side * scale) for side in photo.shape[:2])
    if min(height, width) < MIN_FACE:
        return []
    photo = np.ascontiguousarray(photo)
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA) if scale < 1 else photo
    boxes, scores, landmarks = _detector().detect(small, landmarks=True)
    if boxes is None:
        return []
    faces = [
        Face(np.array(box, float) / scale, np.array(points, float) / scale, float(score))
        for box, points, score in zip(boxes, landmarks, scores, strict=True)
        if score >= MIN_SCORE
    ]
    return sorted(faces, key=lambda face: -np.prod(face.box[2:] - face.box[:2]))


@cache
def _detector() -> "MTCNN":
    from facenet_pytorch import MTCNN

    return MTCNN(min_face_size=MIN_FACE, keep_all=True, device="cpu")


def frame_face(photo: np.ndarray, face: Face) -> Frame:
    """FFHQ's crop around a face (arXiv 1812.04948, appendix A), or the whole photo where that is nearly it."""
    left_eye, right_eye, _, left_mouth, right_mouth = face.landmarks
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across, down = right_eye - left_eye, mouth - eyes
    axis = across + np.array([down[1], -down[0]])  # the eyes' line and the upright of the face, both turned to x
    half = max(2.0 * np.linalg.norm(across), 1.8 * np.linalg.norm(down))
    axis *= half / np.linalg.norm(axis)
    upright = np.array([-axis[1], axis[0]])
    centre = eyes + 0.1 * down
    corners = np.array([centre - axis - upright, centre + axis - upright, centre - axis + upright])
    height, width = photo.shape[:2]
    own = np.array([(0, 0), (width, 0), (0, height)])
    shorter = min(height, width)
    if abs(height - width) <= SQUARE * shorter and np.abs(corners - own).max() <= FRAMED * shorter:
        return frame_whole(photo)
    return _frame_of(corners)


def frame_square(photo: np.ndarray, left: float, top: float, side: float) -> Frame:
    """A square drawn by hand. ValueError where it is empty, or shares nothing with the photo."""
    height, width = photo.shape[:2]
    touches = -side < left < width and -side < top < height  # never so for NaN
    if not (1 <= side < np.inf and touches):
        raise ValueError(
            f"The square must be at least 1 pixel wide and touch the photo of {width}x{height} pixels, got "
            f"left {left}, top {top}, side {side}."
        )
    return _frame_of(np.array([(left, top), (left + side, top), (left, top + side)]))


def frame_whole(photo: np.ndarray) -> Frame:
    """The photo as it is, scaled down where its longer side is over MAX_SIDE."""
    height, width = photo.shape[:2]
    scale = max(1.0, max(height, width) / MAX_SIDE)
    rows, columns = max(1, round(height / scale)), max(1, round(width / scale))
    return Frame(np.array([[width / columns, 0, 0], [0, height / rows, 0]]), rows, columns)


def _frame_of(corners: np.ndarray) -> Frame:
    """(3, 2) upper left, upper right and lower left corner in the photo -> a frame of CROP_SIDE."""
    origin, right, below = corners
    linear = np.stack([right - origin, below - origin], axis=1) / CROP_SIDE
    return Frame(np.c_[linear, origin], CROP_SIDE, CROP_SIDE)
