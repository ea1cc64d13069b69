"""The page of `python app.py --correct DATA`: one face after another, in the app's label editor and layout."""

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from facemogle.data.face_set import FaceSet
from facemogle.ui import layout
from facemogle.ui.connection.component import Connection
from facemogle.ui.correction.onward import Onward
from facemogle.ui.correction.session import DRAFTS, Session
from facemogle.ui.guard import LOOPBACK
from facemogle.ui.keys.component import Keys
from facemogle.ui.label_editor.component import START_SIDE, LabelEditor, NamedMap

STYLE = Path(__file__).with_name("correction.css")
SAVE = "Save and next"
PLACES = {"the map": "#label-editor canvas", "the caption": "#prompt textarea", SAVE: "#generate"}
# A caption that is not saved yet lies in the browser as the map does, see onward.js: it is brought back, and forgotten.
BRING_BACK = """(key, caption) => {
  try { return localStorage.getItem(`${key}/caption`) ?? caption; } catch { return caption; }
}"""
FORGET = """(settled) => {
  try {
    const own = Object.keys(localStorage).filter((key) => settled && key.startsWith(settled));
    for (const key of own) localStorage.removeItem(key);
  } catch {}
}"""


def build(faces: FaceSet) -> gr.Blocks:
    """On a set that has been settled, and that no other process has."""
    session = Session(faces)
    with gr.Blocks(title=f"Correct {faces.folder.name}", analytics_enabled=False) as page:
        settled = gr.Textbox(visible="hidden")
        Keys(does={SAVE: ["Enter", "Ctrl+Enter"]}, places=PLACES, elem_id="keys")
        Connection(elem_id="connection")
        with gr.Row(elem_id="head"):
            gr.Markdown(f"# Correct the label maps\n{faces.folder}")
            progress = gr.HTML(elem_id="progress")
        with gr.Row(elem_id="studio"):
            editor = LabelEditor(NamedMap(np.zeros((START_SIDE, START_SIDE), np.uint8), DRAFTS), elem_id="label-editor")
            with gr.Column(elem_id="views"):
                photo = gr.HTML(elem_id="as-it-is")
            exchange = gr.Button("Show the picture large", elem_id="exchange")
            with gr.Row(elem_id="composer"):
                with gr.Column(elem_id="ask", min_width=0):
                    caption = gr.Textbox(
                        label="Caption", lines=2, max_lines=2, elem_id="prompt", max_length=500,
                        placeholder="What is seen, in one sentence: a woman with red hair and glasses",
                    )  # fmt: skip
                with gr.Column(elem_id="make", min_width=0):
                    with gr.Row(elem_id="told"):
                        status = gr.HTML(elem_id="status")
                    with gr.Row(elem_id="actions"):
                        onward = Onward(elem_id="onward")
                        save = gr.Button(SAVE, variant="primary", elem_id="generate")

        shown = [progress, status, photo, editor, caption, onward, settled]
        private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}

        def reject(key: str, event: gr.EventData):
            return session.reject(key, event.why)

        started = onward.start(session.start, None, shown, **private)
        saved = save.click(session.save, [onward, editor, caption], shown, **private)
        rejected = onward.reject(reject, onward, shown, **private)
        skipped = onward.skip(session.skip, onward, shown, **private)
        went_back = onward.back(session.back, onward, shown, **private)
        for done in (started, saved, rejected, skipped, went_back):
            done.then(None, settled, None, js=FORGET, **private).then(
                None, [onward, caption], caption, js=BRING_BACK, **private
            )
        exchange.click(None, None, None, js=layout.EXCHANGE, **private)
    return page


def launch_options(*, hosts: frozenset[str] | None = LOOPBACK) -> dict[str, Any]:
    """As layout.launch_options, with this page's own style; its handlers are no API."""
    options = layout.launch_options(hosts=hosts)
    return options | {"head": f"{options['head']}<style>{STYLE.read_text('utf-8')}</style>", "footer_links": []}
