import shutil

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from facemogle.transformer import AdapterConfig, ConditionLinear, FaceMoGLETransformer2DModel

TINY = {
    "num_layers": 1,
    "num_single_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "pooled_projection_dim": 24,
    "axes_dims_rope": (4, 6, 6),
}
B, N, T = 2, 12, 5


def make_inputs(seed, config=TINY, dtype=torch.float32):
    generator = seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    ids = torch.zeros(N, 3)
    ids[:, 1], ids[:, 2] = torch.arange(N) // 4, torch.arange(N) % 4
    return {
        "hidden_states": normal(B, N, 64),
        "encoder_hidden_states": normal(B, T, config["joint_attention_dim"]),
        "pooled_projections": normal(B, config["pooled_projection_dim"]),
        "timestep": torch.tensor([0.75, 0.1]),
        "img_ids": ids,
        "txt_ids": torch.zeros(T, 3),
        "guidance": torch.tensor([3.5, 1.0]),
    }


@pytest.fixture
def inputs(transformer, seed):
    return make_inputs(seed, transformer.config)


@pytest.fixture
def condition(seed):
    return torch.randn(B, N, 64, generator=seed(1))


@pytest.mark.parametrize("guidance_embeds", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_flux_without_condition_tokens(guidance_embeds, dtype, seed, tmp_path):
    flux = FluxTransformer2DModel(**TINY, guidance_embeds=guidance_embeds)
    flux.save_pretrained(tmp_path)
    transformer = FaceMoGLETransformer2DModel.from_pretrained(tmp_path)
    transformer.add_condition_adapter(AdapterConfig(), generator=seed(2))
    inputs = make_inputs(seed, dtype=dtype)
    if not guidance_embeds:
        inputs["guidance"] = None
    with torch.no_grad():
        assert torch.equal(transformer.to(dtype)(**inputs).sample, flux.to(dtype)(**inputs).sample)


def test_gradients_equal_flux_without_condition_tokens(transformer, inputs, reference):
    flux = FluxTransformer2DModel.from_pretrained(reference / "tiny-flux" / "transformer")
    for model in (flux, transformer):
        model(**inputs).sample.square().sum().backward()
    for name, parameter in flux.named_parameters():
        torch.testing.assert_close(transformer.get_parameter(name).grad, parameter.grad)


@torch.no_grad()
def test_condition_scale(transformer, inputs, condition):
    """At 0 nobody attends to the condition tokens; between 0 and 1 is between."""
    plain = transformer(**inputs).sample
    by_scale = {
        scale: transformer(**inputs, condition_hidden_states=condition, condition_scale=scale).sample
        for scale in (0, 0.5, 1)
    }
    torch.testing.assert_close(by_scale[0], plain, atol=1e-5, rtol=0)
    distance = {scale: (velocity - plain).norm() for scale, velocity in by_scale.items()}
    assert distance[0] < distance[0.5] < distance[1]


@torch.no_grad()
def test_adapter_acts_on_condition_rows_alone(seed):
    linear = ConditionLinear(8, 5)
    adapter_A, adapter_B = torch.randn(2, 8, generator=seed(0)), torch.randn(5, 2, generator=seed(1))
    rows = torch.randn(3, 10, 8, generator=seed(2))
    without = linear(rows, 4)
    linear.set_adapter(adapter_A, adapter_B, scale=0.5)
    assert torch.equal(linear(rows), without)
    assert torch.equal(linear(rows, 4)[:, :-4], without[:, :-4])
    torch.testing.assert_close(
        linear(rows, 4)[:, -4:], without[:, -4:] + 0.5 * rows[:, -4:] @ adapter_A.T @ adapter_B.T
    )


def graph_of(tensor):
    """The names of all autograd nodes behind a tensor."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return {type(node).__name__ for node in seen}


def test_adapter_learns_without_views_written_in_place(seed):
    """They cost a copy of all gradients for each layer, and a compiled backward pass went astray on them."""
    linear = ConditionLinear(8, 5)
    linear.set_adapter(torch.randn(2, 8, generator=seed(0)), torch.randn(5, 2, generator=seed(1)), scale=0.5)
    rows = torch.randn(3, 10, 8, generator=seed(2), requires_grad=True)
    learned = [rows, *linear.parameters()]
    output = linear(rows, 4)
    assert not any("CopySlices" in name or "AsStrided" in name for name in graph_of(output))
    low_rank = rows[:, -4:] @ linear.adapter_A.T @ linear.adapter_B.T
    expected = torch.nn.functional.linear(rows, linear.weight, linear.bias)
    expected = expected + torch.cat([torch.zeros(3, 6, 5), 0.5 * low_rank], dim=1)
    torch.testing.assert_close(output, expected)
    with torch.no_grad():
        torch.testing.assert_close(linear(rows, 4), expected)
    weights = torch.randn(output.shape, generator=seed(3))
    ours, plain = (torch.autograd.grad((each * weights).sum(), learned) for each in (output, expected))
    for mine, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles with a C++ compiler")
def test_compiled_and_checkpointed_gradients(transformer, adapter, inputs, condition):
    """What inductor makes of the blocks learns as they do, for a batch, with their activations computed anew."""
    transformer.load_condition_adapter(adapter)
    transformer.requires_grad_(True)

    def gradients():
        transformer.zero_grad()
        transformer(**inputs, condition_hidden_states=condition).sample.square().mean().backward()
        return {name: parameter.grad for name, parameter in transformer.named_parameters() if ".adapter_" in name}

    expected = gradients()
    transformer.enable_gradient_checkpointing()
    torch._dynamo.reset()
    transformer.compile_repeated_blocks(fullgraph=True)
    for name, gradient in gradients().items():
        if gradient is not None:
            torch.testing.assert_close(gradient, expected[name], msg=name)
    assert sum(gradient is not None for gradient in expected.values()) > 40


class Operators(TorchDispatchMode):
    """Counts what would be launched: all operators but those that return a view."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        own, given = (
            {each.untyped_storage()._cdata for each in tree_leaves(tree) if isinstance(each, torch.Tensor)}
            for tree in (result, (args, kwargs))
        )
        self.count += function._schema.is_mutable or not own & given
        return result


