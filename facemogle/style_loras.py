"""LoRAs of the base, such as styles: loaded beside the adapter of the condition tokens, which stays as it is.

They act on text, image and condition rows alike, as they would on a base with them in its weights.
"""

import logging
import math
import os
from collections.abc import Mapping
from typing import Any

from diffusers.loaders import FluxLoraLoaderMixin
from diffusers.loaders.lora_base import _fetch_state_dict
from torch import Tensor

from facemogle.lora_files import LoraReading, read_lora

# What diffusers takes to find a file.
_PLACE = (
    "weight_name", "local_files_only", "cache_dir", "force_download", "proxies", "token", "revision", "subfolder",
)  # fmt: skip

logger = logging.getLogger(__name__)


class StyleLoraMixin(FluxLoraLoaderMixin):
    """What a FLUX pipeline takes of LoRAs: diffusers' own, in every naming, and never in vain without a word."""

    _lora_scales: dict[str, float] | None = None

    @property
    def loras(self) -> dict[str, float]:
        """What `load_lora` loaded, with its scales."""
        return dict(self._lora_scales or {})

    def load_lora(self, file: str | os.PathLike, *, scale: float = 1.0, name: str = "") -> None:
        """Load one beside the others; `loras` calls it by `name`, or the file's. ValueError: it does not fit."""
        name = name or os.fspath(file)
        if name in self.loras:
            raise ValueError(f"{name} is loaded already. scale_loras() lets it count more.")
        self.load_lora_weights(file, adapter_name=f"file_{len(self.loras)}")
        self._lora_scales = self.loras | {name: math.nan}
        self.scale_loras({name: scale})

    def scale_loras(self, scales: Mapping[str, float]) -> None:
        """Let loaded files count more or less: 0 not at all, 1 as they were trained. ValueError for other files."""
        if unknown := sorted(scales.keys() - self.loras.keys()):
            raise ValueError(f"The LoRA {unknown[0]} is not loaded. Loaded are {', '.join(self.loras) or 'none'}.")
        changed = self.loras | scales
        if not all(map(math.isfinite, changed.values())):
            raise ValueError(f"The scale of a LoRA must be a number, got {dict(scales)}.")
        if changed != self.loras:
            self._lora_scales = changed
            self.set_adapters([f"file_{place}" for place in range(len(changed))], list(changed.values()))

    def unload_lora_weights(self, **options: Any) -> None:
        super().unload_lora_weights(**options)
        self._lora_scales = None

    def load_lora_weights(
        self,
        pretrained_model_name_or_path_or_dict: str | os.PathLike | Mapping[str, Tensor],
        adapter_name: str | None = None,
        **options: Any,
    ) -> None:
        """As in diffusers, from every naming that lora_files knows, and from safetensors alone.

        ValueError where nothing in it fits this base; keys that do not are counted in a warning.
        """
        source, metadata = pretrained_model_name_or_path_or_dict, None
        title = "The LoRA" if isinstance(source, Mapping) else os.fspath(source)
        place = {name: options.pop(name, None) for name in _PLACE}
        state_dict: Mapping[str, Tensor]
        if isinstance(source, Mapping):
            state_dict = source
        else:
            found = {"use_safetensors": True, "allow_pickle": False, "user_agent": {"framework": "pytorch"}}
            state_dict, metadata = _fetch_state_dict(source, **place, **found)[:2]
        try:
            read = read_lora(state_dict, metadata, transformer=self.transformer, text_encoder=self.text_encoder)
        except ValueError as error:
            raise ValueError(f"{title} cannot be loaded. {error}") from error
        if not read.layers:
            raise ValueError(f"{title} changes nothing: {_why(read, state_dict)}. It was made for another model.")
        if read.left_out:
            logger.warning(f"{title} is loaded in part: {_why(read, state_dict)}.")
        dtype = self.transformer.dtype
        fitted = {}
        for layer, term in read.layers.items():
            fitted[f"{layer}.lora_A.weight"] = term.A.to(dtype)
            fitted[f"{layer}.lora_B.weight"] = (term.B * (1.0 if term.scale is None else term.scale)).to(dtype)
        super().load_lora_weights(fitted, adapter_name=adapter_name, **options)


def _why(read: LoraReading, state_dict: Mapping[str, Tensor]) -> str:
    """Which of a file's keys do not fit this base."""
    reasons = []
    for keys, what in ((read.unknown, "name layers that this base has not"), (read.misshapen, "have another shape")):
        if keys:
            shape = f" {tuple(state_dict[keys[0]].shape)}" if keys is read.misshapen else ""
            reasons.append(f"{len(keys)} {what}, such as {keys[0]}{shape}")
    return f"of its {len(state_dict)} keys, {', and '.join(reasons) or 'none is there'}"
