"""Line drawings of faces: what is read from the outlines of label maps; gaps, strokes and doubts; and what is none."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from facemogle import cli
from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import CLASS_ID, NAMES
from facemogle.sketch import line_drawing_in, line_tone, read_sketch
from facemogle.templates import template_face
from tests.sketches import SIDE, drawn, enlarged

ROOT = Path(__file__).parents[1]
DRAWINGS = sorted((ROOT / "train/mini/drawings").glob("*.png"))
TARGET = 0.7  # mean IoU over the classes that were drawn, over the twelve


def overlaps(intended: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """IoU of each class that was intended."""
    both = ((NAMES[one], intended == one, found == one) for one in np.unique(intended))
    return {name: float((ours & theirs).sum() / (ours | theirs).sum()) for name, ours, theirs in both}


@pytest.fixture(scope="module")
def bald():
    """(the intended map, its drawing, what is read from that)"""
    face = template_face("bald")
    return face, drawn(face), read_sketch(drawn(face))


def test_twelve_clumsy_drawings_agree_with_what_was_meant(capsys):
    means = []
    for seed, path in enumerate(DRAWINGS):
        intended = enlarged(read_label_map(path).label_map)
        of_class = overlaps(intended, read_sketch(drawn(intended, seed)).label_map)
        means.append(np.mean(list(of_class.values())))
        low = ", ".join(f"{name} {share:.2f}" for name, share in of_class.items() if share < 0.5)
        with capsys.disabled():
            print(f"\n{path.name}: mean IoU {means[-1]:.3f} {low}", end="")
    with capsys.disabled():
        print(f"\nmean over {len(means)}: {np.mean(means):.3f}")
    assert len(means) == 12
    assert np.mean(means) >= TARGET and min(means) > 0.5


def test_sides_parts_and_lines(bald):
    """`left` is the subject's left; every pixel has a class; the same drawing gives the same map."""
    face, picture, sketch = bald
    assert min(overlaps(face, sketch.label_map).values()) > 0.5
    assert {NAMES[one] for one in np.unique(face)} == {*sketch.recognised, "background"}
    assert sketch.completed == () and sketch.template == "bald"
    board = read_sketch(255 - picture)  # chalk
    assert np.array_equal(board.label_map, sketch.label_map) and board.doubts == sketch.doubts
    again = read_sketch(picture)
    assert np.array_equal(again.label_map, sketch.label_map) and again.doubts == sketch.doubts


def test_paper_under_a_lamp_is_read_as_the_drawing_itself(bald):
    _, picture, sketch = bald
    light = np.linspace(0.6, 1, SIDE)[None] * np.linspace(0.8, 1, SIDE)[:, None]
    grain = np.random.default_rng(0).normal(0, 4, picture.shape)
    photo = np.clip((40 + picture * 0.75) * light + grain, 0, 255).astype(np.uint8)
    assert line_tone(photo) == "dark"
    assert (read_sketch(photo).label_map == sketch.label_map).mean() > 0.98


def test_what_is_missing_comes_from_the_nearest_template():
    """An oval with strokes for brows, dots for eyes and a mouth, on a transparent sheet."""
    picture = np.zeros((400, 400, 4), np.uint8)
    pen = (20, 20, 20, 255)
    cv2.ellipse(picture, (200, 215), (95, 135), 0, 0, 360, pen, 3)
    for x in (152, 248):
        cv2.ellipse(picture, (x, 180), (26, 14), 0, 200, 340, pen, 3)
        cv2.circle(picture, (x, 190), 6, pen, -1)
    cv2.ellipse(picture, (200, 285), (38, 9), 0, 0, 360, pen, 3)
    cv2.ellipse(picture, (200, 190), (130, 150), 0, 170, 370, pen, 3)  # hair, left open
    sketch = read_sketch(picture)
    assert {"skin", "left_eye", "right_eye", "left_brow", "right_brow", "hair"} <= set(sketch.recognised)
    assert {"nose", "neck", "cloth"} <= set(sketch.completed)
    assert sketch.label_map[77, 256] == CLASS_ID["hair"] and sketch.label_map[20, 20] == 0
    columns = np.nonzero(sketch.label_map == CLASS_ID["left_eye"])[1]
    assert columns.mean() / SIDE == pytest.approx(248 / 400, abs=0.02)
    assert not set(sketch.recognised) & set(sketch.completed)


