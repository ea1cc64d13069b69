"""From two passes a step to one: the base learns to take guidance as a number, as FLUX.1-dev's was made to.

Stage one of arXiv 2210.03142, and perturbed attention (arXiv 2403.17377) where no map says where things are.
B batch, N image tokens, C channels.
"""

from copy import deepcopy
from dataclasses import replace

import torch
from diffusers.models.embeddings import CombinedTimestepGuidanceTextProjEmbeddings
from torch import Tensor, nn

from facemogle.checkpoints import load_pipeline
from facemogle.transformer import FaceMoGLETransformer2DModel
from train.mini.config import MiniConfig
from train.mini.text import TextEncoders, load_encoders
from train.objective import TrainingBatch, predict_velocity


def take_guidance(transformer: FaceMoGLETransformer2DModel) -> None:
    """Give the base FLUX.1-dev's embedding of guidance, where it has none yet; at first it changes nothing."""
    if transformer.config.guidance_embeds:
        return
    settings, before = transformer.config, transformer.time_text_embed
    embedding = CombinedTimestepGuidanceTextProjEmbeddings(transformer.inner_dim, settings.pooled_projection_dim)
    embedding.load_state_dict(before.state_dict(), strict=False)
    nn.init.zeros_(embedding.guidance_embedder.linear_2.weight)
    nn.init.zeros_(embedding.guidance_embedder.linear_2.bias)
    transformer.time_text_embed = embedding.to(transformer.device)
    transformer.register_to_config(guidance_embeds=True)


def perturb(transformer: FaceMoGLETransformer2DModel, text_length: int) -> None:
    """In the middle third of the single stream image tokens shall see only themselves: pictures then fall apart."""

    def hide_others(attention: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        rows = torch.arange(kwargs["hidden_states"].shape[1], device=transformer.device)  # text, image, condition
        image = (rows >= text_length) & (rows < (len(rows) + text_length) // 2)
        return args, {**kwargs, "attention_mask": (rows == rows[:, None]) | ~image[:, None]}

    blocks = transformer.single_transformer_blocks
    for block in blocks[len(blocks) // 3 : -(-2 * len(blocks) // 3)]:
        block.get_submodule("attn").register_forward_pre_hook(hide_others, with_kwargs=True)


class Teacher:
    """The checkpoint to go on from, as it was: its guidance in two or three passes is what one pass shall learn.

    It stays frozen: a base that taught itself diverged, at a learning rate of 4e-4.
    """

    def __init__(self, config: MiniConfig):
        if not config.start_from.is_dir():
            raise ValueError(
                "Guidance is distilled from a trained checkpoint. Set start_from, or adapter_guidance to 1."
            )
        pipeline = load_pipeline(config.start_from, dtype=torch.float32, device=config.device)
        self.config, self.transformer, self.mogle = config, pipeline.transformer, pipeline.mogle
        self.text = TextEncoders(config)
        load_encoders(self.text, config.start_from)
        self.text.requires_grad_(False).to(config.device)
        self.perturbed = deepcopy(self.transformer)
        perturb(self.perturbed, config.text_length)
        if config.compile:
            self.transformer.compile_repeated_blocks()

    @torch.no_grad()
    def guided_velocity(
        self,
        batch: TrainingBatch,
        ids: tuple[Tensor, Tensor],
        noisy_latents: Tensor,
        timestep: Tensor,
        guidance: Tensor,
    ) -> Tensor:
        """(B, N, C) velocities of prompts' token ids under guidance (B,); under none where there is little noise."""
        assert batch.condition_tokens is not None
        config = self.config
        plain = torch.ones_like(guidance) if self.transformer.config.guidance_embeds else None
        blended, _ = self.mogle(batch.condition_tokens, noisy_latents, timestep)
        empty = tuple(each.to(timestep.device) for each in self.text.ids([""] * len(noisy_latents)))

        def velocity(transformer: FaceMoGLETransformer2DModel, ids: tuple[Tensor, ...], rows: slice | Tensor) -> Tensor:
            embeds, pooled = self.text(*(each[rows] for each in ids))
            return predict_velocity(
                transformer,
                replace(batch, prompt_embeds=embeds, pooled_prompt_embeds=pooled),
                noisy_latents[rows],
                timestep[rows],
                guidance_scale=None if plain is None else plain[rows],
                condition_hidden_states=blended[rows],
            )

        further = (guidance - 1)[:, None, None]
        everywhere = slice(None)
        told = velocity(self.transformer, ids, everywhere)
        untold = velocity(self.transformer, empty, everywhere)
        guided = told + further * (timestep > config.adapter_guided_above)[:, None, None] * (told - untold)
        # Without a map all experts are given the same black mask.
        mapless = (batch.condition_tokens == batch.condition_tokens[:, :1]).flatten(1).all(1)
        rows = mapless & (timestep > config.adapter_perturbed_above)
        if config.adapter_perturbed and rows.any():
            apart = velocity(self.perturbed, ids, rows)
            guided[rows] += config.adapter_perturbed * further[rows].clamp(max=1) * (told[rows] - apart)
        return guided
