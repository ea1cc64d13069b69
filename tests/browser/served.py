"""The app with the bundled checkpoint, and a browser beside it: what pictures and timings are taken of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from facemogle.threads import spin_shortly

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
from facemogle.ui.run import warm_up  # noqa: E402

ROOT = Path(__file__).parents[2]
PATIENCE = 120_000  # milliseconds


@contextmanager
def served() -> Iterator[tuple[Browser, str]]:
    """Chromium, and the address of the app."""
    app = layout.build(
        PipelineProvider(describe("mini"), partial(load_pipeline, "mini"), checkpoint="mini", warm_up=warm_up),
        load_examples(ROOT / "assets" / "examples"),
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
        yield browser, url
        browser.close()
    app.close()


def open_page(browser: Browser, url: str, *, theme: str = "light", width: int = 1440, height: int = 1000) -> Page:
    """The page, once the checkpoint can draw."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{url}?__theme={theme}")
    page.wait_for_selector(".checkpoint.ready", timeout=PATIENCE)
    return page
