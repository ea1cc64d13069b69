"""What the page does with a photo: finds the faces, frames one, reads its label map. Handlers, as in ui/handlers.py.

A photo is (H, W, 3) uint8 RGB. It stays in the memory of the visit; nothing here writes a file.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from html import escape
from typing import Any, NamedTuple

import cv2
import gradio as gr
import numpy as np
from PIL import Image

from facemogle.label_files import MAX_PIXELS, Reading, read_label_map
from facemogle.parsing.alignment import Face, Frame, find_faces, frame_face, frame_square, frame_whole
from facemogle.parsing.cleanup import swap_sides
from facemogle.parsing.parse import FaceParse, FaceParser, disagreement, parse_frame
from facemogle.parsing.photos import read_photo
from facemogle.sketch import line_tone
from facemogle.ui import torch_thread
from facemogle.ui.failures import plain
from facemogle.ui.label_editor.component import laid_under
from facemogle.ui.photo import crop as photo_crop
from facemogle.ui.photo.crop import Square
from facemogle.ui.photo.held import Held, Origin
from facemogle.ui.picture_drop.component import PictureFile
from facemogle.ui.picture_strip import SIDE, strip
from facemogle.ui.run import Base

KEEP = gr.skip()
KEPT_SIDE = 3072  # pixels: a visit holds no larger photo
_FLAT = 64  # colours at most in what may be a label map
AROUND = 0.3  # of a face's box, on each side of it in its thumbnail


@dataclass(frozen=True)
class Parsers:
    """The parsers to choose from, with the first choice.

    `described`: name -> what it is and, after a semicolon, what it costs: "accurate on photos; 1 GB to download".
    """

    described: Mapping[str, str]
    load: Callable[[str], FaceParser]  # raises what is missing, and how to get it
    available: Callable[[str], bool]  # on this computer
    default: str

    def choices(self) -> list[tuple[str, str]]:
        """(text, name) for a menu: short, for phones, but for what a choice would cost."""
        return [(name if self.available(name) else f"{name}: {self.cost(name)}", name) for name in self.described]

    def cost(self, name: str) -> str:
        return self.described[name].partition("; ")[2] or "to download"

    def about(self, name: str) -> str:
        what = self.described[name].partition("; ")[0]
        return f"{name}: {what}. Choose another to see where the two differ."


@dataclass(frozen=True, eq=False)
class OpenPhoto:
    """A photo of this visit, and what is read from it: `frame` of it, by `parser`; `before` by the parser before.

    `face` counts `faces`, or is None where something else is framed. `base` is the crop with its label map.
    """

    name: str
    held: Held
    faces: tuple[Face, ...]
    parser: str = ""
    face: int | None = None
    frame: Frame | None = None
    parse: FaceParse | None = None
    before: FaceParse | None = None
    base: Base | None = None

    @property
    def pixels(self) -> np.ndarray:
        return self.held.pixels


class Shown(NamedTuple):
    """What a handler here changes on the page, as layout.py lists it."""

    photo: Any = KEEP
    base: Any = KEEP
    note: Any = KEEP
    faces: Any = KEEP
    crop: Any = KEEP
    editor: Any = KEEP
    menu: Any = KEEP
    prompt: Any = KEEP
    in_place: Any = KEEP  # the switch that keeps what lies under the map: off once nothing does


def explained(handler: Callable[..., Iterator[Shown]]) -> Callable[..., Iterator[Shown]]:
    """What goes wrong becomes the note; all else on the page stays as it was."""

    @wraps(handler)
    def explaining(*values: Any) -> Iterator[Shown]:
        try:
            yield from handler(*values)
        except Exception as error:
            yield Shown(note=note(plain(error), failed=True))
            raise gr.Error(plain(error), visible=False, print_exception=not isinstance(error, ValueError)) from error

    return explaining


@explained
def open_picture(
    parsers: Parsers, template_prompts: set[str], file: PictureFile, parser: str, clean: bool, prompt: str
) -> Iterator[Shown]:
    """A file that carries no settings of ours: a label map, or else a photo, whose largest face is read.

    A line drawing is no photo, though a face may be found in it: the note says who reads it, and the map stays.
    `template_prompts` go with maps to start from, and tell nothing of the photo: such a prompt is taken away.
    """
    pixels = within(read_photo(file.opened()), KEPT_SIDE)
    tone = line_tone(pixels)
    reading = None if tone == "dark" else label_map_in(file)
    if reading is not None:
        text = " ".join((f"{file.name} is a label map, and is opened as one.", *reading.messages))
        yield Shown(note=note(text), editor=reading.label_map)
        return
    yield Shown(note=note(f"Looking for faces in {file.name} …"))
    photo = OpenPhoto(file.name, Held(pixels), tuple(torch_thread.call(find_faces, pixels)))
    yield Shown(prompt="" if prompt in template_prompts else KEEP)
    text = (
        f"No face was found in {photo.name}, nor on its side. Drag a square around one below, or press Read the "
        "picture as it is. If it is a label map, Open in the editor takes it."
    )
    if tone:
        text = (
            f"{photo.name} looks like a line drawing: Open in the editor makes a label map of it. To take it as a "
            f"photo all the same, {'choose its face or ' * bool(photo.faces)}drag a square below."
        )
    elif photo.faces:
        yield from _read(parsers, _framed(photo, 0), parser, clean)
        return
    crop = photo_crop.over(pixels, open=True)
    yield Shown(photo, None, note(text), _faces_of(photo), crop, laid_under(None), in_place=False)


@explained
def choose_face(parsers: Parsers, photo: OpenPhoto | None, index: int, parser: str, clean: bool) -> Iterator[Shown]:
    photo = kept(photo)
    if not 0 <= index < len(photo.faces):
        raise ValueError(f"There is no face {index} in {photo.name}.")
    yield from _read(parsers, _framed(photo, index), parser, clean)


@explained
def take_whole(parsers: Parsers, photo: OpenPhoto | None, parser: str, clean: bool) -> Iterator[Shown]:
    photo = kept(photo)
    yield from _read(parsers, replace(photo, face=None, frame=frame_whole(photo.pixels)), parser, clean)


@explained
def take_square(parsers: Parsers, photo: OpenPhoto | None, square: Square, parser: str, clean: bool) -> Iterator[Shown]:
    photo = kept(photo)
    yield from _read(parsers, replace(photo, face=None, frame=frame_square(photo.pixels, *square)), parser, clean)


@explained
def read_again(parsers: Parsers, photo: OpenPhoto | None, parser: str, clean: bool) -> Iterator[Shown]:
    """The same crop, with another parser or another clean-up."""
    photo = kept(photo)
    if photo.frame is None:  # no crop yet: the choice is for the next one
        yield Shown(menu=gr.update(info=parsers.about(parser)))
        return
    before = photo.parse if parser != photo.parser else photo.before
    try:
        yield from _read(parsers, photo, parser, clean, before=before)
    except Exception:
        yield Shown(menu=photo.parser)  # which still has the word
        raise


@explained
def swap(photo: OpenPhoto | None, label_map: np.ndarray) -> Iterator[Shown]:
    """Left and right exchanged, in the map as it is now and in the photo's own."""
    photo = kept(photo)
    if photo.parse is None:
        return
    parse = replace(photo.parse, label_map=swap_sides(photo.parse.label_map), eyes_swapped=False)
    swapped = _with_base(replace(photo, parse=parse))
    shown = _shown(swapped, "Left and right are exchanged.")
    yield shown._replace(editor=shown.editor | {"value": swap_sides(label_map)}, crop=KEEP)


