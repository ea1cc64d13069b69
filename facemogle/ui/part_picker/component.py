"""Change this part: a click on a part of the picture chooses it, a few words say what it is to be."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gradio as gr

from facemogle.labels import CLASS_ID
from facemogle.parts import PARTS, classes_of, parts_of
from facemogle.photo_changes import FADES
from facemogle.ui.component import PageComponent, beside
from facemogle.ui.label_editor.component import encode, fit
from facemogle.ui.run import Base
from facemogle.ui.views import data_url

LONGEST = 2000  # letters of what is said
# Of a checkpoint's suggestions, those that tell of a part.
SUGGESTED = {
    "hair": ("hair colour", "hair style"), "hat": ("hat",), "face": ("skin", "beard"), "eyes": ("eyes",),
    "glasses": ("glasses",), "lips": ("lipstick", "expression"), "earrings": ("earrings",), "necklace": ("necklace",),
    "clothes": ("clothes",), "background": ("background",),
}  # fmt: skip
# Part -> what comes in its place where it is taken away.
WITHOUT = {"glasses": "face", "hat": "hair"}
ON_PHOTOS = {
    "mini": "mini draws portraits of its own kind: in a photo, what changes looks drawn. flux, with a GPU, is made for "
    "photographs.",
}
FADING = f"What you changed {FADES}: Crop by hand, next to the photo, takes a larger square."


class Wish(NamedTuple):
    """A part of PARTS; what it is to be, in words; the part that comes in its place, or None."""

    part: str
    text: str
    to: str | None = None


class PartPicker(PageComponent):
    """Shows a picture whose parts are chosen by a click, or by the buttons under it.

    The event `wish`: the value in Python is a Wish. `undo` asks for the picture before, `save` for the whole photo,
    whose address then comes as `saved`. See `to_change` for its properties.
    """

    def __init__(
        self,
        suggestions: Mapping[str, Sequence[str]],
        *,
        checkpoint: str = "",
        picture: str = "",
        map: str = "",
        parts: Sequence[str] = (),
        photo: bool = False,
        fading: str = "",
        undoable: bool = False,
        saved: str = "",
        elem_id: str | None = None,
        render: bool = True,
    ):
        super().__init__(
            label="Change this part",
            elem_id=elem_id,
            render=render,
            **beside(__file__, "picker"),
            kinds=[
                {
                    "name": part,
                    "classes": [CLASS_ID[name] for name in classes],
                    "phrases": [phrase for kind in SUGGESTED.get(part, ()) for phrase in suggestions.get(kind, ())],
                    "without": WITHOUT.get(part, ""),
                }
                for part, classes in PARTS.items()
            ],
            honest=ON_PHOTOS.get(checkpoint, ""),
            longest=LONGEST,
            picture=picture,
            map=map,
            parts=parts,
            photo=photo,
            fading=fading,
            undoable=undoable,
            saved=saved,
        )

    def preprocess(self, payload: Any) -> Wish | None:  # type: ignore[override]
        """{"part", "text", "to"} from anyone at all. gr.Error where it is no wish."""
        if payload in (None, ""):
            return None
        try:
            part, text, to = (payload.get(name) for name in Wish._fields)
            if not isinstance(text, str) or len(text) > LONGEST:
                raise ValueError(f"What the part is to be must be text of at most {LONGEST} letters.")
            for each in (part, *([to] if to else [])):
                classes_of(str(each)[:40])
            return Wish(part, text, to or None)
        except (AttributeError, ValueError) as error:
            raise gr.Error(str(error)) from error

    def postprocess(self, value: None) -> None:  # type: ignore[override]
        """Input only."""

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "part, text, and to: what comes in its place"}

    def example_payload(self) -> dict[str, str]:
        return Wish("hair", "red hair", "")._asdict()


def to_change(base: Base | None, *, undoable: bool = False) -> dict[str, Any]:
    """The update that shows a picture to change; without one, the place says how to get one."""
    if base is None:
        return gr.update(picture="", map="", parts=[], photo=False, fading="", undoable=False, saved="")
    label_map = fit(base.label_map)
    return gr.update(
        picture=data_url(base.picture, format="WEBP"),
        map=json.dumps(encode(label_map)),
        parts=parts_of(label_map),
        photo=base.origin is not None,
        fading=FADING if base.origin and base.origin.fades else "",
        undoable=undoable,
        saved="",
    )
