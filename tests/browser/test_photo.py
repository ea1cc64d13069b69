"""Photos on the page in a real browser."""

import base64
import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemogle.editing import edit_region
from facemogle.label_files import write_label_map
from facemogle.labels import CLASS_ID
from facemogle.picture_files import read_settings
from facemogle.templates import template_face
from tests.browser.actions import (
    at,
    choose,
    face_address,
    face_changes,
    file_of,
    generate,
    map_in,
    open_advanced,
    press,
    set_number,
    stroke,
)

data = pytest.importorskip("skimage.data", reason="needs a photo with a face: see requirements-dev.txt")
ASTRONAUT = data.astronaut()
DROP = """([file, name]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(file), letter => letter.charCodeAt(0))], name));
    const options = {bubbles: true, cancelable: true, dataTransfer: transfer};
    document.body.dispatchEvent(new DragEvent("drop", options));
}"""


def contents(picture: np.ndarray | Image.Image, format: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(file, format=format, **options)
    return file.getvalue()


def open_photo(page, file: bytes, *, name: str = "me.jpg") -> None:
    page.set_input_files("#drop input[type=file]", {"name": name, "mimeType": "image/jpeg", "buffer": file})


def says(page, text: str) -> None:
    page.wait_for_selector(f"#photo .note >> text={text}", timeout=60_000)


def read(page, file: bytes | None = None) -> np.ndarray:
    """Open a photo of one face -> the map that is read from it."""
    open_photo(page, file or contents(ASTRONAUT))
    says(page, "was found in")
    page.wait_for_selector("#label-editor .backdrop:not([hidden])")
    page.wait_for_function("document.querySelector('#label-editor canvas').width == 512")
    return map_in(page)


def marked(page, *names: str) -> np.ndarray:
    """(H, W) bool, where something of these lies over the map: "unsure", "differing", "free"."""
    page.wait_for_timeout(150)  # it follows once a frame
    label_map = page.eval_on_selector("#label-editor canvas", "canvas => [canvas.height, canvas.width]")
    mark = np.zeros(label_map, bool)
    for name in names or ("unsure", "differing", "free"):
        path = page.locator(f"#label-editor .marks path.{name}").get_attribute("d") or ""
        for left, row, length in re.findall(r"M(\d+) (\d+)h(\d+)", path):
            mark[int(row), int(left) : int(left) + int(length)] = True
    return mark


def map_differs_from(page, label_map: np.ndarray) -> None:
    """Wait until it does, in so many pixels that their sum does."""
    page.wait_for_function(
        "sum => sum != document.querySelector('#label-editor canvas').labelMap()"
        ".reduce((all, classId, i) => all + classId * (i % 97), 0)",
        arg=int((label_map.ravel().astype(int) * (np.arange(label_map.size) % 97)).sum()),
    )


def shown(page) -> list[str]:
    """Ids of the photo's tools that can be seen."""
    tools = ("photo-tools", "parser", "swap", "whole", "close", "in-place", "go-on")
    return [name for name in tools if page.locator(f"#{name}").is_visible()]


def test_there_is_nothing_of_photos_before_one_is_there(page):
    assert shown(page) == []
    assert not marked(page).any()
    assert page.locator("#label-editor .marked").is_hidden()
    generate(page)
    page.wait_for_selector("#label-editor .backdrop:not([hidden])")
    assert shown(page) == ["in-place"]


def test_a_photo_dropped_anywhere_lies_under_the_map_that_is_read_from_it(page):
    page.locator("#examples button").nth(0).click()
    page.wait_for_function("document.querySelector('#prompt textarea').value == 'a face'")
    page.evaluate(DROP, [base64.b64encode(contents(ASTRONAUT)).decode(), "me.jpg"])
    says(page, "One face was found in me.jpg")
    page.wait_for_selector("#label-editor .backdrop:not([hidden])")
    assert shown(page) == ["photo-tools", "parser", "whole", "close", "in-place"]
    label_map = map_in(page)
    assert label_map.shape == (512, 512) and {CLASS_ID["hair"], CLASS_ID["skin"]} <= set(np.unique(label_map))
    assert page.input_value("#prompt textarea") == ""  # which was an example's
    assert page.locator("#label-editor input[name=opacity]").is_enabled()
    assert page.locator("#faces img").count() == 1
    assert page.locator("#drop .message").inner_text() == ""


def test_unsure_places_are_hatched_until_they_are_painted_over(page):
    label_map = read(page)
    share = page.locator("#label-editor label:has([name=unsure]) output")
    before, unsure = share.inner_text(), marked(page, "unsure")
    percent = 100 * unsure.mean()
    assert percent >= 0.1 and before == f"{percent:.{int(percent < 9.95)}f}%"  # two digits, as of the classes
    page.get_by_text("Unsure places").click()
    assert not marked(page).any() and np.array_equal(map_in(page), label_map)
    page.get_by_text("Unsure places").click()
    press(page, "Clear")
    assert np.array_equal(marked(page), unsure & (label_map == 0))
    press(page, "Undo")
    assert np.array_equal(marked(page), unsure) and share.inner_text() == before


def choose_parser(page, name: str) -> None:
    page.locator("#parser input").click()
    page.get_by_role("option", name=name).click()


def test_another_parser_shows_where_the_two_differ_and_swapped_sides_can_be_mended(page):
    first = read(page)
    assert page.locator("#label-editor [name=differing]").is_hidden()
    choose_parser(page, "mistaken")
    says(page, "Left and right seem swapped")
    page.wait_for_selector("#label-editor label:has([name=differing]) output")
    mistaken = map_in(page)
    assert (mistaken != first).any() and np.array_equal(marked(page, "differing"), mistaken != first)
    assert "swap" in shown(page)
    page.click("#swap")
    says(page, "Left and right are exchanged")
    map_differs_from(page, mistaken)
    assert np.array_equal(map_in(page), first)
    assert "swap" not in shown(page)


def test_a_parser_that_is_not_here_says_what_is_missing_and_the_other_stays(page):
    first = read(page)
    choose_parser(page, "absent: to download")
    says(page, "absent needs absent.safetensors")
    page.wait_for_function("document.querySelector('#parser input').value == 'mini'")
    assert np.array_equal(map_in(page), first)
    page.get_by_label("Join small islands").uncheck()
    says(page, "One face was found in me.jpg. Correct the map where it is wrong.")
    page.wait_for_function("!document.querySelector('#photo .note').textContent.includes('joined')")
    map_differs_from(page, first)


def test_one_of_several_faces_is_chosen(page):
    face = np.asarray(Image.fromarray(ASTRONAUT[:256, 96:352]).resize((320, 320)))
    open_photo(page, contents(np.concatenate([face, face[:, ::-1]], axis=1)))
    says(page, "2 faces were found")
    page.wait_for_selector("#faces button:nth-of-type(1)[aria-current]")
    first = page.locator("#label-editor .backdrop").get_attribute("src")
    page.locator("#faces button").nth(1).click()
    page.wait_for_selector("#faces button:nth-of-type(2)[aria-current]")
    page.wait_for_function("first => document.querySelector('#label-editor .backdrop').src != first", arg=first)


def test_without_a_face_a_square_is_drawn_by_mouse_and_by_keys(page):
    photo = data.coffee()  # 600 by 400
    open_photo(page, contents(photo, "PNG"), name="coffee.png")
    says(page, "No face was found in coffee.png")
    picture = page.locator("#crop .photo")
    page.wait_for_selector("#crop .square", state="visible")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    scale = box["width"] / 600

    def square() -> list[float]:
        own = page.locator("#crop .square").bounding_box()
        return [(own["x"] - box["x"]) / scale, (own["y"] - box["y"]) / scale, own["width"] / scale]

    assert square() == pytest.approx([100, 0, 400], abs=2)
    press_square(page, "Read this square")
    says(page, "No faces were found in coffee.png")
    page.wait_for_selector("#label-editor .backdrop:not([hidden])")
    page.locator("#crop summary").click() if page.locator("#crop .photo").is_hidden() else None
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    corner = page.locator("#crop [data-corner='right bottom']").bounding_box()
    page.mouse.move(corner["x"] + 14, corner["y"] + 14)
    page.mouse.down()
    page.mouse.move(box["x"] + 300 * scale, box["y"] + 180 * scale, steps=4)
    page.mouse.up()
    assert square() == pytest.approx([100, 0, 200], abs=4)
    page.locator("#crop .square").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    assert square() == pytest.approx([108, 16, 200], abs=4)
    page.keyboard.press("]")
    assert square() == pytest.approx([98, 6, 220], abs=5)
    before = page.locator("#label-editor .backdrop").get_attribute("src")
    page.keyboard.press("Enter")
    page.wait_for_function("last => document.querySelector('#label-editor .backdrop').src != last", arg=before)


def press_square(page, name: str) -> None:
    page.locator("#crop").get_by_role("button", name=name).click()


def test_only_what_is_repainted_changes_and_one_can_go_on_from_there(page):
    source = read(page)
    page.locator("#in-place input").check()
    page.wait_for_selector("#label-editor button[name=automatic]")
    page.click("#generate")
    page.wait_for_selector("#status .failed >> text=Nothing is free to change yet")
    choose(page, "hat")
    stroke(page, (0.3, 0.2), (0.6, 0.25))
    edited = map_in(page)
    face = face_changes_after(page)
    kept = ~edit_region(*(np.asarray(Image.fromarray(one).resize((64, 64), 0)) for one in (source, edited)))
    picture = np.asarray(Image.open(face))
    page.get_by_role("tab", name="Before, after").click()
    page.wait_for_selector("#comparison img >> nth=1")
    before, after = (
        np.asarray(Image.open(file_of(page, address)).convert("RGB"))
        for address in page.eval_on_selector_all("#comparison img", "images => images.map(image => image.src)")
    )
    if np.array_equal(before, picture):  # the slider's own order
        before, after = after, before
    assert np.array_equal(after, picture)
    assert np.array_equal(before[kept], picture[kept]) and not np.array_equal(before, picture)
    assert read_settings(face).strength == 1
    backdrop = page.locator("#label-editor .backdrop").get_attribute("src")
    assert "go-on" in shown(page)
    page.click("#go-on")
    page.wait_for_function("last => document.querySelector('#label-editor .backdrop').src != last", arg=backdrop)
    page.click("#generate")
    page.wait_for_selector("#status .failed >> text=Nothing is free to change yet")


def face_changes_after(page) -> io.BytesIO:
    """Generate -> the face's file."""
    images = page.locator("#face img")
    last = images.get_attribute("src") if images.count() else None
    generate(page)
    page.wait_for_function("(document.querySelector('#face img')?.src ?? '').endsWith('.png')")
    return file_of(page, face_changes(page, last))


def test_the_region_is_shown_and_painted(page):
    read(page)
    page.locator("#in-place input").check()
    assert not marked(page, "free").any()
    region = page.locator("#label-editor [name=region]")
    automatic = page.locator("#label-editor [name=automatic]")
    choose(page, "hat")
    stroke(page, (0.4, 0.2), (0.5, 0.2))
    offered = marked(page, "free")
    assert offered.any() and automatic.is_disabled()
    label_map = map_in(page)

    page.keyboard.press("r")
    assert region.is_checked()
    stroke(page, (0.2, 0.8), (0.8, 0.8))
    assert np.array_equal(map_in(page), label_map)
    added = marked(page, "free")
    assert added[offered].all() and added[400:420, 110:400].all() and not added[:, :60].any()
    press(page, "Undo")
    assert np.array_equal(marked(page, "free"), offered) and automatic.is_disabled()
    press(page, "Redo")
    assert np.array_equal(marked(page, "free"), added)
    choose(page, "Eraser")
    stroke(page, (0.2, 0.8), (0.8, 0.8))
    assert np.array_equal(marked(page, "free"), offered)
    press(page, "Undo")

    changed = drawn_anew(page, np.asarray(Image.open(face_changes_after(page))))
    assert changed[48:54, 16:48].any() and changed[8:18, 24:34].any() and not changed[:, :6].any()
    automatic.click()
    assert np.array_equal(marked(page, "free"), offered) and automatic.is_disabled()
    changed = drawn_anew(page, np.asarray(Image.open(face_changes_after(page))))
    assert changed[8:18, 24:34].any() and not changed[48:54].any()


def drawn_anew(page, picture: np.ndarray) -> np.ndarray:
    """(64, 64) bool, True where a picture is not as the one under the map."""
    address = page.locator("#label-editor .backdrop").get_attribute("src")
    under = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB").resize((64, 64))
    return np.abs(np.asarray(under, int) - picture).max(2) > 40  # WebP differs a little itself


@pytest.mark.parametrize("size", [64, 128])
def test_the_region_that_is_shown_is_the_one_that_is_used(page, size):
    press(page, "Clear")
    rng = np.random.default_rng(0)
    before = rng.integers(0, 2, (6, 6), np.uint8).repeat(size // 4, 0).repeat(size // 4, 1)[:size, :size]
    write = io.BytesIO()
    write_label_map(write, before)
    page.set_input_files(
        "#label-editor input[name=file]", {"name": "m.png", "mimeType": "image/png", "buffer": write.getvalue()}
    )
    page.wait_for_selector("#label-editor .message >> text=Opened")
    generate(page)
    page.wait_for_selector("#label-editor .backdrop:not([hidden])")
    page.locator("#in-place input").check()
    choose(page, "hat")
    stroke(page, (0.3, 0.3), (0.35, 0.5))
    assert np.array_equal(marked(page, "free"), edit_region(before, map_in(page)))


def test_a_change_picked_in_the_visit_comes_back_with_its_region(page):
    read(page)
    page.locator("#in-place input").check()
    open_advanced(page)
    set_number(page, "strength", 0.6)
    page.locator("#label-editor canvas").focus()
    page.keyboard.press("r")
    stroke(page, (0.2, 0.7), (0.8, 0.7))
    region, label_map = marked(page, "free"), map_in(page)
    changed = face_changes_after(page).getvalue()

    page.locator("#in-place input").uncheck()
    set_number(page, "strength", 1)
    page.locator("#examples button").nth(1).click()
    map_differs_from(page, label_map)
    page.wait_for_selector("#face img", state="detached")  # the example's map is not that face's
    face_changes_after(page)
    marks = ", ".join(f"#label-editor .marks path.{name}" for name in ("unsure", "differing", "free"))
    page.wait_for_function(
        "marks => [...document.querySelectorAll(marks)].every(path => !path.getAttribute('d'))", arg=marks
    )

    last = face_address(page)
    page.locator("#history button").nth(0).click()
    face_changes(page, last)
    page.wait_for_selector("#label-editor button[name=automatic]:enabled")
    assert page.locator("#in-place input").is_checked() and np.array_equal(map_in(page), label_map)
    assert page.input_value("#strength input[type=number]") == "0.6"
    assert np.array_equal(marked(page, "free"), region)
    generate(page)
    page.wait_for_selector("#history button:nth-of-type(3)[aria-current]")
    again = file_of(page, face_address(page))
    assert Image.open(again).tobytes() == Image.open(io.BytesIO(changed)).tobytes()
    page.locator("#history button").nth(1).click()
    page.wait_for_function("!document.querySelector('#in-place input').checked")


def test_strength_is_saved_with_the_picture(page):
    read(page)
    page.locator("#in-place input").check()
    open_advanced(page)
    set_number(page, "strength", 0.5)
    choose(page, "hat")
    stroke(page, (0.3, 0.2), (0.6, 0.25))
    assert read_settings(face_changes_after(page)).strength == 0.5


def test_a_picture_made_here_restores_and_offers_nothing_else(page):
    generate(page)
    picture = file_of(page, face_changes(page, None)).getvalue()
    open_photo(page, picture, name="face.png")
    page.wait_for_selector("#status >> text=Settings restored")
    assert "photo-tools" not in shown(page) and page.locator("#photo .note").count() == 0


def test_a_label_map_that_is_dropped_is_one(page):
    file = io.BytesIO()
    write_label_map(file, template_face("hat", size=200), colours=True)
    open_photo(page, file.getvalue(), name="map.png")
    says(page, "map.png is a label map")
    page.wait_for_function("document.querySelector('#label-editor canvas').width == 200")
    assert np.array_equal(map_in(page), template_face("hat", size=200))
    assert "photo-tools" not in shown(page)


def black(width: int, height: int) -> bytes:
    """A PNG of any size, in few bytes."""

    def chunk(kind: bytes, inside: bytes) -> bytes:
        return struct.pack(">I", len(inside)) + kind + inside + struct.pack(">I", zlib.crc32(kind + inside))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_bad_files_are_explained_one_by_one_and_the_page_goes_on(page):
    frames = [Image.new("RGB", (80, 80), colour) for colour in ("red", "blue")]
    face = np.asarray(Image.fromarray(ASTRONAUT[:256, 96:352]).resize((200, 200)))
    files = {
        b"": "0.jpg is an empty file",
        contents(ASTRONAUT)[:5000]: "1.jpg cannot be read",
        black(10_000, 10_000): "10000x10000 pixels",
        b"a text": "3.jpg is no picture",
        contents(frames[0], "GIF", save_all=True, append_images=frames[1:]): "No face was found in 4.jpg",
        contents(np.zeros((99, 99, 3), np.uint8)): "No face was found in 5.jpg",
        contents(np.full((99, 99, 3), 255, np.uint8), "PNG"): "No face was found in 6.jpg",
        contents(np.tile(face, (5, 6, 1))): "faces were found in 7.jpg",
    }
    for number, (file, message) in enumerate(files.items()):
        open_photo(page, file, name=f"{number}.jpg")
        says(page, message)
    assert page.locator("#faces button").count() >= 25
    generate(page)


def test_of_photos_dropped_one_upon_the_other_the_last_one_stays(page):
    for number in range(3):
        open_photo(page, contents(ASTRONAUT[:, number:]), name=f"{number}.jpg")
    says(page, "One face was found in 2.jpg")


def test_a_photo_leaves_no_file_and_can_be_let_go(page, gradio_files):
    def files() -> set[Path]:
        return {path for path in gradio_files.rglob("*") if path.is_file()}

    before = files()
    read(page)
    assert files() == before
    page.locator("#in-place input").check()
    page.click("#close")
    page.wait_for_selector("#label-editor .backdrop", state="hidden")
    assert shown(page) == []
    generate(page)
    page.wait_for_selector("#face img")
    assert files() > before  # so that it is the folder


@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_overflows_and_every_control_has_a_name(open_page, width):
    page = open_page(viewport={"width": width, "height": 800})
    read(page)
    page.locator("#in-place input").check()
    page.locator("#crop summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = page.evaluate(
        """() => Array.from(document.querySelectorAll('.gradio-container :is(button, input, canvas, summary)'))
            .filter(e => e.offsetParent && !e.ariaLabel && !e.labels?.length && !e.textContent.trim() && !e.title
                         && !e.querySelector('img[alt]'))
            .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []
    assert at(page, 0.5, 0.5)
