"""How a pipeline is placed on a device: which weights in how many bits, what waits on the CPU, what is compiled.

One table, from which `load_pipeline(preset=...)`, `app.py --preset` and `generate --preset` choose. Sizes in GB (1e9
bytes) are counted, at 512x512 with one picture and 512 text tokens; tests/test_presets.py counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facemogle.weight_files import CheckpointError

if TYPE_CHECKING:
    import torch

    from facemogle.pipeline import FaceMoGLEPipeline

FLUX_ON_DISK = 33.8  # GB: what `gigabytes` is counted for
CUDA = 0.8  # GB, assumed: CUDA's context, its libraries' workspaces, and gaps between tensors


@dataclass(frozen=True)
class Preset:
    """weights: of the blocks' linear layers, as they are or as `quantisation.quantise` makes them.

    offloaded: what waits on the CPU, by diffusers' group offloading: "text" encoders; the "modulation", which is read
        once in a run; the "blocks", two of which at a time are on the device.
    gigabytes: on the device, at most, for FLUX.1-dev.
    """

    summary: str
    gigabytes: float
    weights: str = "whole"
    offloaded: tuple[str, ...] = ()
    compiled: bool = False
    step_graphs: bool = False
    step_cache: str | None = None  # of STEP_CACHES


PRESETS = {
    "quality": Preset("bfloat16, all of it on the GPU", 36.5),
    "fast": Preset("as quality, compiled, steps replayed as CUDA graphs", 36.5, compiled=True, step_graphs=True),
    "turbo": Preset(
        "8-bit floating point on GPUs of Ada's and Hopper's generations, compiled, first-block cache",
        28.1, weights="fp8", compiled=True, step_cache="first-block",
    ),
    "24gb": Preset("8-bit weights, text encoders offloaded", 17.5, weights="int8", offloaded=("text",)),
    "16gb": Preset(
        "8-bit weights, text encoders and modulation offloaded", 10.5, weights="int8", offloaded=("text", "modulation")
    ),
    "12gb": Preset(
        "4-bit weights (NF4), text encoders and modulation offloaded", 6.3,
        weights="nf4", offloaded=("text", "modulation"),
    ),
    "8gb": Preset(
        "8-bit weights, a block at a time on the GPU, text encoders offloaded", 2.6,
        weights="int8", offloaded=("text", "blocks"),
    ),
    "cpu": Preset("on the CPU, in float32", 0.0),
}  # fmt: skip
PRESET_HELP = (
    "what lies on the device, in how many bits: "
    + "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items())
    + " (default: by the device's free memory)"
)
# What facemogle/step_caches.py makes of these names.
STEP_CACHES = {
    "first-block": "as long as the first block's output hardly changes, the others' counts as unchanged",
    "taylor": "two of three steps are told from the steps before by a Taylor series",
    "magnitude": "as long as the blocks' output grows as in a first run, which is computed whole, it stays as it was",
}
STEP_CACHE_HELP = (
    "leave steps out, for less time and another picture than without: "
    + "; ".join(f"{name}: {summary}" for name, summary in STEP_CACHES.items())
    + "; none (default: the preset's)"
)
CONDITION_REFRESH_HELP = (
    "compute the condition rows, two fifths of FLUX's at 512x512, in the first of K steps, and look at them as they "
    "were in the others: less time, another picture (default: 1, every step)"
)
STEP_CACHE_CHOICES = ("none", *STEP_CACHES)
# By the device's free memory, the first that fits is taken.
AUTOMATIC = ("quality", "24gb", "16gb", "12gb", "8gb")


def choose_preset(device: torch.device, base: Path) -> str:
    """The preset for a device's free memory and a base on this disk. CheckpointError where none fits."""
    import torch

    if device.type != "cuda":
        return "cpu" if device.type == "cpu" else "quality"
    free = torch.cuda.mem_get_info(device)[0] / 1e9
    fitting = fitting_preset(free, share=size_on_disk(base) / FLUX_ON_DISK)
    if fitting is None:
        raise CheckpointError(
            f"{free:.1f} GB of {device} are free, too few for any preset. Free some, or load with device='cpu'."
        )
    return fitting


