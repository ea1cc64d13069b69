"""The page in a real browser: what is painted there is, to the last pixel, what reaches Python."""

import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gradio_client
import numpy as np
import pytest

from facemogle.checkpoints import load_pipeline
from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import CLASS_ID, NAMES, NUM_CLASSES, mirror
from facemogle.ui import layout
from facemogle.ui.examples import Example
from facemogle.ui.label_editor import MAX_FILE_BYTES, encode
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.templates import template_face

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: see requirements-dev.txt")

REFERENCE = Path(__file__).parent / "reference"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
FACE = template_face(size=128)
EXAMPLES = [Example(FACE, "a face"), Example(FACE[::-1].copy(), "a face upside down")]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_api.sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        executable = next(filter(None, map(shutil.which, names)), None)
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        except sync_api.Error as error:
            pytest.skip(f"needs a browser: apt install chromium, or playwright install chromium ({error.message[:80]})")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def app() -> Iterator[SimpleNamespace]:
    """The page on a tiny pipeline.

    `received` are the label maps that Generate was called with; `pace` is how many seconds each of its updates takes.
    """
    app = SimpleNamespace(received=[], pace=0.0)

    def load():
        pipeline = load_pipeline(
            REFERENCE / "tiny-flux",
            adapter=REFERENCE / "pytorch_lora_weights.safetensors",
            mogle=REFERENCE / "mogle.pt",
            device="cpu",
        )
        pipeline.register_to_config(height=64, width=64, num_inference_steps=4)
        return pipeline

    def record(generate):
        def recorded(label_map, *settings):
            app.received.append(label_map)
            for update in generate(label_map, *settings):
                time.sleep(app.pace)
                yield update

        return recorded

    suggestions = {"hair colour": ["red hair", "blue hair"], "hat": ["a wide hat"]}
    app.blocks = layout.build(
        PipelineProvider("tiny: random weights", load), EXAMPLES, suggestions=suggestions, on_gpu=record
    )
    _, app.url, _ = app.blocks.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    yield app
    app.blocks.close()


@pytest.fixture
def slow(app) -> Iterator[None]:
    """A run of 50 steps takes ten seconds or more."""
    app.pace = 0.2
    yield
    app.pace = 0.0


@pytest.fixture
def open_page(browser, app) -> Iterator:
    """Open the page in a window of its own; whatever went wrong there fails the test in the end."""
    problems: list[str] = []
    contexts = []

    def open_page(**options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith("http") and not request.url.startswith(app.url)
                and problems.append(f"asked {request.url}"))  # fmt: skip
        page.goto(app.url)
        page.wait_for_selector(".checkpoint.ready", timeout=30_000)
        page.wait_for_selector("#label-editor canvas")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_page):
    return open_page(viewport={"width": 1440, "height": 1000})


def map_in(page) -> np.ndarray:
    """(H, W) class ids, as the page holds them."""
    height, width, class_ids = page.eval_on_selector(
        "#label-editor canvas", "canvas => [canvas.height, canvas.width, Array.from(canvas.labelMap())]"
    )
    return np.array(class_ids, np.uint8).reshape(height, width)


def at(page, x: float, y: float) -> tuple[float, float]:
    """A place on the canvas, in fractions of its sides -> a place in the window."""
    box = page.locator("#label-editor canvas").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def choose(page, name: str) -> None:
    page.locator("#label-editor label").filter(has=page.get_by_text(name, exact=True)).click()


def stroke(page, *places: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*at(page, *place), steps=5)
    page.mouse.up()


def press(page, name: str) -> None:
    page.locator("#label-editor").get_by_role("button", name=name, exact=True).click()


def set_number(page, name: str, value: int | str) -> None:
    field = page.locator(f"#{name} input[type=number]")
    field.fill(str(value))
    field.blur()


