"""CMMD (arXiv 2401.09603) as cmmd-pytorch computes it, with which the paper's was made."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPConfig, CLIPVisionModelWithProjection

from facemogle.evaluation.distances import gaussian_mmd
from facemogle.evaluation.metric import Metric, Network, NetworkFile
from facemogle.evaluation.networks import read_weights, transformers_model
from facemogle.evaluation.pictures import cmmd_336
from facemogle.evaluation.studies import set_distance
from facemogle.weight_files import read_json


def load_clip_vision(paths: Sequence[Path], device: str) -> Callable[[Tensor], Tensor]:
    """(B, 3, 336, 336) -> (B, 768), each of length 1."""
    config = CLIPConfig.from_dict(read_json(paths[1])).vision_config
    weights = {name: tensor for name, tensor in read_weights(paths[0]).items() if name.startswith("vis")}
    weights.pop("vision_model.embeddings.position_ids", None)
    if "visual_projection.weight" in weights:  # which the config of the vision part alone may not tell
        config.projection_dim = len(weights["visual_projection.weight"])
    network = transformers_model(CLIPVisionModelWithProjection, config, weights, paths[0]).to(device)
    return lambda pictures: normalize(network(pictures).image_embeds, dim=1)


CLIP_L_336 = Network(
    name="clip-vit-large-patch14-336",
    files=(
        NetworkFile("openai/clip-vit-large-patch14-336/pytorch_model.bin", size=1_710_000_000),
        NetworkFile("openai/clip-vit-large-patch14-336/config.json", size=5_000),
    ),
    preprocess=cmmd_336,
    load=load_clip_vision,
    licence="MIT, of OpenAI's code",
)


CMMD = Metric("cmmd", "CMMD", "lower", frozenset({"real"}), (CLIP_L_336,), set_distance(CLIP_L_336, gaussian_mmd))
