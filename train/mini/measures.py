"""What `mini` is measured by: words against pixels, distance of distributions, a linear probe.

N pictures of size S; class ids as in facemogle.labels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from facemogle.evaluation.attributes import COLOURS, PRESENT_SHARE, WORN, nearest
from facemogle.evaluation.readings import PLACES, lab
from facemogle.labels import CLASS_ID
from facemogle.parsing.mini import MiniParser
from train.mini.latent_code import to_tensor
from train.mini.portraits.attributes import (
    BACKGROUND_COLOURS,
    CLOTHES_COLOURS,
    HAIR_COLOURS,
    LIPSTICK_COLOURS,
    RGB,
    SKIN_TONES,
)
from train.mini.samples import Samples

# For each of COLOURED, the L*a*b* colour of each word.
ColourTable = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Coloured:
    """A colour word of a caption: whose attribute it is, the classes that show it, and the nouns it stands before."""

    attribute: str
    classes: tuple[str, ...]
    table: dict[str, RGB]
    nouns: str


# Each by the name of its attribute in a portrait, and its words.
_TABLES: dict[str, tuple[str, dict[str, RGB]]] = {
    "hair colour": ("hair_colour", HAIR_COLOURS),
    "clothes colour": ("clothes_colour", CLOTHES_COLOURS),
    "hat colour": ("hat_colour", CLOTHES_COLOURS),
    "background colour": ("background_colour", BACKGROUND_COLOURS),
    "skin tone": ("skin", SKIN_TONES),
    "lipstick": ("lipstick", LIPSTICK_COLOURS),
}
COLOURED = {
    name: Coloured(attribute, PLACES[name], table, COLOURS[name][1]) for name, (attribute, table) in _TABLES.items()
}


def shown_colour(image: np.ndarray, label_map: np.ndarray, coloured: Coloured) -> np.ndarray | None:
    """The median colour of the classes, (3,) in L*a*b*; None if the label map has none of them."""
    pixels = image[np.isin(label_map, [CLASS_ID[each] for each in coloured.classes])]
    return lab(np.median(pixels, axis=0)[None])[0] if len(pixels) else None


def learn_colours(portraits: Samples) -> ColourTable:
    """For each of COLOURED, how its words look on average: shade, light and age move them from their own RGB."""
    table: ColourTable = {}
    for name, coloured in COLOURED.items():
        shown: dict[str, list[np.ndarray]] = {}
        for image, label_map, attributes in zip(
            portraits.images, portraits.label_maps, portraits.attributes, strict=True
        ):
            word = attributes[coloured.attribute]
            if word in coloured.table and (colour := shown_colour(image, label_map, coloured)) is not None:
                shown.setdefault(word, []).append(colour)
        table[name] = {word: np.mean(colours, axis=0) for word, colours in shown.items()}
    return table


def told_colour(caption: str, name: str) -> str | None:
    """The word that a caption has for one of COLOURED."""
    coloured = COLOURED[name]
    found = re.search(rf"\b({'|'.join(coloured.table)}) ({coloured.nouns})\b", caption)
    return found[1] if found else None


def agreement(image: np.ndarray, read: np.ndarray, caption: str, colours: ColourTable) -> dict[str, bool]:
    """For everything that the caption tells and a parser can check, whether the picture shows it.

    `image` (S, S, 3) uint8, `read` (S, S) class ids as the parser sees them. A colour is the word of `colours` that is
    nearest to the median of the class.
    """
    verdicts = {}
    for name, coloured in COLOURED.items():
        if (word := told_colour(caption, name)) is not None:
            shown = shown_colour(image, read, coloured)
            verdicts[name] = shown is not None and nearest(shown, colours[name]) == word
    for name, (class_name, nouns) in WORN.items():
        if re.search(rf"\b({nouns})\b", caption):
            verdicts[name] = bool((read == CLASS_ID[class_name]).mean() > PRESENT_SHARE)
    return verdicts


def invented(read: np.ndarray, wanted: np.ndarray) -> dict[str, bool]:
    """For each of WORN that a label map has not, whether the picture has it all the same; both (S, S) class ids."""
    class_ids = {name: CLASS_ID[class_name] for name, (class_name, _) in WORN.items()}
    return {
        name: bool((read == class_id).mean() > PRESENT_SHARE)
        for name, class_id in class_ids.items()
        if not (wanted == class_id).any()
    }


def shares(verdicts: Sequence[dict[str, bool]]) -> dict[str, float]:
    """How often each verdict is true, where it was given at all."""
    names = dict.fromkeys(name for verdict in verdicts for name in verdict)
    return {name: float(np.mean([v[name] for v in verdicts if name in v])) for name in names}


@torch.no_grad()
def features(parser: MiniParser, pictures: np.ndarray, *, batch: int = 16) -> np.ndarray:
    """(N, S, S, 3) uint8 -> (N, F): mean and deviation over the picture of the parser's coarsest features."""
    gathered: list[torch.Tensor] = []
    handle = parser.middle.register_forward_hook(
        lambda module, inputs, output: gathered.append(torch.cat([output.mean((2, 3)), output.std((2, 3))], 1))
    )
    try:
        for start in range(0, len(pictures), batch):
            parser(to_tensor(pictures[start : start + batch]).to(parser.device))
    finally:
        handle.remove()
    return torch.cat(gathered).double().cpu().numpy()


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Squared maximum mean discrepancy of two (N, F) sets under KID's kernel (x y / F + 1)^3, unbiased.

    Features are first centred by the mean of `other` and scaled by its deviations, since the parser's differ in size
    and this kernel, unlike a Gaussian, grows without bound with their distance from 0.
    """
    centre, scale = other.mean(0), other.std(0) + 1e-6
    one, other = (one - centre) / scale, (other - centre) / scale

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: np.ndarray) -> float:
        values = kernel(a, a)
        return float((values.sum() - np.trace(values)) / (len(a) * (len(a) - 1)))

    return within(one) + within(other) - 2 * float(kernel(one, other).mean())


def total_variation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far apart two gatings are, (E, ...) weights that sum to 1 over the experts -> (...): 0 where they are equal,
    1 where they have no expert in common."""
    return abs(one - other).sum(0) / 2


def probe_accuracy(tokens: np.ndarray, present: np.ndarray) -> float:
    """How well a linear probe tells tokens (n, C) that hold something from those that do not, on the unseen half.

    The mean of both kinds' hit rates; ridge regression with both kinds weighing the same.
    """
    weight = np.where(present, 0.5 / present.mean(), 0.5 / (1 - present.mean()))[:, None]
    inputs = np.c_[tokens, np.ones(len(tokens))]
    half = len(tokens) // 2
    seen, target = inputs[:half] * weight[:half], (2.0 * present - 1)[:half]
    solution = np.linalg.solve(seen.T @ inputs[:half] + 1e-3 * half * np.eye(inputs.shape[1]), seen.T @ target)
    right = ((inputs[half:] @ solution) > 0) == present[half:]
    return float((right[present[half:]].mean() + right[~present[half:]].mean()) / 2)
