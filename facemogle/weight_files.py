"""Weight files: fetched from the Hub, checked before gigabytes are read, and read without running what they may hold.

Whatever is wrong becomes a CheckpointError that names the file and the remedy.
"""

import importlib.util
import json
import math
import pickle
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
from huggingface_hub import errors

from facemogle.setting_ranges import require_sane

if TYPE_CHECKING:
    import torch

_MAX_JSON = 32 * 2**20  # bytes; FLUX.1-dev's largest takes a tenth of a megabyte
_RARE = (ArithmeticError, AssertionError, MemoryError)  # what libraries raise on what they did not expect
_COUNTERS = ("position_ids", "num_batches_tracked")  # what is whole numbers among the weights of some libraries


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be loaded: what is wrong, with which file, and the remedy."""


# Held while diffusers is imported: two threads that do so at once, the page's pipeline and its parser, each meet
# modules that the other has half made, and fail.
IMPORTING = threading.Lock()

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILE_ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".gguf")


@dataclass(frozen=True)
class HubPlace:
    """A repository on the Hub (owner/name), or a file or folder in it. `revision` None: its newest."""

    repository: str
    path: str = ""
    revision: str | None = None

    @property
    def is_file(self) -> bool:
        return self.path.endswith(_FILE_ENDINGS)

    def fetch(self, *, download: bool) -> Path:
        """The file. CheckpointError."""
        fetch = partial(huggingface_hub.hf_hub_download, self.repository, self.path, **self._options(download))
        return from_hub(self.repository, self.path, fetch)

    def fetch_folder(self, patterns: list[str], *, download: bool) -> Path:
        """What fits the patterns within the folder -> the folder. CheckpointError where there is nothing."""
        inside = [f"{self.path}/{pattern}" if self.path else pattern for pattern in patterns]
        options = self._options(download)
        fetch = partial(huggingface_hub.snapshot_download, self.repository, allow_patterns=inside, **options)
        folder = from_hub(self.repository, self.path or "the pipeline", fetch) / self.path
        if not folder.is_dir():
            raise CheckpointError(f"https://huggingface.co/{self.repository} has no folder {self.path}.")
        return folder

    def _options(self, download: bool) -> dict[str, Any]:
        return {"local_files_only": not download} | ({"revision": self.revision} if self.revision else {})


def hub_place(text: str) -> HubPlace | None:
    """owner/name, owner/name/file, or an address as a browser shows it; None for anything else.

    CheckpointError for an address of something else.
    """
    if "://" in text or text.startswith(("huggingface.co/", "hf.co/")):
        try:
            place = huggingface_hub.parse_hf_uri(text)
        except errors.HfUriError as error:
            raise CheckpointError(
                f"{text} is no address of a model, or of a file of one, on the Hub. Give one such as "
                "https://huggingface.co/owner/name/blob/main/file, or owner/name/file, or the path of a copy here."
            ) from error
        if place.type != "model":
            raise CheckpointError(f"{text} is a {place.type} on the Hub, and not a model.")
        return HubPlace(place.id, place.path_in_repo, None if place.revision == "main" else place.revision)
    repository, _, file = text.rpartition("/")
    if _HUB_ID.fullmatch(text) and not text.endswith(_FILE_ENDINGS):
        return HubPlace(text)
    return HubPlace(repository, file) if _HUB_ID.fullmatch(repository) else None


def fetch_dataset(repository: str, folder: str) -> Path:
    """A folder of a data set on the Hub -> where it is on this disk. CheckpointError."""
    fetch = partial(huggingface_hub.snapshot_download, repository, repo_type="dataset", allow_patterns=[f"{folder}/**"])
    found = from_hub(f"datasets/{repository}", folder, fetch) / folder
    if not found.is_dir():
        raise CheckpointError(f"https://huggingface.co/datasets/{repository} has no folder {folder}.")
    return found


def from_hub(repository: str, what: str, fetch: Callable[[], str]) -> Path:
    """Fetch, and say in a user's words what the Hub said."""
    page = f"https://huggingface.co/{repository}"
    try:
        return Path(fetch())
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{repository} is gated: its licence, on {page}, is not accepted yet, or HF_TOKEN is not set."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"There is no folder {repository}, and no such repository on the Hub, or a private one: set HF_TOKEN then."
        ) from error
    except errors.LocalEntryNotFoundError as error:  # a kind of EntryNotFoundError, so before it
        raise CheckpointError(
            f"{what} of {page} is not on this disk, and the Hub was not asked or could not be reached."
        ) from error
    except errors.EntryNotFoundError as error:
        raise CheckpointError(f"{page} has no {what}.") from error
    except Exception as error:  # networks, proxies and disks fail in ways beyond listing
        raise CheckpointError(f"{what} of {page} could not be downloaded: {first_line(error)}.") from error


