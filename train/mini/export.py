"""Put the trained parts together into a checkpoint, an ordinary FaceMoGLEPipeline folder, with a record of its run."""

import json
import shutil
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facemogle.checkpoints import SUGGESTIONS_FILE
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.vae import PixelShuffleAutoencoderKL
from train.mini.config import PHASES, MiniConfig
from train.mini.log import Log
from train.mini.model import Mini, scheduler_of
from train.mini.portraits import SUGGESTIONS
from train.mini.text import read_synonyms

ASSETS = Path(__file__).resolve().parents[2] / "assets"
DESTINATION = ASSETS / "mini"
RECORD_FILE = "training.json"
ELSEWHERE = ("folder", "start_from", "device")  # nobody's business, or told as "run"
LICENSE_NOTE = """\
The weights in this folder are licensed under Apache-2.0, as the code that made them.
They were trained from scratch on procedural portraits alone (`train/mini/portraits`): no photograph, no dataset and no
other weights took part.
"""


def pipeline_of(model: Mini, vae: PixelShuffleAutoencoderKL, config: MiniConfig) -> FaceMoGLEPipeline:
    """Copies of the trained parts, on the CPU, as what samples them."""
    parts = {
        "text_encoder": model.encoders.text_encoder, "text_encoder_2": model.encoders.text_encoder_2,
        "transformer": model.transformer, "mogle": model.mogle, "vae": vae,
    }  # fmt: skip
    copies: dict[str, Any] = {name: deepcopy(part).cpu().eval() for name, part in parts.items()}
    return FaceMoGLEPipeline(
        scheduler=scheduler_of(config),
        tokenizer=model.encoders.tokenizer,
        tokenizer_2=model.encoders.tokenizer_2,
        height=config.size,
        width=config.size,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
        max_sequence_length=config.text_length,
        **copies,
    )


def export(model: Mini, vae: PixelShuffleAutoencoderKL, config: MiniConfig, log: Log, destination: Path) -> None:
    """Write bfloat16 safetensors in shards of at most 9 MB, the settings, and the log of every phase; the weights that
    are trained stay as they are. FloatingPointError, and what was there stays, if one of them is no number."""
    pipeline = pipeline_of(model, vae, config)
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    if broken := [name for name, part in networks.items() if not all(p.isfinite().all() for p in part.parameters())]:
        raise FloatingPointError(f"Weights of {', '.join(broken)} are not finite: the training diverged.")
    part = destination.with_name(f"{destination.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    pipeline.to(dtype=torch.bfloat16).save_pretrained(part, max_shard_size="9MB")
    forget_origin(part)
    read_synonyms(part)
    (part / "LICENSE.md").write_text(LICENSE_NOTE + "The faces they draw are of nobody.\n")
    (part / SUGGESTIONS_FILE).write_text(json.dumps(SUGGESTIONS, indent=1) + "\n")
    (part / RECORD_FILE).write_text(json.dumps(training_record(config, log), indent=1) + "\n")
    shutil.rmtree(destination, ignore_errors=True)
    part.rename(destination)


def forget_origin(folder: Path) -> None:
    """diffusers notes in a part's config the folder that it was read from."""
    for file in folder.glob("*/config.json"):
        settings = json.loads(file.read_text())
        if settings.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(settings, indent=2) + "\n")


def thinned(points: list[dict]) -> list[dict]:
    """About a hundred of them, with the last one of each lot."""
    every = max(1, len(points) // 100)
    return points[every - 1 :: every]


def training_record(config: MiniConfig, log: Log) -> dict:
    """The settings, the run (device, minutes, samples), and (step, loss, seconds) of every phase, thinned to a hundred
    points; "before", what it went on from."""
    curves = {name: thinned(log.points(name)) for name in PHASES}
    samples = {name: config.phase(name).batch * points[-1]["step"] for name, points in curves.items() if points}
    record = {
        "settings": {name: value for name, value in asdict(config).items() if name not in ELSEWHERE},
        "run": {
            "device": torch.cuda.get_device_name() if config.device != "cpu" else "CPU",
            "minutes": round(log.seconds() / 60, 1),
            "samples": samples,
        },
        "stages": {name: points for name, points in curves.items() if points},
    }
    before = config.start_from / RECORD_FILE if config.start_from else None
    return record | {"before": json.loads(before.read_text())} if before and before.is_file() else record
