"""Pieces of HTML that the handlers send to the page."""

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from facemogle import figures
from facemogle.gating import EXPERTS, NUM_EXPERTS, GatingRecord
from facemogle.labels import PALETTE

CARD_SIDE = 192  # pixels, of an expert's heat map


def checkpoint(description: str, text: str, *, state: str) -> str:
    """The lines that say which checkpoint serves the page; state is "loading", "ready" or "failed"."""
    role = "alert" if state == "failed" else "status"
    return f'<div class="checkpoint {state}" role="{role}"><p>{escape(description)}</p><p>{escape(text)}</p></div>'


def status(text: str, *, share: float | None = None, running: bool = False, failed: bool = False) -> str:
    """What Generate is doing; `share` (0..1) draws a progress bar. The page shows Cancel while it is `running`."""
    bar = "" if share is None else f'<progress value="{share:.3f}" aria-label="Progress"></progress>'
    kind = "running" if running else "failed" if failed else "idle"
    return f'<div class="run {kind}" role="{"alert" if failed else "status"}">{bar}<p>{escape(text)}</p></div>'


def experts(gating: GatingRecord, step: int, *, face: Image.Image, label_map: np.ndarray | None) -> str:
    """Cards of the 20 experts at one step (from 0): heat map over the face, name, mean weight.

    An expert's colours run to its own largest weight in the whole run, so that steps compare.
    """
    weights = gating.at(step)
    tops = gating.weights[:, 0].max(axis=(0, 2, 3))
    small = face.resize((CARD_SIDE, max(1, round(CARD_SIDE * face.height / face.width))), Image.Resampling.LANCZOS)
    cards = [
        _card(
            expert,
            figures.expert_map(weights, expert, small.size, face=small, label_map=label_map, top=float(tops[expert])),
            mean=float(weights[expert].mean()),
        )
        for expert in range(NUM_EXPERTS)
    ]
    return f'<div class="experts">{"".join(cards)}</div>'


def _card(expert: int, picture: Image.Image, *, mean: float) -> str:
    colour = "conic-gradient(#c00, #cc0, #0c0, #0cc, #00c, #c0c, #c00)"  # the global expert sees all classes
    if expert > 0:
        colour = "rgb({}, {}, {})".format(*PALETTE[expert - 1])
    name = EXPERTS[expert].replace("_", " ")
    source, alt = data_url(picture, format="WEBP"), f"Where the expert for {name} speaks"
    return (
        f'<figure><img src="{source}" alt="{alt}" width="{picture.width}" height="{picture.height}">'
        f'<figcaption><i style="background: {colour}"></i>{name}<b>{mean:.1%}</b></figcaption></figure>'
    )


def data_url(picture: Image.Image, *, format: str) -> str:
    """A picture as an address that holds it: nothing to fetch, nothing left on the server's disk."""
    file = io.BytesIO()
    picture.save(file, format=format, quality=80)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
