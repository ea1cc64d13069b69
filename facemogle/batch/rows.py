"""Lists of jobs: JSON lines, CSV, TSV or Parquet -> rows, and their fields with values of the right kind."""

import difflib
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from facemogle.batch.libraries import filesystem_of, library
from facemogle.text_files import decode, table_rows

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_EMPTY = (None, "")
_OTHER_NAMES = {"steps": "num_inference_steps", "text": "prompt", "mask": "label_map", "lora": "loras"}


def _text(value: Any) -> str:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise ValueError(f"must be text, got {_shown(value)}.")
    return str(value).strip()


def _number(value: Any) -> int | float:
    """Whole ones as such, which CSV and Parquet write with a point where a column has gaps."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"must be a number, got {_shown(value)}.")
    return int(number) if number.is_integer() else number


def _scales(value: Any) -> dict[str, float]:
    """{"hair": 0.5}, the same as JSON's text, or "hair=0.5 nose=2"."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = json.loads(value)
    if isinstance(value, str):
        pairs = [word.rpartition("=") for word in re.split(r"[\s,;]+", value.strip())]
        value = {name: scale for name, _, scale in pairs}
    if not isinstance(value, dict) or "" in value:
        raise ValueError(f"must be names with numbers such as hair=0.5, got {_shown(value)}.")
    return {name: _number(scale) for name, scale in value.items() if scale is not None}


def _size(value: Any) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:\s*x\s*(\d+))?", str(value).strip().lower())
    if match is None:
        raise ValueError(f"must be HEIGHTxWIDTH such as 512x768, got {_shown(value)}.")
    return int(match[1]), int(match[2] or match[1])


FIELDS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("name", "face", "group", "caption", "prompt", "label_map"), _text),
    **dict.fromkeys(("seed", "num_inference_steps", "guidance_scale", "condition_scale", "height", "width"), _number),
    "size": _size,
    "expert_scale": _scales,
    "loras": _scales,
}


def read_rows(source: str) -> Iterator[tuple[int, Any]]:
    """-> each row's number, from 1, or its line where the list is a text; and the row as it stands, for `values_of`.

    ValueError where the list cannot be understood; OSError.
    """
    suffix = next((suffix for suffix in SUFFIXES if source.lower().endswith(suffix)), None)
    if suffix is None:
        raise ValueError(f"{source} is no folder, and no list of jobs, which ends in one of {' '.join(SUFFIXES)}.")
    filesystem, path = filesystem_of(source)
    try:
        data = filesystem.cat_file(path)
    except FileNotFoundError as error:
        raise ValueError(f"There is no file and no folder {source}.") from error
    if suffix == ".parquet":
        parquet = library("pyarrow.parquet", "A list of jobs in Parquet")
        try:
            yield from enumerate(parquet.read_table(io.BytesIO(data)).to_pylist(), 1)
        except (ValueError, OSError) as error:
            raise ValueError(f"{source} cannot be read as Parquet: {error}") from error
        return
    text, _ = decode(data, source)
    if suffix in (".csv", ".tsv"):
        try:
            yield from table_rows(text)
        except ValueError as error:
            raise ValueError(f"{source} cannot be read: {error}.") from error
    else:
        yield from ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def values_of(record: Any) -> dict[str, Any]:
    """A row as it stands -> what is given in it, by FIELDS. ValueError."""
    if isinstance(record, str):
        try:
            record = json.loads(record)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is no JSON: {error}.") from error
    if not isinstance(record, dict):
        raise ValueError(f"a job is a JSON object of fields, got {_shown(record)}.")
    values: dict[str, Any] = {}
    for key, value in record.items():
        name = re.sub(r"[\s-]+", "_", str(key).strip().casefold())
        name = _OTHER_NAMES.get(name, name)
        if key is None:
            raise ValueError(f"it has more values than the first line has columns: {_shown(value)}.")
        if name not in FIELDS:
            raise ValueError(_unknown(str(key)))
        if value in _EMPTY or (isinstance(value, float) and math.isnan(value)):
            continue
        if name in values:
            raise ValueError(f"{key} is given twice.")
        try:
            values[name] = FIELDS[name](value)
        except ValueError as error:
            raise ValueError(f"{key} {error}") from error
    if "size" in values:
        values["height"], values["width"] = values.pop("size")
    return values


def _unknown(key: str) -> str:
    if key in ("checkpoint", "adapter", "mogle", "preset", "device"):
        return f"{key} is one for all jobs: give it with --{key}."
    close = difflib.get_close_matches(key, FIELDS, n=1)
    return f"there is no setting {key!r}" + (f"; is {close[0]} meant?" if close else f". They are {', '.join(FIELDS)}.")


def _shown(value: Any) -> str:
    return repr(value)[:60]
