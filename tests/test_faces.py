"""From a picture to a label map in one call, with the bundled parser and with one that reads painted maps."""

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from skimage.data import astronaut

import facemogle
from facemogle import faces
from facemogle.checkpoints import PARSERS, CheckpointError
from facemogle.faces import NoFaceError, parse_face
from facemogle.labels import CLASS_ID, NAMES, NUM_CLASSES, PALETTE, from_colours, to_colours
from facemogle.parsing.alignment import CROP_SIDE
from facemogle.parsing.parse import disagreement
from facemogle.picture_files import Settings, write_picture
from train.mini.portraits import render, sample_attributes


class PaintReader:
    """A parser of pictures painted in the palette's colours: the nearest colour is the class, with 0.82 certainty."""

    def probabilities(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        one_hot = np.eye(NUM_CLASSES, dtype=np.float32)
        return [0.81 * one_hot[from_colours(picture)[0]].transpose(2, 0, 1) + 0.01 for picture in pictures]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return astronaut()


@pytest.fixture(scope="module")
def portrait() -> tuple[np.ndarray, np.ndarray]:
    """(256, 256, 3) picture and (256, 256) label map; the mouth is open."""
    picture, label_map = render(sample_attributes(np.random.default_rng(20)), 256)
    return np.ascontiguousarray(picture), label_map


@pytest.fixture
def painted() -> np.ndarray:
    """(80, 60) class ids of a face as a child draws it, with a speck on its cheek."""
    label_map = np.zeros((80, 60), np.uint8)
    cv2.ellipse(label_map, (30, 40), (24, 34), 0, 0, 360, CLASS_ID["skin"], -1)
    for name, column in (("right_eye", 20), ("left_eye", 40)):
        label_map[30:34, column - 3 : column + 3] = CLASS_ID[name]
    label_map[45, 22] = CLASS_ID["hat"]
    return label_map


def settings(**changed) -> Settings:
    fields = {
        "prompt": "", "label_map": None, "seed": 0, "num_inference_steps": 1, "guidance_scale": 1.0,
        "condition_scale": 1.0, "height": 80, "width": 60, "expert_scale": None, "checkpoint": "mini",
    }  # fmt: skip
    return Settings(**fields | changed)


def as_file(picture: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    file.seek(0)
    return file


def test_from_the_bytes_of_a_portrait_to_its_map(portrait, tmp_path):
    picture, label_map = portrait
    (tmp_path / "portrait.png").write_bytes(as_file(picture).getvalue())
    parse = parse_face(tmp_path / "portrait.png", parser="mini")
    assert np.array_equal(parse.crop, picture)  # in that framing already
    assert (parse.label_map == label_map).mean() > 0.97
    assert parse.label_map.dtype == np.uint8 and not parse.eyes_swapped
    assert parse.confidence.shape == label_map.shape and parse.confidence.dtype == np.float32
    assert parse.confidence.min() > 0 and parse.confidence.max() <= 1.0001
    certain = parse.confidence > 0.9
    assert (parse.label_map == label_map)[certain].mean() > (parse.label_map == label_map)[~certain].mean()
    assert set(parse.class_confidence) == {NAMES[class_id] for class_id in np.unique(parse.label_map)}


def test_every_kind_of_picture_gives_the_same(photo, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    with path.open("rb") as file:
        pictures = [path, str(path), file, as_file(photo), Image.fromarray(photo), photo]
        maps = [parse_face(picture, parser=PaintReader()).label_map for picture in pictures]
    assert maps[0].shape == (CROP_SIDE, CROP_SIDE)
    assert all(np.array_equal(label_map, maps[0]) for label_map in maps)


def test_painted_maps_are_read_exactly(painted):
    parse = parse_face(to_colours(painted), parser=PaintReader(), whole=True, clean=False)
    assert np.array_equal(parse.label_map, painted)
    assert np.allclose(parse.confidence, 0.82)
    assert not parse.eyes_swapped and parse.notes == ()


def test_islands_are_joined_and_told_of(painted):
    painted = np.kron(painted, np.ones((4, 4), np.uint8))  # the speck, 16 pixels of 76,800, is too large
    painted[181, 89] = CLASS_ID["hair"]
    parse = parse_face(to_colours(painted), parser=PaintReader(), whole=True)
    assert CLASS_ID["hair"] not in parse.label_map and CLASS_ID["hat"] in parse.label_map
    assert (
        parse.notes == ("1 small island joined to what surrounds them.",) or "1 small island joined" in parse.notes[0]
    )
    assert parse.confidence[181, 89] == pytest.approx(0.01)  # of the class that it now has
    before = parse_face(to_colours(painted), parser=PaintReader(), whole=True, clean=False)
    assert np.argwhere(disagreement(parse, before)).tolist() == [[181, 89]]


def test_swapped_eyes_are_told_of_and_left(painted):
    mirrored = np.ascontiguousarray(painted[:, ::-1])
    parse = parse_face(to_colours(mirrored), parser=PaintReader(), whole=True)
    assert parse.eyes_swapped and np.array_equal(
        parse.label_map == CLASS_ID["left_eye"], mirrored == CLASS_ID["left_eye"]
    )
    assert any("Left and right seem swapped" in note for note in parse.notes)


def test_parses_of_different_crops_are_not_compared(painted):
    one, other = (
        parse_face(to_colours(label_map), parser=PaintReader(), whole=True) for label_map in (painted, painted[1:])
    )
    with pytest.raises(ValueError, match="one crop"):
        disagreement(one, other)


def test_which_face(photo):
    small = cv2.resize(photo[40:190, 150:300], (80, 80), interpolation=cv2.INTER_AREA)
    two = photo.copy()
    two[400:480, 20:100] = small
    first, second = (parse_face(two, parser=PaintReader(), face=number) for number in (0, 1))
    assert np.array_equal(parse_face(two, parser=PaintReader()).crop, first.crop)
    middle = [frame.to_photo @ (CROP_SIDE / 2, CROP_SIDE / 2, 1) for frame in (first.frame, second.frame)]
    assert middle[0] == pytest.approx((226, 105), abs=15) and middle[1] == pytest.approx((60, 434), abs=15)
    for number in (2, -1):
        with pytest.raises(ValueError, match=f"face {number} was asked for, but 2 faces were found.*from 0.*to 1"):
            parse_face(two, parser=PaintReader(), face=number)
    with pytest.raises(ValueError, match="1 face was found"):
        parse_face(photo, parser=PaintReader(), face=1)


@pytest.mark.parametrize("value", [0, 255])
def test_no_face_names_the_ways_out(value):
    blank = np.full((200, 300, 3), value, np.uint8)
    with pytest.raises(NoFaceError, match=r"No face was found.*whole=True.*square=\(left, top, side\)"):
        parse_face(blank, parser=PaintReader())
    assert parse_face(blank, parser=PaintReader(), whole=True).label_map.shape == (200, 300)
    assert parse_face(blank, parser=PaintReader(), square=(10, 20, 99.5)).label_map.shape == (CROP_SIDE, CROP_SIDE)


def test_a_square_by_hand(photo):
    crop = parse_face(photo, parser=PaintReader(), square=(150, 40, 128)).crop
    assert np.abs(crop[2::4, 2::4].astype(int) - photo[40:168, 150:278]).mean() < 3
    with pytest.raises(ValueError, match="touch the photo"):
        parse_face(photo, parser=PaintReader(), square=(600, 0, 10))


def test_what_was_drawn_here_is_taken_whole(painted, photo, tmp_path):
    drawing = Image.fromarray(to_colours(painted))
    path = tmp_path / "drawing.png"
    write_picture(path, drawing, settings())
    with pytest.raises(NoFaceError):  # the pixels alone do not tell
        parse_face(drawing, parser=PaintReader())
    for file in (path, io.BytesIO(path.read_bytes())):
        assert np.array_equal(parse_face(file, parser=PaintReader(), clean=False).label_map, painted)

    write_picture(path, Image.fromarray(photo), settings())
    assert parse_face(path, parser=PaintReader()).label_map.shape == photo.shape[:2]
    chosen = parse_face(path, parser=PaintReader(), face=0)  # who asks for a face gets it
    assert np.array_equal(chosen.crop, parse_face(photo, parser=PaintReader()).crop)

    damaged = PngImagePlugin.PngInfo()
    damaged.add_itxt("facemogle", "{")
    Image.fromarray(photo).save(path, pnginfo=damaged)
    assert np.array_equal(parse_face(path, parser=PaintReader()).crop, chosen.crop)


def test_drawings_are_read_by_their_checkpoints_own_parser(portrait, tmp_path, monkeypatch):
    picture, _ = portrait
    path = tmp_path / "drawing.png"
    write_picture(path, Image.fromarray(picture), settings())
    asked = []
    monkeypatch.setattr(faces, "_load", lambda name, device: asked.append((name, device)) or PaintReader())
    monkeypatch.setattr(faces, "default_parser", lambda: "segface")
    parse_face(path)
    parse_face(picture)
    parse_face(picture, parser="farl", device="cuda:1")
    assert asked == [("mini", None), ("segface", None), ("farl", "cuda:1")]


def test_a_parser_is_loaded_once(portrait):
    faces._load.cache_clear()
    for parser in ("mini", PARSERS["mini"], PARSERS["mini"], "mini"):
        parse_face(portrait[0], parser=parser, whole=True)
    assert faces._load.cache_info().misses == 2
    assert faces._load("mini", None) is faces._load("mini", None)


def test_arguments_that_do_not_fit(photo, tmp_path):
    for given in ({"face": 0, "whole": True}, {"square": (0, 0, 9), "whole": True}, {"face": 0, "square": (0, 0, 9)}):
        with pytest.raises(ValueError, match="each say what to parse"):
            parse_face(photo, parser=PaintReader(), **given)
    with pytest.raises(ValueError, match="Move this one there"):
        parse_face(photo, parser=PaintReader(), device="cpu")
    for array in (photo[..., 0], photo / 255, photo[:0], np.dstack([photo, photo[..., 0]])):
        with pytest.raises(ValueError, match=r"must be \(H, W, 3\) uint8 RGB, got .* of shape"):
            parse_face(array, parser=PaintReader())
    with pytest.raises(CheckpointError, match="nowhere"):
        parse_face(photo, parser="nowhere", whole=True)
    with pytest.raises(FileNotFoundError):
        parse_face(tmp_path / "none.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty\.jpg is an empty file"):
        parse_face(tmp_path / "empty.jpg")
    with pytest.raises(ValueError, match="at most 50 million"):
        parse_face(np.broadcast_to(np.zeros(3, np.uint8), (8000, 8000, 3)))


def test_exported_without_loading_torch():
    assert facemogle.parse_face is parse_face and "parse_face" in facemogle.__all__
    code = (
        "import sys, facemogle\n"
        "assert callable(facemogle.parse_face)\n"
        "assert not {'torch', 'diffusers', 'facenet_pytorch', 'gradio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_palette_colours_survive_the_way_to_the_parser():
    """Else the stand-in of these tests would prove nothing."""
    swatches = PALETTE[None].repeat(2, 0)
    assert np.array_equal(from_colours(swatches)[0][0], np.arange(NUM_CLASSES))
