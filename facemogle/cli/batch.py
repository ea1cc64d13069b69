"""`python -m facemogle batch`: many pictures from a list of jobs or a data folder, on one machine or many."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import Any

from facemogle.batch.jobs import JobErrors, Source, finish, read_jobs
from facemogle.batch.model import Model
from facemogle.batch.rows import FIELDS, SUFFIXES
from facemogle.batch.run import Outcome, run
from facemogle.batch.workers import LocalWorkers, Maker, Workers
from facemogle.batch.writing import MANIFEST, Store
from facemogle.cli.arguments import (
    CLASSES_HELP,
    LABEL_MAP_HELP,
    add_command,
    classes,
    device,
    expert_factor,
    lora,
    positive,
    report_failure,
    seed,
    size,
    steps,
)
from facemogle.data.pairs import read_ids
from facemogle.presets import CONDITION_REFRESH_HELP, PRESET_HELP, PRESETS, STEP_CACHE_CHOICES, STEP_CACHE_HELP

SHOWN = 20  # errors, or doubts about label maps
_EPILOG = f"""\
JOBS is a list of jobs, a file or any address of fsspec, which ends in {" ".join(SUFFIXES)}; or a data folder
as training reads it, whose faces are then made anew from their label maps and first captions. A job's fields:
{fill(" ".join(FIELDS), 100, initial_indent="  ", subsequent_indent="  ")}
None has to be there. Label maps' paths are taken from the list's folder. What a job leaves open, the options above say,
else the checkpoint. Pictures are named by `name`, else `face`, else the label map, else the line; where one comes
again, all lie in folders of their seeds: seed8/NAME.png. manifest.parquet tells of each its face, seed, group, caption,
label map, hash, and of failures the reason. Run again, it makes what is missing.

examples:
  a list:            python -m facemogle batch jobs.jsonl --out faces
  a data set:        python -m facemogle batch DATA --ids test.txt --checkpoint flux --format jpg --out faces
  from maps alone:   python -m facemogle batch DATA --without prompt --out faces
  4 seeds of each:   python -m facemogle batch jobs.csv --seeds 4 --out faces
  on a Ray cluster:  python -m facemogle batch jobs.parquet --ray auto --out s3://bucket/faces --shards 1000