def test_an_answer_settles_a_doubt():
    intended = enlarged(read_label_map(DRAWINGS[3]).label_map)
    picture = drawn(intended, 3)
    (doubt,) = [one for one in read_sketch(picture).doubts if one.y > 0.65]
    assert {name for name, _ in doubt.candidates} <= {"mouth", "upper_lip", "lower_lip"}
    answered = read_sketch(picture, answers={doubt.region: "lower_lip"})
    assert (answered.label_map[answered.region_of == doubt.region] == CLASS_ID["lower_lip"]).all()
    assert doubt.region not in {one.region for one in answered.doubts}
    with pytest.raises(ValueError, match="There is no region 99"):
        read_sketch(picture, answers={99: "hat"})
    with pytest.raises(ValueError, match="'moustache' is no class"):
        read_sketch(picture, answers={0: "moustache"})


def test_what_is_no_line_drawing():
    cases = [*(ROOT / "tests/cases").glob("*.[pj]*g"), *(ROOT / "assets/examples").glob("*/*.jpg"), *DRAWINGS]
    for path in cases:
        assert line_drawing_in(io.BytesIO(path.read_bytes())) is None, path.name
    assert line_drawing_in(io.BytesIO(b"no picture")) is None
    with pytest.raises(ValueError, match="has no lines"):
        read_sketch(np.full((64, 64), 255, np.uint8))
    one_line = np.full((SIDE, SIDE), 255, np.uint8)
    one_line[200:203, 100:400] = 0
    for picture in (one_line, np.zeros((64, 64), np.uint8)):
        with pytest.raises(ValueError, match="Nothing of a face was recognised"):
            read_sketch(picture)
    hatched = np.full((SIDE, SIDE), 255, np.uint8)
    hatched[::16] = hatched[:, ::16] = 0
    with pytest.raises(ValueError, match="Draw outlines, and no shading"):
        read_sketch(hatched)
    with pytest.raises(ValueError, match="must be uint8"):
        read_sketch(np.zeros((8, 8)))


def test_chalk_is_told_from_a_mask_of_one_part():
    for path in DRAWINGS[4:6]:
        label_map = read_label_map(path).label_map
        on_paper = drawn(label_map)
        board = 30 + (255 - on_paper) // 4 * 3  # grey, and not quite white on it
        assert [line_tone(picture) for picture in (255 - on_paper, board, on_paper)] == ["light", "light", "dark"]
        for class_id in np.unique(label_map):
            mask = np.where(label_map == class_id, np.uint8(255), np.uint8(0))
            assert line_tone(mask) is None, (path.name, NAMES[class_id])
    for pen in (1, 4, 8):  # a face of few strokes
        few = cv2.ellipse(np.zeros((SIDE, SIDE), np.uint8), (256, 270), (140, 190), 0, 0, 360, 255, pen)
        for x in (196, 316):
            cv2.ellipse(few, (x, 240), (28, 14), 0, 0, 360, 255, pen)
        assert line_tone(few) == "light"


def test_a_drawing_is_no_label_map_whatever_its_greys(tmp_path, capsys, bald):
    """Smoothed lines pass for class ids times 15.94."""
    _, picture, _ = bald
    few = Image.fromarray(picture).quantize(8).convert("L")
    for drawing in (Image.fromarray(255 - picture), Image.fromarray(picture), few, few.point(lambda grey: 255 - grey)):
        drawing.save(tmp_path / "drawing.png")
        assert cli.main(["generate", f"--label-map={tmp_path / 'drawing.png'}", f"--out={tmp_path / 'face.png'}"]) == 2
        told = (
            f"{tmp_path / 'drawing.png'} is a line drawing, no label map. Make a map of it first: python -m facemogle"
        )
        assert told in capsys.readouterr().err
    lines = (picture < 128).astype(np.uint8)
    write_label_map(tmp_path / "lines.png", lines)  # of skin, exactly
    assert np.array_equal(read_label_map(tmp_path / "lines.png").label_map, lines)


def test_the_command_tells_what_it_did(tmp_path, capsys, bald):
    _, picture, sketch = bald
    Image.fromarray(picture).save(tmp_path / "drawing.jpg")
    command = ["sketch", str(tmp_path / "drawing.jpg"), f"--out={tmp_path / 'map.png'}"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "recognised: skin, nose," in said and said.endswith("map.png\n")
    assert (read_label_map(tmp_path / "map.png").label_map == sketch.label_map).mean() > 0.99
    assert cli.main([*command, "--set", "0=hat"]) == 0
    assert "hat" in capsys.readouterr().out.splitlines()[0]
    assert cli.main(["sketch", str(tmp_path / "none.png"), f"--out={tmp_path / 'map.png'}"]) == 2
    with pytest.raises(SystemExit):
        cli.main([*command, "--set", "0=moustache"])
