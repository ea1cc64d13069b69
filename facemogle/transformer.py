"""FLUX's transformer with condition tokens: one fused forward over text | image | condition.

Condition tokens pass through the image stream's own layers, sit at the image tokens' positions, are modulated as if at
timestep 0, and alone feel the adapter. Everything is built from diffusers' Flux classes and keeps their block
interface, so that caching, attention backends, regional compilation and offloading work on it.

B batch, T text tokens, N image tokens, S streams (1: image; 2: image and condition), R = S * N rows, D width, r rank.
"""

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.hooks._helpers import (
    AttentionProcessorRegistry,
    TransformerBlockMetadata,
    TransformerBlockRegistry,
)
from diffusers.models.attention import FeedForward
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.modeling_outputs import Transformer2DModelOutput

# Unused here: diffusers asks the module of a saved component for the base class, to know how to load it.
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401
from diffusers.models.normalization import AdaLayerNormZero, AdaLayerNormZeroSingle
from diffusers.models.transformers.transformer_flux import (
    FluxAttention,
    FluxAttnProcessor,
    FluxSingleTransformerBlock,
    FluxTransformer2DModel,
    FluxTransformerBlock,
)
from diffusers.utils import apply_lora_scale
from torch import Tensor, nn
from torch.utils._pytree import register_dataclass

from facemogle.condition_memory import ConditionMemory

