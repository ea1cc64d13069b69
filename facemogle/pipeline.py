"""FaceMoGLEPipeline: encode the prompt and the label map, denoise, decode.

B images, E = 20 experts (the global one, then the 19 classes), N = h * w image tokens, C channels, T text tokens.
"""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from facemogle import editing
from facemogle.condition_memory import ConditionMemory
from facemogle.editing import PhotoEdit
from facemogle.expert_effects import ExpertEffectsMixin
from facemogle.gating import EXPERTS, GatingRecord
from facemogle.labels import NUM_CLASSES
from facemogle.latent_colours import CHART_SIZE, LatentColours
from facemogle.lora_files import read_lora
from facemogle.mask_encoding import MaskEncoder, images_at_once
from facemogle.masks import check_label_map, pixels_per_token, require_whole, resize_nearest, whole_tokens
from facemogle.mogle import MoGLE
from facemogle.scheduler import FlowMatchAdamsBashforthScheduler
from facemogle.step_caches import StepCache
from facemogle.step_graph import Capture, StepGraphs
from facemogle.style_loras import StyleLoraMixin
from facemogle.transformer import FaceMoGLETransformer2DModel, StepConstants
from facemogle.whole_files import whole_file
from facemogle.words import PromptReading, read_prompt, without_marks

ADAPTER_FILE = "pytorch_lora_weights.safetensors"
OUTPUT_TYPES = ("pil", "np", "pt", "latent")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FaceMoGLEPipelineOutput:
    """`images` as asked for by `output_type`; `gating` only with `record_gating`."""

    images: Any
    gating: GatingRecord | None = None


