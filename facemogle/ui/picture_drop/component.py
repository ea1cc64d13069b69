"""A picture dropped on the page or chosen: one made here gives back the settings that made it, others are photos."""

import base64
import io
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from facemogle.picture_files import Settings, read_settings, write_picture
from facemogle.ui.component import PageComponent, beside
from facemogle.ui.failures import plain

MAX_FILE_BYTES = 32 * 2**20


class PictureFile(NamedTuple):
    """A file as a person chose it, of any kind."""

    name: str
    contents: bytes

    def opened(self) -> io.BytesIO:
        """To be read by Pillow; readers that name the file in what they say find its name."""
        file = io.BytesIO(self.contents)
        file.name = self.name
        return file


class PictureDrop(PageComponent):
    """Takes files dropped anywhere on the page. Its value in Python is what the last one held, or None.

    The event `restore` tells that a picture with settings came: the value is its Settings, and the page keeps no more
    than the smallest picture that holds them. With `photos`, the event `photo` tells of any other file: the value is a
    PictureFile. Without, those get a message in the component's own line.
    """

    def __init__(
        self,
        *,
        label: str = "Photo or picture",
        photos: bool = False,
        elem_id: str | None = None,
        render: bool = True,
    ):
        super().__init__(
            label=label,
            elem_id=elem_id,
            render=render,
            **beside(__file__, "drop"),
            server_functions=[open_picture],
            max_file_bytes=MAX_FILE_BYTES,
            photos=photos,
        )

    def preprocess(self, payload: Any) -> Settings | PictureFile | None:  # type: ignore[override]
        """A picture file in base64, from anyone at all -> its settings; {"name", "file"} -> that file as it is.

        gr.Error where a picture has no settings, or a file is no such thing.
        """
        try:
            if isinstance(payload, dict):
                if not isinstance(name := payload.get("name"), str):
                    raise ValueError('A file must be {"name", "file"}, the latter in base64.')
                return decode_file(payload.get("file"), name[:80])
            return None if payload in (None, "") else decode(payload)  # "": the page without a value
        except ValueError as error:
            raise gr.Error(str(error)) from error

    def postprocess(self, value: Settings | None) -> str | None:  # type: ignore[override]
        return None if value is None else encode(value)

    def api_info(self) -> dict[str, Any]:
        return {"type": "string", "description": "A PNG file made here, in base64"}


def encode(settings: Settings) -> str:
    """Settings -> the smallest picture that holds them, as a PNG file in base64."""
    file = io.BytesIO()
    write_picture(file, Image.new("L", (1, 1)), settings)
    return base64.b64encode(file.getvalue()).decode()


def decode_file(file: Any, name: str) -> PictureFile:
    """A file in base64, from anyone at all. ValueError where it is none, or too large."""
    if not isinstance(file, str):
        raise ValueError(f"A picture must be a file in base64, got {type(file).__name__}.")
    if len(file) > -(-MAX_FILE_BYTES // 3) * 4:
        raise ValueError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MB. Scale the picture down.")
    return PictureFile(name, base64.b64decode(file, validate=True))  # ValueError: no base64


def decode(file: Any, name: str = "The picture") -> Settings:
    """A picture file in base64 -> its settings. ValueError says what is wrong and what would be right."""
    settings = read_settings(decode_file(file, name).opened())
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
    except Exception as error:
        return {"error": f"Not restored: {plain(error)}"}
    message = f"Settings from {name}: seed {settings.seed}, {settings.num_inference_steps} steps."
    return {"ok": encode(settings), "message": message}
