"""LoRAs in every naming: the same terms, and the same picture as with them in the base's weights."""

import copy
import json
import re

import pytest
import torch
from diffusers.loaders import FluxLoraLoaderMixin
from safetensors.torch import load_file, save_file

from facemogle.lora_files import read_lora
from facemogle.transformer import FaceMoGLETransformer2DModel

RANK, ALPHA = 4, 2.0
# diffusers' layers -> the name in FLUX's first code of the one in which they lie together.
FIRST = {
    ("x_embedder",): "img_in",
    ("context_embedder",): "txt_in",
    ("time_text_embed.timestep_embedder.linear_1",): "time_in.in_layer",
    ("time_text_embed.text_embedder.linear_2",): "vector_in.out_layer",
    ("time_text_embed.guidance_embedder.linear_1",): "guidance_in.in_layer",
    ("proj_out",): "final_layer.linear",
    ("transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k", "transformer_blocks.0.attn.to_v"): (
        "double_blocks.0.img_attn.qkv"
    ),
    tuple(f"transformer_blocks.0.attn.add_{each}_proj" for each in "qkv"): "double_blocks.0.txt_attn.qkv",
    ("transformer_blocks.0.attn.to_out.0",): "double_blocks.0.img_attn.proj",
    ("transformer_blocks.0.attn.to_add_out",): "double_blocks.0.txt_attn.proj",
    ("transformer_blocks.0.ff.net.0.proj",): "double_blocks.0.img_mlp.0",
    ("transformer_blocks.0.ff.net.2",): "double_blocks.0.img_mlp.2",
    ("transformer_blocks.0.ff_context.net.0.proj",): "double_blocks.0.txt_mlp.0",
    ("transformer_blocks.0.ff_context.net.2",): "double_blocks.0.txt_mlp.2",
    ("transformer_blocks.0.norm1.linear",): "double_blocks.0.img_mod.lin",
    ("transformer_blocks.0.norm1_context.linear",): "double_blocks.0.txt_mod.lin",
    (
        *(f"single_transformer_blocks.0.attn.to_{each}" for each in "qkv"),
        "single_transformer_blocks.0.proj_mlp",
    ): "single_blocks.0.linear1",
    ("single_transformer_blocks.0.proj_out",): "single_blocks.0.linear2",
    ("single_transformer_blocks.0.norm.linear",): "single_blocks.0.modulation.lin",
}
Terms = dict[str, tuple[torch.Tensor, torch.Tensor]]


def random_terms(transformer, rank: int = RANK) -> Terms:
    """A and B of every layer above; of those that lie together, one A."""
    generator, terms = torch.Generator().manual_seed(1), {}
    for targets in FIRST:
        A = torch.randn(rank, transformer.get_submodule(targets[0]).in_features, generator=generator) / 8
        for target in targets:
            out = transformer.get_submodule(target).out_features
            terms[target] = A, torch.randn(out, rank, generator=generator) / 8
    return terms


def named(terms: Terms, name, A: str = ".lora_A.weight", B: str = ".lora_B.weight", alpha: str | None = None):
    """diffusers' layers under other names; `alpha`: the ending of keys that tell ALPHA, or as much for another rank."""
    state_dict = {}
    for layer, matrices in terms.items():
        state_dict |= {name(layer) + A: matrices[0].clone(), name(layer) + B: matrices[1].clone()}
        if alpha:
            state_dict[name(layer) + alpha] = torch.tensor(ALPHA / RANK * len(matrices[0]))
    return state_dict


def fused(terms: Terms) -> Terms:
    """In FLUX's first layers."""
    whole = {first: (terms[on[0]][0], torch.cat([terms[each][1] for each in on])) for on, first in FIRST.items()}
    return whole


def stacked(terms: Terms) -> Terms:
    """As `fused`, where each of the layers that lie together brings its own ranks, as other converters write it."""
    return {
        first: (torch.cat([terms[each][0] for each in on]), torch.block_diag(*(terms[each][1] for each in on)))
        for on, first in FIRST.items()
    }


def underscored(prefix: str):
    return lambda layer: prefix + layer.replace(".", "_")


