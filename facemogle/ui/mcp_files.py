"""The files that an MCP tool is given: what a tool returned, the file itself in base64, a public address, and, where
the person who started the server opened a folder, what lies in that."""

import asyncio
import base64
import binascii
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from gradio.processing_utils import async_ssrf_protected_download, save_bytes_to_cache
from gradio.utils import get_upload_folder

from facemogle.picture_formats import open_picture

MAX_BYTES = 32 * 2**20  # of a file
MAX_ADDRESS = 4096  # characters
# What a file is called among those of visitors, which nobody guesses: the hash of its content, and its name.
_NAME = re.compile(r"[0-9a-f]{64}/[^/\\]+")
_ADDRESS = re.compile(r"/gradio_api/file=.*?(?P<name>[0-9a-f]{64}/[^/\\]+)$")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2"}
_REMEDY = "Give what a tool returned as its `file`, a data: URL, base64, or a public http(s) address."


async def taken(field: str, given: Any, folder: Path | None) -> Path:
    """Where a file that was given lies among those of visitors. ValueError names the field and says what is wrong.

    folder: of this computer, in which a path may lie; None: none.
    """
    if isinstance(given, dict):  # all that a tool said of a file
        given = given.get("file") or given.get("url")
    if not isinstance(given, str) or not given:
        raise ValueError(f"{field}: expected a file as text, got {type(given).__name__}. {_REMEDY}")
    if _NAME.fullmatch(given):
        return _kept(field, given)
    if given.startswith(("http://", "https://")):
        return await _at(field, given)
    if given.startswith("data:"):
        head, _, text = given.partition(",")
        if not head.endswith(";base64"):
            raise ValueError(f"{field}: a data: URL must hold base64, as data:image/png;base64,...")
        return await asyncio.to_thread(_decoded, field, text)
    if _BASE64.fullmatch(text := re.sub(r"\s", "", given)):
        return await asyncio.to_thread(_decoded, field, text)
    if folder is None:
        raise ValueError(
            f"{field}: files of this computer are read where the server was started with --mcp-files FOLDER alone. "
            f"{_REMEDY}"
        )
    return await asyncio.to_thread(_local, field, given, folder)


def _kept(field: str, name: str) -> Path:
    path = Path(get_upload_folder(), name)
    if not path.is_file():
        raise ValueError(f"{field}: this file is not here any more. Files are kept for two hours; make it once more.")
    return path


async def _at(field: str, address: str) -> Path:
    try:
        if len(address) > MAX_ADDRESS:
            raise ValueError
        ours = _ADDRESS.search(unquote(urlsplit(address).path))
        if ours and Path(get_upload_folder(), ours["name"]).is_file():
            return Path(get_upload_folder(), ours["name"])
        return Path(await async_ssrf_protected_download(address, get_upload_folder()))
    except Exception as error:  # of a dozen kinds, which say of a network what is nobody's business
        raise ValueError(
            f"{field}: nothing could be fetched from this address. It must be a public one, or of a file that a tool "
            "returned in the last two hours."
        ) from error


def _decoded(field: str, text: str) -> Path:
    text = re.sub(r"\s", "", text).translate({ord("-"): "+", ord("_"): "/"})
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{field}: this is no base64, or was cut short: {error}.") from error
    return _saved(field, content, field)


def _local(field: str, given: str, folder: Path) -> Path:
    """All that is not a file in the folder gets the same answer, so that none tells what there is elsewhere."""
    name = unquote(given.removeprefix("file://")) if given.startswith("file://") else given
    try:
        path = (folder / name).resolve(strict=True)  # of a link, what it leads to
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise FileNotFoundError
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a null character; RuntimeError: links in a ring
        raise ValueError(
            f"{field}: there is no such file in the folder that --mcp-files opens, or none that may be read."
        ) from error
    return _saved(field, content, path.stem)


def _saved(field: str, content: bytes, stem: str) -> Path:
    """Among the files of visitors, if it is of a kind that some tool reads."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"{field}: a file may have at most {MAX_BYTES // 2**20} MB. Scale the picture down.")
    suffix = _suffix(content)
    if suffix is None:
        raise ValueError(f"{field}: this is no picture that can be read, and no .npz or .npy file.")
    return Path(save_bytes_to_cache(content, stem + suffix, get_upload_folder()))


def _suffix(content: bytes) -> str | None:
    if content.startswith(b"PK\3\4"):
        return ".npz"
    if content.startswith(b"\x93NUMPY"):
        return ".npy"
    try:
        with open_picture(io.BytesIO(content)) as picture:
            return _SUFFIXES.get(picture.format or "", f".{(picture.format or '').lower()}")
    except Exception:  # Pillow's readers fail on damaged files in ways beyond listing
        return None
