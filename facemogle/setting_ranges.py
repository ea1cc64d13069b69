"""What the settings of a checkpoint may be: bounds that no sensible model leaves, so that no hostile one takes a disk
or a memory, and a text in the place of a number is told before it reaches a formula."""

from collections.abc import Iterator
from typing import Any

_ANY = (-1e9, 1e9)  # of numbers without a line of their own
_WIDTH, _DEPTH = (1, 65_536), (0, 256)

# Lists hold such numbers.
RANGES: dict[str, tuple[float, float]] = {
    # model_index.json
    **dict.fromkeys(("height", "width", "sample_size"), (8, 16_384)),
    "num_inference_steps": (1, 1_000),
    "guidance_scale": (0, 1_000),
    "max_sequence_length": (2, 4_096),
    # transformer, vae, mogle, parsers
    **dict.fromkeys(("num_layers", "num_single_layers", "num_hidden_layers", "num_decoder_layers"), _DEPTH),
    **dict.fromkeys(("layers_per_block", "depths", "patch_size", "patch_sizes", "num_encoder_blocks"), (1, 64)),
    **dict.fromkeys(("attention_head_dim", "axes_dims_rope", "num_attention_heads", "num_heads"), (1, 1_024)),
    **dict.fromkeys(("in_channels", "out_channels", "latent_channels", "channels", "norm_num_groups"), (1, 8_192)),
    **dict.fromkeys(("block_out_channels", "hidden", "joint_attention_dim", "pooled_projection_dim"), _WIDTH),
    "num_local_experts": (1, 1_000),
    "timestep_scale": (0, 1e6),
    "scaling_factor": (1e-6, 1e6),
    # text encoders
    **dict.fromkeys(("hidden_size", "hidden_sizes", "intermediate_size", "projection_dim"), _WIDTH),
    **dict.fromkeys(("d_model", "d_ff", "d_kv", "max_position_embeddings", "n_positions"), _WIDTH),
    **dict.fromkeys(("relative_attention_num_buckets", "relative_attention_max_distance"), _WIDTH),
    "vocab_size": (1, 4_000_000),
    # scheduler
    "num_train_timesteps": (1, 100_000),
    **dict.fromkeys(("shift", "base_shift", "max_shift"), (0, 1_000)),
    **dict.fromkeys(("base_image_seq_len", "max_image_seq_len"), (1, 1e6)),
}
# What does without a value; of the others of RANGES, none is null.
_NULL = {"out_channels", "sample_size", "num_decoder_layers", "patch_size", "projection_dim"}


def require_sane(settings: dict[str, Any]) -> None:
    """ValueError names the first setting that has no sensible value."""
    for name, value in settings.items():
        low, high = RANGES.get(name, _ANY)
        for each in _leaves(value):
            if name in RANGES:
                sane = (each is None and name in _NULL) or (type(each) in (int, float) and low <= each <= high)
            else:  # texts and nulls mean what they may
                sane = not isinstance(each, (int, float)) or low <= each <= high
            if not sane:  # NaN is within no bounds
                raise ValueError(f"{name} must be a number from {low:,g} to {high:,g}, got {str(each)[:40]!r}.")


def _leaves(value: Any) -> Iterator[Any]:
    """The values in lists and objects of JSON, however deep."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, (list, dict)):
            pending += each.values() if isinstance(each, dict) else each
        else:
            yield each
