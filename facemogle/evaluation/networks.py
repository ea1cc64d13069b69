"""The evaluation's networks: their files found or fetched, checked, and read without running what they may hold."""

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.utils import logging as transformers_logging

from facemogle.evaluation.metric import Network, NetworkFile
from facemogle.weight_files import (
    CheckpointError,
    HubPlace,
    check_weights,
    explained,
    from_address,
    read_pickle,
    require_exact,
    require_finite,
)
from facemogle.whole_files import sha256_of

_BLOB = re.compile(r"[0-9a-f]{64}")  # the Hub's cache names a large file by its sha256


def cache_folder() -> Path:
    """Where features are kept, and what is downloaded from elsewhere than the Hub."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "facemogle"


def find_files(
    network: Network, folder: Path | None = None, *, download: bool, sha256: Callable[[Path], str] = sha256_of
) -> list[tuple[Path, str]]:
    """Each of the network's files with its sha256, in their order.

    folder: what lies in it as NETWORK/FILE comes before all else; None: that of the cache. download: what is neither
    there nor in the Hub's cache is fetched.
    CheckpointError where one is missing, or is another file than is published.
    """
    folder = folder or cache_folder() / "networks"
    return [_checked(file, _find(network, file, folder, download), sha256) for file in network.files]


def _find(network: Network, file: NetworkFile, folder: Path, download: bool) -> Path:
    own = folder / network.folder / file.name
    if own.is_file():
        return own
    place = _hub_place(file)
    if place is not None and download:  # the Hub is not asked for what is here
        with suppress(CheckpointError):
            return place.fetch(download=False)
    try:
        if place is not None:
            return place.fetch(download=download and not file.by_hand)
        if not download or file.by_hand:
            raise CheckpointError("it is not on this disk.")
        from_address(file.source, own)
    except CheckpointError as error:
        page = f"https://huggingface.co/{place.repository}" if place else file.source
        raise CheckpointError(
            f"{network.name} needs {file.name} ({_size(file)}, licence: {network.licence}) from {page}: {error} Put it "
            f"at {own}, or as {network.folder}/{file.name} into a folder of your own, and pass that with --networks."
        ) from error
    return own


def _checked(file: NetworkFile, path: Path, sha256: Callable[[Path], str]) -> tuple[Path, str]:
    """CheckpointError unless it is what its publisher announces, or what the Hub's cache says that it is."""
    blob = path.resolve().name
    expected = file.sha256 or (blob if _BLOB.fullmatch(blob) else "")
    found = sha256(path)
    if not found.startswith(expected):
        raise CheckpointError(
            f"{path} is damaged or another file than {file.source}: its sha256 is {found} instead of {expected}. "
            "Delete it and fetch it again."
        )
    return path, found


def _hub_place(file: NetworkFile) -> HubPlace | None:
    if "://" in file.source:
        return None
    owner, name, path = file.source.split("/", 2)
    return HubPlace(f"{owner}/{name}", path)


def _size(file: NetworkFile) -> str:
    return f"{file.size / 1e9:.2f} GB" if file.size >= 1e8 else f"{file.size / 1e6:.2f} MB"


def require_package(module: str, network: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise CheckpointError(f"{network} needs the package {module}: pip install -r requirements-evaluate.txt")


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict, of safetensors or of a pickle that holds tensors alone. CheckpointError."""
    if path.suffix == ".safetensors":
        check_weights(path)
        weights = load_file(path)
    else:
        weights = read_pickle(path)
    require_finite(weights, path)
    return weights


def read_torchscript(path: Path, sha256: str, device: str) -> torch.jit.ScriptModule:
    """TorchScript is a program, so that it is opened only where it is the published one to the bit."""
    if sha256_of(path) != sha256:
        raise CheckpointError(f"{path} is not the file with the sha256 {sha256}, and no other program is run.")
    with explained(path):
        return torch.jit.load(path, map_location=device).eval()


def fill(module: torch.nn.Module, weights: dict[str, Tensor], path: Path) -> torch.nn.Module:
    """The module, which may have been made on no memory, with exactly these weights, ready to be used."""
    with explained(path):
        module.load_state_dict(weights, assign=True)
    return module.float().eval()


def transformers_model(
    model_class: Any, config: Any, weights: dict[str, Tensor], path: Path, *, pooler: bool = True
) -> Any:
    """A model of transformers with weights under any names that it has had there, ready to be used."""
    options = {} if pooler else {"add_pooling_layer": False}
    with explained(path), _quiet():
        model, info = model_class.from_pretrained(
            None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True, **options
        )
    require_exact(info, path)
    return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own bar and table: what does not fit is an error here."""
    verbosity = transformers_logging.get_verbosity()
    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()


def resized_positions(positions: Tensor, side: int) -> Tensor:
    """(1, 1 + N, C) position embeddings -> (1, 1 + side * side, C), as DINO's and DINOv2's own code resizes them.

    Its scale is a tenth of a token more than the sides' ratio, so that interpolation to a size would differ.
    """
    token, grid = positions[:, :1], positions[:, 1:]
    before = round(grid.shape[1] ** 0.5)
    if before == side:
        return positions
    grid = grid.reshape(1, before, before, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, scale_factor=(side + 0.1) / before, mode="bicubic")
    return torch.cat([token, grid.flatten(2).transpose(1, 2)], dim=1)