KOHYA = {"A": ".lora_down.weight", "B": ".lora_up.weight", "alpha": ".alpha"}
NAMINGS = {
    "diffusers": lambda terms: named(terms, "transformer.{}".format),
    "no prefix": lambda terms: named(terms, str),
    "named adapter": lambda terms: named(
        terms, "transformer.{}".format, ".lora_A.default.weight", ".lora_B.default.weight"
    ),
    "peft": lambda terms: named(terms, "base_model.model.{}".format),
    "peft of a pipeline": lambda terms: named(terms, "base_model.model.transformer.{}".format),
    "old diffusers": lambda terms: named(terms, "transformer.{}".format, ".lora.down.weight", ".lora.up.weight"),
    "kohya on diffusers": lambda terms: named(terms, underscored("lora_unet_"), **KOHYA),
    "OneTrainer": lambda terms: named(terms, underscored("lora_transformer_"), **KOHYA),
    "kohya": lambda terms: named(fused(terms), underscored("lora_unet_"), **KOHYA),
    "dots with down and alpha": lambda terms: named(fused(terms), "diffusion_model.{}".format, **KOHYA),
    "ComfyUI": lambda terms: named(fused(terms), "diffusion_model.{}".format),
    "bfl": lambda terms: named(fused(terms), str),
    "fal": lambda terms: named(fused(terms), "base_model.model.{}".format),
    "bfl, each with its own ranks": lambda terms: named(stacked(terms), str),
}


def read(state_dict, transformer, metadata=None):
    return read_lora(state_dict, metadata, transformer=transformer)


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_gives_the_same_terms(naming, transformer):
    terms = random_terms(transformer)
    reading = read(NAMINGS[naming](terms), transformer)
    assert not reading.left_out and reading.layers.keys() == {f"transformer.{layer}" for layer in terms}
    for layer, (A, B) in terms.items():
        term = reading.layers[f"transformer.{layer}"]
        assert torch.equal(term.A, A) and torch.equal(term.B, B)
        assert term.scale == (ALPHA / RANK if "alpha" in naming or "kohya" in naming or "One" in naming else None)


def test_shift_and_scale_lie_the_other_way_round_in_the_last_norm(transformer):
    A, B = torch.randn(2, 64), torch.arange(128.0)[:, None].repeat(1, 2)
    key = "final_layer.adaLN_modulation.1"
    for name in (key, f"lora_unet_{key.replace('.', '_')}"):
        (term,) = read({f"{name}.lora_A.weight": A, f"{name}.lora_B.weight": B}, transformer).layers.values()
        assert term.B[:, 0].tolist() == [*range(64, 128), *range(64)]


def test_what_diffusers_converts_rightly_comes_out_the_same():
    """At FLUX.1's own widths, which its converters are written for."""
    with torch.device("meta"):
        flux = FaceMoGLETransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True)
    terms = random_terms(flux, rank=3)
    blocks = {layer: term for layer, term in terms.items() if "blocks" in layer}
    of_blocks = {first: term for first, term in fused(terms).items() if "blocks" in first}
    xflux = {
        f"double_blocks.0.processor.{ours}_lora{number}": of_blocks[f"double_blocks.0.{stream}_attn.{ours}"]
        for number, stream in ((1, "img"), (2, "txt"))
        for ours in ("qkv", "proj")
    } | {
        "single_blocks.0.processor.proj_lora": of_blocks["single_blocks.0.linear2"],
        "single_blocks.0.processor.qkv_lora": (
            of_blocks["single_blocks.0.linear1"][0],
            of_blocks["single_blocks.0.linear1"][1][: 3 * 3072],
        ),
    }
    for state_dict in (
        named(of_blocks, underscored("lora_unet_"), **KOHYA),
        named(of_blocks, "diffusion_model.{}".format, **KOHYA),
        named(xflux, str, ".down.weight", ".up.weight"),
        named(blocks, "transformer.{}".format),
    ):
        theirs = FluxLoraLoaderMixin.lora_state_dict(dict(state_dict))
        ours = read(state_dict, flux)
        assert not ours.left_out and len(theirs) == 2 * len(ours.layers)
        for layer, term in ours.layers.items():
            A, B = theirs[f"{layer}.lora_A.weight"], theirs[f"{layer}.lora_B.weight"]
            torch.testing.assert_close((term.scale or 1) * term.B[:8] @ term.A, B[:8] @ A)


def test_pefts_settings_tell_the_scale(transformer):
    state_dict = NAMINGS["diffusers"](random_terms(transformer))
    told = {"transformer.r": 4, "transformer.lora_alpha": 8, "transformer.alpha_pattern": {"attn.to_q": 1}}
    layers = read(state_dict, transformer, told).layers
    assert layers["transformer.x_embedder"].scale == 2
    assert layers["transformer.transformer_blocks.0.attn.to_q"].scale == 0.25
    layers = read(state_dict, transformer, told | {"transformer.use_rslora": True}).layers
    assert layers["transformer.x_embedder"].scale == 4