{LABEL_MAP_HELP}"""
_IDS_HELP = "of a data folder, the faces named in this text file alone, one a line"
_SEEDS_HELP = "make each job N times, of as many seeds upwards from its own (default: 1)"
_WITHOUT_HELP = "draw from the other condition alone; the manifest still tells both"
_REPLACE_HELP = "make anew what was made of other jobs or settings, and remove what is not among the jobs any more"
_WORKERS_HELP = "processes (default: one for each GPU, else for each of the CPU's cores, as the memory allows)"
_RAY_HELP = "make them on a Ray cluster: its address, auto for this machine's, or local for one that is started here"
_SHARDS_HELP = "write tar files of N jobs each, as WebDataset reads them, in place of single files"


def add_batch(commands) -> None:
    summary = "many pictures from a list of jobs or a data folder, on one machine or a cluster"
    add = add_command(commands, "batch", run_batch, summary, _EPILOG).add_argument
    add("jobs", metavar="JOBS", help="a list of jobs, or a data folder (see below)")
    add("--out", required=True, metavar="FOLDER", help="of the pictures and their manifest; or any address of fsspec")
    add("--format", choices=("png", "jpg"), default="png", help="jpg: of quality 75, as the paper's (default: png)")
    add("--shards", type=positive, metavar="N", help=_SHARDS_HELP)
    add("--replace", action="store_true", help=_REPLACE_HELP)
    add("--ids", type=Path, metavar="FILE", help=_IDS_HELP)
    add("--without", choices=("prompt", "label-map"), help=_WITHOUT_HELP)
    add("--classes", type=classes, metavar="NAME", help=CLASSES_HELP)
    add("--seed", type=seed, default=0, help="of jobs that name none (default: 0)")
    add("--seeds", type=positive, default=1, metavar="N", help=_SEEDS_HELP)
    add("--steps", type=steps, metavar="N", help="denoising steps (default: the checkpoint's)")
    add("--guidance-scale", type=float, metavar="S", help="how strongly the text guides (default: the checkpoint's)")
    add("--condition-scale", type=float, default=1.0, metavar="S", help="how strongly the map guides (default: 1)")
    add("--expert-scale", type=expert_factor, action="append", metavar="NAME=S", help="an expert's weight times S")
    add("--size", type=size, default=(None, None), metavar="HxW", help="as 512 or 512x768 (default: the checkpoint's)")
    add("--checkpoint", default="mini", metavar="NAME", help="mini, flux, a folder or a Hub id (default: mini)")
    add("--adapter", metavar="FILE", help="LoRA weights in place of the checkpoint's")
    add("--mogle", metavar="FILE", help="MoGLE weights in place of the checkpoint's")
    add("--lora", type=lora, action="append", metavar="FILE[:SCALE]", help="a LoRA of the base; may be repeated")
    add("--preset", choices=PRESETS, help=PRESET_HELP)
    add("--step-cache", choices=STEP_CACHE_CHOICES, help=STEP_CACHE_HELP)
    add("--condition-refresh", type=positive, default=1, metavar="K", help=CONDITION_REFRESH_HELP)
    add("--device", type=device, help="cpu, cuda, cuda:1, ... (default: every GPU there is, else the CPU)")
    add("--workers", type=positive, metavar="N", help=_WORKERS_HELP)
    add("--ray", metavar="ADDRESS", help=_RAY_HELP)


def run_batch(arguments: argparse.Namespace) -> int:
    """-> the exit code: 1 where pictures failed, 2 where jobs cannot be made."""
    source = Source(
        place=arguments.jobs,
        seeds=arguments.seeds,
        without=arguments.without,
        ids=None if arguments.ids is None else tuple(read_ids(arguments.ids)),
        classes=arguments.classes,
    )
    if source.ids is not None and not Path(source.place).is_dir():
        raise ValueError(f"--ids names faces of a data folder, and {source.place} is none. Leave it out of a list.")
    try:
        return _run(source, arguments)
    except JobErrors as errors:
        _report(errors.messages)
        print(f"facemogle: {len(errors.messages)} jobs cannot be made; none was begun.", file=sys.stderr)
        return 2


def _run(source: Source, arguments: argparse.Namespace) -> int:
    jobs, doubts = read_jobs(source, _given_settings(arguments))
    _report(doubts)
    model = Model(
        checkpoint=arguments.checkpoint,
        adapter=arguments.adapter,
        mogle=arguments.mogle,
        loras=tuple(sorted({file for job in jobs for file in job.settings.loras or ()})),
        device=arguments.device,
        preset=arguments.preset,
        step_cache=arguments.step_cache,
        condition_refresh=arguments.condition_refresh,
        folder=os.getcwd(),
    )
    workers = _workers(arguments)
    survey = workers.survey(model)
    model = replace(model, preset=survey.preset)
    jobs = finish(jobs, source, survey, model.identity(survey))
    model.check_sizes({(job.settings.height, job.settings.width) for job in jobs})
    out = arguments.out if "://" in arguments.out else os.path.abspath(arguments.out)
    maker = Maker(model, Store(out), f".{arguments.format}", survey.gigabytes)
    outcome = run(jobs, maker, workers, shard_size=arguments.shards, replace=arguments.replace)
    _tell(outcome, arguments.out)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return 1 if outcome.failed else 0


def _given_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of Settings for what jobs leave open; None: the checkpoint's."""
    return {
        "seed": arguments.seed,
        "num_inference_steps": arguments.steps,
        "guidance_scale": arguments.guidance_scale,
        "condition_scale": arguments.condition_scale,
        "expert_scale": arguments.expert_scale and dict(arguments.expert_scale),
        "height": arguments.size[0],
        "width": arguments.size[1],
        "checkpoint": arguments.checkpoint,
        "loras": arguments.lora and dict(arguments.lora),
    }


def _workers(arguments: argparse.Namespace) -> Workers:
    if arguments.ray is None:
        return LocalWorkers(arguments.device, arguments.workers)
    from facemogle.batch.ray_workers import RayWorkers

    return RayWorkers(arguments.ray, arguments.device, arguments.workers)


def _report(messages: Sequence[str]) -> None:
    for message in messages[:SHOWN]:
        report_failure(message)
    if len(messages) > SHOWN:
        report_failure(f"and {len(messages) - SHOWN} more.")


def _tell(outcome: Outcome, out: str) -> None:
    counts = [f"{outcome.made} pictures made", f"{outcome.there} were there", f"{outcome.failed} failed"]
    told = ", ".join(counts[:1] + [each for each in counts[1:] if not each.startswith("0 ")])
    print(f"{told}. {out.rstrip('/') or os.curdir}/{MANIFEST} tells of each.")
