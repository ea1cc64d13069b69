"""The page on a tiny pipeline, in a real browser."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from facemogle.checkpoints import CheckpointError, load_parser, load_pipeline
from facemogle.labels import LEFT_RIGHT_PAIRS
from facemogle.ui import layout
from facemogle.ui.photo.handlers import Parsers
from facemogle.ui.provider import PipelineProvider
from tests.browser.actions import EXAMPLES, shut

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: see requirements-dev.txt")

REFERENCE = Path(__file__).parents[1] / "reference"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


# For the package, not for the session: while Playwright runs, no other test of this process can use asyncio.
@pytest.fixture(scope="package")
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


class Mistaken:
    """The bundled parser, with left and right exchanged."""

    def probabilities(self, pictures):
        answers = load_parser().probabilities(pictures)
        for answer in answers:
            for left, right in LEFT_RIGHT_PAIRS:
                answer[[left, right]] = answer[[right, left]]
        return answers


def load_photo_parser(name: str):
    if name == "absent":
        raise CheckpointError("absent needs absent.safetensors, which is not on this computer. Put it there.")
    return Mistaken() if name == "mistaken" else load_parser(name)


PARSERS = Parsers(
    {"mini": "the bundled one", "mistaken": "left for right", "absent": "in the clouds"},
    load_photo_parser,
    lambda name: name != "absent",
    "mini",
)


@pytest.fixture(scope="package", autouse=True)
def gradio_files(tmp_path_factory) -> Iterator[Path]:
    """The folder to which Gradio writes."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="package")
def app(gradio_files) -> Iterator[SimpleNamespace]:
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
        def recorded(visit, label_map, *settings):
            app.received.append(label_map)
            for update in generate(visit, label_map, *settings):
                time.sleep(app.pace)
                yield update

        return recorded

    suggestions = {"hair colour": ["red hair", "blue hair"], "hat": ["a wide hat"]}
    app.blocks = layout.build(
        PipelineProvider("tiny: random weights", load, checkpoint="tiny"),
        EXAMPLES,
        suggestions=suggestions,
        prompt_words=31,
        load_parser=load_parser,
        parsers=PARSERS,
        on_gpu=record,
    )
    _, app.url, _ = app.blocks.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    yield app
    shut(app.blocks)


@pytest.fixture
def slow(app) -> Iterator[None]:
    """A run of 50 steps takes ten seconds or more."""
    app.pace = 0.2
    yield
    app.pace = 0.0


@pytest.fixture
def open_page(browser, app) -> Iterator:
    """Open the page, with a query, in a window of its own; whatever went wrong there fails the test in the end."""
    problems: list[str] = []
    contexts = []

    def open_page(query="", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith("http") and not request.url.startswith(app.url)
                and problems.append(f"asked {request.url}"))  # fmt: skip
        page.goto(app.url + query)
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
