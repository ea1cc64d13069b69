"""The tiny FLUX with the published code's adapter and MoGLE, and the tensors recorded from it."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from facemogle.mogle import MoGLE
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.transformer import FaceMoGLETransformer2DModel

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def reference() -> Path:
    return REFERENCE


@pytest.fixture(scope="session")
def load_case():
    """Name of a recorded case -> its tensors and its settings."""

    def load(name: str) -> tuple[dict[str, torch.Tensor], SimpleNamespace]:
        settings = json.loads((REFERENCE / "cases" / f"{name}.json").read_text())
        return load_file(REFERENCE / "cases" / f"{name}.safetensors"), SimpleNamespace(**settings)

    return load


@pytest.fixture(scope="session")
def label_map(load_case):
    """(64, 64) class ids."""
    return load_case("text_and_mask")[0]["label_map"].numpy()


@pytest.fixture
def transformer() -> FaceMoGLETransformer2DModel:
    """The tiny base, without adapter."""
    return FaceMoGLETransformer2DModel.from_pretrained(REFERENCE / "tiny-flux" / "transformer")


@pytest.fixture(scope="session")
def adapter() -> dict[str, torch.Tensor]:
    return load_file(REFERENCE / "pytorch_lora_weights.safetensors")


@pytest.fixture
def mogle() -> MoGLE:
    mogle = MoGLE()
    mogle.load_state_dict(torch.load(REFERENCE / "mogle.pt", weights_only=True))
    return mogle


@pytest.fixture
def pipeline(transformer, mogle) -> FaceMoGLEPipeline:
    pipeline = FaceMoGLEPipeline.from_pretrained(
        REFERENCE / "tiny-flux",
        transformer=transformer,
        mogle=mogle,
        height=64,
        width=64,
        num_inference_steps=2,
        max_sequence_length=16,
    )
    pipeline.load_condition_adapter(REFERENCE / "pytorch_lora_weights.safetensors")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def seed():
    """Number -> generator."""
    return lambda number: torch.Generator().manual_seed(number)
