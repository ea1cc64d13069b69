import logging

import numpy as np
import pytest
import torch
from PIL import Image

from facemogle.gating import EXPERTS
from facemogle.masks import check_label_map
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.transformer import FaceMoGLETransformer2DModel

PROMPT = "a woman with red hair"


@pytest.fixture
def generate(pipeline, label_map, seed):
    """Generate latents, unless told otherwise, from seed 7."""

    def generate(prompt=PROMPT, **options):
        defaults = {"label_map": label_map, "generator": seed(7), "output_type": "latent"}
        return pipeline(prompt, **defaults | options).images

    return generate


def close(actual, expected):
    return torch.allclose(actual, expected, atol=1e-4)


def test_same_seed_same_image_to_the_last_bit(generate, seed):
    first = generate()
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert torch.equal(generate(), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not close(generate(generator=seed(8)), first)


def test_without_a_generator_every_call_differs(generate):
    state = torch.get_rng_state()
    assert not close(generate(generator=None), generate(generator=None))
    assert torch.equal(torch.get_rng_state(), state)


def test_text_and_map_one_of_them_or_neither(generate, pipeline):
    both, map_only, text_only, neither = (
        generate(),
        generate(None),
        generate(label_map=None),
        generate(None, label_map=None),
    )
    assert all(latents.isfinite().all() for latents in (both, map_only, text_only, neither))
    assert not close(both, map_only) and not close(both, text_only) and not close(map_only, neither)
    assert torch.equal(generate(""), map_only)
    black = pipeline.encode_images(torch.zeros(1, 3, 64, 64)).expand(1, 20, -1, -1)
    assert torch.equal(generate(label_map=None, condition_tokens=black), text_only)


def test_output_types(generate, pipeline):
    latents = generate()
    (picture,) = generate(output_type="pil")
    array, tensor = generate(output_type="np"), generate(output_type="pt")
    assert latents.shape == (1, 16, 64)
    assert isinstance(picture, Image.Image) and picture.size == (64, 64)
    assert array.shape == (1, 64, 64, 3) and tensor.shape == (1, 3, 64, 64)
    assert array.min() >= 0 and array.max() <= 1
    assert np.array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(np.asarray(picture), (array[0] * 255).round().astype(np.uint8))
    assert np.array_equal(pipeline.decode_latents(latents, 64, 64, "np"), array)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 80), (128, 64)])
def test_sizes(height, width, generate):
    assert generate(height=height, width=width, output_type="np").shape == (1, height, width, 3)


def test_sizes_are_rounded_down_and_said(generate, caplog):
    with caplog.at_level(logging.WARNING):
        images = generate(height=70, width=95, output_type="np")
    assert images.shape == (1, 64, 80, 3)
    assert "70x95 is not a multiple of 16: making 64x80" in caplog.text


def test_images_per_prompt(generate, seed):
    several = generate(num_images_per_prompt=3, generator=[seed(n) for n in range(3)])
    assert several.shape == (3, 16, 64)
    for n in range(3):
        assert close(several[n : n + 1], generate(generator=seed(n)))
    assert not close(generate(num_images_per_prompt=2)[0], generate(num_images_per_prompt=2)[1])


def test_prompts_and_label_maps(generate, label_map, seed):
    prompts, label_maps = ["an old man", "a girl"], [label_map, label_map[:, ::-1]]
    generators = [seed(0), seed(1)]

    def expected(pairs):
        return torch.cat([generate(p, label_map=m, generator=seed(n)) for n, (p, m) in enumerate(pairs)])

    def renewed():
        return [generator.manual_seed(n) for n, generator in enumerate(generators)]

    for prompt, maps in (
        (prompts, label_maps),
        (prompts, label_map),
        (PROMPT, label_maps),
        (prompts, [None, label_map]),
    ):
        pairs = zip(
            prompt if isinstance(prompt, list) else [prompt] * 2,
            maps if isinstance(maps, list) else [maps] * 2,
            strict=True,
        )
        assert close(generate(prompt, label_map=maps, generator=renewed()), expected(pairs))

    four = generate(prompts, label_map=label_maps, num_images_per_prompt=2, generator=[seed(0) for _ in range(4)])
    assert close(four[0], four[1]) and close(four[2], four[3]) and not close(four[0], four[2])


