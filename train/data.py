"""Faces, label maps and captions for training, read one by one; and a check of a whole folder of them.

`python -m train.data check ROOT` reads everything once, lists by file name what cannot be used or looks wrong, and says
which folders and files it took for what. `python -m train.data build PHOTOS --out DATA` makes such a folder: see
train/build_data.py. H, W: pixels.
"""

import argparse
import itertools
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from facemogle.class_orders import ClassTable, class_order
from facemogle.data.captions import Captions, is_garbled
from facemogle.data.layout import find_files
from facemogle.data.names import in_order
from facemogle.data.pairs import (
    CLASSES_HELP,
    Pair,
    check_shapes,
    find_pairs,
    pair_of,
    read_ids,
    read_image,
    read_masks,
    read_pair,
)
from facemogle.labels import NAMES, NUM_CLASSES, mirror
from facemogle.weight_files import CheckpointError
from train.build_data import add_build

# What is said of a mask that may be no face, by plausibility.Doubt.kind.
DOUBTS = {
    "empty": "mask of background alone",
    "one part": "mask of one part alone",
    "no skin": "mask without skin",
    "order": "mask in another class order",
    "turned": "mask that is turned",
    "sides": "left and right swapped",
    "no face": "mask that is no face",
}

logger = logging.getLogger(__name__)


class EpochDataset(torch.utils.data.Dataset):
    """What is drawn for a sample depends on the seed, the epoch and its place alone.

    A DataLoader's workers see the epoch that was set before they started, or that is set within them.
    """

    def __init__(self, seed: int):
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def draws(self, index: int) -> np.random.Generator:
        """A sample's own generator. Its first draw chooses the caption, so that a cache chooses as its pictures do."""
        return np.random.default_rng((self.seed, self.epoch, index))


