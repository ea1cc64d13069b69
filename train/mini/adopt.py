"""A run of `train.train` on the exported checkpoint: its adapter and MoGLE take the place of the checkpoint's own."""

import json
from pathlib import Path

import torch
import yaml

from facemogle.checkpoints import ADAPTER_FILE, load_pipeline
from train.mini.export import DESTINATION, RECORD_FILE, forget_origin, thinned, write_record
from train.publish import CONFIG_FILE, WEIGHTS_FOLDER
from train.train import LOG_FILE


def adopt(run: Path, destination: Path = DESTINATION) -> None:
    """With its log in the record. CheckpointError where the run has not written its weights."""
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
