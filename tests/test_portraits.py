"""Procedural portraits: exact maps, framing as in CelebA-HQ, captions that say what is there."""

import numpy as np
import pytest

from facemogle.labels import CLASS_ID, NAMES, NUM_CLASSES
from train.mini.portraits import CLOTHES_COLOURS, HAIR_COLOURS, VOCABULARY, caption, render, sample_attributes


def attributes_of(seed: int):
    return sample_attributes(np.random.default_rng(seed))


@pytest.fixture(scope="module")
def portraits():
    """200 x (attributes, picture, label map)."""
    return [(a, *render(a, size=128)) for a in map(attributes_of, range(200))]


def centre(label_map: np.ndarray, name: str) -> np.ndarray:
    """(x, y) in fractions of the picture; NaN where the class is absent."""
    rows, columns = np.nonzero(label_map == CLASS_ID[name])
    return (np.array((columns.mean(), rows.mean())) + 0.5) / len(label_map) if len(rows) else np.full(2, np.nan)


def test_same_seed_same_portrait():
    first, second = attributes_of(5), attributes_of(5)
    assert first == second
    for one, other in zip(render(first, size=64), render(second, size=64), strict=True):
        assert np.array_equal(one, other)
    assert caption(first, np.random.default_rng(1)) == caption(second, np.random.default_rng(1))


def test_shapes_and_every_class_occurs(portraits):
    present = np.zeros(NUM_CLASSES)
    for _, picture, label_map in portraits:
        assert picture.shape == (128, 128, 3) and label_map.shape == (128, 128)
        assert picture.dtype == label_map.dtype == np.uint8 and label_map.max() < NUM_CLASSES
        present += np.bincount(label_map.ravel(), minlength=NUM_CLASSES) > 0
    assert (present >= 0.08 * len(portraits)).all(), dict(zip(NAMES, present, strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("right_eye", (0.378, 0.478)), ("left_eye", (0.622, 0.478)), ("nose", (0.5, 0.577)), ("upper_lip", (0.5, 0.726))],
)
def test_framed_as_in_celeba_hq(portraits, name, expected):
    median = np.nanmedian([centre(label_map, name) for _, _, label_map in portraits], axis=0)
    assert np.abs(median - expected).max() < 0.02


@pytest.mark.parametrize(("name", "low", "high"), [("skin", 0.17, 0.29), ("hair", 0.15, 0.4)])
def test_share_of_the_picture(portraits, name, low, high):
    assert low < np.median([(label_map == CLASS_ID[name]).mean() for _, _, label_map in portraits]) < high


@pytest.mark.parametrize("part", ["eye", "brow", "ear"])
def test_subjects_left_is_on_the_right_of_the_picture(portraits, part):
    for _, _, label_map in portraits:
        left, right = centre(label_map, f"left_{part}")[0], centre(label_map, f"right_{part}")[0]
        assert np.isnan(left + right) or left > right


def test_accessories_agree_with_the_label_map(portraits):
    for a, _, label_map in portraits:
        present = set(np.unique(label_map))
        assert (CLASS_ID["hat"] in present) == (a.hat != "none")
        assert (CLASS_ID["eyeglasses"] in present) == (a.glasses != "none")
        assert (CLASS_ID["earring"] in present) == (a.earrings != "none")
        assert (CLASS_ID["necklace"] in present) <= (a.necklace != "none")
        assert (CLASS_ID["left_eye"] in present) <= (a.glasses != "sunglasses")
        assert (CLASS_ID["mouth"] in present) == (a.expression in ("laughing", "surprised"))
        assert (CLASS_ID["hair"] in present) == (a.hair_style != "bald")


def test_necklaces_show(portraits):
    pixels = [(label_map == CLASS_ID["necklace"]).sum() for a, _, label_map in portraits if a.necklace != "none"]
    assert np.quantile(pixels, 0.05) > 60


def test_same_composition_at_every_size(portraits):
    for a, _, small in portraits[:12]:
        large = render(a, size=256)[1][::2, ::2]
        for class_id in np.unique(small):
            one, other = small == class_id, large == class_id
            if one.sum() > 150:
                assert (one & other).sum() / (one | other).sum() > 0.8, NAMES[class_id]


@pytest.mark.parametrize(("name", "colours"), [("hair", HAIR_COLOURS), ("cloth", CLOTHES_COLOURS)])
def test_named_colours_are_visible(portraits, name, colours):
    """The median colour of the class is nearest to its own word's colour in most portraits."""
    names, table = list(colours), np.array(list(colours.values()), float)
    right = []
    for a, picture, label_map in portraits:
        if (label_map == CLASS_ID[name]).sum() > 200:
            median = np.median(picture[label_map == CLASS_ID[name]], axis=0)
            word = a.hair_colour if name == "hair" else a.clothes_colour
            right.append(names[np.linalg.norm(table - median, axis=1).argmin()] == word)
    assert np.mean(right) > 0.85


def test_captions_use_the_closed_vocabulary():
    rng, lengths = np.random.default_rng(0), []
    for seed in range(1000):
        words = caption(attributes_of(seed), rng).replace(",", " ,").split()
        assert set(words) <= set(VOCABULARY)
        lengths.append(sum(word != "," for word in words))
    assert max(lengths) <= 30 and min(lengths) <= 8 and np.median(lengths) > 12


def test_captions_name_nothing_that_is_absent():
    rng = np.random.default_rng(0)
    for seed in range(500):
        a, words = attributes_of(seed), set(caption(attributes_of(seed), rng).replace(",", "").split())
        assert "necklace" not in words or a.necklace != "none"
        assert "earrings" not in words or a.earrings != "none"
        assert not {"glasses", "sunglasses"} & words or a.glasses != "none"
        assert not {"hat", "cap", "beanie"} & words or a.hat != "none"
        assert not {"beard", "goatee", "moustache", "stubble"} & words or a.beard != "none"
