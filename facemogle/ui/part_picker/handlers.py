"""What the page does with a wish for one part of a picture. Handlers, as in ui/handlers.py."""

import io
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from facemogle.parts import change_of, prompt_for
from facemogle.picture_files import write_photo
from facemogle.ui import torch_thread, views
from facemogle.ui.failures import plain
from facemogle.ui.handlers import done
from facemogle.ui.label_editor.component import laid_under
from facemogle.ui.part_picker.component import Wish, to_change
from facemogle.ui.run import Base
from facemogle.ui.visit import Visit

KEEP = gr.skip()


def change_part(
    paint: Callable[..., Iterator[tuple]],
    visit: Visit,
    wish: Wish | None,
    base: Base | None,
    seed: int,
    steps: int,
    guidance_scale: float,
    condition_scale: float,
    expert_scale: dict[str, float] | None,
    strength: float,
    *lora_scales: float,
) -> Iterator[tuple]:
    """Draw one part of `base` anew, as wished, and yield what `paint` does, which is `generate` of a provider."""
    try:
        if wish is None or base is None:
            raise ValueError("There is no picture to change. Drop a photo, or generate a face first.")
        change = change_of(base.label_map, wish.part, to=wish.to)
    except ValueError as error:
        yield KEEP, views.status(plain(error), failed=True), KEEP
        raise gr.Error(plain(error), visible=False, print_exception=False) from error
    prompt = prompt_for(wish.to or wish.part, wish.text)
    how = seed, 1, steps, guidance_scale, condition_scale, expert_scale
    yield from paint(visit, change.label_map, prompt, *how, True, strength, base, change.region, *lora_scales)


def to_be_changed(load_parser: Callable[[], Any] | None, visit: Visit, base: Base | None) -> tuple:
    """(the picture whose parts may be changed, what shows them): the face that is shown, else what is under the map."""
    picture = visit.drawn or base
    if visit.drawn and picture and not picture.label_map.any() and load_parser is not None:
        (read,) = torch_thread.call(load_parser().parse, [np.asarray(picture.picture)])
        picture = replace(picture, label_map=read)
    return picture, to_change(picture, undoable=bool(visit.run and visit.run.request.edit))


def join(visit: Visit, made: Visit) -> tuple:
    """As handlers.join; what was changed in one part is what is painted on next."""
    visit = replace(visit.added(made.runs[-1]), onward=True)
    return visit, None, visit.run, visit.drawn.label_map if visit.drawn else KEEP, done(visit)


def undo(visit: Visit) -> tuple:
    """The picture before the change that is shown -> (visit, editor, base, status).

    A second click comes before the first has taken the button away: then there is nothing more to undo.
    """
    visit, base = visit.undone()
    if base is None:
        return KEEP, KEEP, KEEP, KEEP
    said = done(visit) if visit.run else views.status("This is the picture before its changes.")
    return visit, laid_under(base) | {"value": base.label_map}, base, said


def save_photo(base: Base | None) -> dict[str, Any]:
    """The whole photo with its changes, for the picker to fetch. ValueError once it was let go."""
    if base is None or base.origin is None:
        raise gr.Error("There is no photo to save. Drop one, and change a part of it.")
    file = io.BytesIO()
    try:
        write_photo(file, base.origin.photo())
    except ValueError as error:
        raise gr.Error(str(error)) from error
    name = f"{PurePath(base.origin.name).stem or 'photo'}-changed.png"
    path = save_bytes_to_cache(file.getvalue(), name, get_upload_folder())
    # Another address each time, so that the page hears of it.
    address = f"gradio_api/file={quote(path)}#{secrets.token_hex(4)}"
    return gr.update(saved=json.dumps({"address": address, "file": name}))
