"""The app with the bundled checkpoint, and a browser beside it: what pictures and timings are taken of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

import app
from facemogle.ui import layout

ROOT = Path(__file__).parents[2]
PATIENCE = 120_000  # milliseconds


@contextmanager
def served() -> Iterator[tuple[Browser, str]]:
    """Chromium, and the address of the app."""
    app.spin_shortly()
    studio, _ = app.build(app.parse_arguments(["--checkpoint", "mini"]))
    _, url, _ = studio.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield browser, url
        browser.close()
    studio.close()


def open_page(browser: Browser, url: str, *, theme: str = "light", width: int = 1440, height: int = 1000) -> Page:
    """The page, once the checkpoint can draw."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{url}?__theme={theme}")
    page.wait_for_selector(".checkpoint.ready", timeout=PATIENCE)
    return page
