"""Photos on the page: the handlers as plain functions, with MTCNN, small parsers of this file and the tiny pipeline."""

import contextlib
import ctypes
import gc
import io
import json
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest
from PIL import Image

from facemogle.editing import edit_region
from facemogle.label_files import write_label_map
from facemogle.labels import CLASS_ID, NUM_CLASSES
from facemogle.parsing.alignment import Face
from facemogle.picture_files import Settings, read_settings, write_picture
from facemogle.templates import template_face
from facemogle.ui import handlers
from facemogle.ui.api import read_face
from facemogle.ui.label_editor.component import Region, decode, encode
from facemogle.ui.photo import handlers as photos
from facemogle.ui.photo.crop import PhotoCrop, Square
from facemogle.ui.photo.handlers import KEEP, OpenPhoto, Parsers, Shown
from facemogle.ui.photo.held import Held
from facemogle.ui.picture_drop.component import PictureDrop, PictureFile
from facemogle.ui.picture_strip import SIDE
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.run import Base
from facemogle.ui.visit import Visit
from tests.sketches import drawn

data = pytest.importorskip("skimage.data", reason="needs a photo with a face: see requirements-dev.txt")
ASTRONAUT = data.astronaut()  # (512, 512, 3), with one face
FACE = template_face(size=64)


class Brightness:
    """A parser: `light` where the picture is bright, else `dark`; the less sure, the nearer to the middle it is."""

    def __init__(self, light: str, dark: str):
        self.classes = CLASS_ID[light], CLASS_ID[dark]

    def probabilities(self, pictures):
        answers = []
        for picture in pictures:
            share = picture.mean(2, dtype=np.float32) / 255
            answer = np.zeros((NUM_CLASSES, *share.shape), np.float32)
            answer[self.classes[0]], answer[self.classes[1]] = share, 1 - share
            answers.append(answer)
        return answers


class Template:
    """A parser that sees one face in every picture, with its left and right exchanged."""

    def probabilities(self, pictures):
        label_map = template_face(size=512)[:, ::-1]
        return [np.eye(NUM_CLASSES, dtype=np.float32)[label_map].transpose(2, 0, 1) for _ in pictures]


def load(name: str):
    if name == "absent":
        raise RuntimeError("absent.safetensors is not here. Put it there.")
    return {"plain": Brightness("skin", "hair"), "other": Brightness("skin", "hat"), "mirror": Template()}[name]


PARSERS = Parsers(
    {
        "plain": "by brightness; no download",
        "other": "likewise",
        "mirror": "",
        "absent": "in the clouds; 9 GB to fetch",
    },
    load,
    lambda name: name != "absent",
    "plain",
)


def file_of(picture: np.ndarray | Image.Image, name: str = "me.jpg", *, format: str = "PNG", **options) -> PictureFile:
    file = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(file, format=format, **options)
    return PictureFile(name, file.getvalue())


def opened(file: PictureFile, parser: str = "plain", prompt: str = "mine") -> Shown:
    """All that the handler changed, the last word winning."""
    return merged(photos.open_picture(PARSERS, {"an example"}, file, parser, True, prompt))


def merged(updates) -> Shown:
    shown = Shown()
    for update in updates:
        shown = Shown(*(old if new is KEEP else new for old, new in zip(shown, update, strict=True)))
    return shown


@pytest.fixture(scope="module")
def astronaut() -> Shown:
    return opened(file_of(ASTRONAUT))


