"""The faces that a person looks at one after another, and what becomes of them. Handlers, as in ui/handlers.py.

The list is made at the start and stays as it is, so that "3 of 17" means the same all the time. Which face a page
shows, and in which state it was, the page itself says by its key: whoever reloads, or comes back next day, goes on.
"""

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from html import escape
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from facemogle.data.face_set import CORRECTED, OPEN, RECORDS, REJECTED, TAKEN, FaceRecord, FaceSet
from facemogle.ui import views
from facemogle.ui.failures import plain
from facemogle.ui.label_editor.component import NamedMap, laid_under
from facemogle.ui.run import Base

log = logging.getLogger(__name__)
KEEP = gr.skip()
DRAFTS = "facemogle-correction"
REASONS = ("no face", "covered or cut off", "blurred", "not a person", "not licensed")


class Shown(NamedTuple):
    """What a handler here changes on the page, as page.py lists it.

    key: of the face, "facemogle-correction/DATA/NAME@saves", under which the browser keeps drafts, too. settled: how
    the keys of a face begin that has been dealt with.
    """

    progress: Any = KEEP
    status: Any = KEEP
    photo: Any = KEEP
    editor: Any = KEEP
    caption: Any = KEEP
    key: Any = KEEP
    settled: str = ""


class StaleError(ValueError):
    """A face has changed since the page was shown it."""


def told(handler: Callable[..., Shown]) -> Callable[..., Shown]:
    """One at a time, and what goes wrong is the status; all else on the page stays as it was."""

    @wraps(handler)
    def telling(session: "Session", *values: Any) -> Shown:
        with session.lock:
            try:
                return handler(session, *values)
            except StaleError as error:
                face = session.named(values[0])
                return Shown(status=views.status(str(error), failed=True), key=session.key_of(face))
            except FileNotFoundError as error:
                return Shown(status=views.status(session.missing(error), failed=True))
            except (ValueError, OSError) as error:  # in words, and told before `plain` has loaded the pipeline
                return Shown(status=views.status(str(error), failed=True))
            except Exception as error:
                log.exception("A face was not dealt with.")
                return Shown(status=views.status(plain(error), failed=True))

    return telling


