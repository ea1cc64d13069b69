"""Every number that decides what `mini` becomes, in one place."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

STAGES = ("decoder", "words", "base", "adapter", "parser")


@dataclass(frozen=True)
class MiniConfig:
    """Sizes, seeds and step counts of all stages. Steps are optimiser steps; learning rates are AdamW's."""

    folder: Path = Path("runs/mini")
    # An exported checkpoint to go on from: its encoders, transformer, adapter and MoGLE take the place of the base's.
    start_from: Path = Path("none")
    # A run of train.train on the exported checkpoint, whose adapter and MoGLE are to take the place of its own.
    adapter_run: Path = Path("runs/mini-adapter")
    size: int = 256
    seed: int = 0

    # Portraits: seeds of the training and the unseen split never overlap.
    train_portraits: int = 14_000
    test_portraits: int = 1_000
    captions_per_portrait: int = 4
    shard: int = 500
    test_seed: int = 10_000_000
    # How the stages words and adapter draw them: 0 evenly; more, those with rare attributes more often.
    attribute_balance: float = 3.0

    # Latent code: 8x8 patches, 16 principal components; 0 keeps their variances, 1 makes them all equal.
    latent_channels: int = 16
    equalise_variance: float = 0.6
    vae_widths: tuple[int, ...] = (16, 48, 96, 192)
    decoder_steps: int = 850
    decoder_batch: int = 8
    decoder_portraits: float = 0.625  # of a batch; the rest are palette maps and masks
    decoder_learning_rate: float = 2e-4
    decoder_latent_noise: float = 0.05
    decoder_redrawn: float = 0.0  # of a batch: portraits redrawn by the checkpoint to go on from, in its last steps
    decoder_redrawn_steps: int = 3  # at most so many of num_inference_steps

    # Text encoders: first on captions and attributes alone, then with the transformer.
    text_width: int = 128
    text_length: int = 32
    words_steps: int = 2_000
    words_batch: int = 128
    words_learning_rate: float = 1e-3
    words_anchor: float = 1.0  # going on from a checkpoint: how much its encoders' outputs are held

    # Base transformer.
    # Colours of large places show through most of the noise: only near t = 1 does the text have to say them.
    timestep_mean: float = 1.4
    timestep_std: float = 1.5
    text_dropout: float = 0.1
    unknown_words: float = 0.03
    attention_heads: int = 5
    double_blocks: int = 2
    single_blocks: int = 6
    base_steps: int = 3_800
    base_batch: int = 32
    base_learning_rate: float = 1e-3

    # Condition adapter and MoGLE; the paper freezes the base under them, here it learns on.
    adapter_rank: int = 32
    adapter_steps: int = 1_600
    adapter_batch: int = 10
    adapter_learning_rate: float = 4e-4
    # Over 1: the base of a checkpoint to go on from is distilled, as FLUX.1-dev's was, to take guidance as a number:
    # one pass learns what two passes of that checkpoint make, under a guidance drawn from 1 to this. At lower noise
    # levels guidance changes nothing: the picture has been settled.
    adapter_guidance: float = 1.0
    adapter_guided_above: float = 0.3
    # Without a map, also away from what attention that is perturbed makes: so much of the difference, in full from a
    # guidance of 2 on; at high noise alone, where the picture's layout is settled and colours are not driven astray.
    adapter_perturbed: float = 0.0
    adapter_perturbed_above: float = 0.7
    # Beside the paper's objective: a local expert shall weigh so many times more inside its class than outside.
    adapter_specialisation: float = 3.0
    adapter_specialisation_weight: float = 0.05
    adapter_class_weight: float = 0.5  # beside the mean over the picture: of the squared mean error over each class
    timestep_scale: float = 1000.0
    local_mask_dropout: float = 0.1
    all_masks_dropout: float = 0.1
    map_augmentation: float = 0.5  # `augment` itself leaves about half of the maps as they are

    # The network that reads label maps from portraits.
    parser_steps: int = 2_400
    parser_batch: int = 8
    parser_learning_rate: float = 4e-3

    # Sampling: more of the steps where the noise is high, as in training.
    num_inference_steps: int = 8
    sampling_shift: float = 4.0
    guidance_scale: float = 2.5

    # Evaluation: unseen portraits for the main figures, and the first of them for the costlier comparisons.
    cases: int = 1_000
    few_cases: int = 200
    edits: int = 50

    checkpoint_seconds: float = 60.0
    compile: bool = True
    device: str = field(default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu")

    def settings_of(self, stage: str) -> dict[str, str]:
        """What a stage's weights depend on: the common settings and its own, but not how long and where it trains."""
        free = {
            "folder",
            "start_from",
            "adapter_run",
            "compile",
            "device",
            "checkpoint_seconds",
            "num_inference_steps",
            "sampling_shift",
            "guidance_scale",
            "cases",
            "few_cases",
            "edits",
            f"{stage}_steps",
        }
        others = tuple(f"{other}_" for other in STAGES if other != stage)
        names = {name for name in vars(self) if name not in free and not name.startswith(others)}
        return {name: str(getattr(self, name)) for name in sorted(names)}
