"""Captions of faces, wherever and however people keep them: one file a face, or one file of them all.

One file of them all is JSON, JSON lines, CSV or TSV: faces' files mapped to texts, records of a file and a text (as
`metadata.jsonl` of a Hugging Face imagefolder), or COCO's images and annotations.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import category

from facemogle.data.names import TABLE_SUFFIXES, TEXT_SUFFIXES, Names, name_of
from facemogle.data.walk import Walk
from facemogle.text_files import read_encoded, rows_of

# Files of all captions; of the later ones, which may hold anything else, nothing is expected.
_TABLES = ("text", "texts", "caption", "captions", "prompt", "prompts")
_MAYBE_TABLES = ("metadata", "meta_cap", "annotations", "dataset")
_FILE_KEYS = (
    "file_name", "filename", "file", "file_path", "filepath", "image", "image_path", "image_name", "img", "path",
    "name", "image_id", "id", "key",
)  # fmt: skip
_TEXT_KEYS = ("text", "caption", "captions", "texts", "prompt", "prompts", "description", "descriptions", "sentences")
_RECORD_KEYS = ("data", "images", "annotations", "samples", "records", "rows", "items", "entries", "captions")
_SHAPES = '{"7.jpg": ["a woman", ...], ...} or records such as {"file_name": "7.jpg", "text": "a woman"}'


class Captions(NamedTuple):
    """`texts` of each face that has any, and the file they are from; `source` tells where they were found, or why not.

    `strangers`: what holds captions, but of no face here. `unreadable`: files that are no text, and why.
    """

    texts: dict[str, tuple[str, ...]]
    files: dict[str, Path]
    source: str
    strangers: tuple[Path, ...] = ()
    unreadable: tuple[tuple[Path, str], ...] = ()


class _Found(NamedTuple):
    """Texts, by what their file calls the face; None: the lines of the file, which is of this face alone."""

    place: Path
    texts: list[tuple[str, Path, list[str] | None]]
    encodings: Counter


def find_captions(root: Path, faces: Path, folders: Sequence[Path], names: Names) -> Captions:
    """From the first of these that has any: a file of all, a folder of texts, files beside the faces.

    ValueError names a file of all captions that cannot be understood.
    """
    refused: list[str] = []
    strangers: list[Path] = []
    captions = [_matched(found, names, strangers) for found in _sources(root, faces, folders, refused)]
    full = [each for each in captions if each.texts or each.unreadable]
    if not full:
        reasons = [f"{place} names no face that is here" for place in strangers] + refused
        return Captions({}, {}, "; ".join(reasons) or "none found", tuple(strangers))
    others = "".join(f"; not used: {each.source}" for each in full[1:])
    return full[0]._replace(source=full[0].source + others)


def _sources(root: Path, faces: Path, folders: Sequence[Path], refused: list[str]) -> Iterator[_Found]:
    for file in _table_files([root, faces, *folders]):
        try:
            yield _read_table(file)
        except ValueError as error:
            if file.stem.casefold() in _TABLES or _speaks_of_captions(file):
                raise
            refused.append(str(error))
    for folder in [*folders, faces]:
        walk = Walk(folder, TEXT_SUFFIXES, deep=folder != root)
        yield _Found(folder, [(walk.name_of(path), path, None) for path in walk], Counter())


def _matched(found: _Found, names: Names, strangers: list[Path]) -> Captions:
    texts: dict[str, tuple[str, ...]] = {}
    files: dict[str, Path] = {}
    unreadable: list[tuple[Path, str]] = []
    matches = [(names.find(name_of(name)), file, lines) for name, file, lines in found.texts]
    for match, file, lines in matches:
        if match is None:
            continue
        if lines is None:
            try:
                text, encoding = read_encoded(file)
            except ValueError as error:
                unreadable.append((file, str(error)))
                continue
            lines = text.splitlines()
            found.encodings[encoding] += 1
        if captions := tuple(line.strip() for line in lines if line.strip()):
            texts[match.face] = texts.get(match.face, ()) + captions
            files.setdefault(match.face, file)
    if matches and not any(match for match, *_ in matches):
        strangers.append(found.place)
    unusual = [f", {count} in {encoding}" for encoding, count in found.encodings.items() if encoding != "utf-8"]
    source = f"{len(texts)} in {found.place}{''.join(unusual)}"
    return Captions(texts, files, source, (), tuple(unreadable))


# One file of all


def _table_files(folders: Sequence[Path]) -> list[Path]:
    known = (*_TABLES, *_MAYBE_TABLES)
    files = [
        path
        for folder in dict.fromkeys(folders)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in TABLE_SUFFIXES and path.stem.casefold() in known and path.is_file()
    ]
    return sorted(files, key=lambda path: known.index(path.stem.casefold()))


def _speaks_of_captions(file: Path) -> bool:
    """Whether the first line has one of the words that records have their texts under."""
    try:
        return not set(re.findall(r"\w+", read_encoded(file)[0].strip().partition("\n")[0])).isdisjoint(_TEXT_KEYS)
    except ValueError:
        return False


def _read_table(file: Path) -> _Found:
    text, encoding = read_encoded(file)
    try:
        if file.suffix.lower() == ".json":
            entries = list(_entries(json.loads(text)))
        else:
            entries = list(_records(rows_of(text, file.suffix)))
        if not entries:
            raise ValueError("it is empty")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} must map each face's file to captions: {error}. Expected {_SHAPES}.") from error
    return _Found(file, [(name, file, texts) for name, texts in entries], Counter({encoding: 1}))


def _entries(content: Any) -> Iterator[tuple[str, list[str]]]:
    """-> a face's file and its texts, from any of the shapes."""
    if isinstance(content, list):
        yield from _records(content)
        return
    if not isinstance(content, dict):
        raise ValueError(f"it holds {_shown(content)}")
    images, annotations = content.get("images"), content.get("annotations")
    if isinstance(images, list) and isinstance(annotations, list):
        yield from _records(_joined(images, annotations))
        return
    records = _of(content, _RECORD_KEYS)
    if records is not None and isinstance(content[records], list):
        yield from _records(content[records])
        return
    for name, value in content.items():
        yield name, _texts(value, f"of {name!r} there")


