"""A label map editor for Gradio: exact class ids in the page and in Python.

The page holds a Uint8Array of class ids and paints it on a canvas; it never reads pixels back. Between page and Python
travels a `LabelMapData`: run lengths of class ids, row by row, small enough to be encoded at the end of every stroke.
"""

import base64
import io
import json
from typing import Any, NamedTuple, TypedDict

import gradio as gr
import numpy as np

from facemogle.class_orders import ORDER_NAMES, class_order
from facemogle.editing import GROW
from facemogle.label_files import LineDrawingError, read_label_map, write_label_map
from facemogle.labels import CLASS_ID, LEFT_RIGHT_PAIRS, NAMES, NUM_CLASSES, PALETTE
from facemogle.masks import resize_nearest
from facemogle.sketch import line_drawing_in, read_drawing, read_sketch
from facemogle.templates import TEMPLATES, template_face
from facemogle.ui.component import PageComponent, answered, beside
from facemogle.ui.failures import plain
from facemogle.ui.run import Base
from facemogle.ui.views import COLOURS, data_url

MAX_SIDE = 1024
MAX_FILE_BYTES = 32 * 2**20
START_SIDE = 512
IF_CHALK = "If it is a drawing in light lines on dark, invert its colours: dark lines on light are read as a drawing."
# As the palette lists them.
GROUPS = {
    "Face": ("skin", "nose"),
    "Eyes and brows": ("left_eye", "right_eye", "left_brow", "right_brow", "eyeglasses"),
    "Mouth": ("mouth", "upper_lip", "lower_lip"),
    "Hair and hat": ("hair", "hat"),
    "Ears and jewellery": ("left_ear", "right_ear", "earring", "necklace"),
    "Body and background": ("neck", "cloth", "background"),
}
# Of one function, in order.
_SCRIPTS = ("map", "view", "marks", "move", "pencil", "tools", "history", "palette", "files", "editor")


class LabelMapData(TypedDict):
    """A label map as JSON: `runs` is [class id, length, class id, length, ...] over the rows."""

    height: int
    width: int
    runs: list[int]


class NamedMap(NamedTuple):
    """A label map (H, W) of a picture with a name, under which the browser keeps what is drawn on it."""

    label_map: np.ndarray
    name: str


class LabelEditor(PageComponent):
    """Paint, fill, open and save a label map. Its value in Python is an (H, W) uint8 array of class ids, or None.

    To the page it may be sent as a `NamedMap`: where that has another name than the one before, its history begins
    anew, and what was last drawn on it and not forgotten by the browser is brought back.

    `backdrop` is the address of a picture to show under the map, stretched to it: a data URL, or one that this server
    answers; "" for none. `source` is the label map that belongs to it; `unsure` and `differing` are (H, W) booleans,
    hatched where the map is still that one: each is JSON of what `encode` returns, or "". An event listener sets all
    four with what `laid_under` returns, alone or with a value.

    While the page's `form.editor` has `data-edit="on"`, the region that may change of that picture is shown, and can be
    painted. It goes with the value as its `region`, which `Region` reads.

    Besides Gradio's own events there is `stroke`: a person has changed the map (a stroke, undo, a file opened, ...). It
    is sent while the page's `form.editor` has `data-live="on"`; `trigger_mode="always_last"` skips to the newest map.
    """

    def __init__(
        self,
        value: np.ndarray | NamedMap | None = None,
        *,
        label: str = "Label map",
        backdrop: str = "",
        source: str = "",
        unsure: str = "",
        differing: str = "",
        elem_id: str | None = None,
        render: bool = True,
    ):
        super().__init__(
            value,
            label=label,
            elem_id=elem_id,
            render=render,
            **beside(__file__, "editor", scripts=_SCRIPTS),
            server_functions=[open_label_map, read_lines, save_label_map, save_colours, start_from],
            backdrop=backdrop,
            source=source,
            unsure=unsure,
            differing=differing,
            grow=GROW,
            classes=_palette(),
            groups=_groups(),
            kinds=["blank", *TEMPLATES],
            orders=ORDER_NAMES,
            max_side=MAX_SIDE,
            max_file_bytes=MAX_FILE_BYTES,
        )

    def preprocess(self, payload: Any) -> np.ndarray | None:  # type: ignore[override]
        """What the page or an API client sent -> (H, W) class ids. gr.Error where it is no label map."""
        try:
            return None if payload is None else decode(payload)
        except ValueError as error:
            raise gr.Error(str(error)) from error

    def postprocess(self, value: np.ndarray | NamedMap | None) -> dict[str, Any] | None:  # type: ignore[override]
        if isinstance(value, NamedMap):
            return {**encode(fit(value.label_map)), "name": value.name}
        return None if value is None else {**encode(fit(value))}

    def process_example(self, value: np.ndarray | None) -> str:
        return "" if value is None else f"{value.shape[1]}×{value.shape[0]}"

    def api_info(self) -> dict[str, Any]:
        integers = {"type": "array", "items": {"type": "integer"}}
        return {
            "type": "object",
            "description": "Run lengths over the rows: class id, length, class id, length, ...",
            "properties": {"height": {"type": "integer"}, "width": {"type": "integer"}, "runs": integers},
        }

    def example_payload(self) -> LabelMapData:
        return {"height": 512, "width": 512, "runs": [0, 512 * 512]}

    def example_value(self) -> np.ndarray:
        return decode(self.example_payload())


