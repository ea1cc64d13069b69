"""From a face in a photo to its label map: what every parser has in common.

H, W: pixels of the crop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from facemogle.labels import NAMES
from facemogle.parsing.alignment import Frame
from facemogle.parsing.cleanup import join_islands
from facemogle.plausibility import sides_swapped

UNSURE = 0.7  # what is read with less confidence is to be checked


class FaceParser(Protocol):
    """A network that reads label maps, in our order of classes: see labels.order_of."""

    def probabilities(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB crops (H, W, 3) -> (19, H, W) float32, summing to 1 over the classes."""


@dataclass(frozen=True, eq=False)
class FaceParse:
    """What a parser reads in one frame of a photo.

    `label_map` (H, W) uint8 class ids of `crop` (H, W, 3) uint8; `confidence` (H, W) float32 in 0..1, the probability
    of the class taken; `frame`: where the crop lies in the photo; `eyes_swapped`: left and right look exchanged, which
    cleanup.swap_sides mends; `notes`: what a person should know of it.
    """

    label_map: np.ndarray
    confidence: np.ndarray
    crop: np.ndarray
    frame: Frame
    eyes_swapped: bool = False
    notes: tuple[str, ...] = ()

    @property
    def unsure(self) -> np.ndarray:
        """(H, W) bool: where the parser is less sure than UNSURE."""
        return self.confidence < UNSURE

    @property
    def class_confidence(self) -> dict[str, float]:
        """Mean confidence of the pixels of each class that is there, by its name."""
        return {NAMES[one]: float(self.confidence[self.label_map == one].mean()) for one in np.unique(self.label_map)}


def parse_frame(parser: FaceParser, photo: np.ndarray, frame: Frame, *, clean: bool = True) -> FaceParse:
    """Read the label map of one frame of a photo (., ., 3). `clean` joins small islands to their surroundings."""
    crop = frame.crop(photo)
    (probabilities,) = parser.probabilities([crop])
    label_map, islands = probabilities.argmax(0).astype(np.uint8), 0
    if clean:
        label_map, islands = join_islands(label_map)
    confidence = np.take_along_axis(probabilities, label_map[None].astype(int), 0)[0]
    swapped = sides_swapped(label_map)
    notes = []
    if islands:
        what = "islands joined to their" if islands > 1 else "island joined to its"
        notes.append(f"{islands} small {what} surroundings.")
    if swapped:
        notes.append("Left and right seem swapped: the face's left eye should be on the right of the picture.")
    return FaceParse(label_map, confidence, crop, frame, swapped, tuple(notes))


def disagreement(one: FaceParse, other: FaceParse) -> np.ndarray:
    """(H, W) bool, True where two parses of one crop name other classes. ValueError where the crops differ in size."""
    if one.label_map.shape != other.label_map.shape:
        raise ValueError(f"The parses must be of one crop, got {one.label_map.shape} and {other.label_map.shape}.")
    return one.label_map != other.label_map
