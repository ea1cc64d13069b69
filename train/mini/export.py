"""Put the trained parts together into the bundled checkpoint, an ordinary FaceMoGLEPipeline folder."""

import json
import shutil
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from matplotlib.figure import Figure

from facemogle.checkpoints import SUGGESTIONS_FILE
from facemogle.pipeline import FaceMoGLEPipeline
from train.mini.adapter import load_adapter
from train.mini.config import STAGES, MiniConfig
from train.mini.portraits import SUGGESTIONS
from train.mini.vae import load_vae

ASSETS = Path(__file__).resolve().parents[2] / "assets"
DESTINATION = ASSETS / "mini"
LICENSE_NOTE = """\
The weights in this folder are licensed under Apache-2.0, as the code that made them.
They were trained from scratch on procedural portraits alone (`train/mini/portraits`): no photograph, no dataset and no
other weights took part. The faces they draw are of nobody.
"""


def assemble(config: MiniConfig) -> FaceMoGLEPipeline:
    text, transformer, mogle = load_adapter(config)
    return FaceMoGLEPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=config.sampling_shift),
        vae=load_vae(config),
        text_encoder=text.text_encoder,
        tokenizer=text.tokenizer,
        text_encoder_2=text.text_encoder_2,
        tokenizer_2=text.tokenizer_2,
        transformer=transformer,
        mogle=mogle,
        height=config.size,
        width=config.size,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
        guidance_until=config.guidance_until,
        max_sequence_length=config.text_length,
    )


def export(config: MiniConfig, destination: Path = DESTINATION) -> None:
    """Write bfloat16 safetensors in shards of at most 9 MB, the settings, and the log of every stage."""
    part = destination.with_name(f"{destination.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    assemble(config).to(dtype=torch.bfloat16).save_pretrained(part, max_shard_size="9MB")
    for file in part.glob("*/config.json"):  # diffusers notes the folder that a run went on from
        settings = json.loads(file.read_text())
        if settings.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(settings, indent=2) + "\n")
    (part / "LICENSE.md").write_text(LICENSE_NOTE)
    (part / SUGGESTIONS_FILE).write_text(json.dumps(SUGGESTIONS, indent=1) + "\n")
    record = training_record(config)
    (part / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    draw_curves(record, part / "training.png")
    shutil.rmtree(destination, ignore_errors=True)
    part.rename(destination)


def training_record(config: MiniConfig) -> dict:
    """The settings, and (step, loss, seconds) of every stage, thinned to a hundred points; "before", what it went on
    from."""
    settings = {name: value for name, value in vars(config).items() if not isinstance(value, Path)}
    curves = {}
    for stage in STAGES:
        log = config.folder / stage / "log.jsonl"
        records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        every = max(1, len(records) // 100)
        curves[stage] = records[every - 1 :: every]
    record = {"settings": settings, "stages": curves}
    before = config.start_from / "training.json"
    return record | {"before": json.loads(before.read_text())} if before.is_file() else record


def runs(record: dict) -> list[dict]:
    """A training record and those it went on from, the first one first."""
    return [*(runs(record["before"]) if "before" in record else []), record]


def draw_curves(record: dict, path: Path) -> None:
    """Loss over steps: a row for every run, a panel for every stage that took part."""
    rows = [{stage: points for stage, points in run["stages"].items() if points} for run in runs(record)]
    figure = Figure(figsize=(12, 2.6 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), max(map(len, rows)), squeeze=False)
    for run, stages, axes in zip(runs(record), rows, panels, strict=True):
        for panel in axes[len(stages) :]:
            panel.axis("off")
        for panel, (stage, points) in zip(axes, stages.items(), strict=False):
            panel.semilogy([point["step"] for point in points], [point["loss"] for point in points])
            panel.set(title=f"{stage}, {run['settings']['size']} px", xlabel="step", ylabel="loss")
    figure.savefig(path, dpi=100)
