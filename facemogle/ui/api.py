"""The same for programs: named endpoints for gradio_client, and tools for MCP, whose texts are the docstrings here."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from facemogle import figures
from facemogle.class_orders import OWN, class_order
from facemogle.editing import GROW, distance_to
from facemogle.gating import load_gating, save_gating
from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import CLASS_ID, NAMES
from facemogle.parsing.alignment import Face, Frame, find_faces, frame_face, frame_whole
from facemogle.parsing.parse import FaceParse, FaceParser, parse_frame
from facemogle.parsing.photos import read_photo
from facemogle.picture_files import Settings, read_settings
from facemogle.region_files import read_region
from facemogle.ui import torch_thread
from facemogle.ui.api_fields import Names, Number, Switch, Text, explained, given, saved
from facemogle.ui.expert_scales.component import ExpertScales
from facemogle.ui.handlers import unchanged
from facemogle.ui.photo.handlers import Parsers
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.run import Base
from facemogle.ui.studies import add_studies
from facemogle.ui.visit import BLANK_SIDE, Visit

MISREAD = ("empty", "one part", "order", "turned", "no face")  # doubts that an order given with a map overrules
SQUASHED = 0.05  # a picture's sides are brought to those of a run, if their proportions differ by no more


def add_api(
    provider: PipelineProvider,
    paint: Callable[..., Iterator[tuple]],
    load_parser: Callable[[], Any] | None,
    parsers: Parsers | None,
    *,
    concurrency_id: str,
    studies: bool = True,
) -> None:
    """Add /generate, /edit, /parse, /cut_out and /gating, and the `studies`, to the page that is being built.

    paint: handlers.generate, bound to the provider; its runs share `concurrency_id` with those of the page.
    load_parser: of the parser that reads the checkpoint's own faces. parsers: those that read photos.
    """

    def painted(label_map: np.ndarray | None, prompt: str, seed: int, steps: int | None, *more: Any) -> Iterator[tuple]:
        """Yield (None, None), so that Gradio may end the run of a caller who has gone; then face and gating weights."""
        with explained(None):
            steps = provider.get().config.num_inference_steps if steps is None else steps
        for face, _, visit in paint(Visit(), label_map, prompt, seed, 1, steps, *more):
            if isinstance(visit, Visit) and visit.run and visit.run.gating:
                yield face, saved("gating.npz", partial(save_gating, record=visit.run.gating))
            else:
                yield None, None

    def generate(
        label_map: str | None = None,
        prompt: str = "",
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        condition_scale: float = 1,
        expert_scale: dict[str, float] | None = None,
        classes: str = "",
    ) -> Iterator[tuple[str | None, str | None]]:
        """Paint a face that follows a label map, a prompt, or both.

        Args:
            label_map: PNG of class ids 0 to 18, indexed or greyscale, or in the palette's colours; none: prompt alone.
                What looks misread, or like another class order, is refused unless `classes` says what it is.
            prompt: what the face should look like; empty: the label map alone.
            seed: the noise that the face grows from, 0 to 9007199254740991; the same seed gives the same face.
            steps: how often the face is refined; none: the checkpoint's own number.
            guidance_scale: how boldly the face follows the prompt; none: the checkpoint's own.
            condition_scale: how much the face listens to the label map, 1 as trained, 0 not at all.
            expert_scale: factors of the experts' say by name, such as {"hair": 0} to mute that one.
            classes: what the label map's values mean, where not as in CelebAMask-HQ: face-parsing.pytorch, segface,
                farl, lapa, helen, each also with -swapped behind it for left and right exchanged, or a table as JSON,
                such as {"0": "background", "1": "hair"}.

        Returns:
            The face as a PNG that carries its settings, and the gating weights as an .npz file for `gating`.
        """
        chosen = given_map("Label map", label_map, classes)
        yield from painted(chosen, prompt, seed, steps, guidance_scale, condition_scale, expert_scale)

    def edit(
        picture: str,
        prompt: str = "",
        label_map: str | None = None,
        source_map: str | None = None,
        region: str | None = None,
        parts: list[str] | None = None,
        seed: int = 0,
        strength: float = 1,
        steps: int | None = None,
        guidance_scale: float | None = None,
        condition_scale: float = 1,
        expert_scale: dict[str, float] | None = None,
        classes: str = "",
    ) -> Iterator[tuple[str | None, str | None]]:
        """Change a part of a picture; outside that part every pixel stays as it is.

        That is a region, or where some classes are, or, with neither, where two label maps differ; and a little around.

        Args:
            picture: what to change; of a photo, first cut out the face.
            prompt: what the changed part should show; empty: the label map alone.
            label_map: what the changed picture is to show, as in `generate`; none: as the picture that was made here
                says of itself.
            source_map: the label map of the picture as it is; none: what the picture that was made here says of itself.
            region: a picture, white where the other may change and black elsewhere; none: see `parts`.
            parts: classes of `source_map` whose places may change, such as ["hair"]; none: where the label maps differ.
            seed: the noise that the change grows from, 0 to 9007199254740991.
            strength: how much is drawn anew where it may change, over 0 up to 1; less keeps more of what is there.
            steps: how often the change is refined; none: the checkpoint's own number.
            guidance_scale: how boldly it follows the prompt; none: the checkpoint's own.
            condition_scale: how much it listens to the label map, 1 as trained, 0 not at all.
            expert_scale: factors of the experts' say by name, such as {"hair": 0} to mute that one.
            classes: what both label maps' values mean, as in `generate`.

        Returns:
            The changed picture as a PNG that carries its settings, and the gating weights as an .npz file for `gating`.
        """
        with explained(given("Picture", picture), "Picture"):
            photo, settings = read_photo(picture), settings_of(picture)
        own = settings.label_map if settings else None
        source = own if source_map is None else given_map("Source map", source_map, classes)
        chosen = own if label_map is None else given_map("Label map", label_map, classes)
        with explained(region, "Region"):
            free = None if region is None else read_region(region)
        if free is None:
            free = free_part(source, chosen, parts)
        elif parts:
            raise gr.Error("Region and Parts each say what may change. Give one of them.", print_exception=False)
        with explained(None, "Picture"):
            check_proportions(photo, provider.picture_size(chosen))
        source = np.zeros((BLANK_SIDE, BLANK_SIDE), np.uint8) if source is None else source
        base = Base(Image.fromarray(photo), source)
        steered = guidance_scale, condition_scale, expert_scale
        yield from painted(chosen, prompt, seed, steps, *steered, True, strength, base, free)

    def parse(photo: str, whole: bool = False) -> str:
        """Read the label map of a face: find the largest in a photo, turn it upright, cut it out, and read that.

        A picture that shows a face as portraits here do, from over the hair to the top of the shoulders, is left as it
        is, and so is one that was made here. Small islands are joined to what surrounds them.

        Args:
            photo: the picture, in any common format.
            whole: read the picture as it is, without looking for a face.

        Returns:
            The label map, an indexed PNG of class ids 0 to 18; of a face that was cut out, 512x512.
        """
        with explained(given("Photo", photo), "Photo"):
            label_map = read_face(photo, parsers, load_parser, whole=whole).label_map
        return saved("label-map.png", lambda path: write_label_map(path, label_map))

    def cut_out(photo: str) -> str:
        """Cut the largest face out of a photo, upright, as `parse` does before it reads it, for `edit` to change.

        Args:
            photo: the picture, in any common format.

        Returns:
            The face, a PNG of 512x512; the photo itself where it shows a face as portraits here do.
        """
        with explained(given("Photo", photo), "Photo"):
            picture = read_photo(photo)
            crop = frame_of(picture, photo, whole=settings_of(photo) is not None).crop(picture)
        return saved("face.png", Image.fromarray(crop).save)

    def gating(record: str, step: int | None = None) -> str:
        """Draw the gating weights of a run: where each of the 20 experts speaks.

        Args:
            record: the .npz file that `generate` returned.
            step: of the run, from 0; none: the mean over all steps.

        Returns:
            A figure of 20 heat maps with a colour bar, as a PNG.
        """
        with explained(given("Record", record), "Record"):
            weights = load_gating(record)
        with explained(None, "Step"):
            chosen = weights.at(step)
        return saved("gating.png", figures.expert_grid(chosen).save)

    def picture(label: str) -> gr.Image:
        return gr.Image(label=label, type="filepath", format="png")

    def how() -> list[gr.components.Component]:
        return [
            Number(None, label="Steps", precision=0), Number(None, label="Guidance"),
            Number(1, label="Condition scale"), ExpertScales(label="Expert scale"), Text("", label="Classes"),
        ]  # fmt: skip

    runs: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": concurrency_id}
    with gr.Column(visible=False):
        gr.Button().click(
            generate,
            [gr.File(label="Label map"), Text("", label="Prompt"), Number(0, label="Seed", precision=0), *how()],
            [picture("Face"), gr.File(label="Gating")], api_name="generate", **runs,
        )  # fmt: skip
        gr.Button().click(
            edit,
            [
                gr.File(label="Picture"), Text("", label="Prompt"), gr.File(label="Label map"),
                gr.File(label="Source map"), gr.File(label="Region"), Names(NAMES, label="Parts"),
                Number(0, label="Seed", precision=0), Number(1, label="Strength"), *how(),
            ],
            [picture("Face"), gr.File(label="Gating")], api_name="edit", **runs,
        )  # fmt: skip
        gr.Button().click(
            parse, [gr.File(label="Photo"), Switch(False, label="Whole")], gr.File(label="Label map"),
            api_name="parse",
        )  # fmt: skip
        gr.Button().click(cut_out, gr.File(label="Photo"), picture("Face"), api_name="cut_out")
        gr.Button().click(
            gating, [gr.File(label="Record"), Number(None, label="Step", precision=0)], picture("Experts"),
            api_name="gating",
        )  # fmt: skip
        if studies:
            add_studies(provider, runs)


def read_face(
    path: str, parsers: Parsers | None, own_parser: Callable[[], FaceParser] | None, *, whole: bool
) -> FaceParse:
    """What faces.parse_face reads in a file by default; what was made here by `own_parser`, all else by the first.

    ValueError where the file is no picture, or shows no face and is not to be read whole, or where no parser is here.
    """
    photo, made_here = read_photo(path), settings_of(path) is not None
    load = partial(parsers.load, parsers.default) if parsers else own_parser
    load = own_parser if made_here and own_parser else load
    if load is None:
        raise ValueError("No parser is here that could read a picture.")
    return torch_thread.call(parse_frame, load(), photo, frame_of(photo, path, whole=whole or made_here))


def frame_of(photo: np.ndarray, path: str, *, whole: bool) -> Frame:
    return frame_whole(photo) if whole else frame_face(photo, largest_face(photo, Path(path).name))


def settings_of(path: str) -> Settings | None:
    """Of what was made here. Where they are damaged, the file is like any other photo."""
    try:
        return read_settings(path)
    except ValueError:
        return None


def free_part(source: np.ndarray | None, label_map: np.ndarray | None, parts: list[str] | None) -> np.ndarray | None:
    """(H, W) bool, where classes of a picture's label map are, and a little around; None: where the two maps differ.

    gr.Error where nothing says what may change.
    """
    with explained(None, "Source map" if source is None else "Parts" if parts else "Label map"):
        if source is None:
            raise ValueError("it tells where things are in the picture. Give it, as `parse` reads it, or a Region.")
        if parts:
            free = np.isin(source, [CLASS_ID[name] for name in parts])
            if not free.any():
                raise ValueError(f"there is no {' or '.join(parts).replace('_', ' ')} in the picture.")
            return distance_to(free) <= GROW * min(free.shape)
        if label_map is None or unchanged(label_map, source):
            raise ValueError("where it differs from the Source map, the picture may change. Give one that does, a "
                             "Region or Parts.")  # fmt: skip
    return None


def check_proportions(photo: np.ndarray, size: tuple[int, int]) -> None:
    """ValueError where a picture (H, W, 3) would be squashed to (height, width)."""
    (rows, columns), (height, width) = photo.shape[:2], size
    if abs(np.log(columns * height / (rows * width))) > np.log(1 + SQUASHED):
        raise ValueError(
            f"it is {columns} wide and {rows} high, and would be squashed to {width} and {height}. Cut it to these "
            "proportions, or, around a face, with cut_out."
        )


def largest_face(photo: np.ndarray, name: str) -> Face:
    faces = torch_thread.call(find_faces, photo)
    if not faces:
        raise ValueError(
            f"No face was found in {name}, nor on its side. If it is much tilted, turn it upright. Or have it read as "
            "it is, with whole, or first cut out a square around the face, from over the hair to the top of the "
            "shoulders."
        )
    return faces[0]


def given_map(field: str, path: str | None, classes: str) -> np.ndarray | None:
    """`read_map` of the file in a field, if there is one; gr.Error names the field that is wrong."""
    if path is None:
        return None
    with explained(None, "Classes"):
        class_order(classes or None, files=False)
    with explained(path, field):
        return read_map(path, classes)


def read_map(path: str, classes: str) -> np.ndarray:
    """(H, W) class ids. ValueError, besides label_files' own, where it looks misread and `classes` is "".

    Nothing but an error reaches every caller, and it must not draw a monster without a word.
    """
    reading = read_label_map(path, classes=class_order(classes or None, files=False))
    for doubt in reading.doubts:
        if doubt.kind in MISREAD and not classes:
            raise ValueError(f"{path}: {doubt} To have it drawn as it stands, pass classes as {OWN}.")
        gr.Warning(str(doubt))
    return reading.label_map
