"""Steps that are replayed, by the stand-in of tests/capture.py."""

import logging

import numpy as np
import pytest
import torch
from diffusers import FirstBlockCacheConfig, attention_backend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from facemogle.step_graph import MAX_GRAPHS, StepGraphs
from facemogle.transformer import AdapterConfig, FaceMoGLETransformer2DModel
from tests.capture import Capture

PROMPT = "a woman with red hair"


@pytest.fixture
def run(pipeline, label_map, seed):
    """Latents and gating of four steps, from seed 7, unless told otherwise."""

    def run(prompt=PROMPT, **options):
        defaults = {"label_map": label_map, "generator": seed(7), "num_inference_steps": 4, "record_gating": True}
        result = pipeline(prompt, **defaults | options, output_type="latent")
        return result.images, result.gating.weights

    return run


@pytest.fixture
def equal(run, pipeline):
    """Runs replayed with this capture, and from Python: equal to the last bit."""

    def equal(capture, **options):
        pipeline.enable_step_graphs(capture) if pipeline.step_graphs is None else None
        replayed = run(**options)
        graphs, pipeline.step_graphs = pipeline.step_graphs, None
        plain = run(**options)
        pipeline.step_graphs = graphs
        return torch.equal(replayed[0], plain[0]) and np.array_equal(replayed[1], plain[1])

    return equal


def test_replayed_steps_equal_those_from_python(equal, label_map):
    capture = Capture()
    assert equal(capture)
    assert (capture.captured, capture.replayed) == (1, 4)
    # What is an input is no reason for another graph.
    for options in (
        {"prompt": "an old man"}, {"label_map": label_map[:, ::-1]}, {"guidance_scale": 1.5}, {"label_map": None},
        {"num_inference_steps": 3},
    ):  # fmt: skip
        assert equal(capture, **options)
    assert (capture.captured, capture.replayed) == (1, 4 * 5 + 3)
    for options in (
        {"num_images_per_prompt": 2}, {"height": 32}, {"condition_scale": 0.5}, {"expert_scale": {"hair": 0.5}},
    ):  # fmt: skip
        before = capture.captured
        assert equal(capture, **options) and capture.captured == before + 1
        assert equal(capture, **options) and capture.captured == before + 1
    assert equal(capture, expert_scale={"hair": 2.0}) and capture.captured == 5


def test_a_base_that_is_guided_by_two_passes(equal, pipeline):
    torch.manual_seed(0)
    base = FaceMoGLETransformer2DModel.from_config(dict(pipeline.transformer.config) | {"guidance_embeds": False})
    base.eval().load_condition_adapter(pipeline.transformer.condition_adapter_state_dict())
    pipeline.register_modules(transformer=base)
    capture = Capture()
    assert equal(capture, guidance_scale=3.0) and equal(capture, guidance_scale=3.0, prompt="a girl")
    assert capture.captured == 1
    assert equal(capture, guidance_scale=2.0) and equal(capture, guidance_scale=1.0)


