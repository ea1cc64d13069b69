"""The same for programs: named endpoints for gradio_client, and tools for MCP, whose texts are the docstrings here."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from facemogle import figures
from facemogle.gating import load_gating, save_gating
from facemogle.label_files import read_label_map, write_label_map
from facemogle.parsing.photos import read_photo
from facemogle.ui import torch_thread
from facemogle.ui.expert_scales import ExpertScales
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.visit import Visit


def add_api(
    provider: PipelineProvider,
    paint: Callable[..., Iterator[tuple]],
    load_parser: Callable[[], Any] | None,
    *,
    concurrency_id: str,
) -> None:
    """Add /generate, /parse and /gating to the page that is being built.

    paint: handlers.generate, bound to the provider; its runs share `concurrency_id` with those of the page.
    """

    def generate(
        label_map: str | None = None,
        prompt: str = "",
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        condition_scale: float = 1,
        expert_scale: dict[str, float] | None = None,
    ) -> tuple[str, str]:
        """Paint a face that follows a label map, a prompt, or both.

        Args:
            label_map: PNG of class ids 0 to 18, indexed or greyscale, or in the palette's colours; none: prompt alone.
            prompt: what the face should look like; empty: the label map alone.
            seed: the noise that the face grows from, 0 to 4294967295; the same seed gives the same face.
            steps: how often the face is refined; none: the checkpoint's own number.
            guidance_scale: how boldly the face follows the prompt; none: the checkpoint's own.
            condition_scale: how much the face listens to the label map, 1 as trained, 0 not at all.
            expert_scale: factors of the experts' say by name, such as {"hair": 0} to mute that one.

        Returns:
            The face as a PNG that carries its settings, and the gating weights as an .npz file for /gating.
        """
        with explained():
            chosen = None if label_map is None else read_label_map(label_map)[0]
        config = provider.get().config
        steps = config.num_inference_steps if steps is None else steps
        guidance_scale = config.guidance_scale if guidance_scale is None else guidance_scale
        updates = paint(Visit(), chosen, prompt, seed, 1, steps, guidance_scale, condition_scale, expert_scale)
        *_, (face, _, visit) = updates
        return face, saved("gating.npz", lambda path: save_gating(path, visit.run.gating))

    def parse(photo: str) -> str:
        """Read the label map from a picture of a face that this page's checkpoint made.

        Args:
            photo: the picture, in any common format.

        Returns:
            The label map, an indexed PNG of class ids 0 to 18.
        """
        if load_parser is None:
            raise gr.Error(f"No parser here can read the faces of {provider.checkpoint}.")
        with explained():
            picture = read_photo(photo)
        (label_map,) = torch_thread.call(load_parser().parse, [picture])
        return saved("label-map.png", lambda path: write_label_map(path, label_map))

    def gating(record: str, step: int | None = None) -> str:
        """Draw the gating weights of a run: where each of the 20 experts speaks.

        Args:
            record: the .npz file that /generate returned.
            step: of the run, from 0; none: the mean over all steps.

        Returns:
            A figure of 20 heat maps with a colour bar, as a PNG.
        """
        with explained():
            weights = load_gating(record).at(step)
        return saved("gating.png", figures.expert_grid(weights).save)

    with gr.Column(visible=False):
        gr.Button().click(
            generate,
            [
                gr.File(label="Label map"), gr.Textbox("", label="Prompt"), gr.Number(0, label="Seed", precision=0),
                gr.Number(None, label="Steps", precision=0), gr.Number(None, label="Guidance"),
                gr.Number(1, label="Condition scale"), ExpertScales(),
            ],
            [gr.Image(label="Face", type="filepath", format="png"), gr.File(label="Gating")],
            api_name="generate", concurrency_limit=1, concurrency_id=concurrency_id,
        )  # fmt: skip
        gr.Button().click(parse, gr.File(label="Photo"), gr.File(label="Label map"), api_name="parse")
        gr.Button().click(
            gating, [gr.File(label="Gating"), gr.Number(None, label="Step", precision=0)],
            gr.Image(label="Experts", type="filepath", format="png"), api_name="gating",
        )  # fmt: skip


@contextmanager
def explained() -> Iterator[None]:
    """What is wrong with a file reaches the caller as a message."""
    try:
        yield
    except (ValueError, IndexError, OSError) as error:
        raise gr.Error(str(error), print_exception=False) from error


def saved(name: str, write: Callable[[Path], Any]) -> str:
    """A file in the folder that Gradio serves and cleans up -> its path."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return save_bytes_to_cache((Path(folder) / name).read_bytes(), name, get_upload_folder())
