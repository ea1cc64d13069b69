"""Presets: what each takes of a GPU, counted at FLUX's size, and that each runs, end to end, on a small model."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._pytree import tree_map_only

from facemogle import checkpoints, load_pipeline
from facemogle.checkpoints import CheckpointError
from facemogle.mask_encoding import images_at_once
from facemogle.presets import AUTOMATIC, CUDA, PRESETS, Preset, choose_preset, fitting_preset, place
from facemogle.quantisation import quantisable, quantise
from facemogle.random_flux import FLUX_PARTS
from facemogle.transformer import AdapterConfig, ConditionLinear
from facemogle.ui.provider import describe
from train.config import TrainingConfig
from train.counting import Live, as_on, build, with_blocks, without_values

CPU = torch.device("cpu")
CONFIG = TrainingConfig(checkpoint="flux", data="pictures", precision="bfloat16", rank=4, alpha=4.0)
CARDS = {"quality": 80, "fast": 80, "turbo": 48, "24gb": 24, "16gb": 16, "12gb": 12, "8gb": 8}  # GiB
MOST = {"24gb": 22, "16gb": 14.5, "12gb": 11, "8gb": 7}  # GB


def number_of_bytes(parameter, kind):
    """As quantised tensors hold them; see test_packed_sizes."""
    if kind in ("int8", "fp8"):
        return parameter.numel() + (5 if kind == "int8" else 4) * len(parameter)
    if kind == "nf4":
        scales = -(-parameter.numel() // 64)  # of a byte each, with tables, a mean, and scales of their own
        return parameter.numel() // 2 + scales + 4 * -(-scales // 256) + 4 * (16 + 256 + 1)
    return parameter.nbytes


def size(module):
    return sum(each.nbytes for each in module.parameters())


@pytest.fixture(scope="module")
def flux():
    """FLUX.1-dev without values, with an adapter of rank 4 in bfloat16."""
    pipeline = build(FLUX_PARTS, CONFIG, "meta")
    pipeline.transformer.to(torch.bfloat16)
    return pipeline


def resident(pipeline, name):
    """Bytes of weights that lie on the GPU at most, by what they are."""
    preset, transformer = PRESETS[name], pipeline.transformer
    packed = {linear.weight: preset.weights for _, linear in quantisable(transformer)} if preset.weights else {}

    def held(module):
        return sum(number_of_bytes(each, packed.get(each, "whole")) for each in module.parameters())

    base = held(transformer)
    modulation = [held(linear) for linear in transformer.modulation_linears()]
    if "modulation" in preset.offloaded:
        base -= sum(modulation) - max(modulation)
    if "blocks" in preset.offloaded:
        blocks = [held(block) for block in transformer.blocks()]
        base -= sum(blocks) - 2 * max(blocks)
    texts = [pipeline.text_encoder, pipeline.text_encoder_2]
    text = sum(map(size, texts))
    if "text" in preset.offloaded:
        text = 2 * max(each.nbytes for text in texts for each in text.parameters())
    unpacked = (
        0 if preset.weights == "whole" else 2 * max(linear.weight.nbytes for _, linear in quantisable(transformer))
    )
    return {"transformer": base, "texts": text, "VAE": size(pipeline.vae), "a layer, unpacked": unpacked}


def peak(module, *arguments):
    """Bytes beside the weights, at most, of a module of tensors without values."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        values = without_values(module, "cuda") | {
            name: torch.empty(each.shape, dtype=each.dtype, device="cuda") for name, each in module.named_buffers()
        }
        arguments = tree_map_only(
            torch.Tensor, lambda each: torch.empty(each.shape, dtype=each.dtype, device="cuda"), arguments
        )
        with as_on("cuda", None), Live(values.values()) as live:
            functional_call(module, values, *arguments)
    return live.peak


