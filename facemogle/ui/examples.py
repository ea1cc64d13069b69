"""Label maps to start from: the examples in a folder, and a face drawn here."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemogle.label_files import read_label_map
from facemogle.labels import CLASS_ID


@dataclass(frozen=True)
class Example:
    """A label map (H, W) and a prompt that suits it."""

    label_map: np.ndarray
    prompt: str


def load_examples(folder: Path) -> list[Example]:
    """Read `examples.json`, a list of {"label_map": file name, "prompt": text}; no such file, no examples."""
    index = folder / "examples.json"
    if not index.exists():
        return []
    entries = json.loads(index.read_text("utf-8"))
    return [Example(read_label_map(folder / entry["label_map"])[0], entry["prompt"]) for entry in entries]


def template_face(size: int = 512) -> np.ndarray:
    """(size, size) uint8: a face in the framing of CelebA-HQ, as its median label maps have it.

    Eyes lie at height 0.478, at 0.378 and 0.622 across; skin covers a quarter of the picture.
    """
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    label_map = np.zeros((size, size), np.uint8)

    def paint(name: str, region: np.ndarray) -> None:
        label_map[region] = CLASS_ID[name]

    def ellipse(centre_x: float, centre_y: float, radius_x: float, radius_y: float) -> np.ndarray:
        return ((x - centre_x) / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2 <= 1

    paint("hair", ellipse(0.5, 0.385, 0.35, 0.36) | ellipse(0.5, 0.45, 0.35, 0.36))
    paint("cloth", ellipse(0.5, 1.17, 0.5, 0.29))
    throat = 0.12 + 2.5 * np.clip(y - 0.86, 0, 1) ** 2
    paint("neck", (abs(x - 0.5) < throat) & ellipse(0.5, 0.8, 0.25, 0.19))
    for side, name in ((1, "left"), (-1, "right")):
        paint(f"{name}_ear", ellipse(0.5 + side * 0.262, 0.55, 0.042, 0.085))
    jaw = 0.257 - 0.045 * np.clip((y - 0.55) / 0.35, 0, 1) ** 2
    paint("skin", ellipse(0.5, 0.545, jaw, 0.358) & (y > 0.215 + 1.1 * (x - 0.45) ** 2))
    for side, name in ((1, "left"), (-1, "right")):
        outward = side * (x - 0.5) - 0.126
        arch = abs(y - 0.408 - 3.2 * outward**2) < 0.015 - 1.6 * outward**2
        paint(f"{name}_brow", arch & (abs(outward) < 0.082))
        paint(f"{name}_eye", ellipse(0.5 + side * 0.122, 0.478, 0.043, 0.0175))
    bridge = 0.027 + 0.04 * np.clip((y - 0.465) / 0.16, 0, 1) ** 2
    paint("nose", (abs(x - 0.5) < bridge) & (y > 0.465) & (y < 0.63) | ellipse(0.5, 0.62, 0.07, 0.042))
    bow = 0.031 * (1 - (abs(x - 0.5) / 0.098) ** 2) - 0.008 * np.exp(-(((x - 0.5) / 0.02) ** 2))
    paint("upper_lip", (y > 0.743 - bow) & (y < 0.743))
    paint("lower_lip", ellipse(0.5, 0.741, 0.092, 0.05) & (y >= 0.743))
    return label_map
