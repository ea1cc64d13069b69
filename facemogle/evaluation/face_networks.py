"""Networks of OpenCV's model zoo that look at the face of a picture: whose it is, and how good a picture of it this is.

The largest face is meant, which YuNet finds; without one the features are NaN.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from facemogle.evaluation.metric import Network, NetworkFile
from facemogle.evaluation.pictures import bgr_512
from facemogle.weight_files import explained

_SIDE = 112
_MIN_SCORE = 0.5  # of a face; pictures here are known to show one
# Where the eyes, the nose and the corners of the mouth lie in the crop that both networks were trained on (ArcFace).
_LANDMARKS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.729904, 92.2041]], np.float32
)


def load_sface(paths: Sequence[Path], device: str) -> Callable[[Tensor], Tensor]:
    """(B, 3, 512, 512) in 0..255, blue first -> (B, 128) of length 1: the dot product of two is their likeness."""
    detector_file, recogniser_file = paths
    detect = _detector(detector_file)
    with explained(recogniser_file):
        network = cv2.dnn.readNetFromONNX(str(recogniser_file))
        aligner = cv2.FaceRecognizerSF.create(str(recogniser_file), "")

    def identity(picture: np.ndarray) -> np.ndarray:
        face = detect(picture)
        if face is None:
            return np.full(128, np.nan, np.float32)
        crop = aligner.alignCrop(picture, face)
        network.setInput(cv2.dnn.blobFromImage(crop, swapRB=True), "data")  # OpenCV 5 wants the name
        found = network.forward()[0]
        return found / np.linalg.norm(found)

    return _of_each(identity)


def load_ediffiqa(paths: Sequence[Path], device: str) -> Callable[[Tensor], Tensor]:
    """(B, 3, 512, 512) in 0..255, blue first -> (B,): the higher, the more use for recognition."""
    detector_file, quality_file = paths
    detect = _detector(detector_file)
    with explained(quality_file):
        network = cv2.dnn.readNetFromONNX(str(quality_file))

    def quality(picture: np.ndarray) -> np.ndarray:
        face = detect(picture)
        if face is None:
            return np.array(np.nan, np.float32)
        to_crop, _ = cv2.estimateAffinePartial2D(face[4:14].reshape(5, 2), _LANDMARKS, method=cv2.LMEDS)
        crop = cv2.warpAffine(picture, to_crop, (_SIDE, _SIDE))
        network.setInput(cv2.dnn.blobFromImage(crop, 1 / 127.5, mean=(127.5, 127.5, 127.5), swapRB=True))
        return network.forward().reshape(())

    return _of_each(quality)


def _detector(path: Path) -> Callable[[np.ndarray], np.ndarray | None]:
    """Picture (H, W, 3) BGR -> the largest face: its box, five landmarks and score, (15,)."""
    with explained(path):
        detector = cv2.FaceDetectorYN.create(str(path), "", (_SIDE, _SIDE), score_threshold=_MIN_SCORE)

    def detect(picture: np.ndarray) -> np.ndarray | None:
        detector.setInputSize(picture.shape[1::-1])
        _, faces = detector.detect(picture)
        return None if faces is None else max(faces, key=lambda face: face[2] * face[3])

    return detect


def _of_each(judge: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensor], Tensor]:
    def judge_all(pictures: Tensor) -> Tensor:
        arrays = pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(np.stack([judge(picture) for picture in arrays]))

    return judge_all


_ZOO = "https://media.githubusercontent.com/media/opencv/opencv_zoo"
_INT8 = "25f423d0e04c31a17254620e58febd7386da523b"
_YUNET = NetworkFile(
    f"{_ZOO}/{_INT8}/models/face_detection_yunet/face_detection_yunet_2023mar_int8bq.onnx",
    size=122_489,
    sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
)
SFACE = Network(
    name="sface",
    files=(
        _YUNET,
        NetworkFile(
            f"{_ZOO}/{_INT8}/models/face_recognition_sface/face_recognition_sface_2021dec_int8bq.onnx",
            size=10_667_852,
            sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        ),
    ),
    preprocess=bgr_512,
    load=load_sface,
    licence="Apache-2.0; MIT for YuNet",
)
EDIFFIQA = Network(
    name="ediffiqa-tiny",
    files=(
        _YUNET,
        NetworkFile(
            f"{_ZOO}/85e6d8ff851728d5198efb892f1fdb0c7847d07f/models/face_image_quality_assessment_ediffiqa/"
            "ediffiqa_tiny_jun2024.onnx",
            size=7_272_678,
            sha256="9426c899cc0f01665240cb7d9e7f98e18e24e456c178326c771a43da289bfc6a",
        ),
    ),
    preprocess=bgr_512,
    load=load_ediffiqa,
    licence="CC-BY-4.0; MIT for YuNet",
)
