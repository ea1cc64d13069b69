import base64
import io
import json
import tracemalloc
import zlib
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from facemogle.labels import NUM_CLASSES
from facemogle.picture_files import MAX_PIXELS, MAX_SEED, VERSION, Settings, read_settings, write_picture


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 6, 3), np.uint8))


@pytest.fixture
def settings() -> Settings:
    return Settings(
        prompt='a "woman"\n with 頭 \0 \ud800',
        label_map=np.random.default_rng(0).integers(0, NUM_CLASSES, (9, 13)).astype(np.uint8),
        seed=MAX_SEED,
        num_inference_steps=12,
        guidance_scale=0.1 + 0.2,
        condition_scale=1 / 3,
        height=8,
        width=6,
        expert_scale={"hair": 0.0, "global": 1e-300},
        checkpoint="mini",
    )


def _written(image: Image.Image, settings: Settings) -> io.BytesIO:
    file = io.BytesIO()
    write_picture(file, image, settings)
    file.seek(0)
    return file


def _fields(image: Image.Image, settings: Settings) -> dict:
    return json.loads(Image.open(_written(image, settings)).info["facemogle"])


def _with_text(image: Image.Image, text: str, **options) -> io.BytesIO:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("facemogle", text, **options)
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=info)
    file.seek(0)
    return file


def _same(one: Settings, other: Settings) -> bool:
    maps = [vars(settings)["label_map"] for settings in (one, other)]
    alike = vars(one) | {"label_map": None} == vars(other) | {"label_map": None}
    return alike and (maps[0] is maps[1] is None or (maps[0].dtype == maps[1].dtype and np.array_equal(*maps)))


def test_round_trip_is_exact(image, settings, tmp_path):
    for number, written in enumerate((settings, replace(settings, label_map=None, expert_scale=None))):
        path = tmp_path / f"{number}.png"
        write_picture(path, image, written)
        assert _same(read_settings(path), written)
        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.tobytes() == image.tobytes()
    assert _same(read_settings(_written(image, settings)), settings)


def test_a_jpeg_carries_the_same_of_any_length(image, settings, tmp_path):
    noise = np.random.default_rng(0).integers(0, NUM_CLASSES, (512, 512), np.uint8)  # over three comments' length
    for written in (settings, replace(settings, label_map=noise), replace(settings, label_map=None)):
        write_picture(tmp_path / "face.jpg", image, written, format="JPEG")
        assert _same(read_settings(tmp_path / "face.jpg"), written)
        with Image.open(tmp_path / "face.jpg") as picture:
            assert picture.format == "JPEG" and b"trainedAlgorithmicMedia" in picture.info["xmp"]
            plain = io.BytesIO()
            image.save(plain, format="JPEG")
            assert picture.tobytes() == Image.open(plain).tobytes()
    data = (tmp_path / "face.jpg").read_bytes()
    with pytest.raises(ValueError, match=r"settings in .* cannot be read"):
        read_settings(io.BytesIO(data.replace(b'"seed": ', b'"sead": ')))


def test_an_integer_scale_comes_back_as_the_same_number(image, settings):
    again = read_settings(_written(image, replace(settings, guidance_scale=3, expert_scale={"hair": np.float64(2)})))
    assert again.guidance_scale == 3 and again.expert_scale == {"hair": 2}


def test_the_largest_label_map(image, settings):
    label_map = np.random.default_rng(0).integers(0, NUM_CLASSES, (4096, 4096), np.uint8)
    again = read_settings(_written(image, replace(settings, label_map=label_map)))
    assert np.array_equal(again.label_map, label_map)


def test_it_says_that_it_is_generated(image, settings):
    packet = Image.open(_written(image, settings)).info["XML:com.adobe.xmp"]
    (description,) = ElementTree.fromstring(packet.encode()).iter(
        "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    )
    assert description.get("{http://ns.adobe.com/xap/1.0/}CreatorTool") == "Face-MoGLE"
    source = description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert source == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_without_settings(format, image):
    file = io.BytesIO()
    image.save(file, format=format)
    file.seek(0)
    assert read_settings(file) is None


def test_no_picture(image, settings, tmp_path):
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ValueError, match=r"text\.png is not a picture"):
        read_settings(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError):
        read_settings(tmp_path / "none.png")


@pytest.mark.parametrize("place", [0, 40, -40])
def test_a_flipped_bit_in_the_settings_is_seen(place, image, settings):
    data = bytearray(_written(image, settings).getvalue())
    start, end = data.index(b"facemogle"), data.index(b"IDAT")
    data[start + place if place >= 0 else end + place] ^= 4
    with pytest.raises(ValueError, match=r"cannot be read|is not a picture"):
        read_settings(io.BytesIO(data))


