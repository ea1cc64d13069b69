"""Charts of the page, as inline SVG and HTML in the page's own colours."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from facemogle.evaluation.label_agreement import ClassAgreement
from facemogle.evaluation.metric import Measured
from facemogle.evaluation.tables import number
from facemogle.labels import CLASS_ID, PALETTE

BINS = 24
WIDTH, HEIGHT = 240, 72


def histogram(values: Sequence[float], *, mean: float, real: float | None = None) -> str:
    """How the pictures' own values lie; a line at their mean, a dashed one at the real pictures'."""
    finite = np.array([value for value in values if math.isfinite(value)])
    low, high = _span([*finite, *([real] if real is not None else [])])
    counts, _ = np.histogram(finite, bins=BINS, range=(low, high))
    step, top = WIDTH / BINS, max(int(counts.max()), 1)
    bars = "".join(
        f'<rect x="{place * step + 0.5:.1f}" y="{HEIGHT - height:.1f}" width="{step - 1:.1f}" height="{height:.1f}"/>'
        for place, count in enumerate(counts)
        if (height := HEIGHT * 0.94 * count / top)
    )
    marks = "".join(
        f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}"/>'
        for kind, value in (("real", real), ("mean", mean))
        if value is not None and low <= value <= high
        for x in [WIDTH * (value - low) / (high - low)]
    )
    label = f"{len(finite)} values from {number(float(finite.min()))} to {number(float(finite.max()))}"
    return (
        f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{bars}{marks}</svg>'
        f'<p class="axis"><span>{number(low)}</span><span>{number(high)}</span></p>'
    )


def class_bars(classes: Sequence[ClassAgreement]) -> str:
    """IoU of each class with its interval, and a mark where the parser reads the real pictures; the best first."""
    there = sorted((each for each in classes if not math.isnan(each.iou)), key=lambda each: -each.iou)
    return "".join(
        _bar(
            each.name.replace("_", " "),
            100 * each.iou,
            (100 * each.interval[0], 100 * each.interval[1]),
            real=None if math.isnan(each.real) else 100 * each.real,
            span=(0, 100),
            note=f"{each.pictures}",
            swatch="rgb({} {} {})".format(*PALETTE[CLASS_ID[each.name]]),
        )
        for each in there
    )


def group_rows(groups: Sequence[tuple[str, int, Measured]]) -> str:
    """One metric in all groups: dots with their intervals, on a scale from the least to the greatest."""
    ends = [end for _, _, each in groups for end in (each.interval or (each.value,))]
    low, high = _span([*ends, *(each.value for *_, each in groups)])
    margin = 0.04 * (high - low)
    return "".join(
        _bar(name, each.value, each.interval, span=(low - margin, high + margin), note=f"{count}", dot=True)
        for name, count, each in groups
    )


def _bar(
    name: str,
    value: float,
    interval: tuple[float, float] | None,
    *,
    span: tuple[float, float],
    note: str,
    real: float | None = None,
    swatch: str = "",
    dot: bool = False,
) -> str:
    def at(number: float) -> float:
        return round(100 * min(max((number - span[0]) / (span[1] - span[0]), 0), 1), 2)

    mark = (
        f'<i class="dot" style="left:{at(value)}%"></i>' if dot else f'<i class="fill" style="width:{at(value)}%"></i>'
    )
    if interval and all(map(math.isfinite, interval)):
        start, end = map(at, interval)
        mark += f'<i class="whisker" style="left:{start}%;width:{max(end - start, 0.4):.2f}%"></i>'
    if real is not None:
        mark += f'<i class="real" style="left:{at(real)}%"></i>'
    box = f'<i class="swatch" style="background:{swatch}"></i>' if swatch else ""
    return (
        f'<div class="bar"><span class="name">{box}{escape(name)}</span><span class="track">{mark}</span>'
        f'<span class="value">{number(value)}</span><span class="count">{note}</span></div>'
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = float(min(values)), float(max(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)
