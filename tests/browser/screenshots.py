"""Take the README's pictures anew: `python tests/browser/screenshots.py`, with the bundled checkpoint and Chromium."""

import shutil
import sys
from functools import partial
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

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

ASSETS = ROOT / "assets"
PATIENCE = 120_000  # milliseconds


def main() -> None:
    app = layout.build(
        PipelineProvider(describe("mini"), partial(load_pipeline, "mini"), checkpoint="mini"),
        load_examples(ASSETS / "examples"),
        suggestions=prompt_suggestions("mini"),
        prompt_words=prompt_words("mini"),
        defaults=default_settings("mini"),
        load_parser=load_parser,
        parsers=Parsers(parsers(), load_parser, parser_available, default_parser()),
    )
    _, url, _ = app.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        for name, theme in (("app", "light"), ("app-dark", "dark")):
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.goto(f"{url}?__theme={theme}")
            page.wait_for_selector(".checkpoint.ready", timeout=PATIENCE)
            make_two_faces(page)
            page.screenshot(path=ASSETS / f"{name}.png", full_page=True)
            page.close()
        browser.close()
    app.close()


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


if __name__ == "__main__":
    main()
