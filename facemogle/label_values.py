"""What the pixels of a label map mean: class ids plain, scaled, in one channel or behind a palette, or colours.

Every way of writing a map that is in use is tried against the pixels; what fits exactly is taken, what fits nearly is
taken and counted, and what fits in no way is refused with the reason. H, W: pixels.
"""

from dataclasses import dataclass

import numpy as np

from facemogle.class_orders import NO_CLASS, OWN, ClassOrder, painted_order
from facemogle.labels import NAMES, NUM_CLASSES, PALETTE, colours_in, nearest_colours, palette_colours
from facemogle.plausibility import strangeness

UNLABELLED = 255
FAR = 48.0  # in RGB; of a JPEG's pixels 2% lie farther from the palette, of a portrait's 80%
_MOSTLY = 0.4  # of the pixels that far: no label map
_NEARLY = 0.85  # of a file's own palette near ours, by pixels: it is ours, blurred or reordered
_STRAY = 0.02  # of the pixels that one colour far from ours may have, as outlines do
_WHITE = 250  # on every channel, or more
_FLAT = 64  # colours at most, in a picture that was painted flat
_CHANNELS = ("red", "green", "blue")
REMEDY = (
    f"Class ids are 0 ({NAMES[0]}) to {NUM_CLASSES - 1} ({NAMES[-1]}). "
    "Save the map as a palette or greyscale PNG of class ids, or as RGB in the palette's colours."
)
_TABLE = "If its values mean other classes, say which with a class order: --classes, or Class order on the page."


class NotUnderstoodError(ValueError):
    """Pixels that are no label map: what they are, and the remedy."""


@dataclass(frozen=True, eq=False)
class Values:
    """What was found: `values` (H, W) uint8 of `order`, how they stood there, and how many pixels took the nearest."""

    values: np.ndarray
    order: ClassOrder
    how: str
    off: int = 0
    notes: tuple[str, ...] = ()


def from_indices(indices: np.ndarray, palette: np.ndarray, order: ClassOrder) -> Values:
    """(H, W) places in the file's own palette (256, 3): class ids, or places of colours in another order than ours."""
    used, counts = _counted(indices)
    known = (order.ids[used] != NO_CLASS).all() and not order.colours
    plain = Values(indices, order, "class ids behind a palette")
    colours = palette[used]
    if (colours == colours[:, :1]).all():
        greys = colours[:, 0]
        # Programs that make a palette of a greyscale picture put its values into it, in an order of their own.
        reordered = len(np.unique(greys)) == len(used) and _known(greys, order) and (greys != used).any()
        return plain if known and not reordered else from_grey(palette[indices][..., 0], order)
    match = _match(colours, counts, order)
    if known and (_side(match.values) == _side(used)).all():
        return plain
    coloured = colours.max(1) > FAR
    near = counts[coloured & (match.distance <= FAR)].sum() / max(1, counts[coloured].sum())
    if near < _NEARLY:
        if known:
            return plain
        raise NotUnderstoodError(f"has {len(used)} colours, which are {_strange_colours(match)}")
    values = np.zeros(256, np.uint8)
    values[used] = match.values
    painted = Values(values[indices], match.order, f"{match.how}, in the file's own palette", match.off)
    if known and match.off and strangeness(indices, order) < strangeness(painted.values, painted.order) - 0.5:
        return plain
    return painted


def from_grey(values: np.ndarray, order: ClassOrder, what: str = "class ids") -> Values:
    """(H, W) integers: class ids, or these scaled; 255 where nothing is labelled; the palette's colours in grey."""
    present, counts = _counted(values)
    if _known(present, order):
        return Values(values.astype(np.uint8), order, what)
    labelled = present[present != UNLABELLED]
    if _known(labelled, order) and len(labelled) > 2 and counts[present == UNLABELLED].sum() < counts.sum() / 2:
        off = int(counts[present == UNLABELLED].sum())
        note = f"{off} pixels ({off / values.size:.1%}) of {UNLABELLED} are unlabelled, and taken for background."
        return Values(
            np.where(values == UNLABELLED, _background(order), values).astype(np.uint8), order, what, 0, (note,)
        )
    if 2 < len(present) <= 2 * NUM_CLASSES and present.min() >= 0:
        found = _scaled(values, present, order) or _in_grey(values, present, order)
        if found is not None:
            return found
    raise NotUnderstoodError(_strange_values(present, order))


