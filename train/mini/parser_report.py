"""REPORT.md beside the parser's weights: how well it reads portraits and hard ones, and whether it knows when it errs.

python -m train.mini.parser_report [FOLDER] [--before FOLDER]
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from facemogle.checkpoints import load_parser
from facemogle.labels import NAMES, NUM_CLASSES, to_colours
from facemogle.overlap import confusion, intersection_over_union
from facemogle.parsing.mini import MiniParser
from facemogle.parsing.parse import UNSURE
from train.mini.calibration import Renderings
from train.mini.export import ASSETS
from train.mini.report import share, table

FOLDER = ASSETS / "mini-parser"
FIRST_SEED = 30_000_000  # of portraits that no training has seen
PICTURES = 48
BINS = 15
SHOWN = 8
FIGURES = (
    "mean IoU", "accuracy", "mean confidence", "expected calibration error", "pixels hatched", "errors hatched",
)  # fmt: skip


@dataclass
class Reading:
    """What was counted over the pixels of many pictures; `bins` (BINS, 3): how many, their confidence, how many right.

    `hatched`: how many pixels are hatched, and how many of the wrong ones.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64))
    bins: np.ndarray = field(default_factory=lambda: np.zeros((BINS, 3)))
    hatched: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def add(self, probabilities: np.ndarray, label_map: np.ndarray) -> None:
        """(19, S, S) as they were read, (S, S) as it is."""
        read, confidence = probabilities.argmax(0).astype(np.uint8), probabilities.max(0)
        right = read == label_map
        self.counts += confusion(read, label_map)
        place = np.minimum((confidence * BINS).astype(int), BINS - 1).ravel()
        for column, values in enumerate((np.ones(place.shape), confidence.ravel(), right.ravel())):
            self.bins[:, column] += np.bincount(place, values, BINS)
        unsure = confidence < UNSURE
        self.hatched += unsure.sum(), (unsure & ~right).sum()

    def figures(self) -> dict:
        pixels, certain, right = self.bins.sum(0)
        iou = intersection_over_union(self.counts)
        gaps = abs(self.bins[:, 1] - self.bins[:, 2])
        return {
            "mean IoU": round(float(np.nanmean(iou)), 3),
            "accuracy": round(float(right / pixels), 3),
            "mean confidence": round(float(certain / pixels), 3),
            "expected calibration error": round(float(gaps.sum() / pixels), 3),
            "pixels hatched": round(float(self.hatched[0] / pixels), 3),
            "errors hatched": round(float(self.hatched[1] / max(1, pixels - right)), 3),
            "IoU": {
                name: None if np.isnan(value) else round(float(value), 3)
                for name, value in zip(NAMES, iou, strict=True)
            },
            "reliability": [
                [round(sure / many, 3), round(hits / many, 3), round(many / pixels, 4)]
                for many, sure, hits in self.bins
                if many
            ],
        }


def measure(parser: MiniParser, renderings: Renderings) -> dict:
    reading = Reading()
    for image, label_map in zip(renderings.images, renderings.label_maps, strict=True):
        reading.add(parser.probabilities([image])[0], label_map)
    return reading.figures()


