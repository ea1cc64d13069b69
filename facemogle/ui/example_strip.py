"""A row of small label maps to start from."""

import gradio as gr
from PIL import Image

from facemogle.labels import to_colours
from facemogle.ui.examples import Example
from facemogle.ui.views import data_url

SIDE = 96  # pixels, of a small map

_HTML = """
<p>Start from</p>
<div role="group" aria-label="Example label maps">
  {{#each examples}}
  <button type="button" data-index="{{@index}}" title="{{this.prompt}}">
    <img src="{{this.picture}}" alt="{{this.prompt}}"></button>
  {{/each}}
</div>
"""
_JS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) trigger("pick", { index: Number(button.dataset.index) });
});
"""


def example_strip(examples: list[Example], *, elem_id: str) -> gr.HTML:
    """Clicking a map is the event `pick`, with the `index` of its example."""
    return gr.HTML(
        html_template=_HTML,
        js_on_load=_JS,
        apply_default_css=False,
        elem_id=elem_id,
        visible=len(examples) > 1,
        examples=[{"prompt": example.prompt, "picture": _thumbnail(example)} for example in examples],
    )


def _thumbnail(example: Example) -> str:
    picture = Image.fromarray(to_colours(example.label_map))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)
    return data_url(picture, format="PNG")
