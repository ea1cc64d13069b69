"""Which group each face belongs to: from a column of a table, or from the folders that the faces lie in."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facemogle.data.names import TABLE_SUFFIXES, Names, name_of
from facemogle.text_files import read_text, rows_of

COLUMN = "group"
_FILE_COLUMNS = ("file_name", "filename", "file", "path", "image", "image_path", "name", "face", "id")
_FEWEST, _MOST = 2, 40  # groups that folders may make


def find_groups(root: Path, faces: Mapping[str, Path], columns: str = COLUMN) -> dict[str, str]:
    """Of a data folder's faces: from its groups.csv (.tsv, .json, .jsonl), else by folder; {}: neither is there.

    ValueError as of read_groups, and where other columns are asked for and there is no table.
    """
    for suffix in TABLE_SUFFIXES:
        if (table := root / f"groups{suffix}").is_file():
            return read_groups(table, Names(faces), columns)
    if columns != COLUMN:
        raise ValueError(f"{root} has no groups.csv with the columns {columns}. Give the table with --groups.")
    return _by_folder(faces)


def read_groups(table: Path, names: Names, columns: str = COLUMN) -> dict[str, str]:
    """Face -> group, from a table with a column of files and one or more of `columns`, apart by commas.

    ValueError where the table cannot be read, lacks a column or names none of the faces.
    """
    rows = _rows(table)
    wanted = [column.strip() for column in columns.split(",")]
    there = list(rows[0]) if rows else []
    by_case = {name.casefold().strip(): name for name in there}
    file_column = next((by_case[name] for name in _FILE_COLUMNS if name in by_case), None)
    if file_column is None or not all(column.casefold() in by_case for column in wanted):
        raise ValueError(
            f"{table} needs a column of files, such as file_name, and {' and '.join(wanted)}; it has "
            f"{', '.join(there) or 'no rows'}. Name a column of groups with --group-by."
        )
    groups = {}
    for row in rows:
        match = names.find(name_of(str(row[file_column])))
        values = [str(row.get(by_case[column.casefold()]) or "").strip() for column in wanted]
        if match is not None and all(values):
            groups[match.face] = ", ".join(values)
    if not groups:
        raise ValueError(f"{table} names none of the faces: its first file is {rows[0][file_column]!r}.")
    return groups


def _rows(table: Path) -> list[dict[str, Any]]:
    text, suffix = read_text(table), table.suffix.lower()
    try:
        rows = json.loads(text) if suffix == ".json" else rows_of(text, suffix)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{table} cannot be read as a table of groups: {error}.") from error
    if isinstance(rows, dict):  # face -> group, or face -> its columns
        rows = [{"file_name": key} | (row if isinstance(row, dict) else {COLUMN: row}) for key, row in rows.items()]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{table} must hold records with a file and a group each.")
    return rows


def _by_folder(faces: Mapping[str, Path]) -> dict[str, str]:
    """Folders with a name, not the numbers into which large data sets are split."""
    folders = {face: path.parent.name for face, path in faces.items()}
    sizes = Counter(folders.values())
    named = _FEWEST <= len(sizes) <= _MOST and not any(folder.isdigit() for folder in sizes)
    return folders if named and min(sizes.values()) > 1 else {}