def show_step(page, step: int) -> str:
    """Move the slider -> the pictures of the experts, once they have changed."""
    last = expert_pictures(page)
    page.locator("#step input[type=range]").fill(str(step))
    page.wait_for_function(
        "last => Array.from(document.querySelectorAll('#experts img'), i => i.src).join() != last", arg=last
    )
    return expert_pictures(page)


def expert_pictures(page) -> str:
    page.wait_for_selector("#experts figure:nth-of-type(20)")
    return page.eval_on_selector_all("#experts img", "imgs => imgs.map(img => img.src).join()")


def generate(page) -> None:
    page.click("#generate")
    page.wait_for_selector("#status .run.idle >> text=Made from", timeout=30_000)


def test_a_stroke_reaches_python_and_gives_a_face_and_its_gating(page, app):
    before = map_in(page)
    choose(page, "hat")
    stroke(page, (0.2, 0.1), (0.7, 0.15), (1.3, 0.15))  # released outside the canvas
    generate(page)
    painted = map_in(page)
    assert np.array_equal(app.received[-1], painted)
    assert (before != painted).any()
    assert set(painted[before != painted]) == {CLASS_ID["hat"]}
    assert painted[19, 127] == CLASS_ID["hat"]

    page.wait_for_selector("#face img")
    assert page.eval_on_selector("#face img", "img => [img.naturalWidth, img.naturalHeight]") == [64, 64]
    runs = len(app.received)
    assert len({expert_pictures(page), show_step(page, 3), show_step(page, 1)}) == 3
    assert len(app.received) == runs  # the slider does not run the model


def test_tools_undo_and_redo(page, app):
    maps = [map_in(page)]

    def done() -> None:
        maps.append(map_in(page))
        assert (maps[-1] != maps[-2]).any()

    choose(page, "skin")
    choose(page, "Fill")
    page.mouse.click(*at(page, 0.02, 0.02))
    done()
    assert maps[-1][0, 0] == CLASS_ID["skin"]
    assert (maps[-1] == maps[0]).sum() == (maps[0] != 0).sum()  # all of the background, and nothing else
    choose(page, "Eraser")
    stroke(page, (0.5, 0.5), (0.6, 0.6))
    done()
    assert set(maps[-1][maps[-1] != maps[-2]]) == {CLASS_ID["background"]}
    press(page, "Clear")
    done()
    assert not maps[-1].any()
    press(page, "Reset")
    done()
    assert np.array_equal(maps[-1], maps[0])

    page.locator("#label-editor canvas").focus()
    for earlier in reversed(maps[:-1]):
        page.keyboard.press("Control+z")
        assert np.array_equal(map_in(page), earlier)
    for later in maps[1:3]:
        page.keyboard.press("Control+Shift+Z")
        assert np.array_equal(map_in(page), later)
    generate(page)
    assert np.array_equal(app.received[-1], maps[2])


def test_keys_set_the_brush_and_paint(page):
    canvas = page.locator("#label-editor canvas")
    canvas.focus()
    size = int(page.locator("[name=diameter]").inner_text())
    page.keyboard.press("]")
    assert int(page.locator("[name=diameter]").inner_text()) > size
    page.keyboard.press("[")
    assert int(page.locator("[name=diameter]").inner_text()) == size
    before = map_in(page)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    assert set(map_in(page)[map_in(page) != before]) == {CLASS_ID["hair"]}


def test_the_palette_tells_shares_and_takes_keys(page):
    def shares() -> list[str]:
        page.evaluate("() => new Promise(requestAnimationFrame)")
        return page.locator("#label-editor .share").all_inner_texts()

    def expected() -> list[str]:
        percents = 100 * np.bincount(map_in(page).ravel(), minlength=NUM_CLASSES) / map_in(page).size
        return [
            "–" if not share else "<0.1%" if share < 0.1 else f"{share:.{1 if share < 9.95 else 0}f}%"
            for share in percents
        ]

    assert shares() == expected()
    page.locator("#label-editor canvas").focus()
    for key, class_id in [("4", 4), ("Shift+Digit8", 18), ("0", 0), ("Shift+Digit4", 14)]:
        page.keyboard.press(key)
        assert page.locator("#label-editor [name=class]:checked").input_value() == str(class_id)
    before = shares()
    page.mouse.move(*at(page, 0.2, 0.2))
    page.mouse.down()
    page.mouse.move(*at(page, 0.8, 0.2), steps=4)
    assert shares() == expected() != before  # while the stroke goes on
    page.mouse.up()


