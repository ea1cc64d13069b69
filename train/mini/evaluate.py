"""Does the bundled checkpoint obey? Unseen portraits drawn anew, and measured by `python -m facemogle evaluate`.

N pictures of size S; E = 20 experts.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from facemogle.checkpoints import load_parser
from facemogle.cli import main
from facemogle.evaluation import distances
from facemogle.gating import locality
from facemogle.labels import NAMES
from facemogle.parsing.mini import MiniParser
from facemogle.pipeline import FaceMoGLEPipeline
from train.mini import samples
from train.mini.config import MiniConfig
from train.mini.edits import measure_edits
from train.mini.latent_code import mixed_pictures, psnr, to_tensor

BATCH = 4


def draw(
    pipeline: FaceMoGLEPipeline, captions: Sequence[str], label_maps: Sequence[np.ndarray] | None, folder: Path
) -> np.ndarray:
    """A picture for each caption, seeded by its place, as files and (N, S, S, 3) uint8; None: from the words alone."""
    folder.mkdir(parents=True)
    pictures: list[np.ndarray] = []
    for start in range(0, len(captions), BATCH):
        texts = list(captions[start : start + BATCH])
        maps = None if label_maps is None else list(label_maps[start : start + BATCH])
        generators = [torch.Generator().manual_seed(start + row) for row in range(len(texts))]
        for picture in pipeline(texts, label_map=maps, generator=generators).images:
            picture.save(folder / f"{len(pictures):05d}.png")
            pictures.append(np.asarray(picture))
    return np.stack(pictures)


def measured(pictures: Path, portraits: Path, metrics: str) -> dict:
    """What `evaluate` finds in a folder, as the bundled parser reads it; beside it the same of the true portraits."""
    out = pictures.with_name(f"{pictures.name}-figures")
    of = ["--real", str(portraits), "--parser", "mini", "--metrics", metrics]
    assert main(["evaluate", str(pictures), *of, "--out", str(out), "--cache", str(out.parent)]) < 2
    found = json.loads((out / "evaluation.json").read_text())
    metrics_of = {
        name: {"cases": len(each["each"])} | {key: each[key] for key in ("value", "interval", "real")}
        for name, each in found["metrics"].items()
    }
    return json.loads(json.dumps({"metrics": metrics_of, "classes": found["classes"]}), parse_float=short)


def short(number: str) -> float:
    return float(f"{float(number):.4g}")


@torch.no_grad()
def measure_code(pipeline: FaceMoGLEPipeline, portraits: samples.Samples) -> dict:
    """PSNR in dB of the VAE, on a third of them each as what it has to code."""
    third, size = len(portraits) // 3, pipeline.config.height
    images, label_maps = (torch.from_numpy(each[: 3 * third]) for each in (portraits.images, portraits.label_maps))
    class_ids = 1 + torch.arange(3 * third) % (len(NAMES) - 1)
    pictures = to_tensor(mixed_pictures(images, label_maps, class_ids, third))
    latents = pipeline.encode_images(pictures / 2 + 0.5).split(BATCH)
    drawn = torch.cat([pipeline.decode_latents(each, size, size, "pt").float().cpu() for each in latents]) * 2 - 1
    kinds = ("portraits", "palette maps", "binary masks")
    return {name: round(psnr(*pair), 1) for name, *pair in zip(kinds, drawn.chunk(3), pictures.chunk(3), strict=True)}


@torch.no_grad()
def features(parser: MiniParser, pictures: np.ndarray, *, batch: int = 16) -> np.ndarray:
    """(N, S, S, 3) uint8 -> (N, F): mean and deviation over the picture of the parser's coarsest features."""
    gathered: list[torch.Tensor] = []
    handle = parser.middle.register_forward_hook(
        lambda module, inputs, output: gathered.append(torch.cat([output.mean((2, 3)), output.std((2, 3))], 1))
    )
    try:
        for start in range(0, len(pictures), batch):
            parser(to_tensor(pictures[start : start + batch]).to(parser.device))
    finally:
        handle.remove()
    return torch.cat(gathered).double().cpu().numpy()


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """KID of two (N, F) sets, of all of them at once.

    Features are first centred by the mean of `other` and scaled by its deviations, since the parser's differ in size
    and this kernel, unlike a Gaussian, grows without bound with their distance from 0.
    """
    centre, scale = other.mean(0), other.std(0) + 1e-6
    one, other = (one - centre) / scale, (other - centre) / scale
    return distances.kernel_distance(one, other, subsets=1, size=len(other))[0]


def measure_gating(pipeline: FaceMoGLEPipeline, portraits: samples.Samples) -> dict:
    """How much more each local expert weighs inside its class than outside, and how much the weights change: mean total
    variation over the tokens from the first step to the last, and between two portraits."""
    weights: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for row, (label_map, captions) in enumerate(zip(portraits.label_maps, portraits.captions, strict=True)):
        generator = torch.Generator().manual_seed(row)
        gating = pipeline(captions[0], label_map=label_map, generator=generator, record_gating=True).gating
        assert gating is not None
        weights.append(gating.over_steps()[[0, -1]])
        places.append(locality(gating, label_map).mean(0))
    first, last = np.stack(weights, axis=1)  # (N, E, h, w) each
    inside, outside = np.nanmean(places, axis=0).T
    return {
        "cases": len(portraits),
        "inside / outside": {name: round(float(ratio), 2) for name, ratio in zip(NAMES, inside / outside, strict=True)},
        "first to last step": round(total_variation(first, last), 4),
        "between portraits": round(total_variation(first, np.roll(first, 1, axis=0)), 4),
    }


def total_variation(one: np.ndarray, other: np.ndarray) -> float:
    """How far apart two gatings are, (N, E, ...) weights that sum to 1 over the experts: 0 where they are equal, 1
    where no expert is in both."""
    return float(abs(one - other).sum(1).mean() / 2)


def evaluate(
    pipeline: FaceMoGLEPipeline, portraits: samples.Samples, config: MiniConfig
) -> tuple[dict, dict[str, np.ndarray]]:
    """Measure on unseen portraits -> the figures, and the pictures."""
    few, seen = portraits.first(config.few_cases), samples.load(config, "train", limit=config.seen_cases)
    captions = [each[0] for each in portraits.captions]
    parser = load_parser(device=config.device)
    runs: dict[str, tuple[list[str], Any, str]] = {
        "text and map": (captions, portraits.label_maps, "miou,words"),
        "map only": ([""] * len(few), few.label_maps, "miou"),
        "text only": (captions[: len(few)], None, "words"),
    }
    with TemporaryDirectory() as folder:
        samples.write_pictures(portraits, Path(folder) / "portraits")
        pictures = {
            name: draw(pipeline, prompts, maps, Path(folder) / name) for name, (prompts, maps, _) in runs.items()
        }
        figures: dict[str, Any] = {
            name: measured(Path(folder) / name, Path(folder) / "portraits", metrics)
            for name, (*_, metrics) in runs.items()
        }
    # Not to the portraits whose maps were drawn: pairs are closer than two samples of one distribution.
    seen_features = features(parser, seen.images)
    distance = {
        name: round(kernel_distance(features(parser, each), seen_features), 4)
        for name, each in (("mini", pictures["text and map"]), ("true portraits", portraits.images))
    }
    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    figures |= {
        "size": config.size,
        "parameters": sum(parameter.numel() for network in networks for parameter in network.parameters()),
        "kernel distance": distance,
        "edits": measure_edits(pipeline, parser, config),
        "VAE in dB": measure_code(pipeline, few),
        "gating": measure_gating(pipeline, few),
    }
    return figures, pictures
