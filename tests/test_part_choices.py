"""Change this part: what the page sends, and what its handlers make of it."""

import io
import json
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from facemogle.labels import CLASS_ID
from facemogle.parsing.alignment import frame_square
from facemogle.parts import PARTS, parts_of
from facemogle.templates import template_face
from facemogle.ui.handlers import done
from facemogle.ui.part_picker import handlers
from facemogle.ui.part_picker.component import SUGGESTED, WITHOUT, PartPicker, Wish, to_change
from facemogle.ui.photo.held import Held, Origin
from facemogle.ui.run import Base, Edit, Request, Run, stream
from facemogle.ui.visit import Visit

PHOTO = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
FRAME = frame_square(PHOTO, 80, 40, 200)
FACE = template_face(size=128)
HOW = 3, 2, 3.5, 1.0, None, 1.0  # seed, steps, guidance, condition scale, expert scale, strength


@pytest.fixture
def base() -> Base:
    origin = Origin("me.jpg", Held(PHOTO), FRAME)
    return Base(Image.fromarray(FRAME.crop(PHOTO)), FACE, CLASS_ID["nose"] == FACE, origin=origin)


@pytest.fixture
def paint(pipeline):
    """As `generate` of a provider, without its queue."""

    def paint(
        visit, label_map, prompt, seed, count, steps, guidance, condition, scales, in_place, strength, base, region
    ):
        assert in_place and count == 1
        edit = Edit(base, region, strength)
        request = Request(prompt, label_map, seed, steps, guidance, condition, scales, edit=edit, previews=False)
        *_, run = stream(pipeline, request, checkpoint="tiny")
        assert isinstance(run, Run)
        yield "face", "made", visit.added(run)

    return paint


def changed(paint, visit: Visit, base: Base | None, wish: Wish) -> Visit:
    *_, (_, _, visit) = handlers.change_part(paint, visit, wish, base, *HOW)
    return visit


def test_what_the_page_sends():
    picker = PartPicker({})
    assert picker.preprocess({"part": "hair", "text": "red", "to": "", "nonce": 3}) == Wish("hair", "red")
    assert picker.preprocess({"part": "glasses", "text": "", "to": "face"}) == Wish("glasses", "", "face")
    assert picker.preprocess(None) is None
    wrong = [
        3, [], {}, {"part": "hair"}, {"part": "beak", "text": ""}, {"part": ["hair"], "text": ""},
        {"part": "hair", "text": 3}, {"part": "hair", "text": "a" * 3000}, {"part": "hair", "text": "", "to": "beak"},
        {"part": "hair", "text": "", "to": {}, "x": 1} | {"to": {"a": 1}},
    ]  # fmt: skip
    for payload in wrong:
        with pytest.raises(gr.Error):
            picker.preprocess(payload)
    assert set(SUGGESTED) | set(WITHOUT) | set(WITHOUT.values()) <= set(PARTS)


def test_a_part_is_changed_and_the_next_change_goes_on_from_there(paint, base):
    hair = changed(paint, Visit(), base, Wish("hair", "red"))
    assert hair.settings.prompt == "red hair" and hair.run.request.edit.base is base
    drawn, _ = handlers.to_be_changed(None, hair, None)
    assert len(drawn.origin.changes) == 1 and drawn.unsure.any()
    hat = changed(paint, hair, drawn, Wish("glasses", "round"))
    again, shown = handlers.to_be_changed(None, hat, None)
    assert CLASS_ID["eyeglasses"] in again.label_map and shown["undoable"] and shown["photo"]
    assert len(again.origin.changes) == 2 and again.origin.fades is drawn.origin.fades is False
    assert np.array_equal(base.origin.photo(), PHOTO)
    photos = [PHOTO, drawn.origin.photo(), again.origin.photo()]
    differ = [(one != other).any(-1) for one, other in pairwise(photos)]
    assert all(photo.shape == PHOTO.shape for photo in photos) and all(each.any() for each in differ)
    assert not differ[0][:40].any() and not differ[0][:, :80].any()  # beyond the crop
    _, shown = handlers.to_be_changed(None, changed(paint, hat, again, Wish("background", "blue")), None)
    assert "goes on beyond the crop of the face, and the change fades out there" in shown["fading"]
    joined, made, kept, map_of_it, said = handlers.join(hair, hat)
    assert joined.runs == (*hair.runs, hat.run) and kept is hat.run and made is None and said == done(joined)
    assert np.array_equal(map_of_it, hat.settings.label_map) and joined.base.picture is hat.face
    assert joined.showing().base.picture is drawn.picture  # once it is picked again, what it is a change of

    back, _, _, said = handlers.undo(hat)
    assert back.run is hair.run and "Made from prompt and map" in said
    back, editor, under, said = handlers.undo(back)
    assert back.run is None and under is base and np.array_equal(editor["value"], FACE)
    assert "before its changes" in said
    assert handlers.undo(back) == (handlers.KEEP,) * 4  # a second click keeps the picture
    assert handlers.to_be_changed(None, back, under)[0] is base

    saved = json.loads(handlers.save_photo(again)["saved"])
    path = Path(unquote(saved["address"].removeprefix("gradio_api/file=").partition("#")[0]))
    assert saved["file"] == "me-changed.png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(path.read_bytes()))), photos[2])


def test_what_cannot_be_changed_is_said(paint, base):
    for picture, wish, told in (
        (None, Wish("hair", "red"), "There is no picture to change"),
        (Base(base.picture, np.zeros_like(FACE)), Wish("hair", "red"), "The picture shows no hair"),
    ):
        updates = handlers.change_part(paint, Visit(), wish, picture, *HOW)
        assert told in next(updates)[1]
        with pytest.raises(gr.Error):
            next(updates)
    for picture in (None, Base(base.picture, FACE)):
        with pytest.raises(gr.Error, match="no photo to save"):
            handlers.save_photo(picture)
    base.origin.held.let_go()
    with pytest.raises(gr.Error, match="was let go"):
        handlers.save_photo(base)


def test_without_a_map_the_face_is_read(pipeline):
    request = Request("a face", None, 3, 2, previews=False)
    *_, run = stream(pipeline, request, checkpoint="tiny")
    reader = type("Reader", (), {"parse": lambda self, pictures: [FACE]})
    picture, shown = handlers.to_be_changed(reader, Visit().added(run), None)
    assert np.array_equal(picture.label_map, FACE) and shown["parts"] == parts_of(FACE) and not shown["photo"]
    assert to_change(None)["picture"] == "" and handlers.to_be_changed(None, Visit(), None)[0] is None
