"""Faces found in a real photo, and crops that hold, pixel by pixel, what their frames say."""

from itertools import product

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facemogle.parsing.alignment import (
    CROP_SIDE,
    MAX_SIDE,
    Face,
    Frame,
    find_faces,
    frame_face,
    frame_square,
    frame_whole,
)
from train.mini.portraits import render, sample_attributes


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """(512, 512, 3), a woman's face above the middle."""
    return astronaut()


@pytest.fixture(scope="module")
def head(photo) -> np.ndarray:
    """(150, 150, 3)"""
    return photo[40:190, 150:300]


def face_at(centre: tuple[float, float], *, size: float = 20.0, tilt: float = 0.0) -> Face:
    """A face whose eyes lie `size` apart, its mouth 1.25 `size` below; turned clockwise by `tilt` degrees."""
    points = np.array([(-0.5, 0), (0.5, 0), (0, 0.6), (-0.3, 1.25), (0.3, 1.25)]) * size
    sine, cosine = np.sin(np.radians(tilt)), np.cos(np.radians(tilt))
    points = points @ [[cosine, sine], [-sine, cosine]] + centre
    return Face(np.r_[points.min(0), points.max(0)], points, 1.0)


def to_photo(frame: Frame, points) -> np.ndarray:
    """(n, 2) in the crop -> (n, 2) in the photo."""
    return np.asarray(points, float) @ frame.to_photo[:, :2].T + frame.to_photo[:, 2]


def turned(picture: np.ndarray, degrees: float) -> np.ndarray:
    """Anticlockwise about its face."""
    matrix = cv2.getRotationMatrix2D((225, 110), degrees, 1)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


# Frames


def test_the_crop_of_ffhq():
    """Half the side: 2 from eye to eye or 1.8 from eyes to mouth, the larger; centre: a tenth down from the eyes."""
    frame = frame_face(np.zeros((200, 200, 3), np.uint8), face_at((50, 50)))
    assert (frame.height, frame.width) == (CROP_SIDE, CROP_SIDE)
    corners = to_photo(frame, [(0, 0), (CROP_SIDE, 0), (CROP_SIDE, CROP_SIDE)])
    assert np.allclose(corners, [(5, 7.5), (95, 7.5), (95, 97.5)])


def test_a_tilted_face_is_upright_in_the_crop():
    upright, tilted = (
        frame_face(np.zeros((300, 300, 3), np.uint8), face_at((150, 150), tilt=tilt)) for tilt in (0, 30)
    )
    inverse = cv2.invertAffineTransform(tilted.to_photo)
    again = face_at((150, 150), tilt=30).landmarks @ inverse[:, :2].T + inverse[:, 2]
    straight = cv2.invertAffineTransform(upright.to_photo)
    assert np.allclose(again, face_at((150, 150)).landmarks @ straight[:, :2].T + straight[:, 2])


def frames(height: int, width: int) -> dict[str, Frame]:
    photo = np.zeros((height, width, 3), np.uint8)
    return {
        "larger": frame_square(photo, 31.3, 22.7, 100.5),
        "same": frame_square(photo, 20, 30, CROP_SIDE),
        "smaller": frame_square(photo, 10.2, 5.9, 1790),
        "tilted": frame_face(photo, face_at((900, 800), size=150, tilt=30)),
        "tilted small": frame_face(photo, face_at((900, 800), size=30, tilt=-20)),
        "whole": frame_whole(photo),
    }


@pytest.mark.parametrize("name", ["larger", "same", "smaller", "tilted", "tilted small", "whole"])
def test_the_crop_of_a_ramp_is_what_the_frame_says(name):
    """Every crop pixel holds the ramp's value at its own centre."""
    height, width = 1800, 2000
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    frame = frames(height, width)[name]
    crop = frame.crop(np.stack([x, y, x + y], 2).astype(np.float32))  # so that no rounding hides a slip
    assert crop.shape == (frame.height, frame.width, 3)
    columns, rows = np.meshgrid(np.arange(frame.width) + 0.5, np.arange(frame.height) + 0.5)
    x, y = to_photo(frame, np.stack([columns, rows], 2).reshape(-1, 2)).T.reshape(2, frame.height, frame.width)
    inside = (x > 5) & (x < width - 5) & (y > 5) & (y < height - 5)
    error = np.abs(crop - np.stack([x, y, x + y], 2))[inside]
    assert inside.mean() > 0.9
    assert error.mean() < 0.05  # of a pixel of the photo
    assert np.quantile(error, 0.98) < 0.2


