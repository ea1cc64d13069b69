"""Settings and weights that no sensible checkpoint has are refused in a sentence, before memory is taken for them."""

import json
import math
import os
import resource
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from facemogle.checkpoints import CheckpointError, available, default_settings, find_files, load_pipeline
from facemogle.setting_ranges import RANGES, require_sane
from tests.tiny_training import CONFIG, TINY
from train.building import load_base

MINI = Path(__file__).parents[1] / "assets" / "mini"
INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"
TRANSFORMER, VAE, MOGLE = (f"{part}/config.json" for part in ("transformer", "vae", "mogle"))
CLIP, T5 = "text_encoder/config.json", "text_encoder_2/config.json"
NAN = float("nan")


@pytest.fixture
def folder(tmp_path) -> Path:
    """mini, as links; `put` and `change` replace one."""
    return shutil.copytree(MINI, tmp_path / "mini", copy_function=os.symlink)


@pytest.fixture(autouse=True)
def little_memory():
    """A gigabyte beside what the process has."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 10**9, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def put(path: Path, content: str | bytes) -> None:
    path.unlink()
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def change(path: Path, **changes) -> None:
    put(path, json.dumps(json.loads(path.read_text()) | changes))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_pipeline(folder, device="cpu")
    message = str(caught.value)
    assert all(word in message for word in words) and len(message.splitlines()) == 1, message


@pytest.mark.parametrize(
    ("file", "changes", "finding"),
    [
        (INDEX, {"num_inference_steps": "8"}, "num_inference_steps must be a number from 1 to 1,000, got '8'"),
        (INDEX, {"num_inference_steps": None}, "num_inference_steps must be a number"),
        (INDEX, {"num_inference_steps": 10**400}, "num_inference_steps must be a number"),
        (INDEX, {"height": 10**7}, "height must be a number from 8 to 16,384, got '10000000'"),
        (INDEX, {"guidance_scale": NAN}, "guidance_scale must be a number from 0 to 1,000, got 'nan'"),
        (INDEX, {"max_sequence_length": True}, "max_sequence_length must be a number"),
        (TRANSFORMER, {"num_layers": 2000}, "num_layers must be a number from 0 to 256, got '2000'"),
        (TRANSFORMER, {"num_attention_heads": 10**7}, "num_attention_heads must be"),
        (TRANSFORMER, {"axes_dims_rope": [16, "24", 24]}, "axes_dims_rope must be"),
        (TRANSFORMER, {"in_channels": [64] * 3 + [-1]}, "in_channels must be"),
        (VAE, {"block_out_channels": [16, 48, 96, 10**7]}, "block_out_channels must be"),
        (VAE, {"scaling_factor": math.inf}, "scaling_factor must be"),
        (VAE, {"shift_factor": NAN}, "shift_factor must be"),
        (VAE, {"latents_mean": [0.0, NAN]}, "latents_mean must be"),
        (MOGLE, {"hidden": 10**7}, "hidden must be"),
        (MOGLE, {"timestep_scale": {"a": [NAN]}}, "timestep_scale must be"),
        (CLIP, {"num_hidden_layers": 2000}, "num_hidden_layers must be"),
        (T5, {"vocab_size": 10**9}, "vocab_size must be"),
        (T5, {"layer_norm_epsilon": NAN}, "layer_norm_epsilon must be"),
        (SCHEDULER, {"num_train_timesteps": 10**9}, "num_train_timesteps must be"),
        (SCHEDULER, {"shift": NAN}, "shift must be"),
        (SCHEDULER, {"max_shift": "1"}, "max_shift must be"),
    ],
)
def test_settings_beyond_sense(file, changes, finding, folder):
    change(folder / file, **changes)
    assert not available(folder)
    refused(folder, f"{folder / file} is refused: ", finding)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        (TRANSFORMER, {"num_attention_heads": 1024, "attention_head_dim": 1024, "joint_attention_dim": 65_536}),
        (TRANSFORMER, {"num_single_layers": 256}),
        (VAE, {"block_out_channels": [65_536] * 4}),
        (MOGLE, {"hidden": 65_536}),
        (CLIP, {"vocab_size": 4_000_000, "hidden_size": 65_536}),
        (T5, {"num_layers": 256, "d_ff": 65_536}),
    ],
)
def test_sizes_that_are_sensible_each_but_not_together(file, changes, folder):
    change(folder / file, **changes)
    refused(folder, f"{folder / file} asks for ", " weights, and the files beside it hold ")


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("[" * 100_000, "cannot be read"),
        ('{"a": ' * 900 + "1" + "}" * 900, None),
        (" " * (33 * 2**20) + "{}", "has 34,603,010 bytes"),
    ],
)
def test_configs_that_are_no_settings(content, finding, folder):
    put(folder / TRANSFORMER, content)
    refused(folder, str(folder / "transformer"), finding or "")


@pytest.mark.parametrize("weight_map", [{"a": "../vae/config.json"}, {"a": 5}, ["a"], {"a": "/etc/passwd"}])
def test_an_index_that_leads_elsewhere(weight_map, folder):
    index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    change(index, weight_map=weight_map)
    refused(folder, f"{index} must map tensors to files beside it")


# Weights

WEIGHTS = [
    "pytorch_lora_weights.safetensors",
    "transformer/diffusion_pytorch_model-00002-of-00005.safetensors",
    "vae/diffusion_pytorch_model-00001-of-00002.safetensors",
    "mogle/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
]


def with_header(path: Path, edit) -> None:
    """The same bytes under another header."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    edit(header[next(name for name in header if name != "__metadata__")])
    new = json.dumps(header).encode()
    put(path, struct.pack("<Q", len(new)) + new + content[8 + length :])


