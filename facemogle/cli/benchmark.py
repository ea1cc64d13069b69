"""`python -m facemogle benchmark`: how quick this device is with a checkpoint, and whether all is right on it."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from facemogle.checkpoints import available, load_pipeline
from facemogle.cli.arguments import add_command, output_path, positive, size, steps
from facemogle.cli.arguments import device as device_name
from facemogle.presets import CONDITION_REFRESH_HELP, PRESET_HELP, PRESETS, STEP_CACHE_CHOICES, STEP_CACHE_HELP
from facemogle.weight_files import check_device
from facemogle.whole_files import whole_file

ROOT = Path(__file__).parents[2]
_EPILOG = """\
what is measured takes turns: a new label map, one that is known, and stock FLUX, diffusers' own pipeline of the same
size; the floor is the run's floating-point operations at the rate of a large matrix product on this device.
--selftest holds what was recorded from the published implementation to its tolerances on this device, trains some steps
of each kind, and runs every preset and offloading, on few blocks: at most four minutes on a large GPU, exit code 1 if
a check fails. It is part of the repository, not of an installed package.

examples:
  python -m facemogle benchmark --json table.json
  python -m facemogle benchmark --checkpoint flux --preset fast
  python -m facemogle benchmark --checkpoint mini --device cpu
  python -m facemogle benchmark --selftest --json selftest.json
"""
_SELFTEST_HELP = "check this device instead of measuring it; with a word: only by the checks that have it in their name"


def add_benchmark(commands) -> None:
    summary = "how quick this device is, beside stock FLUX and its arithmetic; --selftest: whether all is right on it"
    add = add_command(commands, "benchmark", run_benchmark, summary, _EPILOG).add_argument
    what = "mini, flux, a folder or a Hub id (default: flux on a GPU, random weights where it is not on the disk; mini)"
    add("--checkpoint", metavar="NAME", help=what)
    add("--preset", choices=PRESETS, help=PRESET_HELP)
    add("--step-cache", choices=STEP_CACHE_CHOICES, help=STEP_CACHE_HELP)
    add("--condition-refresh", type=positive, default=1, metavar="K", help=CONDITION_REFRESH_HELP)
    add("--device", type=device_name, help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--size", type=size, default=(None, None), metavar="HxW", help="as 512 or 512x768 (default: the checkpoint's)")
    add("--steps", type=steps, metavar="N", help="denoising steps (default: the checkpoint's)")
    add(
        "--rounds", type=positive, default=5, metavar="N", help="images of each kind, after one to warm up (default: 5)"
    )
    add("--json", type=output_path, metavar="FILE", help="also write the figures")
    add("--selftest", nargs="?", const="", metavar="WORD", help=_SELFTEST_HELP)


def run_benchmark(arguments: argparse.Namespace) -> int:
    """-> the exit code, 1 where a check of the selftest fails."""
    if arguments.selftest is not None:
        return run_selftest(arguments)
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # which speak of what concerns nobody here
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    import torch

    from facemogle.benchmark import RANDOM, benchmark, random_flux

    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    name = arguments.checkpoint or ("mini" if device.type == "cpu" else "flux")
    check_device(device)
    if name == "flux" and not available(name):
        name, pipeline = RANDOM, random_flux(arguments.preset, device, step_cache=arguments.step_cache)
    else:
        pipeline = load_pipeline(name, device=device, preset=arguments.preset, step_cache=arguments.step_cache)
    pipeline.enable_condition_refresh(arguments.condition_refresh)
    height, width = arguments.size
    table = benchmark(
        pipeline, name, height=height, width=width, steps=arguments.steps, rounds=arguments.rounds
    )  # fmt: skip
    print(*table.lines(), sep="\n")
    if arguments.json is not None:
        with whole_file(arguments.json) as part:
            part.write_text(json.dumps(table.as_json(), indent=2) + "\n")
    return 0


def run_selftest(arguments: argparse.Namespace) -> int:
    if not (ROOT / "tests" / "selftest.py").is_file():
        raise ValueError(
            "--selftest needs the recorded tensors, which are in the repository's folder tests, not in the package: "
            "run it in a clone."
        )
    options = {
        "device": arguments.device,
        "json": arguments.json and arguments.json.resolve(),
        "only": arguments.selftest,
    }
    given = [f"--{option}={value}" for option, value in options.items() if value]
    return subprocess.call([sys.executable, "-m", "tests.selftest", *given], cwd=ROOT)
