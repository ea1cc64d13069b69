"""Other class orders than ours: what the values of a label map mean, by a published name or by a table of one's own.

An order is given as a name of ORDERS, with "-swapped" behind it where left and right are exchanged; as names in the
order of their values; as {value: class}; or as a file of either, in JSON or one a line. Colours may stand for values.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facemogle.labels import ALIASES, CLASS_ID, LEFT_RIGHT_PAIRS, NAMES, NUM_CLASSES, PARSER_NAMES
from facemogle.text_files import read_text

NO_CLASS = 255
OWN = "celebamask-hq"
_ELEVEN = (
    "background", "skin", "right_brow", "left_brow", "right_eye", "left_eye", "nose", "upper_lip", "mouth",
    "lower_lip", "hair",
)  # fmt: skip
# Sources: face-parsing.PyTorch's README and test.py (zllrunning, 79999_iter.pth), which CelebAMask-HQ had before, too;
# SegFace's dataset/celeb.py and FaRL's farl/datasets/celebamask_hq.py, both as labels.PARSER_NAMES has them; LaPa
# (arXiv 1905.04830) by FaRL's farl/datasets/lapa.py; Helen by the README of Smith et al., Exemplar-Based Face Parsing.
# The left of the last two is the left of the picture, as in all of FaRL's names.
ORDERS: dict[str, tuple[str, ...]] = {
    OWN: NAMES,
    "face-parsing.pytorch": (
        "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose", "mouth",
        "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
    ),
    "segface": PARSER_NAMES["segface"],
    "farl": PARSER_NAMES["farl"],
    "lapa": _ELEVEN,
    "helen": _ELEVEN,
}  # fmt: skip
# In which face-parsing.PyTorch's test.py paints its classes 1 to 18 on white.
_PAINTED = (
    (255, 255, 255), (255, 85, 0), (255, 170, 0), (255, 0, 85), (255, 0, 170), (0, 255, 0), (85, 255, 0), (170, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 0, 255), (85, 0, 255), (170, 0, 255), (0, 85, 255), (0, 170, 255), (255, 255, 0),
    (255, 255, 85), (255, 255, 170), (255, 0, 255),
)  # fmt: skip
SWAPPED = "-swapped"
ORDER_NAMES = (*ORDERS, *(name + SWAPPED for name in ORDERS))
_EXPECTED = (
    f"A class order is one of {', '.join(ORDERS)}, each also with {SWAPPED} behind it; or a table such as "
    '{"0": "background", "1": "hair"}.'
)

Colour = tuple[int, int, int]
ClassTable = str | os.PathLike | Mapping[Any, Any] | Sequence[Any]


@dataclass(frozen=True, eq=False)
class ClassOrder:
    """What values, or colours, mean: `ids` (256,) uint8 of our class ids, NO_CLASS where a value has none."""

    name: str
    ids: np.ndarray
    colours: Mapping[Colour, int] = field(default_factory=dict)


def class_order(classes: "ClassTable | ClassOrder | None", *, files: bool = True) -> ClassOrder:
    """What a person gave -> an order; ours where it is None.

    files: whether text may be a file's path, which it may not where it comes from strangers.
    ValueError where it is no order, or names a class that is not ours; OSError where the file cannot be read.
    """
    if isinstance(classes, ClassOrder):
        return classes
    if classes is None:
        return class_order(OWN)
    if isinstance(classes, (str, os.PathLike)):
        return _order_of_text(os.fspath(classes), files)
    if isinstance(classes, Mapping):
        return _order_of_table(classes, "the table")
    return _order_of_names(list(classes), "the table")


def painted_order() -> ClassOrder:
    """face-parsing.PyTorch's, as its pictures have it: the classes by their colours."""
    order = class_order("face-parsing.pytorch")
    return ClassOrder(order.name, order.ids, dict(zip(_PAINTED, order.ids.tolist(), strict=False)))


