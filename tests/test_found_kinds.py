"""Kinds of input that used to pass without a word, or were blamed on something else, on the ways in that they take."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from facemogle.checkpoints import CheckpointError, load_pipeline
from facemogle.label_files import read_label_map
from facemogle.labels import PALETTE, colours_in
from facemogle.parsing.photos import PhotoError, read_photo
from facemogle.region_files import read_region
from facemogle.ui import api
from facemogle.words import without_marks
from train.data import check


@pytest.fixture(scope="module")
def truth(assets) -> np.ndarray:
    return read_label_map(assets / "examples" / "red-bob.png").label_map


@pytest.fixture(scope="module")
def assets(request):
    return request.config.rootpath / "assets"


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_map_on_white_has_a_background(tmp_path, truth, ending):
    file = tmp_path / f"map.{ending}"
    Image.fromarray(np.where((truth == 0)[..., None], np.uint8(255), PALETTE[truth])).save(file, quality=90)
    reading = read_label_map(file)
    assert (reading.label_map == truth).mean() > (0.95 if ending == "jpg" else 0.9999)
    assert "White is taken for background." in reading.messages


def test_a_region_in_a_colour_far_from_all_is_no_class(tmp_path, truth):
    Image.fromarray(np.where((truth == 0)[..., None], np.uint8(140), PALETTE[truth])).save(tmp_path / "map.png")
    with pytest.raises(ValueError, match=r"map.png has colours that are not the palette's, such as #8c8c8c"):
        read_label_map(tmp_path / "map.png")


def test_a_photograph_on_white_stays_a_photograph(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    photo[:, :80] = 255
    Image.fromarray(photo).save(tmp_path / "photo.png")
    with pytest.raises(ValueError, match="is a photograph"):
        read_label_map(tmp_path / "photo.png")


def test_one_part_alone_is_said_and_learned_from_by_nobody(tmp_path, truth):
    for folder in ("face", "mask"):
        (tmp_path / folder).mkdir()
    Image.fromarray(truth * 9).save(tmp_path / "face" / "0.jpg")
    Image.fromarray((truth > 0).astype(np.uint8)).save(tmp_path / "mask" / "0.png")
    (doubt,) = read_label_map(tmp_path / "mask" / "0.png").doubts
    assert "holds skin alone" in str(doubt)
    with pytest.raises(ValueError, match=r"holds skin alone.*pass classes as"):
        api.read_map(str(tmp_path / "mask" / "0.png"), "")
    assert not check(tmp_path).usable


def test_of_several_pictures_a_map_is_the_first_and_a_region_is_none(tmp_path, truth):
    first, second = (Image.fromarray(array) for array in (truth, truth[::-1].copy()))
    for name in ("map.tif", "map.gif"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        reading = read_label_map(tmp_path / name)
        assert (reading.label_map == truth).all() and "It holds 2 pictures; the first is read." in reading.messages
        with pytest.raises(ValueError, match=rf"{name} .*2 pictures"):
            read_region(tmp_path / name)


@pytest.mark.parametrize("colours", [2, 256])
def test_colours_are_counted_over_runs(colours):
    picture = np.random.default_rng(0).integers(0, colours, (9, 7, 3)).astype(np.uint8)
    found, inverse, counts = colours_in(picture)
    assert (found[inverse] == picture).all() and len(np.unique(found, axis=0)) == len(found)
    assert (counts == np.bincount(inverse.ravel())).all()


@pytest.mark.parametrize(
    ("prompt", "plain", "marks"),
    [
        ("a (woman:1.3), [red] hair", "a woman, [red] hair", 1),
        ("(((a woman:1.2) with ((red)) hair:1.3))", "(a woman with red hair)", 3),
        ("((red) hair:.5) <lora:ink:0.8>", "(red) hair", 2),
        ("smiling (a little), 4:3 (16:9) (a: b", "smiling (a little), 4:3 (16:9) (a: b", 0),
        ("((( [[", "((( [[", 0),
    ],
)
def test_weights_in_a_prompt_are_dropped(prompt, plain, marks):
    assert without_marks(prompt)[0] == plain and len(without_marks(prompt)[1]) == marks


def test_brackets_without_end_are_read_in_a_moment():
    assert len(without_marks("(" * 10_000 + "a:1)" * 2_500)[1]) > 0


def test_what_is_dropped_of_a_prompt_is_said(assets):
    pipeline = load_pipeline("mini", device="cpu")
    reading = pipeline.read_prompt("a woman with (red hair:-1) <lora:ink:0.8>")
    assert reading.unknown == {}
    loading, weights = reading.notes()
    assert "<lora:ink:0.8>" in loading and "--lora" in loading and "(red hair:-1)" in weights
    plain, marked = (
        pipeline.encode_prompt([prompt], max_sequence_length=32)[0]
        for prompt in ("a woman with red hair", "a woman with (red hair:-1) <lora:ink:0.8>")
    )
    assert torch.equal(plain, marked)


def test_loras_of_other_kinds_and_of_nan_are_refused_by_name(tmp_path, assets):
    weights = load_file(assets / "mini" / "pytorch_lora_weights.safetensors")
    of_b = {key: tensor for key, tensor in weights.items() if "lora_B" in key}
    for part in ("lora_magnitude_vector.weight", "dora_scale"):
        lengths = {key.replace("lora_B.weight", part): torch.ones(len(tensor)) for key, tensor in of_b.items()}
        save_file(weights | lengths, tmp_path / "dora.safetensors")
        with pytest.raises(CheckpointError, match=r"dora.safetensors is a DoRA.*plain LoRA"):
            load_pipeline("mini", loras=[tmp_path / "dora.safetensors"], device="cpu")
    save_file({key: tensor * float("nan") for key, tensor in weights.items()}, tmp_path / "nan.safetensors")
    with pytest.raises(CheckpointError, match=r"nan.safetensors holds NaN or infinity"):
        load_pipeline("mini", loras=[tmp_path / "nan.safetensors"], device="cpu")


@pytest.mark.parametrize("content", [b"", b"GGUF\x03\0\0\0" + bytes(5), b"<html>" * 99])
def test_a_gguf_cut_short_is_named_before_anything_is_fetched(tmp_path, content):
    pytest.importorskip("gguf")
    (tmp_path / "flux.gguf").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"flux.gguf of {len(content)} bytes is no GGUF file, or is cut short"
    ) as e:
        load_pipeline(tmp_path / "flux.gguf", device="cpu")
    assert "licence" not in str(e.value)


def test_captions_in_a_file_that_is_broken_are_no_missing_captions(tmp_path, truth):
    for folder, ending in (("face", "jpg"), ("mask", "png")):
        (tmp_path / folder).mkdir()
        Image.fromarray(truth).save(tmp_path / folder / f"0.{ending}")
    good = json.dumps({"file_name": "face/0.jpg", "text": "a man"})
    for lines in (good + "\n{broken", '{"text": "a man"}', '{"file_name": "face/0.jpg", "text": 7}'):
        (tmp_path / "metadata.jsonl").write_text(lines)
        with pytest.raises(ValueError, match=r"metadata.jsonl must map"):
            check(tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "face/0.jpg", "age": 7}')
    assert check(tmp_path).usable


def test_a_photo_as_phones_take_them_is_upright_and_in_its_colours(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = Image.new("RGB", (96, 64), (200, 40, 30))
    picture.paste((30, 60, 200), (0, 0, 32, 64))  # to the left
    turn = Image.Exif()
    turn[274] = 6  # to be turned a quarter clockwise
    pillow_heif.from_pillow(picture).save(tmp_path / "IMG_1.HEIC", quality=90, exif=turn.tobytes())
    photo = read_photo(tmp_path / "IMG_1.HEIC").astype(int)
    upright = np.asarray(picture.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert photo.shape == (96, 64, 3) and np.abs(photo - upright).mean() < 6


def test_without_the_package_such_a_photo_is_named_with_the_remedy(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (64, 64))).save(tmp_path / "IMG_1.HEIC")
    for known in (Image.OPEN, Image.MIME, Image.EXTENSION):
        monkeypatch.delitem(known, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(PhotoError, match=r"IMG_1.HEIC is a HEIC picture.*pip install pillow-heif"):
        read_photo(tmp_path / "IMG_1.HEIC")
