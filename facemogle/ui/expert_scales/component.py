"""Factors of the experts' say, one slider each; what the page holds is what Python gets."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from facemogle.gating import EXPERTS
from facemogle.ui.component import PageComponent, beside
from facemogle.ui.views import CHIPS, COLOURS

MAX_FACTOR = 100


class ExpertScales(PageComponent):
    """A slider for each expert. Its value in Python is a dict from names in gating.EXPERTS to factors other than 1.

    None where all are 1. Factors are finite and at least 0; the sliders reach 3, values from Python may lie beyond.
    """

    def __init__(
        self,
        value: Mapping[str, float] | None = None,
        *,
        label: str = "Steer the experts",
        elem_id: str | None = None,
        render: bool = True,
    ):
        super().__init__(
            value,  # type: ignore[arg-type]
            label=label,
            elem_id=elem_id,
            render=render,
            **beside(__file__, "scales"),
            experts=_experts(),
        )

    def preprocess(self, payload: Any) -> dict[str, float] | None:  # type: ignore[override]
        """What the page or an API client sent -> experts' names and factors. gr.Error where they cannot be such."""
        try:
            return None if payload in (None, "") else check_scales(payload)  # "": the page without a value
        except ValueError as error:
            raise gr.Error(f"{self.label}: {error}") from error

    def postprocess(self, value: Mapping[str, float] | None) -> dict[str, float] | None:  # type: ignore[override]
        return _changed(value or {})

    def api_info(self) -> dict[str, Any]:
        return {
            "type": "object",
            "description": f"Experts' names and factors, 0 to {MAX_FACTOR}: {', '.join(EXPERTS)}",
            "additionalProperties": {"type": "number"},
        }

    def example_payload(self) -> dict[str, float]:
        return {"hair": 2.0}

    def example_value(self) -> dict[str, float]:
        return self.example_payload()


def check_scales(scales: Any) -> dict[str, float] | None:
    """Names and factors from anyone at all -> those other than 1, or None. ValueError says what is wrong.

    Muting all is for the pipeline to refuse: what a run fails of is told where it was to begin.
    """
    if not isinstance(scales, dict):
        raise ValueError(f'Experts\' factors must be {{"name": factor, ...}}, got {type(scales).__name__}.')
    for name, factor in scales.items():
        if name not in EXPERTS:
            raise ValueError(f"There is no expert {str(name)[:40]!r}. They are {', '.join(EXPERTS)}.")
        number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
        if not number or not 0 <= factor <= MAX_FACTOR:
            raise ValueError(
                f"An expert's factor is a number from 0 to {MAX_FACTOR}, got {str(factor)[:20]} for {name}."
            )
    return _changed(scales)


def _changed(scales: Mapping[str, float]) -> dict[str, float] | None:
    return {name: float(factor) for name, factor in scales.items() if factor != 1} or None


def _experts() -> list[dict[str, str]]:
    """Per expert what the page shows."""
    hints = ["Sees the whole label map at once", *[""] * len(COLOURS)]
    return [
        {"name": name, "title": name.replace("_", " "), "chip": chip, "hint": hint}
        for name, chip, hint in zip(EXPERTS, CHIPS, hints, strict=True)
    ]
