"""Samples in an endless order, and what is drawn for each: all of it follows from the seed and a sample's position.

A position counts the samples of the whole run, over all processes: a run in two processes sees and draws what one
process with twice the batch does, and one that goes on from a checkpoint what it would have without the break.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from facemogle.pipeline import FaceMoGLEPipeline, image_ids
from train.conditions import condition_tokens, encode_black
from train.config import TrainingConfig
from train.objective import ConditionDropout, TrainingBatch, drop_text, dropped_masks, sample_timesteps
from train.seeds import number_of
from train.upload import upload

PROMPT = ("prompt_embeds", "pooled_prompt_embeds")


class Samples(Protocol):
    """Dicts of name and label_map, with image and caption, or with latents and the prompt's embeddings."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> dict[str, Any]: ...
    def set_epoch(self, epoch: int, /) -> None: ...


class Stream(Dataset):
    """Position -> sample: the first `length` of `samples`, in another order in every epoch."""

    def __init__(self, samples: Samples, length: int, seed: int):
        self.samples, self.length, self.seed = samples, length, seed
        self.order = -1, np.arange(0)

    def __getitem__(self, position: int) -> dict[str, Any]:
        epoch, place = divmod(position, self.length)
        if self.order[0] != epoch:
            self.order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.length)
        self.samples.set_epoch(epoch)
        return self.samples[int(self.order[1][place])] | {"position": position}


def positions(first: int, config: TrainingConfig, process: int, processes: int) -> Iterator[list[int]]:
    """Those of each batch of one process, from position `first` on, without end."""
    while True:
        start = first + process * config.batch
        yield list(range(start, start + config.batch))
        first += processes * config.batch


def batches(stream: Stream, config: TrainingConfig, sampler: Iterator[list[int]], *, pin: bool) -> Iterator[dict]:
    return iter(
        DataLoader(
            stream,
            batch_sampler=sampler,  # type: ignore[arg-type]
            collate_fn=default_collate,
            num_workers=config.workers,
            pin_memory=pin,
        )
    )


class Encoder:
    """Collated samples -> what a step needs of them, on the pipeline's device, in float32."""

    def __init__(self, pipeline: FaceMoGLEPipeline, config: TrainingConfig, samples: Samples):
        self.pipeline, self.config = pipeline, config
        self.dropout = ConditionDropout(config.text_dropout, config.local_mask_dropout, config.all_masks_dropout)
        self.black = encode_black(pipeline, config.height, config.width)
        grid = config.height // pipeline.pixels_per_token, config.width // pipeline.pixels_per_token
        self.img_ids = image_ids(*grid).to(pipeline.device)
        # Embeddings (T, D) and (P,) by name, where the samples hold embeddings instead of captions.
        self.empty_prompt: dict[str, Tensor] | None = getattr(samples, "empty_prompt", None)

    def generators(self, collated: dict[str, Any]) -> list[torch.Generator]:
        places = collated["position"].tolist()
        return [torch.Generator().manual_seed(number_of(self.config.seed, place)) for place in places]

    def training_batch(self, collated: dict[str, Any]) -> tuple[TrainingBatch, Tensor, Tensor]:
        """-> batch, noise (B, N, C), timestep (B,), with some masks and prompts dropped."""
        config, generators = self.config, self.generators(collated)
        without_text = [not drop_text(["text"], self.dropout, generator=generator)[0] for generator in generators]
        batch = self.encode(collated, without_text=without_text)
        tokens, device = batch.condition_tokens, batch.latents.device
        assert tokens is not None
        dropped, timesteps, noise = [], [], []
        for generator in generators:
            dropped.append(dropped_masks(1, tokens.shape[1], self.dropout, generator=generator))
            timesteps.append(
                sample_timesteps(1, mean=config.timestep_mean, std=config.timestep_std, generator=generator)
            )
            noise.append(torch.randn(batch.latents.shape[1:], generator=generator))
        is_black = upload(torch.cat(dropped), device)[..., None, None]
        tokens = torch.where(is_black, self.black.float(), tokens)
        return (
            replace(batch, condition_tokens=tokens),
            upload(torch.stack(noise), device),
            upload(torch.cat(timesteps), device),
        )

    @torch.no_grad()
    def encode(self, collated: dict[str, Any], *, without_text: list[bool] | None = None) -> TrainingBatch:
        """`without_text` (B,): whose prompt is taken for empty; None: nobody's."""
        without_text = without_text or [False] * len(collated["name"])
        tokens = condition_tokens(collated["label_map"], self.pipeline, black_tokens=self.black)
        if self.empty_prompt is not None:
            latents = collated["latents"]
            prompt_embeds, pooled = (
                torch.where(torch.tensor(without_text).view(-1, *[1] * nothing.ndim), nothing, collated[name])
                for name, nothing in ((name, self.empty_prompt[name]) for name in PROMPT)
            )
        else:
            latents = self.pipeline.encode_images(upload(collated["image"], self.pipeline.device) / 255)
            prompts = ["" if no else text for no, text in zip(without_text, collated["caption"], strict=True)]
            prompt_embeds, pooled = self.pipeline.encode_prompt(
                prompts, max_sequence_length=self.pipeline.config.max_sequence_length
            )

        def to_device(tensor: Tensor) -> Tensor:
            return upload(tensor, self.pipeline.device).float()

        return TrainingBatch(
            latents=to_device(latents),
            prompt_embeds=to_device(prompt_embeds),
            pooled_prompt_embeds=to_device(pooled),
            img_ids=self.img_ids,
            txt_ids=torch.zeros(prompt_embeds.shape[1], 3, device=self.pipeline.device),
            condition_tokens=to_device(tokens),
        )
