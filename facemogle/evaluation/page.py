"""The evaluation as one page that holds all it shows: figures, histograms, classes, groups, the worst and best."""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from facemogle.data.pairs import read_image
from facemogle.evaluation.charts import class_bars, group_rows, histogram
from facemogle.evaluation.measuring import ORDER, Evaluation, Line
from facemogle.evaluation.metric import Measured, Picture
from facemogle.evaluation.paper import PAPER
from facemogle.evaluation.tables import arrow, interval, left_out, number
from facemogle.labels import to_colours
from facemogle.masks import resize_nearest

SHOWN = 4  # of the worst, and of the best
THUMBNAIL = 176  # pixels
_HEADLINES = (*ORDER, "accuracy", "miou", "words", "fd_dinov2", "quality", "seeds_lpips")
_CASES = ("accuracy", "text", "structure", "words", "ir", "quality")  # whose ends are shown, as far as three of them go
_FOLDER = Path(__file__).parent
_FOOTER = "Intervals: 95%, by bootstrap over the faces. Real: the same of the real pictures, what could be reached."
Parse = Callable[[Path], np.ndarray]  # a picture's file -> (H, W) class ids


def page(
    evaluation: Evaluation,
    *,
    title: str,
    notes: Sequence[str],
    about: Mapping[str, Any],
    parse: Parse | None = None,
) -> str:
    """HTML. about: settings and versions, as they are to be read; parse: to show what is read in the cases."""
    lines = [line for line in evaluation.lines if line.measured is not None]
    sections = {
        "Figures": _figures(lines) + _left_out(evaluation.lines),
        "Classes": _classes(evaluation),
        "Groups": _groups(evaluation, lines),
        "Each picture": _histograms(lines),
        "Cases": _cases(evaluation, lines, parse),
        "Settings": _settings(about),
    }
    body = _cards(lines) + _notes([*notes, *(f"{path.name}: {why}" for path, why in evaluation.problems.items())])
    body += "".join(f'<section id="{_anchor(name)}">{html}</section>' for name, html in sections.items() if html)
    study = evaluation.study
    faces = len({picture.face for picture in study.pictures})
    summary = (
        f"{_many(len(study.pictures), 'picture')} of {_many(faces, 'face')}, {_many(len(study.reals), 'real picture')}"
    )
    return Template((_FOLDER / "page.html").read_text("utf-8")).substitute(
        title=escape(title),
        style=(_FOLDER / "page.css").read_text("utf-8"),
        summary=summary,
        links="".join(f'<a href="#{_anchor(name)}">{name}</a>' for name, html in sections.items() if html),
        body=body,
        footer=_FOOTER,
    )


def _cards(lines: Sequence[Line]) -> str:
    by_name = {line.metric.name: line for line in lines}
    shown = [by_name[name] for name in _HEADLINES if name in by_name][:6]
    return f'<div class="cards">{"".join(map(_card, shown))}</div>'


def _card(line: Line) -> str:
    measured = _of(line)
    real = f"<p>real pictures {number(measured.real)}</p>" if measured.real is not None else ""
    within = f"<p>{interval(measured)}</p>" if measured.interval else ""
    title = f"{escape(line.metric.title.strip())} {arrow(line.metric.better)}"
    return f'<div class="card"><h3>{title}</h3><strong>{number(measured.value)}</strong>{within}{real}</div>'


