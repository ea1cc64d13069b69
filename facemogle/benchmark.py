"""How quick a pipeline is on this device, beside stock FLUX and beside what its arithmetic alone takes there.

What is compared takes turns in one process: whatever else the machine does meets all of it alike. The prompt is encoded
before. The floor is the floating-point operations of a run, counted without a device, at the rate that a large matrix
product reaches on it.
"""

import contextlib
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from facemogle.pipeline import FaceMoGLEPipeline, image_ids
from facemogle.presets import PRESETS, check_preset, check_step_cache, fitting_preset, place
from facemogle.random_flux import FLUX_PARTS, fill, random_pipeline
from facemogle.transformer import FaceMoGLETransformer2DModel

CLASSES = 14  # in the label map, as in a typical face
PROFILED = 2  # steps
BUSY = 0.9  # under this share of its time at work, a device waits for Python
GIB = 2**30
WHOLE = 25.0  # GB: FLUX.1-dev's transformer and VAE in bfloat16, and some room

RANDOM = "random weights of FLUX.1-dev's size, no text encoders"
NEW_MAP, KNOWN_MAP, STOCK = "Face-MoGLE, new label map", "Face-MoGLE, label map known", "stock FLUX"


@dataclass(frozen=True)
class Timing:
    """Of one way to make an image; seconds round by round. None: not to be had on this device."""

    name: str
    seconds: list[float]
    step_ms: list[float]
    busy: float | None  # the share of a step in which the device computes
    peak_gib: float | None  # allocated on the device, without what only others hold
    floor: float  # seconds an image
    step_floor_ms: float

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Benchmark:
    device: dict[str, Any]
    checkpoint: str
    preset: str
    step_cache: str | None
    condition_refresh: int
    height: int
    width: int
    steps: int
    text_tokens: int
    matrix_rate: float  # FLOP/s in the pipeline's dtype
    timings: list[Timing]
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        medians = [{"median": each.median} for each in self.timings]
        timings = [asdict(each) | more for each, more in zip(self.timings, medians, strict=True)]
        return asdict(self) | {"timings": timings, "ratios_to_stock": self.ratios()}

    def ratios(self) -> dict[str, float]:
        """Medians of the rounds' ratios to stock FLUX."""
        stock = next((each.seconds for each in self.timings if each.name == STOCK), None)
        if stock is None:
            return {}
        return {
            each.name: statistics.median(own / other for own, other in zip(each.seconds, stock, strict=True))
            for each in self.timings
            if each.name != STOCK
        }

    def lines(self) -> Iterator[str]:
        """The table in words."""
        device, timings = self.device, self.timings
        driver = f", driver {device['driver']}" if device["driver"] else ""
        memory = f", {device['memory_gib']:.1f} GiB" if device["memory_gib"] else ""
        yield f"{device['name']}{memory}{driver}; " + ", ".join(f"{k} {v}" for k, v in device["versions"].items())
        cache = f", step cache {self.step_cache}" if self.step_cache else ""
        if self.condition_refresh > 1:
            cache += f", condition rows every {self.condition_refresh} steps"
        preset = f"preset {self.preset} ({PRESETS[self.preset].summary}){cache}"
        yield (
            f"{self.checkpoint}, {preset}; {self.height}x{self.width}, {self.steps} steps, {self.text_tokens} text "
            f"tokens, {CLASSES} classes; medians of "
            f"{len(timings[0].seconds)} rounds in turn, after one to warm up; prompt encoded before"
        )
        rate = f"{self.matrix_rate / 1e12:.4g} TFLOP/s"
        yield f"the floor is at the rate of a large matrix product in {device['dtype']}, {rate}"
        yield ""
        times = f"{'s an image':>10}  {'least to most':<16}{'ms a step':>9}"
        yield f"{'':<28}{times}  {'floor s':>8}{'ms':>7}  GiB    device"
        for each in timings:
            spread = f"{min(each.seconds):.4g} to {max(each.seconds):.4g}"
            peak = "-" if each.peak_gib is None else f"{each.peak_gib:.1f}"
            yield (
                f"{each.name:<28}{each.median:>10.4g}  {spread:<16}{statistics.median(each.step_ms):>9.4g}  "
                f"{each.floor:>8.3g}{each.step_floor_ms:>7.3g}  {peak:<7}{busy_in_words(each.busy)}"
            )
        yield ""
        ratios = self.ratios()
        for each in timings:
            to_stock = f"{ratios[each.name]:.2f} x stock FLUX, " if each.name in ratios else ""
            yield f"{each.name}: {to_stock}{each.median / each.floor:.2f} x its floor"
        yield from self.notes


