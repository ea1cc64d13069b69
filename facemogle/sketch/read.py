"""A line drawing of a face -> its label map, what was recognised, what is doubtful, and what came from a template.

H, W: pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from facemogle.labels import CLASS_ID, NAMES
from facemogle.sketch.completion import completed, painted
from facemogle.sketch.costs import NOTHING
from facemogle.sketch.lines import GAPS, SIDE, dark_on_light, grey_of, ink_in, led_on, line_width, thinned
from facemogle.sketch.naming import Naming, name_regions
from facemogle.sketch.regions import Regions, find_regions

_SURE = 0.7  # of a region's class, or it is asked
_TOLD = 4  # doubts in words; all are hatched on the page
_CANDIDATE = 0.1  # likely classes are named in a doubt
NOTHING_NAME = "nothing"  # a region that belongs to what is around it


@dataclass(frozen=True)
class Doubtful:
    """A region whose class is not clear: its number, the middle in shares of the sides, and classes with likelihoods.

    The first of `candidates` is the one that it has in the map.
    """

    region: int
    x: float
    y: float
    candidates: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        names = ", ".join(f"{name.replace('_', ' ')} {likelihood:.0%}" for name, likelihood in self.candidates)
        return f"region {self.region}, {self.x:.0%} across and {self.y:.0%} down: {names}"


@dataclass(frozen=True, eq=False)
class Sketch:
    """`label_map` (H, W) uint8 class ids, the longer side of 512; `region_of` (H, W) int32 the number of each region.

    `recognised` and `completed`: names of classes that were drawn, and that came from the template of this name.
    """

    label_map: np.ndarray
    region_of: np.ndarray
    recognised: tuple[str, ...]
    doubts: tuple[Doubtful, ...]
    template: str
    completed: tuple[str, ...]

    @property
    def doubtful(self) -> np.ndarray:
        """(H, W) bool: the regions that are."""
        return np.isin(self.region_of, [doubt.region for doubt in self.doubts])

    @property
    def messages(self) -> tuple[str, ...]:
        """Sentences on what was recognised, what was added, and what is doubtful."""
        said = [f"A line drawing: {in_words(self.recognised)} recognised."]
        if self.completed:
            said.append(f"From the template {self.template}: {in_words(self.completed)}.")
        if self.doubts:
            asked = [" or ".join(name for name, _ in doubt.candidates) for doubt in self.doubts]
            more = f", and {len(asked) - _TOLD} more" if len(asked) > _TOLD else ""
            said.append(f"Doubtful: {'; '.join(asked[:_TOLD])}{more}.".replace("_", " "))
        return tuple(said)


def in_words(names: Sequence[str]) -> str:
    """Names of classes as a person says them: left_eye and right_eye are eyes."""
    said = []
    for name in names:
        side, _, part = name.partition("_")
        if side in ("left", "right") and {f"left_{part}", f"right_{part}"} <= set(names):
            said += [f"{part}s"] * (side == "left")
        else:
            said.append(name.replace("_", " "))
    return ", ".join(said)


def read_sketch(picture: np.ndarray, *, answers: Mapping[int, str] | None = None) -> Sketch:
    """Dark lines on light paper, or light on dark, (., .) grey, (., ., 3) RGB or (., ., 4) RGBA uint8 -> a label map,
    and what is in it.

    answers: numbers of regions -> their classes, or "nothing" for what belongs to the region around it. The same
    drawing gives the same numbers. ValueError where there are no lines, where nothing of a face is recognised, or
    where an answer names what is not there.
    """
    ink = ink_in(dark_on_light(grey_of(picture)))
    if not ink.any():
        raise ValueError("The drawing has no lines: nothing in it is darker than its paper. Draw with a darker pen.")
    regions, width = _regions_of(ink)
    naming = name_regions(regions, _checked(answers or {}, len(regions)))
    drawn = {NAMES[class_id] for class_id in naming.classes if class_id != NOTHING}
    recognised = tuple(name for name in NAMES if name in drawn and name != "background")
    if not recognised:
        raise ValueError("Nothing of a face was recognised in the drawing. Draw the face's outline, so that it closes.")
    label_map, template, added = completed(painted(regions, naming, width), naming.frame, drawn)
    return Sketch(label_map, regions.region_of, recognised, _doubts(regions, naming, answers or {}), template, added)


def _regions_of(ink: np.ndarray) -> tuple[Regions, float]:
    """Where nothing that could be a face is closed, wider gaps are closed too."""
    skeleton = thinned(ink)
    width = line_width(ink, skeleton)
    found = []
    for gap in GAPS:
        found.append(find_regions(ink, led_on(ink, skeleton, gap * SIDE), width))
        if (found[-1].within.sum(1) >= 2).any():
            return found[-1], width
    return found[0], width


def _checked(answers: Mapping[int, str], count: int) -> dict[int, int]:
    fixed = {}
    for region, name in answers.items():
        if not 0 <= region < count:
            raise ValueError(f"There is no region {region}: the drawing has regions 0 to {count - 1}.")
        if name not in CLASS_ID and name != NOTHING_NAME:
            raise ValueError(f"{name!r} is no class. Choose one of {', '.join(NAMES)}, or {NOTHING_NAME}.")
        fixed[region] = CLASS_ID.get(name, NOTHING)
    return fixed


def _doubts(regions: Regions, naming: Naming, answers: Mapping[int, str]) -> tuple[Doubtful, ...]:
    names = (*NAMES, NOTHING_NAME)
    height, width = regions.region_of.shape
    found = []
    for region, own in enumerate(naming.classes):
        likelihoods = naming.likelihoods[region]
        if region in answers or likelihoods[own] >= _SURE:
            continue
        others = [
            one for one in np.argsort(-likelihoods, kind="stable") if likelihoods[one] >= _CANDIDATE and one != own
        ]
        candidates = tuple((names[one], float(likelihoods[one])) for one in (own, *others[:2]))
        x, y = regions.centres[region] / (width, height)
        found.append(Doubtful(region, float(x), float(y), candidates))
    return tuple(found)
