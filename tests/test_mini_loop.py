"""What every phase of mini's training stands on: workers that make samples, the pool, the loop."""

import subprocess
import sys
import time
from itertools import chain, repeat

import numpy as np
import pytest
import torch
from torch import nn

from facemogle.step_graph import StepGraphs
from tests.capture import Capture
from tests.mini_recipes import AtOnce, Numbers
from train.mini.config import MiniConfig, Phase
from train.mini.feeder import FAILURES, Feed
from train.mini.log import Log
from train.mini.loop import Lesson, learn, schedule
from train.mini.pool import Pool


def take(feed: Feed, count: int, *, seconds: float = 60.0) -> tuple[list[int], set[int]]:
    """The seeds of the next samples, each of them whole, and the processes that made them."""
    seeds: list[int] = []
    makers: set[int] = set()
    end = time.monotonic() + seconds
    while len(seeds) < count and time.monotonic() < end:
        if samples := feed.take(min(4, count - len(seeds))):
            assert (samples["picture"] == samples["seed"][:, None, None] % 256).all()
            seeds += samples["seed"].tolist()
            makers |= set(samples["pid"].tolist())
        else:
            time.sleep(0.01)
    return seeds, makers


def test_workers_make_every_seed_once_and_none_beyond():
    with Feed(Numbers(), workers=2, slots=3, seeds=range(100, 10**6)) as feed:
        seeds, makers = take(feed, 12)
        while len(makers) < 2:  # one may be slow to start
            more, by = take(feed, 4)
            seeds, makers = seeds + more, makers | by
    assert len(set(seeds)) == len(seeds)
    assert set(seeds) <= set(range(100, 100 + len(seeds) + 2 * 3)) and 100 in seeds
    assert not any(map(alive, makers))
    with Feed(Numbers(), workers=1, slots=3, seeds=range(100, 104)) as feed:
        assert take(feed, 10)[0] == [*range(100, 104), *range(100, 104), 100, 101]


def test_a_dead_worker_is_told_of_and_replaced(capfd):
    with Feed(Numbers(fatal=range(3, 4)), workers=1, slots=2, seeds=range(1000)) as feed:
        seeds, makers = take(feed, 6)
    assert seeds == sorted(seeds) and len(makers) == 2
    assert seeds[:3] == [0, 1, 2] and 3 not in seeds and seeds[-1] == 7  # nor is what else it had been asked for
    assert capfd.readouterr().out.count("a worker died (exit code -9)") == 1


@pytest.mark.parametrize(
    ("recipe", "reason", "said", "times"),
    [
        (Numbers(fatal=range(1, 1000)), "4 workers that make samples have died", "a worker died", 4),
        (Numbers(broken=1), f"{FAILURES} samples in a row could not be made", "out of paint", FAILURES),
    ],
)
def test_what_cannot_go_on_is_an_error(capfd, recipe, reason, said, times):
    with (
        Feed(recipe, workers=1, slots=2, seeds=range(1000)) as feed,
        pytest.raises(RuntimeError, match=f"{reason}.*try fewer --workers"),
    ):
        take(feed, 2)
    assert times <= capfd.readouterr().out.count(said) <= times + 2


def test_a_sample_that_fails_is_told_of_and_left_out(capfd):
    with Feed(Numbers(broken=2, mended=2 + FAILURES - 1), workers=1, slots=4, seeds=range(1000)) as feed:
        assert take(feed, 4)[0] == [0, 1, FAILURES + 1, FAILURES + 2]
    assert capfd.readouterr().out.count("out of paint") == FAILURES - 1