class Session:
    """On a data set that this process has alone; see folders.own_folder."""

    def __init__(self, faces: FaceSet):
        self.faces = faces
        self.lock = threading.Lock()
        listed = [face for face in faces.faces() if face.state in (OPEN, CORRECTED, REJECTED)]
        listed += [face for face in faces.faces() if face.state == TAKEN and (face.saves or not face.text)]
        self.names = [face.name for face in listed]
        digest = hashlib.blake2b(str(faces.folder.resolve()).encode(), digest_size=4).hexdigest()
        self.prefix = f"{DRAFTS}/{digest}/"

    def key_of(self, face: FaceRecord) -> str:
        return f"{self.prefix}{face.name}@{face.saves}"

    def named(self, key: str) -> FaceRecord:
        start, _, rest = str(key).rpartition("/")
        name = rest.rpartition("@")[0]
        if f"{start}/" != self.prefix or name not in self.names:
            raise ValueError("This page is of another list. Reload it.")
        return self.faces.face(name)

    def missing(self, error: FileNotFoundError) -> str:
        """What to do where files have gone while the page was open."""
        folder = self.faces.folder
        if not folder.is_dir():
            return f"{folder} was moved or removed. Put it back and go on: what is not saved is kept in the browser."
        return (
            f"{error.filename or error} is missing. Put it back, or delete its photo's file in {folder / RECORDS}, so "
            "that `python -m train.data build` reads the photo again."
        )

    @told
    def start(self) -> Shown:
        return self._onward(-1)

    @told
    def save(self, key: str, label_map: np.ndarray | None, caption: str) -> Shown:
        face = self._current(key)
        if label_map is None:
            raise ValueError("There is no map yet. Wait until it is shown.")
        self.faces.take(face.name, label_map, " ".join(str(caption or "").split()))
        return self._after(face)

    @told
    def reject(self, key: str, why: str) -> Shown:
        face = self._current(key)
        self.faces.reject(face.name, " ".join(str(why).split())[:100] or REASONS[0])
        return self._after(face)

    @told
    def skip(self, key: str) -> Shown:
        face = self.named(key)
        shown = self._onward(self.names.index(face.name))
        if shown.key == self.key_of(face):
            return Shown(status=views.status("It is the last one that is left."))
        return shown

    @told
    def back(self, key: str) -> Shown:
        place = self.names.index(self.named(key).name) if key else len(self.names)
        return self._show(max(0, place - 1))

    def _current(self, key: str) -> FaceRecord:
        face = self.named(key)
        if key != self.key_of(face):
            raise StaleError(
                "This face was saved in another window after it was opened here, and that is kept. Save again to put "
                "this map in its place, or Skip."
            )
        return face

    def _after(self, face: FaceRecord) -> Shown:
        try:
            shown = self._onward(self.names.index(face.name))
        except FileNotFoundError as error:  # of another face: this one is dealt with
            told = views.status(self.missing(error), failed=True)
            shown = Shown(status=told, key=self.key_of(self.faces.face(face.name)))
        return shown._replace(settled=f"{self.prefix}{face.name}@")

    def _onward(self, place: int) -> Shown:
        """The next face that is to be dealt with, from a place on and round to it; the end where there is none.

        FileNotFoundError where those that are left have no files any more.
        """
        order = [*range(place + 1, len(self.names)), *range(place + 1)]
        gone: FileNotFoundError | None = None
        for each in order:
            if is_open(self.faces.face(self.names[each])):
                try:
                    return self._show(each)
                except FileNotFoundError as error:  # which keeps nobody from the others
                    gone = gone or error
        if gone is not None:
            raise gone
        return self._end()

    def _show(self, place: int) -> Shown:
        face = self.faces.face(self.names[place])
        crop, label_map = self.faces.crop(face.name), self.faces.label_map(face.name)
        parsed, key = self.faces.parsed(face.name), self.key_of(face)
        base = Base(crop, label_map) if parsed is None else Base(crop, parsed[0], None, parsed[0] != parsed[1])
        editor = laid_under(base) | {"value": NamedMap(label_map, key)}
        return Shown(
            progress(self._states(), place), views.status(why(face)), photo_view(crop, self.faces.photo_of(face.name)),
            editor, face.text, key,
        )  # fmt: skip

    def _end(self) -> Shown:
        states = self._states()
        counts = Counter(face.state for face in states)
        text = ", ".join(f"{counts[state]} {said}" for state, said in _DONE.items() if counts[state])
        text = f"All are done: {text}." if states else "Nothing is to be corrected: all maps agree and have captions."
        text += f" To look the set over: python -m train.data check {self.faces.folder}"
        return Shown(progress(states, None), views.status(text), "", laid_under(None), "", "")

    def _states(self) -> Sequence[FaceRecord]:
        return [self.faces.face(name) for name in self.names]


_DONE = {CORRECTED: "corrected", TAKEN: "captioned or looked at", REJECTED: "not usable"}


def is_open(face: FaceRecord) -> bool:
    return face.state == OPEN or (face.state == TAKEN and not face.text and not face.saves)


def why(face: FaceRecord) -> str:
    """What a person is asked to do with it."""
    if face.state == OPEN:
        return f"{face.why} Correct the map, say what is seen."
    if face.state == REJECTED:
        return f"Not usable: {face.why}. Saving takes it into the set all the same."
    if face.saves:
        return "It is saved already. Saving again takes its place."
    return "The map is taken; a caption is missing. Say what is seen."


def progress(states: Sequence[FaceRecord], place: int | None) -> str:
    """HTML of "3 of 17", with how many are done."""
    done = sum(not is_open(face) for face in states)
    where = "Done" if place is None else f"{place + 1} of {len(states)}"
    bar = f'<progress value="{done}" max="{len(states) or 1}" aria-label="Faces that are done"></progress>'
    kind = " finished" if place is None else ""
    return f'<div class="place{kind}" role="status"><b>{where}</b> {bar} <span>{done} done</span></div>'


def photo_view(crop: Image.Image, photo: Any) -> str:
    """HTML of the face without its map, and where it is from."""
    facts = " · ".join(filter(None, (photo.photo, photo.author, photo.licence or "no licence known")))
    picture = f'<img src="{views.data_url(crop, format="WEBP")}" alt="The face as it is">'
    return f'<figure>{picture}<figcaption title="{escape(photo.source)}">{escape(facts)}</figcaption></figure>'
