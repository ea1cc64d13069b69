"""From one face to another: label maps by signed distances, prompts and noise by spherical interpolation.

H, W pixels; t from 0, the first face, to 1, the second.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facemogle.labels import NUM_CLASSES
from facemogle.masks import resize_nearest
from facemogle.picture_files import Settings

if TYPE_CHECKING:
    from facemogle.pipeline import FaceMoGLEPipeline


@dataclass(frozen=True, eq=False)
class Frame:
    """settings: of the nearer end, with the label map and the numbers of this frame."""

    t: float
    image: Image.Image
    settings: Settings


def morph(
    pipeline: "FaceMoGLEPipeline", first: Settings, second: Settings, frames: int = 8, **arguments: Any
) -> Iterator[Frame]:
    """Frames evenly apart, as they are made; the first and the last are those two runs, to the last bit.

    arguments: of the pipeline's runs, such as callback_on_step_end.

    ValueError where two runs have no way between them. Where the pipeline is interrupted, frames end.
    """
    check_ends(first, second)
    if frames < 2:
        raise ValueError(f"A morph has at least 2 frames, its ends, got {frames}.")
    maps = _maps(first, second, frames)
    texts = [
        pipeline.encode_prompt([one.prompt], max_sequence_length=pipeline.config.max_sequence_length)
        for one in (first, second)
    ]
    noises = [pipeline.noise(torch.Generator().manual_seed(one.seed), one.height, one.width) for one in (first, second)]
    for number, label_map in enumerate(maps):
        t = number / (frames - 1)
        settings = between(first, second, t, label_map)
        result = pipeline(
            **settings.arguments() | {"prompt": None},
            latents=slerp(noises[0], noises[1], t, dims=(1, 2)),
            prompt_embeds=slerp(texts[0][0], texts[1][0], t, dims=(2,)),
            pooled_prompt_embeds=slerp(texts[0][1], texts[1][1], t, dims=(1,)),
            **arguments,
        )
        if pipeline.interrupt:
            return
        yield Frame(t, result.images[0], settings)


def check_ends(first: Settings, second: Settings) -> None:
    """ValueError, in words, unless there is a way between two runs."""
    if first.strength is not None or second.strength is not None:
        raise ValueError("A changed photo has no noise to begin with. Choose two faces that were drawn whole.")
    for name in ("checkpoint", "height", "width"):
        if getattr(first, name) != getattr(second, name):
            raise ValueError(
                f"The two runs have another {name}: {getattr(first, name)} and {getattr(second, name)}. Make one of "
                "them again as the other."
            )
    if (first.loras or {}) != (second.loras or {}):
        raise ValueError("The two runs have other LoRAs. Make one of them again as the other.")


def between(first: Settings, second: Settings, t: float, label_map: np.ndarray | None) -> Settings:
    """The settings of a frame; at the ends those of the two runs, unchanged."""
    if t in (0, 1):
        return (first, second)[int(t)]
    names = {*(first.expert_scale or {}), *(second.expert_scale or {})}

    def blend(name: str) -> float:
        return (1 - t) * getattr(first, name) + t * getattr(second, name)

    def strength_of_map(one: Settings, other: Settings) -> float:
        """A run without a map is, on the way to one with a map, that map of no strength."""
        return 0.0 if one.label_map is None and other.label_map is not None else one.condition_scale

    scales = {
        name: (1 - t) * (first.expert_scale or {}).get(name, 1.0) + t * (second.expert_scale or {}).get(name, 1.0)
        for name in sorted(names)
    }
    return replace(
        first if t < 0.5 else second,
        label_map=label_map,
        num_inference_steps=round(blend("num_inference_steps")),
        guidance_scale=blend("guidance_scale"),
        condition_scale=(1 - t) * strength_of_map(first, second) + t * strength_of_map(second, first),
        expert_scale=scales or None,
    )


def _maps(first: Settings, second: Settings, frames: int) -> Sequence[np.ndarray | None]:
    given = [one.label_map for one in (first, second) if one.label_map is not None]
    return label_maps_between(given[0], given[-1], frames) if given else [None] * frames


def label_maps_between(first: np.ndarray, second: np.ndarray, frames: int) -> list[np.ndarray]:
    """(H, W) class ids, another such map at any size -> `frames` maps (H, W), from the first to the second.

    Each pixel goes once from its class in the first to that in the second. Where both classes' signed distances,
    linearly blended, are equal is when it would go; among the pixels that go the same way, this order is kept but the
    times are evenly apart. So every class's area changes evenly, and fronts keep the shape of the distances.
    """
    if second.shape != first.shape:
        second = resize_nearest(second, *first.shape)
    times = np.zeros(first.shape)
    far = signed_distances(first), signed_distances(second)
    _let_absent_shrink(*far)
    _let_absent_shrink(*far[::-1])
    moving = first != second
    pairs = first.astype(np.int32) * NUM_CLASSES + second
    for pair in np.unique(pairs[moving]):
        one, other = divmod(int(pair), NUM_CLASSES)
        pixels = pairs == pair
        lead, later = (far[0][one] - far[0][other])[pixels], (far[1][other] - far[1][one])[pixels]
        order = np.argsort(lead / (lead + later), kind="stable")
        ranks = np.empty(len(order))
        ranks[order] = (np.arange(len(order)) + 0.5) / len(order)
        times[pixels] = ranks
    return [np.where(times < t, second, first).astype(np.uint8) for t in np.linspace(0, 1, frames)]


def signed_distances(label_map: np.ndarray) -> np.ndarray:
    """(H, W) class ids -> (19, H, W) float32, in pixels: how deep inside a class, below 0 how far from it.

    -inf everywhere for a class that is nowhere.
    """
    distances = np.full((NUM_CLASSES, *label_map.shape), -np.inf, np.float32)
    for class_id in np.unique(label_map):
        inside = (label_map == class_id).astype(np.uint8)
        distances[class_id] = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        if not inside.all():
            distances[class_id] -= cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distances


def _let_absent_shrink(here: np.ndarray, there: np.ndarray) -> None:
    """Give classes that are nowhere the other map's distances, so much lower that nothing of them is left."""
    for class_id in range(NUM_CLASSES):
        if np.isinf(here[class_id, 0, 0]) and not np.isinf(there[class_id, 0, 0]):
            here[class_id] = there[class_id] - (there[class_id].max() + 1)


