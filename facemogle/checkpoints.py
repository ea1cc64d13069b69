"""Checkpoints: a name, a folder or a Hub id -> a pipeline that is ready to run.

Finds and checks what it takes; weight_files reads it, and parser_checkpoints does the same for the parsers. torch is
imported on the first load, so that a page or a `--help` need not wait for it.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import constants

from facemogle.parser_checkpoints import PARSERS, default_parser, load_parser, parser_available, parsers
from facemogle.presets import PRESETS, check_preset, check_step_cache, choose_preset, place
from facemogle.weight_files import (
    IMPORTING,
    CheckpointError,
    check_device,
    check_gguf,
    check_model,
    check_weights,
    explained,
    hub_place,
    read_gguf,
    read_json,
    read_model,
    read_pickle,
    read_settings,
    require_finite,
    require_room_for,
)

if TYPE_CHECKING:
    import torch

    from facemogle.mogle import MoGLE
    from facemogle.pipeline import FaceMoGLEPipeline

__all__ = [
    "ADAPTER_FILE", "CHECKPOINTS", "FLUX", "PARSERS", "PUBLISHED", "SUGGESTIONS_FILE", "Checkpoint", "CheckpointError",
    "LocalFiles", "available", "default_parser", "default_settings", "describe", "find_files", "find_folder",
    "find_lora", "load_parser", "load_pipeline", "lora_scales", "parser_available", "parser_of", "parsers",
    "prompt_suggestions", "prompt_words", "read_mogle",
]  # fmt: skip

FLUX = "black-forest-labs/FLUX.1-dev"
PUBLISHED = "XavierJiezou/face-mogle-models"
TINY_FLUX = "madebyollin/taef1"  # a decoder of FLUX's latents for previews
ADAPTER_FILE = "pytorch_lora_weights.safetensors"
SUGGESTIONS_FILE = "suggestions.json"
# FLUX.1-dev's repository also holds the same weights in another layout, 24 GB that nothing here reads.
_PIPELINE_FILES = ["model_index.json", ADAPTER_FILE, "*/*.json", "*/*.safetensors", "*/*.txt", "*/*.model"]


@dataclass(frozen=True)
class Checkpoint:
    """Where the parts are. `base`: a folder or Hub id. `adapter`, `mogle`: files, on the Hub as owner/name/file, of
    which the first that exists is taken; empty: those within the base. `transformer`: a GGUF file in place of the
    base's own."""

    base: str
    adapter: tuple[str, ...] = ()
    mogle: tuple[str, ...] = ()
    summary: str = ""
    remedy: str = ""
    parser: str | None = None  # of PARSERS: the one made for the faces it draws
    photographic: bool = False  # it draws what parsers of photos read
    transformer: str | None = None


CHECKPOINTS = {
    "mini": Checkpoint(
        base=str(Path(__file__).parents[1] / "assets" / "mini"),
        summary="a small model trained from scratch on procedural portraits; any CPU, no download",
        remedy="The folder is part of the repository: clone all of it, or train it with `python -m train.mini`.",
        parser="mini",
    ),
    "flux": Checkpoint(
        base=FLUX,
        adapter=(f"{PUBLISHED}/{ADAPTER_FILE}",),
        mogle=(f"{PUBLISHED}/global_local_mask_moe.pt", f"{PUBLISHED}/mogle.pt"),
        photographic=True,
        summary="FLUX.1-dev with the published Face-MoGLE weights; a CUDA GPU of 8 GB or more",
        remedy=(
            f"Accept FLUX.1-dev's licence at https://huggingface.co/{FLUX} and set HF_TOKEN to a token of the account "
            "that did. It takes about 34 GB in bfloat16 (transformer 23.8 GB, T5 9.5 GB), kept in "
            f"{constants.HF_HUB_CACHE} (HF_HOME moves it). With the files already on a disk: "
            "load_pipeline('path/to/FLUX.1-dev', adapter='path/to/pytorch_lora_weights.safetensors', "
            "mogle='path/to/mogle.pt'). Without a GPU: load_pipeline('mini')."
        ),
    ),
}


