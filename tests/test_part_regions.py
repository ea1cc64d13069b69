"""Which part of a face is drawn anew, told from its label map alone."""

import cv2
import numpy as np
import pytest

from facemogle.editing import distance_to
from facemogle.labels import CLASS_ID, NAMES
from facemogle.masks import resize_nearest
from facemogle.parts import GROW, PARTS, change_of, part_of, parts_of, prompt_for
from facemogle.templates import add_part, template_face

FACE = template_face("long hair", 256)


def of(label_map: np.ndarray, *names: str) -> np.ndarray:
    return np.isin(label_map, [CLASS_ID[name] for name in names])


def holes(region: np.ndarray) -> int:
    """How many pieces the region encloses."""
    _, piece_of = cv2.connectedComponents((~region).astype(np.uint8), connectivity=4)
    border = np.concatenate([piece_of[0], piece_of[-1], piece_of[:, 0], piece_of[:, -1]])
    return len(set(np.unique(piece_of[~region])) - set(border.tolist()))


def torn(label_map: np.ndarray, name: str, seed: int = 0) -> np.ndarray:
    """As a parser reads a photo: holes and specks in a class, and specks of it elsewhere."""
    rng, map = np.random.default_rng(seed), label_map.copy()
    rows, columns = np.nonzero(label_map == CLASS_ID[name])
    for index in rng.choice(len(rows), 12):
        cv2.circle(map, (int(columns[index]), int(rows[index])), int(rng.integers(1, 5)), CLASS_ID["skin"], -1)
    cv2.circle(map, (128, 170), 1, CLASS_ID[name], -1)
    return map


def test_every_class_is_in_one_part():
    assert sorted(name for names in PARTS.values() for name in names) == sorted(NAMES)
    assert all(NAMES[class_id] in PARTS[part_of(class_id)] for class_id in range(len(NAMES)))


def test_the_region_is_the_part_closed_filled_and_grown():
    for part in ("hair", "background"):
        (name,) = PARTS[part]
        map = torn(FACE, name)
        change = change_of(map, part)
        whole = CLASS_ID[name] == FACE
        assert holes(map == CLASS_ID[name]) >= 5 and holes(change.region) == 0
        assert change.region[whole & (distance_to(~whole) > 8)].all()
        assert (change.label_map == CLASS_ID[name])[whole & (distance_to(~whole) > 8)].all()  # specks become the part
        assert map[170, 128] == CLASS_ID[name] and not change.region[170, 128]  # what is none of it stays
        size = of(map, "skin", "left_eye", "nose").sum() ** 0.5
        assert not change.region[distance_to(whole) > GROW * 1.25 * size].any()
        assert not change.region[of(map, "left_eye", "right_eye", "nose", "upper_lip", "mouth")].any()


def test_a_region_means_the_same_at_every_size():
    one, other = (change_of(resize_nearest(FACE, side, side), "lips").region for side in (256, 512))
    assert (one != resize_nearest(other, 256, 256)).mean() < 0.005


def test_what_lies_behind_glasses_is_drawn_with_them():
    change = change_of(add_part(FACE, "eyeglasses"), "glasses", to="face")
    assert not of(change.label_map, "eyeglasses").any() and change.region[of(FACE, "left_eye", "right_eye")].all()
    assert np.array_equal(of(change.label_map, "left_eye"), of(FACE, "left_eye"))
    lips = change_of(FACE, "lips")
    assert lips.region[of(FACE, "upper_lip", "mouth", "lower_lip")].all() and not lips.region[of(FACE, "nose")].any()


def test_what_is_missing_is_added_where_it_is_worn():
    for part in ("glasses", "hat", "earrings", "necklace"):
        (name,) = PARTS[part]
        speck = FACE.copy()
        speck[3:5, 3:5] = CLASS_ID[name]  # which a parser mistook
        for map in (FACE, speck):
            change = change_of(map, part)
            assert part in parts_of(map) and holes(change.region) == 0
            assert change.region[change.label_map != map].all() and of(change.label_map, name).sum() > 20
    hat = change_of(FACE, "hair", to="hat")
    assert of(hat.label_map, "hat")[of(FACE, "hair")].all() and not of(hat.label_map, "hair").any()
    assert (of(hat.label_map, "hat") != of(FACE, "hair")).mean() < 0.01  # where gaps were closed


@pytest.mark.parametrize(("part", "to", "message"), [
    ("beak", None, "There is no part 'beak'. Choose one of hair, hat"), ("hair", "beak", "There is no part 'beak'"),
    ("hair", None, "The picture shows no hair. Choose one of hat, face"),
    ("hat", "hair", r"shows no hat\. Choose one of (?!.*hat)"),
])  # fmt: skip
def test_parts_that_are_not_there(part, to, message):
    map = template_face("bald", 128) if to is None and part == "hair" else FACE
    with pytest.raises(ValueError, match=message):
        change_of(map, part, to=to)


def test_words_name_the_part():
    said = {
        ("hair", "red"): "red hair",
        ("hair", " an afro"): "an afro",
        ("lips", "red"): "red lipstick",
        ("hair", ""): "",
        ("background", "blue"): "blue background",
        ("glasses", "round sunglasses"): "round sunglasses",
        ("hat", "White Hats"): "White Hats",
        ("hat", "that"): "that hat",
        ("left_eye", "green"): "green left eye",
    }
    assert {of_part: prompt_for(*of_part) for of_part in said} == said
