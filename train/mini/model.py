"""The parts of `mini` that learn together: text encoders, transformer with its adapter, and MoGLE.

B batch, N image tokens, C channels, E = 20 experts.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from facemogle.mogle import MoGLE
from facemogle.pipeline import FaceMoGLEPipeline, image_ids
from facemogle.scheduler import FlowMatchAdamsBashforthScheduler
from facemogle.transformer import AdapterConfig, FaceMoGLETransformer2DModel
from train.mini.config import MiniConfig
from train.mini.text import TextEncoders, load_encoders

HEAD_DIM = 64
ROTARY_AXES = (16, 24, 24)


def autocast(device: torch.device | str) -> torch.autocast:
    """bfloat16, but in float32 on a CPU that only emulates it, a hundred times slower."""
    kind = torch.device(device).type
    emulated = kind == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(kind, torch.bfloat16, enabled=not emulated)


class Mini(nn.Module):
    def __init__(
        self, encoders: TextEncoders, transformer: FaceMoGLETransformer2DModel, mogle: MoGLE, config: MiniConfig
    ):
        super().__init__()
        self.encoders, self.transformer, self.mogle = encoders, transformer, mogle
        grid = image_ids(*[config.size // 16] * 2)
        self.image_rows = len(grid)
        with torch.no_grad():
            rotary = transformer.pos_embed(torch.cat([torch.zeros(config.text_length, 3), grid, grid]))
        for name, table in zip(("cosines", "sines"), rotary, strict=True):
            self.register_buffer(name, table, persistent=False)
        # In the middle third of the single stream image tokens can be made to see only themselves.
        rows = torch.arange(config.text_length + 2 * len(grid))
        image = (rows >= config.text_length) & (rows < config.text_length + len(grid))
        self.register_buffer("only_themselves", (rows == rows[:, None]) | ~image[:, None], persistent=False)

    def forward(
        self, embeds: Tensor, pooled: Tensor, condition: Tensor, noisy: Tensor, timestep: Tensor, guidance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Text, condition tokens (B, E, N, C), latents (B, N, C), timestep (B,) in 0..1, guidance (B,) ->
        velocity (B, N, C) and gating weights (B, N, E)."""
        blended, gating_weights = self.mogle(condition, noisy, timestep)
        return self.velocity(embeds, pooled, blended, noisy, timestep, guidance), gating_weights

    def velocity(
        self,
        embeds: Tensor,
        pooled: Tensor,
        blended: Tensor,
        noisy: Tensor,
        timestep: Tensor,
        guidance: Tensor,
        *,
        perturbed: bool = False,
    ) -> Tensor:
        """The transformer's own forward, but that time and guidance are never rounded to bfloat16.

        perturbed: pictures fall apart, as image tokens see only themselves in the middle blocks.
        """
        transformer = self.transformer
        rows = transformer.x_embedder(torch.cat([noisy, blended.to(noisy.dtype)], dim=1), self.image_rows)
        text = transformer.context_embedder(embeds)
        temb = transformer.modulation_embedding(timestep, guidance, pooled, torch.float32, 2)
        rotary, single = (self.cosines, self.sines), list(transformer.single_transformer_blocks)
        hidden = single[len(single) // 3 : -(-2 * len(single) // 3)] if perturbed else []
        for block in (*transformer.transformer_blocks, *single):
            attention = {"attention_mask": self.only_themselves} if block in hidden else {}
            # What is rarely run is not worth compiling.
            run = block.forward if perturbed else block
            text, rows = run(rows, text, temb, rotary, attention)
        return transformer.proj_out(transformer.norm_out(rows[:, : self.image_rows], temb[:, 0])).float()


def scheduler_of(config: MiniConfig) -> FlowMatchAdamsBashforthScheduler:
    """What the exported model is sampled by."""
    return FlowMatchAdamsBashforthScheduler(shift=config.sampling_shift)


def from_nothing(config: MiniConfig) -> Mini:
    """Seeded random weights; at first the velocity is 0, and guidance changes nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoders = TextEncoders(config)
        transformer = FaceMoGLETransformer2DModel(
            patch_size=1,
            in_channels=4 * config.latent_channels,
            num_layers=config.double_blocks,
            num_single_layers=config.single_blocks,
            attention_head_dim=HEAD_DIM,
            num_attention_heads=config.attention_heads,
            joint_attention_dim=config.text_width,
            pooled_projection_dim=config.text_width,
            guidance_embeds=True,
            axes_dims_rope=ROTARY_AXES,
        )
        transformer.add_condition_adapter(AdapterConfig(config.adapter_rank, config.adapter_rank))
        mogle = MoGLE(channels=4 * config.latent_channels, timestep_scale=config.timestep_scale)
    embedder = transformer.time_text_embed.guidance_embedder.linear_2
    for layer in (transformer.proj_out, embedder):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return Mini(encoders, transformer, mogle, config)


def from_checkpoint(pipeline: FaceMoGLEPipeline, folder: Path, config: MiniConfig) -> Mini:
    """Weights of an exported checkpoint; words that its vocabulary lacks are new. ValueError where it does not fit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoders = TextEncoders(config)
    load_encoders(encoders, folder)
    if not pipeline.transformer.config.guidance_embeds:
        raise ValueError(
            f"The transformer of {folder} takes no guidance, but it is to be distilled into it. Begin anew."
        )
    return Mini(encoders, pipeline.transformer, pipeline.mogle, config)