@dataclass(frozen=True)
class LocalFiles:
    """The parts of a checkpoint, all on this disk. None: within the base."""

    base: Path
    adapter: Path | None
    mogle: Path | None
    transformer: Path | None = None  # GGUF


def load_pipeline(
    name_or_path: str | os.PathLike = "mini",
    *,
    adapter: str | os.PathLike | None = None,
    mogle: str | os.PathLike | None = None,
    loras: Mapping[str, float] | Iterable[str | os.PathLike] = (),
    dtype: "torch.dtype | None" = None,
    device: "torch.device | str | None" = None,
    preset: str | None = None,
    step_cache: str | None = None,
    condition_refresh: int = 1,
) -> "FaceMoGLEPipeline":
    """Load a checkpoint, downloading what is not yet here.

    name_or_path: "mini"; "flux"; a folder or Hub id with a whole Face-MoGLE pipeline; a folder or Hub id of any FLUX
        pipeline, with `adapter` and `mogle`; or a `.gguf` file, which takes the place of the transformer of the
        pipeline in whose folder it lies, else of FLUX.1-dev's.
    adapter: LoRA of the condition tokens, `.safetensors`. mogle: `.safetensors`, a pickle of tensors alone (`.pt`), or
        a folder with its config. Each takes the place of the checkpoint's own.
    loras: of the base, such as styles, beside them: files, each with its scale behind a colon where that is not 1
        ("ink.safetensors:0.6"), or files to scales.
    On the Hub, each may be owner/name/file, or its address as a browser shows it.
    dtype: bfloat16 on CUDA and float32 elsewhere, unless given. device: CUDA where there is one, unless given.
    preset: of `presets.PRESETS`, what lies there and in how many bits; unless given, the best for its free memory.
    step_cache: of `presets.STEP_CACHES`, or "none", in place of the preset's.
    condition_refresh: compute the condition rows in every so manieth step only: `enable_condition_refresh`.
    A token for gated repositories is read from the environment variable HF_TOKEN.

    Raises CheckpointError; ValueError for a device that is not there, or an unknown preset.
    """
    import torch

    on_cuda = torch.cuda.is_available() and preset != "cpu"
    device = torch.device(device or ("cuda" if on_cuda else "cpu"))
    check_device(device)
    if preset is not None:  # before a download
        check_preset(preset)
    check_step_cache(step_cache, preset)
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    scales = lora_scales(loras)
    loras_found = {lora: find_lora(lora, download=True) for lora in scales}  # before what takes long
    files = find_files(name_or_path, adapter=adapter, mogle=mogle, download=True)
    preset = preset or choose_preset(device, files.base)
    check_preset(preset)
    check_step_cache(step_cache, preset)
    pipeline = _read(files, dtype)
    for lora, file in loras_found.items():  # beside layers as they are, before they are quantised
        try:
            pipeline.load_lora(file, scale=scales[lora], name=lora)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
    try:
        place(pipeline, preset, device, step_cache=step_cache)
    except torch.OutOfMemoryError as error:
        raise CheckpointError(
            f"{name_or_path} does not fit into the memory of {device} with the preset {preset}. Choose a smaller one: "
            f"{', '.join(PRESETS)}."
        ) from error
    pipeline.enable_condition_refresh(condition_refresh)
    return pipeline


def available(
    name_or_path: str | os.PathLike,
    *,
    adapter: str | os.PathLike | None = None,
    mogle: str | os.PathLike | None = None,
) -> bool:
    """Whether every file is on this disk, so that load_pipeline needs no download."""
    try:
        find_files(name_or_path, adapter=adapter, mogle=mogle, download=False)
    except CheckpointError:
        return False
    return True


