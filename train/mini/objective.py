"""What a step of the denoising phases sees and is judged by; all of it on the device, in shapes that never change.

B batch, N image tokens, C channels, L text tokens, S picture size, E = 20 experts, K = 19 classes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from facemogle.labels import NUM_CLASSES
from train.mini.config import MiniConfig, Phase
from train.mini.latent_code import LatentCode, class_shares
from train.mini.loop import Draw
from train.mini.pool import Pool
from train.objective import add_noise


@dataclass(frozen=True)
class Sampler:
    """Draws samples from the pool, and lets new ones in. All that is random in a step comes from one generator."""

    pool: Pool
    empty: tuple[Tensor, Tensor]  # (1, L) of CLIP's and T5's ids, of a caption that says nothing
    config: MiniConfig

    @torch.no_grad()
    def draw(self, generator: torch.Generator, phase: Phase, *, first_without_map: int | None = None) -> Draw:
        """clip and t5 (B, L), silent (B,), attributes (B, A), clean and noise (B, N, C), timestep and guidance (B,),
        the portraits' own maps and the label maps to go by (B, S, S), dropped (B, E) masks.

        first_without_map: so many of the first samples have no map, in place of each by chance.
        """
        config, pool, count, device = self.config, self.pool, phase.batch, generator.device

        def chance(probability: float, *shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, device=device) < probability

        def number(below: int, start: int = 0) -> Tensor:
            return torch.randint(start, below, (count,), generator=generator, device=device)

        pool.refill(count)
        rows, caption = number(len(pool)), number(config.captions_per_portrait)
        which = torch.where(chance(config.own_maps, count), 0, number(max(2, config.maps_per_portrait), start=1))
        dropped = chance(config.local_mask_dropout, count, NUM_CLASSES + 1)
        dropped[:, 0] = False
        if first_without_map is None:
            without = chance(config.all_masks_dropout, count)
        else:
            without = torch.arange(count, device=device) < first_without_map
        # What is unusual must not be learned from anything that does not tell it: it would come unasked.
        with_map, alone = pool["unusual"][rows].unbind(1)
        silent = chance(config.text_dropout, count) & ~torch.where(without, alone, with_map)
        clip, t5 = (
            torch.where(silent[:, None], empty, pool[name][rows, caption].long())
            for name, empty in zip(("clip", "t5"), self.empty, strict=True)
        )
        clean = pool["latents"][rows].float()
        normal = torch.randn(count, generator=generator, device=device)
        early, late = config.timestep_mean + config.timestep_std * normal, config.late_mean + config.late_std * normal
        return {
            "clip": clip,
            "t5": t5,
            "silent": silent,
            "attributes": pool["attributes"][rows],
            "clean": clean,
            "noise": torch.randn(clean.shape, generator=generator, device=device),
            "timestep": torch.where(chance(config.late_timesteps, count), late, early).sigmoid(),
            "guidance": torch.ones(count, device=device),
            "own_map": pool["label_maps"][rows, 0],
            "label_map": pool["label_maps"][rows, which % config.maps_per_portrait],
            "dropped": dropped | without[:, None],
        }


@dataclass(frozen=True)
class Batch:
    """A draw in the model's terms."""

    condition: Tensor  # (B, E, N, C), dropped masks black
    noisy: Tensor  # (B, N, C)
    target: Tensor  # (B, N, C), the velocity of flow matching
    own_shares: Tensor  # (B, N, K), of the portrait's own map
    seen_shares: Tensor  # (B, N, K), of the map to go by
    known: Tensor  # (B,), whether there is one


@torch.no_grad()
def prepare(draw: Draw, code: LatentCode) -> Batch:
    condition, seen_shares = code.condition(draw["label_map"])
    return Batch(
        condition=torch.where(draw["dropped"][..., None, None], code.black_token, condition),
        noisy=add_noise(draw["clean"], draw["noise"], draw["timestep"]),
        target=draw["noise"] - draw["clean"],
        own_shares=class_shares(draw["own_map"]),
        seen_shares=seen_shares,
        known=~draw["dropped"][:, 0],
    )


def class_error(error: Tensor, shares: Tensor) -> Tensor:
    """(B, N, C) errors, (B, N, K) shares -> the mean square of the errors' mean over each class there is.

    Colours are wrong all over a class; and here hats and lips count as much as the background.
    """
    sizes = shares.sum(1)  # (B, K)
    present = sizes > 0
    means = torch.einsum("bnk,bnc->bkc", shares, error) / sizes.clamp(min=1e-6)[..., None]
    return (means.square().mean(-1) * present).sum() / present.sum()


def unspecialised(gating_weights: Tensor, shares: Tensor, known: Tensor, ratio: float) -> Tensor:
    """How far the local experts are from weighing `ratio` times more inside their class than outside: a hinge.

    (B, N, E) weights, (B, N, K) shares, (B,) samples that have a map (of others gating can know nothing) -> the mean
    over the classes there are, in nats; 0 at the goal.
    """
    local, known = gating_weights[..., 1:], known[:, None, None].to(shares.dtype)
    inside, outside = shares * known, (1 - shares) * known
    present = inside.sum((0, 1)) > 0
    weigh = lambda part: (local * part).sum((0, 1)) / part.sum((0, 1)).clamp(min=1e-6)  # noqa: E731
    logs = [torch.where(present, weigh(part), 1.0).clamp(min=1e-12).log() for part in (inside, outside)]
    missing = (math.log(ratio) + logs[1] - logs[0]).relu()
    return (missing * present).sum() / present.sum().clamp(min=1)


def losses(
    velocity: Tensor, gating_weights: Tensor, target: Tensor, guidance: Tensor, batch: Batch, config: MiniConfig
) -> dict[str, Tensor]:
    """The loss and its parts, all scalars."""
    error = (target - velocity) * guidance.rsqrt()[:, None, None]  # it grows with the guidance
    square, by_class = error.square().mean(), class_error(error, batch.own_shares)
    missing = unspecialised(gating_weights.float(), batch.seen_shares, batch.known, config.specialisation)
    loss = square + config.class_weight * by_class + config.specialisation_weight * missing
    return {"loss": loss, "square": square, "by_class": by_class, "specialisation": missing}