@pytest.mark.parametrize("place", [(100, 140), (256.3, 400), (411.7, 77.5)])
@pytest.mark.parametrize("name", ["smaller", "tilted"])
def test_a_spot_is_found_again(name, place):
    """From the photo into the crop by its pixels, and back by its frame: within half a pixel."""
    frame = frames(1800, 2000)[name]
    (spot,) = to_photo(frame, [place])
    y, x = np.mgrid[:1800, :2000] + 0.5
    light = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 12**2))
    crop = frame.crop(np.round(light)[..., None].repeat(3, 2).astype(np.uint8))[..., 0].astype(float)
    rows, columns = np.mgrid[: frame.height, : frame.width] + 0.5
    centre = [(crop * columns).sum() / crop.sum(), (crop * rows).sum() / crop.sum()]
    assert np.linalg.norm(to_photo(frame, [centre])[0] - spot) < 0.1


def test_what_is_scaled_down_is_averaged_not_sampled():
    fine = (np.indices((1600, 1600)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    for frame in (
        frame_square(fine, 0, 0, 1600),
        frame_whole(fine),
        frame_face(fine, face_at((800, 700), size=250, tilt=25)),
    ):
        assert np.abs(frame.crop(fine).astype(int) - 127).max() <= 25


def test_beyond_the_border_its_pixels_go_on(photo):
    crop = frame_square(photo, -CROP_SIDE // 2, 0, CROP_SIDE).crop(photo)
    assert np.array_equal(crop[:, CROP_SIDE // 2 :], photo[:, : CROP_SIDE // 2])
    assert (crop[:, : CROP_SIDE // 2] == photo[:, :1]).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((300, 200), (300, 200)),
        ((MAX_SIDE, MAX_SIDE), (MAX_SIDE, MAX_SIDE)),
        ((2000, 1000), (MAX_SIDE, MAX_SIDE // 2)),
        ((3, 5000), (1, MAX_SIDE)),
    ],
)
def test_the_whole_photo(size, expected):
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    frame = frame_whole(photo)
    crop = frame.crop(photo)
    assert crop.shape == (*expected, 3) and crop.dtype == np.uint8
    assert np.allclose(to_photo(frame, [expected[::-1]]), size[::-1])
    if size == expected:
        assert np.array_equal(crop, photo)


@pytest.mark.parametrize(
    "square",
    [(0, 0, 0.5), (0, 0, -9), (20, 0, 5), (0, 10, 5), (-5, 0, 5), (0, -7, 6), (np.nan, 0, 5), (0, 0, np.inf)],
)
def test_a_square_that_holds_nothing_is_explained(square):
    with pytest.raises(ValueError, match=r"touch the photo of 20x10 pixels, got left .*, top .*, side"):
        frame_square(np.zeros((10, 20, 3), np.uint8), *square)


def test_a_square_far_larger_than_the_photo_is_cheap():
    crop = frame_square(np.full((10, 20, 3), 9, np.uint8), -1e6, -1e6, 1e9).crop(np.full((10, 20, 3), 9, np.uint8))
    assert crop.shape == (CROP_SIDE, CROP_SIDE, 3) and (crop == 9).all()


# Faces


def test_the_face_of_a_photo(photo):
    (face,) = find_faces(photo)
    left, top, right, bottom = face.box
    assert 170 < left < 200 and 50 < top < 80 and 250 < right < 290 and 150 < bottom < 190
    eyes, nose, mouth = face.landmarks[:2], face.landmarks[2], face.landmarks[3:]
    assert eyes[0, 0] < nose[0] < eyes[1, 0] and mouth[0, 0] < nose[0] < mouth[1, 0]
    assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()
    assert 0.9 < face.score <= 1


@pytest.mark.parametrize("scale", [0.3, 3, 7])
def test_found_at_the_same_place_at_every_size(photo, scale):
    (face,), (other,) = find_faces(photo), find_faces(cv2.resize(photo, None, fx=scale, fy=scale))
    apart = np.linalg.norm(face.landmarks[1] - face.landmarks[0])
    assert np.abs(other.landmarks / scale - face.landmarks).max() < 0.1 * apart


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_a_photo_of_a_tilted_face_gives_an_upright_crop(photo, degrees):
    tilted = turned(photo, degrees)
    (face,) = find_faces(tilted)
    (found,) = find_faces(frame_face(tilted, face).crop(tilted))
    across = found.landmarks[1] - found.landmarks[0]
    assert abs(np.degrees(np.arctan2(across[1], across[0]))) < 4
    (upright,) = find_faces(photo)
    (expected,) = find_faces(frame_face(photo, upright).crop(photo))
    assert np.abs(found.landmarks - expected.landmarks).max() < 0.04 * CROP_SIDE


def test_a_picture_in_that_framing_is_left_alone(photo):
    (face,) = find_faces(photo)
    crop = frame_face(photo, face).crop(photo)
    for side in (160, CROP_SIDE, 1000):
        framed = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        frame = frame_face(framed, find_faces(framed)[0])
        assert np.array_equal(frame.crop(framed), framed)
    for changed in (
        crop[:, 20:-20],
        crop[:, 70:],
        crop[80:, 80:],
        turned(crop, 12),
        cv2.copyMakeBorder(crop, 99, 99, 99, 99, 1),
    ):
        (face, *_) = find_faces(changed)
        assert (frame_face(changed, face).crop(changed).shape) == (CROP_SIDE, CROP_SIDE, 3)
        assert not np.allclose(frame_face(changed, face).to_photo, frame_whole(changed).to_photo, atol=1e-3)


def test_drawn_portraits_are_in_that_framing():
    rng = np.random.default_rng(5)
    for _ in range(5):
        portrait, _ = render(sample_attributes(rng), 256)
        (face, *_) = find_faces(portrait)
        assert np.array_equal(frame_face(portrait, face).crop(portrait), portrait)


def test_several_faces_the_largest_first(head):
    photo = np.full((400, 600, 3), 128, np.uint8)
    for side, top, left in ((80, 300, 500), (150, 50, 300), (40, 0, 0)):  # two of them in the corners
        photo[top : top + side, left : left + side] = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    faces = find_faces(photo)
    assert [face.landmarks[2].astype(int).tolist() for face in faces] == [
        pytest.approx(nose, abs=12) for nose in ([375, 139], [540, 347], [20, 24])
    ]
    for face in faces:
        crop = frame_face(photo, face).crop(photo)
        assert crop.shape == (CROP_SIDE, CROP_SIDE, 3)
        (found, *_) = find_faces(crop)
        assert abs(found.landmarks[:2, 0].mean() - CROP_SIDE / 2) < 0.06 * CROP_SIDE


def test_thirty_faces(head):
    faces = find_faces(np.tile(head, (5, 6, 1)))
    assert len(faces) == 30
    cells = {tuple((face.landmarks[2] // 150).astype(int)) for face in faces}
    assert cells == set(product(range(6), range(5)))


def test_a_face_partly_outside(photo):
    cut = np.ascontiguousarray(photo[75:, 190:])
    (face,) = find_faces(cut)
    crop = frame_face(cut, face).crop(cut)
    (found,) = find_faces(crop)
    assert abs(found.landmarks[:2, 0].mean() - CROP_SIDE / 2) < 0.12 * CROP_SIDE


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (12, 12), (19, 40), (20, 20), (21, 30), (512, 512), (3000, 60)])
def test_nothing_to_find(value, size):
    assert find_faces(np.full((*size, 3), value, np.uint8)) == []


def test_noise_is_no_error(head):
    rng = np.random.default_rng(0)
    for size in (20, 25, 47, 90):
        assert isinstance(find_faces(rng.integers(0, 256, (size, size + 7, 3), np.uint8)), list)
        small = cv2.resize(head, (size, size), interpolation=cv2.INTER_AREA)
        locked = np.tile(small, (2, 2, 1))
        locked.flags.writeable = False  # as Pillow's arrays are
        assert isinstance(find_faces(locked), list)
