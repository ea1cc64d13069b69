"""What an evaluation found, as lines for a terminal and as JSON."""

import importlib.metadata
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from facemogle.evaluation.label_agreement import ClassAgreement
from facemogle.evaluation.measuring import ORDER, Evaluation, Line
from facemogle.evaluation.metric import Measured, Network
from facemogle.evaluation.paper import PAPER

_PACKAGES = ("facemogle", "torch", "torchvision", "transformers", "timm", "open_clip_torch", "lpips", "numpy", "pillow")


def table(evaluation: Evaluation) -> list[str]:
    """Metric, value, 95% interval, the real pictures' own, and the paper's rows beside those that it has."""
    head = ["", "", "95% interval", "real", *(f"paper, {row}" for row in PAPER)]
    rows = [_row(line) for line in evaluation.lines if line.measured is not None]
    if not any(line.metric.name in ORDER for line in evaluation.lines if line.measured):
        head, rows = head[:4], [row[:4] for row in rows]
    lines = aligned([head, *rows])
    if len(evaluation.classes):
        lines += ["", *_classes(evaluation.classes)]
    if evaluation.groups:
        lines += ["", *_groups(evaluation)]
    if missing := left_out(evaluation.lines):
        lines += ["", "Left out:", *(f"  {', '.join(titles)}: {reason}" for reason, titles in missing.items())]
    return lines


def left_out(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Why metrics could not be measured -> their titles."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.measured is None:
            found.setdefault(line.reason, []).append(line.metric.title.strip())
    return found


def number(value: float | None) -> str:
    """With as many digits as tell something: "22.24", "0.4770", "1.3e-05"; "" for none."""
    if value is None or math.isnan(value):
        return ""
    size = abs(value)
    if size >= 1 or size == 0:
        return f"{value:.2f}"
    return f"{value:.4f}" if size >= 0.01 else f"{value:.1e}"


def interval(measured: Measured) -> str:
    return f"{number(measured.interval[0])} to {number(measured.interval[1])}" if measured.interval else ""


def arrow(better: str) -> str:
    return {"lower": "↓", "higher": "↑"}.get(better, " ")


def _row(line: Line) -> list[str]:
    measured, metric = line.measured, line.metric
    assert measured is not None
    paper = [number(row.get(metric.name)) for row in PAPER.values()]
    return [
        f"{metric.title} {arrow(metric.better)}".rstrip(), number(measured.value), interval(measured),
        number(measured.real), *paper,
    ]  # fmt: skip


def _classes(classes: Sequence[ClassAgreement]) -> list[str]:
    rows = [["class", "IoU", "95% interval", "real", "recall", "precision", "pictures"]]
    for each in classes:
        if not math.isnan(each.iou):
            within = f"{each.interval[0]:.3f} to {each.interval[1]:.3f}"
            figures = [f"{each.iou:.3f}", within, *map(_share, (each.real, each.recall, each.precision))]
            rows.append([each.name.replace("_", " "), *figures, str(each.pictures)])
    return aligned(rows)


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _groups(evaluation: Evaluation) -> list[str]:
    titles = {line.metric.name: line.metric.title for line in evaluation.lines if line.measured is not None}
    rows = [["group", *(f"{name} ({count})" for name, (count, _) in evaluation.groups.items())]]
    for name, title in titles.items():
        values = [measured.get(name) for _, measured in evaluation.groups.values()]
        rows.append([title, *(number(each.value) if each else "" for each in values)])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, the first one flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in
                  enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip


# JSON


def as_json(
    evaluation: Evaluation, about: Mapping[str, Any], files_of: Callable[[Network], Sequence[tuple[Path, str]]]
) -> dict[str, Any]:
    """All values with each picture's own, intervals, groups, classes, networks and versions; about: of the run.

    files_of: a network's files on this disk, each with its sha256.
    """
    measured = [line for line in evaluation.lines if line.measured is not None]
    networks = {network.name: network for line in measured for network in line.metric.networks}
    return {
        **about,
        "metrics": {
            line.metric.name: {"title": line.metric.title.strip(), "better": line.metric.better, **_measured(line)}
            for line in measured
        },
        "left out": {line.metric.name: line.reason for line in evaluation.lines if line.measured is None},
        "paper": PAPER,
        "classes": {
            each.name: {name: _finite(value) for name, value in vars(each).items() if name != "name"}
            for each in evaluation.classes
        },
        "groups": {
            name: {"pictures": count} | {metric: _figures(each) for metric, each in measured.items()}
            for name, (count, measured) in evaluation.groups.items()
        },
        "broken files": {str(path): why for path, why in evaluation.problems.items()},
        "networks": {name: _network(network, files_of(network)) for name, network in networks.items() if network.files},
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _measured(line: Line) -> dict[str, Any]:
    assert line.measured is not None
    each = {name: _finite(value) for name, value in line.measured.each.items()}
    networks = [network.name for network in line.metric.networks if network.files]
    return _figures(line.measured) | {"note": line.measured.note, "networks": networks, "each": each}


def _figures(measured: Measured) -> dict[str, Any]:
    return {
        "value": _finite(measured.value),
        "interval": _finite(measured.interval),
        "real": _finite(measured.real),
    }


def _network(network: Network, found: Sequence[tuple[Path, str]]) -> dict[str, Any]:
    return {
        "licence": network.licence,
        "version": network.version,
        "files": [
            {"source": file.source, "path": str(path), "size": path.stat().st_size, "sha256": digest}
            for file, (path, digest) in zip(network.files, found, strict=True)
        ],
    }


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, (tuple, list)):
        return [_finite(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
