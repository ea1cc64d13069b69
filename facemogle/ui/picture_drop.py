"""A picture made here, dropped on the page or chosen, gives back the settings that made it."""

import base64
import io
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from facemogle.picture_files import Settings, read_settings, write_picture
from facemogle.ui.component import PageComponent

MAX_FILE_BYTES = 32 * 2**20
_HERE = Path(__file__).parent


class PictureDrop(PageComponent):
    """Takes files dropped anywhere on the page. Its value in Python is the Settings of the last picture, or None.

    The event `restore` tells that a picture with settings came; other files get a message in the component's own line.
    The page keeps as the value no more than the settings, as the smallest picture that holds them.
    """

    def __init__(self, *, label: str = "Restore from a picture", elem_id: str | None = None):
        super().__init__(
            label=label,
            elem_id=elem_id,
            html_template=(_HERE / "picture_drop.html").read_text("utf-8"),
            css_template=(_HERE / "picture_drop.css").read_text("utf-8"),
            js_on_load=(_HERE / "picture_drop.js").read_text("utf-8"),
            apply_default_css=False,
            server_functions=[open_picture],
            max_file_bytes=MAX_FILE_BYTES,
        )

    def preprocess(self, payload: Any) -> Settings | None:  # type: ignore[override]
        """A picture file in base64, from anyone at all -> its settings. gr.Error where it has none."""
        try:
            return None if payload in (None, "") else decode(payload)  # "": the page without a value
        except ValueError as error:
            raise gr.Error(str(error)) from error

    def postprocess(self, value: Settings | None) -> str | None:  # type: ignore[override]
        return None if value is None else encode(value)

    def api_info(self) -> dict[str, Any]:
        return {"type": "string", "description": "A PNG file made here, in base64"}

    def example_payload(self) -> None:
        return None

    def example_value(self) -> None:
        return None


def encode(settings: Settings) -> str:
    """Settings -> the smallest picture that holds them, as a PNG file in base64."""
    file = io.BytesIO()
    write_picture(file, Image.new("L", (1, 1)), settings)
    return base64.b64encode(file.getvalue()).decode()


def decode(file: Any, name: str = "The picture") -> Settings:
    """A picture file in base64 -> its settings. ValueError says what is wrong and what would be right."""
    if not isinstance(file, str):
        raise ValueError(f"A picture must be a file in base64, got {type(file).__name__}.")
    if len(file) > -(-MAX_FILE_BYTES // 3) * 4:
        raise ValueError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MB, and no picture made here is.")
    picture = io.BytesIO(base64.b64decode(file, validate=True))  # ValueError: no base64
    picture.name = name
    settings = read_settings(picture)
    if settings is None:
        raise ValueError(
            f"{name} has no settings in it. PNG files saved here have them, unless another program saved them again. "
            "Is it a label map? Open in the label editor loads label maps."
        )
    return settings


def open_picture(upload: Any) -> dict[str, str]:
    """{"name", "file"}, the latter in base64 -> {"ok", "message"}, where "ok" is the page's value, or {"error"}."""
    name, file = (upload.get("name"), upload.get("file")) if isinstance(upload, dict) else (None, None)
    name = str(name)[:80]
    try:
        settings = decode(file, name)
    except ValueError as error:
        return {"error": f"Not restored: {error}"}
    message = f"Settings from {name}: seed {settings.seed}, {settings.num_inference_steps} steps."
    return {"ok": encode(settings), "message": message}
