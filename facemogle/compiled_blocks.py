"""Transformer blocks compiled ahead of time (AOTInductor), for where each run has a fresh process, as on ZeroGPU.

One package for each class of blocks holds code without weights: every block lends it its own. Such code checks nothing,
and would read past the ends of tensors that it was not made for: what it was made for lies beside it, in config.json,
and any other call is left to the block's own Python.

The folder is laid out as `spaces.aoti_blocks_load` reads it from the Hub.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from inspect import getsourcefile
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import diffusers
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.transformer import ConditionLinear, FaceMoGLETransformer2DModel
from facemogle.weight_files import CheckpointError, hub_place, read_json
from facemogle.whole_files import sha256_of, whole_file

PACKAGE, CONFIG = "package.pt2", "config.json"
MAX_IMAGES, MAX_TOKENS = 8, 4096  # of 1024x1024 pixels in FLUX: within 32-bit indices
STREAMS = 2  # a run has condition rows, also without a label map
ALIGNED = 16  # bytes, which kernels for GPUs rely on
ALLOWED, ALLOWED_IN_HALF = 1e-4, 2e-2  # difference of a compiled block, in norms of the plain one's output

logger = logging.getLogger(__name__)

Kind = list[Any]  # a tensor's dtype and shape, with names for sizes that differ from call to call
Call = tuple[Tensor, Tensor, Any, Any, dict[str, Any]]  # of a block, by position


def compile_blocks(pipeline: FaceMoGLEPipeline, folder: Path) -> Iterator[str]:
    """Compile a block of each class for this device, this torch, and the dtype, width, text length and adapter of the
    pipeline; for any weights, 1 to MAX_IMAGES images and up to MAX_TOKENS tokens. Yields a line on each.

    ValueError for blocks that are quantised, watched by hooks, compiled already, or come out different.
    """
    aoti = _spaces_aoti()
    (folder / CONFIG).unlink(missing_ok=True)
    classes = {}
    for name, (block, *_) in blocks_by_class(pipeline.transformer).items():
        start = time.monotonic()
        call = _example_call(pipeline, block, aoti)
        tensors = _kinds_of_tensors(call)
        with torch.no_grad():
            compiled = aoti.aoti_compile(_exported(block, call, tensors))
            package = bytes(compiled.archive_file.getbuffer())
            constants = compiled.weights.constants_map
            error = _difference(block, call, compiled.archive_file, constants)
        (folder / name).mkdir(parents=True, exist_ok=True)
        with whole_file(folder / name / PACKAGE) as part:
            part.write_bytes(package)
        classes[name] = {"tensors": tensors, **_described(block, list(constants))}
        seconds = time.monotonic() - start
        yield f"{name}: {seconds:.0f} s, {len(package) / 1e6:.1f} MB, {error:.1e} from what Python makes of it"
    made_for = _bound_to(pipeline.transformer.device)
    with whole_file(folder / CONFIG) as part:
        part.write_text(json.dumps(made_for | {"limits": [MAX_IMAGES, MAX_TOKENS], "blocks": classes}) + "\n")


def load_compiled_blocks(transformer: FaceMoGLETransformer2DModel, source: str) -> "Aside":
    """Let a transformer's blocks run as `compile_blocks` made them, from a folder or the Hub (owner/name), wherever a
    call fits. The packages are programs: as trusted as their author.

    Returns what is noted where one does not fit. CheckpointError: they are not for this model, device or torch.
    """
    aoti = _spaces_aoti()
    folder, kinds = _folder(source), blocks_by_class(transformer)
    try:
        config = read_json(folder / CONFIG)
        _require_fit(transformer, config, source)
        limits = tuple(map(int, config["limits"]))
        classes = {name: config["blocks"][name] for name in kinds}
        tensors = {
            name: [(getattr(torch, dtype), shape) for dtype, shape in each["tensors"]] for name, each in classes.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise CheckpointError(
            f"{folder / CONFIG} is not that of blocks by `python -m facemogle compile`. Compile them again."
        ) from error
    for name in kinds:
        if not is_zipfile(folder / name / PACKAGE):
            raise CheckpointError(f"{folder / name / PACKAGE} is missing or cut short. Fetch it again.")
    aside = Aside(source)
    for name, blocks in kinds.items():
        model = aoti.LazyAOTIModel(folder / name / PACKAGE)  # opened in the process that first calls it
        for block in blocks:
            plain = block.forward
            aoti.aoti_patch(block, model)
            made_for = tensors[name], classes[name]["weights"], limits
            block.forward = CompiledForward(block, plain, block.forward, *made_for, aside)
    return aside


def blocks_by_class(transformer: FaceMoGLETransformer2DModel) -> dict[str, list[nn.Module]]:
    blocks: dict[str, list[nn.Module]] = {}
    for block in transformer.blocks():
        blocks.setdefault(type(block).__name__, []).append(block)
    return blocks


@dataclass
class Aside:
    """Why blocks of a transformer ran without their packages: each reason is told once."""

    source: str
    broken: str = ""
    said: set[str] = field(default_factory=set)

    def say(self, why: str) -> None:
        if why not in self.said:
            logger.warning(f"Blocks run from Python, not from {self.source}: {why}.")
            self.said.add(why)


class CompiledForward:
    """In the place of a block's `forward`: its package where the call and the block are what that was made for.

    Hooks within the block are seen by the modulation, which `run_constants` then leaves to it.
    """

    def __init__(
        self,
        block: Any,
        plain: Any,
        compiled: Any,
        tensors: list[tuple[torch.dtype, list[Any]]],
        weights: Iterable[str],
        limits: tuple[int, ...],
        aside: Aside,
    ):
        self.plain, self.compiled, self.tensors, self.limits, self.aside = plain, compiled, tensors, limits, aside
        self.weights = [(block.get_parameter(name), compiled.weights[name]) for name in weights]
        processor = vars(block.attn.processor)
        self.held = [
            (vars(block.attn), "processor", block.attn.processor),
            (processor, "_attention_backend", processor.get("_attention_backend")),
        ]
        for module in block.modules():
            self.held += [(module._modules, name, child) for name, child in module._modules.items()]
            self.held += [(module._parameters, name, each) for name, each in module._parameters.items()]
            if isinstance(module, ConditionLinear):
                self.held.append((vars(module), "adapter_scale", module.adapter_scale))

    def __call__(
        self, hidden_states, encoder_hidden_states, temb, image_rotary_emb=None, joint_attention_kwargs=None
    ) -> tuple[Tensor, Tensor]:
        call = hidden_states, encoder_hidden_states, temb, image_rotary_emb, joint_attention_kwargs or {}
        why = self.why_not(call)
        if not why:
            try:
                return self.compiled(*call)
            except Exception as error:  # of another driver, C library, a damaged file: the block itself may still run
                why = f"they failed: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
                self.aside.broken = why
        self.aside.say(why)
        return self.plain(*call)

    def why_not(self, call: Call) -> str:
        """What keeps the package from this call; empty: nothing."""
        hidden_states, text, modulation, rotary, options = call
        if self.aside.broken:
            return self.aside.broken
        if torch.is_grad_enabled():
            return "gradients are recorded"
        if options:
            return f"attention takes {' and '.join(options)}"
        if isinstance(modulation, Tensor) or rotary is None:
            return "the modulation is left to the blocks, as where hooks or a step cache watch their layers"
        if not self._as_loaded():
            return "the blocks' layers or weights are others than they were loaded for, such as by a LoRA"
        (images, rows, _), (max_images, max_tokens) = hidden_states.shape, self.limits
        if images > max_images or rows % STREAMS or not 2 <= rows // STREAMS <= max_tokens:
            return f"a run has {images} images of {rows / STREAMS:g} tokens, over {max_images} or {max_tokens}"
        sizes = {"images": images, "rows": rows, "positions": rows + text.shape[1]}
        expected = [(dtype, tuple(sizes.get(size, size) for size in shape)) for dtype, shape in self.tensors]
        tensors = (hidden_states, text, *modulation, *rotary)
        found = [(each.dtype, tuple(each.shape)) for each in tensors]
        if found != expected:
            wrong, right = next(pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1])
            return f"a run has {_words(*wrong)} where they take {_words(*right)}"
        device = self.weights[0][0].device
        if not all(
            each.device == device and each.is_contiguous() and each.data_ptr() % ALIGNED == 0 for each in tensors
        ):
            return "a run has tensors in another layout, or on another device"
        return ""

    def _as_loaded(self) -> bool:
        """Whether layers, parameters, and the memory these lie in are those that the package was given."""
        return all(where.get(name) is what for where, name, what in self.held) and all(
            parameter.data_ptr() == weight.data_ptr() for parameter, weight in self.weights
        )


def _spaces_aoti() -> Any:
    if torch.version.cuda is None:  # which spaces reads on import
        raise CheckpointError("Compiled blocks take a PyTorch that is built for CUDA, as spaces does.")
    try:
        from spaces.zero.torch import aoti

        _ = aoti.LazyAOTIModel, aoti.aoti_patch, aoti.aoti_compile, aoti.aoti_capture
    except (ImportError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"Compiled blocks take a newer spaces ({error}): pip install -U spaces.") from error
    return aoti


def _folder(source: str) -> Path:
    if (folder := Path(source).expanduser()).is_dir():
        return folder
    if (place := hub_place(source)) is None:
        raise CheckpointError(f"There is no folder {source}. Make it with `python -m facemogle compile`.")
    return place.fetch_folder([CONFIG, f"*/{PACKAGE}"], download=True)


def _bound_to(device: torch.device) -> dict[str, str]:
    """What a package comes from, and runs on."""
    if device.type == "cuda":
        kind = "cuda {}.{}".format(*torch.cuda.get_device_capability(device))
    else:
        kind = f"{device.type} {torch.backends.cpu.get_cpu_capability()}"
    code = sha256_of(Path(str(getsourcefile(ConditionLinear))))[:12]
    return {"torch": str(torch.__version__), "diffusers": diffusers.__version__, "transformer.py": code, "device": kind}


def _kind(tensor: Tensor, *sizes: str) -> Kind:
    """Its first sizes by their names."""
    return [str(tensor.dtype).removeprefix("torch."), [*sizes, *tensor.shape[len(sizes) :]]]


def _words(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {shape}"


def _described(block: nn.Module, names: list[str]) -> dict[str, Any]:
    """What of a block is in its code: kinds of the weights, and the adapter's scale in each layer that has one."""
    weights = {}
    for name in names:
        parameter = block.get_parameter(name)
        plain = type(parameter) is nn.Parameter  # else it is packed, and only looks like its dtype
        weights[name] = _kind(parameter) if plain else [type(parameter).__name__, []]
    layers = {name: module for name, module in block.named_modules() if isinstance(module, ConditionLinear)}
    scales = {name: float(layer.adapter_scale) for name, layer in layers.items() if layer.adapter_A is not None}
    return {"weights": weights, "adapter_scales": scales}