def laid_under(base: Base | None) -> dict[str, Any]:
    """The update that lays a picture under the map, or takes away the one that is there."""
    if base is None:
        return gr.update(backdrop="", source="", unsure="", differing="")
    # As text: Gradio copies lists in the page number by number, again and again.
    source, unsure, differing = (
        "" if one is None else json.dumps(encode(fit(one))) for one in (base.label_map, base.unsure, base.differing)
    )
    backdrop = data_url(base.picture, format="WEBP")
    return gr.update(backdrop=backdrop, source=source, unsure=unsure, differing=differing)


class Region(PageComponent):
    """What a person painted as free to change, not shown on its own: (H, W) booleans in Python, or None.

    Its value in the page is a LabelMapData of 0 and 1, which a listener's `js` takes from the editor's.
    """

    def __init__(self, *, render: bool = True) -> None:
        super().__init__(visible=False, render=render)

    def preprocess(self, payload: Any) -> np.ndarray | None:  # type: ignore[override]
        """What the page sent -> (H, W) booleans; None where nothing is free. gr.Error where it is no region."""
        try:
            region = None if payload in (None, "") else decode(payload).astype(bool)
        except ValueError as error:
            raise gr.Error(str(error)) from error
        return region if region is not None and region.any() else None


def encode(label_map: np.ndarray) -> LabelMapData:
    """(H, W) class ids, or booleans -> their run lengths."""
    flat = label_map.reshape(-1).astype(np.uint8)
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    runs = np.stack([flat[starts], np.diff(np.r_[starts, flat.size])], axis=1)
    return {"height": label_map.shape[0], "width": label_map.shape[1], "runs": runs.ravel().tolist()}


def decode(data: Any) -> np.ndarray:
    """Run lengths from anyone at all -> (H, W) uint8 class ids. ValueError says what is wrong."""
    expected = 'A label map must be {"height": H, "width": W, "runs": [class id, length, ...]}'
    if not isinstance(data, dict):
        raise ValueError(f"{expected}, got {type(data).__name__}.")
    height, width, runs = data.get("height"), data.get("width"), data.get("runs")
    if (
        type(height) is not int
        or type(width) is not int
        or not (1 <= min(height, width) <= max(height, width) <= MAX_SIDE)
    ):
        raise ValueError(f"{expected} with sides from 1 to {MAX_SIDE}, got {str(height)[:20]} and {str(width)[:20]}.")
    if not isinstance(runs, list) or len(runs) % 2 or len(runs) > 2 * height * width:
        raise ValueError(f"{expected} with at most one pair for each of the {height * width} pixels.")
    if not all(type(number) is int for number in runs):
        raise ValueError(f"{expected}, where runs holds integers only.")
    class_ids, lengths = runs[::2], runs[1::2]
    if not all(0 <= class_id < NUM_CLASSES for class_id in class_ids):
        raise ValueError(f"Class ids are 0 ({NAMES[0]}) to {NUM_CLASSES - 1} ({NAMES[-1]}); the runs hold others.")
    if min(lengths, default=0) < 1 or sum(lengths) != height * width:
        raise ValueError(f"The runs must be of length 1 or more and cover {height}x{width} pixels exactly.")
    return np.repeat(np.array(class_ids, np.uint8), lengths).reshape(height, width)


def fit(label_map: np.ndarray) -> np.ndarray:
    """Shrink with nearest until the longer side is at most MAX_SIDE; smaller maps stay as they are."""
    longer = max(label_map.shape)
    if longer <= MAX_SIDE:
        return label_map
    height, width = (max(1, round(side * MAX_SIDE / longer)) for side in label_map.shape)
    return resize_nearest(label_map, height, width)


