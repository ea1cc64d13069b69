"""From many passes to one: the model learns to take guidance as a number.

Stage one of arXiv 2210.03142, as FLUX.1-dev was made; perturbed attention (arXiv 2403.17377) where no map says where
things are. B batch, N image tokens, C channels.
"""

from copy import deepcopy

import torch
from torch import Tensor

from train.mini.config import MiniConfig
from train.mini.loop import Draw
from train.mini.model import Mini
from train.mini.objective import Batch


class Teacher:
    """The model as it was when a phase began, frozen: a base that taught itself diverged."""

    def __init__(self, model: Mini, empty: tuple[Tensor, Tensor], config: MiniConfig):
        """empty: (1, L) of CLIP's and T5's ids, of a caption that says nothing."""
        self.model = deepcopy(model).requires_grad_(False).eval()
        self.empty, self.config = empty, config

    @torch.no_grad()
    def guided(self, draw: Draw, batch: Batch, *, without_map: int = 0, portraits: int = 0) -> Tensor:
        """(B, N, C) velocities under the draw's guidance; under none where there is little noise.

        The first `without_map` samples have no map: those also lead away from what perturbed attention makes. The last
        `portraits` go on learning from portraits.
        """
        model, config, timestep = self.model, self.config, draw["timestep"]
        one = torch.ones_like(timestep)
        blended, _ = model.mogle(batch.condition, batch.noisy, timestep)
        text: tuple[Tensor, Tensor] = model.encoders(draw["clip"], draw["t5"])
        embeds, pooled = model.encoders(*self.empty)
        nothing = embeds.repeat(len(one), 1, 1), pooled.repeat(len(one), 1)
        told = model.velocity(*text, blended, batch.noisy, timestep, one)
        untold = model.velocity(*nothing, blended, batch.noisy, timestep, one)
        further = (draw["guidance"] - 1)[:, None, None]
        guided = told + further * (timestep > config.guided_above)[:, None, None] * (told - untold)
        if without_map and config.perturbed:
            first = slice(without_map)
            inputs = (*text, blended, batch.noisy, timestep, one)
            apart = model.velocity(*(each[first] for each in inputs), perturbed=True)
            strength = further[first].clamp(max=1) * (timestep[first] > config.perturbed_above)[:, None, None]
            guided[first] += config.perturbed * strength * (told[first] - apart)
        if portraits:
            guided[-portraits:] = batch.target[-portraits:]
        return guided
