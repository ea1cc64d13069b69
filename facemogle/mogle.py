"""Mixture of global and local experts: 20 sets of condition tokens -> one, token by token.

arXiv 2509.00428, section 3.2, and the parts of it that its ablations leave out. B batch, E experts (the global one
first, then one per class), N tokens, C channels.
"""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from facemogle.labels import NUM_CLASSES

EXPERTS = ("both", "global", "local", "none")
GATINGS = ("matrix", "scalar", "static")
# Which of the E condition images and gating weights take part.
PRESENT = {"both": slice(None), "none": slice(None), "global": slice(0, 1), "local": slice(1, None)}


class Expert(nn.Module):
    """Two linear layers; the tokens of one condition image in, the same number out."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))


class GatingNetwork(nn.Module):
    """How much each expert says at each token, given the global mask, the noisy latents and the time.

    kind: "matrix" decides token by token; "scalar" for the whole picture, from the mean over its tokens; "static" has
        learned one weight for each expert and looks at nothing. timestep: whether the first two know the time.
    """

    def __init__(self, channels: int, num_experts: int, kind: str = "matrix", timestep: bool = True):
        super().__init__()
        self.kind = kind
        if kind == "static":
            self.logits = nn.Parameter(torch.zeros(num_experts))
            return
        self.timestep_embedding = None
        if timestep:
            self.time_proj = Timesteps(channels, flip_sin_to_cos=True, downscale_freq_shift=0)
            self.timestep_embedding = TimestepEmbedding(channels, channels)
        self.noise_proj = nn.Linear(channels, channels)
        self.gate = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, num_experts))

    def forward(
        self, global_tokens: Tensor, latents: Tensor, timestep: Tensor, expert_scale: Tensor | None = None
    ) -> Tensor:
        """(B, N, C), (B, N, C), (B,) -> (B, N, E), positive and summing to 1 over the experts.

        `expert_scale` (E,), or (B, 1, E) with each image's own, multiplies the weights before they are made to sum to
        1; 0 mutes an expert.
        """
        logits = self.logits_of(global_tokens, latents, timestep).expand(*latents.shape[:2], -1)
        if expert_scale is not None:
            # softmax(l + log s) = s e^l / sum(s e^l), without 0 / 0 where the muted experts had all of the weight.
            logits = logits + expert_scale.log().to(logits.dtype)
        return logits.softmax(-1)

    def logits_of(self, global_tokens: Tensor, latents: Tensor, timestep: Tensor) -> Tensor:
        """(B, N, E), or with 1 in place of what the gating does not look at."""
        if self.kind == "static":
            return self.logits[None, None]
        seen = global_tokens + self.noise_proj(latents)
        if self.kind == "scalar":
            seen = seen.mean(1, keepdim=True)
        if self.timestep_embedding is not None:
            seen = seen + self.timestep_embedding(self.time_proj(timestep).to(latents.dtype))[:, None]
        return self.gate(seen)


class MoGLE(ModelMixin, ConfigMixin):
    """Blend the expert outputs into one sequence of condition tokens.

    `timestep_scale` multiplies the timestep (0..1) before its embedding. It is 1000 for the published weights; weights
    trained with another scale must be run with the same one.

    experts: "both"; "global" or "local" alone, the others having no weight; or "none": the condition tokens are blended
        as they are. gating_kind, gating_timestep: see GatingNetwork. Whatever is left out, gating weights are of all E.
    """

    # Below half a megabyte: always where the work is done, since the experts run outside `forward`.
    _supports_group_offloading = False

    @register_to_config
    def __init__(
        self,
        num_local_experts: int = NUM_CLASSES,
        channels: int = 64,
        hidden: int = 32,
        timestep_scale: float = 1000.0,
        experts: str = "both",
        gating_kind: str = "matrix",
        gating_timestep: bool = True,
    ):
        super().__init__()
        for name, value, known in (("experts", experts, EXPERTS), ("gating_kind", gating_kind, GATINGS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")
        self.global_expert = Expert(channels, hidden) if experts in ("both", "global") else None
        self.local_experts = nn.ModuleList(
            Expert(channels, hidden) for _ in range(num_local_experts if experts in ("both", "local") else 0)
        )
        self.gating = GatingNetwork(channels, num_local_experts + 1, gating_kind, gating_timestep)

    def expert_outputs(self, condition_tokens: Tensor) -> Tensor:
        """(B, E, N, C) -> the same, of the experts that there are. They know neither latents nor time: once a run."""
        condition_tokens = condition_tokens[:, PRESENT[self.config.experts]]
        nets = [expert.net for expert in (self.global_expert, *self.local_experts) if expert is not None]
        if not nets:
            return condition_tokens

        def linear(x: Tensor, layer: int) -> Tensor:
            weight = torch.stack([net[layer].weight for net in nets])
            bias = torch.stack([net[layer].bias for net in nets])
            return x @ weight.mT + bias[:, None]

        return linear(linear(condition_tokens, 0).relu(), 2)

    def forward(
        self,
        condition_tokens: Tensor,
        latents: Tensor,
        timestep: Tensor,
        expert_outputs: Tensor | None = None,
        expert_scale: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Condition tokens (B, E, N, C), latents (B, N, C), timestep (B,) in 0..1 -> (B, N, C), gating (B, N, E).

        In a sampling loop pass `expert_outputs`, computed once before it. `expert_scale` (E,): see GatingNetwork.
        """
        if expert_outputs is None:
            expert_outputs = self.expert_outputs(condition_tokens)
        present = PRESENT[self.config.experts]
        if present != slice(None):
            expert_scale = self._without_absent(expert_scale, condition_tokens)
        timestep = timestep * self.config.timestep_scale
        gating_weights = self.gating(condition_tokens[:, 0], latents, timestep, expert_scale)
        return torch.einsum("bne,benc->bnc", gating_weights[..., present], expert_outputs), gating_weights

    def _without_absent(self, expert_scale: Tensor | None, condition_tokens: Tensor) -> Tensor:
        """(..., E) or None -> (..., E), 0 for the experts that were left out."""
        present = PRESENT[self.config.experts]
        shape = condition_tokens.shape[1:2] if expert_scale is None else expert_scale.shape
        scale = torch.zeros(shape, device=condition_tokens.device)
        scale[..., present] = 1 if expert_scale is None else expert_scale[..., present].to(scale)
        if expert_scale is not None and not scale.any(-1).all():
            raise ValueError(f"expert_scale mutes all {self.config.experts} experts, and there are no others.")
        return scale

    def enable_group_offload(self, onload_device: torch.device | str, **kwargs) -> None:
        """Stay on `onload_device`: see `_supports_group_offloading`."""
        self.to(onload_device)
