"""Does an edit change what it should and keep the rest? Unseen portraits, each with one thing changed in its label map.

H, W: pixels of a picture.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from facemogle.editing import edit_region
from facemogle.labels import NUM_CLASSES
from facemogle.overlap import confusion, intersection_over_union
from facemogle.parsing.mini import MiniParser
from facemogle.pipeline import FaceMoGLEPipeline
from train.mini.config import MiniConfig
from train.mini.portraits import Attributes, caption, render, sample_attributes


def _hair(a: Attributes) -> Attributes:
    if a.hair_style in ("straight", "wavy") and a.hair_forward:
        return replace(a, hair_style="bob", hair_forward=False)
    return replace(a, hair_style="straight", hair_forward=True)


EDITS: dict[str, Callable[[Attributes], Attributes]] = {
    "hair longer or shorter": _hair,
    "glasses on or off": lambda a: replace(a, glasses="glasses" if a.glasses == "none" else "none"),
    "mouth open or shut": lambda a: replace(a, expression="neutral" if a.expression == "laughing" else "laughing"),
    "hat on or off": lambda a: replace(a, hat="beanie" if a.hat == "none" else "none"),
}


@dataclass(frozen=True, eq=False)
class Edit:
    """A portrait (H, W, 3) uint8 and its label map (H, W) before and after; the words on what it shows after."""

    kind: str
    photo: np.ndarray
    before: np.ndarray
    after: np.ndarray
    prompt: str


def draw_edit(seed: int, size: int) -> Edit:
    """The portrait of a seed with one of EDITS, in turn."""
    rng = np.random.default_rng(seed)
    attributes = sample_attributes(rng)
    kind = list(EDITS)[seed % len(EDITS)]
    changed = EDITS[kind](attributes)
    photo, before = render(attributes, size=size)
    return Edit(kind, photo, before, render(changed, size=size)[1], caption(changed, rng))


def across_border(picture: np.ndarray, region: np.ndarray) -> float:
    """(H, W, 3) uint8, (H, W) bool -> mean absolute difference of neighbours of which one lies in the region."""
    values, differences = picture.astype(float), []
    for axis in (0, 1):
        crossing = np.diff(region.astype(int), axis=axis) != 0
        differences.append(abs(np.diff(values, axis=axis))[crossing])
    return float(np.concatenate(differences).mean())


def measure_edits(pipeline: FaceMoGLEPipeline, parser: MiniParser, config: MiniConfig) -> dict:
    """Every edit, and a whole new face from the same map, words and seed beside it, as the parser reads them.

    Regions are the pipeline's own, and the overlap is counted within them alone, over all edits together.
    """
    agreement = {"edits": np.zeros((NUM_CLASSES,) * 2, int), "new faces": np.zeros((NUM_CLASSES,) * 2, int)}
    kept, seams = [], []
    for index in range(config.edits):
        edit = draw_edit(config.test_seed + index, config.size)
        region = edit_region(edit.before, edit.after)
        changes: dict[str, dict[str, Any]] = {
            "edits": {"image": edit.photo, "source_label_map": edit.before},
            "new faces": {},
        }
        for name, change in changes.items():
            generator = torch.Generator().manual_seed(index)
            result = pipeline(edit.prompt, label_map=edit.after, generator=generator, **change)
            picture = np.asarray(result.images[0])
            (read,) = parser.parse([picture])
            agreement[name] += confusion(read[region], edit.after[region])
            if change:
                kept.append(np.array_equal(picture[~region], edit.photo[~region]))
                seams.append(across_border(picture, region) / across_border(edit.photo, region))
    means = {name: round(float(np.nanmean(intersection_over_union(counts))), 3) for name, counts in agreement.items()}
    return {
        "cases": config.edits,
        "equal to the photo outside": int(sum(kept)),
        "mean IoU inside": means,
        "difference across the border, to the photo's": {
            "mean": round(float(np.mean(seams)), 2),
            "largest": round(float(np.max(seams)), 2),
        },
    }
