"""Condition tokens of whole batches: the masks that a batch really has, encoded together.

B label maps, H, W pixels, E = 20 experts (the global one, then the 19 classes), N image tokens, C channels.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from facemogle.labels import NUM_CLASSES, PALETTE
from facemogle.pipeline import FaceMoGLEPipeline
from train.upload import upload

CHUNK_ON_GPU = 16  # masks encoded at a time


@torch.no_grad()
def condition_tokens(
    label_maps: Tensor | np.ndarray,
    pipeline: FaceMoGLEPipeline,
    *,
    black_tokens: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """(B, H, W) uint8 class ids at the image's size -> (B, E, N, C) on the pipeline's device, in its VAE's dtype.

    As `FaceMoGLEPipeline.encode_label_map` of each: of every sample, only the global mask and the masks of its classes
    are encoded, `chunk` at a time. The others are black: `black_tokens` (N, C), made here unless given. With label maps
    in the CPU's memory nothing waits for the device.
    """
    label_maps = torch.as_tensor(label_maps)
    if label_maps.ndim != 3 or label_maps.dtype != torch.uint8 or label_maps.max() >= NUM_CLASSES:
        raise ValueError(
            f"label_maps must be (B, H, W) uint8 class ids below {NUM_CLASSES}, got {label_maps.dtype} of shape "
            f"{tuple(label_maps.shape)} up to {label_maps.max()}."
        )
    if black_tokens is None:
        black_tokens = encode_black(pipeline, *label_maps.shape[1:])
    device = black_tokens.device
    chunk = chunk or (CHUNK_ON_GPU if device.type == "cuda" else 2)  # more are slower on a CPU, by half at 16
    samples, class_ids = (upload(each, device) for each in classes_present(label_maps).nonzero(as_tuple=True))
    pictures = _condition_pictures(upload(label_maps, device), samples, class_ids, chunk)
    encoded = torch.cat([_encode(picture, pipeline) for picture in pictures])
    tokens = black_tokens.repeat(len(label_maps), NUM_CLASSES + 1, 1, 1)
    tokens[:, 0], tokens[samples, 1 + class_ids] = encoded.split([len(label_maps), len(samples)])
    return tokens


@torch.no_grad()
def encode_black(pipeline: FaceMoGLEPipeline, height: int, width: int) -> Tensor:
    """(N, C) tokens of a black mask: what an absent class, a dropped mask and no label map look like."""
    return _encode(torch.zeros(1, 3, height, width, device=pipeline._execution_device), pipeline)[0]


def classes_present(label_maps: Tensor) -> Tensor:
    """(B, H, W) class ids -> (B, 19) booleans."""
    rows = label_maps.flatten(1).int() + NUM_CLASSES * torch.arange(len(label_maps))[:, None].to(label_maps.device)
    return torch.bincount(rows.flatten(), minlength=len(label_maps) * NUM_CLASSES).view(-1, NUM_CLASSES) > 0


def _condition_pictures(label_maps: Tensor, samples: Tensor, class_ids: Tensor, chunk: int) -> Iterator[Tensor]:
    """(up to `chunk`, 3, H, W) in 0..1: every map in colours, then the mask of each class in each sample."""
    palette = upload(torch.from_numpy(PALETTE), label_maps.device)
    for maps in label_maps.split(chunk):
        yield palette[maps.long()].movedim(3, 1).float() / 255
    for rows, classes in zip(samples.split(chunk), class_ids.split(chunk), strict=True):
        yield (label_maps[rows] == classes[:, None, None])[:, None].expand(-1, 3, -1, -1).float()


def _encode(pictures: Tensor, pipeline: FaceMoGLEPipeline) -> Tensor:
    """(B, 3, H, W) in 0..1 -> (B, N, C), the posterior's mode: `encode_images`, but all at once."""
    # In the layout of pictures, channels last, torch's group norm on CPU is a thousand times less exact.
    pixels = pictures.to(pipeline.vae.dtype).contiguous() * 2 - 1
    return pipeline.pack_latents(pipeline.vae.encode(pixels).latent_dist.mode())
