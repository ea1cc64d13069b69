"""Told while a prompt is typed: words the checkpoint does not know, how much counts, what the map has and has not."""

import re
from typing import Any, TypedDict

from facemogle.labels import CLASS_ID
from facemogle.ui.component import PageComponent, beside
from facemogle.ui.provider import PipelineProvider

# Of classes that a face may have or not: how people name them, one word or more each, and what the prompt would say.
WORN = {
    "hat": (r"hats?|caps?|beanies?|berets?|fedora|headwear|helmet|hood|turban", "a hat"),
    "eyeglasses": (r"glasses|sunglasses|eyeglasses|spectacles|specs|shades", "glasses"),
    "earring": (r"earrings?|studs|hoops", "earrings"),
    "necklace": (r"necklaces?|pendant|choker", "a necklace"),
}
_ABSENT = r"(?:no|not|without|never)\s+(?:an?\s+|any\s+|wearing\s+)*(?:\w+\s+)?"
LONGEST = 10_000  # characters that are looked at


class Notes(TypedDict):
    """What the page shows of a prompt. `named`: class ids; `unknown`: words, each with the nearest known, or None."""

    unknown: list[tuple[str, str | None]]
    named: list[int]
    count: str
    full: bool


class PromptNotes(PageComponent):
    """Shows the Notes that are its value, with what the map in the page says to them.

    The event `replace` asks for another prompt, its `prompt`; `wear` for a part of the map, its `name`.
    """

    def __init__(self, *, elem_id: str | None = None, render: bool = True):
        super().__init__(
            label="On the prompt",
            elem_id=elem_id,
            render=render,
            **beside(__file__, "notes"),
            worn=[{"id": CLASS_ID[name], "name": name, "said": said} for name, (_, said) in WORN.items()],
        )

    def preprocess(self, payload: Any) -> None:  # type: ignore[override]
        """Output only: what a page sends back is not looked at."""

    def postprocess(self, value: Notes | None) -> Notes | None:  # type: ignore[override]
        return value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "unknown words, classes named, count"}


def read(provider: PipelineProvider, prompt: str | None) -> Notes:
    """What there is to say of a prompt: of its words only once the weights are there."""
    prompt = prompt or ""
    more = "over " if len(prompt) > LONGEST else ""
    prompt = prompt[:LONGEST]
    notes = Notes(unknown=[], named=named(prompt), count="", full=False)
    if not prompt.strip() or provider.loading or provider.failure:
        return notes
    reading = provider.get().read_prompt(prompt)
    notes["unknown"] = list(reading.unknown.items())
    notes["count"] = f"{more}{reading.tokens} of {reading.limit} {reading.unit}s"
    if reading.cut:
        notes["full"] = True
        notes["count"] += f"; “{reading.cut_start()}” is not read"
    notes["count"] += "".join(f". {sentence}" for sentence in reading.dropped()).removesuffix(".")
    return notes


def named(prompt: str) -> list[int]:
    """The classes of WORN that a prompt says are there."""
    text = prompt.lower()
    found = []
    for name, (words, _) in WORN.items():
        said = re.search(rf"\b(?:{words})\b", re.sub(rf"\b{_ABSENT}(?:{words})\b", "", text))
        found += [CLASS_ID[name]] if said else []
    return found