def test_given_embeddings_latents_and_tokens(generate, pipeline, label_map, seed):
    prompt_embeds, pooled = pipeline.encode_prompt([PROMPT], max_sequence_length=16)
    noise = torch.randn(1, 16, 8, 8, generator=seed(7))
    given = generate(
        None,
        prompt_embeds=prompt_embeds,
        pooled_prompt_embeds=pooled,
        label_map=None,
        condition_tokens=pipeline.encode_label_map(label_map, 64, 64)[None],
        latents=torch.nn.functional.pixel_unshuffle(noise, 2).flatten(2).mT,
        generator=None,
    )
    assert torch.equal(given, generate())


def test_absent_classes_share_the_black_encoding(pipeline):
    half = np.zeros((64, 64), np.uint8)
    half[32:] = 13
    tokens = pipeline.encode_label_map(half, 64, 64)
    present = {0, 1, 1 + 13}
    black = pipeline.encode_images(torch.zeros(1, 3, 64, 64))[0]
    for expert in range(20):
        assert torch.allclose(tokens[expert], black, atol=1e-4) == (expert not in present)


def test_recorded_gating(pipeline, label_map, seed):
    options = {"label_map": label_map, "height": 32, "width": 64, "num_inference_steps": 3, "output_type": "latent"}
    result = pipeline([PROMPT, ""], **options, generator=seed(0), record_gating=True)
    assert result.gating.weights.shape == (3, 2, 20, 2, 4)
    np.testing.assert_allclose(result.gating.weights.sum(2), 1, rtol=1e-5)
    assert np.array_equal(result.gating.timesteps, pipeline.scheduler.timesteps.numpy())
    without = pipeline([PROMPT, ""], **options, generator=seed(0))
    assert without.gating is None and torch.equal(without.images, result.images)


def test_expert_scale(pipeline, label_map, seed):
    def run(expert_scale):
        return pipeline(
            [PROMPT, ""],
            label_map=label_map,
            generator=seed(0),
            expert_scale=expert_scale,
            output_type="latent",
            record_gating=True,
        )

    off, muted = run(None), run({"hair": 0.0, "left_eye": 2.0, "global": 1.0})
    hair, left_eye = EXPERTS.index("hair"), EXPERTS.index("left_eye")
    before, weights = off.gating.weights, muted.gating.weights
    assert before[:, :, hair].all() and not weights[:, :, hair].any()
    np.testing.assert_allclose(weights.sum(2), 1, rtol=1e-5)
    # In the first step the latents are still the same, in the others they are not.
    factors = np.ones((20, 1, 1))
    factors[hair], factors[left_eye] = 0, 2
    expected = before[0] * factors
    np.testing.assert_allclose(weights[0], expected / expected.sum(1, keepdims=True), rtol=1e-4)
    assert not close(muted.images, off.images)
    for nothing in (dict.fromkeys(EXPERTS, 1.0), {}):
        same = run(nothing)
        assert torch.equal(same.images, off.images) and np.array_equal(same.gating.weights, before)


