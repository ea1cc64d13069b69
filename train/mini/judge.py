"""A small segmentation network that reads label maps back from portraits: the judge of what `mini` draws."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemogle.labels import NUM_CLASSES, mirror
from train.mini.config import MiniConfig
from train.mini.latent_code import to_tensor
from train.mini.loop import fit
from train.mini.samples import Samples
from train.mini.vae import autocast

WIDTHS = (16, 32, 64, 96)


def convolutions(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Judge(nn.Module):
    """A U-Net of four resolutions; (B, 3, H, W) in -1..1 -> class logits (B, 19, H, W)."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(convolutions(i, o) for i, o in zip((3, *WIDTHS), WIDTHS, strict=False))
        self.up = nn.ModuleList(
            convolutions(coarse + fine, fine) for coarse, fine in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(WIDTHS[0], NUM_CLASSES, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        features, skips = pictures, []
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else F.max_pool2d(features, 2))
            skips.append(features)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            features = block(torch.cat([F.interpolate(features, scale_factor=2.0), skip], dim=1))
        return self.head(features)


def blur(pictures: Tensor, amount: float) -> Tensor:
    """Mix with a 3x3 binomial blur: the VAE's pictures are a little softer than the renderer's."""
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    return torch.lerp(pictures, F.conv2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), kernel, groups=3), amount)


def train_judge(samples: Samples, config: MiniConfig) -> None:
    judge = build(config)
    if config.compile:
        judge.compile()
    weight = class_weights(samples.label_maps).to(config.device)

    def loss_of(generator: torch.Generator, step: int) -> Tensor:
        rows = torch.randint(len(samples), (config.judge_batch,), generator=generator).numpy()
        flip, softness, noise = torch.rand(3, generator=generator).tolist()
        pictures, label_maps = samples.images[rows], samples.label_maps[rows]
        if flip < 0.5:
            pictures, label_maps = pictures[:, :, ::-1].copy(), mirror(label_maps).copy()
        degraded = blur(to_tensor(pictures), softness)
        degraded = degraded + 0.08 * noise * torch.randn(degraded.shape, generator=generator)
        with autocast(config.device):
            logits = judge(degraded.to(config.device))
        target = torch.from_numpy(label_maps).long().to(config.device)
        return F.cross_entropy(logits.float(), target, weight=weight)

    fit(
        config.folder / "judge",
        {"judge": judge},
        loss_of,
        steps=config.judge_steps,
        learning_rate=config.judge_learning_rate,
        seed=config.seed + 5,
        settings=config.settings_of("judge"),
        checkpoint_seconds=config.checkpoint_seconds,
    )
    calibrate(judge, samples)
    torch.save(judge.state_dict(), config.folder / "judge" / "weights.pt")


def class_weights(label_maps: np.ndarray) -> Tensor:
    """Rare classes count more: the inverse fourth root of their share in the first portraits."""
    counts = np.bincount(label_maps[:500].ravel(), minlength=NUM_CLASSES).clip(1)
    weights = (counts / counts.sum()) ** -0.25
    return torch.from_numpy(weights / weights.mean()).float()


@torch.no_grad()
def calibrate(judge: Judge, samples: Samples, *, batches: int = 30, batch: int = 48) -> None:
    """Batch statistics for the averaged weights, which differ from those gathered while training."""
    for module in judge.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain average
    judge.train()
    for start in range(0, batches * batch, batch):
        judge(blur(to_tensor(samples.images[start : start + batch]), 0.5).to(judge.head.weight.device))
    judge.eval()


def build(config: MiniConfig) -> Judge:
    with torch.random.fork_rng():
        torch.manual_seed(config.seed + 5)
        return Judge().to(config.device)


def load_judge(config: MiniConfig) -> Judge:
    judge = build(config)
    judge.load_state_dict(torch.load(config.folder / "judge" / "weights.pt", weights_only=True))
    return judge.eval().requires_grad_(False)


def read_label_maps(judge: Judge, pictures: np.ndarray, *, batch: int = 50) -> np.ndarray:
    """(N, S, S, 3) uint8 portraits -> (N, S, S) uint8 class ids."""
    device = judge.head.weight.device
    starts = range(0, len(pictures), batch)
    parts = [judge(to_tensor(pictures[start : start + batch]).to(device)).argmax(1) for start in starts]
    return torch.cat(parts).byte().cpu().numpy()
