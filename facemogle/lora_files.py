"""LoRAs in every naming that is in use -> low-rank terms of the layers that a pipeline has.

Read are the names of diffusers and peft (`lora_A`), kohya (`lora_unet_`, `lora_down`, `alpha`), ai-toolkit and ComfyUI
(`diffusion_model.`) and x-flux (`processor.`), over diffusers' layers or over those of FLUX's first code, whose fused
projections are taken apart. diffusers converts many of them, for FLUX.1's own widths alone, and drops what it does not
know without a word. in, out: widths of a layer; r: rank.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_QKV, _TEXT_QKV = ("attn.to_q", "attn.to_k", "attn.to_v"), ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
# Names in FLUX's first code, and x-flux's beside them -> diffusers' layers, whose outputs are in a row there.
_DOUBLE_BLOCK: dict[str, tuple[str, ...]] = {
    "img_mod.lin": ("norm1.linear",), "img_attn.qkv": _QKV, "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",), "img_mlp.2": ("ff.net.2",),
    "txt_mod.lin": ("norm1_context.linear",), "txt_attn.qkv": _TEXT_QKV, "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",), "txt_mlp.2": ("ff_context.net.2",),
    "processor.qkv_lora1": _QKV, "processor.proj_lora1": ("attn.to_out.0",),
    "processor.qkv_lora2": _TEXT_QKV, "processor.proj_lora2": ("attn.to_add_out",),
}  # fmt: skip
_SINGLE_BLOCK: dict[str, tuple[str, ...]] = {
    "modulation.lin": ("norm.linear",), "linear1": (*_QKV, "proj_mlp"), "linear2": ("proj_out",),
    "processor.qkv_lora": _QKV, "processor.proj_lora": ("proj_out",),
}  # fmt: skip
_HALVES_EXCHANGED = "final_layer.adaLN_modulation.1"  # shift and scale, against diffusers' order
_OUTER_LAYERS = {
    "img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out",
    _HALVES_EXCHANGED: "norm_out.linear",
} | {
    f"{first}.{place}_layer": f"time_text_embed.{embedder}.linear_{number}"
    for first, embedder in (
        ("time_in", "timestep_embedder"), ("vector_in", "text_embedder"), ("guidance_in", "guidance_embedder"),
    )
    for place, number in (("in", 1), ("out", 2))
}  # fmt: skip

# What stands before a layer's name, by the part of the pipeline that it tells of.
_PREFIXES = {
    "text_encoder": ("text_encoders.clip_l.transformer.", "text_encoder.", "lora_te1_", "lora_te_"),
    "transformer": (
        "base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "unet.", "lora_unet_",
        "lora_transformer_",
    ),
}  # fmt: skip
_KEY = re.compile(
    r"(?P<layer>.+?)\.(?:(?P<letter>lora_A|lora_B|lora[._]down|lora[._]up|down|up)(?:\.(?!bias)[^.]+?)??(?:\.weight)?"
    r"|(?P<alpha>(?:lora_)?alpha))"
)


@dataclass(frozen=True, eq=False)
class LowRank:
    """scale * B A, added to a layer's weight (out, in): A (r, in), B (out, r). `scale` None: the file tells none."""

    A: Tensor
    B: Tensor
    scale: float | None


@dataclass(frozen=True, eq=False)
class LoraReading:
    """Layers, with the part of the pipeline before their names, and the keys that fit none, by what is wrong."""

    layers: dict[str, LowRank]
    unknown: list[str]  # such a layer is not there
    misshapen: list[str]  # it is, in another shape; or a part of the term is missing

    @property
    def left_out(self) -> list[str]:
        return [*self.unknown, *self.misshapen]


