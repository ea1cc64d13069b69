"""The same for programs: named endpoints for gradio_client, and tools for MCP, whose texts are the docstrings here."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from facemogle import figures
from facemogle.class_orders import OWN, class_order
from facemogle.gating import load_gating, save_gating
from facemogle.label_files import read_label_map, write_label_map
from facemogle.parsing.alignment import Face, find_faces, frame_face, frame_whole
from facemogle.parsing.parse import FaceParse, FaceParser, parse_frame
from facemogle.parsing.photos import read_photo
from facemogle.picture_files import read_settings
from facemogle.ui import torch_thread
from facemogle.ui.component import WithoutStub
from facemogle.ui.expert_scales.component import ExpertScales
from facemogle.ui.failures import plain
from facemogle.ui.photo.handlers import Parsers
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.visit import Visit

MAX_TEXT = 20_000  # characters
MISREAD = ("empty", "one part", "order", "turned", "no face")  # doubts that an order given with a map overrules


def add_api(
    provider: PipelineProvider,
    paint: Callable[..., Iterator[tuple]],
    load_parser: Callable[[], Any] | None,
    parsers: Parsers | None,
    *,
    concurrency_id: str,
) -> None:
    """Add /generate, /parse and /gating to the page that is being built.

    paint: handlers.generate, bound to the provider; its runs share `concurrency_id` with those of the page.
    load_parser: of the parser that reads the checkpoint's own faces. parsers: those that read photos.
    """

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
            The face as a PNG that carries its settings, and the gating weights as an .npz file for /gating.
        """
        with explained(label_map):
            chosen = None if label_map is None else read_map(label_map, classes)
            config = provider.get().config
        steps = config.num_inference_steps if steps is None else steps
        guidance_scale = config.guidance_scale if guidance_scale is None else guidance_scale
        updates = paint(Visit(), chosen, prompt, seed, 1, steps, guidance_scale, condition_scale, expert_scale)
        for face, _, visit in updates:
            if isinstance(visit, Visit) and visit.run and visit.run.gating:
                yield face, saved("gating.npz", partial(save_gating, record=visit.run.gating))
            else:  # so that Gradio may end the run of a caller who has gone
                yield None, None

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
        with explained(given("Photo", photo)):
            label_map = read_face(photo, parsers, load_parser, whole=whole).label_map
        return saved("label-map.png", lambda path: write_label_map(path, label_map))

    def gating(record: str, step: int | None = None) -> str:
        """Draw the gating weights of a run: where each of the 20 experts speaks.

        Args:
            record: the .npz file that /generate returned.
            step: of the run, from 0; none: the mean over all steps.

        Returns:
            A figure of 20 heat maps with a colour bar, as a PNG.
        """
        with explained(given("Gating", record)):
            weights = load_gating(record).at(step)
        return saved("gating.png", figures.expert_grid(weights).save)

    with gr.Column(visible=False):
        gr.Button().click(
            generate,
            [
                gr.File(label="Label map"), Text("", label="Prompt"), Number(0, label="Seed", precision=0),
                Number(None, label="Steps", precision=0), Number(None, label="Guidance"),
                Number(1, label="Condition scale"), ExpertScales(), Text("", label="Classes"),
            ],
            [gr.Image(label="Face", type="filepath", format="png"), gr.File(label="Gating")],
            api_name="generate", concurrency_limit=1, concurrency_id=concurrency_id,
        )  # fmt: skip
        gr.Button().click(
            parse, [gr.File(label="Photo"), gr.Checkbox(False, label="Whole")], gr.File(label="Label map"),
            api_name="parse",
        )  # fmt: skip
        gr.Button().click(
            gating, [gr.File(label="Gating"), Number(None, label="Step", precision=0)],
            gr.Image(label="Experts", type="filepath", format="png"), api_name="gating",
        )  # fmt: skip