def busy_in_words(busy: float | None) -> str:
    if busy is None:
        return "-"
    return f"{busy:.0%} busy" + (": launch-bound" if busy < BUSY else "")


def benchmark(
    pipeline: FaceMoGLEPipeline,
    checkpoint: str,
    *,
    height: int | None = None,
    width: int | None = None,
    steps: int | None = None,
    rounds: int = 5,
) -> Benchmark:
    """Measure a pipeline that a preset placed on its device. ValueError for fewer than 2 steps."""
    config, device, dtype = pipeline.config, pipeline._execution_device, pipeline.transformer.dtype
    height, width = pipeline.whole_tokens(height, width)
    steps = steps or config.num_inference_steps
    if steps < 2:
        raise ValueError(f"A step's time is that between steps: measure at least 2 steps, not {steps}.")
    assert pipeline.preset is not None
    pipeline.set_progress_bar_config(disable=True)
    texts = prompt_of(pipeline)
    options: dict[str, Any] = texts | {"height": height, "width": width, "num_inference_steps": steps}
    notes: list[str] = []
    own_bytes = allocated(device)
    try:
        stock, shared = stock_pipeline(pipeline)
    except MemoryError as error:
        stock, shared = None, True
        notes.append(str(error))
    stock_bytes = 0 if shared else allocated(device) - own_bytes

    def ours(label_map: np.ndarray, callback: Callable) -> None:
        pipeline(label_map=label_map, callback_on_step_end=callback, **options)

    maps = Maps(height, width)
    ways: dict[str, Callable[[Callable], object]] = {
        NEW_MAP: lambda callback: ours(maps.another(), callback),
        KNOWN_MAP: lambda callback: ours(maps.last, callback),
    }
    if stock is not None:
        ways[STOCK] = lambda callback: stock(callback_on_step_end=callback, **options)
    measured: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, run in ways.items():
            result = timed(run, device)
            if round_:
                measured[name].append(result)
    rate = matrix_rate(device, dtype)
    flops = dict(zip(ways, counted(pipeline, height, width, steps, texts["prompt_embeds"].shape[1]), strict=False))
    timings = []
    for name, run in ways.items():
        seconds, step_ms, peaks = map(list, zip(*measured[name], strict=True))
        alike = name == STOCK or (pipeline.step_cache is None and pipeline.condition_refresh == 1)
        busy = busy_ms(run, device) if alike else None  # of two steps, which then stand for all
        foreign = (0 if shared else own_bytes) if name == STOCK else stock_bytes
        timings.append(
            Timing(
                name, seconds, step_ms,
                busy=None if busy is None else min(1.0, busy / statistics.median(step_ms)),
                peak_gib=(max(peaks) - foreign) / GIB if device.type == "cuda" else None,
                floor=flops[name][0] / rate, step_floor_ms=flops[name][1] / rate * 1e3,
            )
        )  # fmt: skip
    step_cache = None if pipeline.step_cache is None else pipeline.step_cache.name
    return Benchmark(
        describe_device(device, dtype), checkpoint, pipeline.preset, step_cache, pipeline.condition_refresh,
        height, width, steps, texts["prompt_embeds"].shape[1], rate, timings, notes,
    )  # fmt: skip


def random_flux(preset: str | None, device: torch.device, *, step_cache: str | None = None) -> FaceMoGLEPipeline:
    """Placed by a preset, the best that fits unless given. Made on the device where there is room for it whole, else in
    the CPU's memory, from where the preset takes it. ValueError where nothing fits, or for an unknown preset."""
    on_cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] / 1e9 if on_cuda else 0.0
    preset = preset or (fitting_preset(free) if on_cuda else "cpu")
    if preset is None:
        raise ValueError(f"{free:.1f} GB of {device} are free, too few for any preset. Free some.")
    check_step_cache(step_cache, preset)
    on_device = free > WHOLE and "blocks" not in check_preset(preset).offloaded
    pipeline = random_pipeline(
        FLUX_PARTS,
        dtype=torch.bfloat16 if on_cuda else torch.float32,
        device=device if on_device else "cpu",
    )
    place(pipeline, preset, device, step_cache=step_cache)
    return pipeline


