"""The linear latent code that the VAE's encoder computes: principal components of 8x8 patches, on any device.

B pictures, S their size in pixels, N tokens of 16x16 pixels, C = 4 c channels of a token.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facemogle.labels import NUM_CLASSES, PALETTE
from facemogle.pipeline import tokens_of
from train.mini.config import MiniConfig

PATCH = 8
TOKEN = 2 * PATCH  # latents are packed 2x2


def to_tensor(pictures: np.ndarray | Tensor) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) in -1..1."""
    return torch.as_tensor(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def mixed_pictures(images: Tensor, label_maps: Tensor, class_ids: Tensor, portraits: int) -> Tensor:
    """What the VAE must code: the first `portraits` of the images, and of the others in equal parts the palette map and
    the mask of one class. (B, S, S, 3) uint8, (B, S, S), (B,) -> (B, S, S, 3) uint8."""
    middle = portraits + (len(images) - portraits + 1) // 2
    palette = palette_on(images.device)[label_maps[portraits:middle].long()]
    white = (label_maps[middle:] == class_ids[middle:, None, None])[..., None].expand(-1, -1, -1, 3)
    return torch.cat([images[:portraits], palette, white.to(torch.uint8) * 255])


def unpack(tokens: Tensor) -> Tensor:
    """(B, N, 4c) of square pictures -> (B, c, 2h, 2w)."""
    side = round(tokens.shape[1] ** 0.5)
    return F.pixel_shuffle(tokens.mT.unflatten(2, (side, side)), 2)


@dataclass(frozen=True)
class LatentCode:
    """z = (patch - mean) @ encode; patch = z @ decode + mean. Patches are flattened 3x8x8 blocks."""

    mean: Tensor  # (192,)
    encode: Tensor  # (192, c)
    decode: Tensor  # (c, 192)

    def to(self, device: torch.device | str) -> "LatentCode":
        return LatentCode(*(tensor.to(device) for tensor in (self.mean, self.encode, self.decode)))

    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in -1..1 -> (B, c, H/8, W/8)."""
        patches = F.pixel_unshuffle(pictures, PATCH).movedim(1, -1)
        return ((patches - self.mean) @ self.encode).movedim(-1, 1)

    def tokens(self, pictures: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, N, C); the latent code needs no scale and shift."""
        return tokens_of(self(to_tensor(pictures)))

    @cached_property
    def _tables(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The code is affine: what a pixel of a class adds to a patch's code, in the class's colour (19 * 64, c) and
        white on black (64, c); and the codes of a patch of value 0, which is grey, and of a black one (c,)."""
        by_colour = self.encode.reshape(3, PATCH**2, -1)
        palette = palette_on(self.mean.device).float() / 127.5 - 1
        coloured = torch.einsum("kr,rpc->kpc", palette, by_colour).flatten(0, 1)
        return coloured, 2 * by_colour.sum(0), -self.mean @ self.encode, (-1 - self.mean) @ self.encode

    @property
    def black_token(self) -> Tensor:
        """(C,): every token of a black picture."""
        return self._tables[-1].repeat_interleave(4)

    def condition(self, label_maps: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, S) class ids -> the tokens of the map in colours and of every class's mask (B, 20, N, C), and how much
        of each token each class covers (B, N, 19)."""
        coloured, white, grey, black = self._tables
        one_hot = pixels_by_patch(label_maps)[:, :, :, None] == classes(label_maps.device)[:, None]
        one_hot = one_hot.to(white.dtype)  # (B, N, 4, 19, 64)
        whole = one_hot.flatten(3) @ coloured + grey
        codes = torch.cat([whole[:, :, :, None], one_hot @ white + black], dim=3)  # (B, N, 4, 20, c)
        return codes.permute(0, 3, 1, 4, 2).flatten(3), one_hot.sum((2, 4)) / TOKEN**2


def pixels_by_patch(label_maps: Tensor) -> Tensor:
    """(B, S, S) -> (B, N, 4, 64): the pixels of each token's patches."""
    count, side = len(label_maps), label_maps.shape[1] // TOKEN
    pixels = label_maps.view(count, side, 2, PATCH, side, 2, PATCH).permute(0, 1, 4, 2, 5, 3, 6)
    return pixels.reshape(count, side**2, 4, PATCH**2)


def class_shares(label_maps: Tensor) -> Tensor:
    """(B, S, S) class ids -> (B, N, 19), how much of each token each class covers."""
    pixels = pixels_by_patch(label_maps).flatten(2)[:, :, None]
    return (pixels == classes(label_maps.device)[:, None]).sum(-1, dtype=torch.float32) / TOKEN**2


@cache  # a copy to the device would be waited for in every step
def palette_on(device: torch.device) -> Tensor:
    return torch.from_numpy(PALETTE).to(device)


def classes(device: torch.device) -> Tensor:
    return torch.arange(NUM_CLASSES, dtype=torch.uint8, device=device)


def fit_latent_code(images: Tensor, label_maps: Tensor, config: MiniConfig) -> LatentCode:
    """Principal components over portraits, palette maps and masks, centred and scaled on portraits.

    Channels keep part of their differences in variance, so that coarse structure stays louder than detail.
    """
    faces = round(0.7 * len(images))
    class_ids = torch.arange(len(images)) % NUM_CLASSES
    pictures = to_tensor(mixed_pictures(images.cpu(), label_maps.cpu(), class_ids, faces))
    patches = F.pixel_unshuffle(pictures, PATCH).movedim(1, -1)
    of_faces = patches[:faces].flatten(0, 2).double()
    mean = of_faces.mean(0)
    everything = patches.flatten(0, 2).double() - mean
    _, vectors = torch.linalg.eigh(everything.T @ everything / len(everything))
    components = vectors[:, -config.latent_channels :].flip(1)
    spread = ((of_faces - mean) @ components).std(0)
    scale = spread**-config.equalise_variance
    scale = scale / (spread * scale).square().mean().sqrt()
    return LatentCode(mean.float(), (components * scale).float(), (components / scale).T.float())


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in -1..1."""
    return float(10 * torch.log10(4 / (a - b).square().mean()))