def _require_fit(transformer: FaceMoGLETransformer2DModel, config: dict[str, Any], source: str) -> None:
    for what, here in _bound_to(transformer.device).items():
        if config[what] != here:
            raise CheckpointError(
                f"The blocks of {source} were compiled for {what} {config[what]}; here is {here}. Compile them again."
            )
    if (index := transformer.device.index) is not None and index != torch.cuda.current_device():
        raise CheckpointError(f"Compiled blocks run on torch's current GPU alone, which {transformer.device} is not.")
    for name, blocks in blocks_by_class(transformer).items():
        for block in blocks:
            if block._compiled_call_impl is not None:
                raise CheckpointError("The preset compiles the blocks itself. Take another one, such as quality.")
            made_for = {part: config["blocks"][name][part] for part in ("weights", "adapter_scales")}
            try:
                fits = _described(block, list(made_for["weights"])) == made_for
            except AttributeError:
                fits = False
            if not fits:
                raise CheckpointError(
                    f"The blocks of {source} were compiled for other layers, weights or another adapter than those of "
                    "this model; they go with weights as they are, without LoRAs. Compile them for it."
                )


def _example_call(pipeline: FaceMoGLEPipeline, block: nn.Module, aoti: Any) -> Call:
    """One call of the block in a run, of two images: of sizes of one, too little is told."""
    config, generator = pipeline.transformer.config, torch.Generator().manual_seed(0)
    with aoti.aoti_capture(block) as captured:
        pipeline(
            prompt_embeds=torch.randn(
                1, pipeline.config.max_sequence_length, config.joint_attention_dim, generator=generator
            ),
            pooled_prompt_embeds=torch.randn(1, config.pooled_projection_dim, generator=generator),
            guidance_scale=1.0,
            num_inference_steps=1,
            num_images_per_prompt=2,
            generator=generator,
            output_type="latent",
        )
    hidden_states, text, modulation, rotary, options = captured.args
    if isinstance(modulation, Tensor) or options or block._compiled_call_impl is not None:
        raise ValueError(
            "Blocks can be compiled ahead of time without hooks, offloading, step caches and torch.compile. Load the "
            "pipeline with preset='quality'."
        )
    assert all(each.is_contiguous() for each in (hidden_states, text, *modulation, *rotary))
    return hidden_states, text, modulation, rotary, {}