def from_rgb(colours: np.ndarray, order: ClassOrder) -> Values:
    """(H, W, 3) uint8: the palette's colours, also with red and blue exchanged, or class ids on one channel or all."""
    if (colours == colours[..., :1]).all() and not order.colours:
        return from_grey(colours[..., 0], order)
    distinct, inverse, counts = colours_in(colours)
    match = _match(distinct, counts, order)
    full = distinct.max(0) > 0
    if match.off and full.sum() == 1:
        channel = int(np.flatnonzero(full)[0])
        try:
            return from_grey(colours[..., channel], order, f"class ids in the {_CHANNELS[channel]} channel alone")
        except NotUnderstoodError:
            pass
    white = np.all(distinct > _WHITE, axis=1)
    if not order.colours and not white.all() and counts[white & (match.distance > FAR)].sum() > _STRAY * counts.sum():
        return _on_white(distinct, inverse, counts, white, order)
    _refuse_strangers(match)
    return Values(match.values[inverse], match.order, match.how, match.off)


def _on_white(
    distinct: np.ndarray, inverse: np.ndarray, counts: np.ndarray, white: np.ndarray, order: ClassOrder
) -> Values:
    """Colours (N, 3) of pixels (H, W), some of which are white: background, as in figures for print."""
    match = _match(distinct[~white], counts[~white], order)
    _refuse_strangers(match)
    values = np.full(len(distinct), _background(match.order), np.uint8)
    values[~white] = match.values
    return Values(values[inverse], match.order, match.how, match.off, ("White is taken for background.",))


def _refuse_strangers(match: "_Match") -> None:
    """NotUnderstoodError where too much is far from all known colours, or one colour is over a whole region."""
    counts = match.counts
    if match.far > _MOSTLY:
        flat = np.sort(counts)[::-1][:_FLAT].sum() > 0.95 * counts.sum()
        if flat:
            raise NotUnderstoodError(f"has colours that are {_strange_colours(match)}")
        raise NotUnderstoodError(
            f"is a photograph or a drawing, no label map: {match.far:.0%} of its pixels are far from the palette's "
            "colours. Read a label map from it first: python -m facemogle parse (sketch, if it is lines on paper), or "
            "drop it on the page."
        )
    if (counts[match.distance > FAR] > _STRAY * counts.sum()).any():
        raise NotUnderstoodError(f"has colours that are {_strange_colours(match)}")


@dataclass(frozen=True, eq=False)
class _Match:
    """Colours (N, 3), the value of each by the palette that suits them best, and the distance to its colour there."""

    colours: np.ndarray
    counts: np.ndarray
    values: np.ndarray
    distance: np.ndarray
    order: ClassOrder
    how: str

    @property
    def off(self) -> int:
        """Pixels."""
        return int(self.counts[self.distance > 0].sum())

    @property
    def far(self) -> float:
        inked = ~(self.colours > _WHITE).all(1)  # paper tells nothing of what is on it
        return float(self.counts[inked & (self.distance > FAR)].sum() / max(1, self.counts[inked].sum()))

    @property
    def error(self) -> float:
        return float((self.counts * self.distance).sum() / self.counts.sum())


def _match(colours: np.ndarray, counts: np.ndarray, order: ClassOrder) -> _Match:
    """By the palette that the order names; else by ours, or by one that suits far better."""
    own: list = palette_colours()
    if order.colours:
        by_class = ClassOrder(order.name, np.arange(256, dtype=np.uint8))
        named = nearest_colours(colours, order.colours.items())
        return _Match(colours, counts, *named, by_class, f"the colours of {order.name}")
    best = _Match(colours, counts, *nearest_colours(colours, own), order, "the palette's colours")
    if not best.off:
        return best
    painted = painted_order()
    values = {colour: value for value, colour in enumerate(painted.colours)}
    for known, its_order, whose in ((own, order, "the palette's colours"), (values.items(), painted, painted.name)):
        for exchanged in (False, True):
            reading = whose if whose != painted.name else f"the colours in which {whose} paints"
            reading += ", red and blue exchanged" if exchanged else ""
            nearest = nearest_colours(colours[:, ::-1] if exchanged else colours, known)
            match = _Match(colours, counts, *nearest, its_order, reading)
            if match.error < best.error / 2 and match.far <= _MOSTLY:
                best = match
    return best


