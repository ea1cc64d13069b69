"""Pieces of HTML that the handlers send to the page, and the colours that classes and experts have in all of it."""

import base64
import io
from html import escape

from PIL import Image

from facemogle.labels import PALETTE

COLOURS = ["#{:02x}{:02x}{:02x}".format(*map(int, colour)) for colour in PALETTE]  # of the classes
# Of the experts: the global one sees all classes.
CHIPS = ["conic-gradient(#c00, #cc0, #0c0, #0cc, #00c, #c0c, #c00)", *COLOURS]


def checkpoint(description: str, text: str, *, state: str) -> str:
    """Which checkpoint serves the page, with more about it at a click; state is "loading", "ready" or "failed"."""
    if state == "failed":
        return f'<div class="checkpoint failed" role="alert"><p>{escape(description)}</p><p>{escape(text)}</p></div>'
    name = escape(description.partition(":")[0] if state == "ready" else text)
    about = f'<div class="about"><p>{escape(description)}</p><p>{escape(text)}</p></div>'
    return (
        f'<div class="checkpoint {state}" role="status"><details>'
        f'<summary title="About the model">{name}</summary>{about}</details></div>'
    )


def sample(face: Image.Image | None) -> str:
    """What stands in the place of a face until there is one; empty without a sample."""
    if face is None:
        return ""
    picture = f'<img src="{data_url(face, format="WEBP")}" alt="A face drawn from the first example">'
    return f"<figure>{picture}<figcaption>A sample, drawn from the first example</figcaption></figure>"


def status(
    text: str, *, share: float | None = None, running: bool = False, waiting: bool = False, failed: bool = False
) -> str:
    """What Generate is doing; `share` (0..1) draws a progress bar. The page shows Cancel while it is `running`.

    `waiting`, for a turn: the page finds out how long.
    """
    bar = "" if share is None else f'<progress value="{share:.3f}" aria-label="Progress"></progress>'
    kind = "running waiting" if waiting else "running" if running else "failed" if failed else "idle"
    return f'<div class="run {kind}" role="{"alert" if failed else "status"}">{bar}<p>{escape(text)}</p></div>'


def data_url(picture: Image.Image, *, format: str) -> str:
    """A picture as an address that holds it: nothing to fetch, nothing left on the server's disk."""
    file = io.BytesIO()
    picture.save(file, format=format, quality=80)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
