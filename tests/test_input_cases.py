"""Files that people really have, in tests/cases: what each of them is, on every way in."""

import argparse
import base64
import io
import json
import socket
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import app
from facemogle import cli
from facemogle.cli import arguments
from facemogle.cli.generate import report_squash
from facemogle.cli.inspect import lines_on
from facemogle.label_files import parts_in, read_label_map, read_parts, write_label_map
from facemogle.labels import NAMES
from facemogle.parsing.alignment import find_faces, frame_face
from facemogle.parsing.photos import read_photo
from facemogle.picture_files import MAX_SEED, MAX_STEPS, Settings, write_picture
from facemogle.region_files import read_region
from facemogle.ui import api, handlers, start
from facemogle.ui.label_editor.component import decode, open_label_map
from facemogle.ui.photo.handlers import label_map_in
from facemogle.ui.picture_drop.component import PictureFile
from train.data import check

CASES = Path(__file__).parent / "cases"
# File -> what share of its pixels is right, and a word on how it was read.
READ = {
    "map-16bit-256.png": (1.0, "times 256"),
    "map-adaptive-P.png": (0.97, "own palette"),
    "map-bgr.png": (1.0, "red and blue exchanged"),
    "map-bisenet-colours.png": (1.0, "face-parsing.pytorch paints"),
    "map-exif6.png": (1.0, "EXIF"),
    "map-ids-red.png": (1.0, "red channel"),
    "map-ignore255.png": (0.98, "255 are unlabelled"),
    "map-palette-aa-19-mc.png": (0.94, "took the nearest class"),
    "map-palette-aa-24-mc.png": (0.94, "took the nearest class"),
    "map-q75.jpg": (0.97, "took the nearest class"),
    "map-stretched-255.png": (1.0, "times 14.17"),
    "map.npy": (1.0, ""),
}
TOLD = {"map-bisenet-order.png": "face-parsing.pytorch", "map-swapped.png": "celebamask-hq-swapped"}


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """(512, 512): the face that all of them show."""
    return read_label_map(Path(__file__).parents[1] / "assets" / "examples" / "red-bob.png").label_map