class FaceMoGLEPipeline(StyleLoraMixin, ExpertEffectsMixin, DiffusionPipeline):
    """Faces from a label map, a prompt, or both (arXiv 2509.00428).

    Size, steps, guidance and text length default to what the checkpoint was made for; they are saved with it.
    """

    model_cpu_offload_seq = "text_encoder->text_encoder_2->transformer->vae"
    # A tenth of a million parameters, used outside `forward`: it stays on the device.
    _exclude_from_cpu_offload = ["mogle"]  # noqa: RUF012
    _callback_tensor_inputs = ["latents", "prompt_embeds"]  # noqa: RUF012

    def __init__(
        self,
        scheduler: FlowMatchEulerDiscreteScheduler | FlowMatchAdamsBashforthScheduler,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        text_encoder_2: T5EncoderModel,
        tokenizer_2: T5TokenizerFast,
        transformer: FaceMoGLETransformer2DModel,
        mogle: MoGLE,
        height: int = 512,
        width: int = 512,
        num_inference_steps: int = 28,
        guidance_scale: float = 3.5,
        max_sequence_length: int = 512,
    ):
        super().__init__()
        self.register_modules(
            scheduler=scheduler,
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            text_encoder_2=text_encoder_2,
            tokenizer_2=tokenizer_2,
            transformer=transformer,
            mogle=mogle,
        )
        self.register_to_config(
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            max_sequence_length=max_sequence_length,
        )
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.pixels_per_token = pixels_per_token(vae.config.block_out_channels)
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.pixels_per_token)
        self._interrupt = False
        self._masks = MaskEncoder()
        self.step_graphs: StepGraphs | None = None
        self.step_cache: StepCache | None = None
        self.condition_refresh = 1  # the condition rows are computed in every so manieth step
        self.preview_vae: AutoencoderTiny | None = None  # of the same latents, normalised
        self._latent_colours: LatentColours | None = None  # fitted when first asked for
        self.preset: str | None = None  # of presets.PRESETS, by which it was placed on its device

    @property
    def interrupt(self) -> bool:
        """Set `_interrupt` in a callback, or from another thread, to stop after the current step."""
        return self._interrupt

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        label_map: Any = None,
        image: Any = None,
        edit_region: Any = None,
        source_label_map: Any = None,
        strength: float = 1.0,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        condition_scale: float = 1.0,
        expert_scale: Mapping[str, float] | Sequence[Mapping[str, float]] | None = None,
        lora_scale: Mapping[str, float] | None = None,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        pooled_prompt_embeds: Tensor | None = None,
        condition_tokens: Tensor | None = None,
        max_sequence_length: int | None = None,
        output_type: str = "pil",
        callback_on_step_end: Callable[[Any, int, Tensor, dict], dict] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        record_gating: bool = False,
    ) -> FaceMoGLEPipelineOutput:
        """Generate `num_images_per_prompt` images for each pair of prompt and label map.

        One prompt meets many label maps, or many prompts one label map, or as many of each. With `image`, a picture is
        changed instead: outside the region that may change it keeps its pixels, to the last bit.

        prompt: text, or several; None or "" for the label map alone.
        label_map: (H, W) class ids 0..18 at any size, or a list of them; None for the prompt alone.
        image: the picture to change, PIL or (H, W, 3) uint8 RGB, or a list of them; resized to height and width.
        edit_region: (H, W) booleans at any size, True where the image may change, or a list of them. Or
        source_label_map: the image's own label map, or a list of them: what may change is where label_map differs from
            it, and a little around. With neither, all of the image.
        strength: above 0, up to 1: the share of the steps that are taken, the last ones, from the image with as much
            noise. Less keeps more of what the region shows.
        height, width: of the image in pixels, rounded down to whole tokens (16 pixels in FLUX).
        guidance_scale: what FLUX.1-dev was distilled to take; in a base without that, over 1, classifier-free guidance
            of the prompt against no prompt, at two forward passes a step.
        condition_scale: 0 ignores the condition tokens, 1 is as trained.
        expert_scale: factors of experts' gating weights, by the names in gating.EXPERTS: 0 mutes one, 2 doubles it;
            the weights are then made to sum to 1 again. Experts not named keep theirs. Or a list, one for each image.
        lora_scale: scales of the LoRAs in `loras`, in this run; those not named keep theirs.
        generator: source of the initial noise, or one for each image. None: a fresh seed, unlike any other call's.
        latents: (B, N, C) noise, packed: where a run starts, or what the image gets. prompt_embeds (., T, D) with
            pooled_prompt_embeds (., P): instead of a prompt. condition_tokens (., E, N, C): instead of a label map, as
            from `encode_label_map`.
        output_type: "pil", "np" (B, H, W, 3) in 0..1, "pt" (B, 3, H, W) in 0..1, or "latent" (B, N, C).
        callback_on_step_end: called as in diffusers, may return replaced tensors.

        Raises ValueError for arguments that do not fit together, FloatingPointError when the run diverges.
        """
        self._interrupt = False
        self.use_loras(lora_scale)
        config, device = self.config, self._execution_device
        height, width = self.whole_tokens(height, width)
        grid = height // self.pixels_per_token, width // self.pixels_per_token
        num_inference_steps = config.num_inference_steps if num_inference_steps is None else num_inference_steps
        guidance_scale = config.guidance_scale if guidance_scale is None else guidance_scale
        require_whole(num_inference_steps=num_inference_steps, num_images_per_prompt=num_images_per_prompt)
        if num_inference_steps < 1 or num_images_per_prompt < 1 or condition_scale < 0:
            raise ValueError(
                "num_inference_steps and num_images_per_prompt must be at least 1 and condition_scale at least 0, got "
                f"{num_inference_steps}, {num_images_per_prompt} and {condition_scale}."
            )
        if not math.isfinite(guidance_scale) or not math.isfinite(condition_scale):
            raise ValueError(
                f"guidance_scale and condition_scale must be finite, got {guidance_scale} and {condition_scale}."
            )
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type must be one of {OUTPUT_TYPES}, got {output_type!r}.")
        if unknown := set(callback_on_step_end_tensor_inputs) - set(self._callback_tensor_inputs):
            raise ValueError(f"Callbacks can take {self._callback_tensor_inputs}, got {sorted(unknown)}.")

        editing.check_edit(image, edit_region, source_label_map, strength)
        scales = [] if expert_scale is None else as_list(expert_scale, "expert_scale")
        factors = [torch.stack([expert_scale_tensor(one) for one in scales])[:, None]] if scales else []

        # 1. Encode the label maps, the prompts and the photos, each once.
        if condition_tokens is not None and label_map is not None:
            raise ValueError("Got both label_map and condition_tokens. Pass one of them.")
        label_maps = [None if one is None else check_label_map(one) for one in as_list(label_map, "label_map")]
        photos: tuple[Tensor, ...] = ()
        regions: tuple[Tensor, ...] = ()
        if image is not None:
            regions = self._edit_regions(edit_region, source_label_map, label_maps, height, width)
            photos = self._encode_photos(image, height, width)
        if condition_tokens is None:
            condition_tokens = torch.stack([self.encode_label_map(one, height, width) for one in label_maps])
        if prompt_embeds is None:
            one = isinstance(prompt, str) or not isinstance(prompt, Iterable)
            prompts: list[Any] = [prompt or ""] if one else list(cast(Iterable, prompt))
            prompt_embeds, pooled_prompt_embeds = self.encode_prompt(
                prompts, max_sequence_length=max_sequence_length or config.max_sequence_length
            )
        elif prompt is not None or pooled_prompt_embeds is None:
            raise ValueError("prompt_embeds go with pooled_prompt_embeds and without a prompt.")

        # 2. One row for each image.
        num_pairs = max(map(len, (prompt_embeds, condition_tokens, *photos, *regions, *factors)))

        def rows(tensor: Tensor, name: str, dtype: torch.dtype = self.transformer.dtype) -> Tensor:
            if len(tensor) not in (1, num_pairs):
                raise ValueError(f"Got {len(tensor)} {name} for {num_pairs} images. Pass one, or one for each.")
            tensor = tensor.to(device, dtype)
            return tensor.expand(num_pairs, *tensor.shape[1:]).repeat_interleave(num_images_per_prompt, dim=0)

        prompt_embeds, pooled_prompt_embeds = rows(prompt_embeds, "prompts"), rows(pooled_prompt_embeds, "prompts")
        distilled = self.transformer.config.guidance_embeds
        without_prompt = None
        if guidance_scale > 1 and not distilled:
            embeds = self.encode_prompt([""], max_sequence_length=prompt_embeds.shape[1])
            # An empty prompt guides nowhere, and need not cost a second pass.
            if not torch.equal(rows(embeds[0], "prompts"), prompt_embeds):
                without_prompt = rows(embeds[0], "prompts"), rows(embeds[1], "prompts")
        condition_tokens = rows(condition_tokens, "label maps").to(self.mogle.dtype)
        latents = self._initial_latents(len(prompt_embeds), grid, generator, latents)
        if condition_tokens.shape != (expected := (len(latents), NUM_CLASSES + 1, *latents.shape[1:])):
            raise ValueError(
                f"condition_tokens must be {expected[1:]} for each image at this size, got "
                f"{tuple(condition_tokens.shape[1:])}. Encode the label map at the image's height and width."
            )
        expert_outputs = self.mogle.expert_outputs(condition_tokens)
        expert_factors = rows(factors[0], "expert scales", torch.float32) if factors else None
        img_ids, txt_ids = image_ids(*grid).to(device), torch.zeros(prompt_embeds.shape[1], 3, device=device)
        guidance = None
        if distilled:
            guidance = torch.full([len(latents)], guidance_scale, device=device, dtype=torch.float32)

        edit = None
        if image is not None:
            pixels, photo_latents = (rows(each, "photos", torch.float32) for each in photos)
            opacity, freedom = (rows(each, "regions", torch.float32) for each in regions)
            edit = PhotoEdit(photo_latents, latents.float(), freedom, pixels, opacity)

        # 3. Denoise.
        self.scheduler.set_timesteps(
            sigmas=np.linspace(1.0, 1 / num_inference_steps, num_inference_steps),
            mu=self._schedule_shift(latents.shape[1]),
            device=device,
        )
        first = first_step(num_inference_steps, strength)
        self.scheduler.set_begin_index(first)
        timesteps = self.scheduler.timesteps[first:]
        if edit is not None:
            latents = edit.noised(self.scheduler.sigmas[first]).to(latents.dtype)
        self._check_condition_refresh()
        if self.step_cache is not None:
            self.step_cache.begin(len(timesteps))
        # A run that was broken off may have left a step cache behind.
        self.transformer._reset_stateful_cache()

        times = timesteps.to(latents.dtype) / 1000

        def constants_for(text: tuple[Tensor, Tensor]) -> list[StepConstants] | None:
            return self.transformer.run_constants(times, guidance, *text, img_ids, txt_ids, num_streams=2)

        texts = [(prompt_embeds, pooled_prompt_embeds), *([] if without_prompt is None else [without_prompt])]
        constants = [constants_for(text) for text in texts]
        step = self._step
        if self.step_graphs is not None:
            step = self.step_graphs.of(step, [*self.transformer.step_modules(), *self.mogle.modules()])
        memories = {context: ConditionMemory() for context in ("cond", "uncond")} if self.condition_refresh > 1 else {}
        gating_history: list[Tensor] = []
        with self.progress_bar(total=len(timesteps)) as progress_bar:
            for i, t in enumerate(timesteps):
                if self.interrupt:
                    break
                velocity, gating_weights = step(
                    latents,
                    t.expand(len(latents)),
                    (condition_tokens, expert_outputs, expert_factors),
                    [(*text, None if each is None else each[i]) for text, each in zip(texts, constants, strict=True)],
                    None if without_prompt is None else guidance_scale,
                    {"guidance": guidance, "img_ids": img_ids, "txt_ids": txt_ids, "condition_scale": condition_scale},
                    memories,
                    i % self.condition_refresh == 0,
                )
                latents = self.scheduler.step(velocity, t, latents, return_dict=False)[0]
                if edit is not None:
                    latents = edit.hold(latents, self.scheduler.sigmas[self.scheduler.step_index])
                if record_gating:
                    gating_history.append(gating_weights.mT.unflatten(2, grid).float())
                if callback_on_step_end is not None:
                    tensors = {"latents": latents, "prompt_embeds": prompt_embeds}
                    chosen = {name: tensors[name] for name in callback_on_step_end_tensor_inputs}
                    tensors |= callback_on_step_end(self, i, t, chosen) or {}
                    latents = tensors["latents"]
                    if (replaced := tensors["prompt_embeds"]) is not prompt_embeds:
                        prompt_embeds, texts[0] = replaced, (replaced, pooled_prompt_embeds)
                        constants[0] = constants_for(texts[0])
                progress_bar.update()

        # 4. Decode.
        if not latents.isfinite().all():
            self.maybe_free_model_hooks()
            raise FloatingPointError(
                f"The latents became NaN or infinite while sampling in {latents.dtype}. "
                "Use bfloat16 or float32, and check the weights and any LoRA that was loaded."
            )
        if output_type == "latent":
            images = latents
        elif edit is None:
            images = self.decode_latents(latents, height, width, output_type)
        else:
            images = self._pasted(edit, self.decode_latents(latents, height, width, "pt"), output_type)
        self.maybe_free_model_hooks()
        gating = None
        if gating_history:
            taken = timesteps[: len(gating_history)].cpu()
            gating = GatingRecord(weights=torch.stack(gating_history).cpu().numpy(), timesteps=taken.numpy())
        return FaceMoGLEPipelineOutput(images=images, gating=gating)

    def _step(
        self,
        latents: Tensor,
        timestep: Tensor,
        experts: tuple[Tensor, Tensor, Tensor | None],
        texts: Sequence[tuple[Tensor, Tensor, StepConstants | None]],
        guidance_scale: float | None,
        arguments: dict[str, Any],
        memories: dict[str, ConditionMemory],
        refresh: bool,
    ) -> tuple[Tensor, Tensor]:
        """Latents (B, N, C), timestep (B,) in 0..1000 -> velocity (B, N, C), gating weights (B, N, E).

        experts: condition tokens, what the experts made of them, and their factors. texts: the prompt's, and with a
        guidance scale that of no prompt. arguments: of the transformer. memories: of the condition rows for each of
        the texts, if any; refresh: whether the rows are computed.
        """
        condition_tokens, expert_outputs, expert_factors = experts
        condition_hidden_states, gating_weights = self.mogle(
            condition_tokens, latents.to(self.mogle.dtype), timestep / 1000, expert_outputs, expert_factors
        )

        def velocity(context: str, prompt_embeds: Tensor, pooled: Tensor, constants: StepConstants | None) -> Tensor:
            with self.transformer.cache_context(context):
                return self.transformer(
                    hidden_states=latents,
                    encoder_hidden_states=prompt_embeds,
                    pooled_projections=pooled,
                    timestep=timestep.to(latents.dtype) / 1000,
                    condition_hidden_states=condition_hidden_states.to(latents.dtype) if refresh else None,
                    condition_memory=memories.get(context),
                    constants=constants,
                    return_dict=False,
                    **arguments,
                )[0]

        guided = velocity("cond", *texts[0])
        if guidance_scale is None:
            return guided, gating_weights
        unguided = velocity("uncond", *texts[1])
        return unguided + guidance_scale * (guided - unguided), gating_weights

    def enable_step_graphs(self, capture: Capture | None = None) -> None:
        """Replay a step's kernels without Python, as a CUDA graph: captured on the first run of each size and batch."""
        self.step_graphs = StepGraphs(capture)

    def disable_step_graphs(self) -> None:
        """Launch every step from Python again, and free what the graphs hold."""
        self.step_graphs = None

    def enable_step_cache(self, name: str) -> None:
        """Leave steps out that can be told from those before: one of `step_caches.NAMES`, before blocks are compiled.

        "magnitude" computes all of the first run of each number of steps, and learns from it. ValueError.
        """
        self.disable_step_cache()
        self.step_cache = StepCache(self.transformer, name)

    def disable_step_cache(self) -> None:
        """Compute every step again."""
        if self.step_cache is not None:
            self.step_cache.remove()
        self.step_cache = None

    def enable_condition_refresh(self, every: int) -> None:
        """Compute the condition rows in the first of so many steps; the others look at them as it left them.

        1: in every step. Not beside step caches, step graphs, or compiled blocks. ValueError.
        """
        if every < 1:
            raise ValueError(f"Condition rows are refreshed every 1 step or more, not every {every}.")
        before, self.condition_refresh = self.condition_refresh, every
        try:
            self._check_condition_refresh()
        except ValueError:
            self.condition_refresh = before
            raise

    def _check_condition_refresh(self) -> None:
        compiled = any(block._compiled_call_impl is not None for block in self.transformer.blocks())
        others = {
            "a step cache": self.step_cache is not None or self.transformer.is_cache_enabled,
            "step graphs": self.step_graphs is not None,
            "compiled blocks": compiled,
        }
        if self.condition_refresh > 1 and any(others.values()):
            named = " and ".join(name for name, there in others.items() if there)
            raise ValueError(f"A condition refresh does not go with {named}. Switch one of them off.")

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str], *, max_sequence_length: int) -> tuple[Tensor, Tensor]:
        """Prompts -> T5 embeddings (B, T, D), CLIP's pooled embedding (B, P). Long ones are cut, with a warning."""

        def token_ids(tokenizer, max_length: int) -> Tensor:
            padded = tokenizer(
                list(prompts), padding="max_length", max_length=max_length, truncation=True, return_tensors="pt"
            )
            return padded.input_ids.to(self._execution_device)

        if not prompts or not all(isinstance(prompt, str) for prompt in prompts):
            raise ValueError(f"prompt must be a string or a list of strings, got {prompts!r}.")
        for note in dict.fromkeys(note for each in prompts for note in self._notes(each, max_sequence_length)):
            logger.warning(note)
        prompts = [without_marks(each)[0] for each in prompts]
        pooled = self.text_encoder(token_ids(self.tokenizer, self.tokenizer.model_max_length)).pooler_output
        return self.text_encoder_2(token_ids(self.tokenizer_2, max_sequence_length))[0], pooled

    def read_prompt(self, prompt: str) -> PromptReading:
        """Which of its words the model does not know, what is near them, and how much of it counts."""
        return read_prompt(prompt, self.tokenizer_2, self.config.max_sequence_length)

    def _notes(self, prompt: str, max_sequence_length: int) -> list[str]:
        read = read_prompt(prompt, self.tokenizer_2, max_sequence_length)
        pooled = read_prompt(prompt, self.tokenizer, self.tokenizer.model_max_length)
        if pooled.cut and not read.cut:
            less = f"The prompt's end counts less, from {pooled.cut_start()!r} on"
            return [*read.notes(), f"{less}: CLIP reads {pooled.limit} {pooled.unit}s."]
        return read.notes()

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> packed latents (B, N, C): the mode of the VAE's posterior, so that it repeats."""
        # In the layout of pictures, channels last, torch's group norm on CPU is a thousand times less exact.
        pixels = images.to(self._execution_device, self.vae.dtype).contiguous() * 2 - 1
        at_once = images_at_once(*pixels.shape[2:], itemsize=pixels.itemsize, device=pixels.device)
        whole = torch.cat([pixels, pixels[-1:].expand(-len(pixels) % at_once, -1, -1, -1)])
        latents = [self.vae.encode(part).latent_dist.mode() for part in whole.split(at_once)]
        return self.pack_latents(torch.cat(latents)[: len(images)])

    def encode_label_map(self, label_map: np.ndarray | None, height: int, width: int) -> Tensor:
        """(H, W) class ids, or None for black masks -> condition tokens (E, N, C) for an image of that size.

        The masks of absent classes are black: they share one encoding.
        """
        if label_map is not None:
            label_map = resize_nearest(label_map, height, width)
        others = id(self.vae), self.vae.dtype
        device = self._execution_device
        return self._masks(label_map, (height, width), self.encode_images, device=device, others=others)

    def pack_latents(self, latents: Tensor) -> Tensor:
        """VAE latents (B, c, 2h, 2w) -> normalised tokens (B, h * w, 4c)."""
        normalised = (latents - self.vae.config.shift_factor) * self.vae.config.scaling_factor
        return tokens_of(normalised)

    def _unpack(self, latents: Tensor, height: int, width: int) -> Tensor:
        """(B, h * w, 4c) of an image of that size -> (B, c, 2h, 2w), normalised as before."""
        grid = height // self.pixels_per_token, width // self.pixels_per_token
        return F.pixel_shuffle(latents.mT.unflatten(2, grid), 2)

    @torch.no_grad()
    def preview_latents(self, latents: Tensor, height: int, width: int) -> list[Image.Image]:
        """Packed latents (B, N, C) -> images for a glance: by the small decoder, or by a linear map of the latents."""
        if self.preview_vae is not None:
            return self.decode_latents(latents, height, width, vae=self.preview_vae)
        if self._latent_colours is None:
            size = CHART_SIZE, CHART_SIZE
            self._latent_colours = LatentColours(lambda chart: self._unpack(self.encode_images(chart), *size))
        pictures = self._latent_colours(self._unpack(latents, height, width))
        return self.image_processor.postprocess(pictures, "pil", do_denormalize=[False] * len(pictures))

    @torch.no_grad()
    def decode_latents(
        self,
        latents: Tensor,
        height: int,
        width: int,
        output_type: str = "pil",
        *,
        vae: AutoencoderKL | AutoencoderTiny | None = None,
    ) -> Any:
        """Packed latents (B, N, C) -> images, by the pipeline's VAE or another one of the same latents."""
        vae = vae or self.vae
        latents = self._unpack(latents, height, width) / vae.config.scaling_factor + vae.config.shift_factor
        images = vae.decode(latents.to(self._execution_device, vae.dtype), return_dict=False)[0]
        return self.image_processor.postprocess(images, output_type=output_type)

    def save_pretrained(self, save_directory, **kwargs) -> None:
        """Write every component, and the adapter with its alpha, into one folder that `from_pretrained` reads.

        ValueError while other LoRAs are loaded: a folder with their layers could not be read again.
        """
        if any(self.get_list_adapters().values()):
            raise ValueError(
                "LoRAs are loaded, which a checkpoint does not hold. Call unload_lora_weights() first, and fuse_lora() "
                "before that to keep what they do."
            )
        super().save_pretrained(save_directory, **kwargs)
        if self.transformer.adapter_config is not None:
            self.save_condition_adapter(Path(save_directory) / ADAPTER_FILE)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs) -> "FaceMoGLEPipeline":
        """As in diffusers, from a local folder, with the adapter when the folder holds its file."""
        if not Path(pretrained_model_name_or_path).is_dir():
            raise ValueError(
                f"{pretrained_model_name_or_path} is not a folder. "
                "facemogle.load_pipeline() loads from the Hub, the adapter included."
            )
        pipeline = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        adapter = Path(pretrained_model_name_or_path) / ADAPTER_FILE
        if adapter.is_file():
            pipeline.load_condition_adapter(adapter)
        return pipeline

    def save_condition_adapter(self, path: str | Path) -> None:
        """The adapter of the condition tokens as a safetensors file, with its alpha in the metadata."""
        alpha = self.transformer.adapter_config.alpha
        metadata = {"format": "pt", "alpha": json.dumps(alpha)}
        with whole_file(path) as part:
            save_file(self.transformer.condition_adapter_state_dict(), part, metadata=metadata)

    def load_condition_adapter(self, path: str | Path) -> None:
        """Load the adapter of the condition tokens from a safetensors file, in every naming that lora_files knows.

        Without an alpha in it, alpha = rank. ValueError where it is no adapter of this base.
        """
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state_dict = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        alpha = json.loads(metadata.get("alpha", "null"))
        read = read_lora(
            state_dict, json.loads(metadata.get("lora_adapter_metadata", "{}")), transformer=self.transformer
        )
        scales = {term.scale for term in read.layers.values()}
        matrices = {key: state_dict[key] for key in read.left_out}  # judged with the rest
        for layer, term in read.layers.items():
            factor = 1.0 if len(scales) == 1 or term.scale is None else term.scale
            matrices |= {f"{layer}.lora_A.weight": term.A, f"{layer}.lora_B.weight": term.B * factor}
        if len(scales) == 1 and (scale := scales.pop()) is not None:
            alpha = scale * len(term.A)
        self.transformer.load_condition_adapter(matrices, alpha=alpha)

    def _encode_photos(self, image: Any, height: int, width: int) -> tuple[Tensor, Tensor]:
        """A picture, or a list of P -> their pixels (P, 3, height, width) in 0..1, and packed latents (P, N, C)."""
        photos = [editing.photo_pixels(one, height, width) for one in as_list(image, "image")]
        pixels = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255
        return pixels, self.encode_images(pixels)

    def _edit_regions(
        self, edit_region: Any, source_label_map: Any, label_maps: list[Any], height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """What may change in R images -> opacity of the pixels (R, 1, height, width), freedom of the latents (R, N, C).

        Each 4 of the C channels are one of the VAE's at the 2x2 places of a token.
        """
        if edit_region is not None:
            regions = [editing.check_region(one, height, width) for one in as_list(edit_region, "edit_region")]
        elif source_label_map is not None:
            sources = [check_label_map(one) for one in as_list(source_label_map, "source_label_map")]
            regions = editing.regions_between(sources, label_maps, height, width)
        else:
            regions = [np.ones((height, width), bool)]
        opacity = torch.from_numpy(np.stack([editing.feathered(region) for region in regions]))
        places = 2 * height // self.pixels_per_token, 2 * width // self.pixels_per_token
        freedom = torch.from_numpy(np.stack([editing.coverage(region, *places) for region in regions]))
        channels = self.transformer.config.in_channels // 4
        return opacity[:, None], tokens_of(freedom[:, None]).repeat(1, 1, channels)

    def _pasted(self, edit: PhotoEdit, images: Tensor, output_type: str) -> Any:
        """Decoded images (B, 3, H, W) in 0..1, each over its photo."""
        pictures = edit.paste(images)
        return self.image_processor.postprocess(pictures, output_type, do_denormalize=[False] * len(pictures))

    def whole_tokens(self, height: int | None, width: int | None) -> tuple[int, int]:
        """The size that a run makes of these: see `masks.whole_tokens`. None: the checkpoint's."""
        height = self.config.height if height is None else height
        width = self.config.width if width is None else width
        return whole_tokens(height, width, self.pixels_per_token)

    def noise(
        self, generator: torch.Generator | None = None, height: int | None = None, width: int | None = None
    ) -> Tensor:
        """(1, N, C): the latents that a run of one image with this generator starts from, to be passed as `latents`."""
        height, width = self.whole_tokens(height, width)
        grid = height // self.pixels_per_token, width // self.pixels_per_token
        return self._initial_latents(1, grid, generator, None)

    def _initial_latents(
        self,
        batch_size: int,
        grid: tuple[int, int],
        generator: torch.Generator | list[torch.Generator] | None,
        latents: Tensor | None,
    ) -> Tensor:
        """(B, N, C): those given, checked, or noise, drawn in float32 so that a seed means the same in every dtype."""
        device, dtype = self._execution_device, self.transformer.dtype
        channels = self.transformer.config.in_channels
        if latents is not None:
            if latents.shape != (expected := (batch_size, grid[0] * grid[1], channels)):
                raise ValueError(f"latents must be packed, {expected} here, got {tuple(latents.shape)}.")
            if not latents.isfinite().all():
                raise ValueError("latents hold NaN or infinity. Pass finite noise, or a generator instead.")
            return latents.to(device, dtype)
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        if not all(isinstance(each, torch.Generator) for each in as_list(generator, "generator")):
            raise ValueError(
                f"generator must be a torch.Generator, as torch.Generator().manual_seed(7), got {generator}."
            )
        if isinstance(generator, list) and len(generator) != batch_size:
            raise ValueError(f"Got {len(generator)} generators for {batch_size} images. Pass one, or one for each.")
        shape = batch_size, channels // 4, 2 * grid[0], 2 * grid[1]
        noise = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        return tokens_of(noise).to(dtype)

    def _schedule_shift(self, num_tokens: int) -> float:
        config = self.scheduler.config
        return calculate_shift(
            num_tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
        )


def as_list(values: Any, name: str) -> list[Any]:
    """What an argument that takes one value or several holds. ValueError on an empty list."""
    values = list(values) if isinstance(values, (list, tuple)) else [values]
    if not values:
        raise ValueError(f"{name} is an empty list. Pass None to generate without.")
    return values


def first_step(num_inference_steps: int, strength: float) -> int:
    """Where a run of this share of the steps begins: the last ones are taken, and at least one of them."""
    # Rounded, since 10 * (1 - 0.7) is a little over 3.
    return min(int(round(num_inference_steps * (1 - strength), 6)), num_inference_steps - 1)


def tokens_of(latents: Tensor) -> Tensor:
    """(B, c, 2h, 2w) -> (B, h * w, 4c)."""
    return F.pixel_unshuffle(latents, 2).flatten(2).mT.contiguous()


def expert_scale_tensor(expert_scale: Mapping[str, float]) -> Tensor:
    """Experts' names and factors -> (E,) float32, 1 for those not named. ValueError unless they can be weights."""
    if not isinstance(expert_scale, Mapping) or not all(isinstance(each, Real) for each in expert_scale.values()):
        raise ValueError(f"expert_scale must be names and factors such as {{'hair': 0.0}}, got {expert_scale!r}.")
    if unknown := [name for name in expert_scale if name not in EXPERTS]:
        raise ValueError(f"expert_scale knows no experts {unknown}. They are {', '.join(EXPERTS)}.")
    factors = torch.tensor([expert_scale.get(name, 1.0) for name in EXPERTS], dtype=torch.float32)
    if not factors.isfinite().all() or (factors < 0).any():
        raise ValueError(
            f"expert_scale must hold finite factors of at least 0, got {dict(expert_scale)}. 0 mutes an expert."
        )
    if not factors.any():
        raise ValueError("expert_scale mutes all experts. Leave one a factor above 0.")
    return factors


def image_ids(height: int, width: int) -> Tensor:
    """Token grid -> (h * w, 3) position ids: 0, row, column."""
    ids = torch.zeros(height, width, 3)
    ids[..., 1] = torch.arange(height)[:, None]
    ids[..., 2] = torch.arange(width)
    return ids.flatten(0, 1)
