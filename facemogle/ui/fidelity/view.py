"""How well a face follows its label map: overlap by class, and a picture of where and how they differ.

(H, W) pixels; class ids as in facemogle.labels.
"""

from html import escape
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image

from facemogle.labels import NAMES, to_colours
from facemogle.masks import resize_nearest
from facemogle.overlap import confusion, intersection_over_union
from facemogle.ui.views import COLOURS, data_url

SIDE = 512  # pixels, the longer side of the picture of differences
STRIPE = 4  # pixels of it
SHOWN_DIFFERENCES = 6

_IOU_HELP = (
    "Overlap, or intersection over union: of all pixels where a class was asked for or drawn, the share where it was "
    "both. 1 is a perfect match, 0 is none at all."
)
_PARSER_HELP = "A parser is a second network that looks at a picture and says which class every pixel shows."


def fidelity_view(*, elem_id: str) -> gr.HTML:
    """The place on the page for what the functions below return."""
    css = Path(__file__).with_name("view.css").read_text("utf-8")
    return gr.HTML(css_template=css, js_on_load=None, apply_default_css=False, elem_id=elem_id)


def fidelity(face: Image.Image, wanted: np.ndarray | None, read: np.ndarray) -> str:
    """A face, the (H, W) label map it was made from, and the parser's (h, w) label map of it -> HTML.

    Both maps are brought to the size of the face with nearest.
    """
    if wanted is None:
        return _note("No label map was given.")
    wanted, read = (resize_nearest(label_map, face.height, face.width) for label_map in (wanted, read))
    counts = confusion(read, wanted)
    iou = intersection_over_union(counts)
    return (
        f'<div class="fidelity">{_summary(counts, iou)}'
        f"<figure>{_picture(difference(face, wanted, read))}{_legend(counts)}</figure>{_table(counts, iou)}</div>"
    )


def no_parser(checkpoint: str) -> str:
    """HTML for a checkpoint whose faces none of the parsers here can read."""
    return _note(
        f'No <abbr title="{_PARSER_HELP}">parser</abbr> here can read the faces of {escape(checkpoint)}, '
        "so how well they follow the map is not measured."
    )


def difference(face: Image.Image, wanted: np.ndarray, read: np.ndarray) -> Image.Image:
    """The face with its longer side at SIDE: grey and faded where two label maps of its size agree.

    Where they differ it keeps its colours, lightened, under stripes in the palette colour of the class that was wanted.
    """
    scale = SIDE / max(face.size)
    width, height = (max(1, round(side * scale)) for side in face.size)
    wanted, read = (resize_nearest(label_map, height, width) for label_map in (wanted, read))
    canvas = np.array(face.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    grey = np.array(Image.fromarray(canvas).convert("L"))
    agree = wanted == read
    canvas[agree] = (96 + grey[agree, None] * 0.45).astype(np.uint8)
    canvas[~agree] = (128 + canvas[~agree] * 0.5).astype(np.uint8)
    row, column = np.indices(agree.shape)
    striped = ~agree & ((row + column) // STRIPE % 2 == 0)
    canvas[striped] = to_colours(wanted[striped])
    return Image.fromarray(canvas)


def largest_differences(counts: np.ndarray) -> list[tuple[int, int, float]]:
    """(19, 19) counts, wanted by read -> all (wanted, read, share of the picture) that differ, largest first."""
    shares = counts / counts.sum()
    pairs = [(int(wanted), int(read)) for wanted, read in np.argwhere(counts) if wanted != read]
    return sorted(((*pair, float(shares[pair])) for pair in pairs), key=lambda each: -each[2])


def _note(html: str) -> str:
    return f'<div class="fidelity"><p>{html}</p></div>'


def _summary(counts: np.ndarray, iou: np.ndarray) -> str:
    classes = int((~np.isnan(iou)).sum())
    agreeing = np.trace(counts) / counts.sum()
    return (
        f'<p><b>Mean <abbr title="{_IOU_HELP}">overlap (IoU)</abbr> {np.nanmean(iou):.2f}</b> of '
        f"{classes} {'class' if classes == 1 else 'classes'}; {_percent(agreeing)} of the picture is as the map says. "
        f'This is as the <abbr title="{_PARSER_HELP}">parser</abbr> reads the face: its own mistakes count too.</p>'
    )


def _picture(picture: Image.Image) -> str:
    alt = "The face, grey where it is as the map says, striped where it is not"
    return (
        f'<img src="{data_url(picture, format="WEBP")}" alt="{alt}" width="{picture.width}" height="{picture.height}">'
    )


def _legend(counts: np.ndarray) -> str:
    differences = largest_differences(counts)
    if not differences:
        return "<figcaption>The face is as the map says, to the last pixel.</figcaption>"
    items = [
        f'<li><i class="hatch" style="--colour: {COLOURS[wanted]}"></i>'
        f"{_name(wanted)}, drawn as {_name(read)}: {_percent(share)} of the picture</li>"
        for wanted, read, share in differences[:SHOWN_DIFFERENCES]
    ]
    if rest := differences[SHOWN_DIFFERENCES:]:
        items.append(f"<li><i></i>everything else: {_percent(sum(share for *_, share in rest))} of the picture</li>")
    head = "Striped in the colour of the class that the map asks for. The largest differences:"
    return f"<figcaption>{head}<ul>{''.join(items)}</ul></figcaption>"


def _table(counts: np.ndarray, iou: np.ndarray) -> str:
    """A row for each class that is wanted or read, worst first; of equals, the larger first."""
    sizes = counts.sum(0) + counts.sum(1)
    order = sorted(np.flatnonzero(sizes), key=lambda class_id: (iou[class_id], -sizes[class_id]))
    rows = [_row(int(class_id), float(iou[class_id]), _verdict(counts, int(class_id))) for class_id in order]
    head = f'<th scope="col">Class</th><th scope="col"><abbr title="{_IOU_HELP}">Overlap</abbr></th>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(class_id: int, iou: float, verdict: str) -> str:
    named = f"{_name(class_id)} <em>{verdict}</em>" if verdict else _name(class_id)
    bar = f'<span class="bar"><span style="width: {iou:.1%}"></span></span>'
    chip = f'<i style="background: {COLOURS[class_id]}"></i>'
    return f'<tr><th scope="row">{chip}{named}</th><td><div>{bar}{iou:.2f}</div></td></tr>'


def _verdict(counts: np.ndarray, class_id: int) -> str:
    if not counts[class_id].any():
        return "not asked for"
    return "" if counts[:, class_id].any() else "missing"


def _percent(share: float) -> str:
    """Never rounded to 0% where there is something, nor to 100% where something is missing."""
    if 0 < share < 0.001:
        return "less than 0.1%"
    return "more than 99.9%" if 0.999 < share < 1 else f"{share:.1%}"


def _name(class_id: int) -> str:
    return NAMES[class_id].replace("_", " ")