def fitting_preset(free: float, *, share: float = 1.0) -> str | None:
    """The best preset in so many free GB, for a base of so many FLUX.1-devs; None: there is none."""
    return next((name for name in AUTOMATIC if PRESETS[name].gigabytes * share + CUDA <= free), None)


def size_on_disk(base: Path) -> float:
    """GB of a pipeline's weights."""
    return sum(file.stat().st_size for file in base.glob("*/*.safetensors")) / 1e9


def check_preset(name: str) -> Preset:
    """ValueError for an unknown name; CheckpointError where its library is missing."""
    if name not in PRESETS:
        raise ValueError(f"There is no preset {name!r}. They are {', '.join(PRESETS)}.")
    if (weights := PRESETS[name].weights) != "whole":
        from facemogle.quantisation import library_of

        library_of(weights)
    return PRESETS[name]


def check_step_cache(step_cache: str | None, preset: str | None = None) -> None:
    """ValueError for an unknown name, or one that does not go with the preset."""
    if step_cache not in (None, *STEP_CACHE_CHOICES):
        raise ValueError(f"There is no step cache {step_cache!r}. They are {', '.join(STEP_CACHE_CHOICES)}.")
    if step_cache == "magnitude" and preset is not None and PRESETS[preset].compiled:
        raise ValueError(
            f"The step cache magnitude changes from run to run, which blocks that are compiled, as by the preset "
            f"{preset}, do not follow. Take first-block or taylor."
        )


def preset_available(name: str) -> bool:
    """Whether the library that a preset takes is here."""
    try:
        check_preset(name)
    except CheckpointError:
        return False
    return True


def place(pipeline: FaceMoGLEPipeline, name: str, device: torch.device, *, step_cache: str | None = None) -> None:
    """Put a pipeline that lies in the CPU's memory on a device as the preset says. torch.OutOfMemoryError.

    step_cache: of STEP_CACHES, or "none", in place of the preset's. ValueError where it does not go with the preset.
    """
    import torch
    from diffusers.hooks import apply_group_offloading

    from facemogle.quantisation import quantise

    preset, transformer, on_cuda = PRESETS[name], pipeline.transformer, device.type == "cuda"
    encoders = [pipeline.text_encoder, pipeline.text_encoder_2] if "text" in preset.offloaded else []
    texts = [encoder for encoder in encoders if encoder is not None]
    modulation = list(transformer.modulation_linears()) if "modulation" in preset.offloaded else []

    def offload(module: torch.nn.Module, kind: str, *, stream: bool) -> None:
        # A stream fetches what comes next while the device works on what came before.
        streams = {"use_stream": True, "record_stream": True} if stream and on_cuda else {}
        apply_group_offloading(
            module, device, torch.device("cpu"), offload_type=kind,
            num_blocks_per_group=1 if kind == "block_level" else None, **streams,
        )  # fmt: skip

    if preset.weights != "whole":
        quantise(transformer, preset.weights, device, back="blocks" in preset.offloaded)
    for text in texts:
        offload(text, "leaf_level", stream=True)
    for linear in modulation:
        offload(linear, "leaf_level", stream=False)  # apart from each other: none of them knows the next
    if "blocks" in preset.offloaded:
        offload(transformer, "block_level", stream=True)
    else:
        staying = set(modulation)
        for module in transformer.modules():
            if not module._modules and module not in staying:  # a leaf: parameters are in no other
                module.to(device)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module) and part is not transformer and part not in texts:
            part.to(device)
    if pipeline.preview_vae is not None:
        pipeline.preview_vae.to(device)
    step_cache = step_cache or preset.step_cache or "none"
    if step_cache != "none":
        pipeline.enable_step_cache(step_cache)
    if preset.compiled:
        transformer.compile_repeated_blocks(fullgraph=step_cache == "none")
    if preset.step_graphs:
        pipeline.enable_step_graphs()
    pipeline.preset = name