@torch.inference_mode()
def test_a_step_launches_little_more_than_stock_flux():
    """At full size, without values: 512 text and 1024 image tokens."""
    dtype = torch.bfloat16
    with torch.device("meta"):
        ours = FaceMoGLETransformer2DModel(guidance_embeds=True)
        ours.add_condition_adapter(AdapterConfig())
        ours, stock = ours.to(dtype), FluxTransformer2DModel(guidance_embeds=True).to(dtype)
        latents, pooled, guidance = (
            torch.empty(1, 1024, 64, dtype=dtype),
            torch.empty(1, 768, dtype=dtype),
            torch.ones(1),
        )
        text = torch.empty(1, 512, 4096, dtype=dtype)
        ids = {"img_ids": torch.empty(1024, 3), "txt_ids": torch.empty(512, 3)}
        arguments = {
            "hidden_states": latents, "encoder_hidden_states": text,
            "pooled_projections": pooled, "timestep": torch.empty(1, dtype=dtype), "guidance": guidance, **ids,
        }  # fmt: skip
        constants = ours.run_constants(torch.empty(28, dtype=dtype), guidance, text, pooled, **ids, num_streams=2)
        with Operators() as of_stock:
            stock(**arguments)
        arguments |= {"condition_hidden_states": latents, "constants": constants[0]}
        with Operators() as of_ours:
            ours(**arguments)
        with FlopCounterMode(display=False) as flops:
            ours(**arguments)
    assert of_ours.count <= 1.2 * of_stock.count
    assert flops.get_total_flops() <= 37.7e12