def test_a_cut_file_is_seen_unless_the_settings_are_whole(image, settings):
    data = _written(image, settings).getvalue()
    start, end = data.index(b"facemogle"), data.index(b"IDAT")
    for length in (5, start + 20, end - 20):
        with pytest.raises(ValueError, match=r"cannot be read|is not a picture"):
            read_settings(io.BytesIO(data[:length]))
    assert _same(read_settings(io.BytesIO(data[: end + 8])), settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a portrait", "cannot be read: Expecting value"),
        ("[1]", r"must be a JSON object, got '\[1\]'"),
        ("{}", "version must be a whole number from 1, got 'None'"),
        ('{"version": true}', "version must be a whole number"),
        (f'{{"version": {VERSION}, "title": "a"}}', "unexpected keyword argument 'title'"),
        (f'{{"version": {VERSION}}}', "missing 10 required"),
        (f'{{"version": {VERSION + 1}, "light": 3}}', f"version {VERSION + 1} is newer than {VERSION}"),
        ("[" * 100_000, "cannot be read"),
        ("9" * 5000, "cannot be read"),
    ],
)
def test_foreign_and_newer_settings(text, message, image):
    with pytest.raises(ValueError, match=message):
        read_settings(_with_text(image, text))


def test_a_bomb_in_the_chunk_itself(image):
    with pytest.raises(ValueError, match="cannot be read"):
        read_settings(_with_text(image, " " * 2_000_000, zip=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": None}, "prompt must be text"),
        ({"checkpoint": 3}, "checkpoint must be text"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"seed": MAX_SEED + 1}, "seed must be a whole number"),
        ({"seed": 1.0}, "seed must be a whole number"),
        ({"num_inference_steps": 0}, "num_inference_steps must be"),
        ({"num_inference_steps": 10**9}, "num_inference_steps must be"),
        ({"height": 0}, "height must be"),
        ({"height": 4096, "width": 4097}, "width must be a whole number from 1 to 4096"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a number"),
        ({"guidance_scale": "3"}, "guidance_scale must be a number"),
        ({"guidance_scale": 10**400}, "guidance_scale must be a number"),
        ({"condition_scale": -0.5}, "condition_scale must be a number from 0"),
        ({"condition_scale": True}, "condition_scale must be a number"),
        ({"expert_scale": ["hair"]}, "names with factors"),
        ({"expert_scale": {"beard": 1}}, r"no experts of this model: \['beard'\]"),
        ({"expert_scale": {"hair": -1}}, "expert_scale of hair"),
        ({"expert_scale": {"hair": float("inf")}}, "expert_scale of hair"),
    ],
)
def test_values_out_of_range(changes, message, image, settings):
    with pytest.raises(ValueError, match=message):
        replace(settings, **changes)
    with pytest.raises(ValueError, match=f"The settings in the picture cannot be read: .*{message}"):
        read_settings(_with_text(image, json.dumps(_fields(image, settings) | changes)))


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        (np.full((4, 4), 19), "class ids 0 to 18 .* got '.19.'"),
        (np.full((4, 4), -1), "got '.-1.'"),
        (np.zeros((4, 4, 3), np.uint8), r"got 'uint8 of shape \(4, 4, 3\)'"),
        (np.zeros((4, 4)), "got 'float64"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\)"),
        (np.zeros((4097, 4096), np.uint8), f"at most {MAX_PIXELS} pixels"),
    ],
)
def test_what_is_no_label_map(label_map, message, settings):
    with pytest.raises(ValueError, match=message):
        replace(settings, label_map=label_map)


def _packed(values: bytes, shape: list) -> dict:
    return {"shape": shape, "zlib": base64.b64encode(zlib.compress(values)).decode()}


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (_packed(b"\x13" * 6, [2, 3]), "got '.19.'"),
        (_packed(bytes(5), [2, 3]), "not the 6 pixels of its shape"),
        (_packed(bytes(7), [2, 3]), "not the 6 pixels of its shape"),
        (_packed(bytes(6), [2, 3, 1]), "shape of two sides"),
        (_packed(bytes(6), [-2, -3]), "shape of two sides"),
        (_packed(bytes(6), [2.0, 3]), "shape of two sides"),
        (_packed(bytes(6), [4097, 4096]), "too large"),
        ({"shape": [2, 3]}, "label map is damaged"),
        ({"shape": [2, 3], "zlib": 5}, "label map is damaged"),
        ({"shape": [2, 3], "zlib": "?"}, "label map is damaged"),
        ({"shape": [2, 3], "zlib": "頭"}, "label map is damaged"),
        ({"shape": [2, 3], "zlib": "AAAA"}, "label map is damaged"),
        ({"shape": [2, 3], "zlib": base64.b64encode(zlib.compress(bytes(6))[:-2]).decode()}, "label map is damaged"),
        ("map", "shape of two sides"),
    ],
)
def test_damaged_label_maps(packed, message, image, settings):
    with pytest.raises(ValueError, match=f"The settings in the picture cannot be read: .*{message}"):
        read_settings(_with_text(image, json.dumps(_fields(image, settings) | {"label_map": packed})))


def test_a_bomb_is_not_unpacked(image, settings):
    """200 MB behind a shape of 6 pixels."""
    fields = _fields(image, settings) | {"label_map": _packed(bytes(200_000_000), [2, 3])}
    file = _with_text(image, json.dumps(fields))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="not the 6 pixels"):
            read_settings(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
