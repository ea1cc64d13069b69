"""A picture gives its settings back; anything else gets a message that helps."""

import base64
import io
import re
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from facemogle.picture_files import Settings, write_picture
from facemogle.templates import template_face
from facemogle.ui.picture_drop import component
from facemogle.ui.picture_drop.component import MAX_FILE_BYTES, PictureDrop, encode, open_picture

FOLDER = Path(component.__file__).parent
SETTINGS = Settings(
    prompt='a "woman" 頭',
    label_map=template_face(size=200),
    seed=2**40 + 1,
    num_inference_steps=12,
    guidance_scale=3.5,
    condition_scale=1 / 3,
    height=48,
    width=64,
    expert_scale={"hair": 0.0, "global": 0.3},
    checkpoint="mini",
)


def base64_of(contents: bytes) -> str:
    return base64.b64encode(contents).decode()


def picture(settings: Settings | None) -> bytes:
    """A PNG of noise, with settings or without."""
    file, image = io.BytesIO(), Image.effect_noise((64, 48), 60).convert("RGB")
    if settings is None:
        image.save(file, format="PNG")
    else:
        write_picture(file, image, settings)
    return file.getvalue()


def same(one: Settings, other: Settings) -> bool:
    maps = one.label_map, other.label_map
    alike = vars(one) | {"label_map": None} == vars(other) | {"label_map": None}
    return alike and maps[0].dtype == maps[1].dtype and np.array_equal(*maps)


def test_a_picture_gives_its_settings_exactly():
    drop = PictureDrop()
    assert same(drop.preprocess(base64_of(picture(SETTINGS))), SETTINGS)
    answer = open_picture({"name": "face.png", "file": base64_of(picture(SETTINGS))})
    assert same(drop.preprocess(answer["ok"]), SETTINGS)
    assert answer["message"] == f"Settings from face.png: seed {2**40 + 1}, 12 steps."
    assert drop.preprocess(None) is drop.preprocess("") is drop.postprocess(None) is None
    assert same(drop.preprocess(drop.postprocess(SETTINGS)), SETTINGS)


def test_the_page_keeps_the_settings_and_not_the_picture():
    large = io.BytesIO()
    write_picture(large, Image.effect_noise((1024, 1024), 60), SETTINGS)
    answer = open_picture({"name": "face.png", "file": base64_of(large.getvalue())})
    assert answer["ok"] == encode(SETTINGS)
    assert len(answer["ok"]) < 8000 < len(large.getvalue()) / 50


REFUSED = {
    "text": (b"a text file named .png", "face.png is not a picture"),
    "no settings": (picture(None), "face.png has no settings in it.*Open in the label editor loads label maps"),
    "truncated": (picture(SETTINGS)[:400], "face.png cannot be read"),
    "damaged": (picture(SETTINGS).replace(b'"seed"', b'"sned"'), "face.png"),
    "too large": (bytes(MAX_FILE_BYTES + 3), "face.png is larger than 32 MB"),
}


@pytest.mark.parametrize(("contents", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_settings_is_refused_in_words(contents, message):
    answer = open_picture({"name": "face.png", "file": base64_of(contents)})
    assert re.match(f"Not restored: {message}", answer["error"])
    assert set(answer) == {"error"}
    with pytest.raises(gr.Error, match=message.replace("face.png", "The picture")):
        PictureDrop().preprocess(base64_of(contents))


@pytest.mark.parametrize(
    "forged", [None, 3, [], {}, {"name": "x"}, {"file": 7}, {"file": ""}, {"name": [1], "file": "%"}], ids=str
)
def test_forged_calls_are_refused(forged):
    assert open_picture(forged)["error"].startswith("Not restored: ")
    if forged is not None:
        with pytest.raises(gr.Error):
            PictureDrop().preprocess(forged)


def test_a_file_of_exactly_the_largest_size_is_read():
    largest = picture(SETTINGS).ljust(MAX_FILE_BYTES, b"\0")  # what follows a PNG's end is passed over
    assert "ok" in open_picture({"name": "face.png", "file": base64_of(largest)})


def test_long_names_do_not_flood_the_message():
    assert len(open_picture({"name": "x" * 10**6, "file": ""})["error"]) < 300


def test_the_component_leaves_no_stub_beside_its_source():
    assert not list(FOLDER.glob("*.pyi"))


@pytest.mark.parametrize("name", ["drop.html", "drop.css"])
def test_templates_survive_gradios_two_template_engines(name):
    assert not re.search(r"`|\$\{|\{\{|\}\}|\\", (FOLDER / name).read_text("utf-8"))
