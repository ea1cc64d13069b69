"""The yardsticks: each must give the right answer where it is known."""

import numpy as np

from facemogle.evaluation.attributes import nearest, told
from facemogle.evaluation.readings import lab
from facemogle.labels import CLASS_ID
from facemogle.parsing.mini import MiniParser
from train.mini import measures
from train.mini.evaluate import swap
from train.mini.portraits import (
    BACKGROUND_COLOURS,
    CLOTHES_COLOURS,
    HAIR_COLOURS,
    LIPSTICK_COLOURS,
    SKIN_TONES,
)
from train.mini.samples import Samples

TABLES = (HAIR_COLOURS, CLOTHES_COLOURS, CLOTHES_COLOURS, BACKGROUND_COLOURS, SKIN_TONES, LIPSTICK_COLOURS)
COLOURS = {
    name: {word: lab(np.uint8([rgb]))[0] for word, rgb in table.items()}
    for name, table in zip(measures.ATTRIBUTES, TABLES, strict=True)
}


def test_colours_and_presence_are_read():
    image = np.full((64, 64, 3), (160, 164, 170), np.uint8)
    read = np.zeros((64, 64), np.uint8)
    read[:20], read[40:] = CLASS_ID["hair"], CLASS_ID["cloth"]
    image[:20], image[40:] = HAIR_COLOURS["red"], (62, 116, 204)
    caption = "a woman with long wavy red hair and a blue shirt, wearing a hat, on a grey background"
    assert measures.agreement(image, read, caption, COLOURS) == {
        "hair colour": True, "clothes colour": True, "background colour": True, "hat": False,
    }  # fmt: skip
    assert measures.agreement(image, read, "black hair", COLOURS) == {"hair colour": False}
    assert measures.agreement(image, read, "red lips", COLOURS) == {"lipstick": False}  # for there are none
    assert measures.agreement(image, read, "a woman", COLOURS) == {}
    assert measures.shares([{"hat": True}, {"hat": False, "glasses": True}]) == {"hat": 0.5, "glasses": 1.0}


def test_colours_are_learned_as_portraits_show_them():
    """Of each word the mean of the medians, over the portraits that show it; words of absent classes teach nothing."""
    hair, bald = np.full((8, 8), CLASS_ID["hair"]), np.full((8, 8), CLASS_ID["skin"])
    images = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (40, 80, 200, 240)])
    words = {
        "clothes_colour": "red",
        "hat_colour": "red",
        "background_colour": "red",
        "skin": "dark",
        "lipstick": "none",
    }
    attributes = [{**words, "hair_colour": colour} for colour in ("grey", "grey", "white", "black")]
    portraits = Samples(images, np.stack([hair, hair, hair, bald]), [[]] * 4, attributes)
    colours = measures.learn_colours(portraits)
    assert {name: list(table) for name, table in colours.items() if table} == {
        "hair colour": ["grey", "white"], "skin tone": ["dark"],
    }  # fmt: skip
    grey = lab(np.uint8([[40] * 3, [80] * 3])).mean(0)
    assert np.allclose(colours["hair colour"]["grey"], grey)
    assert nearest(grey + 2, colours["hair colour"]) == "grey"


def test_kernel_distance_grows_with_what_differs():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 300, 6))
    assert abs(measures.kernel_distance(one, other)) < 0.05
    assert measures.kernel_distance(one + 0.5, other) > 10 * abs(measures.kernel_distance(one, other))


def test_kernel_distance_does_not_depend_on_where_the_features_lie():
    """The parser's are no deviations from 0: a kernel of them as they are would tell of their size alone."""
    rng = np.random.default_rng(0)
    size, middle = 10.0 ** rng.uniform(-2, 2, 64), rng.uniform(-50, 50, 64)
    one, other = (rng.normal(size=(2, 300, 64)) + middle) * size
    halves = measures.kernel_distance(one, other)
    assert abs(halves) < 0.05
    assert measures.kernel_distance(one + size, other) > max(1, 20 * abs(halves))
    assert np.isclose(halves, measures.kernel_distance(one - middle * size, other - middle * size), atol=1e-6)


def test_features_tell_pictures_apart():
    pictures = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    rows = measures.features(MiniParser(size=32, widths=(8, 8, 8), dilations=(1,)).eval(), pictures)
    assert rows.shape == (3, 16)
    assert len(np.unique(rows.round(6), axis=0)) == 3


def test_total_variation_tells_how_far_apart_two_gatings_are():
    one = np.zeros((20, 2, 2))
    one[3] = 1
    other = one.copy()
    other[3, 0, 0], other[4, 0, 0] = 0.75, 0.25
    other[3, 1, 1], other[5, 1, 1] = 0, 1
    assert measures.total_variation(one, other).tolist() == [[0.25, 0], [0, 1]]


def test_the_probe_finds_what_is_there_and_no_more():
    rng = np.random.default_rng(0)
    tokens, present = rng.normal(size=(2000, 8)), rng.random(2000) < 0.1
    assert measures.probe_accuracy(tokens, present) < 0.65
    tokens[present, 3] += 8
    assert measures.probe_accuracy(tokens, present) > 0.98


def test_a_swap_changes_one_colour_word():
    assert swap("a woman", 0) is None
    caption, name = swap("a man with short red hair", 0)
    word = told(caption)[name]
    assert name == "hair colour" and word in HAIR_COLOURS and word != "red"
    assert caption == f"a man with short {word} hair"


def test_what_no_one_asked_for_is_invented():
    wanted = np.zeros((64, 64), np.uint8)
    wanted[:8] = CLASS_ID["hat"]
    read = wanted.copy()
    read[20:24, 10:50] = CLASS_ID["eyeglasses"]
    read[40, 30] = CLASS_ID["earring"]  # a stray pixel is none
    assert measures.invented(read, wanted) == {"glasses": True, "earrings": False, "necklace": False}
