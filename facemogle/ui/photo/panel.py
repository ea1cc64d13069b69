"""The part of the page that is there once a photo is: its components, and which handler serves which."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import gradio as gr

from facemogle.ui.label_editor.component import LabelEditor
from facemogle.ui.photo import handlers
from facemogle.ui.photo.crop import PhotoCrop
from facemogle.ui.photo.handlers import Parsers
from facemogle.ui.picture_drop.component import PictureDrop
from facemogle.ui.picture_strip import picture_strip


class PhotoPanel:
    """Lays out a line on the photo and, under it, its faces and tools, which page.css hides while there is none."""

    def __init__(self, parsers: Parsers):
        self.parsers = replace(parsers, load=cache(parsers.load))
        with gr.Column(elem_id="photo"):
            self.note = gr.HTML(elem_id="photo-note")
            with gr.Column(elem_id="photo-tools"):
                self.faces = picture_strip("", elem_id="faces")
                self.menu = gr.Dropdown(
                    parsers.choices(), value=parsers.default, label="Parser", info=parsers.about(parsers.default),
                    visible=len(parsers.described) > 1, elem_id="parser",
                )  # fmt: skip
                with gr.Row(elem_id="photo-actions"):
                    self.clean = gr.Checkbox(True, label="Join small islands", container=False, elem_id="clean")
                    self.swap = gr.Button("Swap left and right", size="sm", min_width=100, elem_id="swap")
                    self.whole = gr.Button("Read the picture as it is", size="sm", min_width=100, elem_id="whole")
                    self.close = gr.Button("Let go of the photo", size="sm", min_width=100, elem_id="close")
                self.crop = PhotoCrop(elem_id="crop")

    def wire(
        self,
        drop: PictureDrop,
        editor: LabelEditor,
        prompt: gr.Textbox,
        in_place: gr.Checkbox,
        *,
        photo: gr.State,
        base: gr.State,
        template_prompts: set[str],
        private: dict[str, Any],
        shown: Callable[[Any], Any],
    ) -> None:
        """photo, base: where the visit keeps its OpenPhoto, and the picture under the map. shown: what follows."""
        parsers = self.parsers
        changed = [photo, base, self.note, self.faces, self.crop, editor, self.menu, prompt, in_place]
        how = [self.menu, self.clean]

        def choose_face(photo, parser: str, clean: bool, event: gr.EventData):
            yield from handlers.choose_face(parsers, photo, event.index, parser, clean)

        def serve(event: Callable, handler: Callable, inputs: list) -> None:
            happened = event(
                handler, inputs, changed, concurrency_limit=1, concurrency_id="photo", trigger_mode="always_last",
                **private,
            )  # fmt: skip
            shown(happened)

        serve(drop.photo, partial(handlers.open_picture, parsers, template_prompts), [drop, *how, prompt])
        serve(self.faces.pick, choose_face, [photo, *how])
        serve(self.whole.click, partial(handlers.take_whole, parsers), [photo, *how])
        serve(self.crop.crop, partial(handlers.take_square, parsers), [photo, self.crop, *how])
        serve(self.menu.input, partial(handlers.read_again, parsers), [photo, *how])
        serve(self.clean.input, partial(handlers.read_again, parsers), [photo, *how])
        serve(self.swap.click, handlers.swap, [photo, editor])
        serve(self.close.click, handlers.close, [photo, base])
