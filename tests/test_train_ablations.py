import json
from dataclasses import asdict, replace

import pytest
import yaml
from accelerate.state import AcceleratorState

from tests.tiny_training import CONFIG, TinySamples
from train import ablations


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A file of a run of two steps on samples in memory."""
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr("train.train.read_samples", lambda *_: TinySamples())
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(asdict(replace(CONFIG, steps=2, output=str(tmp_path / "runs")))))
    return path


def test_each_is_trained_and_measured_and_none_twice(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        ablations, "ABLATIONS", {"scalar gating": {"gating": "scalar"}, "no experts": {"experts": "none"}}
    )
    assert ablations.main(["--config", str(config)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| scalar gating", "| no experts"]
    losses = [float(line.split(" | ")[1]) for line in table[2:]]
    assert losses[0] != losses[1] and all(loss > 0 for loss in losses)
    kind = json.loads((tmp_path / "runs" / "scalar-gating" / "weights" / "mogle" / "config.json").read_text())
    assert kind["gating_kind"] == "scalar"
    monkeypatch.setattr("train.run.Run.take_step", lambda *_: pytest.fail("trained again"))
    assert ablations.main(["--config", str(config)]) == 0
    assert capsys.readouterr().out.splitlines() == table


def test_every_variation_is_a_config():
    configs = [replace(CONFIG, **settings) for settings in ablations.ABLATIONS.values()]
    assert len({str(config) for config in configs}) == len(configs) == 8
