"""What people know of their photos: licence, source, author, caption, from a table or from a file beside each photo."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from facemogle.data.names import TABLE_SUFFIXES, Names, name_of
from facemogle.text_files import read_text, rows_of

TABLES = ("photos", "licences", "licenses", "sources", "metadata")
# What each is called in tables, the first that is there.
_COLUMNS = {
    "file": ("file", "file_name", "filename", "photo", "image", "path", "name"),
    "licence": ("licence", "license", "rights"),
    "source": ("source", "url", "source_url", "page", "link"),
    "author": ("author", "creator", "photographer", "artist", "credit"),
    "caption": ("caption", "text", "description"),
}


class Facts(NamedTuple):
    """Of a photo; "" is unknown."""

    licence: str = ""
    source: str = ""
    author: str = ""
    caption: str = ""


def find_table(photos: Path) -> Path | None:
    """The one in the folder of photos that is called as tables of licences are."""
    files = [path for path in sorted(photos.iterdir()) if path.suffix.lower() in TABLE_SUFFIXES]
    return next((path for name in TABLES for path in files if path.stem.casefold() == name), None)


def read_facts(photos: Path, names: Sequence[str], table: Path | None) -> dict[str, Facts]:
    """-> of each photo, by its path within the folder. What stands beside a photo, as 7.json of 7.jpg, counts first.

    ValueError names a table, or a file beside a photo, that cannot be understood.
    """
    facts = {name: Facts() for name in names}
    if table is not None:
        by_name = {name_of(name): name for name in names}
        known = Names(by_name)
        for row in _rows(table):
            if match := known.find(name_of(_value(row, "file"))):
                facts[by_name[match.face]] = _facts(row)
    for name in names:
        for beside in (photos / f"{name}.json", (photos / name).with_suffix(".json")):
            if beside.is_file() and beside != table:
                (row,) = _rows(beside, single=True)
                own = _facts(row)
                facts[name] = Facts(*(new or old for new, old in zip(own, facts[name], strict=True)))
                break
    return facts


def _rows(file: Path, *, single: bool = False) -> list[Mapping[str, Any]]:
    try:
        text = read_text(file)
        rows: Any = json.loads(text) if file.suffix.lower() == ".json" else rows_of(text, file.suffix)
        if single:
            rows = [rows]
        elif isinstance(rows, dict):  # files mapped to what is known of them
            rows = [{"file": name, **facts} for name, facts in rows.items()]
        if not all(isinstance(row, Mapping) and (single or _value(row, "file")) for row in rows):
            raise ValueError("not every entry has a file")
        return rows
    except (ValueError, TypeError, RecursionError) as error:
        what = "licence, source, author and caption" if single else "file, licence, source, author and caption"
        raise ValueError(f"{file} must tell {what} of photos: {error}.") from error


def _facts(row: Mapping[str, Any]) -> Facts:
    return Facts(*(_value(row, field) for field in Facts._fields))


def _value(row: Mapping[str, Any], what: str) -> str:
    spelled = {str(key).strip().casefold(): value for key, value in row.items()}
    values = (spelled.get(key) for key in _COLUMNS[what])
    return " ".join(next((str(value) for value in values if value), "").split())
