"""How well the face follows the map: the numbers, the words and the picture of differences."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from facemogle.labels import CLASS_ID, PALETTE
from facemogle.templates import template_face
from facemogle.ui.fidelity.view import SIDE, difference, fidelity, largest_differences, no_parser

BACKGROUND, SKIN, HAIR, HAT = (CLASS_ID[name] for name in ("background", "skin", "hair", "hat"))


@pytest.fixture
def face() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


@pytest.fixture
def wanted() -> np.ndarray:
    """(64, 64): skin over background, and a hat of 4 x 8 pixels."""
    label_map = np.zeros((64, 64), np.uint8)
    label_map[:32] = SKIN
    label_map[:4, :8] = HAT
    return label_map


@pytest.fixture
def read(wanted) -> np.ndarray:
    """Hair where the map has background in 8 rows, and no hat."""
    label_map = wanted.copy()
    label_map[56:] = HAIR
    label_map[wanted == HAT] = SKIN
    return label_map


def rows(html: str) -> list[tuple[str, str]]:
    """(class and verdict, IoU) from the table, from top to bottom."""
    found = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', html)
    return [tuple(re.sub("<[^>]*>", "", cell) for cell in row) for row in found]


def test_the_table_is_worst_first_and_names_what_is_missing(face, wanted, read):
    html = fidelity(face, wanted, read)
    assert rows(html) == [
        ("hair not asked for", "0.00"), ("hat missing", "0.00"), ("background", "0.75"), ("skin", "0.98"),
    ]  # fmt: skip
    assert f"{(0 + 0 + 24 / 32 + (2048 - 32) / 2048) / 4:.2f}</b> of 4 classes" in html  # the mean
    assert "86.7% of the picture is as the map says" in html


def test_the_legend_tells_the_largest_differences(face, wanted, read):
    html = fidelity(face, wanted, read)
    first, second = re.findall(r"<li>.*?</i>(.*?)</li>", html)
    assert first == "background, drawn as hair: 12.5% of the picture"
    assert second == "hat, drawn as skin: 0.8% of the picture"
    read[0, 63] = BACKGROUND
    assert "skin, drawn as background: less than 0.1% of the picture" in fidelity(face, wanted, read)


def test_what_is_too_small_for_the_legend_is_summed_up():
    counts = np.zeros((19, 19), int)
    counts[0, 0], counts[1, 2:11] = 900, np.arange(10, 19)
    differences = largest_differences(counts)
    assert differences[0] == (1, 10, 18 / 1026)
    assert [round(share * 1026) for *_, share in differences] == list(range(18, 9, -1))
    wanted = np.repeat(np.arange(19)[:, None], 19, 1).astype(np.uint8)  # each class drawn as every other
    html = fidelity(Image.new("RGB", (19, 19)), wanted, wanted.T)
    assert len(re.findall("<li>", html)) == 7
    assert f"everything else: {(19 * 18 - 6) / 19**2:.1%} of the picture" in html


def test_a_perfect_face(face, wanted):
    html = fidelity(face, wanted, wanted)
    assert {iou for _, iou in rows(html)} == {"1.00"}
    assert "100.0% of the picture" in html and "to the last pixel" in html and "<li>" not in html


def test_maps_are_brought_to_the_size_of_the_face(face, wanted, read):
    larger = [label_map.repeat(4, 0).repeat(4, 1) for label_map in (wanted, read)]
    assert fidelity(face, *larger) == fidelity(face, larger[0], read) == fidelity(face, wanted, read)


def test_the_picture_is_grey_where_it_agrees_and_striped_where_not(face, wanted, read):
    wanted[wanted == BACKGROUND] = CLASS_ID["cloth"]
    picture = np.asarray(difference(face, wanted, read))
    assert picture.shape == (SIDE, SIDE, 3)
    agree = (wanted == read).repeat(8, 0).repeat(8, 1)
    assert (picture[agree] == picture[agree][:, :1]).all()
    assert picture[agree].max() - picture[agree].min() < 128  # faded
    for class_id in (HAT, CLASS_ID["cloth"]):
        region = ~agree & (wanted == class_id).repeat(8, 0).repeat(8, 1)
        striped = (picture[region] == PALETTE[class_id]).all(-1)
        assert 0.4 < striped.mean() < 0.6
        assert (picture[region][~striped] >= 128).all()


def test_the_picture_has_the_shape_of_the_face(face, wanted, read):
    assert difference(face.crop((0, 0, 64, 32)), wanted[:32], read[:32]).size == (SIDE, SIDE // 2)


def test_the_page_gets_the_picture_whole(face, wanted, read):
    source = re.search(r'src="data:image/webp;base64,([^"]+)"', fidelity(face, wanted, read))
    assert Image.open(io.BytesIO(base64.b64decode(source[1]))).size == (SIDE, SIDE)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_face_of_any_mode(mode):
    label_map = template_face(size=48)
    assert "<table>" in fidelity(Image.new(mode, (48, 48)), label_map, label_map)


def test_without_a_map_or_a_parser_a_sentence_says_so(face, read):
    assert "No label map was given." in fidelity(face, None, read)
    html = no_parser("<my> model")
    assert "&lt;my&gt; model" in html and "not measured" in html