@pytest.fixture(scope="module")
def passing(flux):
    """Of a step, which block by block takes as much; of its constants; of coding pictures: bytes."""
    small = build(with_blocks(FLUX_PARTS, 1, 1), CONFIG, "meta")
    half = {"dtype": torch.bfloat16, "device": "meta"}
    latents = torch.empty(1, 1024, 64, **half)
    ids = torch.empty(1024, 3, device="meta"), torch.empty(512, 3, device="meta")
    arguments = {
        "encoder_hidden_states": torch.empty(1, 512, 4096, **half), "pooled_projections": torch.empty(1, 768, **half),
        "timestep": torch.empty(1, **half), "guidance": torch.empty(1, device="meta"), "img_ids": ids[0],
        "txt_ids": ids[1], "hidden_states": latents, "condition_hidden_states": latents,
    }  # fmt: skip
    own = [arguments[name] for name in ("guidance", "encoder_hidden_states", "pooled_projections")]
    with torch.no_grad():
        ahead = flux.transformer.run_constants(torch.empty(28, **half), *own, *ids, num_streams=2)
    constants = sum(part.nbytes for step in ahead for parts in step.modulations for part in parts)
    return SimpleNamespace(
        step=peak(small.transformer, (), arguments),
        constants=constants,
        encoding=peak(small.vae.encoder, torch.empty(2, 3, 512, 512, **half)) // 2,
        decoding=peak(small.vae.decoder, torch.empty(1, 16, 64, 64, **half)),
    )


@pytest.mark.parametrize("name", CARDS)
def test_memory_is_as_counted(name, flux, passing, monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(total_memory=CARDS[name] << 30))
    together = images_at_once(512, 512, itemsize=2, device=torch.device("cuda"))
    step = (2 if PRESETS[name].step_graphs else 1) * passing.step + passing.constants
    held = sum(resident(flux, name).values())
    counted = (held + max(step, together * passing.encoding, passing.decoding)) / 1e9
    print(f"{name}: {held / 1e9:.2f} GB of weights, {counted:.2f} GB in all")
    assert counted <= PRESETS[name].gigabytes <= counted + 0.3
    assert PRESETS[name].gigabytes <= MOST.get(name, 80)
    assert (PRESETS[name].gigabytes + CUDA) * 1e9 <= CARDS[name] << 30


@pytest.mark.parametrize("kind", ["int8", "nf4", "fp8"])
def test_packed_sizes(kind):
    library = pytest.importorskip("bitsandbytes" if kind == "nf4" else "torchao")
    linear = nn.Linear(256, 320, bias=False).bfloat16()
    expected = number_of_bytes(linear.weight, kind)
    if kind == "nf4":
        weight = library.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4").to("cpu")
        state, of_scales = weight.quant_state, weight.quant_state.state2
        parts = [weight, state.absmax, state.code, state.offset, of_scales.absmax, of_scales.code]
        assert sum(part.nbytes for part in parts) == expected
        return
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    quantize_(linear, Int8WeightOnlyConfig() if kind == "int8" else Float8WeightOnlyConfig())  # fp8's need a GPU
    assert is_traceable_wrapper_subclass(linear.weight)
    parts = [getattr(linear.weight, part) for part in linear.weight.__tensor_flatten__()[0]]
    assert sum(part.nbytes for part in parts) == expected


@pytest.fixture
def picture(label_map, seed):
    def picture(pipeline):
        pipeline.set_progress_bar_config(disable=True)
        options = {"height": 64, "width": 64, "num_inference_steps": 3, "generator": seed(7), "output_type": "latent"}
        return pipeline("a woman with red hair", label_map=label_map, **options).images

    return picture


@pytest.fixture
def load(reference):
    parts = {"adapter": reference / "pytorch_lora_weights.safetensors", "mogle": reference / "mogle.pt"}
    return lambda **options: load_pipeline(reference / "tiny-flux", **parts, device="cpu", **options)