def prompt_suggestions(name_or_path: str | os.PathLike) -> dict[str, list[str]]:
    """Attribute -> phrases that a checkpoint on this disk was trained on; empty: it knows language at large."""
    file = _base(name_or_path) / SUGGESTIONS_FILE
    return read_json(file) if file.is_file() else {}


def prompt_words(name_or_path: str | os.PathLike) -> int | None:
    """How many words of a prompt are read by a checkpoint on this disk that knows some words alone; None: by others."""
    if not prompt_suggestions(name_or_path):
        return None
    length = read_settings(_base(name_or_path) / "model_index.json").get("max_sequence_length")
    return length and length - 1  # T5's mark of the end takes one


def default_settings(name_or_path: str | os.PathLike) -> tuple[int, float]:
    """Steps and guidance scale of a checkpoint on this disk, without loading it; FLUX.1-dev's where none are told."""
    try:
        told = read_settings(_base(name_or_path) / "model_index.json")
    except CheckpointError:  # loading it tells what is wrong
        told = {}
    return told.get("num_inference_steps", 28), told.get("guidance_scale", 3.5)


def lora_scales(loras: Mapping[str, float] | Iterable[str | os.PathLike]) -> dict[str, float]:
    """ "ink.safetensors:0.6", ... -> file to scale, 1 where none is told."""
    if isinstance(loras, Mapping):
        return {os.fspath(file): scale for file, scale in loras.items()}
    if isinstance(loras, (str, os.PathLike)):
        raise ValueError(f"loras are several files: give [{os.fspath(loras)!r}].")
    scales = {}
    for text in [os.fspath(each) for each in loras]:
        file, _, scale = text.rpartition(":")
        try:
            scales[file or text] = float(scale) if file else 1.0
        except ValueError:  # the colon of an address
            scales[text] = 1.0
    return scales


def _base(name_or_path: str | os.PathLike) -> Path:
    """Where the pipeline is if it is on this disk: what a Hub id names is no folder."""
    return Path(_checkpoint(os.fspath(name_or_path)).base).expanduser()


def _checkpoint(name: str) -> Checkpoint:
    if not name.partition("?")[0].lower().endswith(".gguf"):
        return CHECKPOINTS.get(name, Checkpoint(base=name))
    beside = Path(name).expanduser().parent
    if not (beside / "model_index.json").is_file():
        return replace(CHECKPOINTS["flux"], transformer=name)
    own = (
        Checkpoint(base=str(beside)) if (beside / "mogle").is_dir() else replace(CHECKPOINTS["flux"], base=str(beside))
    )
    return replace(own, transformer=name)


def parser_of(name_or_path: str | os.PathLike) -> str | None:
    """The parser, for load_parser, that reads a checkpoint's faces; None: none is known to, or none is on this disk."""
    checkpoint = _checkpoint(os.fspath(name_or_path))
    if checkpoint.photographic and (best := default_parser()) != "mini":
        return best
    return checkpoint.parser


def describe(name_or_path: str | os.PathLike) -> str:
    """One line on what a checkpoint is, for a page or a log."""
    name = os.fspath(name_or_path)
    return f"{name}: {CHECKPOINTS[name].summary}" if name in CHECKPOINTS else name


# Finding


