"""A folder that is written to for hours is one process's alone; what keeps it from being written to is told first."""

import subprocess
import sys

import psutil
import pytest

from facemogle.folders import own_folder
from tests.tiny_training import ERRORS, run, start, start_pair, wait_for_step
from train.mini.__main__ import main as mini

LONG = {"steps": 400, "checkpoint_every": 4, "log_every": 3}


def test_a_second_trainer_in_the_same_folder_is_refused(tmp_path):
    process = start(tmp_path / "run", **LONG)
    wait_for_step(tmp_path / "run", process, 3)
    with pytest.raises(BlockingIOError, match=r"Another process is writing to .*run.*or choose another folder"):
        run(tmp_path / "run", **LONG)
    process.kill()  # which frees it at once, though nothing was cleaned up
    process.join()
    assert run(tmp_path / "run", steps=4) == 0


def test_a_second_trainer_of_many_processes_is_refused_in_each(tmp_path):
    with own_folder(tmp_path):
        pair = start_pair(tmp_path, steps=1)
        for process in pair:
            process.join()
    assert [process.exitcode for process in pair] == [1, 1]
    assert (tmp_path / ERRORS).read_text().count("BlockingIOError: Another process is writing to") == 2


def test_a_killed_owner_frees_its_folder_though_its_workers_live_on(tmp_path):
    code = """
import os, sys, time
from pathlib import Path
from facemogle.folders import own_folder
with own_folder(Path(sys.argv[1])):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("has it", flush=True)
    time.sleep(60)
"""
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "has it\n"
    (worker,) = psutil.Process(owner.pid).children()
    with pytest.raises(BlockingIOError), own_folder(tmp_path):
        pass
    owner.kill()
    owner.wait()
    with own_folder(tmp_path):
        assert worker.is_running()
    worker.kill()
    owner.stdout.close()


@pytest.mark.parametrize("part", [".", "checkpoints", "validation", "weights", "..", ".lock"])
def test_what_cannot_be_a_folder_is_told_before_training(part, tmp_path):
    folder = tmp_path / "a" / "run"
    if part == ".lock":
        (folder / part).mkdir(parents=True)
    else:
        (folder / part).resolve().parent.mkdir(parents=True, exist_ok=True)
        (folder / part).resolve().write_text("")
    message = "cannot be written to" if part == ".lock" else "is a file where a folder must be. Move it away"
    with pytest.raises(OSError, match=message):
        run(folder, steps=10**9)


def test_a_folder_that_may_not_be_written_to_is_told_before_training(tmp_path, monkeypatch):
    def refuse(dir):  # as root, who runs many a test, may write anywhere
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr("facemogle.folders.TemporaryFile", refuse)
    with pytest.raises(PermissionError, match=r"run cannot be written to: .*Permission denied.*Make it so, or choose"):
        run(tmp_path / "run", steps=10**9)


def test_mini_is_made_by_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.mini", "--out", str(tmp_path)])
    with own_folder(tmp_path), pytest.raises(SystemExit, match="Another process is writing to"):
        mini()