def from_address(address: str, path: Path) -> None:
    """Download a file of the web, with a progress bar, to where it will stay. CheckpointError."""
    import torch

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(path))
    except Exception as error:  # networks, proxies and disks fail in ways beyond listing
        raise CheckpointError(f"{address} could not be downloaded: {first_line(error)}.") from error


def check_model(folder: Path) -> None:
    packed = "quantization_config" in read_settings(folder / "config.json")
    shards: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        weight_map = read_json(index).get("weight_map", {})
        names: list[Any] = list(weight_map.values()) if isinstance(weight_map, dict) else [None]
        if not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise CheckpointError(f"{index} must map tensors to files beside it. Fetch the folder again.")
        shards.update(names)
    files = sorted(folder / shard for shard in shards) or sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} holds no weights: expected a .safetensors file.")
    for file in files:
        check_weights(file, packed=packed)


def check_device(device: "torch.device | str") -> None:
    """ValueError where torch sees no such device."""
    import torch

    device = torch.device(device)
    if device.type == "cpu":
        return
    kind = getattr(torch, device.type, None)
    count = kind.device_count() if kind is not None and kind.is_available() else 0
    if (device.index or 0) >= count:
        kinds = {"cuda": "CUDA", "mps": "Apple GPU (MPS)", "xpu": "Intel GPU (XPU)"}
        seen = f"{count} of kind" if count else "no"
        raise ValueError(
            f"{device} was asked for, but torch sees {seen} {kinds.get(device.type, device.type)} device. Leave device "
            "out, or ask for the CPU."
        )


