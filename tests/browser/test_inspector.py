"""The gating inspector in a real browser: what it shows must be what numpy says."""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import cv2
import gradio as gr
import numpy as np
import pytest
from PIL import Image

from facemogle.gating import EXPERTS, GatingRecord, locality, winners
from facemogle.ui import layout
from facemogle.ui.gating_inspector.component import MAX_RUNS, GatingInspector, Inspected
from tests.browser.actions import shut

HAIR = EXPERTS.index("hair")
NAMES = [name.replace("_", " ") for name in EXPERTS]


def run(seed: int, *, steps: int = 5, grid: tuple[int, int] = (6, 8), has_map: bool = True, **named) -> Inspected:
    """Weights that are exact in half precision but for their last bits; skin left, hair right, background between."""
    scores = np.exp(np.random.default_rng(seed).normal(size=(steps, 1, 20, *grid)))
    weights = (scores / scores.sum(2, keepdims=True)).astype(np.float16)
    label_map = np.zeros((60, 80), np.uint8)
    label_map[:, :30] = 1
    label_map[:, 50:] = 13
    record = GatingRecord(weights, np.linspace(1000, 200, steps))
    face = Image.new("RGB", (80, 60), (180, 120, 40 * seed % 256))
    return Inspected(f"seed {seed}, <b>a woman</b>", record, 0, face, label_map if has_map else None, **named)


RUNS = {
    "first": run(1, key="one"),
    "second": run(2, steps=9, grid=(8, 8), names={"one": "hair ×0"}),
    "text": run(3, has_map=False),
    "brief": run(4, steps=1),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with gr.Blocks() as blocks:
        inspector = GatingInspector(elem_id="inspector")
        for name, inspected in RUNS.items():
            gr.Button(name).click(lambda inspected=inspected: inspected, None, inspector)
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    yield url
    shut(blocks)


@pytest.fixture
def page(browser, url) -> Iterator:
    """A page with an empty inspector; whatever goes wrong there fails the test in the end."""
    problems: list[str] = []
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: request.url.startswith("http") and not request.url.startswith(url)
            and problems.append(f"asked {request.url}"))  # fmt: skip
    page.goto(url)
    page.wait_for_selector("#inspector .empty")
    yield page
    context.close()
    assert problems == []


def receive(page, *names: str) -> None:
    for name in names:
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_function(
            "title => document.querySelector('#inspector .title')?.textContent == title", arg=RUNS[name].title
        )
    settle(page)


def settle(page) -> None:
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def view(page, name: str) -> None:
    page.locator("#inspector .choice").get_by_text(name, exact=True).click()
    settle(page)


def tick(page, name: str) -> None:
    page.locator("#inspector").get_by_label(name).click()
    settle(page)


def go_to(page, step: int) -> None:
    page.locator("#inspector [name=step]").fill(str(step))
    settle(page)


def texts(page, selector: str, column: int = 0) -> list[str]:
    return page.locator("#inspector .run").nth(column).locator(selector).all_inner_texts()


def rows(page, selector: str, column: int = 0) -> list[list[str]]:
    """The cells of a table's body."""
    body = page.locator("#inspector .run").nth(column).locator(f"{selector} tbody tr")
    return [[text.strip() for text in row.locator("th, td").all_inner_texts()] for row in body.all()]


def percent(share: float) -> str:
    return f"{100 * share:.{2 if 0 < 100 * share < 1 else 1}f}%"


def close(shown: list[str], expected: np.ndarray) -> None:
    """Percents as shown are rounded to their last digit."""
    values = [float(text.rstrip("%")) for text in shown]
    tolerance = [0.5001 * 10.0 ** -len(text.rstrip("%").partition(".")[2]) for text in shown]
    assert len(values) == len(expected)
    assert (abs(np.array(values) - 100 * np.asarray(expected)) <= tolerance).all()


def place(page, row: float, column: float, grid: tuple[int, int], number: int = 0) -> None:
    """Bring the pointer to the middle of a token of the large picture."""
    box = page.locator("#inspector .large .picture").nth(number).bounding_box()
    x, y = (column + 0.5) / grid[1] * box["width"], (row + 0.5) / grid[0] * box["height"]
    page.mouse.move(box["x"] + x, box["y"] + y)
    settle(page)


