"""How soon the page can be painted on, and what it fetches: `python tests/benchmarks/opening.py`, in a browser.

From the navigation until the canvas takes strokes, in s, each time with an empty cache, while mini's weights are there;
and the bytes that came over the wire, as Chromium counts them.
"""

import shutil
import statistics
import sys
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from facemogle.threads import spin_shortly  # noqa: E402
from tests.browser.actions import transferred  # noqa: E402

spin_shortly()

from facemogle.checkpoints import (  # noqa: E402
    default_parser,
    default_settings,
    describe,
    load_parser,
    load_pipeline,
    parser_available,
    parsers,
    prompt_suggestions,
    prompt_words,
)
from facemogle.ui import layout  # noqa: E402
from facemogle.ui.examples import load_examples  # noqa: E402
from facemogle.ui.photo.handlers import Parsers  # noqa: E402
from facemogle.ui.provider import PipelineProvider  # noqa: E402

VISITS = 9
# The editor gives its canvas a labelMap as the last thing of all.
NOTE = """function note() {
    if (document.querySelector("#label-editor canvas")?.labelMap) window.usable = performance.now() / 1000;
    else requestAnimationFrame(note);
}
note();"""


def visit(browser: Browser, url: str) -> tuple[float, dict[str, int]]:
    """Seconds until the canvas is usable, and address -> bytes."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(NOTE)
    page = context.new_page()
    fetched = transferred(page)
    page.goto(url)
    page.wait_for_selector(".checkpoint.ready")
    page.wait_for_timeout(1000)
    seconds = page.evaluate("window.usable")
    context.close()
    return seconds, fetched


def main() -> None:
    provider = PipelineProvider(describe("mini"), partial(load_pipeline, "mini"), checkpoint="mini")
    app = layout.build(
        provider,
        load_examples(ROOT / "assets" / "examples"),
        suggestions=prompt_suggestions("mini"),
        prompt_words=prompt_words("mini"),
        defaults=default_settings("mini"),
        load_parser=load_parser,
        parsers=Parsers(parsers(), load_parser, parser_available, default_parser()),
    )
    _, url, _ = app.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    provider.get()
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        times, fetches = zip(*(visit(browser, url) for _ in range(VISITS)), strict=True)
        browser.close()
    app.close()
    page, total = fetches[-1][url] / 1000, sum(fetches[-1].values()) / 1000
    print(f"usable after {statistics.median(times):.2f} s, at most {max(times):.2f} s, in {VISITS} visits")
    print(f"{len(fetches[-1])} addresses, {total:.0f} kB; the page itself {page:.0f} kB")


if __name__ == "__main__":
    main()
