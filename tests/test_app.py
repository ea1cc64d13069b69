"""`python app.py`: which checkpoint it takes, and that a bad one leaves the page up."""

import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest

import app
from facemogle.checkpoints import default_settings, load_pipeline
from facemogle.presets import PRESETS
from facemogle.ui import handlers
from facemogle.ui.provider import PipelineProvider


@pytest.mark.parametrize(
    ("weights", "gigabytes", "libraries", "expected"),
    [
        (True, 48, False, "flux"), (True, 24, True, "flux"), (True, 24, False, "mini"), (True, 8, True, "flux"),
        (True, 2, True, "mini"), (True, 0, True, "mini"), (False, 48, True, "mini"),
    ],
)  # fmt: skip
def test_flux_is_taken_where_it_runs(monkeypatch, weights, gigabytes, libraries, expected):
    own = {"adapter": "my.safetensors", "mogle": None}
    monkeypatch.setattr(app, "available", lambda name, **parts: (name, parts) == ("flux", own) and weights)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gigabytes > 0)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (int(gigabytes * 1e9), int(100e9)))
    monkeypatch.setattr(app, "preset_available", lambda name: libraries or PRESETS[name].weights == "whole")
    assert app.choose_checkpoint(**own) == expected


@pytest.mark.parametrize(("token", "expected"), [("hf_x", "flux"), ("", "mini")])
def test_a_space_takes_flux_where_it_may_download_it(monkeypatch, token, expected):
    monkeypatch.setattr(app, "ON_ZERO_GPU", True)
    monkeypatch.setattr(app, "available", lambda *_, **__: False)
    monkeypatch.setenv("HF_TOKEN", token)
    assert app.choose_checkpoint(adapter=None, mogle=None) == expected


def test_the_page_names_parts_that_are_not_the_checkpoints_own():
    plain = app.describe_parts("mini", adapter=None, mogle=None)
    assert plain.startswith("mini: ")
    own = app.describe_parts("mini", adapter="a.safetensors", mogle="b.pt")
    assert own == f"{plain}, with adapter a.safetensors and MoGLE b.pt"


def test_arguments(monkeypatch):
    monkeypatch.setenv("FACEMOGLE_CHECKPOINT", "a/folder")
    assert app.parse_arguments([]).checkpoint == "a/folder"
    arguments = app.parse_arguments(["--checkpoint", "flux", "--host", "0.0.0.0", "--port", "7000", "--share"])
    assert (arguments.checkpoint, arguments.host, arguments.port, arguments.share) == ("flux", "0.0.0.0", 7000, True)


def test_an_unknown_checkpoint_is_explained_on_the_page():
    provider = PipelineProvider("nimi", partial(load_pipeline, "nimi"))
    while provider.loading:
        time.sleep(0.01)
    shown = handlers.show_checkpoint(provider)
    assert "checkpoint failed" in shown
    assert "Did you mean &#x27;mini&#x27;?" in shown


def test_the_page_starts_from_the_checkpoints_own_settings(monkeypatch):
    pages = []
    monkeypatch.setattr(app, "load_pipeline", lambda *_, **parts: None)
    monkeypatch.setattr("gradio.Blocks.launch", lambda page, **options: pages.append(page))
    app.main(["--checkpoint", "mini"])
    values = {part["props"].get("elem_id"): part["props"].get("value") for part in pages[0].config["components"]}
    assert (values["steps"], values["guidance"]) == default_settings("mini") != default_settings("flux")


def test_the_page_is_up_without_any_weights(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(tmp_path / "log", "wb") as log:
        command = [sys.executable, app.__file__, "--checkpoint", "nimi", "--port", str(port)]
        server = subprocess.Popen(command, cwd=Path(app.__file__).parent, stdout=log, stderr=log)
    try:
        assert "Face-MoGLE" in _read_when_up(f"http://127.0.0.1:{port}", server)
    finally:
        server.kill()
        server.wait()


def _read_when_up(url: str, server: subprocess.Popen, *, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return urlopen(url).read().decode()
        except OSError:  # refused, or cut off while it starts
            time.sleep(0.1)
    return "never up"