def read_lora(
    state_dict: Mapping[str, Tensor], metadata: Mapping[str, Any] | None, **parts: nn.Module | None
) -> LoraReading:
    """The terms for those parts of a pipeline; `metadata` as diffusers writes it. ValueError for two LoRAs in one."""
    layers = {part: _layers(module) for part, module in parts.items() if module is not None}
    names = {part: _names(own) for part, own in layers.items()}
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    unknown: list[str] = []
    misshapen: list[str] = []
    read = {}
    for key in state_dict:
        match = _KEY.fullmatch(key)
        place = match and _place(match["layer"], names)
        if match is None or place is None:
            unknown.append(key)
            continue
        letter = "alpha" if match["alpha"] else "A" if match["letter"].endswith(("A", "down")) else "B"
        if letter in found[place]:
            raise ValueError(f"It holds two LoRAs in one: {found[place][letter]} and {key}. Save each by itself.")
        found[place][letter] = key
    for (part, name), keys in found.items():
        targets = names[part][name]
        A, B = (state_dict[keys[letter]] if letter in keys else torch.empty(0) for letter in "AB")
        outs = [layers[part][target].out_features for target in targets]
        fits = A.ndim == B.ndim == 2 and A.shape[0] == B.shape[1] and B.shape[0] == sum(outs)
        if not fits or A.shape[1] != layers[part][targets[0]].in_features:
            misshapen += keys.values()
            continue
        if name.replace("_", ".") == _HALVES_EXCHANGED.replace("_", "."):
            B = B.roll(len(B) // 2, 0)
        told = _told_scale(metadata or {}, f"{part}.{targets[0]}", len(A))
        scale = float(state_dict[keys["alpha"]]) / len(A) if "alpha" in keys else told
        for target, (own_A, own_B) in zip(targets, _taken_apart(A, B, outs), strict=True):
            if f"{part}.{target}" in read:
                raise ValueError(f"It holds two LoRAs in one, by two names of {target}. Save each by itself.")
            read[f"{part}.{target}"] = LowRank(own_A, own_B, scale)
    return LoraReading(read, unknown, misshapen)


def _layers(module: nn.Module) -> dict[str, nn.Linear]:
    """Those that a LoRA may change, by the names that they have while none is loaded."""
    linears = ((name, each) for name, each in module.named_modules() if isinstance(each, nn.Linear))
    return {name.removesuffix(".base_layer"): each for name, each in linears if ".lora_" not in name}


def _names(layers: Mapping[str, nn.Linear]) -> dict[str, tuple[str, ...]]:
    """All names in use -> what they stand for: diffusers', those of FLUX's first code, and both with underscores."""
    names: dict[str, tuple[str, ...]] = {name: (name,) for name in layers}
    names |= {name.removeprefix("text_model."): (name,) for name in layers}
    names |= {f"text_model.{name}": (name,) for name in layers if name.startswith("encoder.")}
    names |= {first: targets for first, targets in _first_names(layers) if all(each in layers for each in targets)}
    return {name.replace(".", "_"): targets for name, targets in names.items()} | names


def _first_names(layers: Mapping[str, nn.Linear]) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield from ((first, (name,)) for first, name in _OUTER_LAYERS.items())
    for block in {match[0] for name in layers if (match := re.match(r"(single_)?transformer_blocks\.\d+\.", name))}:
        first = block.replace("single_transformer_", "single_").replace("transformer_", "double_")
        for name, targets in (_SINGLE_BLOCK if block.startswith("single") else _DOUBLE_BLOCK).items():
            yield first + name, tuple(block + target for target in targets)


def _place(layer: str, names: Mapping[str, Mapping[str, Any]]) -> tuple[str, str] | None:
    """A layer as a file names it -> its part of the pipeline, and its name without prefixes; None: there is none."""
    for part, prefixes in _PREFIXES.items():
        rest = layer
        while prefix := next((each for each in prefixes if rest.startswith(each)), ""):
            rest = rest.removeprefix(prefix)
            if rest in names.get(part, {}):
                return part, rest
    return ("transformer", layer) if layer in names.get("transformer", {}) else None


def _taken_apart(A: Tensor, B: Tensor, outs: list[int]) -> list[tuple[Tensor, Tensor]]:
    """A term of fused layers -> each layer's own. All share A, unless each had its own part of the ranks before."""
    rows, count = B.split(outs), len(outs)
    if count > 1 and len(A) % count == 0:
        blocks = [each.chunk(count, dim=1) for each in rows]
        if not any(blocks[i][j].any() for i in range(count) for j in range(count) if i != j):
            return [(A.chunk(count)[i].contiguous(), blocks[i][i].contiguous()) for i in range(count)]
    return [(A, each.contiguous()) for each in rows]


def _told_scale(metadata: Mapping[str, Any], layer: str, rank: int) -> float | None:
    """What peft's settings, which diffusers saves with a LoRA, say of a layer."""
    part, name = layer.split(".", 1)
    patterns = metadata.get(f"{part}.alpha_pattern") or {}
    matching = (alpha for pattern, alpha in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", name))
    alpha = next(matching, metadata.get(f"{part}.lora_alpha"))
    return None if alpha is None else alpha / (rank**0.5 if metadata.get(f"{part}.use_rslora") else rank)
