import logging

import numpy as np
import pytest
import torch
from PIL import Image

from facemogle.editing import edit_region
from facemogle.gating import EXPERTS
from facemogle.masks import check_label_map
from facemogle.pipeline import FaceMoGLEPipeline, first_step
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


@pytest.mark.parametrize("num_images", [1, 2])
def test_what_is_computed_ahead_changes_nothing(num_images, pipeline, label_map, seed, monkeypatch):
    """Modulation and rotary tables of all steps in one pass, against those of every step in its turn."""

    def generate():
        options = {"num_inference_steps": 4, "num_images_per_prompt": num_images, "output_type": "latent"}
        return pipeline("a man", label_map=label_map, generator=seed(7), **options).images

    asked = []
    run_constants = type(pipeline.transformer).run_constants

    def keep(self, *args, **kwargs):
        asked.append(run_constants(self, *args, **kwargs))
        return asked[-1]

    monkeypatch.setattr(type(pipeline.transformer), "run_constants", keep)
    ahead = generate()
    assert len(asked[0]) == 4
    monkeypatch.setattr(type(pipeline.transformer), "run_constants", lambda *args, **kwargs: None)
    torch.testing.assert_close(generate(), ahead, atol=5e-5, rtol=0)


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


def test_a_prompt_replaced_after_the_first_step_counts_from_the_second(generate, pipeline, monkeypatch):
    """Though what depends on it alone is computed once for all steps, if nobody replaces it."""
    calls = []
    embed = type(pipeline.transformer.context_embedder).forward

    def counting(self, rows):
        calls.append(self is pipeline.transformer.context_embedder)
        return embed(self, rows)

    monkeypatch.setattr(type(pipeline.transformer.context_embedder), "forward", counting)
    plain = generate()
    assert sum(calls) == 1

    other = pipeline.encode_prompt(["another"], max_sequence_length=16)[0]

    def replace(called_by, step, timestep, callback_kwargs):
        return {"prompt_embeds": other} if step == 0 else {}

    options = {"callback_on_step_end": replace, "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
    replaced = generate(**options)
    assert not close(replaced, plain)
    monkeypatch.setattr(type(pipeline.transformer), "run_constants", lambda *args, **kwargs: None)
    torch.testing.assert_close(generate(**options), replaced, atol=5e-5, rtol=0)


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
    assert caplog.text.count("Only the first 15 of the prompt's") == 1
    assert torch.equal(generate("red hair, " * 1001), latents)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """(64, 64, 3) uint8."""
    return np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.fixture(scope="session")
def edited(label_map) -> np.ndarray:
    """The label map with a square of hair: whole tokens, parts of tokens and parts of latents, once grown."""
    edited = label_map.copy()
    edited[20:45, 14:50] = 13
    return edited


@pytest.fixture
def change(generate, photo, label_map, edited):
    """Change the photo where the label map was edited, unless told otherwise."""

    def change(prompt=PROMPT, **options):
        defaults = {"image": photo, "label_map": edited, "source_label_map": label_map}
        return generate(prompt, **defaults | options)

    return change


def test_an_edit_keeps_the_photo_outside_to_the_last_bit(change, generate, photo, label_map, edited):
    outside = ~edit_region(label_map, edited)
    assert outside.any() and not outside.all()
    (picture,) = change(output_type="pil")
    array, tensor = change(output_type="np"), change(output_type="pt")
    assert np.array_equal(np.asarray(picture)[outside], photo[outside])
    assert np.array_equal(array[0][outside], photo[outside] / np.float32(255))
    assert np.array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(np.asarray(picture), (array[0] * 255).round().astype(np.uint8))
    core = label_map != edited
    assert not np.array_equal(np.asarray(picture)[core], photo[core])
    assert np.array_equal(change(image=Image.fromarray(photo), output_type="np"), array)
    assert np.array_equal(change(source_label_map=None, edit_region=~outside, output_type="np"), array)
    ordinary = generate(label_map=edited, output_type="np")
    assert not np.allclose(ordinary[0][core], array[0][core], atol=1e-3)


def test_an_edit_changes_its_latents_alone(change, pipeline, photo, label_map, edited):
    latents = change()
    of_photo = pipeline.encode_images(torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255)
    # The tiny VAE's latents are 8 pixels wide; a token is 2x2 of them.
    cells = edit_region(label_map, edited).reshape(8, 8, 8, 8).any((1, 3))
    kept = torch.from_numpy(~cells).reshape(4, 2, 4, 2).permute(0, 2, 1, 3).reshape(1, 16, 4).repeat(1, 1, 16)
    assert kept.any() and not kept.all()
    assert torch.equal(latents[kept], of_photo[kept]) and not close(latents[~kept], of_photo[~kept])
    assert torch.equal(change(), latents)


def test_every_step_of_an_edit_holds_the_photo_at_its_noise_level(change, pipeline, photo, seed):
    region = np.zeros((64, 64), bool)
    region[:32] = True
    noise = torch.nn.functional.pixel_unshuffle(torch.randn(1, 16, 8, 8, generator=seed(7)), 2).flatten(2).mT
    of_photo = pipeline.encode_images(torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255)
    seen = []

    def keep(called_by, step, timestep, callback_kwargs):
        seen.append(callback_kwargs["latents"])

    options = {"source_label_map": None, "edit_region": region, "num_inference_steps": 4}
    change(callback_on_step_end=keep, **options)
    sigmas = pipeline.scheduler.sigmas[1:]
    assert len(seen) == len(sigmas) == 4 and sigmas[-1] == 0
    for latents, sigma in zip(seen, sigmas, strict=True):
        assert torch.equal(latents[:, 8:], ((1 - sigma) * of_photo + sigma * noise)[:, 8:])
        assert not close(latents[:, :8], ((1 - sigma) * of_photo + sigma * noise)[:, :8])
    assert torch.equal(change(latents=noise, generator=None, **options), seen[-1])


@pytest.mark.parametrize(
    ("steps", "strength", "taken"), [(10, 0.7, 7), (10, 1.0, 10), (8, 0.9, 8), (4, 0.5, 2), (4, 1e-9, 1), (3, 0.1, 1)]
)
def test_strength_is_the_share_of_the_steps(steps, strength, taken):
    assert steps - first_step(steps, strength) == taken


def test_strength(pipeline, change, photo, edited, seed):
    """Of the whole picture: the run starts from the photo at the noise level of its first step."""
    starts = []
    pipeline.mogle.register_forward_pre_hook(lambda module, args: starts.append(args[1]))
    options = {"label_map": edited, "image": photo, "num_inference_steps": 4, "output_type": "latent"}
    result = pipeline(PROMPT, **options, strength=0.5, generator=seed(7), record_gating=True)
    assert len(starts) == len(result.gating.weights) == 2
    assert np.array_equal(result.gating.timesteps, pipeline.scheduler.timesteps[2:].numpy())
    noise = torch.nn.functional.pixel_unshuffle(torch.randn(1, 16, 8, 8, generator=seed(7)), 2).flatten(2).mT
    of_photo = pipeline.encode_images(torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255)
    sigma = pipeline.scheduler.sigmas[2]
    assert torch.equal(starts[0], (1 - sigma) * of_photo + sigma * noise)

    def distance(strength):
        latents = pipeline(PROMPT, **options, strength=strength, generator=seed(7)).images
        return float((latents - of_photo).square().mean())

    assert distance(0.25) < distance(0.5) < distance(0.75)
    assert not close(change(num_inference_steps=4, strength=0.5), change(num_inference_steps=4))


def test_an_edit_of_everything_is_an_ordinary_run(change, generate, edited):
    options = {"source_label_map": None, "edit_region": np.ones((1, 1), bool)}
    assert torch.equal(change(**options), generate(label_map=edited))
    pictures = change(output_type="np", **options), generate(label_map=edited, output_type="np")
    assert np.array_equal(*pictures)


def test_edits_in_batches(change, photo, label_map, edited, seed):
    """Several prompts, photos, source maps or regions, each with one or as many of the others."""
    other_photo, other_map = photo[::-1].copy(), label_map.T.copy()
    region = edit_region(label_map, edited)
    one = change(generator=seed(0), output_type="np")
    for options in (
        {"prompt": [PROMPT, "a man"]},
        {"image": [photo, other_photo]},
        {"source_label_map": [label_map, other_map]},
        {"source_label_map": None, "edit_region": [region, ~region]},
        {"label_map": [edited, other_map]},
        {"image": [photo, other_photo], "label_map": [edited, other_map], "source_label_map": [label_map, edited]},
    ):
        pictures = change(**options, generator=[seed(0), seed(0)], output_type="np")
        assert pictures.shape == (2, 64, 64, 3)
        np.testing.assert_allclose(pictures[0], one[0], atol=1e-4)
        assert not np.allclose(pictures[1], one[0], atol=1e-3)
    pictures = change(image=[photo, other_photo], num_images_per_prompt=2, generator=seed(0), output_type="np")
    for index, under in enumerate((photo, photo, other_photo, other_photo)):
        assert np.array_equal(pictures[index][~region], under[~region] / np.float32(255))
    assert not np.allclose(pictures[0], pictures[1], atol=1e-3)


def test_an_edit_at_another_size_and_from_other_sizes(change, photo, label_map, edited):
    larger = edited.repeat(2, 0).repeat(2, 1)
    pictures = change(label_map=larger, height=48, width=80, output_type="np")
    assert pictures.shape == (1, 48, 80, 3)
    resized = np.asarray(Image.fromarray(photo).resize((80, 48), Image.Resampling.LANCZOS))
    assert np.array_equal(pictures[0][0], resized[0] / np.float32(255))
    assert np.array_equal(change(label_map=larger, output_type="np"), change(output_type="np"))


def test_an_interrupted_edit_keeps_the_photo_outside(change, photo, label_map, edited):
    def stop(called_by, step, timestep, callback_kwargs):
        called_by._interrupt = True
        return {"latents": torch.zeros_like(callback_kwargs["latents"])}

    (picture,) = change(num_inference_steps=4, callback_on_step_end=stop, output_type="pil")
    outside = ~edit_region(label_map, edited)
    assert np.array_equal(np.asarray(picture)[outside], photo[outside])


def test_an_edit_in_bfloat16_is_as_exact(pipeline, change, photo, label_map, edited):
    pipeline.to(torch.bfloat16)
    outside = ~edit_region(label_map, edited)
    assert np.array_equal(np.asarray(change(output_type="pil")[0])[outside], photo[outside])
    assert np.array_equal(change(output_type="np")[0][outside], photo[outside] / np.float32(255))


def test_an_edit_under_model_offload(change, pipeline):
    before = change(output_type="np")
    pipeline.enable_model_cpu_offload(device=torch.device("cpu"))
    for _ in range(2):
        np.testing.assert_allclose(change(output_type="np"), before, atol=1e-5)


LABEL_MAP = np.zeros((64, 64), np.uint8)
PHOTO = np.zeros((64, 64, 3), np.uint8)
REGION = np.ones((64, 64), bool)


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
        ({"prompt": 3}, "string or a list of strings"),
        ({"height": 15}, "at least 16 pixels a side, got 15x64"),
        ({"height": 64.0}, "height must be a whole number, got 64.0"),
        ({"width": "64"}, "width must be a whole number, got '64'"),
        ({"num_inference_steps": 2.5}, "num_inference_steps must be a whole number, got 2.5"),
        ({"num_images_per_prompt": 1.0}, "num_images_per_prompt must be a whole number"),
        ({"generator": 7}, r"must be a torch.Generator, as torch.Generator\(\).manual_seed\(7\), got 7"),
        ({"num_inference_steps": 0}, "at least 1"),
        ({"num_images_per_prompt": 0}, "at least 1"),
        ({"condition_scale": -1.0}, "at least 0"),
        ({"condition_scale": float("nan")}, "must be finite"),
        ({"guidance_scale": float("inf")}, "must be finite"),
        ({"expert_scale": {"hair": 0, "beard": 2}}, r"no experts \['beard'\]. They are global, background, .* cloth"),
        ({"expert_scale": [1, 2]}, "names and factors such as {'hair': 0.0}, got 1"),
        ({"expert_scale": {"hair": "much"}}, "names and factors such as"),
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
        ({"strength": 0.5}, "Pass image with them"),
        ({"edit_region": REGION}, "Pass image with them"),
        ({"image": PHOTO}, "At strength 1 nothing of the image would remain"),
        ({"image": PHOTO, "strength": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"image": PHOTO[..., 0], "strength": 0.5}, r"uint8 RGB, got uint8 of shape \(64, 64\)"),
        ({"image": [], "strength": 0.5}, "image is an empty list"),
        ({"image": PHOTO, "edit_region": []}, "edit_region is an empty list"),
        ({"image": PHOTO, "edit_region": REGION, "source_label_map": LABEL_MAP}, "Pass one of them"),
        ({"image": PHOTO, "edit_region": ~REGION}, "nothing could change"),
        ({"image": PHOTO, "edit_region": REGION[0]}, "edit_region must be"),
        ({"image": PHOTO, "source_label_map": LABEL_MAP, "label_map": None}, "label_map, the edited one. Pass both"),
        ({"image": PHOTO, "source_label_map": LABEL_MAP, "label_map": LABEL_MAP}, "label maps do not differ"),
        ({"image": PHOTO, "source_label_map": LABEL_MAP + 99}, "class ids 0 to 18, got"),
        ({"image": [PHOTO] * 2, "edit_region": REGION, "prompt": ["a"] * 3}, "Got 2 photos for 3 images"),
        ({"image": PHOTO, "edit_region": [REGION] * 2, "prompt": ["a"] * 3}, "Got 2 regions for 3 images"),
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


def test_words_that_the_model_does_not_know_are_said(generate, caplog):
    caplog.set_level(logging.WARNING, "facemogle.pipeline")
    generate("a face")
    assert "does not know" not in caplog.text
    generate("a face, 頭")
    assert "The model does not know: 頭." in caplog.text
