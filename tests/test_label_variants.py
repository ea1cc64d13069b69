"""300 ways in which label maps are written and go wrong: each is read right, or told of with the remedy."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from facemogle.class_orders import NO_CLASS, ORDERS, class_order, swap_sides
from facemogle.label_files import read_label_map
from facemogle.labels import PALETTE, to_colours

EXAMPLES = sorted((Path(__file__).parents[1] / "assets" / "examples").glob("*.png"))
REMEDIES = (
    "Save the", "Save argmax", "python -m facemogle parse", "class order", "save it again", "Scale it", "right file",
    "Turn the",
)  # fmt: skip
ORIENTATION = 274  # EXIF


def palette_png(path: Path, values: np.ndarray, palette: np.ndarray = PALETTE) -> None:
    picture = Image.fromarray(values)
    picture.putpalette(palette.tobytes())
    picture.save(path)


def shuffled(path: Path, values: np.ndarray) -> None:
    places = np.random.default_rng(values.sum()).permutation(19)
    palette = np.empty_like(PALETTE)
    palette[places] = PALETTE
    palette_png(path, places.astype(np.uint8)[values], palette)


def transparent(path: Path, values: np.ndarray) -> None:
    colours = np.dstack([to_colours(values), np.full(values.shape, 255, np.uint8)])
    colours[values == 0] = (255, 255, 255, 0)
    Image.fromarray(colours).save(path)


def one_channel(path: Path, values: np.ndarray, channel: int = 0) -> None:
    colours = np.zeros((*values.shape, 3), np.uint8)
    colours[..., channel] = values
    Image.fromarray(colours).save(path)


def adaptive(path: Path, values: np.ndarray) -> None:
    Image.fromarray(to_colours(values)).quantize(32).save(path)


def coloured(path: Path, values: np.ndarray) -> None:
    Image.fromarray(to_colours(values)).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))


EXACT = {  # a way to write (H, W) values to a path without a loss -> its ending
    palette_png: ".png",
    shuffled: ".png",
    transparent: ".png",
    one_channel: ".png",
    adaptive: ".png",
    coloured: ".webp",
    lambda path, values: Image.fromarray(values).save(path): ".png",
    lambda path, values: Image.fromarray(values).save(path): ".tif",
    lambda path, values: Image.fromarray(values).convert("RGB").save(path): ".bmp",
    lambda path, values: Image.fromarray(values.astype(np.uint16) * 257).save(path): ".png",
    lambda path, values: Image.fromarray(values.astype(np.uint16) * 256).save(path): ".png",
    lambda path, values: Image.fromarray(values.astype(np.float32)).save(path): ".tif",
    lambda path, values: Image.fromarray(values * 13).save(path): ".png",
    lambda path, values: Image.fromarray(np.dstack([values, np.full_like(values, 255)])).save(path): ".png",
    lambda path, values: Image.fromarray(to_colours(values)[..., ::-1].copy()).save(path): ".png",
    lambda path, values: Image.fromarray(to_colours(values)).convert("L").save(path): ".png",
    lambda path, values: np.save(path, values.astype(np.int64)[None]): ".npy",
    lambda path, values: np.save(path, to_colours(values)): ".npy",
}


def reduced(values: np.ndarray) -> np.ndarray:
    """Colours halved with soft edges."""
    return cv2.resize(to_colours(values), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


LOSSY = {
    lambda path, values: Image.fromarray(to_colours(values)).save(path, quality=85): ".jpg",
    lambda path, values: Image.fromarray(to_colours(values)).save(path, quality=60): ".webp",
    lambda path, values: Image.fromarray(cv2.GaussianBlur(to_colours(values), (3, 3), 0)).save(path): ".png",
    lambda path, values: Image.fromarray(reduced(values)).quantize(24).save(path): ".png",
}


def unlabelled(path: Path, values: np.ndarray) -> None:
    Image.fromarray(np.where(np.arange(len(values))[:, None] < 4, np.uint8(255), values)).save(path)


def marked_as_turned(path: Path, values: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    Image.fromarray(np.rot90(values, -1)).save(path, exif=exif)


def cut_short(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)
    path.write_bytes(path.read_bytes()[:-200])


def photo(path: Path, values: np.ndarray) -> None:
    light = cv2.GaussianBlur(np.random.default_rng(0).normal(size=values.shape), (0, 0), 3)[..., None]
    picture = 120 + 9 * values[..., None] * (0.5, 0.4, 0.3) + 400 * light - 6 * values[..., None]
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path)


def grey_photo(path: Path, values: np.ndarray) -> None:
    photo(path, values)
    with Image.open(path) as picture:
        picture.convert("L").save(path)


def permuted(path: Path, values: np.ndarray) -> None:
    order = np.random.default_rng(values.sum()).permutation(np.unique(values)).astype(np.uint8)
    table = np.zeros(19, np.uint8)
    table[np.unique(values)] = order
    Image.fromarray(table[values]).save(path)


DAMAGED = {
    unlabelled: ".png",
    marked_as_turned: ".png",
    cut_short: ".png",
    photo: ".png",
    grey_photo: ".png",
    permuted: ".png",
    lambda path, values: Image.fromarray(np.rot90(values, 2)).save(path): ".png",
    lambda path, values: Image.fromarray(np.rot90(values)).save(path): ".png",
    lambda path, values: Image.fromarray(swap_sides(values)).save(path): ".png",
    lambda path, values: Image.fromarray(values & 0).save(path): ".png",
    lambda path, values: Image.fromarray(values + np.uint8(60)).save(path): ".png",
    lambda path, values: Image.fromarray(np.where(values == 1, np.uint8(255), np.uint8(0))).save(path): ".png",
    lambda path, values: Image.fromarray(255 - to_colours(values)).save(path): ".png",
    lambda path, values: path.write_text("no picture"): ".png",
    lambda path, values: np.save(path, np.eye(19)[values]): ".npy",
}


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    return [read_label_map(path).label_map[::4, ::4] for path in EXAMPLES]


def values_in(order: str, label_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> the map's values in that order, and what these mean: classes that it lacks are background."""
    ids = class_order(order).ids
    table = np.zeros(19, np.uint8)
    for value in np.flatnonzero(ids != NO_CLASS):
        table[ids[value]] = value
    return table[label_map], ids[table[label_map]]