QUANTISED = [name for name in PRESETS if PRESETS[name].weights in ("int8", "nf4")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", QUANTISED)
def test_offloading_changes_nothing(name, dtype, load, picture, monkeypatch):
    """The preset's own hooks and quantiser, from the CPU to the CPU, against the same weights without hooks."""
    preset = PRESETS[name]
    pytest.importorskip("bitsandbytes" if preset.weights == "nf4" else "torchao")
    placed, plain = load(preset=name, dtype=dtype), load(preset="quality", dtype=dtype)
    if "blocks" in preset.offloaded:  # under whose hooks nothing is computed ahead, which differs in the last bits
        monkeypatch.setattr(plain.transformer, "run_constants", lambda *_, **__: None)
    whole = picture(plain)
    quantise(plain.transformer, preset.weights, "cpu")
    quantised = picture(plain)
    assert torch.equal(picture(placed), quantised) and torch.equal(picture(placed), quantised)
    assert 0 < (quantised - whole).float().norm() / whole.float().norm() < (0.3 if preset.weights == "nf4" else 0.05)
    assert placed.transformer.dtype == dtype
    assert describe(placed) == f"{describe(plain).partition(', preset')[0]}, preset {name} ({preset.summary})"
    if "blocks" not in preset.offloaded:  # what is computed ahead still is
        ids = torch.zeros(16, 3), torch.zeros(16, 3)
        config = placed.transformer.config
        text = torch.zeros(1, 16, config.joint_attention_dim, dtype=dtype)
        pooled = torch.zeros(1, config.pooled_projection_dim, dtype=dtype)
        times = torch.ones(2, dtype=dtype)
        assert placed.transformer.run_constants(times, torch.ones(1), text, pooled, *ids, num_streams=2)


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_adapter_norms_and_modulation_stay_as_they_are(kind, load, adapter):
    pytest.importorskip("bitsandbytes" if kind == "nf4" else "torchao")
    pipeline = load(preset="quality", dtype=torch.bfloat16)
    transformer = pipeline.transformer
    before = {name: value.clone() for name, value in transformer.named_parameters()}
    names = {f"{name}.weight" for name, _ in quantisable(transformer)}
    quantise(transformer, kind, "cpu")
    after = dict(transformer.named_parameters())
    assert before.keys() == after.keys()
    for name, value in before.items():
        same = type(after[name]) is nn.Parameter and torch.equal(after[name], value)
        assert same != (name in names), name
    assert not any("norm" in name or "adapter" in name or "embed" in name for name in names) and len(names) > 20
    assert {each.dtype for name, each in after.items() if name not in names} == {torch.bfloat16}
    # Another adapter may be loaded later.
    transformer.load_condition_adapter({key: value * 2 for key, value in adapter.items()})
    loaded = transformer.condition_adapter_state_dict()
    assert loaded.keys() == adapter.keys()
    assert all(torch.equal(loaded[key], (2 * value).to(loaded[key])) for key, value in adapter.items())
    assert not list(quantisable(transformer))  # once is enough


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_condition_rows_alone_feel_the_adapter_of_a_quantised_layer(kind, seed):
    pytest.importorskip("bitsandbytes" if kind == "nf4" else "torchao")
    from facemogle.transformer import FaceMoGLETransformer2DModel
    from tests.test_transformer import TINY

    transformer = FaceMoGLETransformer2DModel(**TINY).bfloat16()
    transformer.add_condition_adapter(AdapterConfig(rank=2), generator=seed(0))
    quantise(transformer, kind, "cpu")
    linear = transformer.transformer_blocks[0].attn.to_q
    assert isinstance(linear, ConditionLinear)
    nn.init.normal_(linear.adapter_B, generator=seed(1))
    rows = torch.randn(3, 10, 32, generator=seed(2)).bfloat16()
    with torch.no_grad():
        plain, adapted = linear(rows), linear(rows, 4)
        low_rank = rows[:, -4:] @ linear.adapter_A.T @ linear.adapter_B.T * linear.adapter_scale
    assert torch.equal(adapted[:, :-4], plain[:, :-4])
    torch.testing.assert_close(adapted[:, -4:], plain[:, -4:] + low_rank, atol=0.05, rtol=0.02)


def test_a_style_lora_lies_beside_quantised_layers(load, picture, seed):
    pytest.importorskip("torchao")
    pipeline = load(preset="24gb", dtype=torch.bfloat16)
    before = picture(pipeline)
    shape = pipeline.transformer.transformer_blocks[0].attn.to_q.weight.shape
    pipeline.load_lora_weights({
        f"transformer.transformer_blocks.0.attn.to_q.lora_{letter}.weight": torch.randn(shape, generator=seed(0))
        for letter, shape in (("A", (2, shape[1])), ("B", (shape[0], 2)))
    })  # fmt: skip
    assert not torch.allclose(picture(pipeline), before, atol=1e-2)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles with a C++ compiler")
@pytest.mark.parametrize("name", ["fast", "turbo"])
def test_compiled_presets(name, load, picture, monkeypatch):
    """turbo's layers are those of GPUs: here they stay whole."""
    monkeypatch.setattr("facemogle.quantisation.quantise", lambda *_, **__: None)
    monkeypatch.setattr("facemogle.presets.check_preset", PRESETS.get)
    monkeypatch.setattr("facemogle.checkpoints.check_preset", PRESETS.get)
    expected = picture(load(preset="quality"))
    torch._dynamo.reset()
    pipeline = load(preset=name)
    assert all(block._compiled_call_impl is not None for block in pipeline.transformer.blocks())
    assert pipeline.transformer.is_cache_enabled == (name == "turbo")
    torch.testing.assert_close(picture(pipeline), expected, atol=1e-4 if name == "fast" else 0.5, rtol=0)


@pytest.mark.parametrize(
    ("free", "share", "expected"),
    [
        (139, 1, "quality"), (40, 1, "quality"), (23.4, 1, "24gb"), (16.5, 1, "16gb"), (11.8, 1, "16gb"),
        (11, 1, "12gb"), (7.5, 1, "12gb"), (6, 1, "8gb"), (3, 1, None), (2, 0.0015, "quality"), (80, 3, "24gb"),
    ],
)  # fmt: skip
def test_the_best_that_fits(free, share, expected):
    assert fitting_preset(free, share=share) == expected


def test_chosen_by_free_memory(monkeypatch, tmp_path):
    (tmp_path / "transformer").mkdir()
    with open(tmp_path / "transformer" / "weights.safetensors", "wb") as file:
        file.truncate(int(33.8e9))  # sparse
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (int(24e9), int(25e9)))
    assert choose_preset(torch.device("cuda"), tmp_path) == "24gb"
    assert choose_preset(CPU, tmp_path) == "cpu"
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (int(2e9), int(25e9)))
    with pytest.raises(CheckpointError, match=r"2\.0 GB of cuda are free, too few"):
        choose_preset(torch.device("cuda"), tmp_path)


