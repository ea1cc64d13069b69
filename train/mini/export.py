"""Put the trained parts together into the bundled checkpoint, an ordinary FaceMoGLEPipeline folder."""

import json
import shutil
from pathlib import Path

import torch
import yaml
from diffusers import FlowMatchEulerDiscreteScheduler
from matplotlib.figure import Figure

from facemogle.checkpoints import ADAPTER_FILE, SUGGESTIONS_FILE, load_pipeline
from facemogle.pipeline import FaceMoGLEPipeline
from train.mini.adapter import load_adapter
from train.mini.config import STAGES, MiniConfig
from train.mini.portraits import SUGGESTIONS
from train.mini.text import read_synonyms
from train.mini.vae import load_vae
from train.publish import CONFIG_FILE, WEIGHTS_FOLDER
from train.train import LOG_FILE

ASSETS = Path(__file__).resolve().parents[2] / "assets"
DESTINATION = ASSETS / "mini"
RECORD_FILE = "training.json"
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
        max_sequence_length=config.text_length,
    )


def export(config: MiniConfig, destination: Path = DESTINATION) -> None:
    """Write bfloat16 safetensors in shards of at most 9 MB, the settings, and the log of every stage."""
    part = destination.with_name(f"{destination.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    assemble(config).to(dtype=torch.bfloat16).save_pretrained(part, max_shard_size="9MB")
    forget_origin(part)
    read_synonyms(part)
    (part / "LICENSE.md").write_text(LICENSE_NOTE)
    (part / SUGGESTIONS_FILE).write_text(json.dumps(SUGGESTIONS, indent=1) + "\n")
    write_record(training_record(config), part)
    shutil.rmtree(destination, ignore_errors=True)
    part.rename(destination)


def forget_origin(folder: Path) -> None:
    """diffusers notes in a part's config the folder that it was read from."""
    for file in folder.glob("*/config.json"):
        settings = json.loads(file.read_text())
        if settings.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(settings, indent=2) + "\n")


def adopt(config: MiniConfig, destination: Path = DESTINATION) -> None:
    """Put the adapter and the MoGLE of a run of `train.train` in the place of the checkpoint's, its log in the record.

    CheckpointError where the run has not written its weights.
    """
    run = config.adapter_run
    weights = run / WEIGHTS_FOLDER
    pipeline = load_pipeline(
        destination, adapter=weights / ADAPTER_FILE, mogle=weights / "mogle", dtype=torch.bfloat16, device="cpu"
    )
    pipeline.save_condition_adapter(destination / ADAPTER_FILE)
    pipeline.mogle.save_pretrained(destination / "mogle")
    forget_origin(destination)
    settings = yaml.safe_load((run / CONFIG_FILE).read_text())
    for name in ("checkpoint", "cache", "data", "output"):
        del settings[name]
    lines = [json.loads(line) for line in (run / LOG_FILE).read_text().splitlines()]
    learned = [{name: line[name] for name in ("step", "loss", "seconds")} for line in lines if "loss" in line]
    tested = [{"step": line["step"], "loss": line["validation_loss"]} for line in lines if "validation_loss" in line]
    stages = {"adapter": thinned(learned), "validation": tested}
    before = json.loads((destination / RECORD_FILE).read_text())
    write_record({"settings": {"size": settings["height"]} | settings, "stages": stages, "before": before}, destination)


def write_record(record: dict, folder: Path) -> None:
    (folder / RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n")
    draw_curves(record, folder / "training.png")


def thinned(points: list[dict]) -> list[dict]:
    """About a hundred of them, with the last one of each lot."""
    every = max(1, len(points) // 100)
    return points[every - 1 :: every]


def training_record(config: MiniConfig) -> dict:
    """The settings, and (step, loss, seconds) of every stage, thinned to a hundred points; "before", what it went on
    from."""
    settings = {name: value for name, value in vars(config).items() if not isinstance(value, Path)}
    curves = {}
    for stage in STAGES:
        log = config.folder / stage / "log.jsonl"
        curves[stage] = thinned([json.loads(line) for line in log.read_text().splitlines()] if log.exists() else [])
    record = {"settings": settings, "stages": curves}
    before = config.start_from / RECORD_FILE
    return record | {"before": json.loads(before.read_text())} if before.is_file() else record


def runs(record: dict) -> list[dict]:
    """A training record and those it went on from, the first one first."""
    return [*(runs(record["before"]) if "before" in record else []), record]


def draw_curves(record: dict, path: Path) -> None:
    """Loss over steps: a row for every run, a panel for every stage whose course, not its end alone, was kept."""
    kept = [{stage: points for stage, points in run["stages"].items() if len(points) > 1} for run in runs(record)]
    drawn = [(run, stages) for run, stages in zip(runs(record), kept, strict=True) if stages]
    figure = Figure(figsize=(12, max(1, 2.6 * len(drawn))), layout="constrained")
    if drawn:
        panels = figure.subplots(len(drawn), max(len(stages) for _, stages in drawn), squeeze=False)
    for (run, stages), axes in zip(drawn, panels if drawn else (), strict=True):
        for panel in axes[len(stages) :]:
            panel.axis("off")
        for panel, (stage, points) in zip(axes, stages.items(), strict=False):
            panel.semilogy([point["step"] for point in points], [point["loss"] for point in points])
            panel.set(title=f"{stage}, {run['settings']['size']} px", xlabel="step", ylabel="loss")
    figure.savefig(path, dpi=100)
