"""Portraits on disk: rendered once in shards, read back whole."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from facemogle.label_files import write_label_map
from train.mini.config import MiniConfig
from train.mini.portraits import caption, render, sample_attributes


@dataclass(frozen=True)
class Samples:
    """N portraits of size S."""

    images: np.ndarray  # (N, S, S, 3) uint8 RGB
    label_maps: np.ndarray  # (N, S, S) uint8 class ids
    captions: list[list[str]]
    attributes: list[dict]

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> "Samples":
        return Samples(*(values[:count] for values in vars(self).values()))


def render_shard(path: Path, seeds: range, size: int, captions: int) -> None:
    cv2.setNumThreads(1)
    images, label_maps, texts, attributes = [], [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        portrait = sample_attributes(rng)
        image, label_map = render(portrait, size=size)
        images.append(image)
        label_maps.append(label_map)
        texts.append([caption(portrait, rng) for _ in range(captions)])
        attributes.append(asdict(portrait))
    part = path.with_suffix(".part.npz")
    words = json.dumps({"captions": texts, "attributes": attributes}, default=float)
    np.savez(part, images=np.stack(images), label_maps=np.stack(label_maps), words=np.array(words))
    part.rename(path)


def shards(config: MiniConfig, split: str) -> dict[Path, range]:
    """Shard files of a split ("train" or "test") and the seeds of their portraits."""
    first, count = {"train": (0, config.train_portraits), "test": (config.test_seed, config.test_portraits)}[split]
    folder = config.folder / f"portraits-{config.size}"
    return {
        folder / f"{split}-{start:08d}.npz": range(start, min(start + config.shard, first + count))
        for start in range(first, first + count, config.shard)
    }


def render_all(config: MiniConfig, *, workers: int = 2) -> None:
    """Render both splits; shards that exist are kept."""
    wanted = {**shards(config, "test"), **shards(config, "train")}
    missing = {path: seeds for path, seeds in wanted.items() if not path.exists()}
    next(iter(wanted)).parent.mkdir(parents=True, exist_ok=True)
    # A forked worker would inherit locks that other threads of this process hold.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(render_shard, path, seeds, config.size, config.captions_per_portrait)
            for path, seeds in missing.items()
        ]
        for done, job in enumerate(jobs, 1):
            job.result()
            print(f"portraits: {done}/{len(jobs)} shards", flush=True)


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


def load(config: MiniConfig, split: str, *, limit: int | None = None) -> Samples:
    """Read a split, or its first `limit` portraits."""
    images: list[np.ndarray] = []
    label_maps: list[np.ndarray] = []
    captions: list[list[str]] = []
    attributes: list[dict] = []
    for path, seeds in shards(config, split).items():
        if limit is not None and len(captions) >= limit:
            break
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing. Run `python -m train.mini portraits` first.")
        with np.load(path, allow_pickle=False) as shard:
            words = json.loads(str(shard["words"]))
            images.append(shard["images"])
            label_maps.append(shard["label_maps"])
        captions += words["captions"]
        attributes += words["attributes"]
        assert len(images[-1]) == len(seeds)
    return Samples(
        np.concatenate(images)[:limit], np.concatenate(label_maps)[:limit], captions[:limit], attributes[:limit]
    )
