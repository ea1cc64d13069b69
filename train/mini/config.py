"""Every number that decides what `mini` becomes, in one place."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from train.mini.portraits import FRONTAL, WIDE, World

PHASES = ("flow", "guidance", "decoder", "parser")
SMALLER_ON_CPU = 16


def default_device() -> str:
    import torch  # which the workers, that read settings too, need not wait for

    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Phase:
    """How one phase learns."""

    share: float  # of the time
    batch: int
    learning_rate: float  # AdamW's, after a warm-up of so many steps; then half a cosine over the phase's share
    warmup: int
    average: float  # decay of the exponential moving average of the weights, which is what the phase hands on
    steps: int | None = None  # so many, whatever the time


@dataclass(frozen=True)
class MiniConfig:
    """Sizes, seeds, and what the phases are made of. Batches, learning rates and numbers of portraits are a GPU's."""

    folder: Path = Path("runs/mini")
    # An exported checkpoint to go on from; None: from nothing.
    start_from: Path | None = None
    minutes: float = 15.0
    device: str = field(default_factory=default_device)
    workers: int | None = None  # processes that render; None: by the number of cores
    # Blocks are compiled, and on CUDA whole steps are replayed; False: neither.
    compile: bool = True
    checkpoint_seconds: float = 60.0
    reserve_seconds: float = 20.0  # for the last export and the sheet
    size: int = 256
    seed: int = 0

    # Portraits: how wide the world is that they are drawn from, to learn and to measure; the bundled weights have seen
    # the frontal one alone. Seeds of the training and the unseen split never overlap.
    world: World | None = WIDE
    measured_world: World | None = FRONTAL
    test_seed: int = 10_000_000
    captions_per_portrait: int = 4
    maps_per_portrait: int = 2  # its own, and clumsier ones
    slots: int = 600  # finished portraits that wait for the trainer, for each worker
    pool: int = 100_000  # portraits on the device; the oldest give way
    pool_share: float = 0.3  # at most, of the device's free memory
    first_portraits: int = 1_000  # before the first step
    # So many are chosen of eight for how rare what they show is.
    balanced: float = 0.4

    # Latent code: 8x8 patches, 16 principal components; 0 keeps their variances, 1 makes them all equal.
    latent_channels: int = 16
    equalise_variance: float = 0.6
    vae_widths: tuple[int, ...] = (16, 48, 96, 192)

    text_width: int = 128
    text_length: int = 32
    attention_heads: int = 5
    double_blocks: int = 2
    single_blocks: int = 6
    adapter_rank: int = 32
    timestep_scale: float = 1000.0

    flow: Phase = Phase(share=0.53, batch=256, learning_rate=8e-4, warmup=80, average=0.995)
    guidance: Phase = Phase(share=0.22, batch=256, learning_rate=2e-4, warmup=50, average=0.99)
    decoder: Phase = Phase(share=0.09, batch=96, learning_rate=3e-4, warmup=30, average=0.99)
    parser: Phase = Phase(share=0.16, batch=64, learning_rate=4e-3, warmup=100, average=0.995)

    # What is left out of a sample: its words, a local mask, all masks; and words that become the unknown one.
    text_dropout: float = 0.1
    unknown_words: float = 0.03
    local_mask_dropout: float = 0.1
    all_masks_dropout: float = 0.2
    own_maps: float = 0.75  # share of the samples whose label map is the portrait's own
    # Colours of large places show through most of the noise: only near t = 1 does the text have to say them. Half of
    # the timesteps (sigmoids of normals) are for that, and half for the last steps.
    timestep_mean: float = 1.7
    timestep_std: float = 1.5
    late_timesteps: float = 0.5
    late_mean: float = 0.2
    late_std: float = 1.0
    # Beside the objective: the squared mean error over each class, how far a local expert is from weighing so many
    # times more inside its class than outside, and what the encoders tell of the captions' attributes.
    class_weight: float = 0.5
    specialisation: float = 3.0
    specialisation_weight: float = 0.05
    words_weight: float = 0.1
    text_rate: float = 0.5  # of the learning rate, for the text encoders

    # Guidance is distilled for values from 1 to this; at lower noise levels it changes nothing: the picture has been
    # settled. Without a map also away from what perturbed attention makes: so much of the difference, in full from a
    # guidance of 2 on; at high noise alone, where the layout is settled and colours are not driven astray.
    guidance_max: float = 6.0
    guided_above: float = 0.3
    perturbed: float = 1.5
    perturbed_above: float = 0.7
    without_map: float = 1 / 3  # share of a batch
    portraits_share: float = 0.15  # of a batch, goes on learning from portraits

    redrawn: float = 0.5  # of the decoder's batch: portraits redrawn by the model's own last steps
    redrawn_portraits: int = 12_288
    decoder_portraits: float = 0.625  # of the others; the rest are palette maps and masks
    decoder_latent_noise: float = 0.05

    hard: float = 0.7  # share of the parser's portraits that are made hard, as photographs might show them

    # Sampling: more of the steps where the noise is high, as in training. They are of second order (`scheduler_of`).
    num_inference_steps: int = 4
    sampling_shift: float = 3.0
    guidance_scale: float = 2.5

    # Evaluation: unseen portraits for the main figures, and the first of them for the costlier comparisons; and some of
    # the training split, for what its words for colours look like, and its distribution.
    cases: int = 1_000
    few_cases: int = 200
    seen_cases: int = 1_000
    edits: int = 50

    def phase(self, name: str) -> Phase:
        phase: Phase = getattr(self, name)
        return phase

    def smaller(self) -> "MiniConfig":
        """For a CPU: a sixteenth of the batches and of what waits, at learning rates that noisier gradients allow."""
        changed: dict[str, Any] = {
            name: replace(
                self.phase(name),
                batch=self.phase(name).batch // SMALLER_ON_CPU,
                learning_rate=self.phase(name).learning_rate / math.sqrt(SMALLER_ON_CPU),
            )
            for name in PHASES
        }
        for name in ("slots", "pool", "first_portraits", "redrawn_portraits"):
            changed[name] = getattr(self, name) // SMALLER_ON_CPU
        return replace(self, **changed)

    def settings(self) -> dict[str, str]:
        """What the weights depend on, but not how long and where they are trained."""
        free = {
            "folder", "minutes", "device", "workers", "compile", "checkpoint_seconds", "reserve_seconds", "slots",
            "pool", "pool_share", "first_portraits", "redrawn_portraits", "guidance_scale", "cases", "few_cases",
            "seen_cases", "edits", "measured_world",
        }  # fmt: skip
        values = {name: value for name, value in vars(self).items() if name not in free}
        phases = {name: replace(values[name], share=0.0, steps=None) for name in PHASES}
        return {name: str(value) for name, value in sorted((values | phases).items())}
