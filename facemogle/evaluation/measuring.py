"""All metrics over one study, whole and by group; what cannot be measured is told of, and the others go on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facemogle.evaluation import bootstrap
from facemogle.evaluation.diversity import seed_pairs
from facemogle.evaluation.label_agreement import ClassAgreement
from facemogle.evaluation.matching import without
from facemogle.evaluation.metric import Features, Measured, Metric, Study, UnreadablePictures
from facemogle.weight_files import CheckpointError

ORDER = ("fid", "kid", "cmmd", "text", "mask", "ir")  # of the paper's tables
FEWEST_OF_A_GROUP = 2
_LACKING = {
    "real": "no picture has a real face beside it",
    "caption": "no picture has a caption",
    "label_map": "no picture has a label map",
    "seeds": "no face was drawn under two seeds or more",
}


@dataclass(frozen=True)
class Line:
    """A metric and its value, or why there is none."""

    metric: Metric
    measured: Measured | None
    reason: str = ""


@dataclass(frozen=True)
class Evaluation:
    """groups: of each group, how many pictures it has, and its values by the metric's name.

    problems: the files that could not be read, and why. study: what was measured, without them.
    """

    study: Study
    lines: tuple[Line, ...]
    groups: dict[str, tuple[int, dict[str, Measured]]]
    classes: tuple[ClassAgreement, ...]
    problems: dict[Path, str]

    def measured(self) -> dict[str, Measured]:
        return {line.metric.name: line.measured for line in self.lines if line.measured is not None}


def evaluate(
    study: Study,
    metrics: Callable[[Study], Sequence[Metric]],
    features: Features,
    *,
    by_class: Callable[[Study], Iterable[ClassAgreement]] | None = None,
    problems: dict[Path, str] | None = None,
) -> Evaluation:
    """metrics: those to measure, given the study. problems: files known to be broken.

    ValueError where nothing is left to measure.
    """
    problems = dict(problems or {})
    while True:  # anew without what cannot be read, so that all metrics are of the same pictures
        study = without(study, problems)
        if not study.pictures:
            some = "; ".join(f"{path}: {why}" for path, why in list(problems.items())[:3])
            raise ValueError(f"No picture is left to measure: {some}.")
        try:
            lines = tuple(_line(metric, study, features) for metric in in_order(metrics(study)))
            read = any(line.measured for line in lines if line.metric.name in ("accuracy", "miou"))
            classes = tuple(by_class(study)) if by_class and read else ()
            return Evaluation(study, lines, _groups(study, lines, features), classes, problems)
        except UnreadablePictures as error:
            if set(error.problems) <= set(problems):
                raise
            problems |= error.problems


def in_order(metrics: Iterable[Metric]) -> list[Metric]:
    """The paper's first, as its tables have them; then the others as they come."""
    return sorted(metrics, key=lambda metric: ORDER.index(metric.name) if metric.name in ORDER else len(ORDER))


def chosen(metrics: Sequence[Metric], names: Sequence[str] | None) -> list[Metric]:
    """Those of these names; "words" is "words.hair_colour" as well. ValueError where one is unknown."""
    if names is None:
        return list(metrics)
    known = [metric.name for metric in metrics]
    if unknown := [name for name in names if not any(_is_of(each, name) for each in known)]:
        raise ValueError(f"There is no metric {', '.join(unknown)}. Known are {', '.join(known)}.")
    return [metric for metric in metrics if any(_is_of(metric.name, name) for name in names)]


def _is_of(metric: str, name: str) -> bool:
    return metric == name or metric.startswith(f"{name}.")


def _line(metric: Metric, study: Study, features: Features) -> Line:
    there = {
        "real": any(picture.real for picture in study.pictures),
        "caption": any(picture.caption for picture in study.pictures),
        "label_map": any(picture.label_map for picture in study.pictures),
        "seeds": bool(seed_pairs(study)),
    }
    if lacking := [need for need in _LACKING if need in metric.needs and not there[need]]:
        return Line(metric, None, "; ".join(_LACKING[need] for need in lacking) + ".")
    try:
        return Line(metric, _with_interval(metric.measure(study, features), study))
    except UnreadablePictures:
        raise
    except ImportError as error:
        package = (error.name or str(error)).split(".")[0]
        return Line(metric, None, f"the package {package} is not installed: pip install -r requirements-evaluate.txt.")
    except (CheckpointError, ValueError) as error:
        return Line(metric, None, str(error))


def _with_interval(measured: Measured, study: Study) -> Measured:
    """By bootstrap over the faces, where the value is the mean of its pictures' and has none of its own."""
    values = list(measured.each.values())
    if measured.interval is not None or len(values) < 2 or not np.isclose(np.mean(values), measured.value, rtol=1e-4):
        return measured
    face_of = {picture.name: picture.face or picture.name for picture in study.pictures}
    faces = [face_of.get(name, name) for name in measured.each]
    return replace(measured, interval=bootstrap.of_mean(values, faces=faces))


def _groups(study: Study, lines: Sequence[Line], features: Features) -> dict[str, tuple[int, dict[str, Measured]]]:
    names = sorted({picture.group for picture in study.pictures if picture.group})
    found = {}
    for name in names if len(names) > 1 else ():
        pictures = [picture for picture in study.pictures if picture.group == name]
        if len(pictures) < FEWEST_OF_A_GROUP:
            continue
        part = Study(pictures, list(dict.fromkeys(picture.real for picture in pictures if picture.real)))
        measured = {
            line.metric.name: again.measured
            for line in lines
            if line.measured is not None and (again := _line(line.metric, part, features)).measured is not None
        }
        found[name] = len(pictures), measured
    return found
