"""Whether published detectors of made pictures can tell the results from the real ones. Their weights are brought.

A picture's score is the probability that it is made. JPEG alone moves NPR's much.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from transformers import CLIPVisionConfig, CLIPVisionModel

from facemogle.evaluation.metric import Metric, Network, NetworkFile
from facemogle.evaluation.networks import fill, read_weights, require_package, transformers_model
from facemogle.evaluation.pictures import npr_256, wavelet_224
from facemogle.evaluation.roc import area_under_curve, average_precision, equal_error_rate
from facemogle.evaluation.studies import set_distance
from facemogle.weight_files import CheckpointError


class NPRDetector(nn.Module):
    """NPR (arXiv 2312.10461): what a pixel differs from its neighbour, into the first half of a ResNet-50."""

    def __init__(self):
        super().__init__()
        whole = ResNet(Bottleneck, [3, 4, 1, 1])  # of a ResNet-50, whose second half is not used
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1, self.relu, self.maxpool = whole.bn1, whole.relu, whole.maxpool
        self.layer1, self.layer2, self.avgpool = whole.layer1, whole.layer2, whole.avgpool
        self.fc1 = nn.Linear(512, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) of even sides -> (B,) logits."""
        coarse = pictures[..., ::2, ::2].repeat_interleave(2, -1).repeat_interleave(2, -2)
        features = self.maxpool(self.relu(self.bn1(self.conv1((pictures - coarse) * 2 / 3))))
        return self.fc1(self.avgpool(self.layer2(self.layer1(features))).flatten(1))[:, 0]


def load_npr(paths: Sequence[Path], device: str) -> Callable[[Tensor], Tensor]:
    with torch.device("meta"):
        network = NPRDetector()
    fill(network, read_weights(paths[0]), paths[0]).to(device)
    return lambda pictures: network(pictures).sigmoid()


def load_wavelet_clip(paths: Sequence[Path], device: str) -> Callable[[Tensor], Tensor]:
    """Wavelet-CLIP (arXiv 2409.18301): CLIP's ViT-L/14, whose weights are in the same file, and a small head.

    The sizes are the weights' own, with 64 channels a head.
    """
    require_package("pywt", "Wavelet-CLIP")
    weights = read_weights(paths[0])
    prefix, patch = "backbone.", "backbone.embeddings.patch_embedding.weight"
    if missing := [name for name in (patch, "slp.weight", "head.weight") if name not in weights]:
        raise CheckpointError(f"{paths[0]} holds no Wavelet-CLIP: it lacks {missing[0]}.")
    vision = {
        name.replace(prefix, "vision_model."): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix) and not name.endswith("position_ids")
    }
    width, size = len(weights[patch]), weights[patch].shape[-1]
    tokens = len(weights[f"{prefix}embeddings.position_embedding.weight"]) - 1
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=len(weights[f"{prefix}encoder.layers.0.mlp.fc1.weight"]),
        num_hidden_layers=sum(name.endswith(".layer_norm1.weight") for name in vision),
        num_attention_heads=max(1, width // 64),
        image_size=round(tokens**0.5) * size,
        patch_size=size,
    )
    network = transformers_model(CLIPVisionModel, config, vision, paths[0]).to(device)
    head = {name: weights[name].numpy() for name in ("slp.weight", "slp.bias", "head.weight", "head.bias")}

    def score(pictures: Tensor) -> Tensor:
        logits = wavelet_head(network(pictures).pooler_output.cpu().numpy(), head)
        return torch.from_numpy(logits).softmax(1)[:, 1]

    return score


def wavelet_head(features: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """(B, C) -> logits (B, 2): the lowest of four bands goes through a linear layer, the others stay as they are."""
    import pywt

    low, *high = pywt.wavedec(features, "db6", mode="zero", level=3, axis=1)
    low = low @ weights["slp.weight"].T + weights["slp.bias"]
    changed = pywt.waverec([low, *high], "db6", mode="zero", axis=1)
    return (changed @ weights["head.weight"].T + weights["head.bias"]).astype(np.float32)


NPR = Network(
    name="npr",
    files=(
        NetworkFile(
            "https://github.com/chuangchuangtan/NPR-DeepfakeDetection/blob/main/NPR.pth", size=6_000_000, by_hand=True
        ),
    ),
    preprocess=npr_256,
    load=load_npr,
    licence="none stated",
)
WAVELET_CLIP = Network(
    name="wavelet-clip",
    files=(
        NetworkFile(
            "https://github.com/lalithbharadwajbaru/Wavelet-CLIP#2-dataset--pretrained-models/clip_wavelet_best.pth",
            size=1_210_000_000,
            by_hand=True,
        ),
    ),
    preprocess=wavelet_224,
    load=load_wavelet_clip,
    licence="MIT",
)


def _metrics(network: Network, title: str) -> tuple[Metric, ...]:
    statistics = {"AUC": area_under_curve, "EER": equal_error_rate, "AP": average_precision}
    return tuple(
        Metric(
            name=f"{network.name}_{name}".replace("-", "_").lower(),
            title=f"{title} {name}",
            better="neither",
            needs=frozenset({"real"}),
            networks=(network,),
            measure=set_distance(network, statistic),
        )
        for name, statistic in statistics.items()
    )


DETECTORS = _metrics(NPR, "NPR") + _metrics(WAVELET_CLIP, "Wavelet-CLIP")
