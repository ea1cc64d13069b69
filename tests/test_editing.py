import numpy as np
import pytest
import torch
from PIL import Image

from facemogle.editing import (
    FEATHER,
    GROW,
    PhotoEdit,
    check_edit,
    check_region,
    coverage,
    distance_to,
    edit_region,
    feathered,
    photo_pixels,
    regions_between,
)


def square(size: int, first: int, end: int) -> np.ndarray:
    """(size, size) bool, True within rows and columns first..end."""
    region = np.zeros((size, size), bool)
    region[first:end, first:end] = True
    return region


def test_distance_is_euclidean_and_exact():
    region = np.zeros((40, 30), bool)
    region[5, 7] = region[30, 20] = True
    rows, columns = np.mgrid[:40, :30]
    expected = np.minimum(np.hypot(rows - 5, columns - 7), np.hypot(rows - 30, columns - 20))
    np.testing.assert_allclose(distance_to(region), expected, rtol=1e-5)
    assert np.isinf(distance_to(np.zeros((3, 3), bool))).all() and not distance_to(np.ones((3, 3), bool)).any()


@pytest.mark.parametrize("size", [100, 200])
def test_the_region_is_the_difference_grown_by_a_share_of_the_shorter_side(size):
    before = np.ones((size, 2 * size), np.uint8)
    after = before.copy()
    after[size // 2, size] = 13
    region = edit_region(before, after, grow=0.05)
    rows, columns = np.mgrid[:size, : 2 * size]
    assert np.array_equal(region, np.hypot(rows - size // 2, columns - size) <= 0.05 * size)
    assert np.array_equal(edit_region(after, before, grow=0.05), region)
    assert np.array_equal(edit_region(before, after, grow=0), before != after)


def test_maps_that_cannot_be_compared():
    with pytest.raises(ValueError, match=r"one shape, got \(4, 4\) and \(4, 5\)"):
        edit_region(np.zeros((4, 4), int), np.zeros((4, 5), int))
    with pytest.raises(ValueError, match="do not differ"):
        edit_region(np.zeros((4, 4), int), np.zeros((4, 4), int))


def test_all_that_differs_is_drawn_in_full():
    before = np.zeros((128, 128), np.uint8)
    after = before.copy()
    after[40:90, 50:70] = 13
    opacity = feathered(edit_region(before, after))
    assert FEATHER <= GROW and (opacity[before != after] > 0.9).all()


def test_the_feather_lies_within_the_region():
    region = square(100, 20, 100)
    opacity = feathered(region, width=0.1)
    assert opacity.dtype == np.float32 and not opacity[~region].any() and (opacity[region] > 0).all()
    # Ten pixels from the edge to 1; the picture's own border is no edge.
    np.testing.assert_allclose(opacity[60, 20:30], np.arange(1, 11) / 10, rtol=1e-6)
    assert (opacity[30:, 30:] == 1).all()
    assert (feathered(np.ones((9, 9), bool)) == 1).all() and not feathered(np.zeros((9, 9), bool)).any()
    # Without a feather, all of the region is drawn in full.
    assert np.array_equal(feathered(region, width=0), region)


def test_coverage():
    region = square(8, 0, 3)
    expected = np.zeros((4, 4), np.float32)
    expected[:2, :2] = [[1, 0.5], [0.5, 0.25]]
    assert np.array_equal(coverage(region, 4, 4), expected)


def test_regions_between_pairs_of_any_sizes():
    before = np.zeros((16, 16), np.uint8)
    one, other = before.copy(), np.zeros((32, 32), np.uint8)
    one[:8] = 1
    other[16:] = 2
    regions = regions_between([before], [one, other], 64, 32)
    assert [region.shape for region in regions] == [(64, 32)] * 2
    assert regions[0][:32].all() and not regions[0][40:].any()
    assert regions[1][32:].all() and not regions[1][:24].any()
    assert np.array_equal(regions_between([before, before], [one], 64, 32)[1], regions[0])
    with pytest.raises(ValueError, match="2 source label maps for 3 label maps"):
        regions_between([before] * 2, [one] * 3, 16, 16)
    with pytest.raises(ValueError, match="compared with label_map"):
        regions_between([before], [one, None], 16, 16)


def test_regions_are_resized_with_nearest():
    assert np.array_equal(check_region(square(4, 1, 3), 8, 16), square(4, 1, 3).repeat(2, 0).repeat(4, 1))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (np.full((4, 4), 255, np.uint8), "booleans, .* got uint8 of shape .* mask > 127"),
        (np.ones((4, 4, 3), bool), r"got bool of shape \(4, 4, 3\)"),
        (np.ones((0, 4), bool), r"shape \(0, 4\)"),
        (np.zeros((4, 4), bool), "False everywhere at 8x8: nothing could change"),
    ],
)
def test_bad_regions(region, message):
    with pytest.raises(ValueError, match=message):
        check_region(region, 8, 8)


def test_photos():
    array = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    assert np.array_equal(photo_pixels(array, 6, 8), array)
    assert np.array_equal(photo_pixels(Image.fromarray(array), 6, 8), array)
    assert np.array_equal(photo_pixels(Image.fromarray(array).convert("RGBA"), 6, 8), array)
    assert photo_pixels(Image.new("L", (8, 6), 7), 3, 4).tolist() == [[[7] * 3] * 4] * 3


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_bad_photos(image):
    with pytest.raises(ValueError, match=r"PIL picture or \(H, W, 3\) uint8 RGB, got .* list"):
        photo_pixels(image, 4, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0}, "above 0 and at most 1, got 0"),
        ({"strength": 1.01}, "above 0 and at most 1"),
        ({"strength": float("nan")}, "above 0 and at most 1"),
        ({"image": None}, "Pass image with them"),
        ({"image": None, "edit_region": None, "strength": 0.5}, "Pass image with them"),
        ({"image": None, "edit_region": None, "source_label_map": 2}, "Pass image with them"),
        ({"source_label_map": 2}, "both edit_region and source_label_map"),
        ({"edit_region": None}, "At strength 1 nothing of the image would remain"),
    ],
)
def test_arguments_that_do_not_fit_together(options, message):
    with pytest.raises(ValueError, match=message):
        check_edit(**{"image": 1, "edit_region": 1, "source_label_map": None, "strength": 1.0} | options)