def test_two_loras_in_one_file_are_refused(transformer):
    terms = random_terms(transformer)
    for other in ("named adapter", "peft", "bfl"):
        with pytest.raises(ValueError, match="two LoRAs in one"):
            read(NAMINGS["diffusers"](terms) | NAMINGS[other](terms), transformer)


# On a pipeline


@pytest.fixture
def generate(pipeline, label_map, seed):
    def generate(**options):
        return pipeline("a man", label_map=label_map, generator=seed(7), output_type="latent", **options).images

    return generate


def merged(transformer, terms: Terms, scale: float):
    """A copy with a LoRA in its weights."""
    plain = copy.deepcopy(transformer)
    with torch.no_grad():
        for layer, (A, B) in terms.items():
            plain.get_submodule(layer).weight += scale * B @ A
    return plain


@pytest.mark.parametrize("naming", ["peft", "kohya", "bfl"])
def test_a_lora_acts_as_if_it_were_in_the_weights(naming, pipeline, generate, tmp_path):
    before, adapter = generate(), pipeline.transformer.condition_adapter_state_dict()
    terms, scale = random_terms(pipeline.transformer), ALPHA / RANK if naming == "kohya" else 1
    original = pipeline.transformer
    pipeline.transformer = merged(original, terms, 0.5 * scale)
    expected = generate()
    pipeline.transformer = original
    assert (expected - before).abs().max() > 0.1

    save_file(NAMINGS[naming](terms), tmp_path / "style.safetensors")
    pipeline.load_lora(tmp_path / "style.safetensors", scale=0.5, name="style")
    torch.testing.assert_close(generate(), expected, atol=1e-4, rtol=0)
    kept = pipeline.transformer.condition_adapter_state_dict()
    assert all(torch.equal(kept[key], matrix) for key, matrix in adapter.items()) and kept.keys() == adapter.keys()
    assert pipeline.loras == {"style": 0.5}
    torch.testing.assert_close(generate(lora_scale={"style": 0}), before, atol=1e-5, rtol=0)
    torch.testing.assert_close(generate(), expected, atol=1e-4, rtol=0)
    pipeline.unload_lora_weights()
    assert pipeline.loras == {}


def test_several_loras_add_up(pipeline, generate, tmp_path):
    first = random_terms(pipeline.transformer)
    second = {layer: (A.flip(0), B) for layer, (A, B) in first.items() if "single" in layer}
    original = pipeline.transformer
    pipeline.transformer = merged(merged(original, first, 0.25), second, -0.5)
    expected = generate()
    pipeline.transformer = original
    for name, terms, scale in (("first", first, 0.25), ("second", second, -0.5)):
        save_file(NAMINGS["bfl"](terms) if name == "first" else NAMINGS["no prefix"](terms), tmp_path / name)
        (tmp_path / name).rename(tmp_path / f"{name}.safetensors")
        pipeline.load_lora(tmp_path / f"{name}.safetensors", scale=scale, name=name)
    torch.testing.assert_close(generate(), expected, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match=r"third is not loaded\. Loaded are first, second"):
        generate(lora_scale={"third": 1})
    with pytest.raises(ValueError, match="must be a number"):
        generate(lora_scale={"first": float("nan")})
    with pytest.raises(ValueError, match="loaded already"):
        pipeline.load_lora(tmp_path / "first.safetensors", name="first")


def test_a_lora_of_the_text_encoder_acts_too(pipeline):
    def pooled():
        return pipeline.encode_prompt(["a man"], max_sequence_length=16)[1]

    before = pooled()
    names = [name for name, _ in pipeline.text_encoder.named_modules() if name.endswith("layers.0.self_attn.q_proj")]
    linear = pipeline.text_encoder.get_submodule(names[0])
    A, B = torch.ones(2, linear.in_features), torch.randn(linear.out_features, 2)
    layer = "text_model." + names[0].removeprefix("text_model.")
    expected = copy.deepcopy(pipeline.text_encoder)
    with torch.no_grad():
        expected.get_submodule(names[0]).weight += ALPHA / RANK * B @ A
    original, pipeline.text_encoder = pipeline.text_encoder, expected
    expected = pooled()
    pipeline.text_encoder = original
    pipeline.load_lora_weights(named({layer: (A, B)}, underscored("lora_te1_"), **KOHYA))
    assert not torch.allclose(expected, before, atol=1e-3)
    torch.testing.assert_close(pooled(), expected, atol=1e-5, rtol=0)


