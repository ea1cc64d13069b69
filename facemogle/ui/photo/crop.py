"""A square drawn on a photo by hand, for a face that the detector misses or frames badly."""

from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from facemogle.ui.component import PageComponent, beside
from facemogle.ui.views import data_url

LARGEST = 1e6  # pixels
SHOWN_SIDE = 768  # pixels, the longer side of the photo as the page shows it


class Square(NamedTuple):
    """In pixels of the photo, from its upper left corner."""

    left: float
    top: float
    side: float


_NO_PHOTO_YET = Square(0, 0, 1)._asdict()


class PhotoCrop(PageComponent):
    """A photo with a square to drag. Its value in Python is a Square; the event `crop` tells that it is to be taken.

    `picture` is a data URL of the photo, `height` and `width` are the photo's own; `square`: where it lies at first,
    as a dict; `open`: whether more than a heading shows. See `over`.
    """

    def __init__(
        self,
        *,
        label: str = "Crop by hand",
        picture: str = "",
        height: int = 1,
        width: int = 1,
        square: dict[str, float] = _NO_PHOTO_YET,
        open: bool = False,
        elem_id: str | None = None,
        render: bool = True,
    ):
        super().__init__(
            label=label,
            elem_id=elem_id,
            render=render,
            **beside(__file__, "crop"),
            picture=picture,
            height=height,
            width=width,
            square=square,
            open=open,
        )

    def preprocess(self, payload: Any) -> Square | None:  # type: ignore[override]
        """What the page sent. gr.Error where it is no square."""
        if payload in (None, ""):
            return None
        found = [payload.get(name) for name in Square._fields] if isinstance(payload, dict) else []
        numbers = [one for one in found if isinstance(one, (int, float)) and not isinstance(one, bool)]
        if len(numbers) < 3 or not all(abs(number) < LARGEST for number in numbers):
            raise gr.Error(f'A square must be {{"left", "top", "side"}} in pixels, got {str(payload)[:80]}.')
        return Square(*numbers)

    def postprocess(self, value: Square | None) -> dict[str, float] | None:  # type: ignore[override]
        return None if value is None else value._asdict()

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "left, top and side of a square in pixels"}

    def example_payload(self) -> dict[str, float]:
        return {"left": 0, "top": 0, "side": 512}

    def example_value(self) -> Square:
        return Square(**self.example_payload())


def over(photo: np.ndarray, square: Square | None = None, *, open: bool = False) -> dict[str, Any]:
    """The update that shows a photo (H, W, 3) with a square over it, by default the largest in its middle."""
    small = Image.fromarray(photo)
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    height, width = photo.shape[:2]
    side = min(height, width)
    start = (square or Square((width - side) / 2, (height - side) / 2, side))._asdict()
    return gr.update(picture=data_url(small, format="WEBP"), height=height, width=width, square=start, open=open)
