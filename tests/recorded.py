"""This implementation beside the published one, number by number; tolerances as in reference/README.md.

What is compared, for the tests, and for `python -m facemogle benchmark --selftest` on any device.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from facemogle.masks import condition_images
from facemogle.mogle import MoGLE
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.transformer import FaceMoGLETransformer2DModel
from train.objective import TrainingBatch, flow_matching_loss

REFERENCE = Path(__file__).parent / "reference"
ADAPTER = REFERENCE / "pytorch_lora_weights.safetensors"
FLOAT32_CASES = ["text_and_mask", "mask_only", "batch_of_two", "condition_scale"]
ON_CUDA = 5e-5  # of condition tokens: cuDNN's convolutions, also without TF32, sum in another order than a CPU's


@dataclass(frozen=True)
class Comparison:
    """An actual value beside the recorded one, with the greatest and the mean difference that are allowed.

    relative: the greatest is the norm of the difference, in norms of the recorded tensor.
    """

    name: str
    actual: Tensor | np.ndarray | float
    expected: Tensor
    maximum: float
    mean: float | None = None
    relative: bool = False

    @property
    def difference(self) -> Tensor:
        actual = torch.as_tensor(self.actual).detach().float().cpu()
        assert actual.shape == self.expected.shape, self.name
        return actual - self.expected.float()

    @property
    def greatest(self) -> float:
        difference = self.difference
        return float(difference.norm() if self.relative else difference.abs().max())

    @property
    def share(self) -> float:
        """Of what is allowed, how much it differs: at most 1 is right."""
        allowed = self.maximum * float(self.expected.float().norm()) if self.relative else self.maximum
        greatest = self.greatest
        if not math.isfinite(greatest):
            return math.inf
        share = greatest / allowed if allowed else (math.inf if greatest else 0.0)
        return share if self.mean is None else max(share, float(self.difference.abs().mean()) / self.mean)


def load_case(name: str) -> tuple[dict[str, Tensor], SimpleNamespace]:
    """Name of a recorded case -> its tensors and its settings."""
    settings = json.loads((REFERENCE / "cases" / f"{name}.json").read_text())
    return load_file(REFERENCE / "cases" / f"{name}.safetensors"), SimpleNamespace(**settings)


def tiny_transformer() -> FaceMoGLETransformer2DModel:
    """The tiny base, without adapter."""
    return FaceMoGLETransformer2DModel.from_pretrained(REFERENCE / "tiny-flux" / "transformer")


def published_mogle() -> MoGLE:
    mogle = MoGLE()
    mogle.load_state_dict(torch.load(REFERENCE / "mogle.pt", weights_only=True))
    return mogle


def tiny_pipeline(transformer: FaceMoGLETransformer2DModel, mogle: MoGLE) -> FaceMoGLEPipeline:
    pipeline = FaceMoGLEPipeline.from_pretrained(
        REFERENCE / "tiny-flux",
        transformer=transformer,
        mogle=mogle,
        height=64,
        width=64,
        num_inference_steps=2,
        max_sequence_length=16,
    )
    pipeline.load_condition_adapter(ADAPTER)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


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


def condition_tokens(pipeline: FaceMoGLEPipeline, name: str) -> Iterator[Comparison]:
    tensors, settings = load_case(name)
    device = pipeline.vae.device
    tolerance = ON_CUDA if device.type == "cuda" else 1e-5
    images = torch.from_numpy(condition_images(tensors["label_map"].numpy())).to(device)
    with torch.no_grad():
        posterior = pipeline.vae.encode(images * 2 - 1).latent_dist
    sampled = pipeline.pack_latents(posterior.mean + posterior.std * tensors["cond_vae_noise"].to(device))
    yield Comparison("cond_tokens", sampled, tensors["cond_tokens"], tolerance)
    mode = pipeline.encode_label_map(tensors["label_map"].numpy(), settings.height, settings.width)
    yield Comparison("cond_vae_mean", mode, pipeline.pack_latents(tensors["cond_vae_mean"]), tolerance)


def every_step_and_block(pipeline: FaceMoGLEPipeline, name: str) -> Iterator[Comparison]:
    tensors, settings = load_case(name)
    generator = torch.Generator().manual_seed(settings.seed_of_initial_latents)
    result, trace = run(pipeline, tensors, settings, prompt=settings.prompt, generator=generator)

    gating_weights = torch.from_numpy(result.gating.weights).flatten(3).mT
    yield Comparison("gating", gating_weights, tensors["gating"], 1e-5)
    yield Comparison("timesteps", result.gating.timesteps, tensors["timesteps"], 1e-4)
    for of_each_step in ("mogle_out", "noise_pred", "latents"):
        yield Comparison(of_each_step, torch.stack(trace[of_each_step]), tensors[of_each_step], 5e-5)
    internals = first_step(trace, tensors["latents_init"].shape[1], tensors["prompt_embeds"].shape[1])
    assert set(internals) == {key for key in tensors if key.startswith("step0.")}
    for key, tensor in internals.items():
        yield Comparison(key, tensor, tensors[key], 5e-5)
    yield Comparison("final_image", result.images, tensors["final_image"], 2e-5)


def prompt_embeds(pipeline: FaceMoGLEPipeline, name: str) -> Iterator[Comparison]:
    tensors, settings = load_case(name)
    prompts = [settings.prompt] if isinstance(settings.prompt, str) else settings.prompt
    embeds, pooled = pipeline.encode_prompt(prompts, max_sequence_length=settings.max_sequence_length)
    yield Comparison("prompt_embeds", embeds, tensors["prompt_embeds"], 5e-5)
    yield Comparison("pooled_prompt_embeds", pooled, tensors["pooled_prompt_embeds"], 5e-5)


def bfloat16(pipeline: FaceMoGLEPipeline) -> Iterator[Comparison]:
    tensors, settings = load_case("text_and_mask_bf16")
    inputs = {name: tensors[name] for name in ("prompt_embeds", "pooled_prompt_embeds")}
    result, trace = run(pipeline.to(torch.bfloat16), tensors, settings, **inputs, latents=tensors["latents_init"])
    gating_weights = torch.from_numpy(result.gating.weights).flatten(3).mT
    yield Comparison("gating", gating_weights, tensors["gating"], 0.06, 0.01)
    for of_each_step in ("mogle_out", "noise_pred", "latents"):
        assert trace[of_each_step][0].dtype == torch.bfloat16
        yield Comparison(of_each_step, torch.stack(trace[of_each_step]), tensors[of_each_step], 0.06, 0.01)
    yield Comparison("final_image", result.images, tensors["final_image"], 0.06, 0.01)


def training_step(
    transformer: FaceMoGLETransformer2DModel, mogle: MoGLE, *, checkpointing: bool
) -> Iterator[Comparison]:
    """On the transformer's device."""
    tensors, settings = load_case("train_step")
    device = transformer.device
    transformer.requires_grad_(False)
    transformer.load_condition_adapter(load_file(ADAPTER))
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    # The published training feeds MoGLE t in 0..1, its inference t in 0..1000.
    in_training = MoGLE(timestep_scale=1.0).to(device)
    in_training.load_state_dict(mogle.state_dict())
    batch = TrainingBatch(
        latents=tensors["x_0"],
        prompt_embeds=tensors["tf.encoder_hidden_states"],
        pooled_prompt_embeds=tensors["tf.pooled_projections"],
        img_ids=tensors["tf.img_ids"],
        txt_ids=tensors["tf.txt_ids"],
        condition_tokens=tensors["cond_tokens"].unflatten(0, (2, 20)),
    ).to(device)
    noise, timestep = tensors["x_1"].to(device), tensors["tf.timestep"].to(device)
    loss = flow_matching_loss(transformer, in_training, batch, noise=noise, timestep=timestep, guidance_scale=1.0)
    loss.backward()

    yield Comparison("loss", loss, torch.tensor(settings.loss), 1e-5)
    gradients = {f"grad.mogle.{name}": parameter.grad for name, parameter in in_training.named_parameters()}
    for name, parameter in transformer.named_parameters():
        if parameter.requires_grad:
            gradients[f"grad.transformer.{name.replace('adapter_', 'lora_')}.weight"] = parameter.grad
    recorded = {key: tensor for key, tensor in tensors.items() if key.startswith("grad.")}
    assert gradients.keys() == recorded.keys()
    for key, expected in recorded.items():
        yield Comparison(key, gradients[key], expected, 1e-4, relative=True)


def training_images(pipeline: FaceMoGLEPipeline) -> Iterator[Comparison]:
    """The recorded training picture and its posterior noise give the recorded clean latents."""
    tensors, _ = load_case("train_step")
    device = pipeline.vae.device
    with torch.no_grad():
        posterior = pipeline.vae.encode(tensors["image"].to(device) * 2 - 1).latent_dist
    sampled = posterior.mean + posterior.std * tensors["vae_noise_image"].to(device)
    yield Comparison("x_0", pipeline.pack_latents(sampled), tensors["x_0"], ON_CUDA if device.type == "cuda" else 1e-5)
