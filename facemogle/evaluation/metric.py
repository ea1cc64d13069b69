"""What is measured, what a metric needs for it, and what it gives.

n: pictures of the results, m: real ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
from torch import Tensor


class LabelMap(Protocol):
    """A label map on disk: called, it is read, (H, W) uint8 class ids. Thousands would fill the memory."""

    @property
    def files(self) -> Sequence[Path]: ...

    @property
    def meaning(self) -> str:
        """What tells its class ids from those that others read in the same files; "" where they are read as ours."""
        ...

    def __call__(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Picture:
    """One of the results, and what was matched with it by name. None: not there."""

    name: str
    path: Path
    real: Path | None = None
    caption: str | None = None  # the first one, as in the paper
    label_map: LabelMap | None = None  # that it should follow
    group: str | None = None
    face: str | None = None  # pictures of one face under several seeds share it


@dataclass(frozen=True)
class Study:
    """All that is measured at once. reals: every real picture, also those without a counterpart."""

    pictures: Sequence[Picture]
    reals: Sequence[Path] = ()


# What a network judges as one: a picture, or a picture with its caption (the str) or with another picture.
Input: TypeAlias = Path | tuple[Path | str, ...]


class Features(Protocol):
    """Network and n inputs -> (n, ...) float32, from the cache where they are known.

    CheckpointError where the network's files are missing or broken. UnreadablePictures once all others are computed.
    """

    def __call__(self, network: "Network", inputs: Sequence[Input]) -> np.ndarray: ...


class UnreadablePictures(ValueError):
    """problems: what is wrong with each file that is no picture. Measuring can go on without them."""

    def __init__(self, problems: Mapping[Path, str]):
        super().__init__("; ".join(f"{path}: {problem}" for path, problem in problems.items()))
        self.problems = problems


@dataclass(frozen=True)
class NetworkFile:
    """A file that others publish."""

    source: str  # "owner/name/file" on the Hub, or its address
    size: int  # bytes, about: what a download takes
    sha256: str = ""  # all of it or its beginning; empty: the one that the Hub's cache knows is all there is
    by_hand: bool = False  # it cannot, or may not, be downloaded by a program

    @property
    def name(self) -> str:
        return self.source.rpartition("/")[2]


@dataclass(frozen=True)
class Network:
    """A network that metrics rest on. preprocess and load are its own published way of taking in a picture.

    load: paths of the files in their order, and device -> a function with an argument for each part of an input, a
        batch (B, 3, H, W) for pictures and a list of B for captions, that gives (B, ...) features.
    version: raised whenever other features come of the same files, so that caches of the old ones are refused.
    """

    name: str  # its first word is also that of the folder with its files, where people put them there themselves
    files: tuple[NetworkFile, ...]
    preprocess: Callable[[Path], Tensor]  # a picture's file -> (3, H, W)
    load: Callable[[Sequence[Path], str], Callable[..., Tensor]]
    licence: str = ""
    version: int = 1
    batch: int = 16  # inputs at once

    @property
    def folder(self) -> str:
        return self.name.split()[0]


@dataclass(frozen=True)
class Measured:
    """A metric's value over all pictures, and where it has one, each picture's own. interval: 95%, by bootstrap."""

    value: float
    interval: tuple[float, float] | None = None
    each: Mapping[str, float] = field(default_factory=dict)  # picture's name -> value
    note: str = ""
    real: float | None = None  # the same of the real pictures, where that has a meaning: what could be reached


Measure: TypeAlias = Callable[[Study, Features], Measured]


@dataclass(frozen=True)
class Metric:
    """needs: without one of these for at least one picture it is left out, with a line that says so."""

    name: str  # as in JSON: "fid"
    title: str  # as in the table: "FID"
    better: Literal["lower", "higher", "neither"]
    needs: frozenset[Literal["real", "caption", "label_map", "seeds"]]
    networks: tuple[Network, ...]
    measure: Measure