def pixels(page, selector: str, column: int = 0) -> np.ndarray:
    """(h, w, 4) RGBA of a canvas."""
    canvas = page.locator("#inspector .run").nth(column).locator(f"{selector} canvas").first
    height, width, values = canvas.evaluate(
        "c => [c.height, c.width, Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]"
    )
    return np.array(values, int).reshape(height, width, 4)


def viridis(shares: np.ndarray) -> np.ndarray:
    levels = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1].astype(int)


def test_before_the_first_run_there_is_one_sentence(page):
    assert "first run" in page.locator("#inspector .empty").inner_text()
    assert page.locator("#inspector .bench").is_hidden()
    receive(page, "first")
    assert page.locator("#inspector .empty").is_hidden()
    assert page.locator("#inspector .title").inner_text() == RUNS["first"].title  # and no bold face


def test_maps_and_means_follow_the_slider(page):
    receive(page, "first")
    weights = RUNS["first"].gating.over_steps()
    for step in (4, 1, 0):  # at first the last step is shown
        if step != 4:
            go_to(page, step)
        close(texts(page, ".card b"), weights[step].mean((1, 2)))
        shown = pixels(page, f".card:nth-child({HAIR + 1})")
        assert abs(shown[..., :3] - viridis(weights[step, HAIR] / weights[:, HAIR].max())).max() <= 8
        alpha = 255 * 0.85 * (0.25 + 0.75 * weights[step, HAIR] / weights[:, HAIR].max())
        assert abs(shown[..., 3] - alpha).max() <= 2
    assert page.locator("#inspector [name=when]").inner_text() == "Step 1 of 5, 100% noise"


def test_one_scale_for_all(page):
    receive(page, "first")
    weights = RUNS["first"].gating.over_steps()
    tick(page, "One scale for all")
    shown = pixels(page, f".card:nth-child({HAIR + 1})")
    assert abs(shown[..., :3] - viridis(weights[-1, HAIR] / weights.max())).max() <= 8
    close(texts(page, ".maps .scale span"), np.linspace(0, 1, 5) * weights.max())


def test_an_expert_is_shown_large_with_its_class(page):
    inspected = RUNS["first"]
    receive(page, "first")
    inside, outside = locality(inspected.gating, inspected.label_map)[2, HAIR - 1]
    go_to(page, 2)
    page.locator("#inspector .card").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    settle(page)
    note = page.locator("#inspector .note").inner_text()
    assert note.startswith("hair") and f"inside its class {percent(inside)}" in note
    assert f"outside {percent(outside)}, ratio {inside / outside:.2f}" in note
    assert page.locator("#inspector .card[aria-pressed=true]").inner_text().startswith("hair")
    assert (pixels(page, ".large") == pixels(page, f".card:nth-child({HAIR + 1})")).all()
    outline = page.locator("#inspector .large .outline")
    assert outline.get_attribute("viewBox") == "0 0 80 60"
    assert outline.locator("path").first.get_attribute("d") == "M50 0V60"  # hair's only border inside the map
    page.locator("#inspector .card").nth(EXPERTS.index("hat")).click()
    settle(page)
    assert "absent" in page.locator("#inspector .note").inner_text()


def test_who_decides(page):
    receive(page, "first")
    view(page, "Who decides")
    go_to(page, 3)
    for first, weights in ((0, RUNS["first"].gating.at(3)), (1, RUNS["first"].gating.at(3)[1:])):
        if first:
            tick(page, "Without the global expert")
        best, lead = winners(weights)
        expected = {NAMES[e + first]: ((best == e).mean(), lead[best == e].mean()) for e in np.unique(best)}
        table = rows(page, ".legend")
        assert {row[0] for row in table} == set(expected)
        close([row[2] for row in table], [expected[row[0]][0] for row in table])
        close([row[3] for row in table], [expected[row[0]][1] for row in table])
        assert [float(row[2][:-1]) for row in table] == sorted((float(row[2][:-1]) for row in table), reverse=True)
        shown = pixels(page, ".large")
        order = np.argsort(shown[..., 3].ravel())
        assert (np.diff(lead.ravel()[order]) > -0.01).all()  # the fainter the closer
    tick(page, "Faint where it is close")
    assert len(np.unique(pixels(page, ".large")[..., 3])) == 1