def test_callback_sees_and_replaces(generate, pipeline):
    seen = []

    def callback(called_by, step, timestep, callback_kwargs):
        seen.append((called_by is pipeline, step, float(timestep), set(callback_kwargs)))
        return {"latents": torch.zeros_like(callback_kwargs["latents"])} if step == 1 else {}

    options = {"callback_on_step_end": callback, "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
    assert not generate(**options).any()
    assert seen == [
        (True, i, float(t), {"latents", "prompt_embeds"}) for i, t in enumerate(pipeline.scheduler.timesteps)
    ]


def test_callback_may_return_nothing(generate):
    assert torch.equal(generate(callback_on_step_end=lambda *args: None), generate())


def test_interrupt(generate, pipeline, label_map, seed):
    kept = []

    def stop_after_two(called_by, step, timestep, callback_kwargs):
        kept.append(callback_kwargs["latents"])
        called_by._interrupt = step == 1

    options = {"label_map": label_map, "num_inference_steps": 5, "output_type": "latent", "record_gating": True}
    result = pipeline(PROMPT, **options, generator=seed(0), callback_on_step_end=stop_after_two)
    assert len(kept) == len(result.gating.weights) == len(result.gating.timesteps) == 2
    assert torch.equal(result.images, kept[-1])
    whole = pipeline(PROMPT, **options, generator=seed(0))
    assert len(whole.gating.weights) == 5


def test_save_and_load(generate, pipeline, label_map, seed, tmp_path, adapter):
    pipeline.transformer.load_condition_adapter(adapter, alpha=2.0)
    pipeline.save_pretrained(tmp_path)
    loaded = FaceMoGLEPipeline.from_pretrained(tmp_path)
    assert loaded.transformer.adapter_config == pipeline.transformer.adapter_config
    assert {key: loaded.config[key] for key in ("height", "width", "num_inference_steps", "max_sequence_length")} == {
        "height": 64,
        "width": 64,
        "num_inference_steps": 2,
        "max_sequence_length": 16,
    }
    latents = loaded(PROMPT, label_map=label_map, generator=seed(7), output_type="latent").images
    assert torch.equal(latents, generate())


def test_without_adapter_none_is_saved(transformer, pipeline, reference, tmp_path):
    pipeline.transformer = type(transformer).from_pretrained(reference / "tiny-flux" / "transformer")
    pipeline.save_pretrained(tmp_path)
    assert not (tmp_path / "pytorch_lora_weights.safetensors").exists()
    assert FaceMoGLEPipeline.from_pretrained(tmp_path).transformer.adapter_config is None


def test_same_noise_in_every_dtype(generate, pipeline):
    noise = []
    pipeline.mogle.register_forward_pre_hook(lambda module, args: noise.append(args[1]))
    for dtype in (torch.float32, torch.bfloat16):
        pipeline.to(dtype)
        generate(num_inference_steps=1)
    assert torch.equal(noise[0].bfloat16(), noise[1])


@pytest.mark.parametrize("size", [1, 5000])
def test_label_maps_of_any_size(size, generate):
    rows = np.arange(size) * 16 // size
    uniform = np.full((size, size), 13) if size == 1 else np.broadcast_to(rows[:, None], (size, size))
    small = np.full((16, 16), 13) if size == 1 else np.broadcast_to(np.arange(16)[:, None], (16, 16))
    assert torch.equal(generate(label_map=uniform), generate(label_map=small))


def test_a_long_prompt_is_cut_and_said(generate, caplog):
    with caplog.at_level(logging.WARNING):
        latents = generate("red hair, " * 1000)
    assert latents.isfinite().all()
    assert "was cut to 16" in caplog.text and "was cut to 77" in caplog.text
    assert torch.equal(generate("red hair, " * 1001), latents)


LABEL_MAP = np.zeros((64, 64), np.uint8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_map": np.full((64, 64), 255)}, "class ids 0 to 18, got"),
        ({"label_map": [LABEL_MAP, LABEL_MAP[None]]}, r"\(H, W\) class ids, got shape \(1, 64, 64\)"),
        ({"label_map": []}, "empty list. Pass None"),
        ({"label_map": [LABEL_MAP] * 2, "prompt": ["a"] * 3}, "Got 2 label maps for 3 images"),
        ({"label_map": [LABEL_MAP] * 3, "prompt": ["a"] * 2}, "Got 2 prompts for 3 images"),
        ({"prompt": []}, "string or a list of strings"),
        ({"prompt": [3]}, "string or a list of strings"),
        ({"height": 15}, "at least 16 pixels a side, got 15x64"),
        ({"num_inference_steps": 0}, "at least 1"),
        ({"num_images_per_prompt": 0}, "at least 1"),
        ({"condition_scale": -1.0}, "at least 0"),
        ({"expert_scale": {"hair": 0, "beard": 2}}, r"no experts \['beard'\]. They are global, background, .* cloth"),
        ({"expert_scale": {"hair": -1}}, "at least 0, got {'hair': -1}. 0 mutes an expert"),
        ({"expert_scale": {"hair": float("nan")}}, "finite factors"),
        ({"expert_scale": {"hair": 1e39}}, "finite factors"),
        ({"expert_scale": dict.fromkeys(EXPERTS, 0)}, "mutes all experts. Leave one"),
        ({"output_type": "jpeg"}, "output_type must be one of .* got 'jpeg'"),
        ({"generator": [torch.Generator()] * 2}, "2 generators for 1 images"),
        ({"latents": torch.full((1, 16, 64), torch.nan)}, "NaN or infinity"),
        ({"latents": torch.zeros(1, 16, 8, 8)}, r"packed, \(1, 16, 64\) here, got \(1, 16, 8, 8\)"),
        ({"condition_tokens": torch.zeros(1, 20, 16, 64)}, "both label_map and condition_tokens"),
        ({"condition_tokens": torch.zeros(1, 20, 4, 64), "label_map": None}, r"must be \(20, 16, 64\) for each image"),
        ({"condition_tokens": torch.zeros(20, 16, 64), "label_map": None}, r"must be \(20, 16, 64\) for each image"),
        ({"prompt_embeds": torch.zeros(1, 16, 32)}, "without a prompt"),
        ({"prompt_embeds": torch.zeros(1, 16, 32), "prompt": None}, "go with pooled_prompt_embeds"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, r"Callbacks can take .* got \['noise'\]"),
    ],
)
def test_bad_input(options, message, generate):
    with pytest.raises(ValueError, match=message):
        generate(**options)


