"""How quick Live is, and how close it comes: `python tests/benchmarks/live.py`, with mini, in a headless browser.

From the end of a stroke until the page shows the face, in s; and the mean absolute difference of 0..255 between that
face and the one that Generate then makes of the same map, beside that of two seeds.
"""

import io
import statistics
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.served import open_page, served  # noqa: E402

STROKES = 12
PATIENCE = 40_000  # milliseconds
TIMED = """() => {
    addEventListener("pointerup", () => (window.lifted = performance.now()), true);
    const note = ({ target }) => { if (target.closest("#face")) window.shown = performance.now(); };
    document.addEventListener("load", note, true); // a load never reaches the window
}"""


def shown(page: Page) -> np.ndarray:
    """(H, W, 3), the face on the page."""
    file = io.BytesIO(page.request.get(page.locator("#face img").get_attribute("src")).body())
    return np.asarray(Image.open(file).convert("RGB"), float)


def stroke(page: Page, number: int) -> float:
    """Some hat -> seconds until the page shows another face."""
    box = page.locator("#label-editor canvas").bounding_box()
    assert box
    x, y = box["x"] + box["width"] * (0.3 + 0.03 * number), box["y"] + box["height"] * 0.2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 30, steps=5)
    page.evaluate("window.shown = 0")
    page.mouse.up()
    page.wait_for_function("window.shown > window.lifted", timeout=PATIENCE)
    return page.evaluate("(window.shown - window.lifted) / 1000")


def generate(page: Page) -> np.ndarray:
    page.evaluate("window.shown = 0")
    page.click("#generate")
    page.wait_for_selector("#status .run.running", timeout=PATIENCE)
    page.wait_for_selector("#status .run.idle", timeout=PATIENCE)
    page.wait_for_timeout(1000)
    return shown(page)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def main() -> None:
    with served() as (browser, url):
        page = open_page(browser, url)
        page.evaluate(TIMED)
        page.get_by_label("Live").check()
        page.locator("#label-editor input[name=class][value='14']").check(force=True)
        times = [stroke(page, number) for number in range(STROKES)]
        quick, full = shown(page), generate(page)
        page.locator("#seed input").fill("8")
        page.locator("#seed input").blur()
        other = generate(page)
    print(f"from the end of a stroke to the face: {statistics.median(times[1:]):.2f} s, the first {times[0]:.2f} s")
    print(f"from the full run's picture: {difference(quick, full):.1f}, another seed's: {difference(full, other):.1f}")


if __name__ == "__main__":
    main()
