"""What is told while a prompt is typed, and of what went wrong."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from facemogle.labels import CLASS_ID, NAMES
from facemogle.masks import resize_nearest
from facemogle.templates import PARTS, add_part, template_face
from facemogle.ui import api, failures, handlers
from facemogle.ui.label_editor import component as label_editor
from facemogle.ui.picture_drop import component as picture_drop
from facemogle.ui.prompt_notes.component import WORN, named, read
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.visit import Visit
from facemogle.weight_files import CheckpointError

FACE = template_face(size=64)


@pytest.fixture
def provider(pipeline):
    return PipelineProvider("tiny: random weights", lambda: pipeline, checkpoint="tiny")


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("a man with a black hat", ["hat"]),
        ("A woman in sunglasses, with Earrings", ["eyeglasses", "earring"]),
        ("a man without a hat, no glasses", []),
        ("a woman wearing no black hat but a necklace", ["necklace"]),
        ("a hat, and not a cap", ["hat"]),
        ("that chatty caption", []),
        ("", []),
    ],
)
def test_what_one_wears_is_read_from_a_prompt(prompt, names):
    assert named(prompt) == [CLASS_ID[name] for name in names]


def test_a_prompt_is_read_by_the_checkpoint(provider, monkeypatch):
    assert read(provider, None) == {"unknown": [], "named": [], "count": "", "full": False}
    reading = SimpleNamespace(
        unknown={"blond": "blonde", "xyzzy": None},
        tokens=9,
        limit=7,
        unit="word",
        cut="red hair",
        cut_start=lambda: "red",
        dropped=lambda: ["Weights count nothing."],
    )
    provider.get()
    monkeypatch.setattr(type(provider.get()), "read_prompt", lambda self, prompt: reading, raising=False)
    notes = read(provider, "a blond xyzzy with a hat and red hair")
    assert notes["unknown"] == [("blond", "blonde"), ("xyzzy", None)]
    assert notes["count"] == "9 of 7 words; “red” is not read. Weights count nothing"
    assert (notes["full"], notes["named"]) == (True, [CLASS_ID["hat"]])
    reading.cut = ""
    assert read(provider, "a face")["count"] == "9 of 7 words. Weights count nothing"
    assert read(provider, "a face " * 2000)["count"].startswith("over 9 of 7 words")  # the rest is not looked at
    loading = SimpleNamespace(loading=True, failure=None)
    assert read(loading, "a hat")["named"] == [CLASS_ID["hat"]]


def test_every_part_that_one_wears_can_be_drawn():
    assert set(PARTS) == set(WORN)
    for name in PARTS:
        with_it = add_part(FACE, name)
        assert (with_it == CLASS_ID[name]).any()
        assert set(np.unique(with_it)) - set(np.unique(FACE)) == {CLASS_ID[name]}
        assert with_it.dtype == FACE.dtype
    with pytest.raises(ValueError, match="There is no part 'nose'"):
        add_part(FACE, "nose")


def test_a_part_goes_where_the_face_is():
    small = np.zeros((128, 96), np.uint8)
    small[10:74, 30:94] = FACE
    hat, glasses = add_part(small, "hat") == CLASS_ID["hat"], add_part(small, "eyeglasses")
    rows, columns = np.nonzero(hat)
    assert 8 <= rows.min() < rows.max() < 45
    assert abs(columns.mean() - 62) < 3
    for eye in ("left_eye", "right_eye"):
        assert np.array_equal(glasses == CLASS_ID[eye], small == CLASS_ID[eye])
        assert (glasses == CLASS_ID["eyeglasses"])[small == CLASS_ID[eye]].sum() == 0
    on_nothing = add_part(np.zeros((64, 64), np.uint8), "hat")
    assert ((on_nothing == CLASS_ID["hat"]) ^ (add_part(FACE, "hat") == CLASS_ID["hat"])).mean() < 0.02


def test_a_hat_leaves_no_hair_above_it():
    hat = add_part(template_face("long hair", 128), "hat")
    assert not (hat[:36] == CLASS_ID["hair"]).any()


def test_a_change_of_nothing_is_explained_in_the_pages_words(provider):
    *_, (_, _, visit) = handlers.generate(provider, Visit(), FACE, "a face", 5, 1, 1, 3.5, 1, None)
    again = (FACE, "a face", 5, 1, 1, 3.5, 1, None, True)
    with pytest.raises(gr.Error, match=r"Nothing is free to change yet\. Repaint"):
        list(handlers.generate(provider, visit, *again, 1.0, visit.base, None))
    small = replace(visit.base, label_map=resize_nearest(FACE, 32, 32))  # the same map, of another size
    with pytest.raises(gr.Error, match="Nothing is free"):
        list(handlers.generate(provider, visit, *again, 0.5, small, None))
    region = np.zeros((64, 64), bool)
    region[:32] = True
    assert list(handlers.generate(provider, visit, *again, 1.0, visit.base, region))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("The label maps do not differ, so nothing would change. Pass edit_region to say what may."),
        ValueError("edit_region is False everywhere at 256x256: nothing could change."),
        ValueError("expert_scale mutes all experts. Leave one a factor above 0."),
        ValueError("Got both label_map and condition_tokens. Pass one of them."),
        FloatingPointError("The latents became NaN or infinite while sampling in torch.bfloat16. Use float32."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        KeyError("hair"),
        TypeError("'NoneType' object is not subscriptable"),
        ValueError(""),
    ],
)
def test_pythons_words_do_not_reach_the_page(error):
    said = failures.plain(error)
    assert said and not failures.speaks_python(said)
    assert not any(word in said for word in ("Pass", "torch", "NoneType", "CUDA"))


def test_a_file_that_is_read_into_an_error_of_ours_is_refused_in_plain_words(monkeypatch):
    def slip(*_, **__):
        raise TypeError("'NoneType' object is not subscriptable")

    monkeypatch.setattr(label_editor, "read_label_map", slip)
    monkeypatch.setattr(picture_drop, "read_settings", slip)
    file = {"name": "map.png", "file": "", "order": None}
    for answer in (label_editor.open_label_map(file), picture_drop.open_picture(file)):
        assert answer["error"].endswith(failures.OTHERWISE)


def test_a_program_is_told_what_happened_and_not_where():
    for error, said in {
        CheckpointError("mini needs vae.safetensors. Put it there."): r"mini needs vae\.safetensors\. Put it there\.",
        TypeError("'NoneType' object is not subscriptable"): failures.OTHERWISE,
        ValueError("/a/folder/photo.jpg is no picture."): r"^'photo\.jpg is no picture\.'$",
    }.items():
        with pytest.raises(gr.Error, match=said), api.explained("/a/folder/photo.jpg"):
            raise error


def test_a_visit_that_the_server_let_go_of_is_told_so():
    ((status, visit),) = handlers.look_again(lambda *_: pytest.fail("made again"), Visit())
    assert "failed" in status and "Reload the page" in status and visit is handlers.KEEP


def test_what_was_written_for_the_page_stays_as_it_is():
    for text in (
        "Seed must be a whole number from 0 to 9.",
        f"Class ids are 0 ({NAMES[0]}) to 18.",
        "Put w.safetensors there.",
    ):
        assert failures.plain(ValueError(text)) == text