def bar(size: int = 64) -> np.ndarray:
    """The template with a bar of hat across its forehead."""
    label_map = template_face(size=size)
    label_map[size // 8 : size // 4, size // 4 : size // 2] = CLASS_ID["hat"]
    return label_map


# Opening.


def test_the_face_of_a_photo_lies_under_its_own_map(astronaut):
    photo, base = astronaut.photo, astronaut.base
    assert (len(photo.faces), photo.face, photo.parser) == (1, 0, "plain")
    assert base is photo.base and np.array_equal(np.asarray(base.picture), photo.parse.crop)
    assert base.picture.size == (512, 512) and photo.pixels.shape == ASTRONAUT.shape
    assert np.array_equal(astronaut.editor["value"], base.label_map)
    assert np.array_equal(decode(json.loads(astronaut.editor["source"])), base.label_map)
    assert astronaut.editor["backdrop"].startswith("data:image/webp")
    assert "One face was found in me.jpg" in astronaut.note and "swapped" not in astronaut.note
    assert astronaut.faces.count("<img") == 1 and "aria-current" in astronaut.faces
    assert astronaut.crop["picture"].startswith("data:image/webp")


def test_what_was_read_with_doubt_is_marked(astronaut):
    unsure = decode(json.loads(astronaut.editor["unsure"])).astype(bool)
    assert np.array_equal(unsure, astronaut.photo.parse.confidence < 0.7) and 0.02 < unsure.mean() < 0.9
    assert astronaut.editor["differing"] == ""


def test_an_examples_prompt_is_taken_away_and_ones_own_is_not():
    assert opened(file_of(ASTRONAUT), prompt="an example").prompt == ""
    assert opened(file_of(ASTRONAUT)).prompt is KEEP


def test_a_visit_keeps_no_photo_of_full_size():
    wide = np.zeros((100, 2 * photos.KEPT_SIDE, 3), np.uint8)
    assert opened(file_of(wide)).photo.pixels.shape == (50, photos.KEPT_SIDE, 3)


@pytest.mark.parametrize("colours", [False, True])
def test_a_label_map_is_opened_as_one(colours, tmp_path):
    write_label_map(tmp_path / "map.png", FACE, colours=colours)
    shown = opened(PictureFile("map.png", (tmp_path / "map.png").read_bytes()))
    assert np.array_equal(shown.editor, FACE) and "is a label map" in shown.note
    assert shown.photo is shown.base is KEEP


def test_a_line_drawing_is_sent_to_the_editor_whether_a_face_is_found_in_it_or_not():
    oval = cv2.ellipse(np.full((300, 300, 3), 255, np.uint8), (150, 150), (80, 110), 0, 0, 360, (30, 30, 30), 3)
    chalk = 255 - drawn(template_face("bald"), 0)
    assert "looks like a line drawing: Open in the editor" in opened(file_of(chalk)).note  # and no ids times 15.94
    for picture, face in ((drawn(template_face("hat")), True), (oval, False)):
        shown = opened(file_of(picture))
        assert "looks like a line drawing: Open in the editor" in shown.note and "failed" not in shown.note
        assert "value" not in shown.editor and shown.base is None and shown.crop["open"] is True
        assert ("choose its face" in shown.note) == ("Face 1" in shown.faces) == face == bool(shown.photo.faces)
        read = merged(photos.take_square(PARSERS, shown.photo, Square(10, 10, 200), "plain", True))
        assert read.base is not None and "value" in read.editor  # a photo all the same
    washed_out = 255 - (255 - ASTRONAUT) // 4
    assert "One face was found" in opened(file_of(washed_out)).note


def test_a_photo_is_no_label_map():
    assert photos.label_map_in(file_of(ASTRONAUT)) is None
    assert photos.label_map_in(file_of(Image.fromarray(ASTRONAUT).quantize(16))) is None
    assert photos.label_map_in(file_of(np.zeros((64, 64, 3), np.uint8))) is None


def png_of(width: int, height: int) -> bytes:
    """A black picture of any size, in few bytes."""

    def chunk(kind: bytes, contents: bytes) -> bytes:
        return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BAD = {
    "empty": (PictureFile("me.jpg", b""), "me.jpg is an empty file"),
    "truncated": (PictureFile("me.jpg", file_of(ASTRONAUT, format="JPEG").contents[:5000]), "me.jpg cannot be read"),
    "text": (PictureFile("me.jpg", b"a text file named .jpg"), "me.jpg is no picture"),
    "100 megapixels": (PictureFile("me.jpg", png_of(10_000, 10_000)), "at most 50 million"),
}


@pytest.mark.parametrize(("file", "message"), BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_used_is_explained_and_what_was_there_stays(file, message):
    updates = []
    with pytest.raises(gr.Error, match=message):
        for update in photos.open_picture(PARSERS, set(), file, "plain", True, ""):
            updates.append(update)
    shown = merged(updates)
    assert message in shown.note and 'class="note failed" role="alert"' in shown.note
    assert all(value is KEEP for value in shown._replace(note=KEEP))


NO_FACE = {
    "black": file_of(np.zeros((300, 300, 3), np.uint8)),
    "white": file_of(np.full((300, 300, 3), 255, np.uint8)),
    "one pixel": file_of(np.zeros((1, 1, 3), np.uint8)),
    "animated": file_of(
        Image.new("RGB", (80, 80)), format="GIF", save_all=True, append_images=[Image.new("RGB", (80, 80), "red")]
    ),
    "coffee": file_of(data.coffee()),
}


@pytest.mark.parametrize("file", NO_FACE.values(), ids=NO_FACE)
def test_without_a_face_a_crop_by_hand_is_offered(file):
    shown = opened(file)
    assert "No face was found in me.jpg" in shown.note and shown.crop["open"] is True
    assert shown.editor["backdrop"] == shown.faces == "" and shown.base is None and shown.in_place is False
    height, width = shown.photo.pixels.shape[:2]
    side = min(height, width)
    assert shown.crop["square"] == {"left": (width - side) / 2, "top": (height - side) / 2, "side": side}
    whole = merged(photos.take_whole(PARSERS, shown.photo, "plain", True))
    assert whole.base.label_map.shape == shown.photo.pixels.shape[:2] and "No faces were found" in whole.note


THIRTY = np.tile(np.asarray(Image.fromarray(ASTRONAUT[:256, 96:352]).resize((120, 120))), (5, 6, 1))


def test_every_one_of_thirty_faces_can_be_chosen():
    shown = opened(file_of(THIRTY))
    count = len(shown.photo.faces)
    assert count >= 25 and shown.faces.count("<img") == count and f"{count} faces were found" in shown.note
    other = merged(photos.choose_face(PARSERS, shown.photo, count - 1, "plain", True))
    assert other.photo.face == count - 1 and not np.array_equal(other.photo.frame.to_photo, shown.photo.frame.to_photo)
    for forged in (-1, count):
        with pytest.raises(gr.Error, match="There is no face"):
            merged(photos.choose_face(PARSERS, shown.photo, forged, "plain", True))


@pytest.mark.parametrize("box", [(10, 20, 60, 70), (-30, 5, 40, 90), (150, 60, 240, 130)])
def test_a_thumbnail_shows_the_face_and_nothing_beyond_the_photo(box):
    photo = np.full((100, 200, 3), 200, np.uint8)
    photo[:, :, 0] = np.arange(200)
    thumbnail = np.asarray(photos.thumbnail_of(photo, Face(np.array(box, float), np.zeros((5, 2)), 1.0)))
    assert thumbnail.shape == (SIDE, SIDE, 3) and (thumbnail[..., 1:] == 200).all()
    columns = thumbnail[0, :, 0].astype(float)
    inside = np.clip(box, 0, (200, 100, 200, 100))[::2]
    assert columns.min() <= inside[0] + 2 and columns.max() >= min(inside[1], inside[0] + 100) - 2


def test_a_square_by_hand_is_read(astronaut):
    shown = merged(photos.take_square(PARSERS, astronaut.photo, Square(180, 60, 128), "plain", True))
    assert shown.photo.face is None and "aria-current" not in shown.faces
    assert shown.crop["square"] == pytest.approx({"left": 180, "top": 60, "side": 128}, abs=1)
    middle = np.asarray(shown.base.picture)[254:258, 254:258].mean()
    assert middle == pytest.approx(ASTRONAUT[123:125, 243:245].mean(), abs=12)
    with pytest.raises(gr.Error, match="must be at least 1 pixel wide"):
        merged(photos.take_square(PARSERS, astronaut.photo, Square(9000, 0, 10), "plain", True))


# Parsers, clean-up, sides.


def test_where_another_parser_differs_is_marked(astronaut):
    shown = merged(photos.read_again(PARSERS, astronaut.photo, "other", False))
    assert np.array_equal(
        decode(json.loads(shown.editor["differing"])).astype(bool), shown.base.label_map != astronaut.base.label_map
    )
    assert set(np.unique(shown.base.label_map)) == {CLASS_ID["skin"], CLASS_ID["hat"]}
    assert shown.menu["value"] == "other" and shown.menu["info"].startswith("other: likewise.")
    again = merged(photos.read_again(PARSERS, shown.photo, "other", True))
    assert again.editor["differing"] and "joined" in again.note and "joined" not in shown.note


def test_a_parser_that_is_not_here_says_what_is_missing(astronaut):
    texts = dict((name, text) for text, name in PARSERS.choices())
    assert texts == {"plain": "plain", "other": "other", "mirror": "mirror", "absent": "absent: 9 GB to fetch"}
    updates = []
    with pytest.raises(gr.Error, match="Put it there"):
        for update in photos.read_again(PARSERS, astronaut.photo, "absent", True):
            updates.append(update)
    assert "absent is not on this computer yet, and is fetched first: 9 GB to fetch" in updates[0].note
    shown = merged(updates)
    assert "absent.safetensors is not here" in shown.note
    assert shown.menu == "plain" and shown.photo is shown.editor is KEEP


def test_swapped_sides_are_offered_to_be_mended_with_what_was_painted():
    shown = opened(file_of(ASTRONAUT), "mirror")
    assert "note swapped" in shown.note and shown.photo.parse.eyes_swapped
    painted = shown.base.label_map.copy()
    painted[:9] = CLASS_ID["hat"]
    mended = merged(photos.swap(shown.photo, painted))
    assert "swapped" not in mended.note
    assert (mended.base.label_map == template_face(size=512)[:, ::-1]).mean() < 1
    left = CLASS_ID["left_eye"]
    assert np.array_equal(mended.base.label_map == left, shown.base.label_map == CLASS_ID["right_eye"])
    assert (mended.editor["value"][:9] == CLASS_ID["hat"]).all()
    assert np.array_equal(mended.editor["value"][9:], mended.base.label_map[9:])


def test_a_photo_is_let_go(astronaut):
    shown = photos.close(astronaut.photo, astronaut.base)
    assert shown.photo is shown.base is None and shown.in_place is False
    assert shown.editor["backdrop"] == shown.crop["picture"] == ""
    face = Base(Image.new("RGB", (64, 64)), FACE)
    assert photos.close(astronaut.photo, face).editor is photos.close(None, None).editor is KEEP


def test_after_the_visit_the_photo_is_gone_and_the_page_says_so():
    for handler in (photos.read_again, photos.take_whole):
        with pytest.raises(gr.Error, match="Drop it again"):
            merged(handler(PARSERS, None, "plain", True))


watched: list[str] | None = None


def watch(event: str, arguments: tuple) -> None:
    if watched is not None and event == "open" and set(str(arguments[1] or "r")) & set("wax+"):
        watched.append(str(arguments[0]))


sys.addaudithook(watch)  # there is no taking it back


def test_a_photo_goes_to_no_file(pipeline):
    global watched
    opened(file_of(ASTRONAUT))  # what is imported on the way may write its own
    watched = []
    try:
        shown = opened(PictureDrop().preprocess(drop_payload(file_of(ASTRONAUT))))
        merged(photos.read_again(PARSERS, shown.photo, "other", True))
        merged(photos.take_square(PARSERS, shown.photo, Square(100, 50, 200), "plain", True))
        assert watched == []
    finally:
        watched = None


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_after_any_picture_the_memory_is_as_before():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs a Linux system to ask for the memory used")
    large = np.zeros((3000, 4000, 3), np.uint8)
    files = [*(file for file, _ in BAD.values()), *NO_FACE.values(), file_of(THIRTY), file_of(large)]

    def memory() -> int:
        """kB, once what may be given back is."""
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))

    def open_all() -> int:
        for file in files:
            with contextlib.suppress(gr.Error):
                opened(file)
        return memory()

    first = open_all()
    assert open_all() - first < 20_000  # the last photo alone takes 36,000


