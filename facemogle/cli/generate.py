"""`python -m facemogle generate`: a face from a prompt, a label map or both, or a change of a picture."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facemogle.checkpoints import load_pipeline, prompt_words
from facemogle.cli.arguments import (
    CLASSES_HELP,
    LABEL_MAP_HELP,
    add_command,
    classes,
    device,
    expert_factor,
    keep_apart,
    lora,
    output_path,
    picture_path,
    positive,
    read_and_report,
    seed,
    size,
    steps,
    words,
)
from facemogle.gating import GatingRecord, save_gating
from facemogle.parsing.photos import read_photo
from facemogle.picture_files import CARRYING, MAX_SEED, Settings, read_settings, write_picture
from facemogle.picture_formats import save_picture
from facemogle.presets import CONDITION_REFRESH_HELP, PRESET_HELP, PRESETS, STEP_CACHE_CHOICES, STEP_CACHE_HELP
from facemogle.region_files import read_region

_GENERATE_HELP = f"""\
{LABEL_MAP_HELP}
examples:
  text and map:   python -m facemogle generate --prompt "a woman with red hair" --label-map map.png --out face.png
  map only:       python -m facemogle generate --label-map map.png --out face.png
  text only:      python -m facemogle generate --prompt "a man with a black hat" --out face.png
  four seeds:     python -m facemogle generate --label-map map.png --num-images 4 --seed 7 --out face.png
  and the why:    python -m facemogle generate --label-map map.png --out face.png --gating gating.npz
                  python -m facemogle gating gating.npz --face face.png --out grid.png
  less of hair:   python -m facemogle generate --label-map map.png --expert-scale hair=0.5 --out face.png
  once more:      python -m facemogle generate --from face.png --out again.png
  but older:      python -m facemogle generate --from face.png --prompt "an old woman" --out older.png
  change a part:  python -m facemogle generate --image photo.png --source-map old.png --label-map map.png --out new.png
  a part by mask: python -m facemogle generate --image photo.png --region hair.png --prompt "red hair" --out new.png
  the whole:      python -m facemogle generate --image photo.png --strength 0.6 --prompt "an old man" --out new.png
  in a style:     python -m facemogle generate --checkpoint flux --lora ink.safetensors:0.8 --prompt "a man" --out a.png
  FLUX.1-dev:     python -m facemogle generate --checkpoint flux --label-map map.png --out face.png