@pytest.mark.parametrize("name", ["Experts", "Who decides"])
def test_a_place_is_pointed_at_by_pointer_and_by_keys(page, name):
    weights = RUNS["first"].gating.over_steps()
    receive(page, "first")
    view(page, name)
    place(page, 1, 6, (6, 8))
    page.mouse.down()
    page.mouse.up()
    go_to(page, 2)

    def is_at(row: int, column: int) -> None:
        table = rows(page, ".bars")
        assert [cells[0] for cells in table] == NAMES
        close([cells[-1] for cells in table], weights[2, :, row, column])
        assert f"Row {row + 1}, column {column + 1}" in page.locator("#inspector .bars caption").inner_text()
        bars = page.locator("#inspector .bars .strip").evaluate_all(
            "strips => strips.map(strip => parseFloat(strip.style.getPropertyValue('--share')))"
        )
        np.testing.assert_allclose(np.array(bars) / bars[0], weights[2, :, row, column] / weights[2, 0, row, column],
                                   rtol=0.03, atol=0.05)  # fmt: skip

    is_at(1, 6)
    assert "hair in the map" in page.locator("#inspector .bars caption").inner_text()
    place(page, 4, 0, (6, 8))
    is_at(4, 0)  # hovering
    page.mouse.move(0, 0)
    settle(page)
    is_at(1, 6)  # back where it was clicked
    page.locator("#inspector .large .picture").focus()
    for key in ("ArrowDown", "ArrowLeft", "ArrowRight", "ArrowRight", "ArrowRight"):  # the last one stops at the edge
        page.keyboard.press(key)
    settle(page)
    is_at(2, 7)


def test_curves_at_a_place(page):
    receive(page, "first")
    place(page, 3, 2, (6, 8))
    line = page.locator(f"#inspector .curves [data-expert='{HAIR}'] .curve")
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", line.get_attribute("d")), float)
    weights = RUNS["first"].gating.over_steps()[:, HAIR, 3, 2]
    assert len(points) == 5 and (np.diff(points[:, 0]) > 0).all()
    fit = np.polyfit(weights, points[:, 1], 1)
    assert fit[0] < 0 and abs(np.polyval(fit, weights) - points[:, 1]).max() < 0.2
    assert page.locator("#inspector .curves svg[role=img]").get_attribute("aria-label")


def test_how_local_experts_are_over_the_steps(page):
    inspected = RUNS["first"]
    receive(page, "first")
    view(page, "Over the steps")
    means = locality(inspected.gating, inspected.label_map).mean(0)
    ratios = means[:, 0] / means[:, 1]
    table = rows(page, ".ranks")
    present = ("background", "skin", "hair")
    ranked = sorted(present, key=lambda name: -ratios[EXPERTS.index(name) - 1])
    assert [row[0] for row in table[:3]] == ranked
    for name, inside, outside, ratio in table[:3]:
        index = EXPERTS.index(name) - 1
        close([inside, outside], means[index])
        assert abs(float(ratio) - ratios[index]) < 0.006
    assert {row[0] for row in table[3:]} == set(NAMES[1:]) - set(present)
    assert all(row[1] == "–" and "absent" in row[3] for row in table[3:])
    panel = page.locator("#inspector .cells figure").nth(HAIR)
    assert panel.locator(".inside").count() == panel.locator(".outside").count() == 1
    first, last = locality(inspected.gating, inspected.label_map)[[0, -1], HAIR - 1, 0]
    assert f"from {percent(first)} to {percent(last)}" in panel.locator("svg").get_attribute("aria-label")


def test_two_runs_side_by_side_share_their_scales(page):
    receive(page, "first", "second")
    assert page.locator("#inspector .run").count() == 1
    page.locator("#inspector select").select_option(label="1: hair ×0")
    settle(page)
    assert texts(page, ".title", 0) == [RUNS["second"].title] and texts(page, ".title", 1) == [RUNS["first"].title]
    go_to(page, 2)  # timestep 800 of 1000, 900 .. 200, as is step 1 of the other
    close(texts(page, ".card b", 0), RUNS["second"].gating.at(2).mean((1, 2)))
    close(texts(page, ".card b", 1), RUNS["first"].gating.at(1).mean((1, 2)))
    top = max(RUNS[name].gating.over_steps()[:, HAIR].max() for name in ("first", "second"))
    for column, weights in enumerate((RUNS["second"].gating.at(2), RUNS["first"].gating.at(1))):
        shown = pixels(page, f".card:nth-child({HAIR + 1})", column)
        assert abs(shown[..., :3] - viridis(weights[HAIR] / top)).max() <= 8
    place(page, 0, 7, (6, 8), number=1)
    close([row[-1] for row in rows(page, ".bars", 0)], RUNS["second"].gating.at(2)[:, 0, 7])
    close([row[-1] for row in rows(page, ".bars", 1)], RUNS["first"].gating.at(1)[:, 0, 7])
    for name in ("Who decides", "Over the steps"):
        view(page, name)
        assert page.locator("#inspector .run").nth(1).locator("tbody tr:visible").count() > 0