def close(photo: OpenPhoto | None, base: Base | None) -> Shown:
    """Let go of the photo, and of its crop where that lies under the map."""
    cleared = Shown(None, KEEP, "", "", gr.update(picture="", open=False))
    if photo is None or base is not photo.base:
        return cleared
    return cleared._replace(base=None, editor=laid_under(None), in_place=False)


def note(text: str, *, failed: bool = False, swapped: bool = False) -> str:
    """HTML of the line on the photo; the page offers to exchange left and right while they are `swapped`."""
    kind = f"note{' failed' * failed}{' swapped' * swapped}"
    return f'<p class="{kind}" role="{"alert" if failed else "status"}">{escape(text)}</p>'


def kept(photo: OpenPhoto | None) -> OpenPhoto:
    if photo is None:
        raise ValueError("The photo is no longer kept here: a visit ends after an hour. Drop it again.")
    return photo


# Reading.


def _framed(photo: OpenPhoto, index: int) -> OpenPhoto:
    return replace(photo, face=index, frame=frame_face(photo.pixels, photo.faces[index]))


def _read(
    parsers: Parsers, photo: OpenPhoto, name: str, clean: bool, *, before: FaceParse | None = None
) -> Iterator[Shown]:
    """Parse the photo's frame, and show it all."""
    assert photo.frame is not None
    if not parsers.available(name):
        yield Shown(note=note(f"{name} is not on this computer yet, and is fetched first: {parsers.cost(name)} …"))
    else:
        yield Shown(note=note(f"Reading the face with {name} …"))
    parse = torch_thread.call(parse_frame, parsers.load(name), photo.pixels, photo.frame, clean=clean)
    photo = _with_base(replace(photo, parser=name, parse=parse, before=before))
    count = len(photo.faces)
    found = "One face was found" if count == 1 else f"{count or 'No'} faces were found"
    text = " ".join([f"{found} in {photo.name}. Correct the map where it is wrong.", *parse.notes])
    # One may have been downloaded.
    menu = gr.update(choices=parsers.choices(), value=name, info=parsers.about(name))
    yield _shown(photo, text)._replace(menu=menu)


