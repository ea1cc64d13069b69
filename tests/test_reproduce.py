import json

import numpy as np
import pytest
from PIL import Image

from facemogle import cli
from facemogle.cli import main, parse_arguments
from facemogle.evaluation.protocol import TABLES
from train.ablations import ABLATIONS


@pytest.fixture
def data(tmp_path):
    """One real face with its map and caption."""
    folder = tmp_path / "data"
    for part in ("face", "mask", "text"):
        (folder / part).mkdir(parents=True)
    Image.new("RGB", (64, 64), "tan").save(folder / "face" / "7.jpg")
    Image.fromarray(np.full((64, 64), 1, np.uint8)).save(folder / "mask" / "7.png")
    (folder / "text" / "7.txt").write_text("a face")
    return folder


@pytest.fixture
def carried_out(monkeypatch):
    """The commands of a reproduction, which are read as they would be but not carried out: figures are 1, 2, ..."""
    commands = []

    def carry_out(command):
        commands.append(command)
        arguments = parse_arguments(command)
        if command[0] == "evaluate":
            arguments.out.mkdir(exist_ok=True)
            metrics = {"metrics": {"fid": {"value": len(commands)}}}
            (arguments.out / "evaluation.json").write_text(json.dumps(metrics))
        return 1 if "fails" in str(arguments.out) else 0

    real = cli.main
    monkeypatch.setattr(cli, "main", carry_out)
    yield commands
    monkeypatch.setattr(cli, "main", real)


def test_a_table_is_batches_and_their_evaluations(data, tmp_path, carried_out, capsys):
    out = tmp_path / "table1"
    assert main(["reproduce", "table1", "--data", str(data), "--out", str(out), "--checkpoint", "flux"]) == 0
    assert [command[0] for command in carried_out] == ["batch", "evaluate"] * 3
    drawn = carried_out[::2]
    assert all({"--format", "jpg", "--seed", "42", "--checkpoint", "flux"} <= set(command) for command in drawn)
    assert [command[-4:-2] for command in drawn][1:] == [["--without", "prompt"], ["--without", "label-map"]]
    rows = json.loads((out / "table.json").read_text())
    assert [row["name"] for row in rows] == ["multimodal", "mask to face", "text to face"]
    assert [row["measured"]["fid"] for row in rows] == [2, 4, 6] and rows[0]["paper"]["fid"] == 22.24
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[:2] == ["multimodal", "2.00"] and printed[2].split()[2] == "22.24"


def test_ablations_take_the_weights_of_their_runs(data, tmp_path, carried_out, capsys):
    command = ["reproduce", "table5", "--data", str(data), "--out", str(tmp_path / "table5")]
    assert main(command) == 2 and "--runs" in capsys.readouterr().err
    runs = tmp_path / "runs"
    assert main([*command, "--runs", str(runs)]) == 2 and "has no folder" in capsys.readouterr().err
    for name in ABLATIONS:
        (runs / name.replace(" ", "-")).mkdir(parents=True)
    assert main([*command, "--runs", str(runs)]) == 0
    assert [part for part in carried_out[0] if "neither-experts-nor-gating" in part]
    assert str(runs / "static-gating" / "weights" / "mogle") in carried_out[2]


def test_every_ablation_of_the_tables_is_trained():
    named = {run.weights for runs in TABLES.values() for run in runs if run.weights}
    assert named <= {name.replace(" ", "-") for name in ABLATIONS}


def test_it_stops_where_a_command_fails(data, tmp_path, carried_out):
    assert main(["reproduce", "table1", "--data", str(data), "--out", str(tmp_path / "fails")]) == 1
    assert len(carried_out) == 1


def test_what_would_end_the_evaluation_is_told_before_the_first_picture(data, tmp_path, carried_out, capsys):
    command = ["reproduce", "table1", "--data", str(data), "--out", str(tmp_path / "out")]
    for wrong, told in (("--metrics=fdi", "no metric fdi"), ("--parser=segfaced", "no parser segfaced")):
        assert main([*command, wrong]) == 2 and told in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--steps=many"])
    (tmp_path / "file").touch()
    assert main([*command, "--out", str(tmp_path / "file")]) == 2 and "is a file where" in capsys.readouterr().err
    assert not carried_out
