"""Libraries of requirements-scale.txt, imported only where one is used."""

import importlib
from types import ModuleType


def library(name: str, use: str) -> ModuleType:
    """ValueError says which file to install where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(
            f"{use} takes {package}, which is not installed. Run `pip install -r requirements-scale.txt`."
        ) from error
