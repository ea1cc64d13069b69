"""What each expert does to a picture: the run once more with that expert muted, and what became different.

Gating weights tell how loud an expert is, not what would be missing without it. K experts, (H, W) pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from facemogle.gating import EXPERTS
from facemogle.masks import resize_nearest

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ExpertEffects:
    """A run's picture, and for each of K experts the picture of the same run without it."""

    image: Image.Image
    experts: tuple[str, ...]
    muted: tuple[Image.Image, ...]

    @property
    def changes(self) -> np.ndarray:
        """(K, H, W) float32 in 0..1: the mean over red, green and blue of how far each pixel moved, of 255."""
        whole = np.asarray(self.image, np.float32)
        return np.stack([np.abs(np.asarray(each, np.float32) - whole).mean(2) / 255 for each in self.muted])

    def ranked(self) -> list[tuple[str, float]]:
        """Experts and the mean change of the picture, in 0..1, that with the most effect first."""
        means = self.changes.mean((1, 2)).tolist()
        return sorted(zip(self.experts, means, strict=True), key=lambda pair: -pair[1])

    def inside_outside(self, label_map: np.ndarray) -> np.ndarray:
        """(H', W') class ids -> (K, 2): the mean change in 0..1 where the expert's class is, and elsewhere.

        NaN for the global expert, and where a class is nowhere or everywhere.
        """
        class_ids = resize_nearest(label_map, self.image.height, self.image.width)
        values = np.full((len(self.experts), 2), np.nan)
        for row, (name, change) in enumerate(zip(self.experts, self.changes, strict=True)):
            inside = class_ids == EXPERTS.index(name) - 1
            if inside.any() and not inside.all():
                values[row] = change[inside].mean(), change[~inside].mean()
        return values


class ExpertEffectsMixin:
    """For a pipeline whose runs take noise as `latents`, and an `expert_scale` for each image."""

    def expert_effects(
        self: Any,
        prompt: str | None = None,
        *,
        experts: Sequence[str] = EXPERTS,
        expert_scale: Mapping[str, float] | None = None,
        generator: "torch.Generator | None" = None,
        latents: "torch.Tensor | None" = None,
        batch_size: int = 4,
        on_picture: Callable[[ExpertEffects], None] | None = None,
        **arguments: Any,
    ) -> ExpertEffects:
        """A run of one picture, and that run again without each of the experts, from the same noise.

        experts: names from gating.EXPERTS; those that `expert_scale` mutes already are left out. batch_size: pictures
        made at once. on_picture: called after every batch with what there is. The rest is the pipeline's: fewer
        num_inference_steps take less time. Where it is interrupted, the batches that were finished are the result.

        ValueError as the pipeline's, or where no expert can be muted.
        """
        given = dict(expert_scale or {})
        names = [name for name in EXPERTS if name in experts and given.get(name, 1.0)]
        if unknown := sorted(set(experts) - set(EXPERTS)):
            raise ValueError(f"There are no experts {unknown}. They are {', '.join(EXPERTS)}.")
        if len([name for name in EXPERTS if given.get(name, 1.0)]) < 2 or not names:
            raise ValueError("No expert is left to be muted: the run mutes them. Name others, or mute fewer in it.")
        if latents is None:
            latents = self.noise(generator, arguments.get("height"), arguments.get("width"))

        def run(scales: list[Mapping[str, float]]) -> list[Image.Image]:
            noise = latents.expand(len(scales), -1, -1)
            return self(prompt, expert_scale=scales, latents=noise, **arguments).images

        (image,) = run([given])
        effects = ExpertEffects(image, (), ())
        for start in range(0, len(names), batch_size):
            if self.interrupt:
                break
            batch = names[start : start + batch_size]
            pictures = run([given | {name: 0.0} for name in batch])
            if self.interrupt:
                break
            effects = ExpertEffects(image, (*effects.experts, *batch), (*effects.muted, *pictures))
            if on_picture is not None:
                on_picture(effects)
        return effects
