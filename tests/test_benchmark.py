"""`python -m facemogle benchmark` and its selftest, at a small size on a CPU."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd import DeviceType

from facemogle import benchmark, cli
from facemogle.cli import benchmark as command
from facemogle.masks import condition_images
from facemogle.random_flux import FLUX_PARTS, random_pipeline
from tests import recorded, selftest


@pytest.fixture
def table(pipeline):
    pipeline.preset = "cpu"
    return lambda **options: benchmark.benchmark(pipeline, "tiny", steps=3, rounds=2, **options)


def test_table(tmp_path, capsys, table, monkeypatch):
    made = table(height=70, width=79)
    assert (made.height, made.width) == (64, 64)  # as what was drawn
    lines = list(made.lines())
    monkeypatch.setattr(benchmark, "benchmark", lambda *_, **__: made)
    assert cli.main(["benchmark", "--checkpoint=mini", "--device=cpu", f"--json={tmp_path / 'table.json'}"]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    figures = json.loads((tmp_path / "table.json").read_text())
    assert [each["name"] for each in figures["timings"]] == [benchmark.NEW_MAP, benchmark.KNOWN_MAP, benchmark.STOCK]
    for each in figures["timings"]:
        assert len(each["seconds"]) == len(each["step_ms"]) == 2
        assert 0 < min(each["step_ms"]) / 1e3 < max(each["seconds"])
        assert 0 < each["step_floor_ms"] / 1e3 < each["floor"]
        assert any(each["name"] in line and f"{each['median']:.4g}" in line for line in lines)
    new, known, stock = (each["floor"] for each in figures["timings"])
    assert new > known > stock  # masks to encode; twice the image tokens
    assert set(figures["ratios_to_stock"]) == {benchmark.NEW_MAP, benchmark.KNOWN_MAP}
    assert figures["device"]["versions"]["torch"] == torch.__version__ and figures["matrix_rate"] > 0


def test_stock_is_diffusers_own_with_the_same_weights(pipeline):
    pipeline.preset = "cpu"
    stock, shared = benchmark.stock_pipeline(pipeline)
    assert shared and type(stock.transformer).__module__.startswith("diffusers.")
    linear = pipeline.transformer.single_transformer_blocks[0].proj_mlp
    assert stock.transformer.single_transformer_blocks[0].proj_mlp.weight.data_ptr() == linear.weight.data_ptr()


def test_weights_that_cannot_be_shared_are_random(pipeline):
    pipeline.preset = "24gb"
    stock, shared = benchmark.stock_pipeline(pipeline)
    assert not shared and all(each.isfinite().all() for each in stock.transformer.parameters())


def test_every_map_is_new():
    maps = benchmark.Maps(64, 64)
    seen = {condition_images(maps.another())[1 + one].tobytes() for _ in range(6) for one in range(benchmark.CLASSES)}
    assert len(seen) == 6 * benchmark.CLASSES and len(np.unique(maps.last)) == benchmark.CLASSES


def test_floor_at_full_size():
    """As counted by hand for FLUX.1-dev at 512x512: 37.3 TFLOP a step."""
    pipeline = random_pipeline(FLUX_PARTS, dtype=torch.bfloat16, device="meta")
    new, known, stock = benchmark.counted(pipeline, 512, 512, 28, 512)
    assert 37.2e12 < known[1] <= 37.7e12 and new[1] == known[1]
    assert 28 * 37.2e12 < known[0] < new[0] < 1.1 * known[0]
    assert 0.5 < stock[1] / known[1] < 0.7


def test_spans_that_overlap_count_once():
    assert benchmark.covered([(5, 6), (0, 2), (1, 3), (1, 2), (3, 4)]) == 5
    assert benchmark.covered([]) == 0


def test_two_steps_are_watched(monkeypatch):
    """By a stand-in of the profiler: the steps after the first, kernels that overlap once, no copies."""
    log = []

    def event(start, end, name="kernel", device=DeviceType.CUDA):
        span = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(device_type=device, is_user_annotation=False, name=name, time_range=span)

    events = [event(0, 4000), event(2000, 6000), event(9000, 11000), event(0, 9000, "Memcpy HtoD"),
              event(0, 9000, device=DeviceType.CPU)]  # fmt: skip
    stand_in = SimpleNamespace(
        start=lambda: log.append("start"), stop=lambda: log.append("stop"), events=lambda: events
    )
    monkeypatch.setattr(benchmark, "profile", lambda activities: stand_in)
    monkeypatch.setattr(benchmark, "synchronise", lambda device: None)

    def run(steps, callback):
        for step in range(steps):
            log.append(step)
            assert callback(None, step, None, {}) == {}

    cuda = torch.device("cuda")
    assert benchmark.busy_ms(lambda callback: run(5, callback), cuda) == 4
    assert log == [0, "start", 1, 2, "stop", 3, 4]
    log.clear()
    assert benchmark.busy_ms(lambda callback: run(2, callback), cuda) == 8
    assert log == [0, "start", 1, "stop"]
    events.clear()
    assert benchmark.busy_ms(lambda callback: run(5, callback), cuda) is None
    assert benchmark.busy_ms(lambda callback: run(5, callback), torch.device("cpu")) is None


def test_launch_bound_in_words():
    assert benchmark.busy_in_words(0.43) == "43% busy: launch-bound"
    assert benchmark.busy_in_words(0.97) == "97% busy" and benchmark.busy_in_words(None) == "-"


def test_one_step_has_no_time_between(table, pipeline):
    with pytest.raises(ValueError, match="at least 2 steps"):
        benchmark.benchmark(pipeline, "tiny", steps=1)


def test_random_weights_keep_values_in_size():
    pipeline = random_pipeline(selftest.NARROW | {
        "transformer": selftest.NARROW["transformer"] | {"num_layers": 4, "num_single_layers": 8}
    }, dtype=torch.float32, device="cpu")  # fmt: skip
    latents = selftest.picture(pipeline)
    assert latents.isfinite().all() and 0.1 < latents.std() < 10
    again = random_pipeline(selftest.NARROW, dtype=torch.float32, device="cpu").mogle.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in pipeline.mogle.state_dict().items())


# The selftest

FEW = (
    "training images",
    "training, adapter and MoGLE",
    "preset 24gb, a few",
    "offloading, part by part",
    "every 2 steps",
)


@pytest.mark.parametrize("check", FEW)
def test_selftest(check, tmp_path, capsys):
    if "24gb" in check:
        pytest.importorskip("torchao")
    assert selftest.main(["--device=cpu", f"--only={check}", f"--json={tmp_path / 'found.json'}"]) == 0
    (found,) = json.loads((tmp_path / "found.json").read_text())["checks"]
    assert found["passed"] is True and check in found["name"]
    assert "ok  " in capsys.readouterr().out


def test_a_failing_check_is_said_and_the_others_go_on(monkeypatch, tmp_path, capsys):
    right = recorded.Comparison("x", torch.ones(2), torch.ones(2), 1e-5)
    wrong = recorded.Comparison("y", torch.ones(2) + 1e-3, torch.ones(2), 1e-5)
    missing = selftest.LeftOut("it needs another GPU")

    def leave_out():
        raise missing

    checks = [
        ("first", lambda: selftest.hold(lambda: [right, wrong])),
        ("broken", lambda: 1 / 0),
        ("elsewhere", leave_out),
        ("last", lambda: selftest.hold(lambda: [right])),
    ]
    monkeypatch.setattr(selftest, "every_check", lambda device: iter(checks))
    assert selftest.main(["--device=cpu", f"--json={tmp_path / 'found.json'}"]) == 1
    output = capsys.readouterr().out
    assert "the furthest, y, at 1e+02 of what is allowed" in output and "ZeroDivisionError" in output
    assert "1 ok, 2 failed, 1 left out" in output
    found = json.loads((tmp_path / "found.json").read_text())["checks"]
    assert [each["passed"] for each in found] == [False, False, None, True]


def test_latents_that_are_far_off_or_no_numbers_fail():
    latents = torch.randn(1, 16, 64, generator=torch.Generator().manual_seed(0))
    assert selftest.near(latents * 1.01, latents, 0.05)
    for wrong in (latents * 1.1, latents * math.nan):
        with pytest.raises(AssertionError):
            selftest.near(wrong, latents, 0.05)


def test_training_that_teaches_nothing_fails(monkeypatch):
    monkeypatch.setattr("train.run.learning_rate", lambda *_: 0.0)
    (found,) = selftest.carry_out([("training", lambda: selftest.train(torch.device("cpu"), {}))])
    assert found.passed is False and "did not learn" in found.said


def test_every_tensor_is_among_the_checks():
    """All cases are held, every kind of training is tried, and every preset and offloading is run."""
    names = [name for name, _ in selftest.every_check(torch.device("cuda"))]
    assert len(set(names)) == len(names)
    for word in (*recorded.FLOAT32_CASES, "bfloat16", "training step", *selftest.KINDS, "layer by layer"):
        assert any(word in name for name in names), word
    assert all(any(f"preset {name}" in each for each in names) for name in benchmark.PRESETS if name != "cpu")


def test_the_command_runs_the_selftest_of_the_repository(monkeypatch, tmp_path, capsys):
    calls = []
    monkeypatch.setattr("subprocess.call", lambda words, cwd: calls.append((words, cwd)) or 1)
    assert cli.main(["benchmark", "--selftest", "recorded", "--device=cpu", f"--json={tmp_path / 'a.json'}"]) == 1
    ((words, folder),) = calls
    assert words[1:] == ["-m", "tests.selftest", "--device=cpu", f"--json={tmp_path / 'a.json'}", "--only=recorded"]
    assert folder == recorded.REFERENCE.parents[1]
    monkeypatch.setattr(command, "ROOT", tmp_path)
    assert cli.main(["benchmark", "--selftest"]) == 2
    assert "run it in a clone" in capsys.readouterr().err
