"""What a base is: its files' own digests, whatever they are called and however they are cut."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from facemogle.class_orders import ORDERS
from tests.tiny_training import CONFIG
from train.bases import ENCODERS, base_digests, identities

PARTS = ("transformer", *ENCODERS)


def digests(folder):
    return base_digests(SimpleNamespace(name_or_path=str(folder)), PARTS)


@pytest.fixture
def base(reference, tmp_path):
    return shutil.copytree(reference / "tiny-flux", tmp_path / "base")


def test_a_copy_is_the_same_base(base, reference, tmp_path):
    before = digests(reference / "tiny-flux")
    assert set(before) == set(PARTS) and digests(base) == before
    assert digests(base.rename(tmp_path / "elsewhere")) == before
    assert digests(tmp_path / "nowhere") == {} and base_digests(None, PARTS) == {}


def test_the_same_weights_in_other_files_are_the_same_base(base):
    before, folder = digests(base), base / "transformer"
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    names = sorted(weights)
    for number, part in enumerate((names[::2], names[1::2])):
        save_file({name: weights[name] for name in part}, folder / f"model-{number}.safetensors")
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text("{}")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({"_diffusers_version": "9", **config, "_name_or_path": "x"}, indent=9)
    )
    assert digests(base) == before


def _weights(base):
    weights = load_file(base / "transformer" / "diffusion_pytorch_model.safetensors")
    weights["proj_out.weight"] = weights["proj_out.weight"] * 1.001
    save_file(weights, base / "transformer" / "diffusion_pytorch_model.safetensors")


def _config(base):
    file = base / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shift_factor": 0.5}))


def _words(base):
    with open(base / "tokenizer" / "merges.txt", "a") as file:
        file.write("a b\n")


@pytest.mark.parametrize(("change", "part"), [(_weights, "transformer"), (_config, "vae"), (_words, "tokenizer")])
def test_a_change_of_any_part_is_another_base(change, part, base):
    before = digests(base)
    change(base)
    assert {name for name, value in digests(base).items() if value != before[name]} == {part}


def test_a_table_of_classes_is_what_it_says(tmp_path):
    order = next(name for name in ORDERS if name != "celebamask-hq")
    pipeline = SimpleNamespace(name_or_path=None)
    config = replace(CONFIG, cache="", data="faces", classes=order)
    told = identities(config, pipeline)
    assert list(told) == ["classes"] and identities(replace(config, classes=""), pipeline) == {}
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text("1 hair\n2 skin\n")
    tables = [identities(replace(config, classes=str(tmp_path / name)), pipeline) for name in ("one.txt", "two.txt")]
    assert tables[0] == tables[1] != told
