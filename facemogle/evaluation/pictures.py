"""How published networks take in a picture's file: each as its authors' code does, to the last bit where it can be.

None turns a picture by its EXIF orientation, since none of that code does. H, W: pixels.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from facemogle.data.pairs import read_image
from facemogle.picture_formats import open_picture

IMAGENET = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_BICUBIC = InterpolationMode.BICUBIC
_CLIP_224 = Compose([Resize(224, _BICUBIC), CenterCrop(224), ToTensor(), CLIP])
_DINOV2_224 = Compose([Resize((224, 224), _BICUBIC), ToTensor(), IMAGENET])
_DINO_224 = Compose([Resize((224, 224)), ToTensor(), IMAGENET])
_NPR_256 = Compose([Resize((256, 256)), ToTensor(), IMAGENET])


def read_rgb(path: Path) -> Image.Image:
    """As Pillow's `convert` makes it, which those codes call; but grey of 16 bits is scaled, not cut off at white."""
    with open_picture(path) as picture:
        return read_image(path) if picture.mode.startswith("I") else picture.convert("RGB")


def clean_299(path: Path) -> Tensor:
    """(3, 299, 299) in 0..255, of clean-fid: Pillow's bicubic on each channel in float, and not rounded."""
    channels = np.asarray(read_rgb(path), np.float32).transpose(2, 0, 1)
    resized = [
        np.asarray(Image.fromarray(np.ascontiguousarray(channel)).resize((299, 299), Image.Resampling.BICUBIC))
        for channel in channels
    ]
    return torch.from_numpy(np.stack(resized).clip(0, 255))


def clip_224(path: Path) -> Tensor:
    """Of OpenAI's CLIP, and of ImageReward: the middle square, bicubic."""
    return _CLIP_224(read_rgb(path))


def cmmd_336(path: Path) -> Tensor:
    """Of CMMD: the middle square is cut out before it is resized, bicubic."""
    picture = read_rgb(path)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((336, 336), Image.Resampling.BICUBIC)
    return CLIP(torch.from_numpy(np.asarray(square, np.float32) / 255).permute(2, 0, 1))


def dinov2_224(path: Path) -> Tensor:
    """Of dgm-eval's DINOv2: all of the picture, bicubic."""
    return _DINOV2_224(read_rgb(path))


def dino_224(path: Path) -> Tensor:
    """Of the structure distance as it was meant: 224 pixels, bilinear, normalised."""
    return _DINO_224(read_rgb(path))


def raw_512(path: Path) -> Tensor:
    """Of the structure distance as it was published: 512 pixels (if others, by bicubic), 0..1 and not normalised."""
    picture = read_rgb(path)
    if picture.size != (512, 512):
        picture = picture.resize((512, 512), Image.Resampling.BICUBIC)
    return ToTensor()(picture)


def npr_256(path: Path) -> Tensor:
    """Of NPR: 256 pixels, bilinear."""
    return _NPR_256(read_rgb(path))


def wavelet_224(path: Path) -> Tensor:
    """Of DeepfakeBench, and so of Wavelet-CLIP: OpenCV's bicubic, which does not smooth what it makes smaller."""
    pixels = cv2.resize(np.array(read_rgb(path)), (224, 224), interpolation=cv2.INTER_CUBIC)
    return HALF(ToTensor()(pixels))


def lpips_256(path: Path) -> Tensor:
    """-1..1 as LPIPS takes it, at 256 pixels, bicubic, where faces of any size can be compared."""
    picture = read_rgb(path).resize((256, 256), Image.Resampling.BICUBIC)
    return ToTensor()(picture) * 2 - 1


def bgr_512(path: Path) -> Tensor:
    """(3, 512, 512) in 0..255, blue first, as OpenCV's networks look for faces in."""
    picture = read_rgb(path)
    if picture.size != (512, 512):
        picture = picture.resize((512, 512), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)[:, :, ::-1].copy()).permute(2, 0, 1)