def test_the_last_runs_are_held(page):
    receive(page, *["first", "second"] * (MAX_RUNS // 2), "text")
    options = page.locator("#inspector select option").all_inner_texts()
    assert len(options) == MAX_RUNS  # the newest is no choice, but nothing is
    assert options[1].startswith(f"{MAX_RUNS}: seed 2") and options[-1].startswith("2: seed 2")


def test_a_run_without_a_label_map(page):
    receive(page, "text")
    page.locator("#inspector .card").nth(HAIR).click()
    settle(page)
    assert page.locator("#inspector .large .outline path").first.get_attribute("d") == ""
    assert "no label map" in page.locator("#inspector .note").inner_text()
    assert "in the map" not in page.locator("#inspector .bars caption").inner_text()
    view(page, "Over the steps")
    assert page.locator("#inspector .ranks table").is_hidden() and page.locator("#inspector .ranks .none").is_visible()
    assert page.locator("#inspector .cells .all").count() == 20


def test_a_run_of_one_step(page):
    receive(page, "brief")
    assert page.locator("#inspector [name=step]").is_hidden()
    view(page, "Over the steps")
    assert page.locator("#inspector .cells .inside").count() == 3


def test_playing_ends_at_the_last_step(page):
    receive(page, "first")
    page.get_by_role("button", name="Play the steps").click()
    page.get_by_role("button", name="Stop").wait_for()
    page.get_by_role("button", name="Play the steps").wait_for(timeout=15_000)
    assert page.locator("#inspector [name=step]").input_value() == "4"


def export(page, name: str):
    page.locator("#inspector .menu summary").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name=name).first.click()
    return download.value


def test_files(page):
    weights = RUNS["first"].gating.weights
    receive(page, "first")
    go_to(page, 1)
    saved = export(page, "Weights for numpy")
    np.testing.assert_array_equal(np.load(saved.path())["weights"], weights)
    assert saved.suggested_filename == "gating.npz"
    saved = export(page, "Experts at this step")
    assert saved.suggested_filename == "experts-step-2.png"
    with Image.open(io.BytesIO(saved.path().read_bytes())) as picture:
        assert picture.format == "PNG"
    with Image.open(io.BytesIO(export(page, "Experts at all steps").path().read_bytes())) as film:
        assert film.n_frames == 5
    svg = export(page, "Curves over the steps").path().read_text()
    root = ElementTree.fromstring(svg)
    assert root.find("{*}title").text == RUNS["first"].title
    drawn = [path.get("class") for path in root.iter("{http://www.w3.org/2000/svg}path")]
    assert drawn.count("inside") == 3 and drawn.count("outside") == 19 and drawn.count("all") == 1
    assert "saved as curves.svg" in page.locator("#inspector .message").first.inner_text().lower()


def test_a_refused_export_says_why(page):
    receive(page, "first")
    page.route("**/component_server/", lambda route: route.continue_(post_data=route.request.post_data.replace(
        '"timesteps":[1000', '"timesteps":[100000')))  # fmt: skip
    page.locator("#inspector .menu summary").first.click()
    page.get_by_role("button", name="Weights for numpy").click()
    page.get_by_text("Not saved: timesteps must be a list").wait_for()


@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_sticks_out(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    receive(page, "first", "second")
    page.locator("#inspector select").select_option("1")
    for name in ("Experts", "Who decides", "Over the steps"):
        view(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        right = "element => element.getBoundingClientRect().right"
        edge = page.locator("#inspector .bench").evaluate(right)
        inner = page.locator("#inspector .run").locator("table, svg, button, canvas, summary, .numbers")
        assert max(inner.evaluate_all(f"parts => parts.map({right})")) <= edge + 2


def test_looking_around_asks_the_server_nothing(page):
    receive(page, "first", "second")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("Who decides", "Over the steps", "Experts"):
        view(page, name)
        go_to(page, 1)
    page.locator("#inspector select").select_option("1")
    place(page, 2, 2, (8, 8))
    assert [address for address in asked if address.startswith("http") and "heartbeat" not in address] == []
