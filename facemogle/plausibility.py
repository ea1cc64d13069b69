"""Whether a label map can be of a face, told from the places and the sizes of its classes, and what may ail it if not.

Nothing here changes a map: a doubt names what is strange, and the remedy. H, W: pixels; R: regions, one of each value.
"""

from dataclasses import dataclass

import numpy as np

from facemogle.class_orders import NO_CLASS, ORDERS, SWAPPED, ClassOrder, class_order
from facemogle.labels import CLASS_ID, LEFT_RIGHT_PAIRS, NAMES, NUM_CLASSES

# Over 1,000 label maps of CelebAMask-HQ, of each class where it occurs: the median distance of its centre from the
# middle column and its spread, the median row of the centre and its spread, the median of its area and the spread of
# its logarithm; distances as shares of the sides, areas of the picture, spreads as standard deviations.
_FACES = np.array(
    [
        (0.00, 0.190, 0.432, 0.112, 0.2860, 0.459), (0.00, 0.051, 0.549, 0.044, 0.2546, 0.202),
        (0.00, 0.030, 0.577, 0.030, 0.0205, 0.200), (0.00, 0.030, 0.490, 0.060, 0.0525, 0.403),
        (0.12, 0.030, 0.478, 0.030, 0.0023, 0.342), (0.12, 0.030, 0.478, 0.030, 0.0023, 0.334),
        (0.13, 0.030, 0.415, 0.030, 0.0041, 0.441), (0.13, 0.030, 0.416, 0.030, 0.0041, 0.463),
        (0.30, 0.060, 0.561, 0.057, 0.0082, 0.793), (0.30, 0.060, 0.564, 0.062, 0.0067, 0.762),
        (0.00, 0.030, 0.744, 0.030, 0.0046, 0.856), (0.00, 0.030, 0.726, 0.030, 0.0040, 0.357),
        (0.00, 0.030, 0.767, 0.030, 0.0066, 0.319), (0.00, 0.112, 0.378, 0.115, 0.3182, 0.563),
        (0.00, 0.116, 0.211, 0.074, 0.2109, 0.428), (0.20, 0.150, 0.705, 0.079, 0.0047, 1.382),
        (0.00, 0.174, 0.934, 0.046, 0.0007, 1.414), (0.00, 0.151, 0.925, 0.030, 0.0419, 0.466),
        (0.00, 0.225, 0.936, 0.041, 0.0394, 1.271),
    ]
)  # fmt: skip
_WIDEST = 6.0  # standard deviations; what lies farther off is no stranger
_TURNS = {0: "", 2: "upside down", 1: "on its left side", 3: "on its right side"}  # by quarter turns clockwise
_FEW = 5  # classes; fewer tell nothing of their order
_BETTER = 0.75  # standard deviations on average, by which another reading must fit better to be named
STRANGE = 2.0  # standard deviations on average, over which no face lies
_APART = 0.08  # of the width; the eyes of a face are a quarter apart
_SAMPLED = 256  # pixels of the longer side are looked at


@dataclass(frozen=True)
class Doubt:
    """What is strange about a label map.

    `kind`: "empty", "one part", "no skin", "order", "turned", "sides" or "no face"."""

    kind: str
    text: str

    @property
    def tolerable(self) -> bool:
        """Whether training can use such a map none the less."""
        return self.kind == "sides"

    def __str__(self) -> str:
        return self.text