def test_locked_classes_are_not_painted_over(page):
    before = map_in(page)
    page.get_by_label("Lock skin").locator("..").click()
    page.get_by_label("Lock background").locator("..").click()
    skin = (before == CLASS_ID["skin"]) | (before == 0)
    choose(page, "hat")
    stroke(page, (0.05, 0.5), (0.95, 0.5))
    choose(page, "Lasso")
    stroke(page, (0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
    painted = map_in(page)
    assert np.array_equal(painted[skin], before[skin])
    assert (painted[20:110, 20:110][~skin[20:110, 20:110]] == CLASS_ID["hat"]).all()
    choose(page, "Fill")
    page.mouse.click(*at(page, 0.02, 0.02))
    assert np.array_equal(map_in(page), painted)
    page.get_by_label("Lock background").locator("..").click()
    page.mouse.click(*at(page, 0.02, 0.02))
    assert map_in(page)[0, 0] == CLASS_ID["hat"]


def test_hidden_classes_are_not_shown_but_stay(page):
    def alpha() -> int:
        page.evaluate("() => new Promise(requestAnimationFrame)")
        return page.eval_on_selector(
            "#label-editor canvas", "canvas => canvas.getContext('2d').getImageData(64, 80, 1, 1).data[3]"
        )

    before = map_in(page)
    assert alpha() == 255
    page.get_by_label(f"Hide {NAMES[before[80, 64]]}").locator("..").click()
    assert alpha() == 0
    assert np.array_equal(map_in(page), before)


def test_shift_draws_a_straight_line_from_the_last_stroke(page):
    press(page, "Clear")
    page.locator("[name=size]").fill("4")
    page.mouse.click(*at(page, 0.25, 0.25))
    page.keyboard.down("Shift")
    page.mouse.click(*at(page, 0.75, 0.75))
    page.keyboard.up("Shift")
    rows, columns = np.nonzero(map_in(page))
    assert set(map_in(page)[rows, columns]) == {CLASS_ID["hair"]}
    assert (rows.min(), rows.max()) == pytest.approx((30, 97), abs=1)
    assert set(range(31, 97)) <= set(rows)
    assert abs(rows - columns).max() <= 3


def test_alt_and_pick_take_the_class_under_the_pointer(page):
    before = map_in(page)
    page.keyboard.down("Alt")
    page.mouse.click(*at(page, 0.5, 0.6))
    page.keyboard.up("Alt")
    assert page.locator("#label-editor [name=class]:checked").input_value() == str(before[76, 64])
    choose(page, "Pick")
    page.mouse.click(*at(page, 0.5, 0.95))
    assert page.locator("#label-editor [name=class]:checked").input_value() == str(before[121, 64])
    assert before[121, 64] != before[76, 64]
    assert page.locator("#label-editor [name=tool]:checked").input_value() == "brush"
    assert np.array_equal(map_in(page), before)


def test_the_lasso_fills_its_outline(page):
    press(page, "Clear")
    choose(page, "Lasso")
    choose(page, "hat")
    stroke(page, (0.25, 0.25), (0.75, 0.25), (0.75, 0.5), (0.25, 0.5))
    expected = np.zeros((128, 128), np.uint8)
    expected[32:64, 32:96] = CLASS_ID["hat"]
    assert (map_in(page) != expected).sum() <= 2 * (32 + 64)  # the rim, where the window's pixels round
    assert (map_in(page)[34:62, 34:94] == CLASS_ID["hat"]).all()


def test_mirror_painting_knows_left_from_right(page):
    press(page, "Clear")
    choose(page, "Mirror")
    choose(page, "left eye")
    stroke(page, (0.7, 0.3), (0.8, 0.4))
    painted = map_in(page)
    assert set(painted[:, 64:].ravel()) == {0, CLASS_ID["left_eye"]}
    assert set(painted[:, :64].ravel()) == {0, CLASS_ID["right_eye"]}
    assert np.array_equal(mirror(painted), painted)
    choose(page, "hair")
    stroke(page, (0.1, 0.1), (0.6, 0.15))
    assert np.array_equal(mirror(map_in(page)), map_in(page))
    before = map_in(page)
    choose(page, "Fill")
    choose(page, "right brow")
    page.mouse.click(*at(page, 0.25, 0.35))
    assert np.array_equal(map_in(page) == CLASS_ID["left_brow"], before == CLASS_ID["left_eye"])
    assert np.array_equal(map_in(page) == CLASS_ID["right_brow"], before == CLASS_ID["right_eye"])


def test_mirror_map_is_the_mirror_of_the_labels(page, app):
    stroke(page, (0.1, 0.1), (0.4, 0.3))
    before = map_in(page)
    press(page, "Mirror map")
    assert np.array_equal(map_in(page), mirror(before))
    generate(page)
    assert np.array_equal(app.received[-1], mirror(before))


def test_the_view_zooms_about_the_pointer_and_pans(page):
    def pixel(class_name: str) -> list[int]:
        choose(page, class_name)
        page.mouse.move(*place)
        page.mouse.down()
        page.mouse.up()
        return np.argwhere(map_in(page) == CLASS_ID[class_name])[0].tolist()

    press(page, "Clear")
    page.locator("[name=size]").fill("1")
    page.locator("#label-editor .stage").scroll_into_view_if_needed()
    whole = page.locator("#label-editor canvas").bounding_box()
    place = at(page, 0.3, 0.6)
    here = pixel("skin")
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.querySelector('[name=fit]').innerText == '200%'")
    ring = page.locator("#label-editor .cursor").bounding_box()
    assert pixel("hat") == here
    assert page.locator("#label-editor canvas").bounding_box()["width"] == pytest.approx(2 * whole["width"], abs=1)
    assert ring["width"] == pytest.approx(2 * whole["width"] / 128, abs=0.5)
    before = map_in(page)
    page.keyboard.down("Space")
    page.mouse.down()
    page.mouse.move(place[0] + whole["width"] / 16, place[1], steps=3)
    page.mouse.up()
    page.keyboard.up("Space")
    assert np.array_equal(map_in(page), before)
    assert np.array(pixel("hair")) - here == pytest.approx((0, -4), abs=1)
    page.mouse.move(*place)
    page.mouse.down(button="middle")
    page.mouse.move(place[0] + 2000, place[1] + 2000)  # no further than the map's corner
    page.mouse.up(button="middle")
    assert page.locator("#label-editor canvas").bounding_box()["x"] == pytest.approx(whole["x"], abs=1)
    page.get_by_role("button", name="Show all").click()
    assert page.locator("#label-editor canvas").bounding_box() == pytest.approx(whole, abs=1)


def test_move_takes_a_region_along_and_closes_the_gap(page):
    press(page, "Clear")
    choose(page, "Lasso")
    choose(page, "skin")
    stroke(page, (0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))
    skin = map_in(page)
    choose(page, "Brush")
    choose(page, "nose")
    page.mouse.click(*at(page, 0.4, 0.4))
    nose = np.argwhere(map_in(page) == CLASS_ID["nose"])
    choose(page, "Move")
    stroke(page, (0.4, 0.4), (0.5, 0.6))
    moved = np.argwhere(map_in(page) == CLASS_ID["nose"])
    assert len(moved) == len(nose) > 100
    assert (moved - nose).min(0) == pytest.approx((26, 13), abs=1)
    assert len(np.unique(moved - nose, axis=0)) == 1
    rest = map_in(page)
    rest[rest == CLASS_ID["nose"]] = CLASS_ID["skin"]
    assert np.array_equal(rest, skin)
    press(page, "Undo")
    assert np.array_equal(np.argwhere(map_in(page) == CLASS_ID["nose"]), nose)


def test_a_hundred_random_operations_are_undone_and_redone_exactly(page, app):
    random = np.random.default_rng(0)

    corner, end = np.array(at(page, 0.05, 0.05)), np.array(at(page, 0.95, 0.95))

    def place() -> list[float]:
        return random.uniform(corner, end).tolist()

    def drag(key: str) -> None:
        page.keyboard.press(key)
        page.mouse.move(*place())
        page.mouse.down()
        for _ in range(3):
            page.mouse.move(*place())
        page.mouse.up()

    operations = [partial(drag, key) for key in "beflv"] * 3
    operations += [lambda: press(page, "Mirror map"), lambda: press(page, "Clear"), lambda: page.keyboard.press("m")]
    states, done = [map_in(page)], []
    page.locator("#label-editor canvas").focus()
    while len(states) <= 105:
        class_id = int(random.integers(NUM_CLASSES))
        page.keyboard.press("Shift+" * (class_id > 9) + f"Digit{class_id % 10}")
        operation = operations[random.integers(len(operations))]
        operation()
        state = map_in(page)
        if (state != states[-1]).any():
            states.append(state)
            done.append(operations.index(operation))
    assert set(done) >= {*range(5), 15, 16}
    for earlier in states[-2:-102:-1]:
        page.keyboard.press("Control+z")
        assert np.array_equal(map_in(page), earlier)
    assert page.locator("[name=undo]").is_disabled()
    for later in states[-100:]:
        page.keyboard.press("Control+Shift+Z")
        assert np.array_equal(map_in(page), later)
    assert page.locator("[name=redo]").is_disabled()
    generate(page)
    assert np.array_equal(app.received[-1], states[-1])


def test_a_reload_restores_the_drawing(page, app):
    loaded = map_in(page)
    stroke(page, (0.1, 0.1), (0.9, 0.3))
    painted = map_in(page)
    page.reload()
    page.wait_for_selector("#label-editor >> text=Your last drawing is back")
    assert np.array_equal(map_in(page), painted)
    page.wait_for_selector(".checkpoint.ready")
    generate(page)
    assert np.array_equal(app.received[-1], painted)
    press(page, "Reset")
    assert np.array_equal(map_in(page), loaded)
    page.evaluate('localStorage.setItem(\'facemogle-label-map\', \'{"height": 2, "width": 2, "runs": [19, 4]}\')')
    page.reload()
    page.wait_for_selector("#label-editor canvas")
    assert np.array_equal(map_in(page), loaded)


@pytest.mark.parametrize(
    "storage",
    [
        "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }",
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } })",
    ],
    ids=["full", "blocked"],
)
def test_the_editor_works_without_storage(browser, app, storage):
    with closing(browser.new_context(viewport={"width": 1440, "height": 1000})) as context:
        context.add_init_script(f"{storage};")
        page = context.new_page()
        page.goto(app.url)
        page.wait_for_selector(".checkpoint.ready")
        before = map_in(page)
        stroke(page, (0.1, 0.1), (0.9, 0.3))
        painted = map_in(page)
        assert (painted != before).any()
        generate(page)
        assert np.array_equal(app.received[-1], painted)


