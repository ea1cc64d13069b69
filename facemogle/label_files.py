"""Label maps as files: finds out how a map is written, and says so; writes one exact form.

Read are pictures, NumPy arrays, and CelebAMask-HQ's folders of one picture for each part of a face.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facemogle.class_orders import OWN, ClassOrder, ClassTable, class_order
from facemogle.label_values import REMEDY, NotUnderstoodError, Values, from_grey, from_indices, from_rgb
from facemogle.labels import ALIASES, CLASS_ID, NAMES, NUM_CLASSES, PALETTE, PARSER_NAMES
from facemogle.picture_formats import open_picture
from facemogle.plausibility import Doubt, doubts
from facemogle.sketch import LineDrawing, line_drawing_in
from facemogle.whole_files import whole_file

MAX_PIXELS = 4096 * 4096
# CelebAMask-HQ's files for classes 1 to 18; in this order later ones lie over earlier ones.
PARTS = PARSER_NAMES["segformer"][1:]
_PLAIN = ("class ids", "class ids behind a palette", "the palette's colours", "parts")
_PART = re.compile(rf"(.+)_({'|'.join((*PARTS, *NAMES[1:]))})", re.IGNORECASE)
_PART_SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg")
_ORIENTATION = 274  # EXIF


class Reading(NamedTuple):
    """What was read: `label_map` (H, W) uint8 class ids, and how many pixels took the nearest class of other colours.

    `how` the classes stood in the file, in words; `notes`: what was done about it; `doubts`: what speaks against it.
    """

    label_map: np.ndarray
    off_palette: int
    how: str
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    @property
    def share_off(self) -> float:
        return self.off_palette / self.label_map.size

    @property
    def exact(self) -> bool:
        """Nothing had to be guessed: class ids, or the palette's very colours, in whichever order."""
        return self.how.partition(",")[0] in _PLAIN and not self.off_palette

    @property
    def messages(self) -> tuple[str, ...]:
        """Sentences on all that a person should know; () for a plain map of a face."""
        return (*self.notes, *map(str, self.doubts))


class LineDrawingError(ValueError):
    """The file `name` shows a line drawing, which is here decoded, and not exactly a label map."""

    def __init__(self, name: str, drawing: LineDrawing):
        super().__init__(
            f"{name} is a line drawing, no label map. Make a map of it first: python -m facemogle sketch, or drop it "
            "on the page. If it is meant as a map, save it as a greyscale PNG of class ids."
        )
        self.drawing = drawing


def read_label_map(file: str | os.PathLike | BinaryIO, *, classes: ClassTable | ClassOrder | None = None) -> Reading:
    """Read a label map, however it is written: see label_values. A file's mark of its own side is obeyed.

    classes: what its values mean, where they are in another order than ours; see class_orders. A folder, or a name in a
    folder without its ending, is read from CelebAMask-HQ's parts.

    What looks wrong, but may be meant, is read as it stands, and told of in `doubts`. LineDrawingError where a file
    shows lines alone; ValueError where it is no label map, is damaged or has over 4096x4096 pixels, with the
    reason; FileNotFoundError where there is none.
    """
    name = getattr(file, "name", "The file") if hasattr(file, "read") else os.fspath(file)
    order = class_order(classes)
    if isinstance(file, (str, os.PathLike)) and (parts := parts_in(Path(file))):
        return read_parts(parts)
    with _explained(str(name)):
        start = 0 if isinstance(file, (str, os.PathLike)) else file.tell()
        try:
            reading = _read(file, order)
        except NotUnderstoodError:
            _refuse_drawing(file, start, name)
            raise
        if not reading.exact:  # the greys of smooth lines could be scaled class ids
            _refuse_drawing(file, start, name)
        return reading


def _read(file: str | os.PathLike | BinaryIO, order: ClassOrder) -> Reading:
    pixels, turned, lossy, count = _pixels(file)
    found = _values(*pixels, order)
    if lossy and found.how.startswith("class ids"):
        raise NotUnderstoodError(f"is a JPEG of class ids, which JPEG changes. {REMEDY}")
    notes = ["It is turned upright, as its EXIF mark says."] if turned else []
    if count > 1:
        notes.append(f"It holds {count} pictures; the first is read.")
    return _reading(found, found.order.ids[found.values], notes)


