"""This implementation against the published one, number by number; tolerances as in reference/README.md."""

import pytest
import torch

from facemogle.masks import condition_images
from facemogle.mogle import MoGLE
from train.objective import TrainingBatch, flow_matching_loss

FLOAT32_CASES = ["text_and_mask", "mask_only", "batch_of_two", "condition_scale"]


def assert_close(actual, expected, *, maximum, mean=None):
    difference = (torch.as_tensor(actual).float() - expected.float()).abs()
    assert difference.shape == expected.shape
    assert difference.max() <= maximum
    assert mean is None or difference.mean() <= mean


def run(pipeline, tensors, settings, **inputs):
    """Generate as recorded; returns the result and what passed through MoGLE, transformer and blocks at every step."""
    trace = {"mogle_out": [], "noise_pred": [], "latents": []}

    def keep(name):
        return lambda module, args, output: trace.setdefault(name, []).append(output)

    transformer = pipeline.transformer
    hooks = [
        pipeline.mogle.register_forward_hook(lambda m, a, output: trace["mogle_out"].append(output[0])),
        transformer.register_forward_hook(lambda m, a, output: trace["noise_pred"].append(output[0])),
        transformer.x_embedder.register_forward_hook(keep("x_embedder")),
        transformer.context_embedder.register_forward_hook(keep("context_embedder")),
        transformer.time_text_embed.register_forward_hook(keep("time_text_embed")),
        transformer.pos_embed.register_forward_hook(keep("pos_embed")),
        *(block.register_forward_hook(keep(f"double{i}")) for i, block in enumerate(transformer.transformer_blocks)),
        *(
            block.register_forward_hook(keep(f"single{i}"))
            for i, block in enumerate(transformer.single_transformer_blocks)
        ),
    ]

    def keep_latents(pipeline, step, timestep, callback_kwargs):
        trace["latents"].append(callback_kwargs["latents"])
        return {}

    result = pipeline(
        height=settings.height,
        width=settings.width,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        condition_scale=settings.condition_scale,
        max_sequence_length=settings.max_sequence_length,
        condition_tokens=tensors["cond_tokens"][None],
        callback_on_step_end=keep_latents,
        record_gating=True,
        output_type="np",
        **inputs,
    )
    for hook in hooks:
        hook.remove()
    return result, trace


def first_step(trace, num_tokens, num_text_tokens):
    """What the reference records of the first step, under its names."""
    x_embedded, (cos, sin) = trace["x_embedder"][0], trace["pos_embed"][0]
    temb = trace["time_text_embed"][0]
    named = {
        "x_embed": x_embedded[:, :num_tokens],
        "cond_x_embed": x_embedded[:, num_tokens:],
        "context_embed": trace["context_embedder"][0],
        "temb": temb[0::2],
        "cond_temb": temb[1::2],
        "image_rope_cos": cos[: num_text_tokens + num_tokens],
        "image_rope_sin": sin[: num_text_tokens + num_tokens],
        "cond_rope_cos": cos[num_text_tokens + num_tokens :],
        "cond_rope_sin": sin[num_text_tokens + num_tokens :],
    }
    for i in range(2):
        text, rows = trace[f"double{i}"][0]
        named |= {
            f"double{i}.txt": text,
            f"double{i}.img": rows[:, :num_tokens],
            f"double{i}.cond": rows[:, num_tokens:],
        }
        text, rows = trace[f"single{i}"][0]
        named[f"single{i}.txtimg"] = torch.cat([text, rows[:, :num_tokens]], dim=1)
        named[f"single{i}.cond"] = rows[:, num_tokens:]
    return {f"step0.{name}": tensor for name, tensor in named.items()}


@pytest.mark.parametrize("name", FLOAT32_CASES)
def test_condition_tokens(name, pipeline, load_case):
    tensors, settings = load_case(name)
    images = torch.from_numpy(condition_images(tensors["label_map"].numpy()))
    with torch.no_grad():
        posterior = pipeline.vae.encode(images * 2 - 1).latent_dist
    sampled = pipeline.pack_latents(posterior.mean + posterior.std * tensors["cond_vae_noise"])
    assert_close(sampled, tensors["cond_tokens"], maximum=1e-5)

    mode = pipeline.encode_label_map(tensors["label_map"].numpy(), settings.height, settings.width)
    assert_close(mode, pipeline.pack_latents(tensors["cond_vae_mean"]), maximum=1e-5)


