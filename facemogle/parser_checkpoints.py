"""Face parsers: a name or a folder -> a network that reads label maps, downloaded where it is not yet here.

torch is imported on the first load, so that a page or a menu need not wait for it.
"""

import importlib.util
import os
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import huggingface_hub
from huggingface_hub import constants

from facemogle.weight_files import (
    IMPORTING,
    CheckpointError,
    check_device,
    check_model,
    check_weights,
    explained,
    from_address,
    from_hub,
    read_json,
    read_model,
    read_pickle,
    require_finite,
)
from facemogle.whole_files import sha256_of

if TYPE_CHECKING:
    import torch

    from facemogle.parsing.mini import MiniParser
    from facemogle.parsing.published import PublishedParser


@dataclass(frozen=True)
class Published:
    """A parser that others publish. `home`: the Hub's id of its repository, or the address of a folder on the web.

    `files`: what is read of it, the weights last, with their `size` in bytes and `sha256`. `revision`: on the Hub, the
    commit that has them. `package`, as Python and as pip call it: what must be installed for it.
    """

    summary: str
    licence: str
    home: str
    files: tuple[str, ...]
    size: int
    sha256: str
    revision: str = ""
    package: tuple[str, str] | None = None

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.home}" if self.revision else f"{self.home}/{self.files[-1]}"

    @property
    def folder(self) -> Path:
        """Where the usual cache of its home keeps its files."""
        if self.revision:
            name = f"models--{self.home.replace('/', '--')}"
            return Path(constants.HF_HUB_CACHE) / name / "snapshots" / self.revision
        # torch.hub.get_dir(), of which a page that starts would have to wait for torch.
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
        return Path(os.environ.get("TORCH_HOME") or cache).expanduser() / "hub" / "checkpoints"


# The best on photos first.
PARSERS: dict[str, Path | Published] = {
    "segface": Published(
        summary="SegFace with a ConvNeXt-B, the most accurate on photos",
        licence="MIT",
        home="kartiknarayan/SegFace",
        revision="5e093b03c0523f7f32a9845bbbc75ecb027c8bee",
        files=("convnext_celeba_512/model_299.pt",),
        size=1_102_518_358,
        sha256="3cd535bfcfab4e5c67b7df7015370c2b18cb9a4044ecb00c7c1fa8555558c507",
    ),
    "farl": Published(
        summary="FaRL, through facer, accurate on photos",
        licence="MIT",
        home="https://github.com/FacePerceiver/facer/releases/download/models-v1",
        files=("face_parsing.farl.celebm.main_ema_181500_jit.pt",),
        size=646_629_586,
        sha256="bbc1f0e9f68c80eb83a0b23f33850d1e10f2ec1eda96884112d111c2c1f15c79",
        package=("facer", "pyfacer"),
    ),
    "segformer": Published(
        summary="SegFormer, the smallest download for photos",
        licence="none stated",
        home="jonathandinu/face-parsing",
        revision="1f7e152e1efbfe03ce6c2637944a1f6a41bfcd0a",
        files=("config.json", "model.safetensors"),
        size=338_580_732,
        sha256="c2bec795a8c243db71bd95be538fd62559003566466c71237e45c99b920f4b62",
    ),
    "mini": Path(__file__).parents[1] / "assets" / "mini-parser",
}


@overload
def load_parser(
    name_or_path: Literal["mini"] = "mini",
    *,
    weights: str | os.PathLike | None = None,
    device: "torch.device | str | None" = None,
) -> "MiniParser": ...
@overload
def load_parser(
    name_or_path: str | os.PathLike,
    *,
    weights: str | os.PathLike | None = None,
    device: "torch.device | str | None" = None,
) -> "MiniParser | PublishedParser": ...
def load_parser(
    name_or_path: str | os.PathLike = "mini",
    *,
    weights: str | os.PathLike | None = None,
    device: "torch.device | str | None" = None,
) -> "MiniParser | PublishedParser":
    """Load a face parser in float32, downloading what is not yet here, once, with a progress bar.

    name_or_path: "mini", which is part of the repository; "segface", "farl" or "segformer"; or a folder like mini's, or
        of a SegFormer that names the 19 classes.
    weights: a file or folder of one's own in place of that name's. Nothing is downloaded then.
    device: the CPU, unless given.
    A downloaded file must have the size and the sha256 that its publisher announces; one from the cache, the size.

    Raises CheckpointError; ValueError for a device that is not there.
    """
    name, device = os.fspath(name_or_path), device or "cpu"
    check_device(device)
    source = PARSERS.get(name, Path(name).expanduser())
    own = Path(weights).expanduser() if weights else None
    if isinstance(source, Path):
        return _read_folder(_find_folder(own or source), device)
    try:
        if own is not None and not own.exists():
            raise CheckpointError(f"There is no file {own}.")
        _require_package(source)
        return _READERS[name](own or _find_published(source, download=True), device)
    except CheckpointError as error:
        raise CheckpointError(f"{error} {_remedy(name, source)}") from error


