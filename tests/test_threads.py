"""Threads that wait are told to sleep soon, before torch is there, unless the person chose otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from facemogle.threads import SHORT_SPIN, spin_shortly

ROOT = Path(__file__).parents[1]


def test_threads_sleep_soon():
    environment = {"PATH": "/bin"}
    spin_shortly(environment)
    assert environment == {"PATH": "/bin"} | SHORT_SPIN


def test_what_a_person_chose_stays():
    environment = {"GOMP_SPINCOUNT": "infinity"}
    spin_shortly(environment)
    assert environment == SHORT_SPIN | {"GOMP_SPINCOUNT": "infinity"}
    environment = {"OMP_WAIT_POLICY": "ACTIVE"}
    spin_shortly(environment)
    assert environment == {"OMP_WAIT_POLICY": "ACTIVE"}


@pytest.mark.parametrize("start", ["import app as entry", "import facemogle.cli as entry"])
def test_app_and_command_line_say_so_before_torch_is_imported(start):
    """torch's OpenMP reads the environment once, as it is loaded."""
    program = f"""
import builtins, os, sys
{start}
def watched(name, *rest, real=builtins.__import__, **named):
    if name == "torch" and name not in sys.modules:
        print("GOMP_SPINCOUNT" in os.environ)
    return real(name, *rest, **named)
builtins.__import__ = watched
assert "torch" not in sys.modules
try:
    entry.main(["--help"])
except SystemExit:
    pass
import torch
"""
    environment = {name: value for name, value in os.environ.items() if name not in {*SHORT_SPIN, "OMP_WAIT_POLICY"}}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True"


def test_pipeline_and_parser_may_be_loaded_at_once():
    """As where a page with runs finds its server again that has just started."""
    script = """
from concurrent.futures import ThreadPoolExecutor
from facemogle.checkpoints import load_parser, load_pipeline

with ThreadPoolExecutor() as threads:
    for loading in [threads.submit(load, "mini") for load in (load_pipeline, load_parser)]:
        loading.result()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]
