"""Text files as people have them: the encoding told from a mark at the start, else UTF-8, else Windows' own.

And the rows of those that hold a table.
"""

import codecs
import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FOREIGN = 0.5  # of the characters beyond ASCII: no western text, whose bytes cp1252 would make letters of


def read_text(path: str | os.PathLike) -> str:
    """ValueError names a file that is no text, or in an encoding that cannot be told; OSError one that is not there."""
    return read_encoded(path)[0]


def read_encoded(path: str | os.PathLike) -> tuple[str, str]:
    """-> the text, and the encoding in which it stands. Raises as read_text does."""
    try:
        return decode(Path(path).read_bytes(), os.fspath(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    except IsADirectoryError as error:
        raise IsADirectoryError(f"{path} is a folder, where a text file is expected.") from error


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


def table_rows(text: str) -> Iterator[tuple[int, dict[str | None, Any]]]:
    """A line of names, then rows, apart by commas, semicolons or tabs -> the line that each row ends in, and the row.

    What a row has beyond the names stands under None. ValueError, which begins small, where a quote does not fit, so
    that rows would run into each other, or a name stands there twice.
    """
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin = 1
    try:
        names = Counter(name.strip().casefold() for name in reader.fieldnames or () if name.strip())
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"its first line has {twice[0]!r} twice; rename one of them")
        begin = reader.line_num + 1
        for row in reader:
            if not any(row.get(None, ())):  # a delimiter at the end
                row.pop(None, None)
            yield reader.line_num, row
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"the quotes of the row that begins in line {begin} do not fit ({error}); close them, and double those "
            "within a text"
        ) from error


def rows_of(text: str, suffix: str) -> list[Any]:
    """JSON lines, or a table with a line of names; ValueError, which begins small, where it is neither."""
    if suffix.lower() == ".jsonl":
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    rows = []
    for line, row in table_rows(text):
        if None in row:
            raise ValueError(f"line {line} has more values than the first has names; put texts with commas into quotes")
        rows.append(row)
    return rows
