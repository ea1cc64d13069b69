"""When to believe the parser: its confidence fitted to how often it is right, and how well it then is.

P pixels, of several pictures; confidence is the probability of the class taken, in 0..1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facemogle.parsing.mini import MiniParser, temperature
from train.mini.hard import harden
from train.mini.latent_code import to_tensor
from train.mini.portraits import render, sample_attributes

PIXELS = 2_000  # of a picture, at random, to fit to
BATCH = 8
HELD_OUT = range(40_000_000, 40_000_064)  # seeds that neither a training nor a report uses


@dataclass(frozen=True)
class Renderings:
    """N portraits (N, S, S, 3) uint8 with their label maps (N, S, S) uint8: as they are, hard, or harder still."""

    images: np.ndarray
    label_maps: np.ndarray

    @staticmethod
    def of(seeds: range, size: int) -> "Renderings":
        portraits = [render(sample_attributes(np.random.default_rng(seed)), size=size) for seed in seeds]
        images, label_maps = zip(*portraits, strict=True)
        return Renderings(np.stack(images), np.stack(label_maps))

    def __len__(self) -> int:
        return len(self.images)

    def hard(self, seed: int, *, times: int = 1) -> "Renderings":
        """Made hard, `times` over: twice is beyond what the parser has learned from."""
        images, label_maps = self.images.copy(), self.label_maps.copy()
        for row in range(len(images)):
            rng = np.random.default_rng((seed, row))
            for _ in range(times):
                images[row], label_maps[row] = harden(images[row], label_maps[row], rng)
        return Renderings(images, label_maps)


@torch.no_grad()
def signs_of(parser: MiniParser, renderings: Renderings) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """In batches on the parser's device: logits (B, 19, S, S), doubt (B, 4, S, S), true classes (B, S, S)."""
    for start in range(0, len(renderings), BATCH):
        rows = slice(start, start + BATCH)
        pictures = to_tensor(renderings.images[rows]).to(parser.device)
        logits = parser(pictures).float()
        classes = torch.from_numpy(renderings.label_maps[rows]).to(parser.device).long()
        yield logits, parser.doubt(pictures, logits).float(), classes


def calibrate_confidence(parser: MiniParser, seeds: range = HELD_OUT) -> None:
    """Fit the parser's doubts on held-out renderings, plain, hard and beyond, and put them into its config."""
    plain = Renderings.of(seeds, parser.config.size)
    kinds = plain, plain.hard(seeds.start), plain.hard(seeds.start + 1, times=2)
    parser.register_to_config(doubts=fit_doubts(parser, kinds))


def fit_doubts(parser: MiniParser, kinds: Sequence[Renderings], seed: int = 0) -> tuple[float, ...]:
    """Weights for `temperature` that make the true classes of held-out renderings most probable."""
    gathered = [
        [_some(values, seed + index) for values in zip(*signs_of(parser, kind), strict=True)]
        for index, kind in enumerate(kinds)
    ]
    logits, doubt, classes = (torch.cat(values) for values in zip(*gathered, strict=True))
    # As deviations from the mean all signs are of one size, and the steps of the search likewise.
    centre, spread = doubt[:, 1:].mean(0), doubt[:, 1:].std(0) + 1e-6
    weights = torch.zeros(doubt.shape[1], device=logits.device, requires_grad=True)

    def unfolded() -> Tensor:
        own = weights[1:] / spread
        return torch.cat([weights[:1] - (own * centre).sum(), own])

    search = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        divided = logits / temperature(doubt.T[None, :, :, None], unfolded())[0, 0]
        value = torch.nn.functional.cross_entropy(divided, classes)
        value.backward()
        return value

    search.step(loss)
    return tuple(round(weight, 4) for weight in unfolded().tolist())


def _some(batches: Sequence[Tensor], seed: int) -> Tensor:
    """(B, [C,] S, S) batches -> (P, [C]), PIXELS of each picture; the same places for the same seed."""
    values = torch.cat(list(batches))
    values = values.flatten(-2).movedim(-1, 1)
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(values.shape[1], (len(values), min(PIXELS, values.shape[1])), generator=generator)
    rows = torch.arange(len(values))[:, None]
    return values[rows, places].flatten(0, 1)