def test_arguments_that_fit_together():
    check_edit(None, None, None, 1.0)
    check_edit(1, None, None, 0.5)
    check_edit(1, 1, None, 1.0)
    check_edit(1, None, 1, 0.5)


@pytest.fixture
def edit() -> PhotoEdit:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    return PhotoEdit(
        latents=draw(2, 6, 8),
        noise=draw(2, 6, 8),
        freedom=draw(2, 6, 8).mul(2).sub(0.5).clamp(0, 1),
        pixels=draw(2, 3, 5, 7),
        opacity=draw(2, 1, 5, 7).mul(2).sub(0.5).clamp(0, 1),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_photo_is_held_exactly(edit, dtype):
    sigma = torch.tensor(0.3)
    latents = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
    held = edit.hold(latents, sigma)
    noised = (1 - sigma) * edit.latents + sigma * edit.noise
    fixed, free = edit.freedom == 0, edit.freedom == 1
    assert held.dtype == dtype and fixed.any() and free.any() and not (fixed | free).all()
    assert torch.equal(held[fixed], noised[fixed].to(dtype)) and torch.equal(held[free], latents[free])
    expected = edit.freedom * latents.float() + (1 - edit.freedom) * noised
    torch.testing.assert_close(held.float(), expected, atol=1e-6 if dtype == torch.float32 else 2e-2, rtol=0)
    assert torch.equal(edit.noised(torch.tensor(0.0)), edit.latents)
    assert torch.equal(edit.noised(torch.tensor(1.0)), edit.noise)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_photo_is_pasted_exactly(edit, dtype):
    images = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    pasted = edit.paste(images)
    fixed, free = ((edit.opacity == value).expand_as(pasted) for value in (0, 1))
    assert pasted.dtype == torch.float32 and fixed.any() and free.any()
    assert torch.equal(pasted[fixed], edit.pixels[fixed]) and torch.equal(pasted[free], images.float()[free])
    between = ~(fixed | free)
    low, high = torch.minimum(edit.pixels, images.float()), torch.maximum(edit.pixels, images.float())
    assert (pasted >= low)[between].all() and (pasted <= high)[between].all()
