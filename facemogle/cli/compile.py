"""`python -m facemogle compile`: the transformer's blocks compiled ahead of time, for a Space with ZeroGPU."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from facemogle.checkpoints import load_pipeline
from facemogle.cli.arguments import add_command
from facemogle.cli.arguments import device as device_name
from facemogle.folders import own_folder
from facemogle.weight_files import check_device

if TYPE_CHECKING:
    from facemogle.pipeline import FaceMoGLEPipeline

_EPILOG = """\
one package for each class of blocks, code without weights, for 1 to 8 images of up to 1024x1024 pixels. It runs where
torch has the same version and the GPU the same generation (an H200's on ZeroGPU), so compile there. flux takes neither
its weights nor its licence for that: two blocks with random weights in its place have the same code. Upload the folder
to the Hub, and name it where app.py runs: --blocks, or the variable FACEMOGLE_BLOCKS of a Space.

examples:
  python -m facemogle compile --checkpoint flux --out blocks
  python -m facemogle compile --checkpoint mini --device cpu --out blocks
  hf upload owner/name blocks --exclude .lock
"""
_ADAPTER_HELP = "the LoRA of the condition tokens that it will run with, where not the checkpoint's: its rank matters"


def add_compile(commands) -> None:
    summary = "compile the transformer's blocks ahead of time, for a Space with ZeroGPU"
    add = add_command(commands, "compile", run_compile, summary, _EPILOG).add_argument
    add("--checkpoint", default="flux", metavar="NAME", help="mini, flux, a folder or a Hub id (default: flux)")
    add("--adapter", metavar="FILE", help=_ADAPTER_HELP)
    add("--device", type=device_name, help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the packages go")


def run_compile(arguments: argparse.Namespace) -> None:
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # which speak of what concerns nobody here
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    from facemogle.compiled_blocks import compile_blocks

    with own_folder(arguments.out):
        for line in compile_blocks(pipeline_for(arguments), arguments.out):
            print(line, flush=True)


def pipeline_for(arguments: argparse.Namespace) -> "FaceMoGLEPipeline":
    """One whose blocks have the code that is wanted, with weights as they are; of flux, one block of each class."""
    import torch

    from facemogle.random_flux import FLUX_PARTS, random_pipeline

    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    check_device(device)
    if arguments.checkpoint != "flux" or arguments.adapter is not None:
        preset = "cpu" if device.type == "cpu" else "quality"
        return load_pipeline(arguments.checkpoint, adapter=arguments.adapter, device=device, preset=preset)
    parts = FLUX_PARTS | {"transformer": FLUX_PARTS["transformer"] | {"num_layers": 1, "num_single_layers": 1}}
    return random_pipeline(parts, dtype=torch.float32 if device.type == "cpu" else torch.bfloat16, device=device)
