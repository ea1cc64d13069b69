"""The pictures that the paper's figures are of: published by its authors, to be measured by whoever has a network."""

import shutil
import zipfile
from pathlib import Path

from facemogle.data.names import IMAGE_SUFFIXES
from facemogle.weight_files import CheckpointError, fetch_dataset

# The faces that the paper's figures are of; ids in MM-CelebA-HQ.
TEST_IDS = tuple(str(number) for number in range(27_000, 30_000))
METHOD = "face-mogle"  # the paper's own, beside those that it compares with
_DATASET, _FOLDER = "XavierJiezou/face-mogle-datasets", "visualization"


def published_pictures(method: str = METHOD) -> Path:
    """The authors' result pictures of a method, fetched from the Hub where they are not on this disk -> their folder.

    CheckpointError where they cannot be fetched; ValueError where not one folder alone fits, which lists what there is.
    """
    root = fetch_dataset(_DATASET, _FOLDER)
    for archive in sorted(root.rglob("*.zip")):
        _unpack(archive)
    folders = sorted({path.parent for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES})
    fitting = [folder for folder in folders if method in folder.relative_to(root).as_posix()]
    if len(fitting) != 1:
        listed = ", ".join(folder.relative_to(root).as_posix() for folder in folders[:20]) or "no pictures"
        raise ValueError(
            f"{len(fitting)} folders of {root} are of {method!r}; there are {listed}. Name one of them as RESULTS."
        )
    return fitting[0]


def _unpack(archive: Path) -> None:
    """Beside it, once."""
    folder = archive.with_suffix("")
    if folder.exists():
        return
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(part)  # which keeps within the folder
    except (OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{archive} cannot be unpacked: {error}. Delete it and fetch it again.") from error
    part.rename(folder)