def describe_device(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    on_cuda = device.type == "cuda"
    versions = {"Python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__}
    if on_cuda:
        versions["CUDA"] = str(torch.version.cuda)
        versions["cuDNN"] = str(torch.backends.cudnn.version())
    return {
        "name": torch.cuda.get_device_name(device) if on_cuda else processor_name(),
        "memory_gib": torch.cuda.get_device_properties(device).total_memory / GIB if on_cuda else None,
        "driver": driver_version() if on_cuda else None,
        "dtype": str(dtype).removeprefix("torch."),
        "versions": versions,
    }


def processor_name() -> str:
    """And torch's threads on it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {torch.get_num_threads()} threads"
    return f"{platform.processor() or platform.machine()} CPU, {torch.get_num_threads()} threads"


def driver_version() -> str | None:
    """NVIDIA's, if its own tool is here to tell."""
    if not (tool := shutil.which("nvidia-smi")):
        return None
    told = subprocess.run(
        [tool, "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return next(iter(told.stdout.split()), None)


def prompt_of(pipeline: FaceMoGLEPipeline) -> dict[str, Tensor]:
    """A prompt's embeddings; random ones for a pipeline without text encoders."""
    config, length = pipeline.transformer.config, pipeline.config.max_sequence_length
    if pipeline.text_encoder_2 is not None:
        prompt_embeds, pooled = pipeline.encode_prompt(["a woman with red hair"], max_sequence_length=length)
    else:
        generator = torch.Generator().manual_seed(0)
        prompt_embeds = torch.randn(1, length, config.joint_attention_dim, generator=generator)
        pooled = torch.randn(1, config.pooled_projection_dim, generator=generator)
    device, dtype = pipeline._execution_device, pipeline.transformer.dtype
    return {"prompt_embeds": prompt_embeds.to(device, dtype), "pooled_prompt_embeds": pooled.to(device, dtype)}


class Maps:
    """Label maps (H, W) in ragged stripes of as many classes, none of whose masks is as one before."""

    def __init__(self, height: int, width: int):
        self.shape, self.draws = (height, width), np.random.default_rng(0)
        self.last = self.another()

    def another(self) -> np.ndarray:
        height, width = self.shape
        rows = np.arange(height)[:, None] + self.draws.integers(height // CLASSES + 1, size=width)
        self.last = rows % height * CLASSES // height
        return self.last


def stock_pipeline(pipeline: FaceMoGLEPipeline) -> tuple[FluxPipeline, bool]:
    """diffusers' own pipeline of the same config, dtype and VAE, compiled if ours is; whether it has ours' weights.

    Of its own are random ones, where ours are packed or wait elsewhere. MemoryError where there is no room for them.
    """
    ours, device = pipeline.transformer, pipeline._execution_device
    preset = PRESETS[pipeline.preset or "quality"]
    shared = preset.weights == "whole" and not preset.offloaded
    with torch.device("meta"):
        stock = FluxTransformer2DModel.from_config(ours.config)
    stock.to(ours.dtype)
    if shared:
        base = {name: value for name, value in ours.state_dict().items() if ".adapter_" not in name}
        stock.load_state_dict(base, assign=True)
    else:
        needed = sum(each.nbytes for each in stock.parameters()) + 2 * GIB
        if device.type == "cuda" and (free := torch.cuda.mem_get_info(device)[0]) < needed:
            raise MemoryError(
                f"Stock FLUX, whole, takes {needed / GIB:.1f} GiB, and {free / GIB:.1f} are free: not measured."
            )
        fill(stock, dtype=ours.dtype, device=device, seed=0)
    if preset.compiled:
        stock.compile_repeated_blocks(fullgraph=True)
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    of_flux = FluxPipeline(scheduler, pipeline.vae, None, None, None, None, stock.eval().requires_grad_(False))
    of_flux.set_progress_bar_config(disable=True)
    return of_flux, shared


def timed(run: Callable[[Callable], object], device: torch.device) -> tuple[float, float, float]:
    """-> seconds of a run, milliseconds between two steps on the device, bytes at most."""
    marks: list[Any] = []

    def mark(_pipeline: Any, _step: int, _timestep: Tensor, _tensors: Mapping) -> dict:
        if device.type == "cuda":  # on the device's own clock, since Python is ahead of it, or behind
            marks.append(torch.cuda.Event(enable_timing=True))
            marks[-1].record()
        else:
            marks.append(time.perf_counter())
        return {}

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    synchronise(device)
    start = time.perf_counter()
    run(mark)
    synchronise(device)
    seconds = time.perf_counter() - start
    first, last = marks[0], marks[-1]
    between = first.elapsed_time(last) if device.type == "cuda" else (last - first) * 1e3
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return seconds, between / (len(marks) - 1), peak


def busy_ms(run: Callable[[Callable], object], device: torch.device) -> float | None:
    """Milliseconds of a step in which the device computes; None on a device that is not asked for its kernels."""
    if device.type != "cuda":
        return None
    profiler = profile(activities=[ProfilerActivity.CUDA])
    profiled = 0

    def watch(_pipeline: Any, step: int, _timestep: Tensor, _tensors: Mapping) -> dict:
        nonlocal profiled
        synchronise(device)
        if step == 0:
            profiler.start()
        else:
            profiled += step <= PROFILED
        if step == PROFILED:
            profiler.stop()
        return {}

    run(watch)
    if profiled < PROFILED:
        profiler.stop()
    kernels = [
        each
        for each in profiler.events() or []
        if each.device_type == DeviceType.CUDA and not each.is_user_annotation and not each.name.startswith("Mem")
    ]  # without copies (Memcpy, Memset)
    if not kernels:  # where the driver does not let a program look
        return None
    return covered((each.time_range.start, each.time_range.end) for each in kernels) / 1e3 / profiled


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of spans."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def matrix_rate(device: torch.device, dtype: torch.dtype, *, rounds: int = 10) -> float:
    """FLOP/s of a large matrix product: the best of several times, each of several in a row."""
    size, in_a_row = (8192, 10) if device.type == "cuda" else (1024, 2)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    output = torch.empty_like(left)
    rates = []
    for _ in range(rounds + 1):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(in_a_row):
            torch.mm(left, right, out=output)
        synchronise(device)
        rates.append(2 * size**3 * in_a_row / (time.perf_counter() - start))
    return max(rates[1:])


@torch.no_grad()
def counted(
    pipeline: FaceMoGLEPipeline, height: int, width: int, steps: int, text_tokens: int
) -> list[tuple[int, int]]:
    """FLOP of an image and of a step: with a new label map, a known one, of stock FLUX. Counted without a device."""
    config, dtype = pipeline.transformer.config, torch.bfloat16
    grid = height // pipeline.pixels_per_token, width // pipeline.pixels_per_token
    with torch.device("meta"):
        ours, stock = (kind.from_config(config) for kind in (FaceMoGLETransformer2DModel, FluxTransformer2DModel))
        vae = type(pipeline.vae).from_config(pipeline.vae.config).to(dtype)
        if pipeline.transformer.adapter_config is not None:
            ours.add_condition_adapter(pipeline.transformer.adapter_config)
        ours, stock = ours.to(dtype), stock.to(dtype)
        latents = torch.empty(1, grid[0] * grid[1], config.in_channels, dtype=dtype)
        pooled = torch.empty(1, config.pooled_projection_dim, dtype=dtype)
        text = torch.empty(1, text_tokens, config.joint_attention_dim, dtype=dtype)
        guidance = torch.ones(1) if config.guidance_embeds else None
        ids = {"img_ids": image_ids(*grid).to("meta"), "txt_ids": torch.empty(text_tokens, 3)}
        arguments = {
            "hidden_states": latents, "encoder_hidden_states": text,
            "pooled_projections": pooled, "timestep": torch.empty(1, dtype=dtype), "guidance": guidance, **ids,
        }  # fmt: skip
        times, picture = torch.empty(steps, dtype=dtype), torch.empty(1, 3, height, width, dtype=dtype)
        ahead = flops_of(lambda: ours.run_constants(times, guidance, text, pooled, **ids, num_streams=2))
        constants = ours.run_constants(times, guidance, text, pooled, **ids, num_streams=2)
        assert constants is not None
        step = flops_of(lambda: ours(**arguments, condition_hidden_states=latents, constants=constants[0]))
        of_stock = flops_of(lambda: stock(**arguments))
        encoding = flops_of(lambda: vae.encode(picture))
        code = vae.encode(picture).latent_dist.mode()
        decoding = flops_of(lambda: vae.decode(code))
    masks = (CLASSES + 2) * encoding  # the global one, and a black one of the absent classes
    known = ahead + steps * step + decoding
    return [(known + masks, step), (known, step), (steps * of_stock + decoding, of_stock)]


def flops_of(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
