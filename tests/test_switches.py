"""diffusers' own switches, on this pipeline, with the image they must leave as it is."""

import copy

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from diffusers import FirstBlockCacheConfig, attention_backend
from diffusers.models.attention_dispatch import AttentionBackendName

from facemogle.transformer import ConditionLinear

CPU = torch.device("cpu")


@pytest.fixture
def generate(pipeline, label_map, seed):
    def generate(label_map=label_map, **options):
        return pipeline(
            "a man", label_map=label_map, num_inference_steps=4, generator=seed(7), output_type="latent", **options
        ).images

    return generate


def modules_of(pipeline):
    return {name for name, component in pipeline.components.items() if isinstance(component, torch.nn.Module)}


def assert_same(image, before):
    """But for rounding: weights that moved lie at other addresses, where a CPU may take another kernel."""
    torch.testing.assert_close(image, before, atol=1e-5, rtol=0)


def test_model_cpu_offload(generate, pipeline):
    before = generate()
    pipeline.enable_model_cpu_offload(device=CPU)
    assert all(hasattr(getattr(pipeline, name), "_hf_hook") for name in modules_of(pipeline) - {"mogle"})
    assert_same(generate(), before)
    assert_same(generate(), before)


def test_every_module_has_its_place_when_offloading(pipeline):
    in_sequence = set(pipeline.model_cpu_offload_seq.split("->"))
    assert in_sequence | set(pipeline._exclude_from_cpu_offload) == modules_of(pipeline)


def test_sequential_offload_layer_by_layer(generate, pipeline):
    """What enable_sequential_cpu_offload does, which itself refuses to run without an accelerator: between two forwards
    the weights are not there, so any use of them past a layer's own forward fails."""
    before = generate()
    for name in modules_of(pipeline) - set(pipeline._exclude_from_cpu_offload):
        component = getattr(pipeline, name)
        cpu_offload(component, CPU, offload_buffers=len(component._parameters) > 0)
    assert pipeline.transformer.x_embedder.adapter_A.is_meta
    assert_same(generate(), before)
    assert_same(generate(), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("switch", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_offload_on_a_gpu(switch, generate, pipeline):
    before = generate()
    getattr(pipeline, switch)()
    torch.testing.assert_close(generate().cpu(), before, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("offload_type", "num_blocks_per_group"), [("leaf_level", None), ("block_level", 1)])
def test_group_offload(offload_type, num_blocks_per_group, generate, pipeline, tmp_path):
    """Offloaded to disk, since from CPU to CPU nothing would move."""
    before = generate()
    pipeline.enable_group_offload(
        onload_device=CPU,
        offload_device=CPU,
        offload_type=offload_type,
        num_blocks_per_group=num_blocks_per_group,
        offload_to_disk_path=str(tmp_path),
        # diffusers loses the T5's tied embedding from disk at leaf level, in its own FluxPipeline too.
        exclude_modules=["text_encoder_2"] if offload_type == "leaf_level" else None,
    )
    assert any(tmp_path.iterdir())
    assert_same(generate(), before)
    assert_same(generate(), before)


def test_first_block_cache(generate, pipeline):
    """At a threshold nothing exceeds, all but the first block run in the first step alone."""
    calls = []
    for block in (*pipeline.transformer.transformer_blocks, *pipeline.transformer.single_transformer_blocks):
        block.attn.register_forward_hook(lambda *args: calls.append(1))
    before = generate()
    assert len(calls) == 4 * 4
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=1e9))
    for _ in range(2):
        calls.clear()
        cached = generate()
        assert len(calls) == 4 + 3
    assert cached.isfinite().all() and not torch.equal(cached, before)
    pipeline.transformer.disable_cache()
    assert torch.equal(generate(), before)


def test_a_run_broken_off_leaves_no_cache_behind(generate, pipeline):
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.5))
    before = generate()

    def fail(*args):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(callback_on_step_end=fail)
    assert torch.equal(generate(), before)


@pytest.mark.parametrize("condition_scale", [1.0, 0.5])
def test_attention_backend(condition_scale, generate, pipeline):
    before = generate(condition_scale=condition_scale)
    with attention_backend():  # what is set within ends with it
        pipeline.transformer.set_attention_backend("_native_math")
        processors = pipeline.transformer.attn_processors.values()
        assert {processor._attention_backend for processor in processors} == {AttentionBackendName._NATIVE_MATH}
        torch.testing.assert_close(generate(condition_scale=condition_scale), before, atol=1e-4, rtol=0)


def test_compiled_blocks(generate, pipeline, label_map):
    """One graph for each kind of block, none broken, none compiled again for another label map or prompt."""
    other_map = label_map[::-1].copy()
    before, other_before = generate(), generate(other_map)
    compiled = []

    def backend(graph, example_inputs):
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    pipeline.transformer.compile_repeated_blocks(fullgraph=True, backend=backend)
    torch.testing.assert_close(generate(), before, atol=1e-5, rtol=0)
    assert len(compiled) == 2
    torch.testing.assert_close(generate(other_map), other_before, atol=1e-5, rtol=0)
    generate(None)
    assert len(compiled) == 2


STYLED = (
    "transformer_blocks.0.attn.to_q",
    "transformer_blocks.1.attn.add_k_proj",
    "single_transformer_blocks.0.proj_out",
)


@pytest.fixture
def style(pipeline, seed):
    """A LoRA for the base: on layers that the condition adapter changes too, and on one that it does not."""
    generator = seed(3)
    state_dict = {}
    for name in STYLED:
        linear = pipeline.transformer.get_submodule(name)
        for letter, shape in (("A", (2, linear.in_features)), ("B", (linear.out_features, 2))):
            state_dict[f"transformer.{name}.lora_{letter}.weight"] = torch.randn(shape, generator=generator) * 0.3
    return state_dict


def test_style_lora(generate, pipeline, style):
    """Loaded or fused, it equals a base with the LoRA in its weights, and the condition adapter stays what it was."""
    before = generate()
    adapter = pipeline.transformer.condition_adapter_state_dict()
    plain = copy.deepcopy(pipeline.transformer)
    with torch.no_grad():
        for name in STYLED:
            weight = plain.get_submodule(name).weight
            weight += style[f"transformer.{name}.lora_B.weight"] @ style[f"transformer.{name}.lora_A.weight"]
    original, pipeline.transformer = pipeline.transformer, plain
    expected = generate()
    pipeline.transformer = original
    assert not torch.allclose(expected, before, atol=1e-3)

    pipeline.load_lora_weights(dict(style))
    torch.testing.assert_close(generate(), expected, atol=1e-4, rtol=0)
    kept = pipeline.transformer.condition_adapter_state_dict()
    assert kept.keys() == adapter.keys() and all(torch.equal(kept[key], adapter[key]) for key in adapter)
    pipeline.unload_lora_weights()
    torch.testing.assert_close(generate(), before, atol=1e-5, rtol=0)

    pipeline.load_lora_weights(dict(style))
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    assert isinstance(pipeline.transformer.get_submodule(STYLED[0]), ConditionLinear)
    torch.testing.assert_close(generate(), expected, atol=1e-4, rtol=0)


def test_pictures_survive_every_switch_at_once(pipeline, generate):
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    pipeline.enable_model_cpu_offload(device=CPU)
    pipeline.vae.enable_tiling()
    pipeline.vae.enable_slicing()
    (picture,) = pipeline(
        "a man", label_map=np.zeros((64, 64), np.uint8), generator=torch.Generator().manual_seed(0)
    ).images
    assert np.asarray(picture).std() > 0