def test_a_drawn_face_or_a_blank_map_is_a_start(page, app):
    for kind, expected in [("bald", template_face("bald")), ("blank", np.zeros((512, 512), np.uint8))]:
        page.locator("#label-editor summary").click()
        press(page, kind)
        page.wait_for_selector(f"#label-editor >> text=Started from: {kind}.")
        assert np.array_equal(map_in(page), expected)
    choose(page, "hat")
    stroke(page, (0.3, 0.3), (0.6, 0.3))
    generate(page)
    assert np.array_equal(app.received[-1], map_in(page))
    assert app.received[-1].shape == (512, 512)
    press(page, "Reset")
    assert not map_in(page).any()


def test_held_space_and_arrows_are_a_stroke(page):
    press(page, "Clear")
    page.locator("#label-editor canvas").focus()
    page.keyboard.down("Space")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.keyboard.up("Space")
    columns = np.nonzero(map_in(page))[1]
    assert columns.max() - columns.min() == pytest.approx(24 + 36, abs=2)
    page.keyboard.press("Control+z")
    assert not map_in(page).any()


def test_maps_are_opened_saved_and_refused(page, tmp_path):
    face = np.random.default_rng(0).integers(0, 19, (40, 60), dtype=np.uint8)
    write_label_map(tmp_path / "face.png", face)
    (tmp_path / "text.png").write_text("no picture")
    chooser = page.locator("#label-editor [name=file]")
    chooser.set_input_files(tmp_path / "face.png")
    page.wait_for_selector("#label-editor >> text=Opened, 60×40.")
    assert np.array_equal(map_in(page), face)
    chooser.set_input_files(tmp_path / "text.png")
    page.wait_for_selector("#label-editor .failed >> text=not a picture")
    assert np.array_equal(map_in(page), face)
    (tmp_path / "large.png").write_bytes(bytes(MAX_FILE_BYTES + 1))
    chooser.set_input_files(tmp_path / "large.png")
    page.wait_for_selector("#label-editor .failed >> text=larger than 32 MB")
    page.evaluate("() => { FileReader.prototype.readAsDataURL = function () { this.onerror(); }; }")
    chooser.set_input_files(tmp_path / "face.png")
    page.wait_for_selector("#label-editor .failed >> text=cannot read face.png")
    with page.expect_download() as download:
        press(page, "Save")
    download.value.save_as(tmp_path / "saved.png")
    assert np.array_equal(read_label_map(tmp_path / "saved.png")[0], face)


