"""How far apart the pictures of one face under several seeds are, and how good they look as faces."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemogle.data.pairs import read_image
from facemogle.evaluation.metric import Features, Measured, Metric, Network, Picture, Study
from facemogle.evaluation.readings import lab

SIDE = 32  # of the thumbnails that colours are compared on
PairDistance = Callable[[list[tuple[Picture, Picture]], Features], np.ndarray]  # n pairs -> (n,)


def _thumbnail(path: Path) -> Tensor:
    small = np.asarray(read_image(path).resize((SIDE, SIDE)))
    return torch.from_numpy(lab(small.reshape(-1, 3)).T.reshape(3, SIDE, SIDE).copy())


THUMBNAIL = Network("thumbnail", (), _thumbnail, lambda paths, device: lambda pictures: pictures)


def seed_pairs(study: Study) -> list[tuple[Picture, Picture]]:
    """All pairs of pictures of one face."""
    of_face: dict[str | None, list[Picture]] = {}
    for picture in study.pictures:
        of_face.setdefault(picture.face, []).append(picture)
    return [pair for face, several in of_face.items() if face is not None for pair in combinations(several, 2)]


def pair_metric(name: str, title: str, networks: tuple[Network, ...], distance: PairDistance) -> Metric:
    """The mean over faces of the mean over their pairs. `each` is by the face, under its first picture's name."""

    def measure(study: Study, features: Features) -> Measured:
        pairs = seed_pairs(study)
        by_face: dict[str, list[float]] = {}
        first: dict[str | None, str] = {}
        for (one, _), value in zip(pairs, distance(pairs, features).tolist(), strict=True):
            by_face.setdefault(first.setdefault(one.face, one.name), []).append(value)
        each = {picture: float(np.mean(values)) for picture, values in by_face.items()}
        return _mean(each, f"{len(pairs)} pairs of {len(each)} faces", "no face was found in a picture of {} of these")

    return Metric(name, title, "neither", frozenset({"seeds"}), networks, measure)


def colour_distance(pairs: list[tuple[Picture, Picture]], features: Features) -> np.ndarray:
    """Mean difference in L*a*b* (CIE76) of thumbnails: of colours and light, in units of which an eye sees about 2."""
    one, other = (features(THUMBNAIL, [pair[side].path for pair in pairs]) for side in (0, 1))
    return np.linalg.norm(one - other, axis=1).mean((1, 2))


def lpips_metric(network: Network) -> Metric:
    def distance(pairs: list[tuple[Picture, Picture]], features: Features) -> np.ndarray:
        return features(network, [(one.path, other.path) for one, other in pairs]).reshape(-1)

    return pair_metric("seeds_lpips", "LPIPS between seeds", (network,), distance)


def identity_metric(network: Network) -> Metric:
    """Cosine of the embeddings: 1 is the same person under every seed."""

    def cosine(pairs: list[tuple[Picture, Picture]], features: Features) -> np.ndarray:
        one, other = (features(network, [pair[side].path for pair in pairs]) for side in (0, 1))
        return (one * other).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))

    return pair_metric("seeds_identity", "Identity between seeds, cosine", (network,), cosine)


def quality_metric(network: Network) -> Metric:
    """How well a picture would serve to recognise a face, by a network that judges faces."""

    def measure(study: Study, features: Features) -> Measured:
        values = features(network, [picture.path for picture in study.pictures]).reshape(-1)
        reals = list(dict.fromkeys(picture.real for picture in study.pictures if picture.real))
        real = features(network, reals).ravel() if reals else np.array([])
        real = real[np.isfinite(real)]
        each = dict(zip([picture.name for picture in study.pictures], values.tolist(), strict=True))
        found = _mean(each, f"by {network.name}", "no face was found in {} pictures")
        return replace(found, real=float(real.mean()) if len(real) else None)

    return Metric("quality", "Face quality", "higher", frozenset(), (network,), measure)


def _mean(values: Mapping[str, float], note: str, without: str) -> Measured:
    """Of those that are no NaN, which stands for a picture in which no face was found. ValueError where all are."""
    each = {name: value for name, value in values.items() if np.isfinite(value)}
    if not each:
        raise ValueError("no face was found in any picture.")
    if len(each) < len(values):
        note = f"{note}; {without.format(len(values) - len(each))}"
    return Measured(float(np.mean(list(each.values()))), each=each, note=note)


COLOUR_DIVERSITY = pair_metric("seeds_colour", "Colour difference between seeds, ΔE", (THUMBNAIL,), colour_distance)
