"""The runs of a visit, kept in the browser: they outlive a reload, and the server.

What is kept of a run are its pictures, as PNG files that carry all their settings. The experts' weights are not: they
are many times larger, and another run of the same settings gives them again.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

from facemogle.picture_files import Settings, read_settings, write_picture
from facemogle.ui.component import PageComponent, beside
from facemogle.ui.handlers import MAX_IMAGES
from facemogle.ui.run import Request, Run
from facemogle.ui.visit import MAX_RUNS

MAX_BYTES = 24 * 2**20  # of all pictures together
MAX_SIDE = 2048


class KeptRuns(PageComponent):
    """Keeps the Run that is its value, and says how many it keeps. Of each checkpoint apart.

    The event `back`, as the page opens: the value in Python is a tuple of Runs without gating, oldest first. The event
    `forget`: a person has cleared them.
    """

    def __init__(self, checkpoint: str, *, elem_id: str | None = None, render: bool = True):
        super().__init__(
            label="Runs kept in this browser",
            elem_id=elem_id,
            render=render,
            **beside(__file__, "kept"),
            checkpoint=checkpoint,
            max_runs=MAX_RUNS,
            max_bytes=MAX_BYTES,
        )

    def preprocess(self, payload: Any) -> tuple[Run, ...]:  # type: ignore[override]
        """Runs as lists of PNG files in base64, from anyone at all. gr.Error where they are none."""
        try:
            return tuple(decode(files) for files in _checked(payload))
        except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise gr.Error("What this browser kept of the visit cannot be read.", visible=False) from error

    def postprocess(self, value: Run | None) -> list[str] | None:  # type: ignore[override]
        return None if value is None else encode(value)

    def api_info(self) -> dict[str, Any]:
        return {"type": "array", "description": "Runs, each a list of PNG files made here, in base64"}


def encode(run: Run) -> list[str]:
    """Its pictures, as PNG files in base64."""
    files = []
    for face, settings in zip(run.faces, run.settings, strict=True):
        file = io.BytesIO()
        write_picture(file, face, settings)
        files.append(base64.b64encode(file.getvalue()).decode())
    return files


def decode(files: Sequence[str]) -> Run:
    """What `encode` wrote -> the run, without its gating, and not as a change of the picture that it may have been."""
    pairs = [_picture(base64.b64decode(file, validate=True)) for file in files]
    first = pairs[0][1]
    request = Request(
        first.prompt, first.label_map, first.seed, first.num_inference_steps, first.guidance_scale,
        first.condition_scale, first.expert_scale, len(pairs),
        lora_scale=first.loras,
    )  # fmt: skip
    return Run(request, [face for face, _ in pairs], [settings for _, settings in pairs], None, None, 0.0, ())


def _picture(contents: bytes) -> tuple[Image.Image, Settings]:
    settings = read_settings(io.BytesIO(contents))
    with Image.open(io.BytesIO(contents), formats=["PNG"]) as picture:
        if settings is None or max(picture.size) > MAX_SIDE or picture.size != (settings.width, settings.height):
            raise ValueError(f"A picture of {picture.size} carries the settings {settings}.")
        return picture.convert("RGB"), settings


def _checked(payload: Any) -> list[list[str]]:
    if payload in (None, ""):
        return []
    if not isinstance(payload, list) or len(payload) > MAX_RUNS:
        raise ValueError(f"Expected at most {MAX_RUNS} runs.")
    for files in payload:
        if not isinstance(files, list) or not 1 <= len(files) <= MAX_IMAGES or not all(type(f) is str for f in files):
            raise ValueError(f"A run is a list of 1 to {MAX_IMAGES} files.")
    if sum(len(file) for files in payload for file in files) > MAX_BYTES * 1.4:  # base64 takes a third more
        raise ValueError(f"The files are larger than {MAX_BYTES} bytes.")
    return payload
