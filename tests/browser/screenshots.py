"""Take the README's pictures anew: `python tests/browser/screenshots.py`, with the bundled checkpoint and Chromium.

`assets/app.png` and `app-dark.png` after two runs, and `assets/painting.webp`: painting with Live on, as it went.
"""

import base64
import io
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.actions import choose, stroke  # noqa: E402
from tests.browser.served import PATIENCE, open_page, served  # noqa: E402

ASSETS = ROOT / "assets"
SHOWN = 900, 600  # of the moving picture, in pixels
PAUSE = 1200  # milliseconds, to look at a face
PROMPT = "a young woman with red hair and blue eyes wearing glasses and a yellow hat with a brim, on a teal background"
STROKES = (  # tool, class, and where, in fractions of the map
    ("brush", "hair", ((0.23, 0.45), (0.18, 0.58), (0.19, 0.72), (0.23, 0.84), (0.28, 0.92))),
    ("brush", "hair", ((0.77, 0.45), (0.82, 0.58), (0.81, 0.72), (0.77, 0.84), (0.72, 0.92))),
    ("lasso", "hat", ((0.04, 0.31), (0.12, 0.27), (0.20, 0.24), (0.21, 0.15), (0.27, 0.07), (0.38, 0.01), (0.62, 0.01),
                      (0.73, 0.07), (0.79, 0.15), (0.80, 0.24), (0.88, 0.27), (0.96, 0.31), (0.84, 0.34), (0.66, 0.31),
                      (0.50, 0.30), (0.34, 0.31), (0.16, 0.34), (0.04, 0.31))),
)  # fmt: skip


def main() -> None:
    with served() as (browser, url):
        paint(open_page(browser, url, width=1320, height=880), ASSETS / "painting.webp")
        for name, theme in (("app", "light"), ("app-dark", "dark")):
            page = open_page(browser, url, theme=theme)
            make_two_faces(page)
            page.screenshot(path=ASSETS / f"{name}.png", full_page=True)
            page.close()


def make_two_faces(page: Page) -> None:
    """The first example in its own words, then with another hair colour: something to compare."""
    prompt = page.locator("#prompt textarea")
    for text in (prompt.input_value(), prompt.input_value().replace("red", "blue")):
        prompt.fill(text)
        page.click("#generate")
        page.wait_for_selector("#status .run.running", timeout=PATIENCE)
        page.wait_for_selector("#status .run.idle", timeout=PATIENCE)
    page.wait_for_selector("#history button:nth-of-type(2)")
    page.wait_for_timeout(1000)  # for transitions


def paint(page: Page, file: Path) -> None:
    """Film some strokes, each of which ends in a face."""
    page.locator("#prompt textarea").fill(PROMPT)
    page.get_by_label("Live").check()
    page.locator("#label-editor input[name=size]").fill("56")
    session, frames = page.context.new_cdp_session(page), []

    def take(frame: dict) -> None:
        frames.append((frame["metadata"]["timestamp"], base64.b64decode(frame["data"])))
        session.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

    session.on("Page.screencastFrame", take)
    session.send("Page.startScreencast", {"format": "jpeg", "quality": 90})
    for tool, name, places in STROKES:
        page.locator(f"#label-editor input[name=tool][value={tool}]").check(force=True)
        choose(page, name)
        seen = page.locator("#face img").get_attribute("src") if page.locator("#face img").count() else None
        stroke(page, *places)
        page.wait_for_function("seen => (document.querySelector('#face img')?.src ?? seen) != seen", arg=seen)
        page.wait_for_selector("#status .run.idle", timeout=PATIENCE)
        page.wait_for_timeout(PAUSE)
    session.send("Page.stopScreencast")
    write_film(frames, file)


def write_film(frames: Sequence[tuple[float, bytes]], file: Path) -> None:
    """Of (second, JPEG); each is shown for as long as it was seen."""
    frames = sorted(frames)  # they may overtake each other
    seconds = [second for second, _ in frames]
    lasting = [round(1000 * (after - before)) for before, after in pairwise(seconds)]
    pictures = [Image.open(io.BytesIO(data)).resize(SHOWN, Image.Resampling.LANCZOS) for _, data in frames]
    pictures[0].save(
        file, save_all=True, append_images=pictures[1:], duration=[*lasting, PAUSE], loop=0, quality=70, method=4
    )


if __name__ == "__main__":
    main()