def parsers() -> dict[str, str]:
    """Name of each parser -> one line on it, for a menu; the best on photos first."""
    return {
        name: f"{source.summary}; {_size(source)} to download, licence: {source.licence}"
        if isinstance(source, Published)
        else "made for portraits that mini draws, often wrong on photos, which are for segface; no download"
        for name, source in PARSERS.items()
    }


def parser_available(name_or_path: str | os.PathLike) -> bool:
    """Whether load_parser needs no download: every file is on this disk, and the package for it is installed."""
    name = os.fspath(name_or_path)
    source = PARSERS.get(name, Path(name).expanduser())
    try:
        if isinstance(source, Path):
            _find_folder(source)
        else:
            _require_package(source)
            _find_published(source, download=False)
    except CheckpointError:
        return False
    return True


def default_parser() -> str:
    """The best parser for photos of those that are there."""
    return next((name for name in PARSERS if parser_available(name)), "mini")


# Finding


def _find_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise CheckpointError(f"There is no parser {folder}: it is no folder, and known are {', '.join(PARSERS)}.")
    check_model(folder)
    return folder


def _find_published(source: Published, *, download: bool) -> Path:
    """The weights, with all that is read beside them. What comes from the cache is looked at, what is new is hashed."""
    paths = [source.folder / file for file in source.files]
    if not all(path.is_file() for path in paths):
        if not download:
            raise CheckpointError(f"{paths[-1]} is not on this disk.")
        paths = [_download(source, file) for file in source.files]
        if (found := sha256_of(paths[-1])) != source.sha256:
            paths[-1].resolve().unlink()  # on the Hub's side of the cache it is a link
            paths[-1].unlink(missing_ok=True)
            raise CheckpointError(
                f"{source.files[-1]} came with another sha256 than its publisher announces, {found} instead of "
                f"{source.sha256}, and was thrown away. Try again."
            )
    if (size := paths[-1].stat().st_size) != source.size:
        raise CheckpointError(
            f"{paths[-1]} is truncated or another file: it has {size:,} bytes instead of {source.size:,}. "
            "Delete it and fetch it again."
        )
    return paths[-1]


def _download(source: Published, file: str) -> Path:
    if source.revision:
        fetch = partial(huggingface_hub.hf_hub_download, source.home, file, revision=source.revision)
        return from_hub(source.home, file, fetch)
    path = source.folder / file
    from_address(f"{source.home}/{file}", path)
    return path


def _require_package(source: Published) -> None:
    if source.package and importlib.util.find_spec(source.package[0]) is None:
        module, distribution = source.package
        raise CheckpointError(f"The package {module} is not installed: pip install {distribution}.")


def _remedy(name: str, source: Published) -> str:
    places = " and ".join(str(source.folder / file) for file in source.files)
    return (
        f"{name} reads {' and '.join(source.files)} from {source.page} ({_size(source)}, licence: {source.licence}), "
        f"and fetches it on first use where there is a network. Where there is none, put it at {places}, or pass "
        f"load_parser({name!r}, weights='path/to/{Path(source.files[-1]).name}')."
    )


def _size(source: Published) -> str:
    return f"{source.size / 1e9:.2f} GB"


# Reading


def _read_folder(folder: Path, device: "torch.device | str") -> "MiniParser | PublishedParser":
    with IMPORTING:
        import torch

        from facemogle.parsing.mini import MiniParser

    config = read_json(folder / "config.json")
    kind = config.get("_class_name", config.get("model_type"))
    if kind == "segformer":
        return _read_segformer(folder, device)
    if kind != MiniParser.__name__:
        raise CheckpointError(f"{folder} holds a {kind}; expected a {MiniParser.__name__} or a segformer.")
    return read_model(MiniParser, folder, torch.float32).to(device)


def _read_segface(path: Path, device: "torch.device | str") -> "PublishedParser":
    from safetensors.torch import load_file

    from facemogle.parsing import segface

    if path.suffix == ".safetensors":
        check_weights(path)
        state_dict = load_file(path)
    else:
        state_dict = read_pickle(path, key="state_dict_backbone")
    require_finite(state_dict, path)
    with explained(path):
        return segface.segface_parser(state_dict, device)


def _read_farl(path: Path, device: "torch.device | str") -> "PublishedParser":
    from facemogle.parsing import farl

    if not zipfile.is_zipfile(path):  # its directory stands at the end
        raise CheckpointError(
            f"{path} of {path.stat().st_size:,} bytes is truncated, or no TorchScript file. "
            "Delete it and fetch it again."
        )
    with explained(path):
        return farl.farl_parser(path, device)


def _read_segformer(path: Path, device: "torch.device | str") -> "PublishedParser":
    import torch
    from transformers import SegformerForSemanticSegmentation

    from facemogle.parsing import segformer

    folder = path if path.is_dir() else path.parent
    check_model(folder)
    network = read_model(SegformerForSemanticSegmentation, folder, torch.float32)
    require_finite(network.state_dict(), folder)
    with explained(folder):
        return segformer.segformer_parser(network, device)


_READERS = {"segface": _read_segface, "farl": _read_farl, "segformer": _read_segformer}
