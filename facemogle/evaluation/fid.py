"""FID and KID as clean-fid 0.1.35 computes them in its mode "clean", with which the paper's were made."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemogle.evaluation.distances import frechet_distance, kernel_distance
from facemogle.evaluation.metric import Metric, Network, NetworkFile
from facemogle.evaluation.networks import read_torchscript
from facemogle.evaluation.pictures import clean_299
from facemogle.evaluation.studies import set_distance

_FILE = NetworkFile(
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    size=95_607_719,
    sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
)


def load_inception(paths: Sequence[Path], device: str, *, sha256: str = _FILE.sha256) -> Callable[[Tensor], Tensor]:
    """(B, 3, 299, 299) in 0..255 -> (B, 2048)."""
    layers = read_torchscript(paths[0], sha256, device).layers

    def features(pictures: Tensor) -> Tensor:
        return torch.flatten(layers((pictures - 128) / 128), 1)

    return features


INCEPTION = Network(
    name="inception",
    files=(_FILE,),
    preprocess=clean_299,
    load=load_inception,
    licence="Apache-2.0, of the weights of 2015",
    batch=50,
)


def thousandfold_kid(made: np.ndarray, real: np.ndarray) -> float:
    """x 1000, as the paper gives it."""
    return 1000 * kernel_distance(made, real)[0]


FID = Metric("fid", "FID", "lower", frozenset({"real"}), (INCEPTION,), set_distance(INCEPTION, frechet_distance))
KID = Metric("kid", "KID x 1000", "lower", frozenset({"real"}), (INCEPTION,), set_distance(INCEPTION, thousandfold_kid))