def _with_base(photo: OpenPhoto) -> OpenPhoto:
    parse = photo.parse
    assert parse is not None
    differing = None if photo.before is None else disagreement(parse, photo.before)
    origin = Origin(photo.name, photo.held, parse.frame)
    base = Base(Image.fromarray(parse.crop), parse.label_map, parse.unsure, differing, origin)
    return replace(photo, base=base)


def _shown(photo: OpenPhoto, text: str) -> Shown:
    """All that follows from a photo that has been read."""
    parse, frame, base = photo.parse, photo.frame, photo.base
    assert parse is not None and frame is not None and base is not None
    editor = laid_under(base) | {"value": parse.label_map}
    return Shown(
        photo, base, note(text, swapped=parse.eyes_swapped), _faces_of(photo),
        photo_crop.over(photo.pixels, square_of(frame)), editor,
    )  # fmt: skip


def _faces_of(photo: OpenPhoto) -> str:
    """HTML of the faces to choose from."""
    title = "Faces in the photo" if len(photo.faces) > 1 else "The face in the photo"
    pictures = [(thumbnail_of(photo.pixels, face), f"Face {n}") for n, face in enumerate(photo.faces, start=1)]
    return strip(title, pictures, chosen=photo.face)


def label_map_in(file: PictureFile) -> Reading | None:
    """What a PNG file of class ids, or exactly in the classes' colours, says; None of any other.

    Never of one colour alone: a picture that is all black is one, too.
    """
    try:
        with Image.open(file.opened(), formats=["PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            few = picture.resize((64, 64), Image.Resampling.NEAREST).convert("RGB")
        if few.getcolors(_FLAT) is None:  # told from few pixels, since photos may have many
            return None
        reading = read_label_map(file.opened())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    no_face = any(doubt.kind in ("empty", "no face") for doubt in reading.doubts)  # such as a photo of few colours
    return None if reading.off_palette or no_face or reading.label_map.min() == reading.label_map.max() else reading


def within(photo: np.ndarray, side: int) -> np.ndarray:
    """Scaled down where its longer side is over `side`."""
    scale = side / max(photo.shape[:2])
    return photo if scale >= 1 else cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def thumbnail_of(photo: np.ndarray, face: Face) -> Image.Image:
    """A square about the face's box, moved and made smaller where it would reach beyond the photo."""
    corners = face.box.reshape(2, 2)
    size = np.array(photo.shape[1::-1])
    side = np.clip((1 + 2 * AROUND) * (corners[1] - corners[0]).max(), 1, size.min())
    start = np.clip(corners.mean(0) - side / 2, 0, size - side)
    box = (*start.tolist(), *(start + side).tolist())
    return Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.LANCZOS, box)


def square_of(frame: Frame) -> Square:
    """The upright square that is nearly a frame's place in the photo."""
    x, y = frame.to_photo @ (frame.width / 2, frame.height / 2, 1)
    side = min(frame.width, frame.height) * np.sqrt(abs(np.linalg.det(frame.to_photo[:, :2])))
    return Square(float(x - side / 2), float(y - side / 2), float(side))
