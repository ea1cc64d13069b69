"""The paper's tables as runs to be made and measured: which pictures, drawn from what, by which weights.

Figures of the paper are of its 3,000 test pairs in MM-CelebA-HQ. It drew them from one stream of noise (seed 42), in
which each picture depends on all before it; here each begins from that seed on its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from facemogle.evaluation.paper import PAPER

SEED = 42


@dataclass(frozen=True)
class Run:
    """draw: options of `batch`. weights: the folder in `train.ablations`' output; "": the checkpoint's own."""

    name: str
    draw: tuple[str, ...] = ()
    weights: str = ""
    paper: Mapping[str, float] = field(default_factory=dict)


_TASKS = {"multimodal": (), "mask to face": ("--without", "prompt"), "text to face": ("--without", "label-map")}


def _tasks(paper: bool) -> tuple[Run, ...]:
    return tuple(Run(name, draw, paper=PAPER[name] if paper else {}) for name, draw in _TASKS.items())


def _ablations(rows: Mapping[str, tuple[str, float]]) -> tuple[Run, ...]:
    return tuple(Run(name, weights=weights, paper={"fid": fid}) for name, (weights, fid) in rows.items())


# The paper's FIDs of the ablations.
WHOLE = "as-in-the-paper", 22.24
TABLES: dict[str, tuple[Run, ...]] = {
    "table1": _tasks(True),
    "zero-shot": _tasks(False),
    "table3": _ablations({
        "global expert alone": ("global-expert-alone", 30.36), "local experts alone": ("local-experts-alone", 33.62),
        "both": WHOLE,
    }),
    "table4": _ablations({
        "without the time": ("gating-without-the-time", 25.74), "scalar": ("scalar-gating", 43.48), "matrix": WHOLE,
    }),
    "table5": _ablations({
        "neither experts nor gating": ("neither-experts-nor-gating", 33.25), "experts alone": ("static-gating", 26.55),
        "gating alone": ("no-experts", 31.30), "both": WHOLE,
    }),
}  # fmt: skip
