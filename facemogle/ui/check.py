"""`python app.py --check`: the whole path once, through the page's own API, from a label map to the figure."""

import sys
import tempfile
from pathlib import Path

import gradio as gr
import numpy as np
from gradio_client import Client, handle_file

from facemogle.gating import load_gating
from facemogle.label_files import read_label_map, write_label_map
from facemogle.parsing.photos import read_photo
from facemogle.ui.provider import PipelineProvider


def check(page: gr.Blocks, provider: PipelineProvider, label_map: np.ndarray) -> int:
    """Of a page that is up -> 0, or 1 and, on the way, what is missing or wrong."""

    def client() -> Client:
        return Client(page.local_url, verbose=False)

    def generate() -> tuple[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            write_label_map(Path(folder) / "map.png", label_map)
            file = handle_file(Path(folder) / "map.png")
            face, gating = client().predict(file, "", 0, 2, None, 1, None, "", api_name="/generate")
        if np.ptp(read_photo(face)) == 0:
            raise ValueError("the picture is all of one colour")
        load_gating(gating)
        return face, gating

    made: list[tuple[str, str]] = []
    steps = {
        f"weights of {provider.checkpoint}": provider.get,
        "a face in two steps": lambda: made.append(generate()),
        "its label map, read by the parser": lambda: read_label_map(
            client().predict(handle_file(made[0][0]), True, api_name="/parse")
        ),
        "a figure of the experts' weights": lambda: client().predict(handle_file(made[0][1]), None, api_name="/gating"),
    }
    for what, step in steps.items():
        try:
            step()
        except Exception as error:  # of whatever is not as it should be here
            print(f"failed: {what}: {str(error) or type(error).__name__}", file=sys.stderr)
            return 1
        print(f"well: {what}")
    return 0