def draw_reliability(measured: dict[str, dict[str, dict]], file: Path) -> None:
    """How often pixels of a confidence are right: on the diagonal, it can be believed.

    `measured`: kind of pictures -> parser -> figures; a panel for each kind.
    """
    figure = Figure(figsize=(3.4 * len(measured), 3.6), layout="constrained")
    for axes, (kind, curves) in zip(figure.subplots(1, len(measured), squeeze=False)[0], measured.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, figures in curves.items():
            confidence, right, _ = np.array(figures["reliability"]).T
            axes.plot(confidence, right, marker="o", markersize=3, label=name)
        axes.set(title=kind, xlabel="confidence", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    figure.axes[0].set_ylabel("share of the pixels that are right")
    figure.axes[-1].legend(fontsize=8)
    figure.savefig(file, dpi=80)


def sheet(parser: MiniParser, renderings: Renderings) -> Image.Image:
    """A row each: some pictures, their maps, what is read, and white where that is hatched."""
    columns = []
    for image, label_map in zip(renderings.images[:SHOWN], renderings.label_maps[:SHOWN], strict=True):
        probabilities = parser.probabilities([image])[0]
        read = to_colours(probabilities.argmax(0).astype(np.uint8))
        hatched = np.where((probabilities.max(0) < UNSURE)[..., None], np.uint8(255), read // 2)
        columns.append(np.concatenate([image, to_colours(label_map), read, hatched]))
    whole = Image.fromarray(np.concatenate(columns, axis=1))
    return whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.LANCZOS)


def report(folder: Path = FOLDER, before: Path | None = None, *, pictures: int = PICTURES) -> dict:
    """Measure the parser of a folder, as it is and without its doubts, and one before it; write the page beside it."""
    parser = _load(folder)
    portraits = Renderings.of(range(FIRST_SEED, FIRST_SEED + pictures), parser.config.size)
    kinds = {"plain portraits": portraits, "hard renderings": portraits.hard(seed=1)}
    bare = _load(folder)
    bare.register_to_config(doubts=())
    readers = {"calibrated": parser, "as trained": bare} | ({"before": _load(before)} if before else {})
    measured = {
        kind: {name: measure(reader, renderings) for name, reader in readers.items()}
        for kind, renderings in kinds.items()
    }
    draw_reliability(measured, folder / "reliability.png")
    sheet(parser, kinds["hard renderings"]).save(folder / "hard.jpg", quality=85)
    (folder / "evaluation.json").write_text(json.dumps({"pictures": pictures, **measured}, indent=1) + "\n")
    (folder / "REPORT.md").write_text(page(measured, pictures))
    return measured


def _load(folder: Path) -> MiniParser:
    parser = load_parser(folder)
    if not isinstance(parser, MiniParser):
        raise ValueError(f"{folder} holds a {type(parser).__name__}; expected a MiniParser, as in {FOLDER}.")
    return parser


def page(measured: dict[str, dict[str, dict]], pictures: int) -> str:
    columns = {f"{kind.split()[0]}, {name}": measured[kind][name] for kind in measured for name in measured[kind]}
    # Doubts change no class that is read.
    classes = {title: figures["IoU"] for title, figures in columns.items() if not title.endswith("as trained")}
    return PAGE.format(
        pictures=pictures,
        unsure=round(100 * UNSURE),
        figures=_rows(columns, FIGURES),
        classes=_rows(classes, NAMES),
    )


def _rows(columns: dict[str, dict], names: Sequence[str]) -> str:
    return table(["", *columns], [[name, *(share(figures[name]) for figures in columns.values())] for name in names])


PAGE = """\
# What the small parser reads, and whether it knows

Written by `python -m train.mini.parser_report`: {pictures} portraits of seeds that no training has seen, as they are
rendered and made hard (`train/mini/hard.py`): other skin, hair, clothes and backgrounds, occlusions, turns, light, a
camera. No photograph was measured, for there are no labels to measure with; for photos use SegFace.

"Calibrated" is the parser as it is used, "as trained" the same without its doubts (`doubts` of its config.json): one
temperature for each picture, which follows how far the readings of the mirrored and of the smaller picture differ and
how far the picture lies from what batch normalisation remembers of the training. They were fitted on other held-out
renderings: plain, hard, twice hard, and of strange colours (`train/mini/calibration.py`). Hatched is what it is less
than {unsure}% sure of; "errors hatched" is the share of the wrong pixels that lie under the hatching.

![Reliability](reliability.png)

![Hard renderings, their maps, what is read, and in white what is hatched](hard.jpg)

{figures}

## IoU by class

{classes}
"""


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    arguments.add_argument("--before", type=Path, help="another parser's folder, to measure beside it")
    arguments.add_argument("--pictures", type=int, default=PICTURES, help="of each kind (default: %(default)s)")
    given = arguments.parse_args()
    for kind, parsers in report(given.folder, given.before, pictures=given.pictures).items():
        for name, figures in parsers.items():
            print(kind, name, {title: figures[title] for title in FIGURES})
