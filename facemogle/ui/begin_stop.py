"""A button that begins what takes a while, and one that stops it while it runs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr

from facemogle.ui import views


class BeginStop:
    """To be made within a layout, in a row of its own. Its buttons are `elem_id`-begin and `elem_id`-stop."""

    def __init__(self, text: str, *, elem_id: str) -> None:
        with gr.Row(elem_id=elem_id):
            self.begin = gr.Button(text, size="sm", min_width=0, elem_id=f"{elem_id}-begin")
            self.stop = gr.Button("Stop", size="sm", min_width=0, visible=False, elem_id=f"{elem_id}-stop")

    def wire(
        self,
        work: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        *,
        concurrency_id: str,
        private: dict[str, Any],
    ) -> None:
        """work: what begins; the first of the outputs is the status."""
        buttons = [self.begin, self.stop]
        self.begin.click(partial(_buttons, True), None, buttons, queue=False, **private)
        running = self.begin.click(work, inputs, outputs, concurrency_limit=1, concurrency_id=concurrency_id, **private)
        running.then(partial(_buttons, False), None, buttons, queue=False, **private)
        stopped = self.stop.click(_stopped, None, [outputs[0], *buttons], cancels=[running], queue=False, **private)
        # And once more: what was on its way when it was stopped comes after the first.
        stopped.then(_stopped, None, [outputs[0], *buttons], queue=False, **private)


def _buttons(running: bool) -> tuple:
    return gr.update(interactive=not running), gr.update(visible=running)


def _stopped() -> tuple:
    return views.status("Stopped."), *_buttons(False)
