"""The tiny FLUX with the published code's adapter and MoGLE, and the tensors recorded from it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from facemogle.mogle import MoGLE
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.transformer import FaceMoGLETransformer2DModel
from tests import recorded
from tests.recorded import REFERENCE


@pytest.fixture(scope="session")
def reference() -> Path:
    return REFERENCE


@pytest.fixture(scope="session")
def load_case():
    """Name of a recorded case -> its tensors and its settings."""
    return recorded.load_case


@pytest.fixture(scope="session")
def label_map(load_case):
    """(64, 64) class ids."""
    return load_case("text_and_mask")[0]["label_map"].numpy()


@pytest.fixture
def transformer() -> FaceMoGLETransformer2DModel:
    """The tiny base, without adapter."""
    return recorded.tiny_transformer()


@pytest.fixture(scope="session")
def adapter() -> dict[str, torch.Tensor]:
    return load_file(recorded.ADAPTER)


@pytest.fixture
def mogle() -> MoGLE:
    return recorded.published_mogle()


@pytest.fixture
def pipeline(transformer, mogle) -> FaceMoGLEPipeline:
    return recorded.tiny_pipeline(transformer, mogle)


@pytest.fixture
def seed():
    """Number -> generator."""
    return lambda number: torch.Generator().manual_seed(number)
