"""This implementation against the published one: what tests/recorded.py compares."""

import pytest
import torch

from tests import recorded
from tests.recorded import FLOAT32_CASES


def check(comparisons):
    held = list(comparisons)
    assert held
    for each in held:
        assert each.share <= 1, (each.name, each.greatest, each.maximum)


@pytest.mark.parametrize("name", FLOAT32_CASES)
def test_condition_tokens(name, pipeline):
    check(recorded.condition_tokens(pipeline, name))


@pytest.mark.parametrize("name", FLOAT32_CASES)
def test_every_step_and_block(name, pipeline):
    check(recorded.every_step_and_block(pipeline, name))


@pytest.mark.parametrize("name", FLOAT32_CASES)
def test_prompt_embeds(name, pipeline):
    check(recorded.prompt_embeds(pipeline, name))


def test_bfloat16(pipeline):
    check(recorded.bfloat16(pipeline))


def test_weights_load_strictly(transformer, mogle, adapter):
    state_dict = mogle.state_dict()
    assert len(state_dict) == 90
    assert sum(tensor.numel() for tensor in state_dict.values()) == 101_780
    assert {tensor.dtype for tensor in state_dict.values()} == {torch.float32}

    transformer.load_condition_adapter(adapter)
    loaded = transformer.condition_adapter_state_dict()
    assert loaded.keys() == adapter.keys()
    assert all(torch.equal(loaded[key], adapter[key]) for key in adapter)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_step(checkpointing, transformer, mogle):
    check(recorded.training_step(transformer, mogle, checkpointing=checkpointing))


def test_dead_adapters_get_no_gradient(load_case):
    """The last block's condition rows go nowhere: what only they feel cannot be learned."""
    tensors, _ = load_case("train_step")
    last = "grad.transformer.single_transformer_blocks.1."
    dead = {key for key, tensor in tensors.items() if key.startswith("grad.") and not tensor.any()}
    assert {key for key in dead if key.startswith("grad.transformer")} == {
        f"{last}{module}.lora_{letter}.weight" for module in ("attn.to_q", "proj_mlp", "proj_out") for letter in "AB"
    }


def test_training_images(pipeline):
    check(recorded.training_images(pipeline))


def test_a_difference_shows():
    """NaN, a value just over what is allowed, a mean over it, and anything where 0 was recorded."""
    expected = torch.ones(4)
    assert recorded.Comparison("", expected + 9e-6, expected, 1e-5).share <= 1
    assert recorded.Comparison("", expected + 2e-5, expected, 1e-5).share > 1
    assert recorded.Comparison("", expected + float("nan"), expected, 1e-5).share > 1
    assert recorded.Comparison("", expected + 9e-6, expected, 1e-5, mean=5e-6).share > 1
    assert recorded.Comparison("", 1e-3 * expected, 0 * expected, 1e-4, relative=True).share > 1
    assert recorded.Comparison("", 0 * expected, 0 * expected, 1e-4, relative=True).share == 0