# For programs.


def read_by_api(picture: np.ndarray, path: Path, settings: Settings | None = None, **options):
    if settings:
        write_picture(path, Image.fromarray(picture), settings)
    else:
        Image.fromarray(picture).save(path)
    return read_face(str(path), options.pop("parsers", PARSERS), options.pop("own", None), **{"whole": False} | options)


def test_the_api_finds_the_face_and_reads_its_crop(tmp_path, astronaut):
    parse = read_by_api(ASTRONAUT, tmp_path / "me.png")
    assert np.array_equal(parse.crop, astronaut.photo.parse.crop)
    assert np.array_equal(parse.label_map, astronaut.photo.parse.label_map)
    assert read_by_api(ASTRONAUT[:, :400], tmp_path / "me.png", whole=True).label_map.shape == (512, 400)
    with pytest.raises(ValueError, match=r"No face was found in cup\.png.*with whole, or first cut out"):
        read_by_api(data.coffee(), tmp_path / "cup.png")


def test_the_api_reads_what_was_made_here_as_it_is_by_its_own_parser(tmp_path):
    settings = Settings("", None, 0, 1, 1.0, 1.0, 512, 512, None, "tiny")
    own = Brightness("nose", "cloth")
    parse = read_by_api(ASTRONAUT, tmp_path / "face.png", settings, own=lambda: own)
    assert np.array_equal(parse.crop, ASTRONAUT) and CLASS_ID["nose"] in parse.label_map
    assert CLASS_ID["skin"] in read_by_api(ASTRONAUT, tmp_path / "face.png", settings).label_map
    photo = read_by_api(ASTRONAUT, tmp_path / "me.png", own=lambda: own)
    assert CLASS_ID["skin"] in photo.label_map and not np.array_equal(photo.crop, ASTRONAUT)
    assert CLASS_ID["nose"] in read_by_api(ASTRONAUT, tmp_path / "me.png", parsers=None, own=lambda: own).label_map
    with pytest.raises(ValueError, match="No parser is here"):
        read_by_api(ASTRONAUT, tmp_path / "me.png", parsers=None)