def test_better_presets_take_more_memory():
    sizes = [PRESETS[name].gigabytes for name in AUTOMATIC]
    assert sizes == sorted(sizes, reverse=True)


def test_all_but_what_waits_on_the_cpu_goes_to_the_device(load, monkeypatch):
    """To one without values, which diffusers' offloading does not know: its part is stood in for."""
    pipeline, waiting = load(preset="quality"), []
    monkeypatch.setattr("diffusers.hooks.apply_group_offloading", lambda module, *_, **__: waiting.append(module))
    monkeypatch.setitem(PRESETS, "some", Preset("", 0, offloaded=("text", "modulation")))
    place(pipeline, "some", torch.device("meta"))
    assert len(waiting) == 2 + len(list(pipeline.transformer.modulation_linears()))
    names = {id(parameter) for module in waiting for parameter in module.parameters()}
    for part in pipeline.components.values():
        for parameter in part.parameters() if isinstance(part, nn.Module) else ():
            assert parameter.device.type == ("cpu" if id(parameter) in names else "meta")


def test_unknown_and_missing(load, monkeypatch):
    with pytest.raises(ValueError, match=r"no preset 'best'. They are quality, fast"):
        load(preset="best")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("facemogle.quantisation.importlib.import_module", missing)
    for name, file in (("24gb", "requirements-torchao.txt"), ("12gb", "requirements-bitsandbytes.txt")):
        with pytest.raises(CheckpointError, match=rf"not here: pip install -r {file}"):
            load(preset=name)


def test_fp8_asks_for_another_gpu(load):
    pytest.importorskip("torchao")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(CheckpointError, match=r"fp8 are not for cpu: Float8 .* Choose another preset"):
        load(preset="turbo")


def test_too_large_for_the_device(load, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(checkpoints, "place", full)
    with pytest.raises(CheckpointError, match=r"memory of cpu with the preset quality. Choose a smaller one"):
        load(preset="quality")


def test_without_a_preset_all_is_as_ever(load, picture):
    pipeline = load()
    assert pipeline.preset == "cpu" and pipeline.transformer.dtype == torch.float32
    assert np.array_equal(picture(pipeline), picture(load(preset="quality")))
