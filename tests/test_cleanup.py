"""Islands joined without a loss of real small parts; left and right told apart."""

from pathlib import Path

import numpy as np
import pytest

from facemogle.label_files import read_label_map
from facemogle.labels import CLASS_ID, LEFT_RIGHT_PAIRS, NAMES, mirror
from facemogle.parsing.cleanup import join_islands, swap_sides
from facemogle.plausibility import sides_swapped
from train.mini.portraits import render, sample_attributes

BACKGROUND, SKIN, HAIR, EARRING, NECK = (CLASS_ID[name] for name in ("background", "skin", "hair", "earring", "neck"))
EXAMPLES = sorted((Path(__file__).parents[1] / "assets" / "examples").glob("*.png"))


@pytest.fixture(scope="module")
def portraits() -> list[np.ndarray]:
    """Exact label maps (256, 256)."""
    rng = np.random.default_rng(11)
    return [render(sample_attributes(rng), 256)[1] for _ in range(25)]


def halves() -> np.ndarray:
    """(200, 200): hair above, skin below."""
    label_map = np.full((200, 200), SKIN, np.uint8)
    label_map[:100] = HAIR
    return label_map


def test_an_island_takes_the_class_around_it():
    label_map = halves()
    label_map[20, 20] = NECK
    label_map[150:152, 30:32] = NECK
    label_map[0, 0] = EARRING
    label_map[199, 199] = EARRING
    joined, count = join_islands(label_map)
    assert count == 4
    assert np.array_equal(joined, halves())
    assert label_map[20, 20] == NECK  # the map given is left as it was


def test_on_a_border_the_class_that_it_touches_most():
    label_map = halves()
    label_map[99:101, 50] = NECK  # as much skin as hair, and two more of hair
    label_map[98, 50] = NECK
    joined, count = join_islands(label_map)
    expected = halves()
    expected[100, 50] = HAIR
    assert count == 1 and np.array_equal(joined, expected)


def test_islands_side_by_side_take_one_class():
    label_map = halves()
    label_map[50, 50:52] = NECK, EARRING
    label_map[51, 50:52] = EARRING, NECK  # each touches itself over the diagonal
    joined, count = join_islands(label_map)
    assert count == 2 and np.array_equal(joined, halves())


def test_a_thin_diagonal_line_is_no_island():
    label_map = halves()
    diagonal = np.arange(20, 60)
    label_map[diagonal, diagonal] = NECK
    joined, count = join_islands(label_map)
    assert count == 0 and np.array_equal(joined, label_map)


@pytest.mark.parametrize("side", [100, 400])
def test_the_share_decides(side):
    """Of the picture, whatever its size."""
    label_map = np.zeros((side, side), np.uint8)
    label_map[10 : 10 + side // 100, 10 : 10 + side // 100] = SKIN
    assert join_islands(label_map, share=0.9e-4)[1] == 0
    assert join_islands(label_map, share=1.1e-4)[1] == 1
    unchanged, count = join_islands(label_map, share=0)
    assert count == 0 and np.array_equal(unchanged, label_map)


def test_nothing_but_islands_stays():
    noise = np.random.default_rng(0).integers(0, 19, (40, 40)).astype(np.uint8)
    joined, count = join_islands(noise, share=0.5)
    assert count == 0 and np.array_equal(joined, noise)
    for size in ((1, 1), (1, 7), (3, 1)):
        assert join_islands(np.zeros(size, np.uint8))[0].shape == size


def small_parts(label_map: np.ndarray) -> dict[str, int]:
    names = ("left_eye", "right_eye", "left_brow", "right_brow", "mouth", "earring", "necklace", "eyeglasses")
    return {name: int((label_map == CLASS_ID[name]).sum()) for name in names}


def test_real_small_parts_are_kept(portraits):
    for label_map in [*portraits, *(read_label_map(path)[0] for path in EXAMPLES)]:
        joined, _ = join_islands(label_map)
        assert set(np.unique(joined)) == set(np.unique(label_map))
        assert (joined != label_map).mean() < 5e-4
        before, after = small_parts(label_map), small_parts(joined)
        assert all(after[name] >= 0.95 * before[name] for name in before), (before, after)


def test_specks_are_taken_out(portraits):
    rng = np.random.default_rng(0)
    for label_map in portraits[:5]:
        clean, _ = join_islands(label_map)
        specked = clean.copy()
        for _ in range(30):
            row, column = rng.integers(2, 252, 2)
            specked[row : row + 2, column : column + 2] = rng.integers(0, 19)
        joined, count = join_islands(specked)
        assert count > 10
        assert (joined != clean).sum() < 0.25 * (specked != clean).sum()  # on borders either class is as good
        assert join_islands(joined)[1] == 0


def test_swapped_sides_are_seen_and_mended(portraits):
    for label_map in [*portraits, *(read_label_map(path)[0] for path in EXAMPLES)]:
        assert not sides_swapped(label_map)
        assert not sides_swapped(mirror(label_map))
        assert sides_swapped(label_map[:, ::-1])
        swapped = swap_sides(label_map)
        assert sides_swapped(swapped)
        assert np.array_equal(swap_sides(swapped), label_map)
        for left, right in LEFT_RIGHT_PAIRS:
            assert np.array_equal(swapped == left, label_map == right)
        sides = np.isin(label_map, np.array(LEFT_RIGHT_PAIRS).ravel())
        assert np.array_equal(swapped[~sides], label_map[~sides])
        assert swapped.dtype == np.uint8 and swapped.flags.c_contiguous


def pair(name: str, *, swapped: bool) -> np.ndarray:
    label_map = np.zeros((8, 20), np.uint8)
    on_the_right, on_the_left = (CLASS_ID[f"{side}_{name}"] for side in ("left", "right"))
    label_map[2:4, 14:16], label_map[2:4, 3:6] = on_the_right, on_the_left
    return swap_sides(label_map) if swapped else label_map


@pytest.mark.parametrize("name", ["eye", "brow", "ear"])
def test_every_pair_has_a_vote(name):
    assert sides_swapped(pair(name, swapped=True))
    assert not sides_swapped(pair(name, swapped=False))
    others = [other for other in ("eye", "brow", "ear") if other != name]
    outvoted = np.concatenate([pair(name, swapped=True), *(pair(other, swapped=False) for other in others)])
    assert not sides_swapped(outvoted)
    assert sides_swapped(np.concatenate([pair(name, swapped=False), *(pair(other, swapped=True) for other in others)]))


def test_one_side_alone_tells_nothing():
    for name in NAMES:
        label_map = np.zeros((5, 5), np.uint8)
        label_map[2, 1] = CLASS_ID[name]
        assert not sides_swapped(label_map)
