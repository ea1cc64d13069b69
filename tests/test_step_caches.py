"""Step caches by name: what they leave out, what they need of a run, and what they do not go with."""

from itertools import pairwise

import pytest
import torch

from facemogle import presets, step_caches
from facemogle.presets import check_step_cache

STEPS = 9


@pytest.fixture
def generate(pipeline, label_map, seed):
    """-> latents, and how many blocks were computed."""
    calls = []
    for block in pipeline.transformer.blocks():
        block.attn.to_q.register_forward_hook(lambda *_: calls.append(1))

    def generate(steps=STEPS, **options):
        calls.clear()
        options |= {"num_inference_steps": steps, "generator": seed(7), "output_type": "latent"}
        return pipeline("a man", label_map=label_map, **options).images, len(calls)

    return generate


def test_names_are_those_that_are_offered():
    assert tuple(presets.STEP_CACHES) == step_caches.NAMES
    assert {preset.step_cache for preset in presets.PRESETS.values()} <= {None, *step_caches.NAMES}


@pytest.mark.parametrize("name", step_caches.NAMES)
def test_steps_are_left_out_the_same_each_time(name, generate, pipeline, monkeypatch):
    monkeypatch.setattr(step_caches, "FIRST_BLOCK", 0.5)
    monkeypatch.setattr(step_caches, "MAGNITUDE", 0.5)
    whole, computed = generate()
    assert computed == 4 * STEPS
    pipeline.enable_step_cache(name)
    if name == "magnitude":  # learns from the first run
        first, of_first = generate()
        assert of_first == computed
        torch.testing.assert_close(first, whole, atol=1e-5, rtol=0)
    fast, of_fast = generate()
    again, of_again = generate()
    assert of_fast == of_again < computed and torch.equal(fast, again)
    assert 0 < (fast - whole).norm() < 0.5 * whole.norm()
    pipeline.disable_step_cache()
    back, of_back = generate()
    assert of_back == computed and torch.equal(back, whole)


def test_taylor_computes_one_step_of_three(generate, pipeline):
    pipeline.enable_step_cache("taylor")
    # The first three; then the fifth, the eighth, ...
    assert generate(10)[1] == 4 * (3 + len([step for step in range(3, 10) if (step - 4) % 3 == 0]))


def test_magnitude_learns_for_each_number_of_steps(generate, pipeline, monkeypatch):
    monkeypatch.setattr(step_caches, "MAGNITUDE", 1.0)
    pipeline.enable_step_cache("magnitude")
    assert [generate(steps)[1] // 4 for steps in (9, 6)] == [9, 6]
    assert generate(6)[1] < 4 * 6 and generate(9)[1] < 4 * 9
    ratios = pipeline.step_cache.ratios
    assert {steps: len(each) for steps, each in ratios.items()} == {9: 9, 6: 6}
    assert all(each[0] == 1 and min(each) > 0 for each in ratios.values())


def test_a_run_that_is_broken_off_teaches_nothing(generate, pipeline):
    pipeline.enable_step_cache("magnitude")

    def stop(pipeline, step, timestep, tensors):
        pipeline._interrupt = step == 3
        return {}

    assert generate(callback_on_step_end=stop)[1] == 4 * 4
    assert generate()[1] == 4 * STEPS and not pipeline.step_cache.ratios


def test_growth_is_that_of_the_residual(generate, pipeline):
    """As diffusers' own calibration has it."""
    pipeline.enable_step_cache("magnitude")
    growth = []
    last = pipeline.transformer.blocks()[-1]
    first = pipeline.transformer.blocks()[0]
    given = []
    first.register_forward_pre_hook(lambda module, arguments: given.append(arguments[0]))
    last.register_forward_hook(lambda module, arguments, output: growth.append(output[1] - given[-1]))
    generate(4)
    pipeline.step_cache.begin(4)
    expected = [(b.norm(dim=-1) / a.norm(dim=-1)).mean().item() for a, b in pairwise(growth)]
    assert pipeline.step_cache.ratios[4] == pytest.approx([1.0, *expected], rel=1e-5)


def test_what_does_not_go_together(pipeline):
    with pytest.raises(ValueError, match="There is no step cache 'second'"):
        pipeline.enable_step_cache("second")
    for name in ("second", "magnitude"):
        with pytest.raises(ValueError, match="step cache"):
            check_step_cache(name, "fast")
    check_step_cache("taylor", "fast")
    pipeline.transformer.compile_repeated_blocks()  # compiled on the first call, which does not come
    with pytest.raises(ValueError, match="blocks that are compiled"):
        pipeline.enable_step_cache("first-block")


def test_by_load_pipeline(reference):
    from facemogle import load_pipeline

    parts = {"adapter": reference / "pytorch_lora_weights.safetensors", "mogle": reference / "mogle.pt"}
    pipeline = load_pipeline(reference / "tiny-flux", **parts, device="cpu", step_cache="taylor")
    assert pipeline.step_cache.name == "taylor" and pipeline.transformer.is_cache_enabled
    with pytest.raises(ValueError, match="no step cache"):
        load_pipeline(reference / "tiny-flux", **parts, device="cpu", step_cache="second")
