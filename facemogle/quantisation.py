"""The large linear layers of the blocks in 8 or 4 bits, layer by layer on their way to a device.

The adapter, norms, modulation and embeddings stay as they are. Not by diffusers' loading, which knows nothing of
condition rows and, for bitsandbytes, refuses to do it without a GPU; by the same libraries, each on one layer.
"""

import importlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from facemogle.transformer import ConditionLinear, FaceMoGLETransformer2DModel, take_condition_rows
from facemogle.weight_files import CheckpointError

KINDS = ("int8", "fp8", "nf4")
PACKAGES = {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"}


def quantise(
    transformer: FaceMoGLETransformer2DModel, kind: str, device: torch.device | str, *, back: bool = False
) -> None:
    """Move the blocks' linear layers to a device, their weights in fewer bits; `back`: and each back from there.

    int8: 8-bit weights with a scale for each row, computed with in the base's dtype; any device. fp8: 8-bit floating
    point, the rows of the input as well; GPUs of Ada's and Hopper's generations and later. nf4: 4 bits, with a scale
    for each 64 values, computed with in the base's dtype. CheckpointError where the library or the GPU cannot.
    """
    library = library_of(kind)
    for name in [name for name, _ in quantisable(transformer)]:
        linear: nn.Linear = transformer.get_submodule(name)  # type: ignore[assignment]
        if kind == "nf4":
            shape = linear.in_features, linear.out_features, linear.bias is not None
            packed = library.nn.Linear4bit(*shape, compute_dtype=linear.weight.dtype, quant_type="nf4", device="meta")
            packed.weight = library.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
            packed.bias = linear.bias
            linear = with_adapter_of(linear, packed).to(device)
            transformer.set_submodule(name, linear)
        else:
            try:
                library.quantization.quantize_(linear.to(device), torchao_config(kind))
            except AssertionError as error:  # torchao's way of asking for another GPU
                raise CheckpointError(
                    f"Weights in {kind} are not for {device}: {error} Choose another preset."
                ) from error
        if back:
            linear.to("cpu")


def library_of(kind: str) -> Any:
    package = PACKAGES[kind]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        remedy = f"pip install -r requirements-{package}.txt"
        raise CheckpointError(f"Weights in {kind} need the package {package}, which is not here: {remedy}.") from error


def torchao_config(kind: str) -> Any:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, Int8WeightOnlyConfig, PerRow

    return Int8WeightOnlyConfig() if kind == "int8" else Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())


def quantisable(transformer: FaceMoGLETransformer2DModel) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers of the blocks, but for the modulation's, a LoRA's, and those that are quantised already."""
    modulation = {part for module in transformer.modulation_linears() for part in module.modules()}
    for name, module in transformer.named_modules():
        if not isinstance(module, nn.Linear) or "blocks." not in name or module in modulation or ".lora_" in name:
            continue
        if type(module.weight) is nn.Parameter and module.weight.is_floating_point():
            yield name, module


def with_adapter_of(linear: nn.Linear, layer: nn.Linear) -> nn.Linear:
    """A layer of another class in a linear layer's place, with its adapter and condition rows if it has them."""
    if isinstance(linear, ConditionLinear):
        take_condition_rows(layer, linear)
    return layer
