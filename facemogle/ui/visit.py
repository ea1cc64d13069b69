"""What one visitor has made: the last runs, and which picture of which is shown."""

import io
from dataclasses import dataclass, replace

import numpy as np
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from facemogle.editing import photo_pixels, regions_between
from facemogle.masks import resize_nearest
from facemogle.photo_changes import CropChange
from facemogle.picture_files import Settings, write_picture
from facemogle.ui.names import names_of
from facemogle.ui.photo.held import Origin
from facemogle.ui.run import Base, Run

BLANK_SIDE = 512  # of the map that stands for none
MAX_RUNS = 8  # kept, with their gating weights


@dataclass(frozen=True, eq=False)
class Visit:
    """`shown` counts the `runs`, oldest first; `image` the pictures of that run. Below 0, no run is shown.

    `onward`: what is shown is what is changed next, though it is itself a change of another picture.
    """

    runs: tuple[Run, ...] = ()
    shown: int = -1
    image: int = 0
    onward: bool = False

    @property
    def run(self) -> Run | None:
        return self.runs[self.shown] if self.shown >= 0 else None

    @property
    def face(self) -> Image.Image | None:
        return self.run.faces[self.image] if self.run else None

    @property
    def settings(self) -> Settings | None:
        return self.run.settings[self.image] if self.run else None

    @property
    def names(self) -> dict[str, str]:
        """Of all pictures of all runs, by their keys: what tells each from the others."""
        pictures = {run.key(image): settings for run in self.runs for image, settings in enumerate(run.settings)}
        return dict(zip(pictures, names_of(list(pictures.values())), strict=True))

    @property
    def before(self) -> Image.Image | None:
        """The picture that the shown one is a change of, at its size, or else the first face of the run before."""
        if self.run and self.face and self.run.request.edit:
            return self.run.request.edit.base.picture.resize(self.face.size, Image.Resampling.LANCZOS)
        return self.runs[self.shown - 1].faces[0] if self.shown > 0 else None

    @property
    def base(self) -> Base | None:
        """What lies under the label map while the picture is shown: what it is a change of, or else the picture."""
        if self.run and self.run.request.edit and not self.onward:
            return self.run.request.edit.base
        return self.drawn

    @property
    def drawn(self) -> Base | None:
        """The picture itself, as one to change."""
        if self.face is None or self.settings is None:
            return None
        label_map = self.settings.label_map
        label_map = np.zeros((BLANK_SIDE, BLANK_SIDE), np.uint8) if label_map is None else label_map
        return Base(self.face, label_map, self._unsure(), origin=self._origin(label_map))

    def _unsure(self) -> np.ndarray | None:
        """Where a parser was unsure of the picture that it is a change of, but for what was drawn anew."""
        edit = self.run and self.run.request.edit
        if not edit or edit.base.unsure is None or edit.region is None:
            return None
        return edit.base.unsure & ~resize_nearest(edit.region, *edit.base.unsure.shape)

    def _origin(self, label_map: np.ndarray) -> Origin | None:
        """The photo that the picture is a change of a crop of."""
        edit = self.run and self.run.request.edit
        if not edit or not edit.base.origin or self.face is None:
            return None
        width, height = self.face.size
        region = edit.region
        if region is None:
            (region,) = regions_between([edit.base.label_map], [label_map], height, width)
        before = photo_pixels(edit.base.picture, height, width)
        change = CropChange(before, np.asarray(self.face), region, (edit.base.label_map, label_map))
        return edit.base.origin.changed(change)

    def undone(self) -> "tuple[Visit, Base | None]":
        """(without the change that made the shown picture, what is to be changed then); itself and None without one."""
        if not self.run or not self.run.request.edit:
            return self, None
        base = self.run.request.edit.base
        for number, run in enumerate(self.runs):
            for image, face in enumerate(run.faces):
                if face is base.picture:
                    return self.showing(number, image), base
        return self.put_aside(), base

    @property
    def steered(self) -> float | None:
        """How far the experts' factors moved the shown run's first picture, as a share of the range of its values.

        Mean absolute difference to the newest earlier run that differs in these factors alone; None without such a run.
        """
        for other in reversed(self.runs[: max(0, self.shown)]):
            if self.run and differ_in_factors_alone(self.run.settings[0], other.settings[0]):
                pictures = [np.asarray(run.faces[0], np.float32) for run in (self.run, other)]
                return float(np.abs(pictures[0] - pictures[1]).mean() / 255)
        return None

    def added(self, run: Run) -> "Visit":
        """With one more run, which is shown; the oldest is let go."""
        runs = (*self.runs, run)[-MAX_RUNS:]
        return Visit(runs, len(runs) - 1)

    def after(self, runs: tuple[Run, ...]) -> "Visit":
        """With runs that went before, and the last of all shown."""
        runs = (*runs, *self.runs)[-MAX_RUNS:]
        return Visit(runs, len(runs) - 1)

    def replaced(self, old: Run, new: Run) -> "Visit":
        """With another run in place of one, if that is still kept."""
        return replace(self, runs=tuple(new if run is old else run for run in self.runs))

    def showing(self, run: int | None = None, image: int = 0) -> "Visit":
        """With another picture shown. ValueError where there is none, as a forged request may ask."""
        run = self.shown if run is None else run
        if not (0 <= run < len(self.runs) and 0 <= image < len(self.runs[run].faces)):
            raise ValueError(f"This visit has no picture {image} of run {run}.")
        return replace(self, shown=run, image=image, onward=False)

    def put_aside(self) -> "Visit":
        """With no run shown: the map on the page is another one."""
        return replace(self, shown=-1, image=0, onward=False)


def differ_in_factors_alone(one: Settings, other: Settings) -> bool:
    rest = [{**vars(each), "expert_scale": None, "label_map": None} for each in (one, other)]
    same_map = np.array_equal(one.label_map, other.label_map)  # type: ignore[arg-type]  # None equals None
    return one.expert_scale != other.expert_scale and rest[0] == rest[1] and same_map


def picture_file(run: Run, image: int) -> str:
    """One picture as a PNG with its settings -> its path, in the folder that Gradio serves and cleans up."""
    file = io.BytesIO()
    write_picture(file, run.faces[image], run.settings[image])
    return save_bytes_to_cache(file.getvalue(), f"face-{run.settings[image].seed}.png", get_upload_folder())