# What the page sends.


def drop_payload(file: PictureFile) -> dict[str, str]:
    import base64

    return {"name": file.name, "file": base64.b64encode(file.contents).decode()}


def test_a_dropped_file_arrives_as_it_is():
    file = PictureFile("me.jpg", b"anything at all")
    assert PictureDrop().preprocess(drop_payload(file)) == file
    assert file.opened().name == "me.jpg" and file.opened().read() == b"anything at all"
    for forged in ({}, {"name": 3, "file": 4}, {"name": "x", "file": "%"}):
        with pytest.raises(gr.Error):
            PictureDrop().preprocess(forged)


def test_a_region_arrives_as_booleans():
    region = np.isin(FACE, CLASS_ID["hair"])
    assert np.array_equal(Region().preprocess(encode(region)), region)
    assert Region().preprocess(None) is None and Region().preprocess(encode(region & False)) is None
    with pytest.raises(gr.Error, match="cover 8x8 pixels"):
        Region().preprocess({"height": 8, "width": 8, "runs": [1, 3]})


def test_a_square_arrives_in_pixels():
    assert PhotoCrop().preprocess({"left": 1, "top": 2.5, "side": 30}) == Square(1, 2.5, 30)
    for forged in ([1, 2, 3], {"left": 1}, {"left": True, "top": 0, "side": 1}, {"left": 0, "top": 0, "side": 1e9}):
        with pytest.raises(gr.Error, match="A square must be"):
            PhotoCrop().preprocess(forged)


