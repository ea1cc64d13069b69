"""Every setting of a training run, read from YAML once: `--config FILE --set key=value`."""

import argparse
import contextlib
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from facemogle.whole_files import whole_file


@dataclass(frozen=True)
class TrainingConfig:
    """The defaults are the paper's (arXiv 2509.00428) where it gives a value. Steps are steps of the optimiser."""

    # What learns from what. Exactly one of cache and data.
    checkpoint: str = "mini"  # the base: a checkpoint's name, a folder, or a Hub id
    cache: str = ""  # a folder that `python -m train.cache` wrote
    data: str = ""  # or a folder of pictures, label maps and captions, encoded anew at every step
    classes: str = ""  # with data: the order of its classes where that is not ours, by name or as a table in a file
    output: str = "runs/train"  # checkpoints, log, validation pictures, and the weights at the end
    height: int = 512
    width: int = 512
    flip: float = 0.0  # with data: share of the samples that are mirrored, left and right classes swapped
    on_error: Literal["raise", "skip"] = "raise"  # with data: what a file that cannot be read does

    # The weights that learn.
    from_checkpoint: bool = False  # go on from the checkpoint's own adapter and MoGLE, instead of new ones
    train_base: bool = False  # the base learns on beside them; the paper freezes it
    rank: int = 4
    alpha: float = 4.0
    experts: Literal["both", "global", "local", "none"] = "both"
    gating: Literal["matrix", "scalar", "static"] = "matrix"
    gating_timestep: bool = True  # the gating knows the time
    timestep_scale: float = 1000.0  # of the time that the gating sees, which runs from 0 to this

    # The objective.
    text_dropout: float = 0.1
    local_mask_dropout: float = 0.1
    all_masks_dropout: float = 0.1  # all masks of a sample together; 0 reproduces the reference
    guidance: float = 1.0  # what a distilled base is told
    timestep_mean: float = 0.0  # of the normal whose sigmoid is the timestep
    timestep_std: float = 1.0

    # Optimisation. A step takes batch * accumulation samples in every process.
    steps: int = 10_000
    batch: int = 4
    accumulation: int = 1
    optimizer: Literal["prodigy", "adamw", "adamw8bit"] = "prodigy"
    learning_rate: float = 1.0  # of Prodigy, which finds the size of the steps by itself; of AdamW about 1e-4
    weight_decay: float = 0.01
    schedule: Literal["constant", "linear", "cosine"] = "constant"  # after the warm-up; the others descend to 0
    warmup_steps: int = 0
    max_gradient_norm: float = 1.0
    ema_decay: float = 0.999  # of the averaged weights, which are what is validated and published; 0: no averaging

    # The machine.
    # Of the base; what learns is always float32. auto: bfloat16 on CUDA, float32 elsewhere.
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    quantise: Literal["none", "8bit", "4bit"] = "none"  # the frozen base, by bitsandbytes
    shard_base: bool = False  # in many processes (FSDP2), each keeps but its part of the frozen blocks
    gradient_checkpointing: bool = False  # a third more time, a fraction of the memory
    compile: bool = False  # the blocks, by torch.compile: faster, after a minute; on a CPU it takes a C++ compiler
    workers: int = 2  # processes that read samples
    seed: int = 0

    # The run.
    log_every: int = 10  # steps between looks at the loss, each of which waits for the device
    checkpoint_every: int = 500
    keep_checkpoints: int = 2  # the last ones, beside the best by validation loss
    validation_samples: int = 8  # held out of training, the last of the data
    validation_every: int = 500  # 0: never
    validation_pictures: int = 4  # drawn at each validation, of the samples held out
    tracker: Literal["auto", "none", "tensorboard", "wandb", "trackio"] = "auto"  # auto: tensorboard if installed

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(TrainingConfig).items():
            object.__setattr__(self, name, typed(name, getattr(self, name), kind))
        if bool(self.cache) == bool(self.data):
            raise ValueError("A run reads either cache or data: set one of the two to a folder.")
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low:g} to {high:g}, got {getattr(self, name)}.")
        if self.cache and self.flip:
            raise ValueError("What is in a cache cannot be mirrored: set flip to 0, or data in place of cache.")
        if self.train_base and self.quantise != "none":
            raise ValueError(f"quantise={self.quantise} needs a frozen base: set train_base or quantise back.")
        if self.shard_base and (self.train_base or self.quantise != "none"):
            raise ValueError("shard_base spreads a frozen base that is not quantised: set one of them back.")
        if self.validation_every and not max(1, self.validation_pictures) <= self.validation_samples:
            raise ValueError(
                f"Validation takes samples: {self.validation_samples} are held out, for {self.validation_pictures} "
                "pictures. Raise validation_samples, or set validation_every to 0."
            )

    def save(self, path: Path) -> None:
        with whole_file(path) as part:
            part.write_text(yaml.safe_dump(asdict(self), sort_keys=False))


_MANY = float(2**53)
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("height", "width", "rank", "steps", "batch", "accumulation", "log_every"), (1, _MANY)),
    **dict.fromkeys(("checkpoint_every", "keep_checkpoints"), (1, _MANY)),
    **dict.fromkeys(("warmup_steps", "workers", "seed", "validation_every", "validation_pictures"), (0, _MANY)),
    **dict.fromkeys(("validation_samples", "weight_decay", "guidance", "timestep_std", "timestep_scale"), (0, _MANY)),
    **dict.fromkeys(("alpha", "learning_rate", "max_gradient_norm"), (1e-12, _MANY)),
    **dict.fromkeys(("flip", "text_dropout", "local_mask_dropout", "all_masks_dropout"), (0, 1)),
    "ema_decay": (0, 1),
}


def typed(name: str, value: Any, kind: Any) -> Any:
    """`value` as a field's type: an integer will do for a float, and 1e-4, which YAML takes for text. ValueError."""
    if get_origin(kind) is Literal:
        if value in get_args(kind) and isinstance(value, str):
            return value
        raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}.")
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            value = float(value)
    if type(value) is not kind:
        raise ValueError(f"{name} must be {READABLE[kind]}, got {value!r}.")
    return value


READABLE = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def config_of(settings: Mapping[str, Any]) -> TrainingConfig:
    """ValueError for a key that does not exist, with the nearest that does, and for a value of another type."""
    known = [field.name for field in fields(TrainingConfig)]
    for name in settings:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known are {', '.join(known)}."
            raise ValueError(f"There is no setting {name!r}.{hint}")
    return TrainingConfig(**settings)


def read_config(path: Path, changes: Sequence[str] = ()) -> TrainingConfig:
    """A YAML file of settings, then `changes`, each "key=value". ValueError names the file or the change."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"The config {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"The config {path} must hold lines of `key: value`, got {type(settings).__name__}.")
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"--set takes key=value, got {change!r}.")
        is_text = get_type_hints(TrainingConfig).get(name.strip()) is str
        settings[name.strip()] = value if is_text else yaml.safe_load(value)
    return config_of(settings)


def parse_arguments(arguments: Sequence[str] | None = None) -> TrainingConfig:
    parser = argparse.ArgumentParser(
        prog="python -m train.train",
        description="Train the LoRA and MoGLE. The same command again goes on where the run in its output folder is.",
    )
    parser.add_argument("--config", type=Path, required=True, help="a YAML file, such as train/configs/mini.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting; repeatable")
    parsed = parser.parse_args(arguments)
    try:
        return read_config(parsed.config, parsed.set)
    except ValueError as error:
        parser.error(str(error))
