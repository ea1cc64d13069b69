"""Portraits: made without end for training, and those that figures are measured on, kept on disk."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tokenizers import Tokenizer

from facemogle.label_files import write_label_map
from facemogle.whole_files import whole_file
from train.mini.augment import augment
from train.mini.config import MiniConfig
from train.mini.feeder import Sample
from train.mini.hard import harden
from train.mini.portraits import caption, render, sample_attributes, unusual
from train.mini.rarity import Rarity

UNKNOWN_WORD = "xyzzy"
ATTEMPTS = 4  # at a map that differs from the portrait's own: half of the augmentations change nothing


@dataclass(frozen=True)
class PortraitRecipe:
    """A portrait, its label map and clumsier ones, captions as token ids, its attributes' numbers, and whether there is
    something unusual in it that words alone tell: with the map, and without."""

    config: MiniConfig
    tokenizers: tuple[Tokenizer, Tokenizer]  # CLIP's and T5's, which pad to `text_length`
    rarity: Rarity

    def __call__(self, seed: int) -> Sample:
        config, rng = self.config, np.random.default_rng(seed)
        attributes = self.rarity.draw(rng, config.world, config.balanced)
        image, label_map = render(attributes, size=config.size)
        label_maps = [label_map, *(clumsier(label_map, rng) for _ in range(config.maps_per_portrait - 1))]
        captions = [caption(attributes, rng) for _ in range(config.captions_per_portrait)]
        texts = [with_unknown_words(each, rng, config.unknown_words) for each in captions]
        clip, t5 = (np.array([tokenizer.encode(text).ids for text in texts], np.int16) for tokenizer in self.tokenizers)
        return {
            "images": image,
            "label_maps": np.stack(label_maps),
            "clip": clip,
            "t5": t5,
            "attributes": np.array(self.rarity.ids(attributes), np.uint8),
            "unusual": np.array([bool(unusual(vars(attributes), with_map=with_map)) for with_map in (True, False)]),
        }


@dataclass(frozen=True)
class PairRecipe:
    """A portrait and its label map; a share of them made hard."""

    config: MiniConfig

    def __call__(self, seed: int) -> Sample:
        rng = np.random.default_rng(seed)
        image, label_map = render(sample_attributes(rng, self.config.world), size=self.config.size)
        if rng.random() < self.config.hard:
            image, label_map = harden(image, label_map, rng)
        return {"images": image, "label_maps": label_map}


def clumsier(label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for _ in range(ATTEMPTS):
        if (changed := augment(label_map, rng)) is not label_map:
            return changed
    return label_map


def with_unknown_words(text: str, rng: np.random.Generator, share: float) -> str:
    """Some words become one that the tokenizers do not know, so that such a word does no harm."""
    words = text.split()
    return " ".join(np.where(rng.random(len(words)) < share, UNKNOWN_WORD, words))


@dataclass(frozen=True)
class Samples:
    """N portraits of size S."""

    images: np.ndarray  # (N, S, S, 3) uint8 RGB
    label_maps: np.ndarray  # (N, S, S) uint8 class ids
    captions: np.ndarray  # (N, captions_per_portrait) str

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> "Samples":
        return Samples(*(values[:count] for values in vars(self).values()))


def portrait_of(seed: int, config: MiniConfig) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Image, label map and captions."""
    rng = np.random.default_rng(seed)
    attributes = sample_attributes(rng, config.measured_world)
    image, label_map = render(attributes, size=config.size)
    return image, label_map, [caption(attributes, rng) for _ in range(config.captions_per_portrait)]


def load(config: MiniConfig, split: str, *, limit: int) -> Samples:
    """The first `limit` portraits of a split, "train" or "test", as they come; rendered if they are not there yet."""
    first = {"train": 0, "test": config.test_seed}[split]
    file = config.folder / "portraits" / f"{config.size}-{first:08d}-{limit}.npz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        # A forked worker would inherit locks that other threads of this process hold.
        spawn = get_context("spawn")
        with ProcessPoolExecutor(config.workers, spawn, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            made = pool.map(partial(portrait_of, config=config), range(first, first + limit), chunksize=8)
            columns = [np.array(column) for column in zip(*made, strict=True)]
        with whole_file(file) as part:
            np.savez(part, *columns)
    with np.load(file) as kept:
        return Samples(*kept.values())


def write_pictures(samples: Samples, folder: Path) -> None:
    """As files that `train.data` reads: image/, mask/ of class ids, and text/ with a caption a line."""
    for name in ("image", "mask", "text"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index, (image, label_map, captions) in enumerate(
        zip(samples.images, samples.label_maps, samples.captions, strict=True)
    ):
        Image.fromarray(image).save(folder / "image" / f"{index:05d}.png")
        write_label_map(folder / "mask" / f"{index:05d}.png", label_map)
        (folder / "text" / f"{index:05d}.txt").write_text("\n".join(captions) + "\n")
