"""The Frechet distance in DINOv2's features, which see faces better than Inception's (arXiv 2305.20048).

As dgm-eval computes it (arXiv 2306.04675).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

from facemogle.evaluation.distances import frechet_distance
from facemogle.evaluation.metric import Metric, Network, NetworkFile
from facemogle.evaluation.networks import read_weights, resized_positions, transformers_model
from facemogle.evaluation.pictures import dinov2_224
from facemogle.evaluation.studies import set_distance
from facemogle.weight_files import read_json

_SIDE = 224


def load_dinov2(paths: Sequence[Path], device: str) -> Callable[[Tensor], Tensor]:
    """(B, 3, 224, 224) -> (B, 1024): the class token after the last norm."""
    config = Dinov2Config.from_dict(read_json(paths[1]) | {"image_size": _SIDE})
    weights = read_weights(paths[0])
    place = "embeddings.position_embeddings"
    if place in weights:
        weights[place] = resized_positions(weights[place], _SIDE // config.patch_size)
    network = transformers_model(Dinov2Model, config, weights, paths[0]).to(device)
    return lambda pictures: network(pictures).last_hidden_state[:, 0]


DINOV2 = Network(
    name="dinov2-large",
    files=(
        NetworkFile("facebook/dinov2-large/model.safetensors", size=1_217_000_000),
        NetworkFile("facebook/dinov2-large/config.json", size=1_000),
    ),
    preprocess=dinov2_224,
    load=load_dinov2,
    licence="Apache-2.0",
)


FD_DINOV2 = Metric(
    "fd_dinov2", "FD-DINOv2", "lower", frozenset({"real"}), (DINOV2,), set_distance(DINOV2, frechet_distance)
)
