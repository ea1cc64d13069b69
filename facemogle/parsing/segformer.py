"""SegFormer (arXiv 2105.15203) through transformers; its config names the classes, in the order of its logits."""

from typing import TYPE_CHECKING

import torch

from facemogle.parsing.published import IMAGENET_MEAN, IMAGENET_STD, PublishedParser

if TYPE_CHECKING:
    from transformers import SegformerForSemanticSegmentation

SIZE = 512


def segformer_parser(
    network: "SegformerForSemanticSegmentation", device: torch.device | str = "cpu"
) -> PublishedParser:
    """A network whose config names our 19 classes, in any order. ValueError where it names others."""
    labels = network.config.id2label
    network = network.eval().to(device)
    return PublishedParser(
        lambda pictures: network(pixel_values=pictures).logits,
        [labels[index] for index in sorted(labels)],
        size=SIZE,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        device=device,
    )
