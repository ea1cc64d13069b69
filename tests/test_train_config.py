from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from train.config import RANGES, TrainingConfig, config_of, parse_arguments, read_config

CONFIGS = Path(__file__).parents[1] / "train" / "configs"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("cache: somewhere\nsteps: 7\nlearning_rate: 1e-4\n")
    return path


@pytest.mark.parametrize("name", ["flux", "mini"])
def test_the_configs_in_the_repository_are_whole(name):
    assert read_config(CONFIGS / f"{name}.yaml").checkpoint == name


def test_the_papers_defaults():
    config = TrainingConfig(cache="x")
    assert (config.rank, config.alpha, config.guidance) == (4, 4, 1)
    assert (config.text_dropout, config.local_mask_dropout, config.all_masks_dropout) == (0.1, 0.1, 0.1)
    assert (config.timestep_mean, config.timestep_std, config.optimizer) == (0, 1, "prodigy")


def test_a_change_takes_the_place_of_the_file(file):
    config = read_config(file, ["steps=9", "guidance=2", "train_base=true", "data=", "output=runs/12", "gating=scalar"])
    assert (config.steps, config.guidance, config.train_base, config.learning_rate) == (9, 2.0, True, 1e-4)
    assert (config.output, config.gating) == ("runs/12", "scalar") and type(config.guidance) is float
    assert read_config(file, ["output=7"]).output == "7"


def test_what_is_saved_reads_back(file, tmp_path):
    config = read_config(file, ["seed=3"])
    config.save(tmp_path / "saved.yaml")
    assert read_config(tmp_path / "saved.yaml") == config
    assert set(yaml.safe_load((tmp_path / "saved.yaml").read_text())) == {field.name for field in fields(config)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["learning_rte=1"], "no setting 'learning_rte'. Did you mean 'learning_rate'"),
        (["zzz=1"], "Known are checkpoint"),
        (["steps=many"], "steps must be a whole number, got 'many'"),
        (["steps=1.5"], "steps must be a whole number"),
        (["steps=true"], "steps must be a whole number"),
        (["flip=true"], "flip must be a number"),
        (["flip=1.5"], "flip must be from 0 to 1"),
        (["steps=0"], "steps must be from 1"),
        (["train_base=1"], "train_base must be true or false"),
        (["gating=vector"], "gating must be one of matrix, scalar, static, got 'vector'"),
        (["seed=[1]"], "seed must be a whole number"),
        (["steps"], "--set takes key=value, got 'steps'"),
        (["data=there"], "either cache or data"),
        (["cache="], "either cache or data"),
        (["quantise=4bit", "train_base=true"], "needs a frozen base"),
        (["shard_base=true", "train_base=true"], "spreads a frozen base"),
        (["shard_base=true", "quantise=4bit"], "spreads a frozen base"),
        (["flip=0.5"], "cannot be mirrored"),
        (["validation_pictures=9"], "8 are held out, for 9 pictures"),
        (["validation_samples=0", "validation_pictures=0"], "0 are held out"),
        (["learning_rate=0"], "learning_rate must be from"),
    ],
)
def test_what_is_wrong_is_named(file, changes, message):
    with pytest.raises(ValueError) as error:
        read_config(file, changes)
    assert message in str(error.value)


def test_every_number_has_a_range():
    numbers = {field.name for field in fields(TrainingConfig) if field.type in (int, float)}
    assert numbers - set(RANGES) == {"timestep_mean"}


@pytest.mark.parametrize(("content", "message"), [("[1, 2]", "key: value"), ("a: [", "cannot be read"), ("", "key")])
def test_broken_files(tmp_path, content, message):
    (tmp_path / "broken.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path / "broken.yaml")
    with pytest.raises(ValueError, match="cannot be read"):
        read_config(tmp_path / "missing.yaml")


def test_a_wrong_type_from_python(tmp_path):
    with pytest.raises(ValueError, match="batch must be a whole number"):
        config_of({"cache": "x", "batch": "4"})


def test_the_command_line_explains(file, capsys):
    assert parse_arguments(["--config", str(file), "--set", "seed=5", "--set", "batch=2"]).batch == 2
    with pytest.raises(SystemExit):
        parse_arguments(["--config", str(file), "--set", "sede=5"])
    assert "Did you mean 'seed'" in capsys.readouterr().err