def doubts(values: np.ndarray, order: ClassOrder) -> tuple[Doubt, ...]:
    """What speaks against a map being a face: (H, W) values that the order gives a class; () where nothing does."""
    step = max(1, -(-max(values.shape) // _SAMPLED))
    values = values[step // 2 :: step, step // 2 :: step]
    present = np.unique(values)
    classes = order.ids[present]
    if not (classes != CLASS_ID["background"]).any():
        return (Doubt("empty", "It is background everywhere, and says nothing of a face. Is it the right file?"),)
    if (len(classes) <= 2 and CLASS_ID["background"] in classes) or len(classes) == 1:
        name = NAMES[classes.max()]
        text = (
            f"It holds {name} alone: a region, or one part of a face, rather than a map of one. Is it the right file?"
        )
        return (Doubt("one part", text),)
    if strange := _misread(values, _solid(values), order):
        return (strange,)
    found = []
    if CLASS_ID["skin"] not in classes:
        text = "It has no skin, without which no face is drawn. Is it the right file, and in the right class order?"
        found.append(Doubt("no skin", text))
    if sides_swapped(order.ids[values]):
        swapped = order.name.removesuffix(SWAPPED) if order.name.endswith(SWAPPED) else order.name + SWAPPED
        remedy = f"the class order {swapped} exchanges" if swapped.removesuffix(SWAPPED) in ORDERS else "exchange"
        text = f"Left and right seem swapped: the face's left eye should be on the right of the picture; {remedy} them."
        found.append(Doubt("sides", text))
    return tuple(found)


def sides_swapped(label_map: np.ndarray) -> bool:
    """Whether left and right look exchanged: `left` is the subject's left, which lies on the right of the picture.

    The eyes, the brows and the ears have one vote each, where both are there and lie apart.
    """
    columns = np.arange(label_map.shape[1])
    votes = 0
    for pair in LEFT_RIGHT_PAIRS:
        left, right = ((label_map == class_id).sum(0) for class_id in pair)
        if left.any() and right.any():
            apart = (np.average(columns, weights=right) - np.average(columns, weights=left)) / len(columns)
            votes += int(np.sign(apart)) if abs(apart) > _APART else 0
    return votes > 0


def strangeness(values: np.ndarray, order: ClassOrder) -> float:
    """How far, in standard deviations on average, the classes lie from their places and sizes in a face."""
    present = _solid(values)
    return float(_cost(_distances(_regions(values, present)), order.ids[present]))


def _misread(values: np.ndarray, present: np.ndarray, order: ClassOrder) -> Doubt | None:
    """A doubt where another order or a turn makes much more of a face of it, or where nothing does."""
    if len(present) < _FEW:
        return None
    regions = _regions(values, present)
    turned = {turn: _distances(_turned(regions, turn)) for turn in _TURNS}
    own = _cost(turned[0], order.ids[present])
    others = {name: class_order(name).ids[present] for name in ORDERS if name != order.name.removesuffix(SWAPPED)}
    # Ours first: of two that fit alike, it is the likelier.
    costs = {
        (name, turn): _cost(distances, ids)
        for turn, distances in turned.items()
        for name, ids in {order.name: order.ids[present], **others}.items()
        if (ids != NO_CLASS).all()
    }
    name, turn = min(costs, key=lambda key: costs[key] + 0.2 * (key[0] != order.name) + 0.2 * (key[1] != 0))
    if costs[name, turn] < min(own - _BETTER, STRANGE):
        if name == order.name:
            remedy = "Turn the picture, and keep its colours exact"
            return Doubt("turned", f"The face seems to lie {_TURNS[turn]}. {remedy}.")
        text = f"Its classes lie as in the order of {name}, not of {order.name}"
        text += f", and {_TURNS[turn]}" if turn else ""
        return Doubt("order", f"{text}. Give its class order ({name}): --classes, or Class order on the page.")
    if own > STRANGE:
        text = "Its classes lie and are sized as in no face, in no order known here. Is it a label map of one face?"
        return Doubt("no face", f"{text} If its values mean other classes, give a table of them as its class order.")
    return None


def _regions(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(H, W) -> (R, 3): column and row of the centre of each value, in 0..1, and its share of the area."""
    height, width = values.shape
    flat = values.ravel()
    area = np.bincount(flat, minlength=256)[present]
    x = np.bincount(flat, np.tile(np.arange(width) + 0.5, height), minlength=256)[present]
    y = np.bincount(flat, np.repeat(np.arange(height) + 0.5, width), minlength=256)[present]
    return np.stack([x / area / width, y / area / height, area / values.size], axis=1)


def _solid(values: np.ndarray) -> np.ndarray:
    """The values that somewhere have their like above, below, left and right: not those of blurred edges alone."""
    inner = values[1:-1, 1:-1]
    around = (values[:-2, 1:-1], values[2:, 1:-1], values[1:-1, :-2], values[1:-1, 2:])
    return np.unique(inner[np.logical_and.reduce([inner == one for one in around])])


def _turned(regions: np.ndarray, quarters: int) -> np.ndarray:
    """Where the regions lie once the picture is turned back, which was turned so often clockwise."""
    for _ in range(quarters):
        regions = np.stack([regions[:, 1], 1 - regions[:, 0], regions[:, 2]], axis=1)
    return regions


def _distances(regions: np.ndarray) -> np.ndarray:
    """(R, 3) -> (R, 19): how far each region is from being each class, in standard deviations."""
    x, y, area = regions.T[:, :, None]
    beside, beside_spread, row, row_spread, size, size_spread = _FACES.T
    sideways = (np.abs(x - 0.5) - beside) / beside_spread
    across = np.minimum(np.abs(sideways), _WIDEST)
    down = np.minimum(np.abs(y - row) / row_spread, _WIDEST)
    sized = np.minimum(np.abs(np.log(area / size)) / size_spread, _WIDEST)
    return (across + 2 * down + sized) / 4


def _cost(distances: np.ndarray, class_ids: np.ndarray) -> float:
    """Of the regions (R, 19) as these classes (R,), on average; a face without skin or nose is stranger."""
    if (class_ids >= NUM_CLASSES).any():
        return np.inf
    missing = sum(CLASS_ID[name] not in class_ids for name in ("skin", "nose")) * _WIDEST
    return (distances[np.arange(len(class_ids)), class_ids].sum() + missing) / max(1, len(class_ids))
