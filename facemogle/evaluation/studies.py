"""What metrics take from a study, and how values of single pictures become one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facemogle.evaluation.metric import Measured, Picture, Study


def result_paths(study: Study) -> list[Path]:
    return [picture.path for picture in study.pictures]


def real_paths(study: Study) -> list[Path]:
    """All real pictures; where a study names none, the counterparts, each once."""
    counterparts = [picture.real for picture in study.pictures if picture.real is not None]
    return list(study.reals) or list(dict.fromkeys(counterparts))


def captioned(study: Study) -> list[tuple[Picture, str]]:
    """Pictures with a caption, of which the first line counts, as in the published code."""
    lines = [(picture, (picture.caption or "").strip().splitlines()) for picture in study.pictures]
    return [(picture, caption[0].strip()) for picture, caption in lines if caption]


def mean_of(pictures: Sequence[Picture], values: np.ndarray, *, real: float | None = None, note: str = "") -> Measured:
    """values (n,). ValueError without any."""
    if not len(values):
        raise ValueError("No picture has what this metric needs.")
    each = {picture.name: float(value) for picture, value in zip(pictures, values, strict=True)}
    return Measured(float(np.mean(values, dtype=float)), each=each, note=note, real=real)
