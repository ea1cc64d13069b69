"""Condition rows that are computed in some steps alone."""

import pytest
import torch

from facemogle.condition_memory import ConditionMemory
from facemogle.pipeline import image_ids


@pytest.fixture
def generate(pipeline, label_map, seed):
    """-> latents, and the number of rows that the first block's queries had in each call."""
    rows = []
    first = pipeline.transformer.transformer_blocks[0].attn
    first.to_q.register_forward_hook(lambda module, arguments, output: rows.append(output.shape[1]))

    def generate(**options):
        rows.clear()
        options = {"label_map": label_map, "num_inference_steps": 5, "output_type": "latent"} | options
        return pipeline("a man", generator=seed(7), **options).images, list(rows)

    return generate


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("ahead", [True, False])
@torch.no_grad()
def test_the_same_step_once_more_is_the_same(scale, ahead, transformer, adapter, seed):
    """With the same latents, what is kept is what would be computed."""
    transformer.load_condition_adapter(adapter)
    config = transformer.config
    random = {"generator": seed(0)}
    latents, condition = (torch.randn(2, 16, config.in_channels, **random) for _ in range(2))
    pooled, ids = torch.randn(2, config.pooled_projection_dim, **random), (image_ids(4, 4), torch.zeros(6, 3))
    text = torch.randn(2, 6, config.joint_attention_dim, **random)
    guidance, time = torch.full([2], 3.5), torch.full([2], 0.7)
    constants = None
    if ahead:
        (constants,) = transformer.run_constants(time[:1], guidance, text, pooled, *ids, num_streams=2)
    arguments = {
        "hidden_states": latents, "encoder_hidden_states": text,
        "pooled_projections": pooled, "timestep": time, "img_ids": ids[0], "txt_ids": ids[1], "guidance": guidance,
        "condition_scale": scale, "constants": constants, "return_dict": False,
    }  # fmt: skip
    memory = ConditionMemory()
    (plain,) = transformer(**arguments, condition_hidden_states=condition)
    (kept,) = transformer(**arguments, condition_hidden_states=condition, condition_memory=memory)
    assert torch.equal(kept, plain) and len(memory.kept) == len(transformer.blocks()) and memory.num_rows == 16
    (again,) = transformer(**arguments, condition_memory=memory)
    torch.testing.assert_close(again, plain, atol=1e-5, rtol=0)
    # And it looks at what is kept.
    for key, value in memory.kept.values():
        key.zero_(), value.zero_()
    assert (transformer(**arguments, condition_memory=memory)[0] - plain).abs().max() > 1e-3


def test_every_so_manieth_step(generate, pipeline):
    plain, rows = generate()
    assert rows == [32] * 5
    pipeline.enable_condition_refresh(2)
    fewer, rows = generate()
    assert rows == [32, 16, 32, 16, 32]
    again, _ = generate()
    assert torch.equal(fewer, again) and 0 < (fewer - plain).norm() < 0.3 * plain.norm()
    pipeline.enable_condition_refresh(1)
    assert torch.equal(generate()[0], plain)


def test_what_does_not_go_together(generate, pipeline):
    with pytest.raises(ValueError, match="every 1 step or more"):
        pipeline.enable_condition_refresh(0)
    pipeline.enable_step_cache("taylor")
    with pytest.raises(ValueError, match="does not go with a step cache"):
        pipeline.enable_condition_refresh(2)
    generate()  # as before
    pipeline.disable_step_cache()
    pipeline.enable_condition_refresh(2)
    pipeline.enable_step_graphs()
    with pytest.raises(ValueError, match="does not go with step graphs"):
        generate()