def open_label_map(upload: Any) -> dict[str, Any]:
    """{"name", "file", "order"}, the file in base64 and the order one of ORDER_NAMES -> {"value", "message"} for the
    page, or {"error"} that names the remedy. A line drawing becomes a map; the page hatches its "doubtful" regions.
    One in light lines on dark is taken for a label map only where it is one exactly.
    """
    sent = upload if isinstance(upload, dict) else {}
    name, file, order = sent.get("name"), sent.get("file"), sent.get("order")
    try:
        if not isinstance(file, str) or len(file) > MAX_FILE_BYTES * 4 // 3:
            size = f"{MAX_FILE_BYTES // 2**20} MB"
            raise ValueError(f"The file is larger than {size}, or none. Save the map as an indexed PNG.")
        contents = io.BytesIO(base64.b64decode(file, validate=True))
        contents.name = str(name or "The file")[:80]
        classes = class_order(None if order is None else str(order), files=False)
        try:
            reading = read_label_map(contents, classes=classes)
            contents.seek(0)
            drawing = line_drawing_in(contents) if reading.exact else None
        except LineDrawingError as error:
            return _sketched(error.drawing.picture, "Opened.")
        if drawing is not None and drawing.tone == "dark":
            return _sketched(drawing.picture, "Opened.")
    except Exception as error:
        return {"error": f"Not opened: {plain(error)}"}
    height, width = reading.label_map.shape
    message = f"Opened, {width}×{height}."
    if max(height, width) > MAX_SIDE:
        message += f" Scaled down to {MAX_SIDE} pixels."
    said = (message, *reading.messages, *([] if drawing is None else [IF_CHALK]))
    return {"value": encode(fit(reading.label_map)), "message": " ".join(said)}


@answered
def read_lines(file: Any) -> dict[str, Any]:
    """The pencil's lines, a PNG in base64 -> {"value", "doubtful", "message"} for the page."""
    if not isinstance(file, str) or len(file) > MAX_FILE_BYTES * 4 // 3:
        raise ValueError("Expected the lines as a PNG in base64.")
    return _sketched(read_drawing(io.BytesIO(base64.b64decode(file, validate=True))), "Made a map.")


def _sketched(drawing: np.ndarray, done: str) -> dict[str, Any]:
    sketch = read_sketch(drawing)
    doubtful = encode(sketch.doubtful) if sketch.doubts else None
    return {"value": encode(sketch.label_map), "doubtful": doubtful, "message": " ".join((done, *sketch.messages))}


def save_label_map(data: Any) -> dict[str, str]:
    """The page's map -> {"file"}, an indexed PNG in base64, or {"error"}."""
    return _save(data, colours=False)


def save_colours(data: Any) -> dict[str, str]:
    """The page's map -> {"file"}, a PNG in the palette's colours in base64, or {"error"}."""
    return _save(data, colours=True)


def _save(data: Any, *, colours: bool) -> dict[str, str]:
    file = io.BytesIO()
    try:
        write_label_map(file, decode(data), colours=colours)
    except ValueError as error:
        return {"error": str(error)}
    return {"file": base64.b64encode(file.getvalue()).decode()}


@answered
def start_from(kind: Any) -> dict[str, Any]:
    """ "blank" or a kind of face in TEMPLATES -> {"value", "message"} for the page."""
    blank = np.zeros((START_SIDE, START_SIDE), np.uint8)
    label_map = blank if kind == "blank" else template_face(str(kind)[:40], START_SIDE)
    return {"value": encode(label_map), "message": f"Started from: {kind}."}


def _groups() -> list[dict[str, Any]]:
    """Each with the classes in it, as `_palette` has them, and their ids."""
    palette = _palette()
    return [
        {"name": group, "classes": [{"id": CLASS_ID[name], **palette[CLASS_ID[name]]} for name in names]}
        for group, names in GROUPS.items()
    ]


def _palette() -> list[dict[str, str | int]]:
    """Per class what the page shows; `key` is the last digit of its id, with shift from 10 on."""
    sides = {"left": "The person's left: on the right of the picture", "right": "The person's right: on the left"}
    swapped = {one: other for left, right in LEFT_RIGHT_PAIRS for one, other in ((left, right), (right, left))}
    return [
        {
            "name": name.replace("_", " "),
            "colour": COLOURS[class_id],
            "ink": "#000" if colour @ (0.299, 0.587, 0.114) > 110 else "#fff",
            "hint": sides.get(name.split("_")[0], ""),
            "key": f"{'⇧' * (class_id > 9)}{class_id % 10}",
            "shortcut": f"{'Shift+' * (class_id > 9)}{class_id % 10}",
            "mirrored": swapped.get(class_id, class_id),
        }
        for class_id, (name, colour) in enumerate(zip(NAMES, PALETTE, strict=True))
    ]