def slerp(first: Tensor, second: Tensor, t: float, *, dims: tuple[int, ...]) -> Tensor:
    """Vectors over `dims`, whose direction turns and whose length changes evenly; at t 0 and 1 the tensors themselves.

    Noise has to: the mean of two normals is less than normal.
    """
    if t in (0, 1):
        return (first, second)[int(t)]
    one, other = first.float(), second.float()
    lengths = [each.norm(dim=dims, keepdim=True).clamp(min=1e-12) for each in (one, other)]
    one, other = one / lengths[0], other / lengths[1]
    angle = (one * other).sum(dims, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    flat = sine < 1e-4  # alike, or opposite, where no way round is the right one
    shares = [torch.where(flat, share, (share * angle).sin() / sine.clamp(min=1e-4)) for share in (1 - t, t)]
    length = (1 - t) * lengths[0] + t * lengths[1]
    return ((shares[0] * one + shares[1] * other) * length).to(first.dtype)


def strip(images: list[Image.Image], side: int = 192) -> Image.Image:
    """Frames side by side, each `side` pixels high."""
    small = [each.resize((side * each.width // each.height, side), Image.Resampling.LANCZOS) for each in images]
    page = Image.new("RGB", (sum(each.width for each in small), side))
    for number, each in enumerate(small):
        page.paste(each, (sum(one.width for one in small[:number]), 0))
    return page
