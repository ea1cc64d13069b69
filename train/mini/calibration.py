"""When to believe the parser: its confidence fitted to how often it is right, and how well it then is.

P pixels, of several pictures; confidence is the probability of the class taken, in 0..1.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facemogle.parsing.mini import MiniParser, temperature
from train.mini.hard import harden
from train.mini.latent_code import to_tensor
from train.mini.portraits import render, sample_attributes
from train.mini.textures import clouds

PIXELS = 1_000  # of a picture, at random, to fit to
BATCH = 8
HELD_OUT = range(40_000_000, 40_000_032)  # seeds that neither a training nor a report uses


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

    def strange(self, seed: int) -> "Renderings":
        """As no training has them, each in one of five ways: how the parser fails on what it was not made for."""
        ways, images = list(STRANGE.values()), enumerate(self.images)
        changed = [ways[row % len(ways)](image, np.random.default_rng((seed, row))) for row, image in images]
        return Renderings(np.stack(changed), self.label_maps)


@torch.no_grad()
def signs_of(parser: MiniParser, renderings: Renderings) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """In batches on the parser's device: logits (B, 19, S, S), doubt (B, 3), true classes (B, S, S)."""
    for start in range(0, len(renderings), BATCH):
        rows = slice(start, start + BATCH)
        pictures = to_tensor(renderings.images[rows]).to(parser.device)
        logits = parser(pictures).float()
        classes = torch.from_numpy(renderings.label_maps[rows]).to(parser.device).long()
        yield logits, parser.doubt(pictures, logits).float(), classes


def calibrate_confidence(parser: MiniParser, seeds: range = HELD_OUT) -> None:
    """Fit the parser's doubts on held-out renderings, plain, hard and beyond, and put them into its config."""
    plain = Renderings.of(seeds, parser.config.size)
    hard = plain.hard(seeds.start)
    kinds = plain, hard, plain.hard(seeds.start + 1, times=2), hard.strange(seeds.start + 2)
    parser.register_to_config(doubts=fit_doubts(parser, kinds))


def fit_doubts(parser: MiniParser, kinds: Sequence[Renderings]) -> tuple[float, ...]:
    """Weights for `temperature` that make the true classes of held-out renderings most probable.

    A sign of doubt never makes surer, whatever these renderings say: its weight is at least 0.
    """
    generator = torch.Generator().manual_seed(0)
    gathered = [_some(batch, generator) for kind in kinds for batch in signs_of(parser, kind)]
    logits, doubt, classes = (torch.cat(values) for values in zip(*gathered, strict=True))
    # As deviations from the mean all signs are of one size, and the steps of the search likewise.
    centre, spread = doubt[:, 1:].mean(0), doubt[:, 1:].std(0) + 1e-6
    weights = torch.zeros(doubt.shape[1], device=logits.device, requires_grad=True)

    def unfolded() -> Tensor:
        own = F.softplus(weights[1:] - 1) / spread
        return torch.cat([weights[:1] - (own * centre).sum(), own])

    search = torch.optim.LBFGS([weights], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(logits / temperature(doubt, unfolded())[:, None], classes)
        value.backward()
        return value

    search.step(loss)
    return tuple(round(weight, 4) for weight in unfolded().tolist())


def _some(batch: tuple[Tensor, Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """What `signs_of` yields, at PIXELS of each picture -> (P, 19), (P, 3), (P,)."""
    logits, doubt, classes = batch
    count, pixels = len(doubt), classes[0].numel()
    places = torch.randint(pixels, (count, min(PIXELS, pixels)), generator=generator)
    rows = torch.arange(count)[:, None].expand_as(places)
    chosen = logits.flatten(2).movedim(1, 2)[rows, places], doubt[rows], classes.flatten(1)[rows, places]
    return chosen[0].flatten(0, 1), chosen[1].flatten(0, 1), chosen[2].flatten()


def _under_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    veil = 127 + 60 * np.stack([clouds(rng, len(image)) for _ in range(3)], axis=2)
    return (0.5 * image + 0.5 * veil.clip(0, 255)).astype(np.uint8)


EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
STRANGE: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "negative": lambda image, rng: 255 - image,
    "other colours": lambda image, rng: image[..., rng.permutation(3)],
    "embossed": lambda image, rng: cv2.filter2D(image, -1, EMBOSS),
    "few colours": lambda image, rng: cv2.medianBlur(image, 7) // 64 * 85,
    "under noise": _under_noise,
}