ADAPTED_IN_DOUBLE_BLOCK = ("norm1.linear", "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "ff.net.2")
ADAPTED_IN_SINGLE_BLOCK = ("norm.linear", "attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp", "proj_out")


@dataclass(frozen=True)
class AdapterConfig:
    """Low-rank adapter W + (alpha / rank) B A."""

    rank: int = 4
    alpha: float = 4.0


class ConditionLinear(nn.Linear):
    """A linear layer, plus (alpha / rank) B A x on the last `num_condition_rows` rows alone."""

    # Not called lora_*, which peft takes for its own when a style LoRA is loaded beside this adapter.
    adapter_A: nn.Parameter | None
    adapter_B: nn.Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__(in_features, out_features, bias)
        self.register_parameter("adapter_A", None)
        self.register_parameter("adapter_B", None)
        self.adapter_scale = 1.0

    def forward(self, rows: Tensor, num_condition_rows: int = 0) -> Tensor:
        """(B, rows, in) -> (B, rows, out)."""
        output = super().forward(rows)
        if not num_condition_rows or self.adapter_A is None or self.adapter_B is None:
            return output
        others, condition = output.split([rows.shape[1] - num_condition_rows, num_condition_rows], dim=1)
        low_rank = F.linear(rows[:, -num_condition_rows:], self.adapter_A.to(rows.dtype))
        adapter_B = self.adapter_B.to(low_rank.dtype).T.expand(rows.shape[0], -1, -1)
        if torch.is_grad_enabled():
            # Never written in place: a view that autograd watches costs a copy of all gradients in the backward pass.
            adapted = torch.baddbmm(condition, low_rank, adapter_B, alpha=self.adapter_scale)
            return torch.cat([others, adapted], dim=1)
        torch.baddbmm(condition, low_rank, adapter_B, alpha=self.adapter_scale, out=condition)
        return output

    def set_adapter(self, adapter_A: Tensor, adapter_B: Tensor, scale: float) -> None:
        """(r, in), (out, r), to this layer's device, and to its dtype unless its weights are packed."""
        dtype = self.weight.dtype if self.weight.is_floating_point() else adapter_A.dtype
        self.adapter_A = nn.Parameter(adapter_A.to(self.weight.device, dtype))
        self.adapter_B = nn.Parameter(adapter_B.to(self.weight.device, dtype))
        self.adapter_scale = scale


def take_condition_rows(layer: nn.Linear, adapted: ConditionLinear | None = None) -> None:
    """Make a linear layer of another library one that takes the number of condition rows, with `adapted`'s adapter."""
    layer.register_parameter("adapter_A", adapted.adapter_A if adapted else None)
    layer.register_parameter("adapter_B", adapted.adapter_B if adapted else None)
    layer.adapter_scale = adapted.adapter_scale if adapted else 1.0  # type: ignore[assignment]
    layer.__class__ = type("PackedConditionLinear", (ConditionLinear, type(layer)), {})


class ConditionFeedForward(FeedForward):
    def forward(self, hidden_states: Tensor, num_condition_rows: int = 0) -> Tensor:
        for module in self.net[:-1]:
            hidden_states = module(hidden_states)
        return self.net[-1](hidden_states, num_condition_rows)


class ConditionAttnProcessor(FluxAttnProcessor):
    """Joint attention over text | image | condition; without `encoder_hidden_states` they arrive as one sequence."""

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        num_condition_rows: int = 0,
        condition_memory: ConditionMemory | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        def heads(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (-1, attn.head_dim))

        query = attn.norm_q(heads(attn.to_q(hidden_states, num_condition_rows)))
        key = attn.norm_k(heads(attn.to_k(hidden_states, num_condition_rows)))
        value = heads(attn.to_v(hidden_states, num_condition_rows))
        if encoder_hidden_states is not None:
            query = torch.cat([attn.norm_added_q(heads(attn.add_q_proj(encoder_hidden_states))), query], dim=1)
            key = torch.cat([attn.norm_added_k(heads(attn.add_k_proj(encoder_hidden_states))), key], dim=1)
            value = torch.cat([heads(attn.add_v_proj(encoder_hidden_states)), value], dim=1)

        key = apply_rotary_emb(key, image_rotary_emb, sequence_dim=1)
        if condition_memory is not None:
            key, value = condition_memory.complete(attn, key, value, num_condition_rows)
        attended = dispatch_attention_fn(
            apply_rotary_emb(query, image_rotary_emb, sequence_dim=1),
            key,
            value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        attended = attended.flatten(2, 3).to(query.dtype)
        if encoder_hidden_states is None:
            return attended
        text, rows = attended.tensor_split([encoder_hidden_states.shape[1]], dim=1)
        return attn.to_out[0](rows.contiguous(), num_condition_rows), attn.to_add_out(text.contiguous())


# Of a block: k times a shift, 1 + scale and a gate, each (B, S, 1, D).
Modulation = tuple[Tensor, ...]


def modulation_of(norm: AdaLayerNormZero | AdaLayerNormZeroSingle, temb: Tensor) -> Modulation:
    """What an AdaLayerNormZero makes of (B, S, D): 3 or 6 parts."""
    num_condition_rows = temb.shape[1] - 1
    activated = norm.silu(temb)
    modulated = norm.linear(activated, num_condition_rows) if num_condition_rows else norm.linear(activated)
    parts = modulated[:, :, None].chunk(modulated.shape[-1] // temb.shape[-1], dim=-1)
    return tuple(1 + part if index % 3 == 1 else part for index, part in enumerate(parts))


def by_stream(rows: Tensor, like: Tensor) -> Tensor:
    """(B, R, D) -> (B, S, N, D), to meet a modulation `like` (B, S, 1, D)."""
    return rows.unflatten(1, (like.shape[1], -1))


def modulate(rows: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """(B, R, D) rows, (B, S, 1, D) shift and 1 + scale -> (B, R, D)."""
    return (by_stream(rows, factor) * factor + shift).flatten(1, 2)


def gated(rows: Tensor, gate: Tensor) -> Tensor:
    """(B, R, D) rows, (B, S, 1, D) gate -> (B, R, D)."""
    return (gate * by_stream(rows, gate)).flatten(1, 2)


def condition_rows(rows: Tensor, gate: Tensor) -> int:
    """How many of (B, R, D) rows are condition rows, where the gate is (B, S, 1, D)."""
    return rows.shape[1] // gate.shape[1] * (gate.shape[1] - 1)


def clip_float16(hidden_states: Tensor) -> Tensor:
    return hidden_states.clip(-65504, 65504) if hidden_states.dtype == torch.float16 else hidden_states


class FaceMoGLETransformerBlock(FluxTransformerBlock):
    """Double-stream block: text, and image | condition.

    `hidden_states` (B, R, D), `encoder_hidden_states` (B, T, D), `temb` (B, S, D): the modulation embedding of the
    image stream, then of the condition stream if there is one; or what `modulation` made of it. Returns text and rows,
    as in FLUX.
    """

    def __init__(self, dim: int, num_attention_heads: int, attention_head_dim: int):
        super().__init__(dim, num_attention_heads, attention_head_dim)
        self.ff = ConditionFeedForward(dim=dim, dim_out=dim, activation_fn="gelu-approximate")
        make_condition_aware(self, ADAPTED_IN_DOUBLE_BLOCK)

    def modulation(self, temb: Tensor) -> Modulation:
        """(B, S, D) -> six parts for the rows, six (B, 1, 1, D) for the text."""
        return *modulation_of(self.norm1, temb), *modulation_of(self.norm1_context, temb[:, :1])

    def forward(self, hidden_states, encoder_hidden_states, temb, image_rotary_emb=None, joint_attention_kwargs=None):
        parts = self.modulation(temb) if isinstance(temb, Tensor) else temb
        shift_msa, factor_msa, gate_msa, shift_mlp, factor_mlp, gate_mlp = parts[:6]
        text_shift_msa, text_factor_msa, text_gate_msa, text_shift_mlp, text_factor_mlp, text_gate_mlp = parts[6:]
        num_condition_rows = condition_rows(hidden_states, gate_msa)
        attended, attended_text = self.attn(
            hidden_states=modulate(self.norm1.norm(hidden_states), shift_msa, factor_msa),
            encoder_hidden_states=modulate(
                self.norm1_context.norm(encoder_hidden_states), text_shift_msa, text_factor_msa
            ),
            image_rotary_emb=image_rotary_emb,
            num_condition_rows=num_condition_rows,
            **(joint_attention_kwargs or {}),
        )

        hidden_states = hidden_states + gated(attended, gate_msa)
        feed_forward = self.ff(modulate(self.norm2(hidden_states), shift_mlp, factor_mlp), num_condition_rows)
        hidden_states = hidden_states + gated(feed_forward, gate_mlp)

        text = encoder_hidden_states + gated(attended_text, text_gate_msa)
        feed_forward = self.ff_context(modulate(self.norm2_context(text), text_shift_mlp, text_factor_mlp))
        return clip_float16(text + gated(feed_forward, text_gate_mlp)), hidden_states


class FaceMoGLESingleTransformerBlock(FluxSingleTransformerBlock):
    """Single-stream block over text | image | condition; arguments and results as in the double block."""

    def __init__(self, dim: int, num_attention_heads: int, attention_head_dim: int):
        super().__init__(dim, num_attention_heads, attention_head_dim)
        make_condition_aware(self, ADAPTED_IN_SINGLE_BLOCK)

    def modulation(self, temb: Tensor) -> Modulation:
        """(B, S, D) -> three parts; the text takes those of the image."""
        return modulation_of(self.norm, temb)

    def forward(self, hidden_states, encoder_hidden_states, temb, image_rotary_emb=None, joint_attention_kwargs=None):
        shift, factor, gate = self.modulation(temb) if isinstance(temb, Tensor) else temb
        num_condition_rows = condition_rows(hidden_states, gate)
        text = modulate(self.norm.norm(encoder_hidden_states), shift[:, :1], factor[:, :1])
        rows = torch.cat([text, modulate(self.norm.norm(hidden_states), shift, factor)], dim=1)
        mlp = self.act_mlp(self.proj_mlp(rows, num_condition_rows))
        attended = self.attn(
            hidden_states=rows,
            image_rotary_emb=image_rotary_emb,
            num_condition_rows=num_condition_rows,
            **(joint_attention_kwargs or {}),
        )
        output = self.proj_out(torch.cat([attended, mlp], dim=2), num_condition_rows)

        text, rows = output.tensor_split([encoder_hidden_states.shape[1]], dim=1)
        encoder_hidden_states = encoder_hidden_states + gated(text, gate[:, :1])
        return clip_float16(encoder_hidden_states), clip_float16(hidden_states + gated(rows, gate))


@dataclass(frozen=True)
class StepConstants:
    """What a step of a run does not compute from its latents: `FaceMoGLETransformer2DModel.run_constants`."""

    text: Tensor  # (B, T, D), embedded
    temb: Tensor  # (B, S, D)
    rotary: tuple[Tensor, Tensor]
    modulations: list[Tensor | Modulation]  # what each block takes as its `temb`

    def without_condition(self, num_condition_rows: int) -> "StepConstants":
        """For a step that computes no condition rows, which are the last."""
        cos, sin = self.rotary
        num_rows = len(cos) - num_condition_rows
        modulations = [
            each[:, :1] if isinstance(each, Tensor) else tuple(part[:, :1] for part in each)
            for each in self.modulations
        ]
        return StepConstants(self.text, self.temb[:, :1], (cos[:num_rows], sin[:num_rows]), modulations)


register_dataclass(StepConstants)


def has_hooks(module: nn.Module) -> bool:
    """PyTorch's, accelerate's (offloading) or diffusers' (caches, group offloading)."""
    registry = getattr(module, "_diffusers_hook", None)  # stays, empty, once it was asked for
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or hasattr(module, "_hf_hook")
        or (registry and registry.hooks)
    )


def make_condition_aware(block: FluxTransformerBlock | FluxSingleTransformerBlock, adapted: tuple[str, ...]) -> None:
    """Give a Flux block layers that take the number of condition rows."""
    block.attn.set_processor(ConditionAttnProcessor())
    for name in adapted:
        linear = block.get_submodule(name)
        condition_linear = ConditionLinear(linear.in_features, linear.out_features, linear.bias is not None)
        block.set_submodule(name, condition_linear)


class FaceMoGLETransformer2DModel(FluxTransformer2DModel):
    """FLUX that takes condition tokens beside the noisy latents.

    Same configuration and weight keys as `FluxTransformer2DModel`, whose folders load unchanged, and the same output to
    the last bit when no condition tokens are given.
    """

    _no_split_modules = ["FaceMoGLETransformerBlock", "FaceMoGLESingleTransformerBlock"]  # noqa: RUF012
    _repeated_blocks = _no_split_modules

    @functools.wraps(FluxTransformer2DModel.__init__)  # type: ignore[misc]
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        config = self.config
        shape = (self.inner_dim, config.num_attention_heads, config.attention_head_dim)
        self.x_embedder = ConditionLinear(config.in_channels, self.inner_dim)
        self.transformer_blocks = nn.ModuleList(FaceMoGLETransformerBlock(*shape) for _ in range(config.num_layers))
        self.single_transformer_blocks = nn.ModuleList(
            FaceMoGLESingleTransformerBlock(*shape) for _ in range(config.num_single_layers)
        )
        self.adapter_config: AdapterConfig | None = None

    @apply_lora_scale("joint_attention_kwargs")
    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        pooled_projections: Tensor,
        timestep: Tensor,
        img_ids: Tensor,
        txt_ids: Tensor,
        guidance: Tensor | None = None,
        joint_attention_kwargs: dict[str, Any] | None = None,
        condition_hidden_states: Tensor | None = None,
        condition_scale: float = 1.0,
        constants: StepConstants | None = None,
        condition_memory: ConditionMemory | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Velocity of the image tokens (B, N, C). Arguments as in `FluxTransformer2DModel`, and further:

        condition_hidden_states: (B, N, C) condition tokens, one for each image token; None for plain FLUX.
        condition_scale: s >= 0 biases the attention between condition tokens and all others by log(s), both ways.
        constants: of this step, from `run_constants` with the same arguments.
        condition_memory: takes the condition rows' keys and values; without condition tokens, gives those it has.
        """
        num_tokens, num_text_tokens = hidden_states.shape[1], encoder_hidden_states.shape[1]
        num_streams = 1
        if condition_hidden_states is not None:
            if condition_hidden_states.shape != hidden_states.shape:
                raise ValueError(
                    f"Condition tokens must have the latents' shape {tuple(hidden_states.shape)}, got "
                    f"{tuple(condition_hidden_states.shape)}. Encode the label map at the image's size."
                )
            num_streams = 2
            hidden_states = torch.cat([hidden_states, condition_hidden_states], dim=1)
        num_condition_rows = num_tokens * (num_streams - 1)
        hidden_states = self.x_embedder(hidden_states, num_condition_rows)

        if constants is None:
            text = self.context_embedder(encoder_hidden_states)
            temb = self.modulation_embedding(timestep, guidance, pooled_projections, hidden_states.dtype, num_streams)
            rotary = self.pos_embed(torch.cat([txt_ids, *[img_ids] * num_streams]))
            constants = StepConstants(text, temb, rotary, [temb] * len(self.blocks()))
        encoder_hidden_states = constants.text
        attention_kwargs = dict(joint_attention_kwargs or {})
        num_rows = num_text_tokens + hidden_states.shape[1]
        num_remembered = 0
        if condition_memory is not None:
            attention_kwargs["condition_memory"] = condition_memory
            num_remembered = 0 if num_condition_rows else condition_memory.num_rows
            if num_remembered and constants.temb.shape[1] > 1:
                constants = constants.without_condition(num_remembered)
        if (num_bias_rows := num_condition_rows + num_remembered) and condition_scale != 1:
            bias = attention_bias(num_rows + num_remembered, num_bias_rows, condition_scale, like=hidden_states)
            attention_kwargs["attention_mask"] = bias[:, :, :num_rows]

        for block, modulation in zip(self.blocks(), constants.modulations, strict=True):
            arguments = (hidden_states, encoder_hidden_states, modulation, constants.rotary, attention_kwargs)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                encoder_hidden_states, hidden_states = self._gradient_checkpointing_func(block, *arguments)
            else:
                encoder_hidden_states, hidden_states = block(*arguments)

        output = self.proj_out(self.norm_out(hidden_states[:, :num_tokens], constants.temb[:, 0]))
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)

    def blocks(self) -> list[FaceMoGLETransformerBlock | FaceMoGLESingleTransformerBlock]:
        return [*self.transformer_blocks, *self.single_transformer_blocks]

    def modulation_linears(self) -> Iterator[nn.Linear]:
        """A quarter of all parameters, of use but once in a run: see `run_constants`."""
        for block in self.blocks():
            double = isinstance(block, FaceMoGLETransformerBlock)
            yield from (norm.linear for norm in ((block.norm1, block.norm1_context) if double else (block.norm,)))

    def step_modules(self) -> list[nn.Module]:
        """What takes part in a step whose constants are given."""
        modulation = set(self.modulation_linears())
        return [module for module in self.modules() if module not in modulation]

    def run_constants(
        self,
        timesteps: Tensor,
        guidance: Tensor | None,
        encoder_hidden_states: Tensor,
        pooled_projections: Tensor,
        img_ids: Tensor,
        txt_ids: Tensor,
        *,
        num_streams: int,
    ) -> list[StepConstants] | None:
        """What every step of a run would compute alike, or from its time alone: computed for all steps in one pass.

        Timesteps (steps,) in 0..1; guidance (B,), text (B, T, .), pooled (B, P); the others as in `forward`. None where
        a hook watches or moves layers, which their use past their own forward would go round; one that moves a
        modulation's linear layer, which is called as ever, does no harm.
        """
        if any(has_hooks(module) for module in self.step_modules()):
            return None
        batch, dtype = len(pooled_projections), pooled_projections.dtype
        temb = self.modulation_embedding(
            timesteps.repeat_interleave(batch),
            None if guidance is None else guidance.repeat(len(timesteps)),
            pooled_projections.repeat(len(timesteps), 1),
            dtype,
            num_streams,
        )
        text = self.context_embedder(encoder_hidden_states)
        rotary = self.pos_embed(torch.cat([txt_ids, *[img_ids] * num_streams]))
        by_block = [tuple(part.contiguous().split(batch) for part in block.modulation(temb)) for block in self.blocks()]
        return [
            StepConstants(text, each, rotary, [tuple(part[step] for part in parts) for parts in by_block])
            for step, each in enumerate(temb.split(batch))
        ]

    def modulation_embedding(
        self, timestep: Tensor, guidance: Tensor | None, pooled: Tensor, dtype: torch.dtype, num_streams: int
    ) -> Tensor:
        """Timestep (B,) in 0..1, guidance (B,), pooled text (B, P) -> (B, S, D)."""
        # Condition tokens are a clean signal, so they are modulated as if at timestep 0. One matmul serves both rows.
        timesteps = F.pad(timestep[:, None].to(dtype) * 1000, (0, num_streams - 1)).flatten()
        further = [] if guidance is None else [(guidance.to(dtype) * 1000).repeat_interleave(num_streams)]
        temb = self.time_text_embed(timesteps, *further, pooled.repeat_interleave(num_streams, dim=0))
        return temb.unflatten(0, (-1, num_streams))

    @classmethod
    def from_single_file(cls, *args, **kwargs) -> "FaceMoGLETransformer2DModel":
        """As in diffusers; layers that it puts packed ones in the place of still take condition rows."""
        model = super().from_single_file(*args, **kwargs)
        adapted = [
            f"transformer_blocks.{i}.{name}" for i in range(model.config.num_layers) for name in ADAPTED_IN_DOUBLE_BLOCK
        ]
        adapted += [
            f"single_transformer_blocks.{i}.{name}"
            for i in range(model.config.num_single_layers)
            for name in ADAPTED_IN_SINGLE_BLOCK
        ]
        for name in ("x_embedder", *adapted):
            if not isinstance(layer := model.get_submodule(name), ConditionLinear):
                take_condition_rows(layer)
        return model

    def _condition_linears(self) -> Iterator[tuple[str, ConditionLinear]]:
        for name, module in self.named_modules():
            if isinstance(module, ConditionLinear):
                yield name.removesuffix(".base_layer"), module

    def add_condition_adapter(self, config: AdapterConfig, *, generator: torch.Generator | None = None) -> None:
        """A new adapter that changes nothing yet: A normal with deviation 1 / rank, B zero. It requires gradients."""
        for _, linear in self._condition_linears():
            adapter_A = torch.randn(config.rank, linear.in_features, generator=generator) / config.rank
            adapter_B = torch.zeros(linear.out_features, config.rank)
            linear.set_adapter(adapter_A, adapter_B, config.alpha / config.rank)
        self.adapter_config = config

    def condition_adapter_state_dict(self) -> dict[str, Tensor]:
        """The adapter in diffusers' LoRA keys, empty without one. Multiply (B A) by alpha / rank to apply it."""
        return {
            f"transformer.{name}.lora_{letter}.weight": matrix.detach()
            for name, linear in self._condition_linears()
            for letter, matrix in (("A", linear.adapter_A), ("B", linear.adapter_B))
            if matrix is not None
        }

    def load_condition_adapter(self, state_dict: Mapping[str, Tensor], *, alpha: float | None = None) -> None:
        """Load an adapter of any one rank, strictly. `alpha` None: equal to the rank, as in the published file.

        ValueError for missing or unexpected keys, mixed ranks, or matrices of another base.
        """
        linears = {f"transformer.{name}": linear for name, linear in self._condition_linears()}
        expected = {f"{name}.lora_{letter}.weight" for name in linears for letter in "AB"}
        if wrong := sorted(expected ^ set(state_dict)):
            raise ValueError(
                f"The adapter's keys do not fit this transformer: {len(expected - set(state_dict))} missing, "
                f"{len(set(state_dict) - expected)} unexpected, such as {wrong[0]}. "
                "It was trained on another base; a style LoRA is loaded with load_lora_weights instead."
            )
        ranks = {matrix.shape[0 if ".lora_A." in key else 1] for key, matrix in state_dict.items()}
        if len(ranks) != 1:
            raise ValueError(f"The adapter's matrices must share one rank, got ranks {sorted(ranks)}. Export it again.")
        (rank,) = ranks
        config = AdapterConfig(rank, rank if alpha is None else alpha)
        for name, linear in linears.items():
            for letter, expected_shape in (("A", (rank, linear.in_features)), ("B", (linear.out_features, rank))):
                shape = tuple(state_dict[f"{name}.lora_{letter}.weight"].shape)
                if shape != expected_shape:
                    raise ValueError(
                        f"{name}.lora_{letter}.weight must be {expected_shape}, got {shape}. "
                        "The adapter was trained on a base of another width."
                    )
        for name, linear in linears.items():
            adapter_A, adapter_B = (state_dict[f"{name}.lora_{letter}.weight"] for letter in "AB")
            linear.set_adapter(adapter_A, adapter_B, config.alpha / config.rank)
        self.adapter_config = config

    # diffusers reads the signature to tell which options it may pass.
    @functools.wraps(FluxTransformer2DModel.save_pretrained)
    def save_pretrained(self, *args, **kwargs):
        """Write the base alone, as any `FluxTransformer2DModel`; the adapter has a file of its own."""
        hook = self.register_state_dict_post_hook(_without_adapter)
        try:
            super().save_pretrained(*args, **kwargs)
        finally:
            hook.remove()


def _without_adapter(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, local_metadata: dict) -> None:
    for key in [key for key in state_dict if ".adapter_" in key]:
        del state_dict[key]


def attention_bias(num_rows: int, num_condition_rows: int, scale: float, *, like: Tensor) -> Tensor:
    """(1, 1, rows, rows) additive bias: log(scale) between condition rows (the last) and all others, else 0."""
    is_condition = torch.arange(num_rows, device=like.device) >= num_rows - num_condition_rows
    between = is_condition[:, None] != is_condition[None, :]
    bias = torch.zeros(num_rows, num_rows, dtype=like.dtype, device=like.device)
    return bias.masked_fill_(between, math.log(scale) if scale > 0 else -math.inf)[None, None]


# diffusers' step caches look a block or processor up by its class.
for _block in (FaceMoGLETransformerBlock, FaceMoGLESingleTransformerBlock):
    TransformerBlockRegistry.register(
        _block, TransformerBlockMetadata(return_hidden_states_index=1, return_encoder_hidden_states_index=0)
    )
AttentionProcessorRegistry.register(ConditionAttnProcessor, AttentionProcessorRegistry.get(FluxAttnProcessor))