def test_examples_replace_map_and_prompt(page, app):
    page.locator("#examples button").nth(1).click()
    page.wait_for_function("document.querySelector('#prompt textarea').value == 'a face upside down'")
    assert np.array_equal(map_in(page), EXAMPLES[1].label_map)
    stroke(page, (0.1, 0.1), (0.9, 0.9))
    page.locator("#examples button").nth(1).click()
    page.wait_for_function(
        "sum => document.querySelector('#label-editor canvas').labelMap().reduce((a, b) => a + b) == sum",
        arg=int(EXAMPLES[1].label_map.sum()),
    )
    generate(page)
    assert np.array_equal(app.received[-1], EXAMPLES[1].label_map)


def test_known_words_are_clicked_into_the_prompt(page):
    def prompt_becomes(text: str) -> None:
        page.wait_for_function("text => document.querySelector('#prompt textarea').value == text", arg=text)

    page.locator("#prompt textarea").fill("a woman")
    page.get_by_text("Words it knows").click()
    page.locator("#words").get_by_text("hair colour").click()
    page.get_by_role("button", name="red hair").click()
    prompt_becomes("a woman, red hair")
    page.get_by_role("button", name="blue hair").click()
    prompt_becomes("a woman, blue hair")
    page.locator("#words").get_by_text("hat", exact=True).click()
    page.get_by_role("button", name="a wide hat").click()
    prompt_becomes("a woman, blue hair, a wide hat")


