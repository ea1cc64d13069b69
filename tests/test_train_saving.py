import json
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_training import ERRORS, TINY, last_step, run, start, wait_for_step
from train import saving, train
from train.saving import (
    BEST,
    SaveError,
    checkpoints,
    load,
    newest,
    num_bytes,
    path_of,
    prune,
    save,
    save_making_room,
)

LONG = {"steps": 40, "checkpoint_every": 4, "log_every": 3, "validation_every": 16}


def log(folder):
    """The log without times."""
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    varying = ("seconds", "samples_per_second", "memory_gb")
    return [{name: value for name, value in line.items() if name not in varying} for line in lines]


def same(first, second):
    """Whether two nested states hold the same, to the last bit."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def weights(folder):
    """Not the files' bytes, whose metadata are in any order."""
    files = ("pytorch_lora_weights.safetensors", "mogle/diffusion_pytorch_model.safetensors")
    return [load_file(folder / "weights" / file) for file in files]


def without_times(state):
    return {key: value for key, value in state.items() if key not in ("seconds", "config")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run's folder, which also tells how many seconds of the processor it took until its first record, and in all."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process, times = start(folder, **LONG), {-1: 0.0}
    while process.is_alive():
        step = last_step(folder)
        times[step] = spent(process) or times[step]
        time.sleep(0.005)
    assert process.exitcode == 0
    return folder, times[-1], max(times.values())


def spent(process):
    """Seconds of the processor, so that what else the machine does is of no account; 0 of one that is gone."""
    try:
        return sum(psutil.Process(process.pid).cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0


def wait_for_time(process, seconds):
    end = spent(process) + seconds
    while process.is_alive() and spent(process) < end:
        time.sleep(0.002)


def test_killed_at_ten_random_moments_a_run_ends_as_if_undisturbed(undisturbed, tmp_path):
    """While it begins, trains, saves, validates; and once more where it publishes, if it is not over by then."""
    undisturbed, beginning, whole = undisturbed
    rng, of_a_step = random.Random(0), (whole - beginning) / LONG["steps"]
    for place, step in enumerate(sorted(rng.randrange(LONG["steps"] - 6) for _ in range(10))):
        process = start(tmp_path, **LONG)
        if place % 3 == 0:
            wait_for_time(process, beginning * rng.random())
        else:
            wait_for_step(tmp_path, process, step)
            wait_for_time(process, 3 * of_a_step * rng.random())
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    process = start(tmp_path, **LONG)
    wait_for_step(tmp_path, process, LONG["steps"])
    process.kill()
    process.join()
    process = start(tmp_path, **LONG)
    process.join()
    assert process.exitcode == 0
    assert log(tmp_path) == log(undisturbed)
    for name in ("step-00000040.pt", BEST):
        states = [without_times(load(folder / "checkpoints" / name)) for folder in (tmp_path, undisturbed)]
        assert same(*states), name
    assert same(weights(tmp_path), weights(undisturbed))
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"step-00000040.pt", "step-00000036.pt", BEST}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(number, undisturbed, tmp_path):
    process = start(tmp_path, **LONG)
    wait_for_step(tmp_path, process, 8)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == 128 + number
    state = newest(tmp_path / "checkpoints")
    assert f"Stopped at step {state['step']}, and saved" in (tmp_path / ERRORS).read_text()
    assert 8 <= state["step"] < 40
    process = start(tmp_path, **LONG)
    process.join()
    assert log(tmp_path) == log(undisturbed[0])


def test_the_newest_are_kept_and_the_best(undisturbed):
    undisturbed, *_ = undisturbed
    assert [path.name for path in checkpoints(undisturbed / "checkpoints")] == ["step-00000040.pt", "step-00000036.pt"]
    best = load(undisturbed / "checkpoints" / BEST)
    losses = {line["step"]: line["validation_loss"] for line in log(undisturbed) if "validation_loss" in line}
    assert set(losses) == {16, 32, 40}
    assert losses[best["step"]] == best["best"] == min(losses.values())


def test_a_finished_run_is_published_again_and_trains_no_further(undisturbed):
    undisturbed, *_ = undisturbed
    before = log(undisturbed)
    assert run(undisturbed, **LONG) == 0 and log(undisturbed) == before


def test_more_steps_go_on_and_other_settings_do_not(tmp_path):
    run(tmp_path, steps=4)
    with pytest.raises(ValueError, match="begun with another learning_rate, seed"):
        run(tmp_path, steps=4, learning_rate=0.5, seed=9)
    run(tmp_path, steps=6)
    assert newest(tmp_path / "checkpoints")["step"] == 6


# Damaged checkpoints


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """One bit in the middle of a tensor, which torch would load."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b"")], ids=["cut", "flip", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_is_set_aside(damage, tmp_path, caplog):
    for step in (1, 2):
        save({"step": step, "weights": torch.ones(1000)}, path_of(tmp_path, step))
    damage(path_of(tmp_path, 2))
    assert newest(tmp_path)["step"] == 1 and "step-00000002.pt is damaged" in caplog.text
    assert path_of(tmp_path, 2).exists()  # who only reads changes nothing
    assert newest(tmp_path, set_aside=True)["step"] == 1
    names = {"step-00000001.pt", "step-00000002.pt.damaged"}
    assert {path.name for path in tmp_path.iterdir()} == names and "now called step-00000002.pt.damaged" in caplog.text
    save({"step": 2}, path_of(tmp_path, 2))
    prune(tmp_path, 2, saved=path_of(tmp_path, 2))
    assert {path.name for path in tmp_path.iterdir()} == {*names, "step-00000002.pt"}


def test_where_all_are_damaged_the_best_is_taken_or_nothing_begins_anew(tmp_path):
    for path in (path_of(tmp_path, 1), path_of(tmp_path, 2)):
        path.write_bytes(b"")
    for _ in range(2):  # it is no other the second time
        with pytest.raises(ValueError, match="None of the checkpoints"):
            newest(tmp_path, set_aside=True)
    save({"step": 1}, tmp_path / BEST)
    assert newest(tmp_path, set_aside=True)["step"] == 1
    assert checkpoints(tmp_path) == [] and len(list(tmp_path.glob("*.damaged"))) == 2
    assert newest(tmp_path / "elsewhere") is None


def test_a_run_goes_on_past_a_damaged_checkpoint_as_if_undisturbed(tmp_path):
    run(tmp_path / "undisturbed", steps=8)
    run(tmp_path / "run", steps=8)
    flip(path_of(tmp_path / "run" / "checkpoints", 8))
    part = tmp_path / "run" / "checkpoints" / ".step-00000006.part.pt"
    part.write_bytes(b"what a kill left")
    assert run(tmp_path / "run", steps=8) == 0 and not part.exists()
    states = [without_times(newest(tmp_path / name / "checkpoints")) for name in ("run", "undisturbed")]
    assert same(*states) and log(tmp_path / "run") == log(tmp_path / "undisturbed")


def test_the_one_just_saved_is_never_pruned(tmp_path):
    for step in (3, 20, 100):
        save({}, path_of(tmp_path, step))
    save({}, tmp_path / BEST)
    prune(tmp_path, 2, saved=path_of(tmp_path, 100))
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEST, "step-00000020.pt", "step-00000100.pt"]
    save({}, path_of(tmp_path, 7))
    prune(tmp_path, 1, saved=path_of(tmp_path, 7))
    assert checkpoints(tmp_path) == [path_of(tmp_path, 7)]


# A full disk


STATE = {"step": 3, "weights": torch.ones(100_000)}


@pytest.fixture
def disk(monkeypatch):
    """Sets how many bytes of the disk are free, less what the folder holds."""

    def set_size(folder, size):
        def usage(path):
            return before(path)._replace(free=size - sum(file.stat().st_size for file in folder.glob("*")))

        monkeypatch.setattr(saving.shutil, "disk_usage", usage)

    before = saving.shutil.disk_usage
    return set_size


def test_a_full_disk_is_told_and_spares_what_is_there(tmp_path, disk):
    path = path_of(tmp_path, 1)
    save({"step": 1}, path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # as a disk that fills up while writing
    try:
        with pytest.raises(
            SaveError, match=r"step-00000001\.pt could not be written: File too large.*Make room"
        ) as told:
            save(STATE, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not told.value.full  # no room that could be made
    disk(tmp_path, 3000)
    with pytest.raises(SaveError, match=r"takes 40\.0 MB, and 0\.0 MB are free") as told:
        save({"weights": [torch.ones(10_000_000)]}, path)
    assert told.value.full and path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("room", "left"),
    [
        (3.5, [3, 2, 1]),  # enough for all
        (2.5, [3, 2]),  # enough without the oldest
        (1.5, [2, 1]),  # even then too little: nothing is deleted in vain
    ],
)
def test_older_checkpoints_make_room_but_not_the_newest_whole_one(room, left, tmp_path, disk):
    for step in (1, 2):
        save({**STATE, "step": step}, path_of(tmp_path, step))
    disk(tmp_path, int(room * path_of(tmp_path, 1).stat().st_size))
    if 3 in left:
        save_making_room(STATE, path_of(tmp_path, 3))
    else:
        with pytest.raises(SaveError):
            save_making_room(STATE, path_of(tmp_path, 3))
    assert checkpoints(tmp_path) == [path_of(tmp_path, step) for step in left]
    assert newest(tmp_path)["step"] == left[0]


def test_a_whole_checkpoint_does_not_make_room_where_the_newer_one_is_damaged(tmp_path, disk):
    for step in (1, 2):
        save({**STATE, "step": step}, path_of(tmp_path, step))
    flip(path_of(tmp_path, 2))
    disk(tmp_path, int(2.5 * num_bytes(STATE)))
    with pytest.raises(SaveError):
        save_making_room(STATE, path_of(tmp_path, 3))
    assert newest(tmp_path)["step"] == 1


def test_a_run_that_ends_on_a_full_disk_leaves_its_weights(tmp_path, monkeypatch, caplog, capsys):
    calls = []

    def full(state, path):
        calls.append(path.name)
        if state["step"] != 4:
            raise SaveError("full")
        real(state, path)

    real = saving.save
    monkeypatch.setattr(saving, "save", full)
    monkeypatch.setattr("train.train.save_picture", lambda page, path: full({"step": 0}, Path("a picture")))
    assert run(tmp_path, steps=12, validation_pictures=1) == 0
    assert calls == ["step-00000004.pt", "a picture", BEST, "step-00000008.pt", "a picture", BEST, "step-00000012.pt"]
    assert caplog.text.count("Training goes on") == 6
    assert "weights are in" in (said := capsys.readouterr().err) and "last checkpoint could not be written" in said
    assert newest(tmp_path / "checkpoints")["step"] == 4
    monkeypatch.setattr(saving, "save", real)
    run(tmp_path / "undisturbed", steps=12)
    assert same(weights(tmp_path), weights(tmp_path / "undisturbed"))


def test_weights_that_find_no_room_either_leave_the_ones_before(tmp_path, monkeypatch):
    run(tmp_path, steps=1)
    before = (tmp_path / "weights" / "mogle.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def publish_on_a_full_disk(*arguments):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            real(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    real = train.publish
    monkeypatch.setattr(train, "publish", publish_on_a_full_disk)
    with pytest.raises(OSError, match=r"The weights could not be written to .*/weights: File too large\. Make room\.$"):
        run(tmp_path, steps=2)
    assert (tmp_path / "weights" / "mogle.pt").read_bytes() == before and not (tmp_path / "weights.part").exists()


def test_lines_of_the_log_wait_for_room(tmp_path):
    lines = []
    record = object.__new__(train.Record)
    accelerator = SimpleNamespace(is_main_process=True, log=lambda values, step: None)
    record.run, record.file, record.unwritten = SimpleNamespace(accelerator=accelerator), tmp_path / "log.jsonl", b""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for step in range(6):
        record.run.step = step
        resource.setrlimit(resource.RLIMIT_FSIZE, (30 if 1 <= step < 4 else soft, hard))
        try:
            record.add(loss=step / 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        lines.append(len(train.read_log(record.file, 99)))
    assert lines == [1, 1, 1, 1, 5, 6]
    assert [line["loss"] for line in train.read_log(record.file, 4)] == [0, 0.5, 1, 1.5, 2]


# A base that has moved


def test_a_run_goes_on_where_its_base_has_moved(tmp_path):
    base = shutil.copytree(TINY, tmp_path / "base")
    run(tmp_path / "run", steps=4, checkpoint=str(base))
    run(tmp_path / "undisturbed", steps=6, checkpoint=str(base))
    (tmp_path / "moved").mkdir()
    base, folder = base.rename(tmp_path / "moved" / "base"), (tmp_path / "run").rename(tmp_path / "moved" / "run")
    assert run(folder, steps=6, checkpoint=str(base)) == 0
    states = [newest(each / "checkpoints") for each in (folder, tmp_path / "undisturbed")]
    assert states[0]["step"] == 6 and same(states[0]["weights"], states[1]["weights"])
    weights = base / "transformer" / "diffusion_pytorch_model.safetensors"
    other = {name: tensor * 1.01 for name, tensor in load_file(weights).items()}
    save_file(other, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="begun with another checkpoint"):
        run(folder, steps=8, checkpoint=str(base))


def test_a_run_of_before_is_known_by_the_name_of_its_base(tmp_path):
    run(tmp_path, steps=4)
    path = path_of(tmp_path / "checkpoints", 4)
    save({name: value for name, value in load(path).items() if name != "identities"}, path)
    assert run(tmp_path, steps=5) == 0
    save({name: value for name, value in load(path).items() if name != "identities"}, path)
    path_of(tmp_path / "checkpoints", 5).unlink()
    copy = shutil.copytree(TINY, tmp_path / "base")
    with pytest.raises(ValueError, match="begun with another checkpoint"):
        run(tmp_path, steps=5, checkpoint=str(copy))
