"""Does the bundled checkpoint obey? Unseen label maps and captions in, the judge's reading of the pictures out."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from facemogle.checkpoints import load_pipeline
from facemogle.gating import inside_outside
from facemogle.labels import CLASS_ID, NAMES, NUM_CLASSES, to_colours
from train.mini import judge, samples
from train.mini.config import MiniConfig
from train.mini.export import DESTINATION
from train.mini.portraits import CLOTHES_COLOURS, HAIR_COLOURS

CASES, BATCH = 200, 20
HAIR_NOUNS = ("hair", "afro", "bob", "ponytail")
CLOTHES_NOUNS = ("shirt", "clothes", "sweater", "turtleneck", "jacket")
GLASSES_NOUNS, HAT_NOUNS = ("glasses", "sunglasses"), ("hat", "cap", "beanie")
# A class that covers less of the picture than this does not count as an accessory.
PRESENT_SHARE = 3e-3


def confusion(read: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Two arrays of class ids -> (19, 19) counts, wanted by read."""
    pairs = wanted.astype(np.int64) * NUM_CLASSES + read
    return np.bincount(pairs.ravel(), minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)


def intersection_over_union(counts: np.ndarray) -> np.ndarray:
    """(19, 19) counts -> (19,), NaN for a class that is neither wanted nor read."""
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), np.nan)


def nearest_colour(pixels: np.ndarray, table: dict[str, tuple[int, int, int]]) -> str:
    """(n, 3) uint8 RGB -> the word whose colour is nearest to their median, in Lab with lightness counting half."""

    def lab(colours: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0] * (0.5, 1, 1)

    distances = np.linalg.norm(lab(np.array(list(table.values()))) - lab(np.median(pixels, axis=0)[None]), axis=1)
    return list(table)[int(distances.argmin())]


def agreement(image: np.ndarray, read: np.ndarray, caption: str, attributes: dict) -> dict[str, bool]:
    """What the caption says of hair, clothes, glasses and hat, and whether the picture agrees; and what must be absent.

    `image` (S, S, 3) uint8, `read` (S, S) class ids as the judge sees them.
    """
    verdicts = {}
    for name, class_name, nouns, table in (
        ("hair colour", "hair", HAIR_NOUNS, HAIR_COLOURS),
        ("clothes colour", "cloth", CLOTHES_NOUNS, CLOTHES_COLOURS),
    ):
        word = attributes["hair_colour" if class_name == "hair" else "clothes_colour"]
        if any(f"{word} {noun}" in caption for noun in nouns):
            pixels = image[read == CLASS_ID[class_name]]
            verdicts[name] = len(pixels) > 0 and nearest_colour(pixels, table) == word
    for name, class_name, accessory_nouns in (("glasses", "eyeglasses", GLASSES_NOUNS), ("hat", "hat", HAT_NOUNS)):
        present = bool((read == CLASS_ID[class_name]).mean() > PRESENT_SHARE)
        if attributes[name] == "none":
            verdicts[f"no {name}"] = not present
        elif any(noun in caption.replace(",", "").split() for noun in accessory_nouns):
            verdicts[name] = present
    return verdicts


def shares(verdicts: Sequence[dict[str, bool]]) -> dict[str, float]:
    names = {name for verdict in verdicts for name in verdict}
    return {name: float(np.mean([v[name] for v in verdicts if name in v])) for name in sorted(names)}


def contact_sheet(images: np.ndarray, label_maps: np.ndarray, *, columns: int = 8, scale: int = 1) -> Image.Image:
    """(N, S, S, 3) and (N, S, S) -> pairs of map and picture, side by side in rows."""
    pairs = np.concatenate([to_colours(label_maps), images], axis=2)
    rows = [np.concatenate(list(pairs[start : start + columns]), axis=1) for start in range(0, len(pairs), columns)]
    sheet = Image.fromarray(np.concatenate(rows))
    return sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.LANCZOS)


def generate(portraits: samples.Samples, checkpoint: Path, device: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Pictures (N, S, S, 3) uint8 of the portraits' maps and first captions, their gating ratios' parts (N, 19, 2),
    averaged over the steps, and seconds for each picture."""
    pipeline = load_pipeline(checkpoint, device=device)
    pipeline.set_progress_bar_config(disable=True)
    images, ratios = [], []
    started = time.monotonic()
    for start in range(0, len(portraits), BATCH):
        rows = range(start, min(start + BATCH, len(portraits)))
        result = pipeline(
            [portraits.captions[row][0] for row in rows],
            label_map=[portraits.label_maps[row] for row in rows],
            generator=[torch.Generator().manual_seed(row) for row in rows],
            record_gating=True,
        )
        assert result.gating is not None
        images += [np.asarray(image) for image in result.images]
        for image, row in enumerate(rows):
            ratios.append(inside_outside(result.gating.at(None, image=image), portraits.label_maps[row]))
    return np.stack(images), np.stack(ratios), (time.monotonic() - started) / len(portraits)


def evaluate(config: MiniConfig, checkpoint: Path = DESTINATION) -> None:
    """Measure on unseen portraits; write `evaluation.json` and `contact-sheet.png` beside the weights."""
    portraits = samples.load(config, "test", limit=CASES)
    network = judge.load_judge(config)
    images, ratios, seconds = generate(portraits, checkpoint, config.device)
    report: dict = {"cases": len(portraits), "seconds per image": round(seconds, 3)}
    for name, pictures in (("generated", images), ("true portraits", portraits.images)):
        read = judge.read_label_maps(network, pictures)
        iou = intersection_over_union(confusion(read, portraits.label_maps))
        cases = zip(pictures, read, portraits.captions, portraits.attributes, strict=True)
        report[name] = {
            "mean IoU": round(float(np.nanmean(iou)), 3),
            "IoU": {class_name: round(float(value), 3) for class_name, value in zip(NAMES, iou, strict=True)},
            "agrees with the prompt": {
                attribute: round(share, 3)
                for attribute, share in shares([agreement(i, r, c[0], a) for i, r, c, a in cases]).items()
            },
        }
    inside, outside = np.nanmean(ratios, axis=0).T
    report["gating inside / outside"] = {
        class_name: round(float(ratio), 2) for class_name, ratio in zip(NAMES, inside / outside, strict=True)
    }
    (checkpoint / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")
    contact_sheet(images[:32], portraits.label_maps[:32]).save(checkpoint / "contact-sheet.png", optimize=True)
    print(json.dumps(report, indent=1))
