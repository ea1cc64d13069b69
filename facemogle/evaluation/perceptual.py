"""LPIPS 0.1 with AlexNet (arXiv 1801.03924): how different two pictures look. For the diversity over seeds."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import alexnet

from facemogle.evaluation.metric import Network, NetworkFile
from facemogle.evaluation.networks import fill, read_weights
from facemogle.evaluation.pictures import lpips_256
from facemogle.weight_files import explained

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_LAYERS = (1, 4, 7, 9, 11)  # AlexNet's five ReLUs


def load_lpips(paths: Sequence[Path], device: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Two (B, 3, H, W) in -1..1 -> (B,)."""
    alexnet_file, heads_file = paths
    weights = read_weights(alexnet_file)
    with torch.device("meta"):
        backbone = alexnet(weights=None).features
    trunk = {name.removeprefix("features."): tensor for name, tensor in weights.items() if "features." in name}
    fill(backbone, trunk, alexnet_file).to(device)
    heads = read_weights(heads_file)
    with explained(heads_file):
        scales = [heads[f"lin{layer}.model.1.weight"].to(device) for layer in range(len(_LAYERS))]
    shift, scale = (torch.tensor(value, device=device)[:, None, None] for value in (_SHIFT, _SCALE))

    def seen(pictures: Tensor) -> list[Tensor]:
        """Each layer's (B, C, h, w), of length 1 at every place."""
        features, found = (pictures - shift) / scale, []
        for index, layer in enumerate(backbone[: _LAYERS[-1] + 1]):
            features = layer(features)
            if index in _LAYERS:
                found.append(features / (features.norm(dim=1, keepdim=True) + 1e-10))
        return found

    def distance(first: Tensor, second: Tensor) -> Tensor:
        pairs = zip(seen(first), seen(second), scales, strict=True)
        return torch.stack([((a - b) ** 2 * scale).sum(1).mean((1, 2)) for a, b, scale in pairs]).sum(0)

    return distance


LPIPS = Network(
    name="lpips-alex",
    files=(
        NetworkFile(
            "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", size=244_000_000, sha256="7be5be79"
        ),
        NetworkFile(
            "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/alex.pth",
            size=6_009,
            sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        ),
    ),
    preprocess=lpips_256,
    load=load_lpips,
    licence="BSD",
)