@pytest.mark.parametrize("name", FLOAT32_CASES)
def test_every_step_and_block(name, pipeline, load_case, seed):
    tensors, settings = load_case(name)
    generator = seed(settings.seed_of_initial_latents)
    result, trace = run(pipeline, tensors, settings, prompt=settings.prompt, generator=generator)

    gating_weights = torch.from_numpy(result.gating.weights).flatten(3).mT
    assert_close(gating_weights, tensors["gating"], maximum=1e-5)
    assert_close(result.gating.timesteps, tensors["timesteps"], maximum=1e-4)
    for of_each_step in ("mogle_out", "noise_pred", "latents"):
        assert_close(torch.stack(trace[of_each_step]), tensors[of_each_step], maximum=5e-5)
    recorded = {key for key in tensors if key.startswith("step0.")}
    internals = first_step(trace, tensors["latents_init"].shape[1], tensors["prompt_embeds"].shape[1])
    assert set(internals) == recorded
    for key in recorded:
        assert_close(internals[key], tensors[key], maximum=5e-5)
    assert_close(result.images, tensors["final_image"], maximum=2e-5)


@pytest.mark.parametrize("name", FLOAT32_CASES)
def test_prompt_embeds(name, pipeline, load_case):
    tensors, settings = load_case(name)
    prompts = [settings.prompt] if isinstance(settings.prompt, str) else settings.prompt
    prompt_embeds, pooled = pipeline.encode_prompt(prompts, max_sequence_length=settings.max_sequence_length)
    assert_close(prompt_embeds, tensors["prompt_embeds"], maximum=5e-5)
    assert_close(pooled, tensors["pooled_prompt_embeds"], maximum=5e-5)


def test_bfloat16(pipeline, load_case):
    tensors, settings = load_case("text_and_mask_bf16")
    inputs = {name: tensors[name] for name in ("prompt_embeds", "pooled_prompt_embeds")}
    result, trace = run(pipeline.to(torch.bfloat16), tensors, settings, **inputs, latents=tensors["latents_init"])

    tolerance = {"maximum": 0.06, "mean": 0.01}
    assert_close(torch.from_numpy(result.gating.weights).flatten(3).mT, tensors["gating"], **tolerance)
    for of_each_step in ("mogle_out", "noise_pred", "latents"):
        assert trace[of_each_step][0].dtype == torch.bfloat16
        assert_close(torch.stack(trace[of_each_step]), tensors[of_each_step], **tolerance)
    assert_close(result.images, tensors["final_image"], **tolerance)


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
def test_training_step(checkpointing, transformer, mogle, adapter, load_case):
    tensors, settings = load_case("train_step")
    transformer.requires_grad_(False)
    transformer.load_condition_adapter(adapter)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    # The published training feeds MoGLE t in 0..1, its inference t in 0..1000.
    in_training = MoGLE(timestep_scale=1.0)
    in_training.load_state_dict(mogle.state_dict())
    batch = TrainingBatch(
        latents=tensors["x_0"],
        prompt_embeds=tensors["tf.encoder_hidden_states"],
        pooled_prompt_embeds=tensors["tf.pooled_projections"],
        img_ids=tensors["tf.img_ids"],
        txt_ids=tensors["tf.txt_ids"],
        condition_tokens=tensors["cond_tokens"].unflatten(0, (2, 20)),
    )
    loss = flow_matching_loss(
        transformer, in_training, batch, noise=tensors["x_1"], timestep=tensors["tf.timestep"], guidance_scale=1.0
    )
    loss.backward()

    assert abs(loss.item() - settings.loss) < 1e-5
    gradients = {f"grad.mogle.{name}": parameter.grad for name, parameter in in_training.named_parameters()}
    for name, parameter in transformer.named_parameters():
        if parameter.requires_grad:
            gradients[f"grad.transformer.{name.replace('adapter_', 'lora_')}.weight"] = parameter.grad
    recorded = {key: tensor for key, tensor in tensors.items() if key.startswith("grad.")}
    assert gradients.keys() == recorded.keys()
    for key, expected in recorded.items():
        assert (gradients[key] - expected).norm() <= 1e-4 * expected.norm(), key


def test_dead_adapters_get_no_gradient(load_case):
    """The last block's condition rows go nowhere: what only they feel cannot be learned."""
    tensors, _ = load_case("train_step")
    last = "grad.transformer.single_transformer_blocks.1."
    dead = {key for key, tensor in tensors.items() if key.startswith("grad.") and not tensor.any()}
    assert {key for key in dead if key.startswith("grad.transformer")} == {
        f"{last}{module}.lora_{letter}.weight" for module in ("attn.to_q", "proj_mlp", "proj_out") for letter in "AB"
    }


def test_training_images(pipeline, load_case):
    """The recorded training picture and its posterior noise give the recorded clean latents."""
    tensors, _ = load_case("train_step")
    with torch.no_grad():
        posterior = pipeline.vae.encode(tensors["image"] * 2 - 1).latent_dist
    sampled = posterior.mean + posterior.std * tensors["vae_noise_image"]
    assert_close(pipeline.pack_latents(sampled), tensors["x_0"], maximum=1e-5)
