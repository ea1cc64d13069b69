"""Libraries of requirements-scale.txt, imported only where one is used."""

import importlib
from types import ModuleType

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs


def library(name: str, use: str) -> ModuleType:
    """ValueError says which file to install where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(
            f"{use} takes {package}, which is not installed. Run `pip install -r requirements-scale.txt`."
        ) from error


def filesystem_of(address: str) -> tuple[AbstractFileSystem, str]:
    """A path or an address -> what reads and writes there, and its path there. ValueError."""
    try:
        return url_to_fs(address)
    except (ImportError, ValueError) as error:  # fsspec says which library to install, or that it knows no such thing
        raise ValueError(f"{address} cannot be reached: {error}") from error
