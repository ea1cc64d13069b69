"""Text files as people have them: the encoding told from a mark at the start, else UTF-8, else Windows' own."""

import codecs
import os
from pathlib import Path

_MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FOREIGN = 0.5  # of the characters beyond ASCII: no western text, whose bytes cp1252 would make letters of


def read_text(path: str | os.PathLike) -> str:
    """ValueError names a file that is no text, or in an encoding that cannot be told; OSError."""
    return read_encoded(path)[0]


def read_encoded(path: str | os.PathLike) -> tuple[str, str]:
    """-> the text, and the encoding in which it stands. Raises as read_text does."""
    return decode(Path(path).read_bytes(), os.fspath(path))


def decode(data: bytes, name: str) -> tuple[str, str]:
    """What a file of that name holds -> the text, and its encoding. ValueError."""
    for encoding in _encodings(data):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        beyond = sum(not character.isascii() for character in text)
        if "\0" not in text and not (encoding == "cp1252" and beyond > _FOREIGN * len("".join(text.split()))):
            return text, encoding
    raise ValueError(f"{name} is no text in UTF-8, UTF-16 or cp1252. Save it as plain text in UTF-8.")


def _encodings(data: bytes) -> list[str]:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return [encoding]
    if b"\0" in data:  # UTF-16 without its mark: every other byte of what is mostly ASCII
        return ["utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"]
    return ["utf-8", "cp1252"]
