"""The gating weights of a run: which expert speaks where, and when.

S steps, B images, E = 20 experts (the global one, then the 19 classes in order), (h, w) token grid.
"""

import math
import os
import zipfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from facemogle.labels import NAMES, NUM_CLASSES
from facemogle.masks import resize_nearest
from facemogle.whole_files import whole_file

EXPERTS = ("global", *NAMES)
NUM_EXPERTS = len(EXPERTS)
# A label map is sampled this finely within a token, per side, to tell how much of the token a class covers.
SAMPLES_PER_TOKEN = 16
MAX_BYTES = 200 * 8 * NUM_EXPERTS * 64 * 64 * 4  # 200 steps, 8 images, 64x64 tokens


@dataclass(frozen=True, eq=False)
class GatingRecord:
    """Gating weights of every denoising step; over the experts they sum to 1.

    `weights` (S, B, E, h, w) float32, `timesteps` (S,) float32 in 1000..0, in the order the steps were taken.
    Raises ValueError on other shapes or on weights that are not finite.
    """

    weights: np.ndarray
    timesteps: np.ndarray

    def __post_init__(self):
        for field in ("weights", "timesteps"):
            object.__setattr__(self, field, np.asarray(getattr(self, field), dtype=np.float32))
        if self.weights.ndim != 5 or self.weights.shape[2] != NUM_EXPERTS or self.weights.size == 0:
            raise ValueError(
                f"Gating weights must be (steps, images, {NUM_EXPERTS}, h, w), got {self.weights.shape}. "
                "Record them with pipeline(..., record_gating=True)."
            )
        if self.timesteps.shape != self.weights.shape[:1]:
            raise ValueError(
                f"One timestep per step is needed: got {self.timesteps.shape} for {len(self.weights)} steps."
            )
        if not np.isfinite(self.weights).all():
            raise ValueError("Gating weights hold NaN or infinity. The run diverged: try float32 or another seed.")

    def expert_map(self, expert: int | str, *, step: int | None = None, image: int = 0) -> np.ndarray:
        """(h, w) weights of one expert, by number or name, at one step (None: mean over the steps)."""
        if isinstance(expert, str):
            expert = EXPERTS.index(expert)
        return self.at(step, image=image)[expert]

    def over_steps(self, *, image: int = 0) -> np.ndarray:
        """(S, E, h, w) weights of one image. IndexError names the images there are."""
        images = self.weights.shape[1]
        if not 0 <= image < images:
            raise IndexError(f"This run has images 0 to {images - 1}, got image {image}.")
        return self.weights[:, image]

    def at(self, step: int | None, *, image: int = 0) -> np.ndarray:
        """(E, h, w) weights of one image at one step (None: mean over the steps). IndexError names the range."""
        weights = self.over_steps(image=image)
        if step is None:
            return weights.mean(0)
        if not 0 <= step < len(weights):
            raise IndexError(f"This run has steps 0 to {len(weights) - 1}, got step {step}.")
        return weights[step]

    def expert_means(self, *, image: int = 0) -> np.ndarray:
        """(S, E) weights averaged over the picture: how much each expert says as the image forms."""
        return self.over_steps(image=image).mean((-2, -1))


def winners(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(E, h, w) -> the expert of largest weight (h, w), and its lead over the second (h, w) in 0..1."""
    order = np.sort(weights, axis=0)
    return weights.argmax(0), order[-1] - order[-2]


def entropy(weights: np.ndarray) -> np.ndarray:
    """(E, h, w) -> (h, w) in nats: 0 where one expert speaks alone, log(20) = 3.0 where all speak alike."""
    return -(weights * np.log(np.maximum(weights, np.finfo(np.float32).tiny))).sum(0)


def coverage(label_map: np.ndarray, h: int, w: int) -> np.ndarray:
    """(H, W) class ids -> (19, h, w): the share of each token that each class covers.

    The map is brought to 16 samples per token and side with nearest, then counted. A thin class such as a necklace
    so keeps its true share, where nearest on the token grid itself would lose it.
    """
    samples = resize_nearest(label_map, h * SAMPLES_PER_TOKEN, w * SAMPLES_PER_TOKEN)
    samples = samples.reshape(h, SAMPLES_PER_TOKEN, w, SAMPLES_PER_TOKEN)
    return (samples == np.arange(NUM_CLASSES)[:, None, None, None, None]).mean((2, 4))


def inside_outside(weights: np.ndarray, label_map: np.ndarray) -> np.ndarray:
    """Does an expert speak where its class is? (..., E, h, w), (H, W) class ids -> (..., 19, 2) inside, outside.

    With c the coverage of class i and g the weight of its local expert, per token:
    inside = sum(g c) / sum(c), outside = sum(g (1 - c)) / sum(1 - c).
    NaN for a class that is absent (inside) or that fills the picture (outside). Their quotient is the gating ratio.
    """
    local = weights[..., 1:, :, :]
    covered = coverage(label_map, *weights.shape[-2:])
    with np.errstate(invalid="ignore"):
        return np.stack(
            [(local * share).sum((-2, -1)) / share.sum((-2, -1)) for share in (covered, 1 - covered)], axis=-1
        )


def locality(record: GatingRecord, label_map: np.ndarray, *, image: int = 0) -> np.ndarray:
    """`inside_outside` of one image at every step: (H, W) class ids -> (S, 19, 2). IndexError names the images."""
    return inside_outside(record.over_steps(image=image), label_map)


def save_gating(
    path: str | os.PathLike | BinaryIO, record: GatingRecord, *, prompt: str | None = None, seed: int | None = None
) -> None:
    """Write a compressed `.npz`, or into an open file; float32, so that reading it back is exact.

    It holds `weights` (S, B, E, h, w), `experts` (E,), their names, `timesteps` (S,), and `prompt` and `seed` if given.
    """
    run: dict[str, Any] = {name: value for name, value in (("prompt", prompt), ("seed", seed)) if value is not None}
    # An open file, since numpy appends .npz to other names.
    with whole_file(path) as part, open(part, "wb") if isinstance(part, Path) else nullcontext(part) as file:
        np.savez_compressed(file, weights=record.weights, experts=EXPERTS, timesteps=record.timesteps, **run)


def load_gating(path: str | os.PathLike) -> GatingRecord:
    """Read what save_gating wrote. FileNotFoundError, or ValueError that says what is wrong with the file.

    Arrays of more than MAX_BYTES show before their data is read: a small file may unpack to many gigabytes.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            _check_header(file, "weights")
            _check_header(file, "timesteps")
            return GatingRecord(weights=file["weights"], timesteps=file["timesteps"])
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy parses the file's own headers: broken ones raise errors of a dozen kinds
        what = str(error) if zipfile.is_zipfile(path) else "no npz file"  # numpy takes all others for pickles
        raise ValueError(
            f"{os.fspath(path)} is not a gating record ({what}). "
            "Write one with `python -m facemogle generate --gating gating.npz`."
        ) from error


def _check_header(file: Any, name: str) -> None:
    """ValueError unless an array of an open npz is of floats, and no larger than a record may be: its header tells."""
    with file.zip.open(f"{name}.npy") as array:
        np.lib.format.read_magic(array)
        shape, _, dtype = np.lib.format.read_array_header_1_0(array)
    if dtype.kind != "f" or math.prod(shape) * dtype.itemsize > MAX_BYTES:
        raise ValueError(f"its {name} are {shape} of type {dtype}, expected floats of at most {MAX_BYTES:,} bytes")
