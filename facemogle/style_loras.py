"""LoRAs of the base, such as styles: loaded beside the adapter of the condition tokens, which stays as it is.

They act on text, image and condition rows alike, as they would on a base with them in its weights.
"""

import logging
import math
import os
import re
import warnings
from collections.abc import Mapping
from numbers import Real
from typing import Any

from diffusers.loaders import FluxLoraLoaderMixin
from diffusers.loaders.lora_base import _fetch_state_dict
from torch import Tensor

from facemogle.lora_files import LoraReading, read_lora

# What diffusers takes to find a file.
_PLACE = (
    "weight_name", "local_files_only", "cache_dir", "force_download", "proxies", "token", "revision", "subfolder",
)  # fmt: skip

_DORA = re.compile(r"\b(dora_scale|lora_magnitude_vector)\b")

logger = logging.getLogger(__name__)


class StyleLoraMixin(FluxLoraLoaderMixin):
    """What a FLUX pipeline takes of LoRAs: diffusers' own, in every naming, and never in vain without a word."""

    _lora_scales: dict[str, float] | None = None
    _active_scales: dict[str, float] | None = None

    @property
    def loras(self) -> dict[str, float]:
        """What `load_lora` loaded, with its scales."""
        return dict(self._lora_scales or {})

    def load_lora(self, file: str | os.PathLike, *, scale: float = 1.0, name: str = "") -> None:
        """Load one beside the others; `loras` calls it by `name`, or the file's. ValueError: it does not fit."""
        name = name or os.fspath(file)
        if name in self.loras:
            raise ValueError(f"The LoRA {name} is loaded already.")
        _require_finite({name: scale})
        self.load_lora_weights(file, adapter_name=f"file_{len(self.loras)}")
        self._lora_scales = self.loras | {name: float(scale)}
        self.use_loras()

    def use_loras(self, scales: Mapping[str, float] | None = None) -> dict[str, float]:
        """Let loaded LoRAs count as much, until the next call: 0 not at all; those not named as they were loaded.

        Returns the scales of all. ValueError for names that are not loaded.
        """
        scales = dict(scales or {})
        if unknown := sorted(scales.keys() - self.loras.keys()):
            raise ValueError(f"The LoRA {unknown[0]} is not loaded. Loaded are {', '.join(self.loras) or 'none'}.")
        _require_finite(scales)
        wanted = self.loras | scales
        if wanted and wanted != self._active_scales:
            self.set_adapters([f"file_{place}" for place in range(len(wanted))], list(wanted.values()))
            self._active_scales = wanted
        return wanted

    def unload_lora_weights(self, **options: Any) -> None:
        super().unload_lora_weights(**options)
        self._lora_scales = self._active_scales = None

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
        if scales := [key for key in state_dict if _DORA.search(key)]:
            raise ValueError(
                f"{title} is a DoRA, which also scales weights ({len(scales)} keys, such as {scales[0]}). "
                "Merge it, or export it as a plain LoRA."
            )
        if broken := [key for key, tensor in state_dict.items() if not tensor.isfinite().all()]:
            raise ValueError(f"{title} holds NaN or infinity in {len(broken)} tensors, such as {broken[0]}.")
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
        with warnings.catch_warnings():  # peft's, of what is meant here: several LoRAs, and layers that have none
            warnings.filterwarnings("ignore", module="peft")
            into = {"adapter_name": adapter_name, "network_alphas": None, "_pipeline": self} | options
            into.setdefault("low_cpu_mem_usage", True)  # else it draws what is overwritten from torch's own generator
            if any(layer.startswith("transformer.") for layer in read.layers):
                self.load_lora_into_transformer(fitted, transformer=self.transformer, **into)
            if any(layer.startswith("text_encoder.") for layer in read.layers):
                part = {"text_encoder": self.text_encoder, "prefix": "text_encoder", "lora_scale": self.lora_scale}
                self.load_lora_into_text_encoder(fitted, **part, **into)


def _require_finite(scales: Mapping[str, float]) -> None:
    if broken := [name for name, scale in scales.items() if not isinstance(scale, Real) or not math.isfinite(scale)]:
        raise ValueError(f"The scale of the LoRA {broken[0]} must be a number, got {scales[broken[0]]!r}.")


def _why(read: LoraReading, state_dict: Mapping[str, Tensor]) -> str:
    """Which of a file's keys do not fit this base."""
    reasons = []
    for keys, what in ((read.unknown, "name layers that this base has not"), (read.misshapen, "have another shape")):
        if keys:
            shape = f" {tuple(state_dict[keys[0]].shape)}" if keys is read.misshapen else ""
            reasons.append(f"{len(keys)} {what}, such as {keys[0]}{shape}")
    return f"of its {len(state_dict)} keys, {', and '.join(reasons) or 'none is there'}"
