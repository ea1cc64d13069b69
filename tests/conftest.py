"""The tiny FLUX with the published code's adapter and MoGLE, and the tensors recorded from it."""

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes with a thread each get more done on two cores than with two.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whatever is compiled is compiled for no vector unit: to find one, inductor builds and loads a program for each, and
# its vectors take g++ twice as long.
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "0")

import torch
from safetensors.torch import load_file

from facemogle.mogle import MoGLE
from facemogle.pipeline import FaceMoGLEPipeline
from facemogle.transformer import FaceMoGLETransformer2DModel
from tests import recorded
from tests.recorded import REFERENCE


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `-n 2`: one process has the browser, the other the rest, and no file's fixtures are made twice.

    Not by marks of groups, which pytest-xdist 3.8 does not see with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "browser" if nodeid.startswith("tests/browser/") else nodeid.split("::")[0]

    return Scheduling(config, log)


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
