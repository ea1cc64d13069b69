import io

import numpy as np
import pytest
from PIL import Image

from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import NUM_CLASSES, PALETTE, to_colours


@pytest.fixture
def label_map() -> np.ndarray:
    label_map = np.random.default_rng(0).integers(0, NUM_CLASSES, (9, 13)).astype(np.uint8)
    label_map[0, 0] = 0
    return label_map


def _reads_as(picture: Image.Image, expected: np.ndarray, off_palette: int = 0, **options) -> None:
    file = io.BytesIO()
    picture.save(file, format="PNG", **options)
    file.seek(0)
    label_map, off, *_ = read_label_map(file)
    assert label_map.dtype == np.uint8 and off == off_palette
    assert (label_map == expected).all()


def test_round_trip(label_map, tmp_path):
    write_label_map(tmp_path / "map.png", label_map)
    again, off_palette, *_ = read_label_map(tmp_path / "map.png")
    assert (again == label_map).all() and off_palette == 0
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.mode == "P" and (np.asarray(picture.convert("RGB")) == to_colours(label_map)).all()
    write_label_map(tmp_path / "colours.png", label_map, colours=True)
    again, off_palette, *_ = read_label_map(tmp_path / "colours.png")
    assert (again == label_map).all() and off_palette == 0
    with Image.open(tmp_path / "colours.png") as picture:
        assert picture.mode == "RGB" and (np.asarray(picture) == to_colours(label_map)).all()


def test_greyscale_and_sixteen_bits(label_map):
    _reads_as(Image.fromarray(label_map), label_map)
    _reads_as(Image.fromarray(label_map.astype(np.uint16)), label_map)
    _reads_as(Image.fromarray(label_map.astype(np.uint16) * 257), label_map)
    _reads_as(Image.fromarray(label_map).convert("RGB"), label_map)


def test_colours(label_map):
    colours = to_colours(label_map)
    _reads_as(Image.fromarray(colours), label_map)
    colours[0, 0] = (3, 2, 1)
    _reads_as(Image.fromarray(colours), label_map, off_palette=1)


def test_transparent_pixels_are_background(label_map):
    alpha = np.full((*label_map.shape, 1), 255, np.uint8)
    alpha[0] = 0
    expected = label_map.copy()
    expected[0] = 0
    _reads_as(Image.fromarray(np.concatenate([to_colours(label_map), alpha], 2)), expected)
    _reads_as(Image.fromarray(np.concatenate([label_map[..., None], alpha], 2)), expected)  # greyscale and alpha


def test_palette_in_another_order_is_read_by_colour(label_map):
    picture = Image.fromarray(18 - label_map)
    picture.putpalette(PALETTE[::-1].tobytes())
    _reads_as(picture.convert("P"), label_map)


def test_palette_with_left_and_right_swapped_is_read_by_index(label_map):
    swapped = PALETTE.copy()
    swapped[[4, 5, 6, 7, 8, 9]] = PALETTE[[5, 4, 7, 6, 9, 8]]
    picture = Image.fromarray(label_map)
    picture.putpalette(swapped.tobytes())
    _reads_as(picture, label_map)


def test_palette_of_other_colours_is_read_by_index(label_map):
    picture = Image.fromarray(label_map)
    picture.putpalette(np.arange(57, dtype=np.uint8).tobytes())
    _reads_as(picture, label_map, transparency=3)


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "1", "RGB"])
def test_values_over_18_name_the_remedy(mode, tmp_path):
    values = np.zeros((4, 4), np.uint8)
    values[1, 1] = 255
    picture = Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values)
    if mode == "P":
        picture.putpalette(np.arange(255, -1, -1, dtype=np.uint8).repeat(3).tobytes())
    (picture if mode in ("P", "I;16") else picture.convert(mode)).save(tmp_path / "map.png")
    with pytest.raises(ValueError, match=r"map\.png.*\[255\].*Class ids are 0 \(background\) to 18 \(cloth\).*PNG"):
        read_label_map(tmp_path / "map.png")


def test_bad_files(label_map, tmp_path):
    path = tmp_path / "map.png"
    with pytest.raises(FileNotFoundError):
        read_label_map(path)
    write_label_map(path, np.random.default_rng(0).integers(0, 19, (64, 64)))
    whole = path.read_bytes()
    for content in (b"", b"not a picture", whole[: len(whole) // 2], whole[:60] + bytes(100) + whole[160:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"map\.png"):
            read_label_map(path)


def test_decoded_size_is_capped(tmp_path):
    Image.new("1", (4097, 4096)).save(tmp_path / "large.png")
    with pytest.raises(ValueError, match="4097x4096 pixels are more than 4096x4096"):
        read_label_map(tmp_path / "large.png")


@pytest.mark.parametrize(
    "wrong", [np.full((2, 2), 19), np.zeros((2, 2)), np.zeros((2, 2, 3), int), np.zeros((0, 2), int)]
)
def test_only_class_ids_are_written(wrong, tmp_path):
    with pytest.raises(ValueError, match=r"label_map must be|Class ids are"):
        write_label_map(tmp_path / "map.png", wrong)


def test_a_jpeg_of_class_ids_is_refused_also_where_all_its_values_are_classes(tmp_path):
    label_map = np.arange(64, dtype=np.uint8).repeat(64).reshape(64, 64) // 6
    for mode in ("L", "RGB"):
        Image.fromarray(label_map).convert(mode).save(tmp_path / "map.jpg", quality=85)
        assert np.asarray(Image.open(tmp_path / "map.jpg")).max() < 19
        with pytest.raises(ValueError, match=r"map.jpg is a JPEG of class ids, which JPEG changes\. .*Save the map"):
            read_label_map(tmp_path / "map.jpg")