def test_divergence_is_an_error_and_not_a_black_picture(generate, pipeline):
    good = generate()
    with torch.no_grad():
        pipeline.transformer.proj_out.bias[0] = torch.inf
    with pytest.raises(FloatingPointError, match="NaN or infinite while sampling"):
        generate()
    with torch.no_grad():
        pipeline.transformer.proj_out.bias[0] = 0
    assert generate().isfinite().all() and good.isfinite().all()


def test_the_fixture_knows_every_class(label_map):
    assert set(np.unique(check_label_map(label_map))) == set(range(19))


def test_a_base_without_guidance_embedding_is_guided_by_two_passes(generate, pipeline, transformer):
    config = dict(transformer.config) | {"guidance_embeds": False}
    torch.manual_seed(0)
    base = FaceMoGLETransformer2DModel.from_config(config).eval()
    base.load_condition_adapter(pipeline.transformer.condition_adapter_state_dict())
    pipeline.register_modules(transformer=base)
    calls = []
    base.register_forward_hook(lambda *_: calls.append(1))
    one_pass = generate(guidance_scale=1.0)
    assert len(calls) == 2  # steps
    guided = generate(guidance_scale=3.0)
    assert len(calls) == 2 + 4
    assert not close(guided, one_pass)
    # Against itself the empty prompt changes nothing, whatever the scale.
    assert close(generate("", guidance_scale=3.0), generate("", guidance_scale=1.0))
    assert len(calls) == 2 + 4 + 2 + 2  # and costs no second pass
    calls.clear()
    briefly = generate(guidance_scale=3.0, guidance_until=0.99)  # the first step starts at 1
    assert len(calls) == 3
    assert not close(briefly, guided) and not close(briefly, one_pass)
    assert close(generate(guidance_scale=3.0, guidance_until=1.0), one_pass)


def test_words_that_the_model_does_not_know_are_said(generate, caplog):
    caplog.set_level(logging.WARNING, "facemogle.pipeline")
    generate("a face")
    assert "does not know" not in caplog.text
    generate("a face, 頭")
    assert "The model does not know: 頭." in caplog.text