def outcome(path: Path, meant: np.ndarray, classes: str | None) -> str:
    """ "right", "nearly", "told", "refused" or what is wrong."""
    try:
        reading = read_label_map(path, classes=classes)
    except ValueError as error:
        sentence = str(error)
        told = path.name in sentence and "\n" not in sentence and any(remedy in sentence for remedy in REMEDIES)
        return "refused" if told else f"refused without a reason: {sentence}"
    step = len(meant) // len(reading.label_map)
    agreement = (reading.label_map == meant[step // 2 :: step, step // 2 :: step]).mean() if step else 0
    if reading.doubts:
        remedy = any(remedy in str(doubt) for doubt in reading.doubts for remedy in (*REMEDIES, "exchanges"))
        return "told" if remedy else f"told without a remedy: {reading.doubts}"
    if agreement == 1:
        return "right"
    return "nearly" if agreement > 0.9 and reading.messages else f"silently wrong: {agreement:.1%}, {reading.how}"


def test_every_variant_is_right_or_told_of(faces, tmp_path):
    rng = np.random.default_rng(0)
    names = list(ORDERS)
    outcomes: Counter = Counter()
    kinds = {"exact": EXACT, "lossy": LOSSY, "damaged": DAMAGED}
    ways = [(way, kind) for kind, ways in kinds.items() for way in ways]
    for number in range(300):
        write, kind = ways[number % len(ways)]
        ending = (EXACT | LOSSY | DAMAGED)[write]
        order = names[rng.integers(len(names))] if kind == "exact" else "celebamask-hq"
        named = bool(rng.integers(2)) or order == "celebamask-hq"
        values, meant = values_in(order, faces[rng.integers(len(faces))])
        path = tmp_path / f"map-{number}{ending}"
        write(path, values)
        got = outcome(path, meant, order if named else None)
        expected = {
            "exact": ("right",) if named else ("told", "refused"),
            "lossy": ("nearly", "told"),
            "damaged": ("right", "nearly", "told", "refused"),
        }[kind]
        assert got in expected, f"{path.name}, {kind} {list(EXACT | LOSSY | DAMAGED).index(write)}, {order}: {got}"
        outcomes[kind, got] += 1
    assert outcomes["exact", "right"] > 60 and outcomes["damaged", "refused"] > 40 and outcomes["damaged", "told"] > 30


@pytest.mark.parametrize("order", ORDERS)
def test_a_named_order_is_read_exactly_and_without_a_doubt(order, faces, tmp_path):
    for number, face in enumerate(faces):
        values, meant = values_in(order, face)
        Image.fromarray(values).save(tmp_path / f"{number}.png")
        reading = read_label_map(tmp_path / f"{number}.png", classes=order)
        assert (reading.label_map == meant).all() and not reading.doubts
