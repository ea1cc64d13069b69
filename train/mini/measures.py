"""What `mini` is measured by: words against pixels, distance of distributions, a linear probe.

N pictures of size S; class ids as in facemogle.labels.
"""

from collections.abc import Sequence

import numpy as np
import torch

from facemogle.evaluation import attributes, distances
from facemogle.evaluation.attributes import COLOURS, PRESENT_SHARE, WORN, ColourTable, told
from facemogle.evaluation.readings import colours_of
from facemogle.labels import CLASS_ID, NUM_CLASSES
from facemogle.parsing.mini import MiniParser
from train.mini.latent_code import to_tensor
from train.mini.samples import Samples

# Which attribute of a portrait each of COLOURS is.
ATTRIBUTES = {
    "hair colour": "hair_colour", "clothes colour": "clothes_colour", "hat colour": "hat_colour",
    "background colour": "background_colour", "skin tone": "skin", "lipstick": "lipstick",
}  # fmt: skip


def learn_colours(portraits: Samples) -> ColourTable:
    """For each of COLOURS, how its words look on average: shade, light and age move them from their own RGB."""

    def words(portrait: dict) -> dict[str, str]:
        return {
            name: portrait[attribute]
            for name, attribute in ATTRIBUTES.items()
            if portrait[attribute] in COLOURS[name][0].split()
        }

    cases = zip(portraits.images, portraits.label_maps, portraits.attributes, strict=True)
    return attributes.learn_colours(((words(each), colours_of(image, read)) for image, read, each in cases), fewest=1)


def agreement(image: np.ndarray, read: np.ndarray, caption: str, colours: ColourTable) -> dict[str, bool]:
    """For everything that the caption tells and a parser can check, whether the picture shows it.

    `image` (S, S, 3) uint8, `read` (S, S) class ids as the parser sees them. A colour is the word of `colours` that is
    nearest to the median of the class.
    """
    shares = np.bincount(read.ravel(), minlength=NUM_CLASSES) / read.size
    return attributes.agreement(told(caption), shares, colours_of(image, read), colours)


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
    """KID of two (N, F) sets, of all of them at once.

    Features are first centred by the mean of `other` and scaled by its deviations, since the parser's differ in size
    and this kernel, unlike a Gaussian, grows without bound with their distance from 0.
    """
    centre, scale = other.mean(0), other.std(0) + 1e-6
    one, other = (one - centre) / scale, (other - centre) / scale
    return distances.kernel_distance(one, other, subsets=1, size=len(other))[0]


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
