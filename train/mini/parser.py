"""Train the bundled parser on portraits. It is also the yardstick of `evaluate`: it reads what `mini` draws."""

import math
import shutil
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemogle.labels import NUM_CLASSES, mirror
from facemogle.parsing.mini import MiniParser
from train.mini.config import MiniConfig
from train.mini.export import ASSETS
from train.mini.latent_code import to_tensor
from train.mini.loop import fit
from train.mini.samples import Samples
from train.mini.vae import autocast

DESTINATION = ASSETS / "mini-parser"
LICENSE_NOTE = """\
The weights in this folder are licensed under Apache-2.0, as the code that made them.
They were trained from scratch on procedural portraits alone (`train/mini/portraits`): no photograph, no dataset and no
other weights took part.
"""
# Half-widths of what a portrait goes through, so that the parser copes with pictures other than the renderer's.
ZOOM, SHIFT = 0.15, 0.06  # as shares of the picture
CONTRAST, BRIGHTNESS, SATURATION, HUE = 0.25, 0.15, 0.4, 0.25  # hue in radians
NOISE = 0.08
DICE = 1.0


def draw_batch(samples: Samples, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Portraits at random, changed -> pictures (B, 3, S, S) around -1..1 and class ids (B, S, S)."""
    rows = torch.randint(len(samples), (count,), generator=generator).numpy()
    flipped = (torch.rand(count, generator=generator) < 0.5).numpy()
    images, label_maps = samples.images[rows], samples.label_maps[rows]
    images[flipped], label_maps[flipped] = images[flipped, :, ::-1], mirror(label_maps[flipped])
    pictures, classes = moved(to_tensor(images), torch.from_numpy(label_maps), generator)
    pictures = softened(recoloured(pictures, generator), generator)
    noise = NOISE * torch.rand(count, 1, 1, 1, generator=generator)
    return pictures + noise * torch.randn(pictures.shape, generator=generator), classes


def moved(pictures: Tensor, label_maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Zoom and shift pictures and maps alike; what comes into view repeats the border."""
    draw = 2 * torch.rand(len(pictures), 3, generator=generator) - 1
    transform = torch.eye(2, 3) * (1 + ZOOM * draw[:, 0, None, None])
    transform[:, :, 2] = 2 * SHIFT * draw[:, 1:]
    grid = F.affine_grid(transform, list(pictures.shape), align_corners=False)
    classes = F.grid_sample(label_maps[:, None].float(), grid, "nearest", "border", align_corners=False)
    return F.grid_sample(pictures, grid, "bilinear", "border", align_corners=False), classes[:, 0].long()


def recoloured(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Turn hues around the grey axis, then change saturation, contrast and brightness."""
    contrast, brightness, saturation, hue = (2 * torch.rand(4, len(pictures), 1, 1, generator=generator) - 1).unbind()
    # An antisymmetric matrix generates the rotation about the axis (1, 1, 1).
    axis = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    grey = torch.full((3, 3), 1 / 3)
    colours = grey + (1 + SATURATION * saturation) * (torch.matrix_exp(HUE * hue * axis) - grey)
    changed = torch.einsum("bij,bjhw->bihw", (1 + CONTRAST * contrast) * colours, pictures)
    return changed + BRIGHTNESS * brightness[..., None]


def softened(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Mix with the picture at half the resolution: what `mini` draws is softer than what the renderer draws."""
    half = F.interpolate(pictures, scale_factor=0.5, mode="bilinear", antialias=True)
    soft = F.interpolate(half, pictures.shape[2:], mode="bilinear")
    return torch.lerp(pictures, soft, torch.rand(len(pictures), 1, 1, 1, generator=generator))


def loss_of_logits(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    """(B, 19, S, S), (B, S, S) -> weighted cross entropy, plus soft Dice, where a thin class counts as a large one."""
    log_probabilities = logits.log_softmax(1)
    # A quarter of the pixels says enough on overlap, at a quarter of the cost.
    probabilities, wanted = log_probabilities[..., ::2, ::2].exp(), classes[..., ::2, ::2]
    counts = torch.bincount(wanted.flatten(), minlength=NUM_CLASSES).to(logits)
    own = probabilities.gather(1, wanted[:, None]).flatten()
    hits = torch.zeros_like(counts).index_add(0, wanted.flatten(), own)
    dice = (2 * hits / (probabilities.sum((0, 2, 3)) + counts))[counts > 0]
    return F.nll_loss(log_probabilities, classes, weight) + DICE * (1 - dice.mean())


def class_weights(label_maps: np.ndarray) -> Tensor:
    """Rare classes count more: the inverse fourth root of their share in the first portraits."""
    counts = np.bincount(label_maps[:500].ravel(), minlength=NUM_CLASSES).clip(1)
    weights = (counts / counts.sum()) ** -0.25
    return torch.from_numpy(weights / weights.mean()).float()


def train_parser(samples: Samples, config: MiniConfig) -> None:
    """Write `parser/weights`, a folder that `load_parser` reads."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed + 5)
        parser = MiniParser(size=config.size)
    # Channels last is a fifth faster on a CPU; compiling, once that is done, is no faster.
    parser.to(config.device, memory_format=torch.channels_last).train()
    weight = class_weights(samples.label_maps).to(config.device)

    def loss_of(generator: torch.Generator, step: int) -> Tensor:
        pictures, classes = draw_batch(samples, config.parser_batch, generator)
        with autocast(config.device):
            logits = parser(pictures.to(config.device, memory_format=torch.channels_last))
        logits = logits.to(torch.float32, memory_format=torch.contiguous_format)
        return loss_of_logits(logits, classes.to(config.device), weight)

    fit(
        config.folder / "parser",
        {"parser": parser},
        loss_of,
        steps=config.parser_steps,
        learning_rate=config.parser_learning_rate,
        seed=config.seed + 5,
        settings=config.settings_of("parser"),
        checkpoint_seconds=config.checkpoint_seconds,
    )
    calibrate(parser, samples, torch.Generator().manual_seed(config.seed))
    # Half precision halves the folder; the weights are read back as float32.
    parser.to("cpu", memory_format=torch.contiguous_format).half().save_pretrained(weights_folder(config))


@torch.no_grad()
def calibrate(parser: MiniParser, samples: Samples, generator: torch.Generator, *, batches: int = 40) -> None:
    """Batch statistics for the averaged weights, which differ from those gathered while training."""
    for module in parser.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain average
    parser.train()
    for _ in range(batches):
        parser(draw_batch(samples, 16, generator)[0].to(parser.device, memory_format=torch.channels_last))
    parser.eval()


def export_parser(config: MiniConfig, destination: Path = DESTINATION) -> None:
    shutil.copytree(weights_folder(config), destination, dirs_exist_ok=True)
    (destination / "LICENSE.md").write_text(LICENSE_NOTE)


def weights_folder(config: MiniConfig) -> Path:
    return config.folder / "parser" / "weights"
