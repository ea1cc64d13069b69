import json
import os
import random
import resource
import shutil
import signal
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_training import ERRORS, TINY, run, start
from train import saving
from train.saving import BEST, SaveError, checkpoints, load, newest, path_of, prune, save

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


def without_times(state):
    return {key: value for key, value in state.items() if key not in ("seconds", "config")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder, **LONG)
    process.join()
    assert process.exitcode == 0
    return folder


def wait_for_step(folder, process, step):
    """Until the log shows that the run is at least so far, or over."""
    while process.is_alive() and last_step(folder) < step:
        time.sleep(0.01)


def last_step(folder):
    file = folder / "log.jsonl"
    lines = (
        [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")] if file.exists() else []
    )
    return json.loads(lines[-1])["step"] if lines else -1


def test_killed_at_any_moment_a_run_ends_as_if_undisturbed(undisturbed, tmp_path):
    rng = random.Random(0)
    kills = 0
    while True:
        process = start(tmp_path, **LONG)
        if kills < 6:
            wait_for_step(tmp_path, process, 6 * kills)
            time.sleep(0.3 * rng.random())
            kills += process.is_alive()
            process.kill()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert kills >= 4
    assert log(tmp_path) == log(undisturbed)
    for name in ("step-00000040.pt", BEST):
        states = [without_times(load(folder / "checkpoints" / name)) for folder in (tmp_path, undisturbed)]
        assert same(*states), name
    for file in ("pytorch_lora_weights.safetensors", "mogle/diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "weights" / file).read_bytes() == (undisturbed / "weights" / file).read_bytes()


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
    assert log(tmp_path) == log(undisturbed)


def test_the_newest_are_kept_and_the_best(undisturbed):
    assert [path.name for path in checkpoints(undisturbed / "checkpoints")] == ["step-00000040.pt", "step-00000036.pt"]
    best = load(undisturbed / "checkpoints" / BEST)
    losses = {line["step"]: line["validation_loss"] for line in log(undisturbed) if "validation_loss" in line}
    assert set(losses) == {16, 32, 40}
    assert losses[best["step"]] == best["best"] == min(losses.values())


def test_a_finished_run_is_published_again_and_trains_no_further(undisturbed):
    before = log(undisturbed)
    assert run(undisturbed, **LONG) == 0 and log(undisturbed) == before


def test_more_steps_go_on_and_other_settings_do_not(tmp_path):
    run(tmp_path, steps=4)
    with pytest.raises(ValueError, match="begun with another learning_rate, seed"):
        run(tmp_path, steps=4, learning_rate=0.5, seed=9)
    run(tmp_path, steps=6)
    assert newest(tmp_path / "checkpoints")["step"] == 6


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, caplog):
    for step in (1, 2):
        save({"step": step, "weights": torch.ones(1000)}, path_of(tmp_path, step))
    whole = path_of(tmp_path, 2).read_bytes()
    path_of(tmp_path, 2).write_bytes(whole[: len(whole) // 2])
    assert newest(tmp_path)["step"] == 1 and "is damaged" in caplog.text
    path_of(tmp_path, 1).write_bytes(b"")
    with pytest.raises(ValueError, match="None of the checkpoints"):
        newest(tmp_path)
    assert newest(tmp_path / "elsewhere") is None


def test_a_full_disk_is_told_and_spares_what_is_there(tmp_path, monkeypatch):
    path = path_of(tmp_path, 1)
    save({"step": 1}, path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # as a disk that fills up while writing
    try:
        with pytest.raises(SaveError, match="Make room"):
            save({"step": 1, "weights": torch.ones(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    usage = saving.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(SaveError, match="takes 40 MB, and 0 MB are free"):
        save({"weights": [torch.ones(10_000_000)]}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_does_not_end_a_run_before_its_last_step(tmp_path, monkeypatch, caplog):
    calls = []

    def full(state, path):
        calls.append(path.name)
        if state["step"] < 12:
            raise SaveError("full")
        real(state, path)

    real = saving.save
    monkeypatch.setattr(saving, "save", full)
    assert run(tmp_path) == 0
    assert calls == ["step-00000004.pt", BEST, "step-00000008.pt", BEST, "step-00000012.pt"]
    assert caplog.text.count("Training goes on") == 3
    monkeypatch.setattr(saving, "save", lambda state, path: full({"step": 0}, path))
    with pytest.raises(SaveError):
        run(tmp_path, steps=14)


def test_pruning_keeps_the_newest(tmp_path):
    for step in (3, 20, 100):
        save({}, path_of(tmp_path, step))
    save({}, tmp_path / BEST)
    prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEST, "step-00000020.pt", "step-00000100.pt"]


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