def _refuse_drawing(file: str | os.PathLike | BinaryIO, start: int, name: str) -> None:
    """LineDrawingError where it shows one, from `start` on."""
    with open(file, "rb") if isinstance(file, (str, os.PathLike)) else nullcontext(file) as opened:
        opened.seek(start)
        if (drawing := line_drawing_in(opened)) is not None:
            raise LineDrawingError(name, drawing)


def read_parts(parts: Sequence[tuple[Path, int]]) -> Reading:
    """Pictures of single parts with their class ids, dark elsewhere -> the whole; later ones lie over earlier ones."""
    first = parts[0][0]
    label_map = np.zeros(_read_part(first).shape, np.uint8)
    for path, class_id in parts:
        part = _read_part(path)
        if part.shape != label_map.shape:
            raise ValueError(
                f"{path} is {_size(part)}, but {first.name} is {_size(label_map)}: parts must be of one size."
            )
        label_map[part] = class_id
    return Reading(label_map, 0, f"{len(parts)} parts of a face", (), doubts(label_map, class_order(None)))


def parts_in(path: Path) -> list[tuple[Path, int]]:
    """CelebAMask-HQ's parts of one face, in class order: of a folder, or of FOLDER/00000; [] where there are none.

    ValueError where a folder holds those of several faces.
    """
    if path.is_file() or not (path.is_dir() or path.parent.is_dir()):
        return []
    folder, wanted = (path, None) if path.is_dir() else (path.parent, path.name)
    found: dict[str, dict[int, Path]] = {}
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        part = part_of(stem) if suffix.lower() in _PART_SUFFIXES and not name.startswith(".") else None
        if part and wanted in (None, part[0]):
            found.setdefault(part[0], {})[part[1]] = folder / name
    if len(found) > 1:
        names = sorted(found)
        raise ValueError(f"{path} holds the parts of {len(found)} faces. Name one of them, as in {path / names[0]}.")
    if not found and path.is_dir():
        raise ValueError(
            f"{path} is a folder, and holds no parts of a face, such as 00000_skin.png. Name a file in it."
        )
    return [(part, class_id) for parts in found.values() for class_id, part in sorted(parts.items())]


def part_of(name: str) -> tuple[str, int] | None:
    """ "00007_eye_g" -> ("00007", 3): whose part it is, and the class, by CelebAMask-HQ's word or ours; else None."""
    match = _PART.fullmatch(name)
    return (match[1], CLASS_ID[ALIASES.get(match[2].lower(), match[2].lower())]) if match else None


def write_label_map(path: str | os.PathLike | BinaryIO, label_map: np.ndarray, *, colours: bool = False) -> None:
    """Write (H, W) class ids as a PNG with the official palette; the indices are the class ids.

    With `colours`, an RGB PNG of the palette's colours, for programs that lose a palette or reorder it.
    """
    if label_map.ndim != 2 or label_map.size == 0 or not np.issubdtype(label_map.dtype, np.integer):
        raise ValueError(f"label_map must be (H, W) integers, got {label_map.dtype} of shape {label_map.shape}.")
    if label_map.min() < 0 or label_map.max() >= NUM_CLASSES:
        wrong = np.unique(label_map[(label_map < 0) | (label_map >= NUM_CLASSES)])
        raise ValueError(f"no class has the values {wrong[:5].tolist()}. {REMEDY}")
    picture = Image.fromarray(label_map.astype(np.uint8)).convert("L")
    picture.putpalette(PALETTE.tobytes())
    with whole_file(path) as part:
        (picture.convert("RGB") if colours else picture).save(part, format="PNG")


def _reading(found: Values, label_map: np.ndarray, notes: Sequence[str]) -> Reading:
    how = found.how if found.order.name == OWN else f"{found.how}, in the order of {found.order.name}"
    said = [*notes, *found.notes]
    if how not in _PLAIN:
        said.append(f"It is read as {how}.")
    if found.off:
        share = found.off / label_map.size
        said.append(f"{found.off} pixels ({share:.1%}) are not in the palette's colours; took the nearest class.")
    return Reading(label_map, found.off, how, tuple(said), doubts(found.values, found.order))


