"""How quick the label editor is: `python tests/benchmarks/editor.py`, in a headless browser at 512x512.

From the end of a stroke until Python holds the map, in ms; and frames per second while a long stroke is painted.
"""

import shutil
import statistics
import time
from itertools import pairwise

import gradio as gr
from playwright.sync_api import Page, sync_playwright

from facemogle.templates import template_face
from facemogle.ui.label_editor.component import LabelEditor

STROKES, SECONDS = 20, 5
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

# A pointer that circles over the map, moved 120 times a second by the page itself: Playwright's own moves are too few.
PAINT = """seconds => new Promise((done) => {
    const canvas = document.querySelector("#label-editor canvas"), box = canvas.getBoundingClientRect();
    canvas.setPointerCapture = () => {};
    const send = (type, turn) => canvas.dispatchEvent(new PointerEvent(type, {
        bubbles: true, cancelable: true, pointerId: 1, pointerType: "pen", button: type === "pointermove" ? -1 : 0,
        clientX: box.x + box.width * (0.5 + 0.4 * Math.cos(turn)),
        clientY: box.y + box.height * (0.5 + 0.4 * Math.sin(3 * turn)),
    }));
    const start = performance.now(), frames = [], turn = () => (performance.now() - start) / 300;
    send("pointerdown", 0);
    const moving = setInterval(() => send("pointermove", turn()), 1000 / 120);
    requestAnimationFrame(function frame(now) {
        frames.push(now);
        if (now < start + 1000 * seconds) return requestAnimationFrame(frame);
        clearInterval(moving);
        send("pointerup", turn());
        done(frames);
    });
})"""


def answer_times(page: Page, arrivals: list[float]) -> list[float]:
    """ms from each pointerup to the time at which the handler was called with the map; one clock serves both."""
    page.evaluate(
        """() => {
            document.querySelector("#label-editor form").dataset.live = "on";
            const note = () => { window.ended = performance.timeOrigin + performance.now(); };
            addEventListener("pointerup", note, true);
        }"""
    )
    box = page.locator("#label-editor canvas").bounding_box()
    assert box
    times = []
    for number in range(STROKES):
        y = box["y"] + box["height"] * (number + 0.5) / STROKES
        page.mouse.move(box["x"] + 20, y)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 20, y, steps=10)
        page.mouse.up()
        deadline = time.monotonic() + 10
        while len(arrivals) <= number and time.monotonic() < deadline:
            page.wait_for_timeout(5)
        times.append(1000 * arrivals[number] - page.evaluate("window.ended"))
        page.wait_for_timeout(100)
    return times


def frame_rates(page: Page) -> tuple[list[float], float]:
    """Frames per second at each frame, and ms that the page itself worked a frame, whatever else the machine does."""

    def worked() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = worked()
    frames = page.evaluate(PAINT, SECONDS)
    work = (worked() - before) / len(frames)
    return [1000 / (later - earlier) for earlier, later in pairwise(frames)], work


def main() -> None:
    arrivals: list[float] = []
    with gr.Blocks() as blocks:
        editor = LabelEditor(template_face(), elem_id="label-editor")
        editor.stroke(
            lambda label_map: arrivals.append(time.time()),
            editor,
            None,
            trigger_mode="multiple",
            show_progress="hidden",
            api_visibility="private",  # else the page keeps every map of the visit in its run history
        )
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True)
    names = ("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        executable = next(filter(None, map(shutil.which, names)), None)
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        page = browser.new_page(viewport={"width": 900, "height": 1000})
        page.goto(url)
        page.wait_for_selector("#label-editor canvas")
        page.wait_for_timeout(1000)
        rates, work = frame_rates(page)
        times = answer_times(page, arrivals)
        browser.close()
    blocks.close()
    print(f"{statistics.median(times):7.0f} ms   from the end of a stroke to Python, median; the first {times[0]:.0f}")
    print(f"{statistics.median(rates):7.0f} /s   frames while painting, median; worst {min(rates):.0f}")
    print(f"{work:7.1f} ms   of the page's own work a frame")


if __name__ == "__main__":
    main()
