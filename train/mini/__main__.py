"""Build the bundled checkpoint: `python -m train.mini STAGE`. Every stage is seeded and resumes where it stopped."""

import argparse
from dataclasses import fields, replace
from pathlib import Path

import torch

from train.mini import adapter, base, examples, export, parser, report, samples, vae, words
from train.mini.config import MiniConfig
from train.mini.latent_code import encode_portraits


def portraits(config: MiniConfig) -> None:
    samples.render_all(config)


def pictures(config: MiniConfig) -> None:
    samples.write_pictures(samples.load(config, "train"), config.folder / "pictures")


def linear(config: MiniConfig) -> None:
    vae.build_linear(samples.load(config, "train", limit=2_000), config)


def decoder(config: MiniConfig) -> None:
    vae.train_decoder(samples.load(config, "train"), config)


def train_parser(config: MiniConfig) -> None:
    parser.train_parser(samples.load(config, "train"), config)


def train_words(config: MiniConfig) -> None:
    words.train_words(samples.load(config, "train"), config)


def train_base(config: MiniConfig) -> None:
    base.train_base(*with_latents(config), config)


def train_adapter(config: MiniConfig) -> None:
    adapter.train_adapter(*with_latents(config), config)


def export_both(config: MiniConfig) -> None:
    export.export(config)
    parser.export_parser(config)


def with_latents(config: MiniConfig) -> tuple[samples.Samples, torch.Tensor]:
    portraits = samples.load(config, "train")
    return portraits, encode_portraits(vae.load_code(config), portraits)


STAGES = {
    "portraits": portraits,
    "pictures": pictures,
    "linear": linear,
    "decoder": decoder,
    "words": train_words,
    "base": train_base,
    "adapter": train_adapter,
    "parser": train_parser,
    "export": export_both,
    "adopt": export.adopt,
    "examples": examples.write_examples,
    "report": report.report,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m train.mini", description=__doc__)
    parser.add_argument("stage", choices=[*STAGES])
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument(
        "--set", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="change a setting"
    )
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    STAGES[arguments.stage](changed(MiniConfig(), dict(arguments.set)))


def changed(config: MiniConfig, settings: dict[str, str]) -> MiniConfig:
    """The config with settings given as text, each read as the type of its default."""
    unknown = set(settings) - {field.name for field in fields(config)}
    if unknown:
        raise SystemExit(f"Unknown settings: {', '.join(sorted(unknown))}. train/mini/config.py lists them.")
    kinds = {name: type(getattr(config, name)) for name in settings}
    if unreadable := [
        name for name, kind in kinds.items() if not issubclass(kind, (int, float, str, Path)) or kind is bool
    ]:
        raise SystemExit(f"{', '.join(unreadable)} cannot be set here: edit train/mini/config.py.")
    return replace(config, **{name: kinds[name](value) for name, value in settings.items()})


if __name__ == "__main__":
    main()
