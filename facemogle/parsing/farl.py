"""FaRL (arXiv 2112.03109), trained on CelebAMask-HQ, through the package facer."""

from pathlib import Path

import torch

from facemogle.labels import PARSER_NAMES
from facemogle.parsing.published import PublishedParser

SIZE = 448


def farl_parser(file: Path, device: torch.device | str = "cpu") -> PublishedParser:
    """The published TorchScript file, which takes RGB in 0..1 and gives logits beside an output for training.

    ImportError without facer; RuntimeError where the file is no TorchScript.
    """
    import facer

    parser = facer.face_parser("farl/celebm/448", device=device, model_path=str(file))
    # facer's own call turns a detector's five points into FFHQ's quad, warps that to 448 x 448, applies `net` and warps
    # the logits back. Our crops are that quad already: for the points of such a crop the quad is the whole picture, and
    # both warps are plain bilinear resizing. So `net` alone does the same, without the detector, and without the errors
    # of that call where no face is found or the picture is black.
    return PublishedParser(lambda pictures: parser.net(pictures)[0], PARSER_NAMES["farl"], size=SIZE, device=device)
