import io

import numpy as np
import pytest
from PIL import Image

from facemogle import figures


@pytest.fixture
def weights() -> np.ndarray:
    """(S, E, h, w): the expert of hair speaks alone in one corner, and louder every step."""
    weights = np.full((3, 20, 8, 8), 0.01)
    weights[:, 14, :4, :4] = np.array([0.2, 0.4, 0.8])[:, None, None]
    return weights


def _brightness(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L")).astype(int)


def test_heat_map_is_brightest_where_the_weight_is(weights):
    picture = figures.heat_map(weights[0, 14], (64, 48))
    assert picture.size == (64, 48)
    assert _brightness(picture)[4, 4] > _brightness(picture)[40, 60] + 100
    assert picture.getpixel((0, 0)) == (253, 231, 37)  # viridis's last colour, yellow
    assert figures.heat_map(weights[0, 14], (64, 48), top=1.0).getpixel((0, 0)) != (253, 231, 37)
    assert figures.heat_map(np.zeros((2, 2)), (4, 4)).getpixel((0, 0)) == (68, 1, 84)  # viridis's first, no 0 / 0


def test_overlay_shows_the_face_where_nothing_is(weights):
    face = np.zeros((64, 64, 3), np.uint8)
    face[:, 48:] = 255
    picture = _brightness(figures.overlay(Image.fromarray(face), weights[0, 14]))
    assert picture[60, 60] > picture[60, 4] + 100
    assert np.asarray(figures.overlay(Image.fromarray(face), weights[0, 14])).shape == face.shape


def test_outline_marks_the_border_alone():
    region = np.zeros((32, 32), bool)
    region[8:24, 8:24] = True
    picture = np.asarray(figures.outline(Image.new("RGB", (64, 64), (90, 0, 0)), region))
    assert picture[32, 16].min() > 200
    assert (picture[32, 32] == (90, 0, 0)).all() and (picture[2, 2] == (90, 0, 0)).all()


def test_grid_scales(weights):
    own = figures.expert_grid(weights[0])
    assert own.width == 900 and own.mode == "RGB"
    common = figures.expert_grid(weights[0], common_scale=True)
    cell = (180, 30)  # the map of the background's expert: even, so at the top of its own scale
    assert own.getpixel((cell[0] + 20, cell[1] + 40)) == (253, 231, 37)
    assert common.getpixel((cell[0] + 20, cell[1] + 40)) != (253, 231, 37)


def test_each_expert_may_have_a_scale_of_its_own(weights):
    tops = np.ones(20)
    tops[1] = 0.01  # the background's, whose map is even at that weight
    picture = figures.expert_grid(weights[0], top=tops)
    assert picture.getpixel((200, 70)) == (253, 231, 37)
    assert _brightness(picture)[70, 380] < 60  # skin's, which has the same weights
    assert picture.tobytes() != figures.expert_grid(weights[0], top=1.0).tobytes()


def test_grid_over_a_face_that_is_not_square(weights):
    label_map = np.zeros((96, 48), np.uint8)
    label_map[:48] = 13
    face = Image.new("RGBA", (48, 96), (200, 100, 50, 255))
    plain = figures.expert_grid(weights[0, :, :, :4], face=face)
    outlined = figures.expert_grid(weights[0, :, :, :4], face=face, label_map=label_map, title="step 0")
    assert plain.height > plain.width and outlined.height > plain.height


def test_steps_share_one_scale_and_differ(weights, tmp_path):
    frames = figures.step_frames(weights, np.array([1000.0, 600, 200]), width=600)
    assert len(frames) == 3 and frames[0].size == frames[2].size
    assert _brightness(frames[2]).sum() > _brightness(frames[0]).sum()
    file = io.BytesIO()
    for place, format in ((tmp_path / "gating.gif", "GIF"), (tmp_path / "gating.WEBP", "WEBP"), (file, "GIF")):
        figures.save_animation(place, frames)
        with Image.open(place) as film:
            assert (film.format, film.n_frames, film.info["loop"]) == (format, 3, 0)


@pytest.mark.parametrize("steps", [1, 3])
def test_curves_follow_the_weights(weights, steps):
    means = weights[:steps].mean((2, 3))
    picture = np.asarray(figures.curves(means, np.linspace(1000, 0, steps), size=(600, 300)))
    hair = np.argwhere((picture[:, :460] == (0, 0, 204)).all(2))
    assert len(hair) > 100
    first, last = hair[hair[:, 1] < 80, 0].mean(), hair[hair[:, 1] > 440, 0].mean()
    assert last < first - 50 if steps > 1 else abs(last - first) < 2