def read_face(
    path: str, parsers: Parsers | None, own_parser: Callable[[], FaceParser] | None, *, whole: bool
) -> FaceParse:
    """What faces.parse_face reads in a file by default; what was made here by `own_parser`, all else by the first.

    ValueError where the file is no picture, or shows no face and is not to be read whole, or where no parser is here.
    """
    photo, made_here = read_photo(path), is_made_here(path)
    load = partial(parsers.load, parsers.default) if parsers else own_parser
    load = own_parser if made_here and own_parser else load
    if load is None:
        raise ValueError("No parser is here that could read a picture.")
    frame = frame_whole(photo) if whole or made_here else frame_face(photo, largest_face(photo, Path(path).name))
    return torch_thread.call(parse_frame, load(), photo, frame)


def is_made_here(path: str) -> bool:
    """Whether a file carries settings. Where they are damaged, it is like any other photo."""
    try:
        return read_settings(path) is not None
    except ValueError:
        return False


def largest_face(photo: np.ndarray, name: str) -> Face:
    faces = torch_thread.call(find_faces, photo)
    if not faces:
        raise ValueError(
            f"No face was found in {name}, nor on its side. If it is much tilted, turn it upright. Or have it read as "
            "it is, with whole, or first cut out a square around the face, from over the hair to the top of the "
            "shoulders."
        )
    return faces[0]


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


class Text(gr.Textbox, metaclass=WithoutStub):
    """Takes text alone, where Gradio makes text of whatever it is sent."""

    is_template = True  # the page shows gr.Textbox

    def preprocess(self, payload: Any) -> str | None:
        if not (payload is None or (isinstance(payload, str) and len(payload) <= MAX_TEXT)):
            what = f"{len(payload)} characters" if isinstance(payload, str) else type(payload).__name__
            raise gr.Error(f"{self.label} must be text of at most {MAX_TEXT} characters, got {what}.",
                           print_exception=False)  # fmt: skip
        return payload


class Number(gr.Number, metaclass=WithoutStub):
    """Takes numbers alone, and with precision=0 whole ones: what is none gets a message that names the field."""

    is_template = True  # the page shows gr.Number

    def preprocess(self, payload: Any) -> float | int | None:
        number = isinstance(payload, (int, float)) and not isinstance(payload, bool) and abs(payload) < float("inf")
        if payload is not None and not (number and (self.precision is None or payload == int(payload))):
            kind = "number" if self.precision is None else "whole number"
            raise gr.Error(f"{self.label} must be a {kind}, got {str(payload)[:40]!r}.", print_exception=False)
        return super().preprocess(payload)


def given(name: str, path: str | None) -> str:
    if path is None:
        raise gr.Error(f"{name} must be a file, got none.", print_exception=False)
    return path


def explain_inputs(page: gr.Blocks) -> None:
    """What Gradio itself refuses to take, such as a file of the server's, gets words; it would send none."""
    preprocess = page.preprocess_data

    async def explaining(function: Any, inputs: list[Any], *others: Any) -> list[Any]:
        try:
            return await preprocess(function, inputs, *others)
        except gr.Error as error:
            error.print_exception = False  # a visitor's mistake, told to the visitor: no traceback in the log
            raise
        except Exception as error:
            fields = ", ".join(getattr(block, "label", None) or type(block).__name__ for block in function.inputs)
            raise gr.Error(
                f"What was sent is not what is taken here: {fields}. A file is one that was uploaded here, or has a "
                "public address, sent as gradio_client's handle_file does.",
                print_exception=not isinstance(error, ValueError),
            ) from error

    page.preprocess_data = explaining  # type: ignore[assignment, method-assign]


@contextmanager
def explained(path: str | None) -> Iterator[None]:
    """What is wrong reaches the caller as a message, without the folder that a file has here."""
    try:
        yield
    except Exception as error:
        expected = isinstance(error, (ValueError, IndexError, OSError, gr.Error))
        message = str(error) if expected else plain(error)
        if path is not None:
            message = message.replace(path, Path(path).name)
        raise gr.Error(message, print_exception=not expected) from error


def saved(name: str, write: Callable[[Path], Any]) -> str:
    """A file in the folder that Gradio serves and cleans up -> its path."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return save_bytes_to_cache((Path(folder) / name).read_bytes(), name, get_upload_folder())