def _notes(notes: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _figures(lines: Sequence[Line]) -> str:
    tables = []
    for in_paper in (True, False):
        rows = [line for line in lines if (line.metric.name in ORDER) == in_paper]
        if not rows:
            continue
        paper = "".join(f'<th class="paper">paper, {escape(row)}</th>' for row in PAPER) if in_paper else ""
        first = "As in the paper" if in_paper else "Beyond the paper"
        with_real = any(_of(line).real is not None for line in rows)
        head = f"<tr><th>{first}</th><th>value</th>{'<th>real</th>' if with_real else ''}{paper}</tr>"
        body = "".join(_row(line, in_paper, with_real) for line in rows)
        tables.append(f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>')
    return "<h2>Figures</h2><p>↓ the lower the better, ↑ the higher; under a value its 95% interval.</p>" + (
        '<div style="height:12px"></div>'.join(tables)
    )


def _row(line: Line, in_paper: bool, with_real: bool) -> str:
    metric, measured = line.metric, _of(line)
    note = f"<small>{escape(measured.note)}</small>" if measured.note else ""
    paper = "".join(f'<td class="paper">{number(row.get(metric.name))}</td>' for row in PAPER.values())
    real = f"<td>{number(measured.real)}</td>" if with_real else ""
    part = ' class="part"' if "." in metric.name else ""
    return (
        f"<tr{part}><td>{escape(metric.title.strip())} <em>{arrow(metric.better)}</em>{note}</td>"
        f'<td class="ours">{number(measured.value)}<span>{interval(measured)}</span></td>'
        f"{real}{paper if in_paper else ''}</tr>"
    )


def _left_out(lines: Sequence[Line]) -> str:
    missing = left_out(lines)
    if not missing:
        return ""
    items = "".join(f"<li><b>{escape(', '.join(titles))}</b>: {escape(why)}</li>" for why, titles in missing.items())
    count = sum(map(len, missing.values()))
    summary = f"<summary>Left out <span>{_many(count, 'metric')}, with the reasons</span></summary>"
    return f'<details class="missing">{summary}<ul class="notes left-out">{items}</ul></details>'


def _classes(evaluation: Evaluation) -> str:
    if not evaluation.classes:
        return ""
    return (
        "<h2>Classes</h2><p>Intersection over union of each class, in %, of all pictures together: how reliably it "
        "comes out where the label map wants it. At the right, in how many pictures it is wanted.</p>"
        '<p class="legend"><span><i class="whisker"></i>95% interval</span>'
        '<span><i class="real"></i>the parser on the real pictures</span></p>'
        f'<div class="bars">{class_bars(evaluation.classes)}</div>'
    )


def _groups(evaluation: Evaluation, lines: Sequence[Line]) -> str:
    if not evaluation.groups:
        return ""
    cards = []
    for line in lines:
        rows = [(name, count, found[line.metric.name]) for name, (count, found) in evaluation.groups.items()
                if line.metric.name in found and math.isfinite(found[line.metric.name].value)]  # fmt: skip
        if len({each.value for *_, each in rows}) > 1:
            title = f"{escape(line.metric.title.strip())} {arrow(line.metric.better)}"
            cards.append(f'<div class="card"><h3>{title}</h3>{group_rows(rows)}</div>')
    return (
        "<h2>Groups</h2><p>Dots with their 95% intervals, on a scale of their own for each metric; at the right, how "
        "many pictures. FID and KID of few pictures come out too high: compare groups of like size.</p>"
        f'<div class="charts groups">{"".join(cards)}</div>'
    )


def _histograms(lines: Sequence[Line]) -> str:
    cards = []
    for line in lines:
        measured = _of(line)
        if len(set(measured.each.values())) > 2:
            title = f"{escape(line.metric.title.strip())} {arrow(line.metric.better)}"
            chart = histogram(list(measured.each.values()), mean=measured.value, real=measured.real)
            cards.append(f'<div class="card"><h3>{title}</h3><p>{number(measured.value)}</p>{chart}</div>')
    if not cards:
        return ""
    return (
        "<h2>Each picture</h2><p>How the pictures' own values lie.</p>"
        '<p class="legend"><span><i></i>all together</span><span><i class="real"></i>the real pictures</span></p>'
        f'<div class="charts">{"".join(cards)}</div>'
    )


def _cases(evaluation: Evaluation, lines: Sequence[Line], parse: Parse | None) -> str:
    pictures = {picture.name: picture for picture in evaluation.study.pictures}
    by_name = {line.metric.name: line for line in lines}
    thumbnails: dict[str, str] = {}
    parts: list[str] = []
    for name in [name for name in _CASES if name in by_name and by_name[name].measured][:3]:
        line = by_name[name]
        each = _of(line).each
        ordered = sorted((case for case in each if case in pictures), key=lambda case: (each[case], case))
        if len(ordered) < 2:
            continue
        shown = min(SHOWN, len(ordered) // 2)
        low, high = ordered[:shown], ordered[::-1][:shown]
        worst, best = (high, low) if line.metric.better == "lower" else (low, high)
        columns = "".join(
            f"<div><h3>{title}</h3>"
            + "".join(_case(pictures[case], each[case], parse, thumbnails) for case in cases)
            + "</div>"
            for title, cases in (("Worst", worst), ("Best", best))
        )
        summary = f"<summary>By {escape(line.metric.title.strip())} {arrow(line.metric.better)}</summary>"
        parts.append(f'<details{"" if parts else " open"}>{summary}<div class="ends">{columns}</div></details>')
    if not parts:
        return ""
    return (
        "<h2>Cases</h2><p>The ends of each: label map, picture, what the parser reads in it, real face.</p>"
        + "".join(parts)
    )


def _case(picture: Picture, value: float, parse: Parse | None, thumbnails: dict[str, str]) -> str:
    if picture.name not in thumbnails:
        thumbnails[picture.name] = _four(picture, parse)
    caption = escape(picture.caption or "")
    return (
        f'<figure class="case"><div class="row">{thumbnails[picture.name]}</div><figcaption><b>{number(value)}</b>'
        f"<span>{escape(picture.name)}</span><span>{caption}</span></figcaption></figure>"
    )


def _four(picture: Picture, parse: Parse | None) -> str:
    drawn = read_image(picture.path)
    label_map = picture.label_map() if picture.label_map else None
    read = parse(picture.path) if parse and label_map is not None else None
    real = read_image(picture.real) if picture.real else None
    four = (
        ("label map", None if label_map is None else _coloured(label_map)),
        ("picture", drawn),
        ("what is read", None if read is None else _coloured(read)),
        ("real face", real),
    )
    return "".join(
        f'<img alt="{what}" src="{_data_uri(shown)}">'
        if shown is not None
        else f'<span class="none" title="no {what}"></span>'
        for what, shown in four
    )


def _coloured(label_map: np.ndarray) -> Image.Image:
    height, width = label_map.shape
    scale = THUMBNAIL / max(height, width)
    return Image.fromarray(to_colours(resize_nearest(label_map, round(height * scale), round(width * scale))))


def _data_uri(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _settings(about: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<div><dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd></div>" for name, value in about.items()
    )
    said = "<h2>Settings</h2><p>What it was measured with; evaluation.json holds all values.</p>"
    return f'{said}<dl class="settings">{rows}</dl>'


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _of(line: Line) -> Measured:
    assert line.measured is not None
    return line.measured
