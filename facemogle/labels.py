"""The 19 classes of a face label map: names, palette, left/right pairs; colours <-> class ids; others' orders.

Names and order are those of CelebAMask-HQ. `left` is the subject's left: on the right side of the picture.
"""

from collections.abc import Iterable, Sequence

import numpy as np

NAMES = (
    "background", "skin", "nose", "eyeglasses", "left_eye", "right_eye", "left_brow", "right_brow", "left_ear",
    "right_ear", "mouth", "upper_lip", "lower_lip", "hair", "hat", "earring", "necklace", "neck", "cloth",
)  # fmt: skip
NUM_CLASSES = len(NAMES)
CLASS_ID = {name: class_id for class_id, name in enumerate(NAMES)}

PALETTE = np.array(
    [
        (0, 0, 0), (204, 0, 0), (76, 153, 0), (204, 204, 0), (51, 51, 255), (204, 0, 204), (0, 255, 255),
        (255, 204, 204), (102, 51, 0), (255, 0, 0), (102, 204, 0), (255, 255, 0), (0, 0, 153), (0, 0, 204),
        (255, 51, 153), (0, 204, 204), (0, 51, 0), (255, 153, 51), (0, 204, 0),
    ],
    dtype=np.uint8,
)  # fmt: skip
# One published variant of the palette; accepted on reading, never written.
ALTERNATIVE_COLOURS = {(51, 255, 255): CLASS_ID["right_brow"]}

LEFT_RIGHT_PAIRS = tuple((CLASS_ID[f"left_{part}"], CLASS_ID[f"right_{part}"]) for part in ("eye", "brow", "ear"))

# The classes of the published parsers, each in its own words and in the order of its logits.
PARSER_NAMES = {
    "segface": (
        "background", "neck", "skin", "cloth", "l_ear", "r_ear", "l_brow", "r_brow", "l_eye", "r_eye", "nose", "mouth",
        "l_lip", "u_lip", "hair", "eye_g", "hat", "ear_r", "neck_l",
    ),
    "farl": (
        "background", "neck", "face", "cloth", "rr", "lr", "rb", "lb", "re", "le", "nose", "imouth", "llip", "ulip",
        "hair", "eyeg", "hat", "earr", "neck_l",
    ),
    "segformer": (
        "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip",
        "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
    ),
}  # fmt: skip
ALIASES = {
    "face": "skin",
    "eye_g": "eyeglasses", "eyeg": "eyeglasses",
    "l_eye": "left_eye", "r_eye": "right_eye",
    "l_brow": "left_brow", "r_brow": "right_brow",
    "l_ear": "left_ear", "r_ear": "right_ear",
    # In two letters, facer's are sides of the picture: its right eye, "re", is the subject's left.
    "re": "left_eye", "le": "right_eye",
    "rb": "left_brow", "lb": "right_brow",
    "rr": "left_ear", "lr": "right_ear",
    "imouth": "mouth",
    "u_lip": "upper_lip", "ulip": "upper_lip",
    "l_lip": "lower_lip", "llip": "lower_lip",
    "ear_r": "earring", "earr": "earring",
    "neck_l": "necklace",
}  # fmt: skip


def order_of(names: Sequence[str]) -> np.ndarray:
    """Another parser's class names in the order of its logits -> (19,) ints such that logits[order] is in ours.

    ValueError where a class is missing, unknown or named twice.
    """
    ours = [ALIASES.get(name, name) for name in names]
    missing = [name for name in NAMES if name not in ours]
    unknown = [name for name, own in zip(names, ours, strict=True) if own not in NAMES]
    twice = [name for name, own in zip(names, ours, strict=True) if ours.count(own) > 1 and own in NAMES]
    if missing or unknown or twice:
        faults = (("missing", missing), ("unknown", unknown), ("named twice", twice))
        raise ValueError(
            f"A parser must name each of the 19 classes once, got {len(names)} names: "
            + "; ".join(f"{fault}: {', '.join(some)}" for fault, some in faults if some)
            + "."
        )
    return np.array([ours.index(name) for name in NAMES])


def to_colours(label_map: np.ndarray) -> np.ndarray:
    """(H, W) class ids -> (H, W, 3) uint8 palette colours."""
    return PALETTE[label_map]


def from_colours(picture: np.ndarray) -> tuple[np.ndarray, int]:
    """(H, W, 3) uint8 palette colours -> (H, W) uint8 class ids, and how many pixels were off the palette.

    A pixel off the palette takes the class of the nearest colour (Euclidean in RGB).
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f"A colour mask must be (H, W, 3) uint8, got {picture.dtype} of shape {picture.shape}. "
            "A map of class ids needs no conversion."
        )
    codes, inverse, _ = colours_in(picture)
    nearest, distance = nearest_colours(codes, palette_colours())
    return nearest[inverse], int((distance > 0)[inverse].sum())


def colours_in(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 -> its N colours (N, 3) uint8, which of them each pixel has (H, W), and how many have each."""
    # Each colour as one number: a photo opened by mistake has millions of pixels, and as many colours.
    channels = picture.astype(np.uint32)
    numbers = (channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]).ravel()
    # A map has few runs of one colour along its rows, and sorting these takes a tenth of sorting its pixels.
    starts = np.flatnonzero(np.diff(numbers, prepend=~numbers[:1]))
    lengths = np.diff(starts, append=numbers.size)
    codes, run_of = np.unique(numbers[starts], return_inverse=True)
    counts = np.bincount(run_of, lengths, minlength=len(codes)).astype(int)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)
    return colours, np.repeat(run_of, lengths).reshape(picture.shape[:2]), counts


def palette_colours() -> list[tuple[tuple[int, ...], int]]:
    """Every colour with its class id, the published variants as well."""
    own = [(tuple(map(int, colour)), class_id) for class_id, colour in enumerate(PALETTE)]
    return own + list(ALTERNATIVE_COLOURS.items())


def nearest_colours(colours: np.ndarray, known: Iterable[tuple[tuple[int, ...], int]]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) uint8 -> the value (N,) uint8 of the nearest known colour, and the distance in RGB (N,) float32."""
    colours = colours.astype(np.int32)
    nearest, smallest = np.zeros(len(colours), np.uint8), np.full(len(colours), np.iinfo(np.int32).max, np.int32)
    for colour, value in known:
        distance = ((colours - np.array(colour, np.int32)) ** 2).sum(1, dtype=np.int32)
        closer = distance < smallest
        nearest[closer], smallest[closer] = value, distance[closer]
    return nearest, np.sqrt(smallest, dtype=np.float32)


def mirror(label_map: np.ndarray) -> np.ndarray:
    """Flip a label map (..., H, W) left to right and swap the left and right classes with it."""
    swapped = np.arange(NUM_CLASSES)
    for left, right in LEFT_RIGHT_PAIRS:
        swapped[left], swapped[right] = right, left
    return swapped.astype(label_map.dtype)[label_map[..., ::-1]]