def test_a_file_where_nothing_fits_is_an_error(pipeline, tmp_path):
    wide = {layer: (torch.zeros(RANK, 3072), torch.zeros(3072, RANK)) for layer in random_terms(pipeline.transformer)}
    for terms, message in (
        ({"down_blocks.0.attn1": (torch.zeros(4, 8), torch.zeros(8, 4))}, "2 name layers that this base has not"),
        (wide, rf"{2 * len(wide)} have another shape, such as .*\(4, 3072\)\. It was made for another model"),
        ({}, "none is there"),
    ):
        save_file(NAMINGS["diffusers"](terms), tmp_path / "style.safetensors")
        with pytest.raises(
            ValueError, match=f"style.safetensors changes nothing: of its {2 * len(terms)} keys, .*{message}"
        ):
            pipeline.load_lora_weights(str(tmp_path / "style.safetensors"))
    assert not getattr(pipeline.transformer, "peft_config", {})


def test_a_file_where_some_keys_fit_is_said_with_a_count(pipeline, caplog):
    terms = random_terms(pipeline.transformer)
    others = {f"transformer.stray.lora_{letter}.weight": torch.zeros(4, 8) for letter in "AB"}
    pipeline.load_lora_weights(NAMINGS["diffusers"](terms) | others)
    (record,) = [each for each in caplog.records if each.name.startswith("facemogle")]
    count = f"of its {2 * len(terms) + 2} keys, 2 name layers that this base has not, such as transformer.stray"
    assert f"loaded in part: {count}" in record.message


# The adapter of the condition tokens


@pytest.mark.parametrize("naming", NAMINGS)
def test_the_condition_adapter_in_every_naming(naming, transformer, reference, adapter, pipeline, tmp_path):
    pairs = {key.removesuffix(".lora_A.weight").removeprefix("transformer.") for key in adapter if ".lora_A." in key}
    terms = {layer: tuple(adapter[f"transformer.{layer}.lora_{letter}.weight"] for letter in "AB") for layer in pairs}
    if "bfl" in naming or naming in ("kohya", "dots with down and alpha", "ComfyUI", "fal"):
        terms = in_first_layers(terms)
        state_dict = named(terms, underscored("lora_unet_"), **KOHYA) if naming == "kohya" else named(terms, str)
    else:
        state_dict = NAMINGS[naming](terms)
    save_file(state_dict, tmp_path / "adapter.safetensors")
    pipeline.load_condition_adapter(tmp_path / "adapter.safetensors")
    loaded = pipeline.transformer.condition_adapter_state_dict()
    assert loaded.keys() == adapter.keys() and all(torch.equal(loaded[key], adapter[key]) for key in adapter)
    told = any(key.endswith("alpha") for key in state_dict)
    assert pipeline.transformer.adapter_config.alpha == (ALPHA if told else RANK)


def in_first_layers(terms: Terms) -> Terms:
    """The whole adapter, each of the layers that lie together with its own ranks."""
    whole = {}
    for on, first in FIRST.items():
        for block in range(2):
            names = [re.sub(r"blocks\.0", f"blocks.{block}", each) for each in on]
            if all(name in terms for name in names):
                A = torch.cat([terms[each][0] for each in names])
                B = torch.block_diag(*(terms[each][1] for each in names))
                whole[first.replace("blocks.0", f"blocks.{block}")] = A, B
    return whole


def test_the_files_alpha_holds_in_other_namings(pipeline, adapter, tmp_path):
    bare = {key.removeprefix("transformer."): matrix for key, matrix in adapter.items()}
    save_file(bare, tmp_path / "adapter.safetensors", metadata={"format": "pt", "alpha": json.dumps(8.0)})
    pipeline.load_condition_adapter(tmp_path / "adapter.safetensors")
    assert pipeline.transformer.adapter_config.alpha == 8


def test_an_adapter_of_unequal_alphas_counts_each(pipeline, adapter, reference, tmp_path):
    state_dict = load_file(reference / "pytorch_lora_weights.safetensors")
    state_dict["transformer.x_embedder.alpha"] = torch.tensor(8.0)
    save_file(state_dict, tmp_path / "adapter.safetensors")
    pipeline.load_condition_adapter(tmp_path / "adapter.safetensors")
    loaded, B = pipeline.transformer.condition_adapter_state_dict(), "transformer.x_embedder.lora_B.weight"
    assert torch.equal(loaded[B], 2 * adapter[B]) and pipeline.transformer.adapter_config.alpha == 4
