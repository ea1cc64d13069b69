"""From many passes to one: the model learns to take guidance as a number, and then to take two steps in one.

Stage one of arXiv 2210.03142, as FLUX.1-dev was made; perturbed attention (arXiv 2403.17377) where no map says where
things are; progressive distillation (arXiv 2202.00512) of half of the steps. B batch, N image tokens, C channels.
"""

from copy import deepcopy

import torch
from torch import Tensor

from train.mini.config import MiniConfig
from train.mini.loop import Draw
from train.mini.model import Mini
from train.mini.objective import Batch
from train.mini.text import Spoiler


class Teacher:
    """The model as it was when a phase began, frozen: a base that taught itself diverged."""

    def __init__(self, model: Mini, spoiler: Spoiler, config: MiniConfig):
        self.model = deepcopy(model).requires_grad_(False).eval()
        self.spoiler, self.config = spoiler, config

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
        embeds, pooled = model.encoders(*self.spoiler.empty)
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

    @torch.no_grad()
    def two_steps(self, draw: Draw, batch: Batch) -> Tensor:
        """(B, N, C): the velocity that leads in one step to where two of the model's lead, from each timestep."""
        model = self.model
        place = model.place_of(draw["timestep"])
        length = place.clamp(max=2 / model.steps)
        start, middle, end = (model.sigma_at(place - part * length) for part in (0, 0.5, 1))
        text = model.encoders(draw["clip"], draw["t5"])
        first, _ = model(*text, batch.condition, batch.noisy, start, draw["guidance"])
        by_first, by_second, both = ((b - a)[:, None, None] for a, b in ((start, middle), (middle, end), (start, end)))
        halfway = batch.noisy + by_first * first
        second, _ = model(*text, batch.condition, halfway, middle, draw["guidance"])
        return (by_first * first + by_second * second) / both


def grid_timesteps(model: Mini, generator: torch.Generator, count: int, on_the_grid: float) -> Tensor:
    """(B,) where halved sampling looks, by a chance of `on_the_grid`, or anywhere on its way."""
    device, steps = generator.device, model.steps // 2
    anywhere = 1 - torch.rand(count, generator=generator, device=device)  # never 0
    grid = torch.randint(1, steps + 1, (count,), generator=generator, device=device) / steps
    chosen = torch.rand(count, generator=generator, device=device) < on_the_grid
    return model.sigma_at(torch.where(chosen, grid, anywhere))
