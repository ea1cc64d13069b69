"""The paper's Mask: how alike two pictures are built, by the self-similarity of DINO's keys (Splice, arXiv 2201.00424).

A pair's distance is the mean squared difference of two matrices: the cosines of all pairs of image tokens' keys in
the last layer of ViT-B/8. The published code departs from it in two ways, and its table can only be compared with what
it computes: pictures go in as raw 0..1 at 512 pixels, and distances are summed over each batch of 64 and then averaged
over batches. So there are two metrics, as published and as meant (224 pixels, normalised, mean over pictures).
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import ViTConfig, ViTModel

from facemogle.evaluation.metric import Features, Measured, Metric, Network, NetworkFile, Picture, Study
from facemogle.evaluation.networks import read_weights, resized_positions, transformers_model
from facemogle.evaluation.pictures import dino_224, raw_512
from facemogle.evaluation.studies import mean_of

PUBLISHED_BATCH = 64

# Names of the published weights -> transformers' names, of which the three in one matrix (qkv) are apart.
_NAMES = {
    r"^cls_token": "embeddings.cls_token",
    r"^pos_embed": "embeddings.position_embeddings",
    r"^patch_embed\.proj": "embeddings.patch_embeddings.projection",
    r"^norm\.": "layernorm.",
    r"^blocks\.": "encoder.layer.",
    r"\.norm1": ".layernorm_before",
    r"\.norm2": ".layernorm_after",
    r"\.attn\.proj": ".attention.output.dense",
    r"\.mlp\.fc1": ".intermediate.dense",
    r"\.mlp\.fc2": ".output.dense",
}


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in weights.items():
        for pattern, ours in _NAMES.items():
            name = re.sub(pattern, ours, name)
        if ".attn.qkv." in name:
            for part, chunk in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = chunk
        else:
            found[name] = tensor
    return found


def load_dino(paths: Sequence[Path], device: str, *, side: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Two (B, 3, side, side) -> (B,) structure distances. The sizes are the weights' own, with 64 channels a head."""
    weights = renamed(read_weights(paths[0]))
    patches = weights["embeddings.patch_embeddings.projection.weight"]
    positions = "embeddings.position_embeddings"
    weights[positions] = resized_positions(weights[positions], side // patches.shape[-1])
    config = ViTConfig(
        hidden_size=len(patches),
        intermediate_size=len(weights["encoder.layer.0.intermediate.dense.weight"]),
        num_hidden_layers=sum(name.endswith(".layernorm_before.weight") for name in weights),
        num_attention_heads=max(1, len(patches) // 64),
        image_size=side,
        patch_size=patches.shape[-1],
        layer_norm_eps=1e-6,
    )
    network = transformers_model(ViTModel, config, weights, paths[0], pooler=False).to(device)
    last = [module for name, module in network.named_modules() if name.endswith((".k_proj", ".key"))][-1]
    seen: list[Tensor] = []
    last.register_forward_hook(lambda module, arguments, keys: seen.append(keys))

    def self_similarity(pictures: Tensor) -> Tensor:
        network(pictures)
        keys = seen.pop()  # (B, N, C), N with the class token
        lengths = keys.norm(dim=2, keepdim=True)
        return keys @ keys.mT / (lengths @ lengths.mT).clamp(min=1e-8)

    def distance(results: Tensor, reals: Tensor) -> Tensor:
        return torch.mean((self_similarity(results) - self_similarity(reals)) ** 2, dim=(1, 2))

    return distance


_FILES = (
    NetworkFile(
        "https://dl.fbaipublicfiles.com/dino/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth", size=343_000_000
    ),
)
DINO_RAW = Network(
    name="dino-vitb8 as published",
    files=_FILES,
    preprocess=raw_512,
    load=partial(load_dino, side=512),
    licence="Apache-2.0",
    batch=1,
)
DINO = Network(
    name="dino-vitb8 as meant",
    files=_FILES,
    preprocess=dino_224,
    load=partial(load_dino, side=224),
    licence="Apache-2.0",
)


def measure_mask(study: Study, features: Features) -> Measured:
    """The sum over all pictures per batch of 64, of which the last may be smaller."""
    _, distances = _distances(DINO_RAW, study, features)
    batches = math.ceil(len(distances) / PUBLISHED_BATCH)
    mean = distances.mean(dtype=float)
    note = f"sums over batches of {PUBLISHED_BATCH}, as published; {mean:.4f} for each picture"
    return Measured(float(mean * len(distances) / batches), note=note)


def measure_structure(study: Study, features: Features) -> Measured:
    pictures, distances = _distances(DINO, study, features)
    return mean_of(pictures, distances)


def _distances(network: Network, study: Study, features: Features) -> tuple[list[Picture], np.ndarray]:
    pictures = [picture for picture in study.pictures if picture.real is not None]
    if not pictures:
        raise ValueError("No picture has a real counterpart of its name.")
    return pictures, features(network, [(picture.path, picture.real) for picture in pictures if picture.real])


MASK = Metric("mask", "Mask, as published", "lower", frozenset({"real"}), (DINO_RAW,), measure_mask)
STRUCTURE = Metric("structure", "Structure distance", "lower", frozenset({"real"}), (DINO,), measure_structure)
