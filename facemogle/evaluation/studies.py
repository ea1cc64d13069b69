"""What metrics take from a study, and how values of single pictures become one."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from facemogle.evaluation.metric import Features, Measure, Measured, Network, Picture, Study


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


def set_distance(network: Network, statistic: Callable[[np.ndarray, np.ndarray], float]) -> Measure:
    """What a statistic tells of a network's features of all results (n, ...) and of all real pictures (m, ...)."""

    def measure(study: Study, features: Features) -> Measured:
        return Measured(statistic(features(network, result_paths(study)), features(network, real_paths(study))))

    return measure


def mean_score(network: Network) -> Measure:
    """Of what a network says of each picture with its caption. real: of the counterparts with the same captions."""

    def measure(study: Study, features: Features) -> Measured:
        pictures = captioned(study)
        scores = features(network, [(picture.path, caption) for picture, caption in pictures])
        reals = [(picture.real, caption) for picture, caption in pictures if picture.real is not None]
        real = float(features(network, reals).mean(dtype=float)) if reals else None
        return mean_of([picture for picture, _ in pictures], scores, real=real)

    return measure


def mean_of(pictures: Sequence[Picture], values: np.ndarray, *, real: float | None = None, note: str = "") -> Measured:
    """values (n,). ValueError without any."""
    if not len(values):
        raise ValueError("No picture has what this metric needs.")
    each = {picture.name: float(value) for picture, value in zip(pictures, values, strict=True)}
    return Measured(float(np.mean(values, dtype=float)), each=each, note=note, real=real)