def test_cancel_leaves_the_page_usable(page, app, slow):
    set_number(page, "steps", 50)
    for runs in range(2):  # without and with a face from before
        face = page.locator("#face img").get_attribute("src") if runs else None
        assert page.locator("#cancel").is_hidden()
        page.click("#generate")
        page.wait_for_selector("#status >> text=Step 4")
        page.click("#cancel")
        page.wait_for_selector("#status >> text=Cancelled.")
        assert page.locator("#cancel").is_hidden()
        assert page.locator(".toast-body").count() == 0
        if not runs:
            page.wait_for_selector("#face img", state="detached")
            set_number(page, "steps", 2)
            generate(page)
            set_number(page, "steps", 50)
        else:
            page.wait_for_function("face => document.querySelector('#face img')?.src == face", arg=face)


def test_who_waits_is_told_and_may_cancel(open_page, app, slow):
    first, second = open_page(), open_page()
    set_number(first, "steps", 50)
    first.click("#generate")
    first.wait_for_selector("#status >> text=Step")
    runs = len(app.received)
    second.click("#generate")
    second.wait_for_selector("#status .running >> text=Waiting for your turn")
    second.click("#cancel")
    second.wait_for_selector("#status >> text=Cancelled.")
    first.click("#cancel")
    first.wait_for_selector("#status >> text=Cancelled.")
    app.pace = 0
    generate(first)
    assert len(app.received) == runs + 1