# The photo kept.


@pytest.fixture
def provider(pipeline) -> PipelineProvider:
    return PipelineProvider("tiny", lambda: pipeline, checkpoint="tiny")


@pytest.fixture
def base() -> Base:
    return Base(Image.fromarray(ASTRONAUT[:256, 96:352]), FACE)


def edited(provider, base, label_map, *, region=None, strength=1.0, visit=None, **named):
    """Updates of Generate, with the switch on."""
    values = {"prompt": "a face", "seed": 3, "num_images": 1, "steps": 4} | named
    fields = [label_map, *values.values(), 3.5, 1.0, None, True, strength, base, region]
    return list(handlers.generate(provider, visit or Visit(), *fields))


def test_outside_the_region_the_photo_is_kept_to_the_last_pixel(provider, base):
    updates = edited(provider, base, bar(), num_images=2)
    visit = updates[-1][2]
    kept = ~edit_region(FACE, bar())
    assert np.array_equal(np.asarray(visit.before)[kept], np.asarray(visit.face)[kept])
    assert not np.array_equal(np.asarray(visit.before)[~kept], np.asarray(visit.face)[~kept])
    assert "Outside the region the picture is as it was." in updates[-1][1]
    settings = read_settings(updates[-1][0])
    assert settings.strength == 1.0
    assert "changed a part of a picture" in handlers.restore(provider, settings)[0]


