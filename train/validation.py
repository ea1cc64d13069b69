"""How well a run does on samples it never sees: a loss that compares between steps, and pictures to look at."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import default_collate

from facemogle.figures import expert_grid
from facemogle.labels import to_colours
from facemogle.pipeline import FaceMoGLEPipeline
from train.batches import Encoder, Samples
from train.building import Trained
from train.config import TrainingConfig
from train.seeds import number_of

TIMESTEPS = (0.1, 0.3, 0.5, 0.7, 0.9)
PICTURE = 250  # pixels a side of a face on the page


class Validation:
    """On the last samples of the data, which training leaves out: the same noise and timesteps at every time."""

    def __init__(self, pipeline: FaceMoGLEPipeline, encoder: Encoder, samples: Samples, config: TrainingConfig):
        self.pipeline, self.encoder, self.samples, self.config = pipeline, encoder, samples, config
        self.indices = range(len(samples) - config.validation_samples, len(samples))

    @torch.no_grad()
    def loss(self, trained: Trained) -> float:
        """The flow-matching loss, averaged over samples and timesteps."""
        self.samples.set_epoch(0)
        losses = []
        for start in range(0, len(self.indices), self.config.batch):
            indices = self.indices[start : start + self.config.batch]
            batch = self.encoder.encode(default_collate([self.samples[index] for index in indices]))
            shape = batch.latents.shape[1:]
            for timestep in TIMESTEPS:
                noise = torch.stack(
                    [torch.randn(shape, generator=self._generator(index, timestep)) for index in indices]
                ).to(batch.latents)
                loss = trained(batch, noise, torch.full([len(indices)], timestep).to(batch.latents))
                losses.append(loss * len(indices))
        return float(torch.stack(losses).sum()) / len(self.indices) / len(TIMESTEPS)

    def draw(self) -> Image.Image:
        """A page: for each sample its label map, its picture, the face drawn for it, and the gating of all experts."""
        self.samples.set_epoch(0)
        rows = [self._row(index) for index in self.indices[: self.config.validation_pictures]]
        page = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
        top = 0
        for row in rows:
            page.paste(row, (0, top))
            top += row.height
        return page

    @torch.no_grad()
    def _row(self, index: int) -> Image.Image:
        config, pipeline = self.config, self.pipeline
        sample = self.samples[index]
        batch = self.encoder.encode(default_collate([sample]))
        # Guidance against the empty prompt takes a text encoder, unless the base was distilled to do without.
        plain = bool(config.cache) and not pipeline.transformer.config.guidance_embeds
        result = pipeline(
            prompt_embeds=batch.prompt_embeds,
            pooled_prompt_embeds=batch.pooled_prompt_embeds,
            condition_tokens=batch.condition_tokens,
            guidance_scale=1.0 if plain else None,
            generator=self._generator(index, "picture"),
            record_gating=True,
        )
        face, gating = result.images[0], result.gating
        assert gating is not None
        label_map = sample["label_map"].numpy()
        (truth,) = pipeline.decode_latents(batch.latents, config.height, config.width)
        experts = expert_grid(gating.at(None), face=face, label_map=label_map, width=900)
        pictures = [Image.fromarray(np.ascontiguousarray(to_colours(label_map))), truth, face]
        row = Image.new("RGB", (PICTURE + experts.width, max(len(pictures) * PICTURE, experts.height)), "white")
        for place, picture in enumerate(pictures):
            row.paste(ImageOps.contain(picture, (PICTURE - 8, PICTURE - 8)), (4, place * PICTURE + 4))
        row.paste(experts, (PICTURE, 0))
        return row

    def _generator(self, *what: int | float | str) -> torch.Generator:
        return torch.Generator().manual_seed(number_of(self.config.seed, "validation", *map(str, what)))
