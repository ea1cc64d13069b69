"""Captions of faces by a model that transformers knows: BLIP-2, BLIP, GIT and others that take a picture alone."""

import os
from collections.abc import Callable

import numpy as np
from PIL import Image

# The best first; of these the first that is on the disk is taken where none is named.
CAPTIONERS = (
    "Salesforce/blip2-opt-2.7b",
    "Salesforce/blip2-flan-t5-xl",
    "Salesforce/blip-image-captioning-large",
    "Salesforce/blip-image-captioning-base",
    "microsoft/git-large-coco",
)
MAX_TOKENS = 40

Captioner = Callable[[np.ndarray], str]  # (H, W, 3) uint8 RGB -> one line


def captioner_here() -> str | None:
    """One of CAPTIONERS that is in the Hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
    return next((name for name in CAPTIONERS for file in files if _is_file(try_to_load_from_cache(name, file))), None)


def load_captioner(name_or_path: str | os.PathLike, *, device: str = "cpu") -> Captioner:
    """Always the likeliest words, so that a picture has the same caption every time.

    ValueError where it cannot be loaded, or is no model that tells of pictures.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(name_or_path)
        model = AutoModelForImageTextToText.from_pretrained(name_or_path, dtype="auto").eval().to(device)
    except Exception as error:  # the Hub, the disk and configs fail in ways beyond listing
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name_or_path} cannot caption: {reason} Name a captioning model, such as {CAPTIONERS[0]}."
        ) from error

    def caption(picture: np.ndarray) -> str:
        inputs = processor(images=Image.fromarray(picture), return_tensors="pt").to(device, model.dtype)
        with torch.no_grad():
            tokens = model.generate(**inputs, do_sample=False, max_new_tokens=MAX_TOKENS)
        (text,) = processor.batch_decode(tokens, skip_special_tokens=True)
        return " ".join(text.split())

    return caption


def _is_file(found: object) -> bool:
    """A path, and not None or the mark of a file that is known to be missing."""
    return isinstance(found, str)
