"""The linear latent code that the VAE starts from: principal components of 8x8 patches."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facemogle import labels
from train.mini.config import MiniConfig
from train.mini.samples import Samples

PATCH = 8


def to_tensor(pictures: np.ndarray) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) in -1..1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def binary_masks(label_maps: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """(B, S, S) and one class per map (B,) -> (B, S, S, 3) uint8, white where the map has the class."""
    mask = (label_maps == class_ids[:, None, None]).astype(np.uint8) * 255
    return np.repeat(mask[..., None], 3, axis=-1)


def mixed_pictures(samples: Samples, count: int, generator: torch.Generator, *, portraits: float) -> Tensor:
    """A batch of what the VAE must code: portraits, and in equal parts palette maps and binary masks."""
    rows = torch.randint(len(samples), (count,), generator=generator).numpy()
    of_portraits = round(count * portraits)
    of_palette = (count - of_portraits + 1) // 2
    pictures = samples.images[rows]
    palette = slice(of_portraits, of_portraits + of_palette)
    binary = slice(of_portraits + of_palette, count)
    pictures[palette] = labels.to_colours(samples.label_maps[rows[palette]])
    class_ids = torch.randint(labels.NUM_CLASSES, (count,), generator=generator).numpy()
    pictures[binary] = binary_masks(samples.label_maps[rows[binary]], class_ids[binary])
    return to_tensor(pictures)


@dataclass(frozen=True)
class LatentCode:
    """z = (patch - mean) @ encode; patch = z @ decode + mean. Patches are flattened 3x8x8 blocks."""

    mean: Tensor  # (192,)
    encode: Tensor  # (192, 16)
    decode: Tensor  # (16, 192)

    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in -1..1 -> (B, 16, H/8, W/8)."""
        patches = torch.nn.functional.pixel_unshuffle(pictures, PATCH).movedim(1, -1)
        return ((patches - self.mean) @ self.encode).movedim(-1, 1)

    def local_masks(self, label_maps: np.ndarray) -> Tensor:
        """(B, H, W) class ids -> codes (B, 19, 16, H/8, W/8) of every class's black-and-white mask.

        The code is affine and a mask is grey: each white pixel adds its row of `encode`, summed over the colours.
        """
        rows = 2 * self.encode.reshape(3, PATCH**2, -1).sum(0)
        black = (-1 - self.mean) @ self.encode
        one_hot = torch.from_numpy(label_maps[:, None] == np.arange(labels.NUM_CLASSES)[:, None, None]).float()
        patches = torch.nn.functional.pixel_unshuffle(one_hot.flatten(0, 1)[:, None], PATCH).movedim(1, -1)
        return (patches @ rows + black).movedim(-1, 1).unflatten(0, (len(label_maps), -1))

    def inverse(self, latents: Tensor) -> Tensor:
        """(B, 16, h, w) -> (B, 3, 8h, 8w)."""
        return torch.nn.functional.pixel_shuffle(
            (latents.movedim(1, -1) @ self.decode + self.mean).movedim(-1, 1), PATCH
        )


def fit_latent_code(samples: Samples, config: MiniConfig) -> LatentCode:
    """Principal components over portraits, palette maps and masks, centred and scaled on portraits.

    Channels keep part of their differences in variance, so that coarse structure stays louder than detail.
    """
    generator = torch.Generator().manual_seed(config.seed)
    pictures = mixed_pictures(samples, 600, generator, portraits=0.7)
    faces = round(600 * 0.7)
    patches = torch.nn.functional.pixel_unshuffle(pictures, PATCH).movedim(1, -1)
    of_faces = patches[:faces].flatten(0, 2).double()
    mean = of_faces.mean(0)
    everything = patches.flatten(0, 2).double() - mean
    _, vectors = torch.linalg.eigh(everything.T @ everything / len(everything))
    components = vectors[:, -config.latent_channels :].flip(1)
    spread = ((of_faces - mean) @ components).std(0)
    scale = spread**-config.equalise_variance
    scale = scale / (spread * scale).square().mean().sqrt()
    return LatentCode(mean.float(), (components * scale).float(), (components / scale).T.float())


def encode_portraits(code: LatentCode, samples: Samples, *, batch: int = 500) -> Tensor:
    """(N, 16, h, w) float16 latents of every portrait."""
    starts = range(0, len(samples), batch)
    return torch.cat([code(to_tensor(samples.images[start : start + batch])).half() for start in starts])


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in -1..1."""
    return float(10 * torch.log10(4 / (a - b).square().mean()))
