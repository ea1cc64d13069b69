"""Activations counted without a device: the run's own forward pass, on tensors that have shapes but no values.

B batch, N image tokens, T text tokens; sizes in bytes.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from facemogle.labels import NUM_CLASSES
from facemogle.mogle import MoGLE
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.random_flux import Architecture
from facemogle.transformer import FaceMoGLETransformer2DModel
from facemogle.vae import PixelShuffleAutoencoderKL
from train.building import Trained, add_trained, autocast_dtype, base_dtype
from train.conditions import CHUNK_ON_GPU
from train.config import TrainingConfig
from train.objective import TrainingBatch


def build(parts: Architecture, config: TrainingConfig, device: str) -> FaceMoGLEPipeline:
    """The run's pipeline, with what it trains. Without values on "meta", or within a FakeTensorMode."""
    vae_class = PixelShuffleAutoencoderKL if "Pixel" in parts["vae"].get("_class_name", "") else AutoencoderKL
    with torch.device(device):
        pipeline = FaceMoGLEPipeline(
            scheduler=None,
            transformer=FaceMoGLETransformer2DModel.from_config(parts["transformer"]),
            vae=vae_class.from_config(parts["vae"]),
            mogle=MoGLE(),
            tokenizer=None,
            tokenizer_2=None,
            text_encoder=None if config.cache else CLIPTextModel(CLIPTextConfig(**parts["text_encoder"])),
            text_encoder_2=None if config.cache else T5EncoderModel(T5Config(**parts["text_encoder_2"])),
        )
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            for parameter in part.parameters():
                parameter.data = parameter.data.to(base_dtype(config, "cuda"))
    add_trained(pipeline, replace(config, from_checkpoint=False))
    return pipeline


def with_blocks(parts: Architecture, double: int, single: int) -> Architecture:
    """The same with so many blocks of each kind."""
    return parts | {"transformer": parts["transformer"] | {"num_layers": double, "num_single_layers": single}}


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that were made within, and still are: now, and at most."""

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        self.seen = {storage._cdata: weakref.ref(storage) for storage in (each.untyped_storage() for each in known)}
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[override]
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, number = storage._cdata, storage.nbytes()
        if key in self.seen:
            return

        def gone(_: Any) -> None:
            del self.seen[key]
            self.bytes -= number

        self.seen[key] = weakref.ref(storage, gone)
        self.bytes += number
        self.peak = max(self.peak, self.bytes)


class FusedAttention(TorchFunctionMode):
    """The attention that a GPU would choose: without one, torch takes that which keeps all pairs of tokens."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[override]
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))

        def attend(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
            half = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
            return torch.ops.aten._scaled_dot_product_flash_attention(query.to(half), key.to(half), value.to(half))[0]

        return attend(*args, **(kwargs or {}))


@contextmanager
def as_on(device: str, autocast: torch.dtype | None) -> Iterator[None]:
    """Autocast as the run has it. `torch.autocast` itself wants to see a GPU."""
    torch.set_autocast_enabled(device, autocast is not None)
    torch.set_autocast_dtype(device, torch.bfloat16)
    try:
        with FusedAttention() if device == "cuda" else nullcontext():
            yield
    finally:
        torch.set_autocast_enabled(device, False)
        torch.clear_autocast_cache()


def without_values(module: nn.Module, device: str) -> dict[str, Tensor]:
    """Of a module on "meta", the parameters as if on a device; within a FakeTensorMode."""
    return {
        name: torch.empty(each.shape, dtype=each.dtype, device=device, requires_grad=each.requires_grad)
        for name, each in module.named_parameters()
    }


def forward(parts: Architecture, config: TrainingConfig, device: str = "cuda") -> tuple[int, int]:
    """What a step's forward pass keeps for the backward pass, and its peak, by passing tensors without values."""
    pipeline = build(parts, config, "meta")
    trained = Trained(pipeline, config)
    with FakeTensorMode():
        values = without_values(trained, device)
        with as_on(device, autocast_dtype(config, "cuda")), Live(values.values()) as live:
            loss = functional_call(trained, values, inputs(parts, config, pipeline.pixels_per_token, device))
            held, peak = live.bytes, live.peak
            del loss
    return held, peak


def inputs(
    parts: Architecture, config: TrainingConfig, pixels_per_token: int, device: str
) -> tuple[TrainingBatch, Tensor, Tensor]:
    """A step's batch, noise and timesteps."""
    base, length = parts["transformer"], parts["pipeline"]["max_sequence_length"]
    tokens = (config.height // pixels_per_token) * (config.width // pixels_per_token)
    latents = config.batch, tokens, base["in_channels"]
    with torch.device(device):
        batch = TrainingBatch(
            latents=torch.zeros(latents),
            prompt_embeds=torch.zeros(config.batch, length, base["joint_attention_dim"]),
            pooled_prompt_embeds=torch.zeros(config.batch, base["pooled_projection_dim"]),
            img_ids=torch.zeros(tokens, 3),
            txt_ids=torch.zeros(length, 3),
            condition_tokens=torch.zeros(config.batch, NUM_CLASSES + 1, *latents[1:]),
        )
        return batch, torch.zeros(latents), torch.full([config.batch], 0.5)


def activations(parts: Architecture, config: TrainingConfig, device: str = "cuda") -> dict[bool, int]:
    """A step's peak beside the weights, without and with gradient checkpointing.

    Blocks of a kind keep equally much: what one more of each keeps, times their number.
    """
    number = parts["transformer"]["num_layers"], parts["transformer"]["num_single_layers"]

    def count(checkpointing: bool) -> tuple[int, list[int], int]:
        """What a model with a block of each kind keeps, what one more of each keeps, and what passes beside it."""
        changed = replace(config, gradient_checkpointing=checkpointing)
        one, peak = forward(with_blocks(parts, 1, 1), changed, device)
        more = [forward(with_blocks(parts, *blocks), changed, device)[0] - one for blocks in ((2, 1), (1, 2))]
        return one, more, peak - one

    one, more, passing = count(False)
    all_kept = one + sum((blocks - 1) * each for blocks, each in zip(number, more, strict=True)) + passing
    one, inputs_kept, _ = count(True)
    kept = one + sum((blocks - 1) * each for blocks, each in zip(number, inputs_kept, strict=True))
    # The backward pass makes one block's activations anew.
    return {False: all_kept, True: kept + max(more) + passing}


def encoding(parts: Architecture, config: TrainingConfig, device: str = "cuda") -> int:
    """The peak of making a step's inputs: masks by the VAE, and without a cache the prompts by T5."""
    pipeline = build(with_blocks(parts, 1, 1), config, "meta")
    shape = CHUNK_ON_GPU, 3, config.height, config.width
    prompts = config.batch, parts["pipeline"]["max_sequence_length"]
    peaks = []
    for module, size, dtype in (
        (pipeline.vae.encoder, shape, pipeline.vae.dtype),
        (pipeline.text_encoder_2, prompts, torch.long),
    ):
        if module is not None:
            with FakeTensorMode(), torch.no_grad():
                values = without_values(module, device)
                with as_on(device, None), Live(values.values()) as live:
                    functional_call(module, values, torch.zeros(size, dtype=dtype, device=device))
                peaks.append(live.peak)
    return max(peaks)