def _kinds_of_tensors(call: Call) -> list[Kind]:
    hidden_states, text, modulation, rotary, _ = call
    return [
        _kind(hidden_states, "images", "rows"),
        _kind(text, "images"),
        *(_kind(part, "images") for part in modulation),
        *(_kind(part, "positions") for part in rotary),
    ]


def _exported(block: nn.Module, call: Call, tensors: list[Kind]) -> ExportedProgram:
    tokens = Dim("tokens", min=2, max=MAX_TOKENS)
    sizes = {
        "images": Dim("images", min=1, max=MAX_IMAGES),
        "rows": STREAMS * tokens,
        "positions": STREAMS * tokens + call[1].shape[1],
    }
    hidden_states, text, *others = [
        {place: sizes[size] for place, size in enumerate(shape) if size in sizes} for _, shape in tensors
    ]
    parts = len(call[2])
    return export(block, call, dynamic_shapes=(hidden_states, text, tuple(others[:parts]), tuple(others[parts:]), {}))


def _difference(block: nn.Module, call: Call, package: Any, constants: dict[str, Tensor]) -> float:
    """Of the compiled block from the plain one, in norms of the plain one's output. ValueError: more than rounding."""
    package.seek(0)
    model = torch._inductor.aoti_load_package(package)
    own = {name: block.get_parameter(name).detach() for name in constants}
    model.load_constants(own, check_full_update=True, user_managed=True)
    pairs = zip(model(*call), block(*call), strict=True)
    error = max(float((made.float() - plain.float()).norm() / plain.float().norm()) for made, plain in pairs)
    if not error <= (ALLOWED if call[0].dtype == torch.float32 else ALLOWED_IN_HALF):  # nor where it is no number
        raise ValueError(f"The compiled {type(block).__name__} differs by {error:.1e} from the plain one: not written.")
    return error
