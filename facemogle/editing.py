"""A picture edited in place: what may change, how softly, and how the photo is held everywhere else.

B images, N = h * w image tokens, C channels. H, W: pixels of the run. A region is (H, W) bool, True where the picture
may change. Widths are shares of the picture's shorter side, so that they mean the same at every size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from facemogle.masks import resize_nearest

if TYPE_CHECKING:
    from torch import Tensor

# 13 pixels of 256: with less, shadows of what was taken away remain, and half-free tokens hold back what was painted.
GROW = 0.05
# Less than GROW, so that everything painted is drawn in full.
FEATHER = 0.03


@dataclass(frozen=True, eq=False)
class PhotoEdit:
    """The photo under each image of a run, and where the run must keep to it. All float32.

    `latents` of the photos and `noise`, the run's own, (B, N, C); `freedom` (B, N, C) and `opacity` (B, 1, H, W) in
    0..1, 0 where the photo stands; `pixels` of the photos (B, 3, H, W) in 0..1.
    """

    latents: "Tensor"
    noise: "Tensor"
    freedom: "Tensor"
    pixels: "Tensor"
    opacity: "Tensor"

    def noised(self, sigma: "Tensor") -> "Tensor":
        """The photos at a noise level in 0..1, as in flow matching: (1 - sigma) latents + sigma noise."""
        return (1 - sigma) * self.latents + sigma * self.noise

    def hold(self, latents: "Tensor", sigma: "Tensor") -> "Tensor":
        """A run's latents (B, N, C) at this noise level, with the photos' in place of theirs where they may not go."""
        return self.noised(sigma).lerp(latents.float(), self.freedom).to(latents.dtype)

    def paste(self, images: "Tensor") -> "Tensor":
        """Drawn images (B, 3, H, W) in 0..1 within their regions, the photos' own pixels, exactly, outside."""
        return self.pixels.lerp(images.float(), self.opacity)


def check_edit(image: Any, edit_region: Any, source_label_map: Any, strength: float) -> None:
    """ValueError where the pipeline's arguments of these names do not fit together."""
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 and at most 1, got {strength}. Less keeps more of the image.")
    region_given = edit_region is not None or source_label_map is not None
    if image is None and (region_given or strength < 1):
        raise ValueError("edit_region, source_label_map and a strength below 1 change an image. Pass image with them.")
    if edit_region is not None and source_label_map is not None:
        raise ValueError("Got both edit_region and source_label_map, which each say what may change. Pass one of them.")
    if image is not None and not region_given and strength == 1:
        raise ValueError(
            "At strength 1 nothing of the image would remain. Pass edit_region or source_label_map to change a part, "
            "or a strength below 1 to change all of it a little."
        )


def photo_pixels(image: Any, height: int, width: int) -> np.ndarray:
    """A PIL picture or (., ., 3) uint8 RGB -> (height, width, 3) uint8, resized without regard to proportions."""
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
            raise ValueError(
                f"image must be a PIL picture or (H, W, 3) uint8 RGB, got {array.dtype} of shape {array.shape}. "
                "Pass several as a list."
            )
        image = Image.fromarray(array)
    return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))


def check_region(region: Any, height: int, width: int) -> np.ndarray:
    """(., .) booleans, True where the picture may change, at any size -> (height, width), nearest."""
    array = np.asarray(region)
    if array.dtype != bool or array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"edit_region must be (H, W) booleans, True where the image may change, got {array.dtype} of shape "
            f"{array.shape}. Compare a grey picture with a threshold, as in mask > 127."
        )
    array = resize_nearest(array, height, width)
    if not array.any():
        raise ValueError(f"edit_region is False everywhere at {height}x{width}: nothing could change.")
    return array


def regions_between(
    before: Sequence[np.ndarray], after: Sequence[np.ndarray | None], height: int, width: int
) -> list[np.ndarray]:
    """Label maps of any sizes, as many of each or one of either -> `edit_region` of every pair, (height, width)."""
    pairs = max(len(before), len(after))
    if not {len(before), len(after)} <= {1, pairs}:
        raise ValueError(f"Got {len(before)} source label maps for {len(after)} label maps. Pass one, or one for each.")
    edited = [one for one in after if one is not None]
    if len(edited) < len(after):
        raise ValueError("source_label_map is compared with label_map, the edited one. Pass both.")
    befores, afters = ([resize_nearest(one, height, width) for one in maps] for maps in (before, edited))
    return [edit_region(befores[pair % len(before)], afters[pair % len(after)]) for pair in range(pairs)]


def edit_region(before: np.ndarray, after: np.ndarray, *, grow: float = GROW) -> np.ndarray:
    """Where two label maps (H, W) differ, and all within `grow` of it -> (H, W) bool.

    grow: a share of the shorter side. ValueError where the maps differ in shape, or nowhere.
    """
    if before.shape != after.shape:
        raise ValueError(
            f"The label maps must have one shape, got {before.shape} and {after.shape}. "
            "Bring one to the other's size with masks.resize_nearest()."
        )
    changed = before != after
    if not changed.any():
        raise ValueError("The label maps do not differ, so nothing would change. Pass edit_region to say what may.")
    return distance_to(changed) <= grow * min(changed.shape)


def feathered(region: np.ndarray, *, width: float = FEATHER) -> np.ndarray:
    """Opacity of what is drawn, (H, W) bool -> float32: 0 outside, rising from the edge inwards to 1 over `width`.

    width: a share of the shorter side. The picture's own border is no edge.
    """
    return np.minimum(distance_to(~region) / max(1.0, width * min(region.shape)), 1, dtype=np.float32)


def coverage(region: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W) bool -> (height, width) float32, which divide H and W: the share of each cell that the region covers."""
    cells = region.reshape(height, region.shape[0] // height, width, region.shape[1] // width)
    return cells.mean((1, 3), dtype=np.float32)


def distance_to(region: np.ndarray) -> np.ndarray:
    """(H, W) bool -> float32, the distance of each pixel's centre to the nearest within the region, in pixels."""
    if not region.any():
        return np.full(region.shape, np.inf, np.float32)
    return cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