def find_files(
    name_or_path: str | os.PathLike,
    *,
    adapter: str | os.PathLike | None = None,
    mogle: str | os.PathLike | None = None,
    download: bool,
) -> LocalFiles:
    """Locate every part, the small ones first, and check that nothing is missing or cut short. CheckpointError."""
    checkpoint = _checkpoint(os.fspath(name_or_path))
    # The caller's own files are looked at apart: what is wrong with them, the checkpoint's remedy does not cure.
    own_adapter = _find_adapter((os.fspath(adapter),), download) if adapter else None
    own_mogle = _find_mogle((os.fspath(mogle),), download) if mogle else None
    transformer = _find_file((checkpoint.transformer,), download) if checkpoint.transformer else None
    if transformer:
        check_gguf(transformer)
    try:
        adapter_path = own_adapter or _find_adapter(checkpoint.adapter, download)
        mogle_path = own_mogle or _find_mogle(checkpoint.mogle, download)
        base = find_folder(checkpoint.base, download, without_transformer=transformer is not None)
        if "mogle" in _check_folder(base, without_transformer=transformer is not None):
            check_weights(adapter_path or base / ADAPTER_FILE)
        elif adapter_path is None or mogle_path is None:
            raise CheckpointError(f"{base} holds no Face-MoGLE weights. Pass adapter= and mogle= with it.")
    except CheckpointError as error:
        raise CheckpointError(f"{error} {checkpoint.remedy}".strip()) from error
    return LocalFiles(base=base, adapter=adapter_path, mogle=mogle_path, transformer=transformer)


def find_lora(lora: str, *, download: bool) -> Path:
    """As `load_pipeline` takes it, without a scale -> the file, which is whole. CheckpointError."""
    path = _find_file((lora,), download, whole_repository=ADAPTER_FILE)
    assert path is not None
    path = path / ADAPTER_FILE if path.is_dir() else path
    check_weights(path)
    return path


def _find_adapter(candidates: tuple[str, ...], download: bool) -> Path | None:
    path = _find_file(candidates, download, whole_repository=ADAPTER_FILE)
    if path is not None:
        path = path / ADAPTER_FILE if path.is_dir() else path
        check_weights(path)
    return path


def _find_mogle(candidates: tuple[str, ...], download: bool) -> Path | None:
    path = _find_file(candidates, download, whole_repository="mogle")
    if path is not None and path.is_dir():
        check_model(path)
    elif path is not None and path.suffix == ".safetensors":  # a pickle shows what it is when it is read
        check_weights(path)
    return path


