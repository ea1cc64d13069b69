"""FLUX.1-dev's architecture by heart, and pipelines of it with random weights: for what does not depend on weights."""

from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from torch import nn

from facemogle.mogle import MoGLE
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.transformer import AdapterConfig, FaceMoGLETransformer2DModel

Architecture = dict[str, dict[str, Any]]  # the config of each part of a checkpoint

FLUX_PARTS: Architecture = {
    "transformer": {
        "num_layers": 19, "num_single_layers": 38, "num_attention_heads": 24, "attention_head_dim": 128,
        "in_channels": 64, "joint_attention_dim": 4096, "pooled_projection_dim": 768, "guidance_embeds": True,
        "axes_dims_rope": (16, 56, 56),
    },
    "vae": {
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 16,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
        "use_quant_conv": False, "use_post_quant_conv": False, "scaling_factor": 0.3611, "shift_factor": 0.1159,
    },
    "text_encoder": {
        "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "max_position_embeddings": 77, "projection_dim": 768,
    },
    "text_encoder_2": {
        "vocab_size": 32128, "d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24,
        "feed_forward_proj": "gated-gelu",
    },
    "pipeline": {"max_sequence_length": 512},
}  # fmt: skip
SCHEDULE = {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}


def random_pipeline(
    parts: Architecture, *, dtype: torch.dtype, device: torch.device | str, seed: int = 0
) -> FaceMoGLEPipeline:
    """A pipeline without text encoders, its weights drawn where they stay: no copy of them is made anywhere else.

    Prompts are given as embeddings. The adapter is of the published rank, and not of zeros.
    """
    with torch.device("meta"):
        transformer = FaceMoGLETransformer2DModel.from_config(parts["transformer"])
        vae = AutoencoderKL.from_config(parts["vae"])
        mogle = MoGLE(channels=transformer.config.in_channels)
    transformer.add_condition_adapter(AdapterConfig())
    for index, module in enumerate((transformer, vae, mogle)):
        fill(module, dtype=dtype, device=device, seed=seed + index)
    pipeline = FaceMoGLEPipeline(
        FlowMatchEulerDiscreteScheduler(**SCHEDULE), vae, None, None, None, None, transformer, mogle
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def fill(module: nn.Module, *, dtype: torch.dtype, device: torch.device | str, seed: int) -> None:
    """Give a module on the meta device values on another, of a size that keeps those that pass of theirs."""
    module.to(dtype).to_empty(device=device)
    module.eval().requires_grad_(False)
    if torch.device(device).type == "meta":
        return
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)  # of norms; biases
