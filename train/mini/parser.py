"""Train the bundled parser on portraits. It is also the yardstick of `evaluate`: it reads what `mini` draws."""

import math
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import update_bn

from facemogle.labels import NUM_CLASSES
from facemogle.parsing.mini import MIRRORED, MiniParser
from train.mini.calibration import calibrate_confidence
from train.mini.config import MiniConfig, Phase
from train.mini.export import LICENSE_NOTE
from train.mini.latent_code import to_tensor
from train.mini.loop import Draw
from train.mini.model import autocast
from train.mini.pool import Pool

# Half-widths of what a portrait goes through, so that the parser copes with pictures other than the renderer's.
ZOOM, SHIFT = 0.15, 0.06  # as shares of the picture
CONTRAST, BRIGHTNESS, SATURATION, HUE = 0.25, 0.15, 0.4, 0.25  # hue in radians
NOISE = 0.08
DICE = 1.0


def draw_batch(images: Tensor, label_maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B, S, S, 3) uint8 and (B, S, S), changed -> pictures (B, 3, S, S) around -1..1 and class ids (B, S, S)."""
    count, device = len(images), images.device
    flipped = (torch.rand(count, generator=generator, device=device) < 0.5)[:, None, None]
    images = torch.where(flipped[..., None], images.flip(2), images)
    label_maps = torch.where(flipped, mirrored_classes(device)[label_maps.flip(2).long()], label_maps)
    pictures, classes = moved(to_tensor(images), label_maps, generator)
    pictures = softened(recoloured(pictures, generator), generator)
    noise = NOISE * torch.rand(count, 1, 1, 1, generator=generator, device=device)
    return pictures + noise * torch.randn(pictures.shape, generator=generator, device=device), classes


@cache  # a copy to the device would be waited for in every step
def mirrored_classes(device: torch.device) -> Tensor:
    """(19,): the class that each becomes in a mirror."""
    return torch.tensor(MIRRORED, dtype=torch.uint8, device=device)


def moved(pictures: Tensor, label_maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Zoom and shift pictures and maps alike; what comes into view repeats the border."""
    draw = 2 * torch.rand(len(pictures), 3, generator=generator, device=pictures.device) - 1
    transform = torch.eye(2, 3, device=pictures.device) * (1 + ZOOM * draw[:, 0, None, None])
    transform[:, :, 2] = 2 * SHIFT * draw[:, 1:]
    grid = F.affine_grid(transform, list(pictures.shape), align_corners=False)
    classes = F.grid_sample(label_maps[:, None].float(), grid, "nearest", "border", align_corners=False)
    return F.grid_sample(pictures, grid, "bilinear", "border", align_corners=False), classes[:, 0].long()


def recoloured(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Turn hues around the grey axis, then change saturation, contrast and brightness."""
    draw = 2 * torch.rand(4, len(pictures), 1, 1, generator=generator, device=pictures.device) - 1
    contrast, brightness, saturation, hue = draw.unbind()
    # Rodrigues' rotation about the axis (1, 1, 1).
    eye = torch.eye(3, device=pictures.device)
    turn = (torch.roll(eye, 1, 0) - torch.roll(eye, 1, 1)) / math.sqrt(3)
    grey = torch.full((3, 3), 1 / 3, device=pictures.device)
    rotated = grey + (HUE * hue).cos() * (eye - grey) + (HUE * hue).sin() * turn
    colours = grey + (1 + SATURATION * saturation) * (rotated - grey)
    changed = torch.einsum("bij,bjhw->bihw", (1 + CONTRAST * contrast) * colours, pictures)
    return changed + BRIGHTNESS * brightness[..., None]


def softened(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Mix with the picture at half the resolution: what `mini` draws is softer than what the renderer draws."""
    half = F.interpolate(pictures, scale_factor=0.5, mode="bilinear", antialias=True)
    soft = F.interpolate(half, pictures.shape[2:], mode="bilinear")
    return torch.lerp(pictures, soft, torch.rand(len(pictures), 1, 1, 1, generator=generator, device=pictures.device))


def loss_of_logits(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    """(B, 19, S, S), (B, S, S) -> weighted cross entropy, plus soft Dice, where a thin class counts as a large one."""
    log_probabilities = logits.log_softmax(1)
    # A quarter of the pixels says enough on overlap, at a quarter of the cost.
    probabilities, wanted = log_probabilities[..., ::2, ::2].exp(), classes[..., ::2, ::2]
    present = wanted[:, None] == torch.arange(NUM_CLASSES, device=wanted.device)[:, None, None]
    counts, hits = present.sum((0, 2, 3)), (probabilities * present).sum((0, 2, 3))
    dice = 2 * hits / (probabilities.sum((0, 2, 3)) + counts)
    there = counts > 0  # a mask: how many there are must not change a tensor's shape
    return F.nll_loss(log_probabilities, classes, weight) + DICE * (1 - (dice * there).sum() / there.sum())


def class_weights(label_maps: Tensor) -> Tensor:
    """Rare classes count more: the inverse fourth root of their share."""
    counts = torch.bincount(label_maps.flatten().long(), minlength=NUM_CLASSES).clamp(min=1)
    weights = (counts / counts.sum()) ** -0.25
    return weights / weights.mean()


class ParserLesson:
    """The parser, and what it learns from."""

    def __init__(self, pool: Pool, config: MiniConfig):
        self.pool, self.config = pool, config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + 5)
            parser = MiniParser(size=config.size)
        # Channels last is a fifth faster on a CPU; compiling, once that is done, is no faster.
        self.parser = parser.to(config.device, memory_format=torch.channels_last).train()
        self.weight = class_weights(pool["label_maps"][: min(len(pool), 500)])

    @torch.no_grad()
    def draw(self, generator: torch.Generator, phase: Phase) -> Draw:
        self.pool.refill(phase.batch)
        rows = torch.randint(len(self.pool), (phase.batch,), generator=generator, device=generator.device)
        pictures, classes = draw_batch(self.pool["images"][rows], self.pool["label_maps"][rows], generator)
        return {"pictures": pictures, "classes": classes}

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        with autocast(self.config.device):
            logits = self.parser(draw["pictures"])
        logits = logits.to(torch.float32, memory_format=torch.contiguous_format)
        return {"loss": loss_of_logits(logits, draw["classes"], self.weight)}

    def export(self, folder: Path) -> None:
        """Write a folder that `load_parser` reads, in half precision, which halves it."""
        generator = torch.Generator(self.config.device).manual_seed(self.config.seed)
        phase = replace(self.config.phase("parser"), batch=16)
        # The averaged weights' batch statistics differ from those gathered while training.
        update_bn((self.draw(generator, phase)["pictures"] for _ in range(40)), self.parser)
        calibrate_confidence(self.parser.eval())
        shutil.rmtree(folder, ignore_errors=True)
        self.parser.to("cpu", memory_format=torch.contiguous_format).half().save_pretrained(folder)
        (folder / "LICENSE.md").write_text(LICENSE_NOTE)