def find_folder(base: str, download: bool, *, without_transformer: bool = False) -> Path:
    """A folder, or a Hub id or address, whose pipeline is then downloaded -> the folder. CheckpointError."""
    folder = Path(base).expanduser()
    if folder.is_dir():
        return folder
    place = hub_place(base)
    if place is None:
        if folder.is_absolute() or len(folder.parts) > 1:
            raise CheckpointError(f"There is no folder {folder}.")
        close = difflib.get_close_matches(base, CHECKPOINTS, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise CheckpointError(
            f"There is no checkpoint {base!r}.{hint} Known are {', '.join(CHECKPOINTS)}; or give a folder, or a Hub id "
            "(owner/name)."
        )
    if place.is_file:
        raise CheckpointError(f"{base} is one file; a checkpoint is a folder of parts, or a .gguf file of FLUX.")
    patterns = [each for each in _PIPELINE_FILES if not (without_transformer and each == "*/*.safetensors")]
    if without_transformer:
        patterns += ["vae/*.safetensors", "text_encoder*/*.safetensors"]
    return place.fetch_folder(patterns, download=download)


def _find_file(candidates: tuple[str, ...], download: bool, *, whole_repository: str = "") -> Path | None:
    """The first candidate that exists; None without candidates. `whole_repository`: what is meant in one on the Hub."""
    failure = None
    for candidate in candidates:
        path = Path(candidate).expanduser()
        if path.exists():
            return path
        place, remedy = hub_place(candidate), ""
        if place is not None and not place.path and whole_repository:
            place, remedy = replace(place, path=whole_repository), " Or give the address of the file itself."
        if place is None or not place.path:
            raise CheckpointError(f"There is no file {path}.")
        try:
            return place.fetch(download=download) if place.is_file else place.fetch_folder(["*"], download=download)
        except CheckpointError as error:
            failure = failure or CheckpointError(f"{error}{remedy}")
    if failure is not None:
        raise failure
    return None


def _check_folder(base: Path, *, without_transformer: bool = False) -> dict[str, Any]:
    """The parts that model_index.json names, all there and whole."""
    parts = {name: entry for name, entry in read_settings(base / "model_index.json").items() if isinstance(entry, list)}
    for name, entry in parts.items():
        if entry[:1] == [None]:
            continue
        if not (base / name).is_dir():
            raise CheckpointError(f"{base} has no {name} folder, which its model_index.json names.")
        if without_transformer and name == "transformer":
            read_settings(base / name / "config.json")
        elif (base / name / "config.json").is_file() or any((base / name).glob("*.safetensors")):
            check_model(base / name)
        if name == "scheduler":
            read_settings(base / name / "scheduler_config.json")
    return parts


# Reading


def _read(files: LocalFiles, dtype: "torch.dtype") -> "FaceMoGLEPipeline":
    with IMPORTING:
        from diffusers import AutoencoderKL
        from transformers import CLIPTextModel, T5EncoderModel

        from facemogle.pipeline import FaceMoGLEPipeline
        from facemogle.transformer import FaceMoGLETransformer2DModel
        from facemogle.vae import PixelShuffleAutoencoderKL

    vae_classes = {vae_class.__name__: vae_class for vae_class in (AutoencoderKL, PixelShuffleAutoencoderKL)}
    vae_name = str(read_json(files.base / "vae" / "config.json").get("_class_name"))
    if vae_name not in vae_classes:
        raise CheckpointError(f"{files.base / 'vae'} holds a {vae_name}; expected one of {', '.join(vae_classes)}.")
    folder = files.base / "transformer"
    text_encoders = {"text_encoder": CLIPTextModel, "text_encoder_2": T5EncoderModel}
    for part, text_encoder in text_encoders.items():
        require_room_for(text_encoder, files.base / part)
    with explained(files.base):
        pipeline = FaceMoGLEPipeline.from_pretrained(
            files.base,
            transformer=(
                read_gguf(FaceMoGLETransformer2DModel, files.transformer, folder, dtype)
                if files.transformer
                else read_model(FaceMoGLETransformer2DModel, folder, dtype)
            ),
            vae=read_model(vae_classes[vae_name], files.base / "vae", dtype),
            mogle=read_mogle(files.mogle or files.base / "mogle", dtype),
            dtype=dtype,
        )
    if files.adapter is not None:
        with explained(files.adapter):
            pipeline.load_condition_adapter(files.adapter)
    pipeline.preview_vae = _read_preview_vae(pipeline.vae.config, dtype)
    require_finite(pipeline.transformer.condition_adapter_state_dict(), files.adapter or files.base / ADAPTER_FILE)
    require_finite(pipeline.mogle.state_dict(), files.mogle or files.base / "mogle")
    for part in text_encoders:
        require_finite(getattr(pipeline, part).state_dict(), files.base / part)
    return pipeline


def _read_preview_vae(vae_config: Any, dtype: "torch.dtype") -> Any:
    """The small decoder of FLUX's latents if it is on this disk and fits the VAE; else None. It is never downloaded."""
    from diffusers import AutoencoderTiny

    of_flux = {"latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159}
    if any(vae_config.get(name) != value for name, value in of_flux.items()):
        return None
    try:
        return read_model(AutoencoderTiny, find_folder(TINY_FLUX, download=False), dtype).eval()
    except CheckpointError:  # previews are less sharp then
        return None


def read_mogle(path: Path, dtype: "torch.dtype") -> "MoGLE":
    """A folder with its own config, or a bare file of weights, which then are like the published. CheckpointError."""
    from safetensors.torch import load_file

    from facemogle.mogle import MoGLE

    if path.is_dir():
        return read_model(MoGLE, path, dtype)
    with explained(path):
        state_dict = load_file(path) if path.suffix == ".safetensors" else read_pickle(path)
        mogle = MoGLE().eval()
        mogle.load_state_dict({name: tensor.to(dtype) for name, tensor in state_dict.items()}, assign=True)
        return mogle
