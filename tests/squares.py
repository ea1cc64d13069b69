"""Pictures whose label maps anyone can read: they are drawn in the palette's colours."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facemogle.evaluation.metric import Picture, Study
from facemogle.labels import to_colours


@dataclass(frozen=True)
class Map:
    label_map: np.ndarray
    files: tuple[Path, ...] = ()
    meaning: str = ""

    def __call__(self) -> np.ndarray:
        return self.label_map


def squares(folder: Path) -> Study:
    """Ten faces of random squares, drawn with a share of wrong pixels that grows; the real ones have none."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(10):
        wanted = np.kron(rng.choice(6, (4, 4), p=rng.dirichlet([0.3] * 6)), np.ones((8, 8), int)).astype(np.uint8)
        shown = np.where(rng.random(wanted.shape) < number / 20, 7, wanted)
        wanted_file = folder / f"{number}-map"
        wanted_file.write_bytes(wanted.tobytes())
        real, path = folder / f"real-{number}.png", folder / f"{number}.png"
        Image.fromarray(to_colours(wanted)).save(real)
        Image.fromarray(to_colours(shown)).save(path)
        group = "even" if number % 2 == 0 else "odd"
        pictures.append(
            Picture(str(number), path, real, "a face", Map(wanted, (wanted_file,)), group=group, face=str(number))
        )
    return Study(pictures, [picture.real for picture in pictures if picture.real])
