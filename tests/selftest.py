"""Whether all is right on this device: `python -m facemogle benchmark --selftest`, or `python -m tests.selftest`.

A line for each check; one that fails does not stop the others. On a GPU: FLUX.1-dev's width, a block of each kind; on
a CPU: a few channels.
"""

import argparse
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState

from facemogle import load_pipeline
from facemogle.benchmark import describe_device
from facemogle.checkpoints import CheckpointError
from facemogle.compiled_blocks import compile_blocks, load_compiled_blocks
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.presets import PRESETS, STEP_CACHES, check_preset, place
from facemogle.random_flux import FLUX_PARTS, Architecture, random_pipeline
from facemogle.whole_files import whole_file
from tests import recorded
from tests.tiny_training import TinySamples
from train.building import base_dtype, optional, quantise
from train.config import TrainingConfig
from train.counting import with_blocks
from train.run import Run
from train.train import build_accelerator

STEPS = 10  # of training
NARROW: Architecture = {
    "transformer": FLUX_PARTS["transformer"] | {
        "num_attention_heads": 4, "attention_head_dim": 32, "axes_dims_rope": (8, 12, 12),
        "joint_attention_dim": 64, "pooled_projection_dim": 32,
    },
    "vae": FLUX_PARTS["vae"] | {"block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
}  # fmt: skip
# Of the latents, in norms of those of `quality`; what only moves weights about may differ by rounding.
FURTHEST = {"whole": 0.05, "int8": 0.08, "fp8": 0.15, "nf4": 0.4}
CACHED = 1.0  # further, where a step cache leaves out what random weights do not repeat
SHORTENED = 0.5  # of eight steps, some of which are not whole
KINDS: dict[str, dict[str, Any]] = {
    "adapter and MoGLE": {},
    "gradient checkpointing": {"gradient_checkpointing": True},
    "8-bit base": {"quantise": "8bit"},
    "4-bit base": {"quantise": "4bit"},
    "the base too": {"train_base": True},
    "8-bit optimiser": {"optimizer": "adamw8bit"},
    "batch of 4, gradient checkpointing": {"batch": 4, "gradient_checkpointing": True},
    "batch of 4, compiled, gradient checkpointing": {"batch": 4, "compile": True, "gradient_checkpointing": True},
}


class LeftOut(Exception):
    """Why a check is not for this machine."""


@dataclass(frozen=True)
class Check:
    """passed None: left out."""

    name: str
    passed: bool | None
    seconds: float
    said: str

    def line(self) -> str:
        word = {True: "ok", False: "FAILED", None: "left out"}[self.passed]
        return f"{word:<9} {self.seconds:>6.1f} s  {self.name}: {self.said}"


Work = Callable[[], str]  # what it found, in words; raises where that is wrong


def carry_out(checks: Iterable[tuple[str, Work]]) -> Iterator[Check]:
    """One after the other, whatever becomes of them."""
    for name, work in checks:
        start = time.perf_counter()
        passed: bool | None = True
        try:
            said = work()
        except LeftOut as reason:
            passed, said = None, str(reason)
        except Exception as error:  # of whatever kind: the others are still worth their time
            passed, said = False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        yield Check(name, passed, time.perf_counter() - start, said)


def every_check(device: torch.device) -> Iterator[tuple[str, Work]]:
    yield from recorded_checks(device)
    yield from training_checks(device)
    yield from placing_checks(device)


# What was recorded


def recorded_checks(device: torch.device) -> Iterator[tuple[str, Work]]:
    def pipeline() -> FaceMoGLEPipeline:
        return recorded.tiny_pipeline(recorded.tiny_transformer(), recorded.published_mogle()).to(device)

    def training_step(checkpointing: bool) -> Iterator[recorded.Comparison]:
        transformer = recorded.tiny_transformer().to(device)
        return recorded.training_step(transformer, recorded.published_mogle(), checkpointing=checkpointing)

    for kind in (recorded.condition_tokens, recorded.prompt_embeds, recorded.every_step_and_block):
        for case in recorded.FLOAT32_CASES:
            name = f"recorded {kind.__name__.replace('_', ' ')}, {case}"
            yield name, partial(hold, lambda kind=kind, case=case: kind(pipeline(), case))
    yield "recorded steps in bfloat16", partial(hold, lambda: recorded.bfloat16(pipeline()))
    yield "recorded training images", partial(hold, lambda: recorded.training_images(pipeline()))
    for checkpointing in (False, True):
        name = f"recorded training step{', gradient checkpointing' if checkpointing else ''}"
        yield name, partial(hold, partial(training_step, checkpointing))


def hold(comparisons: Callable[[], Iterable[recorded.Comparison]]) -> str:
    """AssertionError names the tensor that is furthest from its tolerance."""
    held = list(comparisons())
    furthest = max(held, key=lambda each: each.share)
    said = f"{len(held)} tensors; the furthest, {furthest.name}, at {furthest.share:.2g} of what is allowed"
    assert furthest.share <= 1, said
    return said


# Training


def model(device: torch.device, dtype: torch.dtype) -> FaceMoGLEPipeline:
    """With a block of each kind."""
    parts = FLUX_PARTS if device.type == "cuda" else NARROW
    return random_pipeline(with_blocks(parts, 1, 1), dtype=dtype, device=device)


def training_checks(device: torch.device) -> Iterator[tuple[str, Work]]:
    for name, changes in KINDS.items():
        yield f"training, {name}", partial(train, device, changes)
    if device.type == "cuda":
        yield "training, no wait for the GPU", partial(train, device, {}, waits_never=True)


@contextmanager
def no_waiting() -> Iterator[None]:
    """Within, what makes Python wait for the GPU raises RuntimeError."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def train(device: torch.device, changes: dict[str, Any], *, waits_never: bool = False) -> str:
    """Some steps of a run as train.train takes them."""
    on_cuda, side = device.type == "cuda", 256 if device.type == "cuda" else 64
    if changes.get("compile") and not on_cuda:
        raise LeftOut("compiling is for GPUs here; the tests compile on a CPU")
    settings = {
        "cache": "in memory", "height": side, "width": side, "batch": 2, "optimizer": "adamw", "learning_rate": 1e-3,
        "workers": 0, "validation_samples": 0, "validation_every": 0, "validation_pictures": 0, "tracker": "none",
    }  # fmt: skip
    config = TrainingConfig(**settings | changes)
    if config.quantise != "none" or config.optimizer == "adamw8bit":
        try:
            optional("bitsandbytes", "this")
        except (ValueError, ImportError, CheckpointError) as error:
            raise LeftOut(str(error)) from error
    pipeline = model(device, base_dtype(config, device))
    if config.quantise != "none":
        quantise(pipeline.transformer, config.quantise)
        pipeline.to(device)
    base = pipeline.transformer.config
    samples = TinySamples(side=side, widths=(base.joint_attention_dim, base.pooled_projection_dim))
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = build_accelerator(config)
    torch._dynamo.reset()
    run = Run(config, pipeline, samples, accelerator)
    before = {name: parameter.detach().clone() for name, parameter in run.learning.items() if parameter.requires_grad}
    loader = run.loader()
    start = time.perf_counter()
    for step in range(STEPS):
        with no_waiting() if waits_never and step >= STEPS // 2 else nullcontext():
            run.take_step(loader)
    run.window.settle(accelerator)  # waits; raises where a loss is no number
    seconds = time.perf_counter() - start
    after = run.learning
    still = [name for name, value in before.items() if torch.equal(value, after[name])]
    # A new adapter's B is 0 in the first step, so that its A starts in the second.
    assert not still, f"{len(still)} of {len(before)} parameters did not learn, such as {still[0]}"
    losses = run.window.losses
    return f"{STEPS} steps, {seconds / STEPS * 1e3:.0f} ms each, loss {losses[0]:.3f} to {losses[-1]:.3f}"


# Presets and offloading


def placing_checks(device: torch.device) -> Iterator[tuple[str, Work]]:
    expected: dict[str, torch.Tensor] = {}

    def quality(source: str, make: Callable[[], FaceMoGLEPipeline]) -> torch.Tensor:
        if source not in expected:
            pipeline = make()
            place(pipeline, "quality", device)
            expected[source] = picture(pipeline)
        return expected[source]

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    width = "FLUX's width" if device.type == "cuda" else "a few channels"
    make = partial(model, device, dtype)

    def preset(name: str) -> str:
        refuse_unfit(name, device)
        pipeline = make()
        torch._dynamo.reset()
        place(pipeline, name, device)
        return near(picture(pipeline), quality("random", make), furthest(name))

    def whole(name: str) -> str:
        """The tiny checkpoint by load_pipeline, text encoders and all."""
        refuse_unfit(name, device)

        def load(preset: str) -> torch.Tensor:
            return picture(tiny(preset, device, dtype), prompt="a woman with red hair")

        if "tiny" not in expected:
            expected["tiny"] = load("quality")
        return near(load(name), expected["tiny"], furthest(name))

    def shortened(switch: Callable[[FaceMoGLEPipeline], object]) -> str:
        pipeline = make()
        whole = picture(pipeline, steps=8)
        switch(pipeline)
        return near(picture(pipeline, steps=8), whole, SHORTENED)

    def offload(switch: Callable[[FaceMoGLEPipeline], object]) -> str:
        pipeline = model(torch.device("cpu"), dtype) if device.type == "cpu" else make().to("cpu")
        switch(pipeline)
        return near(picture(pipeline), quality("random", make), FURTHEST["whole"])

    def ahead_of_time() -> str:
        if device.type != "cuda":
            raise LeftOut("it is for GPUs; the tests compile on a CPU")
        pipeline = make()
        pipeline.register_to_config(max_sequence_length=16)
        with TemporaryDirectory() as folder:
            lines = list(compile_blocks(pipeline, Path(folder)))
            aside = load_compiled_blocks(pipeline.transformer, folder)
            latents = picture(pipeline)
        assert not aside.said, aside.said
        return "; ".join([*lines, near(latents, quality("random", make), FURTHEST["whole"])])

    yield f"blocks compiled ahead of time, {width}", ahead_of_time
    for name in PRESETS:
        if name != "cpu" or device.type == "cpu":
            yield f"preset {name}, {width}", partial(preset, name)
            if not PRESETS[name].compiled:  # once is enough of what takes so long
                yield f"preset {name}, tiny checkpoint", partial(whole, name)
    for name in STEP_CACHES:
        switch = partial(FaceMoGLEPipeline.enable_step_cache, name=name)
        yield f"step cache {name}", partial(shortened, switch)
    yield (
        "condition rows every 2 steps",
        partial(shortened, partial(FaceMoGLEPipeline.enable_condition_refresh, every=2)),
    )
    for name, switch in offloadings(device).items():
        yield f"offloading, {name}", partial(offload, switch)


def offloadings(device: torch.device) -> dict[str, Callable[[FaceMoGLEPipeline], object]]:
    group = {"onload_device": device, "offload_device": torch.device("cpu")}
    streams = {"use_stream": True, "record_stream": True} if device.type == "cuda" else {}

    def sequential(pipeline: FaceMoGLEPipeline) -> None:
        if device.type == "cpu":
            raise LeftOut("diffusers refuses it without an accelerator")
        pipeline.enable_sequential_cpu_offload(device=device)

    def by_group(pipeline: FaceMoGLEPipeline, **how: Any) -> None:
        pipeline.enable_group_offload(**group, **how)

    return {
        "part by part": lambda pipeline: pipeline.enable_model_cpu_offload(device=device),
        "layer by layer": sequential,
        "groups of layers": partial(by_group, offload_type="leaf_level", **streams),
        "groups of blocks": partial(by_group, offload_type="block_level", num_blocks_per_group=1, **streams),
    }


def refuse_unfit(name: str, device: torch.device) -> None:
    """LeftOut where a preset's library, or its kind of GPU, is not here."""
    preset = PRESETS[name]
    try:
        check_preset(name)
    except CheckpointError as error:
        raise LeftOut(str(error)) from error
    if device.type != "cuda" and (preset.compiled or preset.weights == "fp8"):
        raise LeftOut("it is for GPUs; the tests compile on a CPU")
    if preset.weights == "fp8" and torch.cuda.get_device_capability(device) < (8, 9):
        raise LeftOut("it is for GPUs of Ada's and Hopper's generations")


def furthest(name: str) -> float:
    return FURTHEST[PRESETS[name].weights] + (CACHED if PRESETS[name].step_cache is not None else 0)


def tiny(preset: str, device: torch.device, dtype: torch.dtype) -> FaceMoGLEPipeline:
    parts = {"adapter": recorded.ADAPTER, "mogle": recorded.REFERENCE / "mogle.pt"}
    return load_pipeline(recorded.REFERENCE / "tiny-flux", **parts, device=device, dtype=dtype, preset=preset)


def picture(pipeline: FaceMoGLEPipeline, prompt: str | None = None, steps: int = 3) -> torch.Tensor:
    """Latents, the second time around: what was captured, cached or learned in the first takes part."""
    pipeline.set_progress_bar_config(disable=True)
    side = 256 if pipeline._execution_device.type == "cuda" else 64
    label_map = np.arange(side)[:, None].repeat(side, 1) * 14 // side
    config, options = pipeline.transformer.config, {"prompt": prompt, "max_sequence_length": 16}
    if prompt is None:
        generator = torch.Generator().manual_seed(1)
        options = {
            "prompt_embeds": torch.randn(1, 16, config.joint_attention_dim, generator=generator),
            "pooled_prompt_embeds": torch.randn(1, config.pooled_projection_dim, generator=generator),
        }
    for _ in range(2):
        generator = torch.Generator().manual_seed(7)
        images = pipeline(
            label_map=label_map, height=side, width=side, num_inference_steps=steps, generator=generator,
            output_type="latent", **options,
        ).images  # fmt: skip
    return images.float().cpu()


def near(actual: torch.Tensor, expected: torch.Tensor, allowed: float) -> str:
    difference = float((actual - expected).norm() / expected.norm())
    said = f"latents differ from the plain run's by {difference:.2g} of their norm, {allowed:.2g} allowed"
    assert math.isfinite(difference) and difference <= allowed, said
    return said


def main(argv: Sequence[str] | None = None) -> int:
    """-> the exit code: 1 if a check fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.selftest", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument("--only", default="", metavar="WORD", help="the checks that have it in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was found")
    arguments = parser.parse_args(argv)
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    # What was recorded is held in float32 to its last bits.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    about = describe_device(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    print(f"{about['name']}, {about['versions']}", flush=True)
    found = []
    for check in carry_out((name, work) for name, work in every_check(device) if arguments.only in name):
        print(check.line(), flush=True)
        found.append(check)
    return report(found, about, arguments.json)


def report(found: list[Check], about: dict[str, Any], file: Path | None) -> int:
    """Summed up -> the exit code."""
    failed = [check.name for check in found if check.passed is False]
    left_out = sum(check.passed is None for check in found)
    seconds = sum(check.seconds for check in found)
    if not found:
        print("There is no such check.")
        return 1
    print(f"{len(found) - len(failed) - left_out} ok, {len(failed)} failed, {left_out} left out, in {seconds:.0f} s")
    if file is not None:
        with whole_file(file) as part:
            part.write_text(
                json.dumps({"device": about, "checks": [asdict(check) for check in found]}, indent=2) + "\n"
            )
    return 1 if failed else 0


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of this process alone, as tests call main, too
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    sys.exit(main())
