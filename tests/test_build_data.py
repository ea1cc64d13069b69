"""Data sets from folders of photos: what is taken, what is left out and why, and that a kill changes nothing."""

import csv
import json
import os
import shutil
from collections import Counter
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from facemogle.label_files import read_label_map
from facemogle.masks import resize_nearest
from facemogle.parsing.alignment import Face
from facemogle.templates import template_face
from tests.face_sets import snapshot
from train import build_data
from train.build_data import BuildSettings, Mirrored, build, summary, takes_first
from train.captioning import load_captioner
from train.data import check, main

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples" / "faces"


class StandIn:
    """Reads the same face everywhere, and in its second guise the more hair, the darker the picture's first pixel."""

    def __init__(self, name: str):
        self.name, self.read = name, 0

    def probabilities(self, pictures):
        self.read += len(pictures)
        return [self.label_map(picture)[None] == np.arange(19)[:, None, None] for picture in pictures]

    def label_map(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        label_map = resize_nearest(template_face(size=128), height, width)
        if self.name == "second":
            label_map[: height * (255 - int(picture[0, 0].mean())) // 510] = 13
        return label_map


SETTINGS = BuildSettings(parsers=("first", "second"), min_side=200)


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Faces in many forms, and what cannot be used."""
    folder = tmp_path_factory.mktemp("photos")
    face = {name: Image.open(EXAMPLES / f"{name}.jpg").convert("RGB") for name in ("afro", "cap", "curls", "red-bob")}
    (folder / "more").mkdir()
    face["afro"].save(folder / "light.png")
    dark = np.array(face["cap"])
    dark[:24, :24] = 0
    Image.fromarray(dark).save(folder / "more" / "dark.png")
    exif = Image.Exif()
    exif[274] = 6
    face["curls"].transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    alpha = face["red-bob"].convert("RGBA")
    alpha.save(folder / "clear.png")
    group = Image.new("RGB", (1200, 640), (200, 210, 220))
    for place, name in enumerate(("afro", "curls")):
        group.paste(face[name].resize((512, 512)), (60 + 580 * place, 64))
    group.save(folder / "group.png")
    small = Image.new("RGB", (400, 400), (200, 210, 220))
    small.paste(face["afro"].resize((150, 150)), (120, 120))
    small.save(folder / "small.png")
    face["red-bob"].resize((512, 512)).filter(ImageFilter.GaussianBlur(7)).save(folder / "blurred.png")
    face["cap"].crop((60, 40, 200, 250)).resize((420, 630)).save(folder / "cut.png")
    Image.new("RGB", (300, 300), "teal").save(folder / "wall.png")
    (folder / "broken.jpg").write_bytes((EXAMPLES / "cap.jpg").read_bytes()[:900])
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    shutil.copy(folder / "light.png", folder / "more" / "the same.png")
    rows = [("file", "licence", "source", "author", "caption")]
    rows += [("light.png", "CC0", "https://a.example/1", "Ada", "a woman with white hair")]
    rows += [("dark", "CC BY 4.0", "", "", ""), ("group.png", "", "", "Bo", "two women")]
    with open(folder / "licences.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "turned.json").write_text(json.dumps({"license": "mine", "url": "https://b.example"}))
    return folder


@pytest.fixture(scope="module")
def built(photos, tmp_path_factory) -> tuple[Path, str]:
    """The data set, and what was said of it."""
    out = tmp_path_factory.mktemp("built") / "data"
    faces = build(photos, out, SETTINGS, load=StandIn)
    return out, "\n".join(summary(faces, out))


def test_faces_are_found_read_twice_and_taken_where_the_parsers_agree(built):
    out, said = built
    taken = {line["photo"]: line for line in lines(out / "metadata.jsonl")}
    assert set(taken) == {"light.png", "turned.jpg", "clear.png", "group.png"}
    assert sum(line["photo"] == "group.png" for line in lines(out / "metadata.jsonl")) == 2
    for line in lines(out / "metadata.jsonl"):
        picture = np.asarray(Image.open(out / line["file_name"]))
        name = Path(line["file_name"]).name
        first, second = (StandIn(which).label_map(picture) for which in SETTINGS.parsers)
        same = sum(one == other for one, other in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
        assert line["agreement"] == pytest.approx(same / first.size, abs=1e-4) and line["agreement"] >= 0.8
        chosen = SETTINGS.parsers[not takes_first(Path(name).stem, seed=0, share=0.9)]
        assert line["parser"] == chosen
        assert np.array_equal(
            read_label_map(out / "masks" / name).label_map, {"first": first, "second": second}[chosen]
        )
    report = check(out)
    assert report.usable and report.pairs == 5
    assert "to correct                  1" in said and "--correct" in said

    (waiting,) = (out / "correction" / "faces").iterdir()
    maps = [read_label_map(out / "correction" / which / waiting.name).label_map for which in SETTINGS.parsers]
    assert waiting.name.startswith("more-dark-") and (maps[0] == maps[1]).mean() < 0.8


def test_what_is_known_of_a_photo_goes_with_its_faces(built):
    out, said = built
    known = {line["photo"]: line for line in lines(out / "metadata.jsonl")}
    told = [known["light.png"][key] for key in ("licence", "source", "author", "text")]
    assert told == ["CC0", "https://a.example/1", "Ada", "a woman with white hair"]
    assert (known["turned.jpg"]["licence"], known["turned.jpg"]["source"]) == ("mine", "https://b.example")
    assert known["clear.png"]["licence"] is None and "without a licence           3" in said
    assert known["group.png"]["author"] == "Bo" and known["group.png"]["text"] == ""  # which of the two?
    record = json.loads(next((out / "records").glob("more-dark-*")).read_text())
    assert record["licence"] == "CC BY 4.0"
    (light,) = (line for line in lines(out / "metadata.jsonl") if line["photo"] == "light.png")
    left, top, right, bottom = light["box"]
    assert 0 < left < right < 256 and 0 < top < bottom < 256 and light["to_photo"] == [[1, 0, 0], [0, 1, 0]]


def test_what_is_left_out_is_named_with_the_reason(built):
    out, said = built
    why = {line["photo"]: line["why"] for line in lines(out / "left-out.jsonl")}
    expected = {
        "small.png": "left out: too small", "blurred.png": "left out: too blurred", "cut.png": "left out: cut off",
        "wall.png": "no face was found", "broken.jpg": "broken.jpg cannot be read", "phone.heic": "phone.heic",
        "more/the same.png": "the same file as light.png",
    }  # fmt: skip
    assert why.keys() == expected.keys()
    assert all(reason in why[photo] for photo, reason in expected.items())
    assert all(f"{photo}" in said for photo in expected)


def test_the_papers_rule_holds_over_a_thousand_names():
    names = [f"face-{number:08x}" for number in range(1000)]
    first = {name: takes_first(name, seed=0, share=0.9) for name in names}
    assert 870 <= Counter(first.values())[True] <= 930  # three standard deviations
    assert first == {name: takes_first(name, seed=0, share=0.9) for name in reversed(names)}
    assert first != {name: takes_first(name, seed=1, share=0.9) for name in names}
    assert all(takes_first(name, seed=0, share=1) for name in names)


def test_a_parser_in_the_mirror_swaps_sides():
    face = template_face(size=64)
    face[20, 60] = 15
    picture = np.zeros((64, 64, 3), np.uint8)

    class Fixed:
        def probabilities(self, pictures):
            return [(face[None] == np.arange(19)[:, None, None]).astype(np.float32)]

    (seen,) = Mirrored(Fixed()).probabilities([picture])
    own = seen.argmax(0)
    assert own[20, 3] == 15 and own[20, 60] != 15
    assert [np.where(own == one)[1].mean() > 32 for one in (4, 5)] == [True, False]  # still the subject's left


@pytest.fixture
def quick(monkeypatch, tmp_path) -> Path:
    """Three photos, of which one goes on the list, without a detector."""
    points = np.array([(98, 122), (158, 122), (128, 150), (104, 182), (152, 182)], float)
    face = Face(np.array([40.0, 30, 216, 240]), points, 1.0)
    monkeypatch.setattr(build_data, "find_faces", lambda photo: [face])
    noise = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name, corner in (("a", 250), ("b", 20), ("c", 240)):
        picture = noise.integers(0, 255, (256, 256, 3), np.uint8)
        picture[:60, :60] = corner
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), picture)
    return tmp_path / "photos"


class Killed(BaseException):
    pass


def test_a_killed_run_goes_on_to_the_same_end_and_reads_no_face_twice(quick, tmp_path, monkeypatch):
    replace = os.replace
    (quick / "c.png").unlink()
    build(quick, tmp_path / "whole", SETTINGS, load=StandIn)
    whole = snapshot(tmp_path / "whole")
    assert {Path(path).parts[0] for path in whole} >= {"faces", "masks", "correction", "records"}
    for moment in count():
        out, left, parsers = tmp_path / f"killed-{moment}", [moment], []

        def killed(*paths, left=left):
            left[0] -= 1
            if left[0] < 0:  # and nothing is written after it
                raise Killed
            replace(*paths)

        def load(name, parsers=parsers):
            parsers.append(StandIn(name))
            return parsers[-1]

        monkeypatch.setattr(os, "replace", killed)
        try:
            build(quick, out, SETTINGS, load=StandIn)
        except Killed:
            pass
        else:
            break
        finally:
            monkeypatch.setattr(os, "replace", replace)
        done = len(list((out / "records").glob("*.json"))) if out.exists() else 0
        build(quick, out, SETTINGS, load=load)
        assert snapshot(out) == whole, moment
        assert [parser.read for parser in parsers] == [2 - done] * (2 if done < 2 else 0)
    assert moment > 10


def test_a_second_run_adds_what_it_lacked_and_refuses_other_settings(quick, tmp_path, monkeypatch):
    out = tmp_path / "data"
    build(quick, out, SETTINGS, load=StandIn)
    before = snapshot(out)
    (quick / "photos.jsonl").write_text('{"file": "a.png", "license": "CC0"}\n{"file": "b.png", "text": "a face"}\n')
    shutil.copy(quick / "a.png", quick / "0.png")
    captions = iter(["a red face", "a blue face"])
    faces = build(quick, out, SETTINGS, load=StandIn, caption=lambda crop: next(captions))
    texts = {photo.photo: photo.faces[0].text for photo in faces.photos.values()}
    assert texts == {"a.png": "a red face", "b.png": "a face", "c.png": "a blue face"}
    (a,) = (line for line in lines(out / "metadata.jsonl") if line["photo"] == "a.png")
    assert (a["licence"], a["text"]) == ("CC0", "a red face")
    assert lines(out / "left-out.jsonl") == [{"photo": "0.png", "why": "the same file as a.png"}]
    after = snapshot(out)
    assert all(after[path] == before[path] for path in before if path.endswith(".png"))

    with pytest.raises(ValueError, match=r"was begun with seed 0\. Ask for the same, or choose another --out"):
        build(quick, out, BuildSettings(parsers=("first", "second"), min_side=200, seed=1), load=StandIn)
    with pytest.raises(ValueError, match="Name two that differ"):
        BuildSettings(parsers=("mini", "mini"))
    (quick / "photos.jsonl").write_text('{"license": "CC0"}\n')
    with pytest.raises(ValueError, match=r"photos\.jsonl must tell file, .*not every entry has a file"):
        build(quick, out, SETTINGS, load=StandIn)


def test_files_of_others_are_kept_and_a_misspelt_setting_binds_nothing(quick, tmp_path):
    """A folder that has a metadata.jsonl of its own, the folder of the photos; a parser or a share that is none."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "metadata.jsonl").write_text("one's own")
    before = snapshot(tmp_path)
    with pytest.raises(
        ValueError, match=r"data is no data set of .*, and holds metadata\.jsonl\. Choose another --out"
    ):
        build(quick, tmp_path / "data", SETTINGS, load=StandIn)
    with pytest.raises(ValueError, match="would hold photos and the faces made of them"):
        build(quick, quick, SETTINGS, load=StandIn)
    assert snapshot(tmp_path) == before
    for wrong in ({"agreement": 80}, {"max_outside": -1}, {"agreement": float("nan")}):
        with pytest.raises(ValueError, match="is a share from 0 to 1"):
            BuildSettings(**wrong)
    with pytest.raises(ValueError, match="are from 0, got 256 and nan"):
        BuildSettings(min_sharpness=float("nan"))

    def missing(name):
        raise ValueError(f"There is no parser {name}.")

    with pytest.raises(ValueError, match="There is no parser forst"):
        build(quick, quick / "set", BuildSettings(parsers=("forst", "second")), load=missing)
    assert build(quick, quick / "set", SETTINGS, load=StandIn).photos
    with pytest.raises(ValueError, match="was begun with parsers"):
        build(quick, quick / "set", BuildSettings(parsers=("forst", "second"), min_side=200), load=StandIn)
    assert len(build(quick, tmp_path / "other", SETTINGS, load=StandIn).photos) == 3  # without those of the set


def test_a_taken_map_that_check_would_refuse_goes_on_the_list(quick, tmp_path):
    class Bald(StandIn):
        def label_map(self, picture):
            return np.where(template_face(size=256) == 1, 0, template_face(size=256))

    faces = build(quick, tmp_path / "data", SETTINGS, load=Bald)
    assert {face.state for face in faces.faces()} == {"to correct"}
    assert all("no skin" in face.why and face.agreement == 1 for face in faces.faces())


def test_the_command_builds_with_the_bundled_parser_and_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    shutil.copy(EXAMPLES / "cap.jpg", tmp_path / "photos")
    command = ["build", str(tmp_path / "photos"), "--out", str(tmp_path / "data"), "--parsers", "mini", "mini:mirrored"]
    assert main([*command, "--captioner", "none"]) == 0
    assert "taken                       1" in capsys.readouterr().out
    (line,) = lines(tmp_path / "data" / "metadata.jsonl")
    assert line["agreement"] > 0.95 and line["parser"].startswith("mini")
    assert main(["check", str(tmp_path / "data")]) == 0
    capsys.readouterr()
    assert main([*command, "--captioner", str(tmp_path / "nothing")]) == 2
    assert "cannot caption" in capsys.readouterr().err
    assert main(["build", str(tmp_path / "none"), "--out", str(tmp_path / "data"), "--captioner", "none"]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_a_captioning_model_of_transformers_captions(tmp_path):
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "woman", "with", "red", "hair"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"), bos_token="[DEC]")
    processor = BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer)
    processor.save_pretrained(tmp_path)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    text = {"vocab_size": len(words), "encoder_hidden_size": 16, "bos_token_id": 5, "eos_token_id": 3}
    config = BlipConfig(
        text_config={**small, **text, "sep_token_id": 3, "pad_token_id": 0},
        vision_config={**small, "image_size": 32, "patch_size": 8},
    )
    model = BlipForConditionalGeneration(config)
    with torch.no_grad():  # says "red" whatever it sees, and does not end
        model.text_decoder.cls.predictions.bias[words.index("red")] = 100
    model.save_pretrained(tmp_path)
    caption = load_captioner(tmp_path)(np.zeros((40, 50, 3), np.uint8))
    assert set(caption.split()) == {"red"}
