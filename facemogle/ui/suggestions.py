"""Phrases that the checkpoint was trained on, to click instead of typing."""

import gradio as gr

# The accordion opens one attribute at a time: `details` of one name close each other.
_HTML = """
<details>
  <summary>Words it knows</summary>
  <div class="listed">
  {{#if words}}<p>It reads the first {{words}} words of a prompt.</p>{{/if}}
  {{#each attributes}}
  <details name="attribute">
    <summary>{{this.name}}</summary>
    <div role="group" aria-label="{{this.name}}">
      {{#each this.phrases}}<button type="button" data-attribute="{{../name}}">{{this}}</button>{{/each}}
    </div>
  </details>
  {{/each}}
  </div>
</details>
"""
_JS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) trigger("pick", { attribute: button.dataset.attribute, phrase: button.innerText });
});
"""


def suggestion_list(suggestions: dict[str, list[str]], *, words: int | None, elem_id: str) -> gr.HTML:
    """Clicking a phrase is the event `pick`, with its `attribute` and `phrase`. words: so many of a prompt are read."""
    return gr.HTML(
        html_template=_HTML,
        js_on_load=_JS,
        apply_default_css=False,
        elem_id=elem_id,
        visible=bool(suggestions),
        words=words,
        attributes=[{"name": attribute, "phrases": phrases} for attribute, phrases in suggestions.items()],
    )


def toggle_phrase(prompt: str, phrase: str, alternatives: list[str]) -> str:
    """The prompt with the phrase added, in place of an alternative of its attribute; or without it, if it was there.

    A prompt is taken as phrases between commas.
    """
    parts = [part for part in map(str.strip, prompt.split(",")) if part]
    if phrase in parts:
        parts.remove(phrase)
        return ", ".join(parts)
    others = [index for index, part in enumerate(parts) if part in alternatives]
    if others:
        parts[others[0]] = phrase
    else:
        parts.append(phrase)
    return ", ".join(parts)
