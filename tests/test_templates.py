"""The drawn faces to start from: complete, framed like CelebA-HQ, each of its own kind."""

import numpy as np
import pytest

from facemogle.labels import CLASS_ID, LEFT_RIGHT_PAIRS, NAMES, mirror
from facemogle.templates import TEMPLATES, template_face

FRONTAL = [kind for kind, template in TEMPLATES.items() if not template.turn]
EARS = {"left_ear", "right_ear"}
EVERY_FACE_HAS = set(NAMES) - EARS - {"eyeglasses", "mouth", "hair", "hat", "earring", "necklace"}
ALSO = {
    "short hair": EARS | {"hair"},
    "long hair": {"hair"},
    "bald": EARS,
    "hat": EARS | {"hair", "hat"},
    "turned": {"right_ear", "hair"},
}


def centre(face: np.ndarray, class_id: int) -> tuple[float, float]:
    """Height and place across of a class's middle, in fractions of the sides."""
    rows, columns = np.nonzero(face == class_id)
    return (rows.mean() + 0.5) / len(face), (columns.mean() + 0.5) / len(face)


@pytest.mark.parametrize("size", [64, 512])
@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_kind_has_all_its_parts_and_no_others(kind, size):
    face = template_face(kind, size)
    assert face.shape == (size, size)
    assert face.dtype == np.uint8
    assert {NAMES[class_id] for class_id in np.unique(face)} == EVERY_FACE_HAS | ALSO[kind]


@pytest.mark.parametrize("kind", FRONTAL)
def test_frontal_faces_are_symmetric_and_framed_like_celeba_hq(kind):
    face = template_face(kind)
    assert centre(face, CLASS_ID["left_eye"]) == pytest.approx((0.478, 0.622), abs=0.02)
    assert centre(face, CLASS_ID["right_eye"]) == pytest.approx((0.478, 0.378), abs=0.02)
    assert (mirror(face) == face).mean() > 0.999  # but for rounding on the rims


def test_skin_covers_a_quarter():
    assert (template_face() == CLASS_ID["skin"]).mean() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("kind", TEMPLATES)
def test_left_is_right_of_right(kind):
    face = template_face(kind)
    for left, right in LEFT_RIGHT_PAIRS:
        if (face == left).any() and (face == right).any():
            assert centre(face, left)[1] > centre(face, right)[1] + 0.1


def test_the_turned_face_looks_to_the_right_of_the_picture():
    face = template_face("turned")
    eyes = [centre(face, CLASS_ID[name])[1] for name in ("right_eye", "left_eye")]
    assert np.mean(eyes) == pytest.approx(0.5, abs=0.02)
    assert centre(face, CLASS_ID["nose"])[1] > 0.52
    assert (face == CLASS_ID["left_eye"]).sum() < 0.8 * (face == CLASS_ID["right_eye"]).sum()


def test_kinds_differ():
    faces = [template_face(kind) for kind in TEMPLATES]
    for i, face in enumerate(faces):
        assert all((face != other).mean() > 0.05 for other in faces[:i])


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="Choose one of short hair, long hair"):
        template_face("mullet")