def test_the_next_change_starts_from_the_photo_again_unless_one_goes_on_from_the_face(provider, base):
    visit = edited(provider, base, bar())[-1][2]
    *_, comparison = handlers.show(provider, None, visit)[:3]
    assert comparison[0].size == comparison[1].size and np.array_equal(comparison[0], visit.before)
    editor, next_base, go_on = handlers.show(provider, None, visit)[6:]
    assert next_base is base and go_on["visible"] is True and np.array_equal(decode(json.loads(editor["source"])), FACE)
    editor, next_base = handlers.go_on(visit)
    assert next_base.picture is visit.face and np.array_equal(next_base.label_map, bar())
    assert handlers.go_on(Visit()) == (KEEP, KEEP)
    whole = list(handlers.generate(provider, visit, bar(), "", 3, 1, 1, 3.5, 1.0, None))[-1][2]
    assert whole.before is visit.face and whole.settings.strength is None


def test_a_painted_region_is_what_changes(provider, base):
    region = np.zeros((64, 64), bool)
    region[40:, 40:] = True
    visit = edited(provider, base, FACE, region=region, strength=0.5)[-1][2]
    changed = (np.asarray(visit.before) != np.asarray(visit.face)).any(2)
    assert changed.any() and not changed[~region].any()


def test_less_strength_takes_fewer_steps_and_is_saved(provider, base):
    updates = edited(provider, base, bar(), strength=0.5)
    told = [status for _, status, _ in updates if "Step " in str(status)]
    assert [f"Step {n} of 2" in status for n, status in enumerate(told, 1)] == [True, True]
    assert read_settings(updates[-1][0]).strength == 0.5


@pytest.mark.parametrize("painted", [False, True])
def test_a_change_picked_in_the_visit_can_be_made_again(provider, base, painted):
    region = bar() == CLASS_ID["hair"] if painted else None
    changed = edited(provider, base, bar(), region=region, strength=0.5)[-1][2]
    later = list(handlers.generate(provider, changed, FACE, "another", 4, 1, 2, 3.5, 1.0, None))[-1][2]
    assert handlers.edit_again(later) == (False, KEEP, None) == handlers.edit_again(Visit())
    visit, label_map, prompt, seed, *_ = handlers.pick_run(later, 0)
    in_place, strength, sent = handlers.edit_again(visit)
    ground = handlers.show(provider, None, visit)[7]
    assert in_place is True and strength == 0.5 and (sent is not None) == painted
    given = {"region": Region().preprocess(sent), "strength": strength, "prompt": prompt, "seed": seed}
    again = edited(provider, ground, label_map, **given)[-1][2]
    assert again.face.tobytes() == changed.face.tobytes()


def test_a_change_of_nothing_is_explained(provider, base):
    for label_map, ground, message in (
        (FACE, base, "Nothing is free to change"),
        (FACE, None, "no picture under the map"),
    ):
        with pytest.raises(gr.Error, match=message):
            edited(provider, ground, label_map)
    erased = edited(provider, base, np.zeros_like(FACE))[-1][2]  # a map of background alone is a change too
    assert erased.run.request.edit is not None


def test_a_face_made_from_words_alone_can_be_changed(provider):
    visit = list(handlers.generate(provider, Visit(), None, "a face", 3, 1, 2, 3.5, 1.0, None))[-1][2]
    ground = handlers.show(provider, None, visit)[7]
    assert not ground.label_map.any()
    assert edited(provider, ground, bar(512), visit=visit)[-1][2].before.tobytes() == visit.face.tobytes()


def test_a_photo_without_a_crop_has_nothing_to_read_again():
    photo = OpenPhoto("me.jpg", Held(ASTRONAUT), ())
    (told,) = photos.read_again(PARSERS, photo, "other", True)
    assert told.menu["info"].startswith("other: likewise.") and told._replace(menu=KEEP) == Shown()
    assert list(photos.swap(photo, FACE)) == []
    with pytest.raises(gr.Error):
        merged(photos.choose_face(PARSERS, replace(photo, faces=()), 0, "plain", True))
