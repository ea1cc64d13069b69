"""What commands share that make runs of earlier pictures again: their settings, and the pipeline that drew them."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from facemogle.checkpoints import load_pipeline
from facemogle.cli.arguments import device
from facemogle.picture_files import Settings, read_settings
from facemogle.presets import PRESET_HELP, PRESETS

if TYPE_CHECKING:
    from facemogle.pipeline import FaceMoGLEPipeline


def add_loading(command: argparse.ArgumentParser) -> None:
    command.add_argument("--preset", choices=PRESETS, help=PRESET_HELP)
    command.add_argument("--device", type=device, help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def read_run(path: Path) -> Settings:
    """ValueError unless the picture's own settings make it again."""
    settings = read_settings(path)
    if settings is None:
        raise ValueError(f"{path} carries no settings. PNG and JPEG files that `generate` or the page wrote do.")
    if settings.strength is not None:
        raise ValueError(
            f"{path} was made by changing a photo, which it does not carry. Take a face that was drawn whole."
        )
    return settings


def load_for(settings: Settings, arguments: argparse.Namespace) -> "FaceMoGLEPipeline":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it asks for torchvision, which nothing here needs
    return load_pipeline(
        settings.checkpoint, loras=settings.loras or {}, device=arguments.device, preset=arguments.preset
    )