def test_callbacks_that_replace_or_write_in_place(equal, seed):
    def replace(pipeline, step, timestep, tensors):
        return {"latents": tensors["latents"] * 0.9, "prompt_embeds": tensors["prompt_embeds"] + 0.1}

    def write(pipeline, step, timestep, tensors):
        tensors["prompt_embeds"].mul_(0.9)

    inputs = {"callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
    assert equal(Capture(), callback_on_step_end=replace, **inputs)
    assert equal(Capture(), callback_on_step_end=write, **inputs)


@pytest.mark.parametrize("change", ["weights", "adapter", "dtype", "backend"])
def test_changed_modules_are_captured_anew(change, equal, pipeline, seed):
    capture = Capture()
    assert equal(capture)
    transformer = pipeline.transformer
    with attention_backend():  # what is set within ends with it
        if change == "weights":
            transformer.proj_out.weight = torch.nn.Parameter(transformer.proj_out.weight * 2)
        elif change == "adapter":
            transformer.load_condition_adapter(transformer.condition_adapter_state_dict(), alpha=1.0)
        elif change == "dtype":
            pipeline.to(torch.bfloat16)
        else:
            transformer.set_attention_backend("_native_math")
        assert equal(capture) and capture.captured == 2
        with torch.no_grad():
            transformer.proj_out.weight.mul_(2)  # where it lies, the graph reads it
        assert equal(capture) and capture.captured == 2


def test_steps_aside_where_hooks_or_caches_watch(equal, pipeline, caplog):
    for begin, end in (
        (lambda: pipeline.transformer.enable_cache(FirstBlockCacheConfig(0.01)), pipeline.transformer.disable_cache),
        (lambda: pipeline.enable_model_cpu_offload(device="cpu"), pipeline.remove_all_hooks),
    ):
        capture = Capture()
        begin()
        with caplog.at_level(logging.WARNING):
            assert equal(capture) and equal(capture)
        assert capture.captured == 0
        end()
        assert equal(capture) and capture.captured == 1
        pipeline.disable_step_graphs()
    assert caplog.text.count("not replayed: hooks, a step cache or offloading are on") == 2


def test_a_lora_steps_aside_until_it_is_fused(equal, pipeline, seed, caplog):
    shape = pipeline.transformer.transformer_blocks[0].attn.to_q.weight.shape
    lora = {
        f"transformer.transformer_blocks.0.attn.to_q.lora_{letter}.weight": torch.randn(size, generator=seed(0))
        for letter, size in (("A", (2, shape[1])), ("B", (shape[0], 2)))
    }
    pipeline.load_lora_weights(lora)
    capture = Capture()
    assert equal(capture) and capture.captured == 0
    assert "fuse_lora" in caplog.text
    pipeline.fuse_lora()
    assert equal(capture) and capture.captured == 1


@pytest.mark.parametrize(
    ("capture", "why"),
    [
        (Capture(RuntimeError("operation not permitted\nand more")), "operation not permitted."),
        (Capture(torch.OutOfMemoryError("CUDA out of memory")), "CUDA out of memory."),
        (Capture(KeyError()), "KeyError."),
        (None, "there is no CUDA device."),
    ],
)
def test_falls_back_where_a_capture_fails(capture, why, equal, caplog):
    if capture is None and torch.cuda.is_available():
        pytest.skip("there is one")
    assert equal(capture) and equal(capture)
    assert [record.message for record in caplog.records] == [
        f"Steps are launched from Python, not replayed: the capture failed: {why}"
    ]
    assert capture is None or capture.captured == 1  # and is not tried again


def test_graphs_are_bounded():
    capture = Capture()
    graphs = StepGraphs(capture)
    double = graphs.of(lambda tensor: tensor * 2, [torch.nn.Linear(1, 1)])
    for size in [*range(1, MAX_GRAPHS + 3), 1]:
        assert torch.equal(double(torch.ones(size)), torch.full([size], 2.0))
    assert len(graphs.graphs) == MAX_GRAPHS and capture.captured == MAX_GRAPHS + 3


class NoTransfers(TorchDispatchMode):
    """What a capture on CUDA forbids: waiting for a value, and values from elsewhere."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function is not torch.ops.aten._local_scalar_dense.default
        result = function(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor) and each.ndim]
        assert {each.device.type for each in tensors} <= {"cuda"}, function
        return result


@pytest.mark.parametrize("condition_scale", [1.0, 0.5])
def test_a_step_on_cuda_asks_for_nothing_that_a_capture_forbids(condition_scale, pipeline, label_map, monkeypatch):
    """The pipeline's own step, on tensors without values that say they are on CUDA."""
    seen = []

    def keep(function, modules):
        def kept(*arguments):
            seen.append(arguments)
            return function(*arguments)

        return kept

    pipeline.enable_step_graphs(Capture())
    monkeypatch.setattr(pipeline.step_graphs, "of", keep)
    pipeline(PROMPT, label_map=label_map, condition_scale=condition_scale, expert_scale={"hair": 0.5})
    pipeline.transformer.add_condition_adapter(AdapterConfig())
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        for module in (pipeline.transformer, pipeline.mogle):
            for name, parameter in list(module.named_parameters()):
                owner, _, own = name.rpartition(".")
                fake = torch.empty(parameter.shape, dtype=parameter.dtype, device="cuda")
                module.get_submodule(owner)._parameters[own] = torch.nn.Parameter(fake)
        arguments = tree_map_only(
            torch.Tensor, lambda each: torch.empty(each.shape, dtype=each.dtype, device="cuda"), seen[0]
        )
        with NoTransfers():
            velocity, gating = pipeline._step(*arguments)
    assert velocity.device.type == gating.device.type == "cuda"