"""
_FROM_HELP = "take all but --adapter and --mogle from this picture's settings; options given here come before them"
_IMAGE_HELP = "change this picture instead of drawing a new one: resized to --size, and exact where it may not change"
_SOURCE_HELP = "the label map of --image as it is: it may change where --label-map differs, and a little around"
_REGION_HELP = "instead of --source-map: where --image may change, in white on black, or opaque"
_STRENGTH_HELP = "how much of --image is drawn anew where it may change, over 0 up to 1 (default: 1)"
_NUM_IMAGES_HELP = "over 1: of as many seeds, from --seed upwards, written as NAME-0.png, NAME-1.png, ..."
_EXPERT_SCALE_HELP = "an expert's weight times S: hair=0 mutes hair, global=2 doubles the global one; may be repeated"
_LORA_HELP = "a LoRA of the base, such as a style, in any naming; its scale behind a colon, 0 for none; may be repeated"
# What the checkpoint decides is not among them.
_DEFAULTS = {
    "prompt": "", "label_map": None, "seed": 0, "condition_scale": 1.0, "expert_scale": None, "checkpoint": "mini",
    "strength": None, "loras": None,
}  # fmt: skip


def add_generate(commands) -> None:
    summary = "a face from a prompt, a label map or both"
    command = add_command(commands, "generate", run_generate, summary, _GENERATE_HELP)
    add = command.add_argument
    longest = f" (mini reads {count} words of it)" if (count := prompt_words("mini")) else ""
    what = f"what the face looks like{longest}; none: the label map alone decides"
    add("--prompt", type=words, help=what)
    add("--label-map", type=Path, metavar="PNG", help="where things are (see below); none: the text alone decides")
    add("--classes", type=classes, metavar="NAME", help=CLASSES_HELP)
    add("--image", type=Path, metavar="PNG", help=_IMAGE_HELP)
    region = command.add_mutually_exclusive_group()
    region.add_argument("--source-map", type=Path, metavar="PNG", help=_SOURCE_HELP)
    region.add_argument("--region", type=Path, metavar="PNG", help=_REGION_HELP)
    add("--strength", type=float, metavar="S", help=_STRENGTH_HELP)
    add("--from", dest="source", type=Path, metavar="PNG", help=_FROM_HELP)
    add("--out", type=picture_path, required=True, metavar="PNG", help="the picture; PNG and JPEG carry its settings")
    add("--gating", type=output_path, metavar="NPZ", help="also write the gating weights of every step")
    add("--seed", type=seed, help="same seed, same picture (default: 0)")
    add("--num-images", type=positive, default=1, metavar="N", help=_NUM_IMAGES_HELP)
    add("--steps", type=steps, metavar="N", help="denoising steps (default: the checkpoint's)")
    add("--guidance-scale", type=float, metavar="S", help="how strongly the text guides (default: the checkpoint's)")
    add("--condition-scale", type=float, metavar="S", help="how strongly the label map guides (default: 1)")
    add("--expert-scale", type=expert_factor, action="append", metavar="NAME=S", help=_EXPERT_SCALE_HELP)
    add("--size", type=size, default=(None, None), metavar="HxW", help="as 512 or 512x768 (default: the checkpoint's)")
    add("--checkpoint", metavar="NAME", help="mini, flux, a folder or a Hub id (default: mini)")
    add("--adapter", metavar="FILE", help="LoRA weights in place of the checkpoint's")
    add("--mogle", metavar="FILE", help="MoGLE weights in place of the checkpoint's")
    add("--lora", type=lora, action="append", metavar="FILE[:SCALE]", help=_LORA_HELP)
    add("--preset", choices=PRESETS, help=PRESET_HELP)
    add("--step-cache", choices=STEP_CACHE_CHOICES, help=STEP_CACHE_HELP)
    add("--condition-refresh", type=positive, default=1, metavar="K", help=CONDITION_REFRESH_HELP)
    add("--device", type=device, help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def run_generate(arguments: argparse.Namespace) -> None:
    read = arguments.label_map, arguments.image, arguments.source_map, arguments.region, arguments.source
    keep_apart(read, (arguments.out, arguments.gating))
    given = _given_settings(arguments)
    edit = _given_edit(arguments, given["strength"])
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it asks for torchvision, which nothing here needs
    pipeline = load_pipeline(
        given["checkpoint"],
        adapter=arguments.adapter,
        mogle=arguments.mogle,
        loras=given["loras"] or {},
        device=arguments.device,
        preset=arguments.preset,
        step_cache=arguments.step_cache,
        condition_refresh=arguments.condition_refresh,
    )
    import torch

    own = {name: pipeline.config[name] for name in ("height", "width", "num_inference_steps", "guidance_scale")}
    first = Settings(**own | given)
    height, width = pipeline.whole_tokens(first.height, first.width)
    first = replace(first, height=height, width=width)
    if arguments.image is not None:
        report_squash(arguments.image, edit["image"].shape, first.height, first.width)
    if arguments.label_map is not None and first.label_map is not None:
        report_squash(arguments.label_map, first.label_map.shape, first.height, first.width)
    records = []
    # One by one: a picture of a batch need not be, to the last bit, what its seed makes alone.
    for index in range(arguments.num_images):
        settings = replace(first, seed=(first.seed + index) % (MAX_SEED + 1))
        result = pipeline(
            **settings.arguments(),
            generator=torch.Generator().manual_seed(settings.seed),
            record_gating=arguments.gating is not None,
            **edit,
        )
        (image,) = result.images
        number = "" if arguments.num_images == 1 else f"-{index}"
        path = arguments.out.with_stem(arguments.out.stem + number)
        if (format := CARRYING.get(path.suffix.lower())) is not None:
            write_picture(path, image, settings, format=format)
        else:
            save_picture(image, path)
        print(path)
        if result.gating is not None:
            records.append(result.gating)
    if records:
        weights = np.concatenate([record.weights for record in records], axis=1)
        save_gating(arguments.gating, GatingRecord(weights, records[0].timesteps))
        print(arguments.gating)


def _given_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of Settings: from the command line, else from the picture of --from, else the defaults."""
    given: dict[str, Any] = _DEFAULTS
    if arguments.source is not None:
        restored = read_settings(arguments.source)
        if restored is None:
            raise ValueError(f"{arguments.source} carries no settings. PNG and JPEG files that `generate` wrote do.")
        given = vars(restored)
        print(f"{arguments.source}: seed {restored.seed}, checkpoint {restored.checkpoint}", file=sys.stderr)
    strength = arguments.strength
    if strength is None and arguments.image is not None and given["strength"] is None:
        strength = 1.0  # an edit's settings always have one
    options = {
        "prompt": arguments.prompt,
        "label_map": None if arguments.label_map is None else read_and_report(arguments.label_map, arguments.classes),
        "seed": arguments.seed,
        "num_inference_steps": arguments.steps,
        "guidance_scale": arguments.guidance_scale,
        "condition_scale": arguments.condition_scale,
        "expert_scale": arguments.expert_scale and (given["expert_scale"] or {}) | dict(arguments.expert_scale),
        "strength": strength,
        "height": arguments.size[0],
        "width": arguments.size[1],
        "checkpoint": arguments.checkpoint,
        "loras": arguments.lora and (given["loras"] or {}) | dict(arguments.lora),
    }
    given = given | {name: value for name, value in options.items() if value is not None}
    return given | {"loras": {file: scale for file, scale in (given["loras"] or {}).items() if scale} or None}


def _given_edit(arguments: argparse.Namespace, strength: float | None) -> dict[str, Any]:
    """The pipeline's arguments that change a picture; none where none is given. `strength` as in Settings."""
    if arguments.image is None:
        if arguments.source is not None and strength is not None and arguments.strength is None:
            raise ValueError(
                f"{arguments.source} was made by changing a picture, which it does not carry. Give that with --image, "
                "and what may change with --source-map or --region."
            )
        if strength is not None or arguments.source_map is not None or arguments.region is not None:
            raise ValueError("--source-map, --region and --strength change a picture. Give it with --image.")
        return {}
    edit: dict[str, Any] = {"image": read_photo(arguments.image), "strength": strength}
    if arguments.source_map is not None:
        edit["source_label_map"] = read_and_report(arguments.source_map, arguments.classes)
    if arguments.region is not None:
        edit["edit_region"] = read_region(arguments.region)
    return edit


def report_squash(path: Path, shape: tuple[int, ...], height: int, width: int) -> None:
    """A word on a picture or map whose proportions are not those of the run, by more than a twentieth."""
    (rows, columns), shorter = shape[:2], min(height, width)
    if abs(np.log(columns * height / (rows * width))) > np.log(1.05):
        scale = shorter / min(rows, columns)
        keeping = "x".join(str(max(1, round(side * scale / 16)) * 16) for side in (rows, columns))
        print(
            f"{path} is {columns} wide and {rows} high, and is squashed to {width} and {height}. --size {keeping} "
            "keeps its shape.",
            file=sys.stderr,
        )