@pytest.mark.parametrize("file", WEIGHTS)
def test_whole_numbers_for_weights(file, folder):
    width = {"F32": "I32", "F16": "I16", "BF16": "I16"}
    with_header(folder / file, lambda entry: entry.update(dtype=width[entry["dtype"]]))
    refused(folder, f"{folder / file} holds whole numbers (I")


@pytest.mark.parametrize("file", WEIGHTS)
@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_weights_that_are_no_numbers(file, value, folder):
    tensors = load_file(folder / file)
    next(iter(tensors.values())).view(-1)[0] = value
    (folder / file).unlink()
    save_file(tensors, folder / file, metadata={"format": "pt", "alpha": "32"})
    refused(folder, str((folder / file).parent), "holds NaN or infinity in 1 tensors")


@pytest.mark.parametrize(
    "edit",
    [
        lambda entry: entry.update(shape=[10**9, 10**9]),
        lambda entry: entry.update(shape=[2**62, 4]),
        lambda entry: entry.update(data_offsets=[0, 10**15]),
        lambda entry: entry.update(dtype="OBJECT"),
    ],
    ids=["shape", "overflow", "offsets", "type"],
)
def test_headers_that_lie(edit, folder):
    file = folder / WEIGHTS[1]
    with_header(file, edit)
    refused(folder, f"{file} of ", "is truncated or damaged")


def test_a_header_without_end(folder):
    put(folder / WEIGHTS[3], struct.pack("<Q", 2**40) + b"{}")
    refused(folder, f"{folder / WEIGHTS[3]} of 10 bytes is truncated or damaged")


# What is not refused


def test_sensible_checkpoints_are_taken(folder):
    for checkpoint in (folder, MINI):
        assert find_files(checkpoint, download=False).base == checkpoint
    pipeline = load_pipeline(folder, device="cpu")
    assert pipeline.config.num_inference_steps == 4
    tensors = load_file(folder / WEIGHTS[4])
    (folder / WEIGHTS[4]).unlink()  # CLIP's older files hold their positions
    positions = {"text_model.embeddings.position_ids": torch.arange(32)[None]}
    save_file(tensors | positions, folder / WEIGHTS[4], metadata={"format": "pt"})
    load_pipeline(folder, device="cpu")


def test_the_page_begins_with_the_usual_settings_where_a_checkpoints_own_are_none(folder):
    change(folder / INDEX, num_inference_steps="8")
    assert default_settings(folder) == (28, 3.5)


@pytest.mark.parametrize("name", RANGES)
def test_the_ranges_hold_numbers(name):
    low, high = RANGES[name]
    require_sane({name: low})
    require_sane({name: [high]})
    for wrong in (low - 1, high * 2, str(low), math.nan, {"a": math.inf}):
        with pytest.raises(ValueError, match=f"^{name} must be a number from"):
            require_sane({name: wrong})


def test_a_base_is_looked_at_before_training(tmp_path):
    shutil.copytree(TINY, tmp_path / "base")
    change(tmp_path / "base" / TRANSFORMER, num_layers=2000)
    with pytest.raises(CheckpointError, match="num_layers must be a number from 0 to 256, got '2000'"):
        load_base(replace(CONFIG, checkpoint=str(tmp_path / "base")), "cpu")
