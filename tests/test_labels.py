import tracemalloc

import numpy as np
import pytest

from facemogle import labels


@pytest.fixture
def label_map():
    return np.random.default_rng(0).integers(0, labels.NUM_CLASSES, (12, 10), dtype=np.uint8)


def test_classes():
    assert len(labels.NAMES) == len(set(labels.NAMES)) == labels.NUM_CLASSES == 19
    assert len({tuple(colour) for colour in labels.PALETTE.tolist()}) == 19
    assert labels.NAMES[labels.CLASS_ID["hair"]] == "hair"


def test_colours_and_back(label_map):
    picture = labels.to_colours(label_map)
    assert picture.shape == (12, 10, 3) and picture.dtype == np.uint8
    class_ids, off_palette = labels.from_colours(picture)
    assert np.array_equal(class_ids, label_map) and class_ids.dtype == np.uint8
    assert off_palette == 0


def test_published_variant_is_read_and_never_written():
    variant = np.full((2, 2, 3), (51, 255, 255), np.uint8)
    class_ids, off_palette = labels.from_colours(variant)
    assert (class_ids == labels.CLASS_ID["right_brow"]).all() and off_palette == 0
    assert not np.array_equal(labels.to_colours(class_ids), variant)


def test_colours_off_the_palette_take_the_nearest(label_map):
    picture = labels.to_colours(label_map).astype(int)
    picture[0, :4] += np.where(picture[0, :4] < 128, 5, -5)
    class_ids, off_palette = labels.from_colours(picture.astype(np.uint8))
    assert np.array_equal(class_ids, label_map) and off_palette == 4


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_colour_mask(picture):
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        labels.from_colours(picture)


def test_mirror(label_map):
    mirrored = labels.mirror(label_map)
    assert np.array_equal(labels.mirror(mirrored), label_map) and mirrored.dtype == label_map.dtype
    left, right = labels.CLASS_ID["left_eye"], labels.CLASS_ID["right_eye"]
    assert np.array_equal(mirrored == right, (label_map == left)[:, ::-1])
    assert np.array_equal(mirrored == labels.CLASS_ID["hair"], (label_map == labels.CLASS_ID["hair"])[:, ::-1])


def test_a_photo_of_many_colours_takes_little_memory():
    photo = np.random.default_rng(0).integers(256, size=(1000, 1000, 3), dtype=np.uint8)
    tracemalloc.start()
    labels.from_colours(photo)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6  # bytes; all distances at once would be a gigabyte


# Others' orders

# Theirs -> ours, of SegFace and FaRL alike, as decoded pictures confirm it.
CONFIRMED = {
    0: 0, 1: 17, 2: 1, 3: 18, 4: 8, 5: 9, 6: 6, 7: 7, 8: 4, 9: 5, 10: 2, 11: 10, 12: 12, 13: 11, 14: 13, 15: 3, 16: 14,
    17: 15, 18: 16,
}  # fmt: skip


@pytest.mark.parametrize("parser", ["segface", "farl"])
def test_order_of_segface_and_farl(parser):
    order = labels.order_of(labels.PARSER_NAMES[parser])
    assert {int(theirs): ours for ours, theirs in enumerate(order)} == CONFIRMED
    logits = np.arange(19)[:, None, None] * np.ones((1, 2, 2))
    assert (logits[order][labels.CLASS_ID["left_eye"]] == 8).all()  # SegFace's l_eye, facer's re
    assert (logits[order][labels.CLASS_ID["lower_lip"]] == 12).all()


def test_order_of_segformer_is_ours_and_goes_by_name():
    names = labels.PARSER_NAMES["segformer"]
    assert labels.order_of(names).tolist() == list(range(19))
    assert labels.order_of(names[::-1]).tolist() == list(range(19))[::-1]
    assert labels.order_of(labels.NAMES).tolist() == list(range(19))


def test_facers_own_list_has_the_sides_of_the_picture():
    """Its left eye is the eye on the left of the picture: ours are the subject's, so the two are exchanged."""
    parsing = pytest.importorskip("facer.face_parsing.farl")
    theirs = tuple(parsing.pretrain_settings["celebm/448"]["label_names"])
    assert theirs == labels.PARSER_NAMES["farl"]
    order = labels.order_of(theirs)
    for ours, name in (("eye", "e"), ("brow", "b"), ("ear", "r")):
        assert theirs[order[labels.CLASS_ID[f"left_{ours}"]]] == f"r{name}"
        assert theirs[order[labels.CLASS_ID[f"right_{ours}"]]] == f"l{name}"
    # SegFace has the same classes at the same places, and calls the sides as we do.
    sides = {"l": "left", "r": "right"}
    for mine, others in zip(labels.PARSER_NAMES["segface"], theirs, strict=True):
        if mine[:2] in ("l_", "r_") and mine != "l_lip":
            assert others[0] != mine[0]
            place = labels.PARSER_NAMES["segface"].index(mine)
            assert place == order[labels.CLASS_ID[f"{sides[mine[0]]}_{mine[2:]}"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names[:-1], "got 18 names: missing: cloth"),
        (lambda names: [*names, "beard"], "got 20 names: unknown: beard"),
        (lambda names: ["l_eye" if name == "r_eye" else name for name in names], "missing: right_eye; named twice"),
        (lambda names: [f"{name}.png" for name in names], r"unknown: background\.png, skin\.png"),
    ],
)
def test_lists_that_are_not_the_19_classes(change, message):
    with pytest.raises(ValueError, match=message):
        labels.order_of(change(list(labels.PARSER_NAMES["segformer"])))