def _scaled(values: np.ndarray, present: np.ndarray, order: ClassOrder) -> Values | None:
    """Class ids times a factor, as by programs that spread them from black to white; the likeliest face of several."""
    most = int(present.max())
    factors = {256.0, 257.0} | {most / top for top in range(2, NUM_CLASSES)}
    found: dict[bytes, tuple[float, np.ndarray]] = {}
    for factor in sorted(factors):
        ids = np.round(present / factor).astype(int)
        exact = (np.abs(present - ids * factor) < 1).all() and len(np.unique(ids)) == len(ids)
        if factor >= 2 and exact and ids.max() < 256 and _known(ids, order):
            table = np.zeros(most + 1, np.uint8)
            table[present] = ids
            found.setdefault(ids.tobytes(), (factor, table[values]))
    if not found:
        return None
    likeliness = sorted((strangeness(ids, order), factor, key) for key, (factor, ids) in found.items())
    if len(likeliness) > 1 and likeliness[0][0] > likeliness[1][0] - 0.3:
        factors_found = ", ".join(f"{factor:g}" for _, factor, _ in likeliness)
        raise NotUnderstoodError(f"has class ids scaled by an unknown factor, one of {factors_found}. {REMEDY}")
    factor, ids = found[likeliness[0][2]]
    return Values(ids, order, f"class ids times {factor:.4g}")


def _in_grey(values: np.ndarray, present: np.ndarray, order: ClassOrder) -> Values | None:
    """The palette's colours, each in the grey of its luminance, which are all different."""
    greys = np.round(PALETTE @ (0.299, 0.587, 0.114)).astype(int)
    distance = np.abs(present[:, None] - greys)
    if (distance.min(1) > 1).any() or len(np.unique(distance.argmin(1))) < len(present):
        return None
    table = np.zeros(int(present.max()) + 1, np.uint8)
    table[present] = distance.argmin(1)
    return Values(table[values], order, "the palette's colours turned to grey")


def _counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers of any shape -> those that occur, in order, and how often each does."""
    if values.dtype != np.uint8:
        return np.unique(values, return_counts=True)
    counts = np.bincount(values.ravel(), minlength=256)
    return np.flatnonzero(counts), counts[counts > 0]


def _known(present: np.ndarray, order: ClassOrder) -> bool:
    if not len(present) or present.min() < 0 or present.max() > 255 or order.colours:
        return False
    return bool((order.ids[present.astype(int)] != NO_CLASS).all())


def _background(order: ClassOrder) -> int:
    return int((order.ids == 0).argmax())


def _side(class_ids: np.ndarray) -> np.ndarray:
    """Left and right of a pair as one: palettes that only swap them are published, with correct indices."""
    return np.where(np.isin(class_ids, (5, 7, 9)), class_ids - 1, class_ids)


def _strange_values(present: np.ndarray, order: ClassOrder) -> str:
    unknown = [int(value) for value in present if not _known(np.array([value]), order)][:5]
    of = "" if order.name == OWN else f" of {order.name}"
    if len(present) == 2:
        return (
            f"holds two values alone, {int(present[0])} and {int(present[1])}: a region or one part of a face. "
            f"No class{of} has the values {unknown}. {REMEDY}"
        )
    if len(present) > 2 * NUM_CLASSES:
        return (
            f"has {len(present)} shades of grey: a photograph or a drawing, no label map. Read a label map from it "
            "first: python -m facemogle parse (sketch, if it is lines on paper), or drop it on the page."
        )
    return f"holds values that are no classes: no class{of} has the values {unknown}. {_TABLE} {REMEDY}"


def _strange_colours(match: _Match) -> str:
    """The most frequent of those far from all known ones."""
    far = np.flatnonzero(match.distance > FAR)
    most = far[np.argsort(-match.counts[far])][:3]
    shown = ", ".join("#{:02x}{:02x}{:02x}".format(*map(int, match.colours[one])) for one in most)
    return f"not the palette's, such as {shown}. {_TABLE} A table may name colours. {REMEDY}"