def test_workers_end_when_the_trainer_is_killed():
    script = (
        "from tests.mini_recipes import Numbers; from train.mini.feeder import Feed; import time\n"
        "if __name__ == '__main__':\n"
        "    feed = Feed(Numbers(), workers=1, slots=4, seeds=range(9))\n"
        "    while not (samples := feed.take(1)): time.sleep(0.01)\n"
        "    print(samples['pid'][0], flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        worker = int(trainer.stdout.readline())
        assert alive(worker)
        trainer.kill()
    for _ in range(600):
        if not alive(worker):
            break
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"  # a zombie has ended
    except FileNotFoundError:
        return False


def test_workers_start_without_torch():
    code = "import sys, train.mini.samples, train.mini.__main__; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_pool_keeps_the_newest():
    pool = Pool(AtOnce(Numbers()), "cpu", capacity=10, share=0.5, derive=lambda chunk: {"twice": 2 * chunk["seed"]})
    assert pool.refill(100) == 5  # a chunk, at most
    assert len(pool) == 5 and pool["twice"][:5].tolist() == [0, 2, 4, 6, 8]
    for _ in range(2):
        pool.refill(4)
    assert len(pool) == 10 and pool["twice"].tolist() == [20, 22, 24, 6, 8, 10, 12, 14, 16, 18]


def test_learning_rate_warms_up_and_follows_a_cosine():
    factors = [schedule(step, share, warmup=100) for step, share in ((0, 0), (99, 0), (500, 0.5), (900, 1))]
    assert factors == pytest.approx([0.01, 1, 0.505, 0.01])


def line(tmp_path, name, *, steps=9, stop_at=None, wrong_from=None, graphs=None) -> torch.Tensor:
    """Weights of a line that learned to answer 1. stop_at: where the process is killed."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    phase = Phase(share=1, batch=8, learning_rate=0.1, warmup=2, average=0.9, steps=steps)
    config = MiniConfig(device="cpu", compile=False, checkpoint_seconds=0, flow=phase)
    (tmp_path / name).mkdir(exist_ok=True)
    taken = iter(range(10**6))

    def draw(generator, phase):
        if next(taken) == stop_at:
            raise KeyboardInterrupt
        return {"inputs": torch.randn(phase.batch, 3, generator=generator)}

    def loss(draw):
        error = (model(draw["inputs"]) - 1).square().mean()
        return {"loss": error * (np.nan if wrong_from is not None and next(taken) >= wrong_from else 1)}

    lesson = Lesson({"line": model}, draw, loss)
    learn(
        "flow", lesson, config, seconds=1e9, log=Log(tmp_path / name / "log.jsonl"),
        checkpoint=tmp_path / name / "c.pt", graphs=graphs,
    )  # fmt: skip
    return model.weight.detach()


def test_an_interrupted_run_ends_as_an_undisturbed_one(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        line(tmp_path, "broken", stop_at=4)
    assert torch.equal(line(tmp_path, "broken"), line(tmp_path, "whole"))


def test_a_run_that_diverges_goes_back_and_then_gives_up(tmp_path, capsys):
    with pytest.raises(FloatingPointError, match="Lower the learning rate"):
        line(tmp_path, "broken", steps=600, wrong_from=100)
    assert "back to good weights" in capsys.readouterr().out


def test_a_phase_is_bounded_by_time(tmp_path):
    model = nn.Linear(1, 1)
    config = MiniConfig(device="cpu", compile=False)
    one = torch.ones(1, 1)
    lesson = Lesson(
        {"line": model}, lambda generator, phase: {"x": one}, lambda draw: {"loss": model(draw["x"]).square().sum()}, {}
    )
    began = time.monotonic()
    learn("flow", lesson, config, seconds=0.5, log=Log(tmp_path / "log.jsonl"))
    assert 0.5 <= time.monotonic() - began < 10


class WarmedUp:
    """Launches each step from Python, the first one as often as a capture that warms up once."""

    def of(self, function, modules):
        times = chain([3], repeat(1))
        return lambda draw: [function(draw) for _ in range(next(times))][-1]


def test_replayed_steps_learn_what_the_steps_themselves_do(tmp_path):
    """Losses, gradients, the optimiser, and rates that change from step to step."""
    capture = Capture(warm_ups=1)
    runs = {"replayed": StepGraphs(capture), "launched": WarmedUp(), "plain": None}
    weights = {name: line(tmp_path, name, graphs=graphs) for name, graphs in runs.items()}
    assert (capture.captured, capture.replayed) == (1, 9)
    assert torch.equal(weights["replayed"], weights["launched"])
    assert not torch.equal(weights["replayed"], weights["plain"])
    losses = {name: [line["loss"] for line in Log(tmp_path / name / "log.jsonl").lines] for name in runs}
    assert losses["replayed"] == losses["launched"] and len(losses["replayed"]) == 2


def test_steps_that_cannot_be_captured_run_as_they_are(tmp_path, caplog):
    graphs = StepGraphs(Capture(RuntimeError("operation not permitted when stream is capturing\nand more")))
    assert torch.equal(line(tmp_path, "aside", graphs=graphs), line(tmp_path, "plain"))
    assert caplog.text.count("launched from Python, not replayed: the capture failed: operation not permitted") == 1


def test_on_a_cpu_less_is_done_at_once():
    config = MiniConfig(device="cpu")
    small = config.smaller()
    assert (small.flow.batch, small.pool) == (config.flow.batch // 16, config.pool // 16)
    assert small.flow.learning_rate == pytest.approx(config.flow.learning_rate / 4)
    assert small.settings() != config.settings()