class FaceDataset(EpochDataset):
    """Pairs, read and resized as they are asked for; `flip` is the chance of a sample to be mirrored.

    on_error: "raise", or "skip": the next pair that can be used stands in for one that cannot; `skipped` names those,
    also where a DataLoader's workers met them.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        height: int,
        width: int,
        flip: float = 0.0,
        seed: int = 0,
        on_error: str = "raise",
    ):
        super().__init__(seed)
        if on_error not in ("raise", "skip") or not 0 <= flip <= 1:
            raise ValueError(f"on_error is 'raise' or 'skip' and flip in 0..1, got {on_error!r} and {flip}.")
        self.pairs, self.height, self.width = list(pairs), height, width
        self.flip, self.on_error = flip, on_error
        self._bad = torch.zeros(len(self.pairs), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def skipped(self) -> list[str]:
        """Names of the pairs that were passed over so far."""
        return [self.pairs[index].name for index in self._bad.nonzero().flatten().tolist()]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """-> name, image (3, H, W) uint8 RGB, label_map (H, W) uint8 class ids, caption ("" where there is none)."""
        first = range(len(self))[index]
        for place in itertools.chain(range(first, len(self)), range(first)):
            try:
                return self._sample(place)
            except ValueError as error:
                if self.on_error == "raise":
                    raise
                if not self._bad[place]:
                    logger.warning(f"Skipped: {error}")
                self._bad[place] = True
        raise ValueError(f"None of the {len(self)} pairs can be used. `python -m train.data check` says why.")

    def _sample(self, index: int) -> dict[str, Any]:
        pair, draws = self.pairs[index], self.draws(index)
        caption = pair.captions[draws.integers(len(pair.captions))] if pair.captions else ""
        image, label_map = read_pair(pair, height=self.height, width=self.width)
        if draws.random() < self.flip:
            image, label_map, caption = image[:, ::-1], mirror(label_map), swap_sides(caption)
        return {
            "name": pair.name,
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "label_map": torch.from_numpy(np.ascontiguousarray(label_map)),
            "caption": caption,
        }


def swap_sides(caption: str) -> str:
    """What a caption says of the mirrored picture: left and right change places."""
    other = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
    other |= {right: left for left, right in other.items()}
    return re.sub(r"\b([Ll]eft|LEFT|[Rr]ight|RIGHT)(?=(most|wards?|hand)?\b)", lambda side: other[side[1]], caption)


@dataclass(frozen=True)
class Finding:
    """What is wrong with a file; `usable`: a run can use it none the less."""

    file: Path
    problem: str
    detail: str = ""
    usable: bool = False


@dataclass
class Report:
    """What `check` found."""

    pairs: int = 0
    layout: list[tuple[str, str]] = field(default_factory=list)  # what was taken for what, in rows
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, Counter] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        return all(finding.usable for finding in self.findings)

    def lines(self) -> Iterator[str]:
        """Every finding, then a table."""
        for finding in self.findings:
            yield f"{finding.file}: {finding.problem}" + (f" ({finding.detail})" if finding.detail else "")
        problems = Counter((finding.usable, finding.problem) for finding in self.findings)
        rows = [*self.layout, ("pairs", str(self.pairs))]
        rows += [
            (problem, f"{count}{'' if usable else ', unusable'}")
            for (usable, problem), count in sorted(problems.items())
        ]
        rows += [
            (what, ", ".join(f"{value}: {count}" for value, count in counter.most_common(NUM_CLASSES)))
            for what, counter in self.counts.items()
        ]
        yield ""
        yield from (f"{name:<28}{text}" for name, text in rows)


def check(root: Path, *, ids: Sequence[str] | None = None, classes: ClassTable | None = None) -> Report:
    """Read every file once, at its own size. `ids` and `classes` as in find_pairs.

    ValueError where there is nothing to read.
    """
    order = None if classes is None else class_order(classes)
    files = find_files(Path(root))
    report = Report(layout=files.rows)
    if ids is None:
        pairs = [pair_of(files, face, order) for face in sorted(files.images.keys() & files.masks.keys(), key=in_order)]
        without = sorted(files.images.keys() - files.masks.keys(), key=in_order)
        report.findings += [Finding(files.images[face], "face without mask") for face in without]
        report.findings += [Finding(path, *problem) for path, problem in files.refused.items()]
    else:
        pairs = find_pairs(Path(root), ids=ids, classes=order)
    report.pairs = len(pairs)
    report.findings += _of_captions(Path(root), files.captions, pairs)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        examined = pool.map(_examine, pairs, [bool(files.captions.texts)] * len(pairs))
        for findings, facts in tqdm(examined, total=len(pairs), unit="face", disable=None):
            report.findings += findings
            for what, values in facts.items():
                report.counts.setdefault(what, Counter()).update(values)
    return report


def _of_captions(root: Path, captions: Captions, pairs: Sequence[Pair]) -> Iterator[Finding]:
    """What is wrong with the captions of all, and what nobody should learn from."""
    yield from (Finding(path, "captions cannot be read", why) for path, why in captions.unreadable)
    if not captions.texts and not captions.unreadable:
        yield from (Finding(place, "captions of no face here") for place in captions.strangers)
        yield Finding(root, "no captions", captions.source, usable=True)
    for pair in pairs:
        if garbled := [caption for caption in pair.captions if is_garbled(caption)]:
            yield Finding(captions.files[pair.name], "garbled caption", f"{pair.name}: {garbled[0][:60]!a}")
    captioned = [pair for pair in pairs if pair.captions]
    if len(captioned) > 1 and len(set().union(*(pair.captions for pair in captioned))) == 1:
        only = captioned[0].captions[0]
        detail = f"all {len(captioned)} faces have {only[:60]!r}, which teaches no words"
        yield Finding(captions.files[captioned[0].name], "one caption for all", detail)


def _examine(pair: Pair, expect_captions: bool) -> tuple[list[Finding], dict[str, list[Any]]]:
    """What is wrong with a pair, and what the table counts of it."""
    findings: list[Finding] = []
    facts: dict[str, list[Any]] = {"captions of a face": [len(pair.captions)]}
    if expect_captions and not pair.captions:
        findings.append(Finding(pair.image, "no caption", "missing or empty", usable=True))
    image = masks = None
    try:
        image = read_image(pair.image)
        facts["sizes of faces"] = [f"{image.width}x{image.height}"]
    except ValueError as error:
        findings.append(Finding(pair.image, "face cannot be used", str(error)))
    try:
        masks = read_masks(pair)
        label_map = masks.label_map
        present = np.unique(label_map).tolist()
        facts["sizes of masks"] = ["{1}x{0}".format(*label_map.shape)]
        facts["faces with each class"] = [NAMES[class_id] for class_id in present]
        facts["masks hold"] = [masks.how]
        if masks.off_palette:
            detail = f"{masks.off_palette} pixels took the nearest class"
            findings.append(Finding(pair.masks[0], "colours off the palette", detail, usable=True))
        for doubt in masks.doubts:
            findings.append(Finding(pair.masks[0], DOUBTS[doubt.kind], doubt.text, usable=doubt.tolerable))
    except ValueError as error:
        findings.append(Finding(pair.masks[0], "mask cannot be used", str(error)))
    if image is not None and masks is not None:
        try:
            check_shapes(pair, image, label_map)
        except ValueError as error:
            findings.append(Finding(pair.masks[0], "mask of another shape", str(error)))
    return findings, facts


def main(argv: Sequence[str] | None = None) -> int:
    """-> the exit code: 0, 1 where something cannot be used, 2 where there is nothing to read."""
    parser = argparse.ArgumentParser(prog="python -m train.data", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("check", help="read everything once and list what is wrong")
    command.add_argument("root", type=Path, help="faces, masks, captions; see train/README.md")
    command.add_argument("--ids", type=Path, metavar="FILE", help="only these: a text file of names, one a line")
    command.add_argument("--classes", metavar="NAME", help=CLASSES_HELP)
    command.set_defaults(run=run_check)
    add_build(commands)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except (CheckpointError, ValueError, OSError) as error:
        print(f"train.data: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on.", file=sys.stderr)
        return 130


def run_check(arguments: argparse.Namespace) -> int:
    ids = arguments.ids and read_ids(arguments.ids)
    report = check(arguments.root, ids=ids, classes=arguments.classes)
    print(*report.lines(), sep="\n")
    return 0 if report.usable and report.pairs else 1


if __name__ == "__main__":
    sys.exit(main())
