"""Does a picture show its label map? Read by a parser that had no part in drawing it: pixels, and class by class.

n pictures, C = 19 classes; counts (n, C, C): pixels by class, wanted by read.
"""

from dataclasses import dataclass

import numpy as np

from facemogle.evaluation import bootstrap
from facemogle.evaluation.metric import Features, Measured, Metric, Picture, Study
from facemogle.evaluation.readings import Reader
from facemogle.labels import NAMES, NUM_CLASSES
from facemogle.overlap import intersection_over_union

FEWEST_TO_TELL = 8  # faces


@dataclass(frozen=True)
class ClassAgreement:
    """Of one class: intersection over union of all pictures together with its 95% interval, the share of the wanted
    pixels that show it, the share of those read as it that were wanted, and how many pictures want it. NaN: none."""

    name: str
    iou: float
    interval: tuple[float, float]
    recall: float
    precision: float
    pictures: int
    real: float


def label_metrics(reader: Reader) -> tuple[Metric, ...]:

    def accuracy(study: Study, features: Features) -> Measured:
        """Share of the pixels of which the parser reads the wanted class, in %."""
        pictures, counts = wanted_and_read(reader, study)
        each = 100 * accuracies(counts)
        real = real_counts(reader, study)
        return Measured(
            float(each.mean()),
            bootstrap.of_mean(each, faces=[picture.face for picture in pictures]),
            dict(zip([picture.name for picture in pictures], each.tolist(), strict=True)),
            note=f"read by {reader.name}",
            real=None if real is None else float(100 * accuracies(real).mean()),
        )

    def miou(study: Study, features: Features) -> Measured:
        """Mean intersection over union of the classes there are, of all pictures' pixels together, in %."""
        pictures, counts = wanted_and_read(reader, study)
        each = [100 * float(np.nanmean(intersection_over_union(one))) for one in counts]
        real = real_counts(reader, study)
        return Measured(
            100 * mean_iou(counts.sum(0)),
            bootstrap.of_sums(
                counts.reshape(len(counts), -1),
                lambda sums: np.array([100 * mean_iou(one) for one in sums.reshape(-1, NUM_CLASSES, NUM_CLASSES)]),
                faces=[picture.face for picture in pictures],
            ),
            dict(zip([picture.name for picture in pictures], each, strict=True)),
            note=f"read by {reader.name}",
            real=None if real is None else 100 * mean_iou(real.sum(0)),
        )

    return (
        Metric("accuracy", "Mask accuracy, %", "higher", frozenset({"label_map"}), (), accuracy),
        Metric("miou", "Mask mIoU, %", "higher", frozenset({"label_map"}), (), miou),
    )


def by_class(reader: Reader, study: Study) -> list[ClassAgreement]:
    pictures, counts = wanted_and_read(reader, study)
    total, real = counts.sum(0), real_counts(reader, study)
    iou = intersection_over_union(total)
    real_iou = np.full(NUM_CLASSES, np.nan) if real is None else intersection_over_union(real.sum(0))
    hits, wanted, read = np.diag(total), total.sum(1), total.sum(0)
    found = []
    for class_id, name in enumerate(NAMES):
        rows = np.stack(
            [counts[:, class_id, class_id], counts[:, class_id].sum(1) + counts[:, :, class_id].sum(1)], axis=1
        )
        interval = (np.nan, np.nan)
        if not np.isnan(iou[class_id]):
            interval = bootstrap.of_sums(rows, _iou_of_sums, faces=[picture.face for picture in pictures])
        found.append(
            ClassAgreement(
                name,
                float(iou[class_id]),
                interval,
                float(hits[class_id] / wanted[class_id]) if wanted[class_id] else np.nan,
                float(hits[class_id] / read[class_id]) if read[class_id] else np.nan,
                int((counts[:, class_id].sum(1) > 0).sum()),
                float(real_iou[class_id]),
            )
        )
    return found


def mismatch(reader: Reader, study: Study) -> list[str]:
    """A doubt where pictures agree no better with their own label maps than with those of other faces; else [].

    Told from the shares of the classes, which the counts hold: a picture of a large hat under a map with one is nearer
    to its own map than to the next face's.
    """
    pictures, counts = wanted_and_read(reader, study)
    wanted, read = (counts.sum(axis) / counts.sum((1, 2))[:, None] for axis in (2, 1))
    own = abs(wanted - read).sum(1)
    faces = [picture.face for picture in pictures]
    others = [place for place in range(len(faces)) if faces[place] != faces[place - 1]]
    if len(set(faces)) < FEWEST_TO_TELL:
        return []
    other = np.array([abs(wanted[place - 1] - read[place]).sum() for place in others])
    if own[others].mean() < 0.9 * other.mean():
        return []
    return [
        "The pictures agree no better with their own label maps than with those of other faces: do their names stand "
        "for the same faces as in DATA?"
    ]


def wanted_and_read(reader: Reader, study: Study) -> tuple[list[Picture], np.ndarray]:
    pictures = [picture for picture in study.pictures if picture.label_map is not None]
    return pictures, reader([(picture.path, picture.label_map) for picture in pictures]).counts


def real_counts(reader: Reader, study: Study) -> np.ndarray | None:
    """Of the real pictures under their own label maps: what the parser makes of pictures that are as wanted."""
    cases = {picture.real: picture.label_map for picture in study.pictures if picture.real and picture.label_map}
    return reader(list(cases.items()), what="real pictures").counts if cases else None


def accuracies(counts: np.ndarray) -> np.ndarray:
    """(n, C, C) -> (n,) in 0..1."""
    return np.trace(counts, axis1=1, axis2=2) / counts.sum((1, 2))


def mean_iou(counts: np.ndarray) -> float:
    """(C, C) -> mean over the classes that are wanted or read."""
    return float(np.nanmean(intersection_over_union(counts)))


def _iou_of_sums(sums: np.ndarray) -> np.ndarray:
    """(b, 2): hits, and wanted plus read -> (b,)"""
    hits, both = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits / (both - hits)