def _records(records: Iterable[Any]) -> Iterator[tuple[str, list[str]]]:
    for record in records:
        if not isinstance(record, dict):
            raise ValueError(f"it holds {_shown(record)}")
        name, text = _of(record, _FILE_KEYS), _of(record, _TEXT_KEYS)
        if name is None or text is None:
            raise ValueError(f"a record has {', '.join(map(str, record))}, of which none is a face's file or no text")
        yield str(record[name]), _texts(record[text], f"of {record[name]!r} there")


def _joined(images: Sequence[Any], annotations: Sequence[Any]) -> Iterator[dict]:
    """COCO's annotations, each with its image's file."""
    files = {image.get("id"): image.get("file_name") for image in images if isinstance(image, dict)}
    for annotation in annotations:
        if isinstance(annotation, dict) and files.get(annotation.get("image_id")):
            yield {**annotation, "file_name": files[annotation["image_id"]]}


def _texts(value: Any, where: str) -> list[str]:
    """A text, several, or either under a word such as "caption"."""
    if isinstance(value, str) or value is None:
        return [value] if value else []
    if isinstance(value, list):
        return [text for each in value for text in _texts(each, where)]
    if isinstance(value, Mapping) and (key := _of(value, _TEXT_KEYS)) is not None:
        return _texts(value[key], where)
    raise ValueError(f"{where} is {_shown(value)}, and no text")


def _of(record: Mapping[Any, Any], keys: Sequence[str]) -> Any | None:
    """The record's own spelling of the first of the keys that it has."""
    spelled = {str(key).strip().casefold(): key for key in record}
    return next((spelled[key] for key in keys if key in spelled), None)


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else shown[:57] + "..."


# What captions would teach


def is_garbled(caption: str) -> bool:
    """Whether it holds what no person wrote: replacement or control characters, or UTF-8 read in another encoding."""
    if caption.isascii() and caption.isprintable():
        return False
    if "\ufffd" in caption or any(category(each) == "Cc" and not each.isspace() for each in caption):
        return True
    try:
        return not caption.isascii() and caption.encode("cp1252").decode("utf-8") != caption
    except UnicodeError:
        return False