def agreement(label_map: np.ndarray, truth: np.ndarray) -> float:
    """Share of the pixels that are right, in a map that was made smaller by every so manyth pixel."""
    step = len(truth) // len(label_map)
    return max(float((label_map == truth[start::step, start::step]).mean()) for start in {0, step // 2})


def upload(path: Path, order: str = "celebamask-hq") -> dict:
    return {"name": path.name, "file": base64.b64encode(path.read_bytes()).decode(), "order": order}


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_is_and_says_how(name, truth):
    share, words = READ[name]
    reading = read_label_map(CASES / name)
    assert agreement(reading.label_map, truth) >= share
    assert words in " ".join(reading.messages) and bool(words) == bool(reading.messages)
    assert words in " ".join(lines_on(CASES / name))
    answer = open_label_map(upload(CASES / name))
    assert words in answer["message"] and (decode(answer["value"]) == reading.label_map).all()
    meant = "celebamask-hq" if reading.doubts else ""
    assert (api.read_map(str(CASES / name), meant) == reading.label_map).all()


@pytest.mark.parametrize("name", TOLD)
def test_what_looks_misread_is_told_of_with_the_order_that_mends_it(name, truth, capsys):
    path, order = CASES / name, TOLD[name]
    (doubt,) = read_label_map(path).doubts
    assert order in str(doubt) and order in open_label_map(upload(path))["message"]
    assert cli.main(["inspect", str(path)]) == 0 and order in capsys.readouterr().out
    assert agreement(read_label_map(path, classes=order).label_map, truth) == 1
    assert agreement(arguments.read_and_report(path, arguments.classes(order)), truth) == 1
    assert agreement(decode(open_label_map(upload(path, order))["value"]), truth) == 1
    assert agreement(api.read_map(str(path), order), truth) == 1
    dropped = label_map_in(PictureFile(name, path.read_bytes()))
    assert dropped is not None and order in " ".join(dropped.messages)


def test_a_program_that_cannot_be_told_of_another_order_gets_an_error(truth):
    path = str(CASES / "map-bisenet-order.png")
    with (
        pytest.raises(gr.Error, match=r"^.?map-bisenet-order.png: .*face-parsing.pytorch.*pass classes as"),
        api.explained(path),
    ):
        api.read_map(path, "")
    assert api.read_map(path, "celebamask-hq").shape == truth.shape
    with pytest.raises(ValueError, match="no class order"):  # a stranger's text names no file of the server
        api.read_map(path, __file__)


def test_a_photograph_is_no_label_map(capsys):
    path = CASES / "photo-like.jpg"
    for read in (read_label_map, arguments.read_and_report, lambda path: api.read_map(str(path), "")):
        with pytest.raises(ValueError, match=r"photo-like.jpg is a photograph.*96%.*python -m facemogle parse"):
            read(path)
    assert "is a photograph" in open_label_map(upload(path))["error"]
    assert cli.main(["inspect", str(path)]) == 0 and "a photo or a drawing, 256x256" in capsys.readouterr().out


def test_a_table_of_ones_own_gives_the_order(tmp_path, truth):
    table = tmp_path / "classes.txt"
    table.write_text("\n".join(f"{value + 40} {name}" for value, name in enumerate(NAMES)))
    Image.fromarray(truth + np.uint8(40)).save(tmp_path / "map.png")
    assert (read_label_map(tmp_path / "map.png", classes=str(table)).label_map == truth).all()
    as_json = json.dumps({str(value + 40): name for value, name in enumerate(NAMES)})
    assert (api.read_map(str(tmp_path / "map.png"), as_json) == truth).all()
    with pytest.raises(argparse.ArgumentTypeError, match="no class order"):
        arguments.classes("lapaa")


@pytest.fixture(params=[1, 255])
def parts(request, tmp_path, truth) -> Path:
    """A folder of CelebAMask-HQ's parts of one face, which are 1 or 255 where they are."""
    names = ("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip", "l_lip")
    for class_id, part in enumerate((*names, "hair", "hat", "ear_r", "neck_l", "neck", "cloth"), start=1):
        if (truth == class_id).any():
            Image.fromarray(((truth == class_id) * request.param).astype(np.uint8)).save(tmp_path / f"00000_{part}.png")
    return tmp_path


def test_a_folder_of_parts_is_a_label_map(parts, truth):
    assert (read_label_map(parts).label_map == truth).all()
    assert (read_label_map(parts / "00000").label_map == truth).all()
    assert (read_parts(parts_in(parts)).label_map == truth).all()
    (parts / "00001_skin.png").write_bytes((parts / "00000_skin.png").read_bytes())
    with pytest.raises(ValueError, match=r"parts of 2 faces.*00000"):
        read_label_map(parts)
    assert (read_label_map(parts / "00000").label_map == truth).all()


def test_check_tells_of_masks_that_would_teach_nonsense(tmp_path, truth):
    for folder in ("face", "mask"):
        (tmp_path / folder).mkdir()
    maps = {
        "good": truth, "empty": truth & 0, "order": read_label_map(CASES / "map-bisenet-order.png").label_map,
        "skinless": np.where(truth == 1, np.uint8(0), truth),
    }  # fmt: skip
    for name, label_map in maps.items():
        Image.fromarray(label_map * 9).save(tmp_path / "face" / f"{name}.jpg")
        write_label_map(tmp_path / "mask" / f"{name}.png", label_map)
    report = check(tmp_path)
    problems = {finding.file.stem: finding.problem for finding in report.findings if "captions" not in finding.problem}
    assert problems == {
        "empty": "mask of background alone", "order": "mask in another class order", "skinless": "mask without skin",
    }  # fmt: skip
    assert not report.usable
    (tmp_path / "mask" / "order.png").write_bytes((CASES / "map-bisenet-order.png").read_bytes())
    assert "face-parsing.pytorch" in "\n".join(check(tmp_path).lines())
    named = check(tmp_path, ids=["order"], classes="face-parsing.pytorch")
    assert all("captions" in finding.problem for finding in named.findings)


@pytest.mark.parametrize("name", ["01", "1bit", "16bit", "alpha-on-black", "alpha-on-white"])
def test_a_region_may_be_written_in_many_ways(name):
    expected = read_region(CASES / "region-L.png")
    assert 0.12 < expected.mean() < 0.14
    assert (read_region(CASES / f"region-{name}.png") == expected).all()


def test_a_region_that_says_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"region-black.png is never lighter than half.*lightest value is 0 of 255"):
        read_region(CASES / "region-black.png")
    ramp = np.linspace(0, 100, 64, dtype=np.uint8)[:, None].repeat(64, 1)
    Image.fromarray(ramp).save(tmp_path / "dark.png")
    with pytest.raises(ValueError, match="lightest value is 100"):
        read_region(tmp_path / "dark.png")
    cut_out = np.dstack([ramp + 50] * 3 + [np.tri(64, dtype=np.uint8) * 255])
    Image.fromarray(cut_out).save(tmp_path / "cut.png")
    with pytest.raises(ValueError, match=r"cut.png is a picture cut out"):
        read_region(tmp_path / "cut.png")


def test_a_face_on_its_side_is_found_and_turned():
    upright, lying = (read_photo(CASES / f"face-{name}.jpg") for name in ("upright", "on-its-side"))
    crops = [frame_face(photo, find_faces(photo)[0]).crop(photo).astype(int) for photo in (upright, lying)]
    assert np.abs(crops[0] - crops[1]).mean() < 5
    for quarters in (1, 2, 3):
        turned = np.rot90(upright, quarters)
        assert np.abs(frame_face(turned, find_faces(turned)[0]).crop(turned) - crops[0]).mean() < 1


def test_a_squash_is_said_with_the_size_that_keeps_the_shape(capsys):
    report_squash(Path("tall.png"), (384, 256, 3), 256, 256)
    line = capsys.readouterr().err
    assert "tall.png is 256 wide and 384 high" in line and "--size 384x256 keeps its shape" in line
    report_squash(Path("square.png"), (512, 500), 256, 256)
    assert not capsys.readouterr().err


def test_one_range_of_seeds_and_steps_everywhere(capsys):
    seed = 1099511627783
    assert arguments.seed(str(seed)) == seed and handlers.read_request(None, "", seed, 1, 4, 1, 1, None).seed == seed
    assert arguments.seed(str(MAX_SEED)) == handlers.read_request(None, "", MAX_SEED, 1, MAX_STEPS, 1, 1, None).seed
    settings = Settings("", None, MAX_SEED, MAX_STEPS, 1, 1, 16, 16, None, "mini")
    write_picture(io.BytesIO(), Image.new("L", (1, 1)), settings)
    for read in (
        lambda: arguments.seed(str(MAX_SEED + 1)),
        lambda: handlers.read_request(None, "", MAX_SEED + 1, 1, 4, 1, 1, None),
        lambda: Settings("", None, MAX_SEED + 1, 4, 1, 1, 16, 16, None, "mini"),
    ):
        with pytest.raises((ValueError, argparse.ArgumentTypeError), match=str(MAX_SEED)):
            read()
    with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 1000"):
        arguments.steps("1001")


@pytest.mark.parametrize(("payload", "precision"), [("abc", 0), (1.5, 0), ("high", None), (True, 0), (float("nan"), 0)])
def test_the_api_names_the_field_that_is_no_number(payload, precision):
    with pytest.raises(gr.Error, match=r"Seed must be a (whole )?number, got"):
        api.Number(label="Seed", precision=precision).preprocess(payload)
    assert api.Number(label="Seed", precision=0).preprocess(3.0) == 3


def one_line(capsys, *command: str) -> str:
    with pytest.raises(SystemExit) as exit:
        raise SystemExit(cli.main([*command]))
    assert exit.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_devices_prompts_and_folders_that_are_none_get_one_line(capsys, tmp_path, monkeypatch):
    generate = ["generate", f"--out={tmp_path / 'face.png'}"]
    for device in ("mps", "xpu", "cuda:99"):
        assert f"{device} was asked for, but torch sees" in one_line(capsys, *generate, f"--device={device}")
    assert "is not in UTF-8" in one_line(capsys, *generate, "--prompt", "a \udce9 woman")
    mini = app.EXAMPLES.parent / "mini"
    assert f"Did you mean {mini / 'mogle'}?" in one_line(capsys, *generate, f"--mogle={mini}")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "read-only" in one_line(capsys, "generate", f"--out={tmp_path / 'face.png'}")
    monkeypatch.undo()
    assert "no file and no folder" in one_line(capsys, "parse", str(tmp_path / "photos"), f"--out={tmp_path / 'maps'}")
    assert "--port" in one_exit(capsys, lambda: app.parse_arguments(["--port", "99999"]))


def one_exit(capsys, run) -> str:
    with pytest.raises(SystemExit) as exit:
        run()
    return str(exit.value.code) if isinstance(exit.value.code, str) else capsys.readouterr().err.splitlines()[-1]


def test_an_address_that_cannot_be_served_gets_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = one_exit(capsys, lambda: start.check_address(None, port))
        assert f"127.0.0.1:{port}" in line and "another --port" in line
    assert "--host 127.0.0.1" in one_exit(capsys, lambda: start.check_address("192.0.2.1", None))
    assert "nowhere.invalid" in one_exit(capsys, lambda: start.check_address("nowhere.invalid", 7860))
    start.check_address(None, None)