@torch.no_grad()
def test_a_new_adapter_changes_nothing_and_is_seeded(transformer, inputs, condition, seed):
    before = transformer(**inputs, condition_hidden_states=condition).sample
    drawn = []
    for _ in range(2):
        transformer.add_condition_adapter(AdapterConfig(rank=3), generator=seed(5))
        drawn.append(transformer.condition_adapter_state_dict())
    assert all(torch.equal(drawn[0][key], drawn[1][key]) for key in drawn[0])
    assert torch.equal(transformer(**inputs, condition_hidden_states=condition).sample, before)


@torch.no_grad()
@pytest.mark.parametrize("rank", [1, 6])
def test_adapter_of_any_rank(rank, transformer, inputs, condition, seed):
    generator = seed(0)
    transformer.add_condition_adapter(AdapterConfig(rank=rank, alpha=2.0))
    adapter = {
        key: torch.randn(matrix.shape, generator=generator) * 0.1
        for key, matrix in transformer.condition_adapter_state_dict().items()
    }
    transformer.load_condition_adapter(adapter, alpha=2.0)
    assert transformer.adapter_config == AdapterConfig(rank, 2.0)
    scaled = transformer(**inputs, condition_hidden_states=condition).sample

    # alpha / rank is the same as B scaled by it, with alpha = rank.
    folded = {key: matrix * (2.0 / rank if "lora_B" in key else 1) for key, matrix in adapter.items()}
    transformer.load_condition_adapter(folded)
    assert transformer.adapter_config == AdapterConfig(rank, rank)
    torch.testing.assert_close(transformer(**inputs, condition_hidden_states=condition).sample, scaled)


def test_adapter_in_float32_on_a_bfloat16_base(transformer, condition, seed):
    """As in training, where the adapter keeps master weights."""
    inputs = make_inputs(seed, transformer.config, torch.bfloat16)
    transformer.to(torch.bfloat16).requires_grad_(False).add_condition_adapter(AdapterConfig(), generator=seed(0))
    trained = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    velocity = transformer(**inputs, condition_hidden_states=condition.bfloat16()).sample
    velocity.float().square().sum().backward()
    assert velocity.dtype == torch.bfloat16
    assert len(trained) == 50 and all(parameter.grad.dtype == torch.float32 for parameter in trained)


def without_one(adapter):
    del adapter["transformer.x_embedder.lora_A.weight"]


def with_another(adapter):
    adapter["transformer.proj_out.lora_A.weight"] = torch.zeros(4, 64)


def mixed_ranks(adapter):
    adapter["transformer.x_embedder.lora_A.weight"] = torch.zeros(8, 64)
    adapter["transformer.x_embedder.lora_B.weight"] = torch.zeros(64, 8)


def another_width(adapter):
    adapter["transformer.single_transformer_blocks.1.proj_out.lora_B.weight"] = torch.zeros(3072, 4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_one, "1 missing, 0 unexpected, such as transformer.x_embedder.lora_A.weight.*load_lora_weights"),
        (with_another, "0 missing, 1 unexpected, such as transformer.proj_out"),
        (mixed_ranks, r"one rank, got ranks \[4, 8\]"),
        (another_width, r"1\.proj_out\.lora_B\.weight must be \(64, 4\), got \(3072, 4\).*another width"),
    ],
)
def test_adapter_that_does_not_fit(spoil, message, transformer, adapter):
    spoiled = dict(adapter)
    spoil(spoiled)
    with pytest.raises(ValueError, match=message):
        transformer.load_condition_adapter(spoiled)
    assert transformer.adapter_config is None and not transformer.condition_adapter_state_dict()


def test_condition_tokens_must_match_the_latents(transformer, inputs, condition):
    with pytest.raises(ValueError, match=r"shape \(2, 12, 64\), got \(2, 8, 64\)"):
        transformer(**inputs, condition_hidden_states=condition[:, :8])


@torch.no_grad()
def test_the_saved_folder_is_a_plain_flux(transformer, adapter, inputs, tmp_path):
    transformer.load_condition_adapter(adapter)
    transformer.save_pretrained(tmp_path, max_shard_size="1MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    flux, info = FluxTransformer2DModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.equal(flux(**inputs).sample, transformer(**inputs).sample)
    assert any("adapter_A" in name for name in transformer.state_dict())