def check_weights(file: Path, *, packed: bool = False) -> None:
    """A safetensors file's header tells its length, so that a broken download shows without reading it all.

    packed: quantised weights may be whole numbers.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise CheckpointError(f"The weight file {file} is missing.")
    if file.suffix != ".safetensors":
        raise CheckpointError(f"{file} is not a .safetensors file. Convert it with safetensors.torch.save_file first.")
    try:
        with safe_open(file, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file} of {file.stat().st_size:,} bytes is truncated or damaged ({error}). Delete it and fetch it again."
        ) from error
    for name, entry in tensors_of(file).items():
        fraction = entry["dtype"].startswith(("F", "BF", "C")) or math.prod(entry["shape"]) == 1
        if not (packed or fraction or name.endswith(_COUNTERS)):
            raise CheckpointError(f"{file} holds whole numbers ({entry['dtype']}) where weights must be: {name}.")


def tensors_of(file: Path) -> dict[str, Any]:
    """Name -> "dtype" and "shape" of each tensor of a safetensors file that was checked, without reading any."""
    with open(file, "rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def read_settings(file: Path) -> dict[str, Any]:
    """A config, whose values are sensible. CheckpointError."""
    settings = read_json(file)
    try:
        require_sane(settings)
    except ValueError as error:
        raise CheckpointError(f"{file} is refused: {error}") from error
    return settings


def check_gguf(file: Path) -> None:
    """A GGUF file tells where its tensors end, so that a broken download shows before the other parts are fetched."""
    if importlib.util.find_spec("gguf") is None:
        raise CheckpointError(f"{file} is read with the package gguf: pip install -r requirements-gguf.txt")
    from gguf import GGUFReader

    try:
        GGUFReader(file)
    except Exception as error:  # it fails on other bytes in ways beyond listing
        raise CheckpointError(
            f"{file} of {file.stat().st_size:,} bytes is no GGUF file, or is cut short ({first_line(error)}). Fetch it "
            "again."
        ) from error


def read_json(file: Path) -> dict[str, Any]:
    try:
        if (size := file.stat().st_size) > _MAX_JSON:
            raise ValueError(f"it has {size:,} bytes, and at most {_MAX_JSON:,} are sensible")
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        whole = f"{file} is missing, so {file.parent} is no checkpoint that was saved whole."
        part = next((path.parent for path in sorted(file.parent.glob(f"*/{file.name}"))), None)
        remedy = f" Did you mean {part}?" if part is not None and (file.parent / "model_index.json").is_file() else ""
        raise CheckpointError(whole + remedy) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} must hold a JSON object, got {type(content).__name__}.")
    return content


def read_gguf(model_class: Any, path: Path, folder: Path, dtype: "torch.dtype") -> Any:
    """A transformer whose weights stay packed as in the file, with the config in the folder; computes in `dtype`."""
    from diffusers import GGUFQuantizationConfig

    quantisation = GGUFQuantizationConfig(compute_dtype=dtype)
    with explained(path):
        try:
            options = {"config": str(folder), "quantization_config": quantisation, "dtype": dtype}
            model = model_class.from_single_file(str(path), **options)
        except LookupError as error:  # of what diffusers looks for
            raise CheckpointError(f"{path} holds no FLUX transformer such as {folder} describes.") from error
    if missing := [name for name, parameter in model.named_parameters() if parameter.is_meta]:
        raise CheckpointError(
            f"{path} lacks {len(missing)} weights that {folder / 'config.json'} asks for: {missing[0]}."
        )
    return model


def read_model(model_class: Any, folder: Path, dtype: "torch.dtype") -> Any:
    """diffusers only warns of weights that are missing or left over; here either is an error."""
    require_room_for(model_class, folder)
    with explained(folder):
        model, info = model_class.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    require_exact(info, folder)
    require_finite(model.state_dict(), folder)
    return model


def require_exact(info: dict[str, Any], path: Path) -> None:
    """CheckpointError unless what a library read fits what it made. info: what it says of its loading."""
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if keys := sorted(map(str, info[problem])):
            raise CheckpointError(
                f"The weights in {path} do not fit its config.json: {len(keys)} {problem.replace('_', ' ')}, such as "
                f"{keys[0]}. Fetch the folder again."
            )


def require_room_for(model_class: Any, folder: Path) -> None:
    """CheckpointError where the config asks for far more than the files hold, before memory is taken for it."""
    import torch

    config = read_settings(folder / "config.json")
    if "quantization_config" in config:  # whose weights are packed
        return
    with explained(folder), torch.device("meta"):
        if hasattr(model_class, "load_config"):
            model = model_class.from_config(model_class.load_config(folder))
        else:
            model = model_class(model_class.config_class.from_pretrained(folder))
    asked = sum(parameter.numel() for parameter in model.parameters())
    held = sum(
        math.prod(entry["shape"]) for file in folder.glob("*.safetensors") for entry in tensors_of(file).values()
    )
    if asked > 2 * held:  # what is tied is kept once
        raise CheckpointError(
            f"{folder / 'config.json'} asks for {asked:,} weights, and the files beside it hold {held:,}. Fetch the "
            "folder again."
        )


def read_pickle(path: Path, *, key: str | None = None) -> dict[str, "torch.Tensor"]:
    """A state dict of tensors. `key`: it may lie under that name in a training checkpoint, whose rest is not read."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=key is not None)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} was refused: a pickle may run code when it is opened, and this one holds more than tensors, or is "
            "damaged. Convert it, where you trust it, with safetensors.torch.save_file, and pass the .safetensors file."
        ) from error
    except Exception as error:  # zip and pickle fail on broken files with errors of many kinds
        raise CheckpointError(f"{path} is truncated or damaged ({first_line(error)}). Fetch it again.") from error
    if isinstance(content, dict) and key in content:
        content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path} must hold a state dict of tensors, got {type(content).__name__}.")
    return content


def require_finite(state_dict: "dict[str, torch.Tensor]", path: Path) -> None:
    import torch

    def is_finite(
        tensor: torch.Tensor,
    ) -> bool:  # a sum takes no memory
        return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())

    if broken := [name for name, tensor in state_dict.items() if not is_finite(tensor)]:
        raise CheckpointError(f"{path} holds NaN or infinity in {len(broken)} tensors, such as {broken[0]}.")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Errors of the libraries, which seldom name the file, become CheckpointErrors that do."""
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError, *_RARE) as error:
        raise CheckpointError(f"{path} cannot be loaded: {' '.join(str(error).split())[:400]}") from error


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
