"""What is measured, what a metric needs for it, and what it gives.

n: pictures of the results, m: real ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Picture:
    """One of the results, and what was matched with it by name. None: not there."""

    name: str
    path: Path
    real: Path | None = None
    caption: str | None = None  # the first one, as in the paper
    label_map: np.ndarray | None = None  # (H, W) uint8 class ids, of the map that the picture should follow
    group: str | None = None
    face: str | None = None  # pictures of one face under several seeds share it


@dataclass(frozen=True)
class Study:
    """All that is measured at once. reals: every real picture, also those without a counterpart."""

    pictures: Sequence[Picture]
    reals: Sequence[Path] = ()


class Features(Protocol):
    """Network and pictures -> (n, ...) float32, from the cache where the same file's are known."""

    def __call__(self, network: "Network", paths: Sequence[Path]) -> np.ndarray: ...


@dataclass(frozen=True)
class Network:
    """A network that metrics rest on. preprocess and load are its own published way of taking in a picture.

    load: path of the weights (a file or a folder) and device -> a function of (B, 3, H, W) to (B, ...) features.
    version: raised whenever other features come of the same file, so that caches of the old ones are refused.
    """

    name: str
    source: str  # where people get it: a repository on the Hub with its file, or an address
    size: int  # bytes
    sha256: str | None  # None: many files, each checked by the Hub itself
    preprocess: Callable[[Path], Tensor]  # a picture's file -> (3, H, W)
    load: Callable[[Path, str], Callable[[Tensor], Tensor]]
    licence: str = ""
    version: int = 1


@dataclass(frozen=True)
class Measured:
    """A metric's value over all pictures, and where it has one, each picture's own. interval: 95%, by bootstrap."""

    value: float
    interval: tuple[float, float] | None = None
    each: Mapping[str, float] = field(default_factory=dict)  # picture's name -> value
    note: str = ""


@dataclass(frozen=True)
class Metric:
    """needs: without one of these for at least one picture it is left out, with a line that says so."""

    name: str  # as in JSON: "fid"
    title: str  # as in the table: "FID"
    better: Literal["lower", "higher", "neither"]
    needs: frozenset[Literal["real", "caption", "label_map", "seeds"]]
    networks: tuple[Network, ...]
    measure: Callable[[Study, Features], Measured]
