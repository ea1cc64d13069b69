"""A row of small pictures to click: examples to start from, or what this visit has made."""

from collections.abc import Sequence
from html import escape

import gradio as gr
from PIL import Image

from facemogle.ui.views import data_url

SIDE = 72  # pixels, of a small picture

_JS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) trigger("pick", { index: Number(button.dataset.index) });
});
// The chosen one comes into sight.
watch("value", () => requestAnimationFrame(() => {
  const row = element.querySelector("[role=group]"), chosen = row?.querySelector("[aria-current]");
  if (chosen) row.scrollLeft = chosen.offsetLeft - row.offsetLeft - (row.clientWidth - chosen.clientWidth) / 2;
}));
"""


def picture_strip(value: str, *, elem_id: str) -> gr.HTML:
    """Clicking a picture is the event `pick`, with its `index`. The value is what `strip` returns."""
    return gr.HTML(value, js_on_load=_JS, apply_default_css=False, elem_id=elem_id, elem_classes="strip")


def strip(label: str, pictures: Sequence[tuple[Image.Image, str]], *, chosen: int | None = None) -> str:
    """HTML of pictures with their titles; empty without any."""
    buttons = "".join(
        f'<button type="button" data-index="{index}" title="{escape(title)}"{" aria-current=true" * (index == chosen)}>'
        f'<img src="{data_url(thumbnail(picture), format="WEBP")}" alt="{escape(title)}"></button>'
        for index, (picture, title) in enumerate(pictures)
    )
    return f'<p>{label}</p><div role="group" aria-label="{label}">{buttons}</div>' if buttons else ""


def thumbnail(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return small
