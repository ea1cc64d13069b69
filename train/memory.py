"""What a training run takes of a GPU's memory, counted without one: `python -m train.memory --config FILE`.

The run's own modules are built without storage, and its own forward pass runs on tensors that have shapes alone: every
number but one, the allowance for CUDA itself, is a sum over tensors. Sizes in bytes.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from facemogle.checkpoints import CHECKPOINTS, FLUX
from facemogle.random_flux import FLUX_PARTS, Architecture
from facemogle.transformer import FaceMoGLETransformer2DModel
from train.building import Trained, base_dtype, freeze_idle
from train.config import TrainingConfig, read_config
from train.counting import activations, build, encoding

CARDS = (24, 40, 80)  # GiB
SPREAD = (2, 4, 8)  # cards
QUANTISED: tuple[Literal["none", "8bit", "4bit"], ...] = ("none", "8bit", "4bit")
CUDA = 1 << 30  # assumed: CUDA's context, its libraries' workspaces, and gaps between tensors


def architecture(checkpoint: str) -> Architecture:
    """From a checkpoint's folder, or FLUX.1-dev's by heart. ValueError for a folder that is no pipeline."""
    base = CHECKPOINTS[checkpoint].base if checkpoint in CHECKPOINTS else checkpoint
    if base == FLUX:
        return FLUX_PARTS
    folder = Path(base).expanduser()
    parts = {name: folder / name / "config.json" for name in FLUX_PARTS} | {"pipeline": folder / "model_index.json"}
    try:
        found = {name: json.loads(file.read_text()) for name, file in parts.items()}
    except (OSError, ValueError) as error:
        raise ValueError(f"{base} can be planned for only as a folder on this disk: {error}") from error
    return found | {"pipeline": FLUX_PARTS["pipeline"] | found["pipeline"]}


def weights(parts: Architecture, config: TrainingConfig) -> dict[str, int]:
    """What lies on the card all the time."""
    pipeline = build(parts, config, "meta")
    trained = Trained(pipeline, config)
    idle = idle_parameters(parts, config)
    learning = trained.learning()
    moving = [parameter for name, parameter in learning.items() if name not in idle]
    texts = [part for part in (pipeline.text_encoder, pipeline.text_encoder_2) if part is not None]
    return {
        "base, frozen": sum(base_sizes(pipeline.transformer, config.quantise)),
        "one layer of it, unpacked": largest_layer(pipeline.transformer) if config.quantise != "none" else 0,
        "VAE": size(pipeline.vae.parameters()),
        "text encoders": sum(size(part.parameters()) for part in texts),
        "what learns, in float32": size(learning.values()),
        "its gradients": size(moving),
        f"its state in {config.optimizer}": sum(state_size(parameter, config.optimizer) for parameter in moving),
        "its averages": size(moving),
    }


def size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def base_sizes(transformer: FaceMoGLETransformer2DModel, quantise: str) -> Iterator[int]:
    """Of each frozen parameter, as it is stored."""
    packed = {f"{name}.weight" for name, module in transformer.named_modules() if isinstance(module, nn.Linear)}
    for name, parameter in transformer.named_parameters():
        if parameter.requires_grad:
            continue
        if quantise == "none" or name not in packed or "blocks." not in name:
            yield parameter.nbytes
        elif quantise == "8bit":
            yield parameter.numel() + 4 * len(parameter)  # a float32 scale for each row
        else:
            yield parameter.numel() // 2 + 4 * -(-parameter.numel() // 64)  # and for each 64 values


def spread(transformer: FaceMoGLETransformer2DModel, cards: int) -> tuple[int, int]:
    """With shard_base, what each card keeps of the frozen base, and what it holds besides while it computes.

    The blocks are spread; whole are at most two of them at a time, the one at work and the next one, which is fetched.
    """
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    sizes = [sum(each.nbytes for each in block.parameters() if not each.requires_grad) for block in blocks]
    kept = sum(base_sizes(transformer, "none")) - sum(sizes) + -(-sum(sizes) // cards)
    return kept, 2 * max(sizes)


def largest_layer(transformer: FaceMoGLETransformer2DModel) -> int:
    return max(module.weight.nbytes for module in transformer.modules() if isinstance(module, nn.Linear))


def state_size(parameter: Tensor, optimizer: str) -> int:
    """Of what an optimiser keeps of a parameter: two averages; Prodigy the start and a sum besides."""
    copies = {"adamw": 2, "adamw8bit": 2, "prodigy": 4}[optimizer]
    if optimizer == "adamw8bit" and parameter.numel() >= 4096:  # bitsandbytes leaves small ones alone
        return copies * (parameter.numel() + 4 * -(-parameter.numel() // 256))
    return copies * 4 * parameter.numel()


def idle_parameters(parts: Architecture, config: TrainingConfig) -> list[str]:
    """Names of what the run will find that no gradient reaches: found in the same layers, a few channels wide."""
    transformer = {"num_attention_heads": 1, "attention_head_dim": 8, "axes_dims_rope": (4, 2, 2)}
    transformer |= {"joint_attention_dim": 8, "pooled_projection_dim": 8}
    vae = {"block_out_channels": (8,) * len(parts["vae"]["block_out_channels"]), "norm_num_groups": 4}
    narrow = parts | {"transformer": parts["transformer"] | transformer, "vae": parts["vae"] | vae}
    config = replace(config, cache="none is read", data="", precision="float32", gradient_checkpointing=False)
    return freeze_idle(Trained(build(narrow, config, "cpu"), config), None)


def plan(parts: Architecture, config: TrainingConfig, steps: dict[bool, int]) -> dict[str, int]:
    """What lies on the card when it holds most, by what it is. `steps`: of `activations`."""
    # A step's inputs are encoded before its forward pass, and leave nothing but themselves.
    largest = max(steps[config.gradient_checkpointing], encoding(parts, config))
    return weights(parts, config) | {"activations": largest, "CUDA itself (assumed)": CUDA}


def alternatives(
    parts: Architecture, config: TrainingConfig, steps: dict[bool, int]
) -> Iterator[tuple[str, bool, int, int]]:
    """Every kind of base, without and with gradient checkpointing: in all, from a cache and from pictures."""
    cached, pictured = replace(config, cache="a cache", data=""), replace(config, cache="", data="pictures")
    encodings = encoding(parts, cached), encoding(parts, pictured)
    texts = weights(parts, pictured)["text encoders"]
    for quantise in QUANTISED[: 1 if config.train_base else None]:
        lasting: int = sum(weights(parts, replace(cached, quantise=quantise)).values()) + CUDA
        for checkpointing, step in steps.items():
            yield quantise, checkpointing, lasting + max(step, encodings[0]), lasting + texts + max(step, encodings[1])


def card(total: int) -> str:
    """The smallest that holds so many bytes."""
    return next((f"{size} GB" for size in CARDS if total <= size << 30), f"over {CARDS[-1]} GB")


def lines(config: TrainingConfig) -> Iterator[str]:
    """The plan in words. ValueError as `architecture`."""
    parts = architecture(config.checkpoint)
    half = str(base_dtype(config, "cuda")).removeprefix("torch.")
    source = "from a cache" if config.cache else "from pictures"
    yield f"{config.checkpoint}, {config.height}x{config.width}, batch {config.batch}, rank {config.rank}, {source}"
    yield "GB of 2**30 bytes, on each card:"
    yield ""
    steps = activations(parts, config)
    rows = plan(parts, config, steps)
    total = sum(rows.values())
    yield from (f"{name:<28}{number / 2**30:>8.2f}" for name, number in rows.items() if number)
    yield f"{'in all':<28}{total / 2**30:>8.2f}   card: {card(total)}"
    yield ""
    if config.shard_base:
        transformer = build(parts, config, "meta").transformer
        for cards in SPREAD:
            kept, gathered = spread(transformer, cards)
            each = total - rows["base, frozen"] + kept + gathered
            yield (
                f"spread over {cards} cards, each keeps {kept / 2**30:.1f} of the base, gathers {gathered / 2**30:.1f}"
                f", and holds {each / 2**30:.1f} in all   card: {card(each)}"
            )
        return
    yield f"{'base':<10}{'gradient checkpointing':<24}{'from a cache':<22}from pictures"
    for quantise, checkpointing, *totals in alternatives(parts, config, steps):
        base = half if quantise == "none" else quantise
        cells = "".join(f"{number / 2**30:>6.1f}  {card(number):<14}" for number in totals)
        yield f"{base:<10}{'yes' if checkpointing else 'no':<24}{cells}".rstrip()


def main(argv: Sequence[str] | None = None) -> int:
    """-> the exit code: 0, 2 after an error that is explained."""
    parser = argparse.ArgumentParser(prog="python -m train.memory", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="a YAML file, such as train/configs/flux.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting; repeatable")
    arguments = parser.parse_args(argv)
    try:
        print(*lines(read_config(arguments.config, arguments.set)), sep="\n")
    except ValueError as error:
        print(f"train.memory: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