def _pixels(file: str | os.PathLike | BinaryIO) -> tuple[tuple[np.ndarray, np.ndarray | None], bool, bool, int]:
    """-> (H, W) integers with a palette (256, 3), or None; or (H, W, 3) colours; whether they were turned; whether they
    are a JPEG's; and how many pictures the file holds."""
    if _is_array(file):
        return (_loaded(file), None), False, False, 1
    with open_picture(file) as picture:
        _check_size(picture.width, picture.height)
        turned = picture.getexif().get(_ORIENTATION, 1) not in (0, 1)
        upright = ImageOps.exif_transpose(picture) if turned else picture
        count = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
        return _pixels_of(upright), turned, picture.format in ("JPEG", "MPO"), count


def _pixels_of(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    if picture.mode == "P":
        palette = np.zeros((256, 3), np.uint8)
        stored = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(stored)] = stored
        return np.asarray(picture), palette
    if picture.mode == "F":
        return _whole(np.asarray(picture)), None
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.int32), None
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L")), None
    rgba = np.asarray(picture.convert("RGBA"))
    opaque = rgba[..., 3:] > 127
    if not opaque.any():
        raise NotUnderstoodError(f"is transparent everywhere, and so shows no classes. {REMEDY}")
    return rgba[..., :3] * opaque, None


def _values(pixels: np.ndarray, palette: np.ndarray | None, order: ClassOrder) -> Values:
    if palette is not None:
        return from_indices(pixels, palette, order)
    return from_rgb(pixels, order) if pixels.ndim == 3 else from_grey(pixels, order)


def _is_array(file: str | os.PathLike | BinaryIO) -> bool:
    if isinstance(file, (str, os.PathLike)):
        return os.fspath(file).lower().endswith(".npy")
    return str(getattr(file, "name", "")).lower().endswith(".npy")


def _loaded(file: str | os.PathLike | BinaryIO) -> np.ndarray:
    """A NumPy file of class ids, (H, W) or with sides of 1 around it, or of colours (H, W, 3)."""
    stored = np.load(file, mmap_mode="r" if isinstance(file, (str, os.PathLike)) else None, allow_pickle=False)
    shape = stored.shape
    stored = stored.reshape([side for side in shape if side != 1] if len(shape) > 2 else shape)
    colours = stored.ndim == 3 and stored.shape[2] == 3 and stored.dtype == np.uint8
    if not (stored.ndim == 2 or colours) or not stored.size:
        remedy = "Save argmax over the classes" if NUM_CLASSES in shape else "Save one map"
        raise NotUnderstoodError(f"is an array of shape {shape}, expected (H, W) class ids. {remedy}.")
    _check_size(stored.shape[1], stored.shape[0])
    return np.array(stored) if colours else _whole(np.array(stored))


def _whole(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all() or (values != np.round(values)).any() or np.abs(values).max() > 2**31 - 1:
        raise NotUnderstoodError(f"holds fractions, which are no class ids. {REMEDY}")
    return values.astype(np.int32)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise NotUnderstoodError(
            f"is too large: {width}x{height} pixels are more than 4096x4096. "
            "Scale it down with nearest-neighbour sampling; 1024x1024 is plenty."
        )


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Whatever is wrong with a file becomes a ValueError that names it."""
    try:
        yield
    except NotUnderstoodError as error:
        raise ValueError(f"{name} {error}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture that can be read. {REMEDY}") from error
    except (FileNotFoundError, LineDrawingError):
        raise
    except Exception as error:  # Pillow's readers fail on damaged files in ways beyond listing
        why = str(error).rstrip(".") or type(error).__name__
        raise ValueError(
            f"{name} cannot be read as a label map: {why}. It may be damaged or cut short: fetch or save it again."
        ) from error


def _read_part(path: Path) -> np.ndarray:
    """(H, W) bool: where it is over half of its largest value, which may be 255 or 1, of any colour or depth."""
    with _explained(str(path)), open_picture(path) as picture:
        _check_size(picture.width, picture.height)
        values, palette = _pixels_of(picture)
        if palette is not None and (palette[values] != palette[values[0, 0]]).any():
            values = palette[values]
        values = values.max(2) if values.ndim == 3 else values
        return values > values.max() // 2


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