def swap_sides(ids: np.ndarray) -> np.ndarray:
    """Class ids of any shape with left and right exchanged."""
    swapped = np.arange(256, dtype=np.uint8)
    for left, right in LEFT_RIGHT_PAIRS:
        swapped[left], swapped[right] = right, left
    return swapped[ids]


def _order_of_text(text: str, files: bool) -> ClassOrder:
    name = text.strip().lower()
    if name == SWAPPED[1:]:
        name = OWN + SWAPPED
    known = name.removesuffix(SWAPPED)
    if known in ORDERS:
        ids = _order_of_names(ORDERS[known], known).ids
        return ClassOrder(name, swap_sides(ids) if name != known else ids)
    if name[:1] in ("{", "["):
        return _order_of_content(text, "the table")
    if files and os.path.isfile(text):
        return _order_of_content(read_text(text)[:100_000], text)
    raise ValueError(f"{text[:80]!r} is no class order{' and no file' if files else ''}. {_EXPECTED}")


def _order_of_content(text: str, name: str) -> ClassOrder:
    """JSON, or lines: a class each, or a value and its class."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name} is not JSON: {error}. {_EXPECTED}") from error
        return _order_of_table(content, name) if isinstance(content, dict) else _order_of_names(content, name)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pairs = [re.fullmatch(r"(#?[\da-fA-F][\da-fA-F,\s]*?)[\s:=,]+([A-Za-z][\w -]*)", line) for line in lines]
    if pairs and all(pairs):
        return _order_of_table({pair[1]: pair[2] for pair in pairs if pair}, name)
    return _order_of_names(lines, name)


def _order_of_names(names: Sequence[Any], name: str) -> ClassOrder:
    return _order_of_table(dict(enumerate(names)), name)


def _order_of_table(table: Mapping[Any, Any], name: str) -> ClassOrder:
    """{value or colour: class}, {class: value}, or a parser's config.json with an `id2label` in it."""
    table = table.get("id2label", table)
    if table and all(_key(key) is None and _key(value) is not None for key, value in table.items()):
        table = {value: key for key, value in table.items()}
    ids, colours = np.full(256, NO_CLASS, np.uint8), {}
    for each, word in table.items():
        key = _key(each)
        if key is None:
            raise ValueError(f"{name}: {str(each)[:40]!r} is neither a value from 0 to 255 nor a colour. {_EXPECTED}")
        if isinstance(key, int):
            ids[key] = _class_id(word, name)
        else:
            colours[key] = _class_id(word, name)
    if not colours and (ids == NO_CLASS).all():
        raise ValueError(f"{name} names no classes. {_EXPECTED}")
    return ClassOrder(name, ids, colours)


def _key(word: Any) -> int | Colour | None:
    """A value such as 13 or a colour such as "#cc0000", "204 0 0" or [204, 0, 0]; None for anything else."""
    if hexadecimal := re.fullmatch(r"#([0-9a-f]{6})", str(word).strip().lower()):
        red, green, blue = bytes.fromhex(hexadecimal[1])
        return red, green, blue
    words = re.fullmatch(r"[\[(]?\s*(\d{1,3})(?:[\s,]+(\d{1,3})[\s,]+(\d{1,3}))?\s*[\])]?", str(word).strip())
    numbers = [int(number) for number in words.groups() if number] if words and not isinstance(word, bool) else []
    if not numbers or max(numbers) > 255:
        return None
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])


def _class_id(word: Any, name: str) -> int:
    if isinstance(word, int) and not isinstance(word, bool) and 0 <= word < NUM_CLASSES:
        return word
    spelled = re.sub(r"[\s-]+", "_", str(word).strip().lower())
    spelled = ALIASES.get(spelled, spelled)
    if spelled not in CLASS_ID:
        raise ValueError(f"{name}: no class is called {str(word)[:40]!r}. The classes are {', '.join(NAMES)}.")
    return CLASS_ID[spelled]
