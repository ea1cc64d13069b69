"""The photos that all visits hold open together: bounded, and the one that was opened first is let go first."""

import threading
import weakref
from dataclasses import dataclass, replace

import numpy as np

from facemogle.parsing.alignment import Frame
from facemogle.photo_changes import CropChange, goes_on, put_back

LIMIT = 600e6  # bytes, of all of them


class Held:
    """(H, W, 3) uint8 of an open photo, until it is let go. What no visit refers to any more counts no longer."""

    _open: list["weakref.ref[Held]"] = []  # noqa: RUF012  # of the process, the oldest first
    _lock = threading.Lock()

    def __init__(self, pixels: np.ndarray, *, limit: float = LIMIT):
        self._pixels: np.ndarray | None = pixels
        self.size = pixels.shape[0], pixels.shape[1]
        with self._lock:
            held = [each for each in (reference() for reference in self._open) if each and each._pixels is not None]
            taken = pixels.nbytes + sum(each.pixels.nbytes for each in held)
            while held and taken > limit:
                first = held.pop(0)
                taken -= first.pixels.nbytes
                first.let_go()
            self._open[:] = [weakref.ref(each) for each in (*held, self)]

    @property
    def pixels(self) -> np.ndarray:
        """ValueError once it was let go."""
        pixels = self._pixels
        if pixels is None:
            raise ValueError("The photo was let go: many are open here, or your page was away. Drop it again.")
        return pixels

    def let_go(self) -> None:
        self._pixels = None


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a picture on the page comes from: the `frame` of a photo, and what was changed in it since, in turn."""

    name: str
    held: Held
    frame: Frame
    changes: tuple[CropChange, ...] = ()

    def changed(self, change: CropChange) -> "Origin":
        return replace(self, changes=(*self.changes, change))

    @property
    def fades(self) -> bool:
        """Whether a change ends at the frame's border, beyond which the photo goes on."""
        return any(goes_on(self.held.size, self.frame, change.region) for change in self.changes)

    def photo(self) -> np.ndarray:
        """(H, W, 3) uint8: the whole photo with its changes. ValueError once it was let go."""
        return put_back(self.held.pixels, self.frame, self.changes)