def test_a_refused_request_does_not_wait_for_ever(browser, app, monkeypatch):
    page = browser.new_page()  # not open_page: the refusal is an error on the console
    page.goto(app.url)
    page.wait_for_selector(".checkpoint.ready")
    with monkeypatch.context() as full:
        full.setattr(app.blocks._queue, "max_size", 0)
        page.click("#generate")
        page.wait_for_selector("#status .failed >> text=Not started.")
    generate(page)
    page.close()


def test_a_missing_seed_is_explained(page):
    set_number(page, "seed", "")
    page.click("#generate")
    page.wait_for_selector("#status .failed >> text=Seed must be a whole number")
    page.click("#dice")
    page.wait_for_function("document.querySelector('#seed input').value")
    set_number(page, "steps", "")
    generate(page)  # one step, so that there is no slider over the steps
    page.wait_for_selector("#experts figure:nth-of-type(20)")


def test_two_visitors_do_not_meet(open_page, app):
    first, second = open_page(), open_page()
    press(first, "Clear")
    set_number(first, "seed", 1)
    set_number(second, "seed", 2)
    generate(first)
    own = [expert_pictures(first), show_step(first, 1)]
    generate(second)
    assert np.array_equal(app.received[-1], EXAMPLES[0].label_map)
    assert expert_pictures(second) not in own
    assert show_step(first, 4) == own[0]
    assert show_step(first, 1) == own[1]


def test_a_phone_paints_by_touch_and_nothing_overflows(open_page):
    page = open_page(viewport={"width": 360, "height": 780}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    before = map_in(page)
    page.locator("#label-editor canvas").scroll_into_view_if_needed()
    page.touchscreen.tap(*at(page, 0.5, 0.5))
    assert set(map_in(page)[map_in(page) != before]) == {CLASS_ID["hair"]}


def test_every_control_has_a_name(page):
    unnamed = page.evaluate(
        """() => Array.from(document.querySelectorAll('.gradio-container :is(button, input, textarea, canvas)'))
            .filter(e => e.offsetParent && !e.ariaLabel && !e.labels?.length && !e.textContent.trim() && !e.title
                         && !e.querySelector('img[alt]'))
            .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []


def test_the_api_takes_label_maps_and_survives_forged_ones(app):
    client = gradio_client.Client(app.url, verbose=False)
    with pytest.raises(gradio_client.exceptions.AppError, match="cover 8x8 pixels exactly"):
        client.predict({"height": 8, "width": 8, "runs": [0, 10**12]}, "", 3, 1, api_name="/generate")
    face = template_face(size=32)
    picture, status = client.predict(encode(face), "", 3, 1, api_name="/generate")
    assert np.array_equal(app.received[-1], face)
    assert Path(picture).suffix == ".png"
    assert "the map alone" in status
