"""Which picture of the results belongs to which real face, caption and label map: by name, never by order.

RESULTS is a batch's folder with its manifest, or any folder of pictures; DATA is read as facemogle.data reads it.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from facemogle.class_orders import ClassOrder
from facemogle.data.layout import Files, find_files, find_pictures
from facemogle.data.names import name_of
from facemogle.data.pairs import Pair, pair_of, read_masks
from facemogle.evaluation.groups import COLUMN, find_groups, read_groups
from facemogle.evaluation.manifest import find_manifest
from facemogle.evaluation.metric import Picture, Study
from facemogle.picture_formats import open_picture

# What a program puts behind a name where it draws several of one face: "7-0.png", "7_seed3.png".
_SEED = re.compile(r"[\s_.-]+(?:seed|s|sample|v)?[_-]?\d+$", re.IGNORECASE)
_SHOWN = 5


@dataclass(frozen=True)
class PairMap:
    """The label map of a pair; see metric.LabelMap."""

    pair: Pair

    @property
    def files(self) -> tuple[Path, ...]:
        return self.pair.masks

    @property
    def meaning(self) -> str:
        order = self.pair.order
        own = [] if order is None else [order.ids.tolist(), sorted(order.colours.items())]
        return repr([self.pair.parts, *own]) if own or self.pair.parts else ""

    def __call__(self) -> np.ndarray:
        return read_masks(self.pair).label_map


@dataclass(frozen=True)
class Matched:
    """The study, what a person should know of it in sentences, and how many of what there are."""

    study: Study
    notes: tuple[str, ...]
    counts: dict[str, int]


def match(
    results: Path,
    data: Path,
    *,
    ids: Sequence[str] | None = None,
    classes: ClassOrder | None = None,
    groups: Path | None = None,
    group_by: str = COLUMN,
    unpacked: Path,
) -> Matched:
    """Pictures of RESULTS with the faces, captions and label maps of DATA.

    ids: the faces to count, such as those of a test split. groups: a table, in place of what DATA says of groups.
    unpacked: a folder to which the pictures of a batch's shards are brought.
    ValueError where a folder holds no pictures, or none of a face in DATA.
    """
    files = find_files(data, without_masks=True)
    counted = set(files.images) if ids is None else _chosen(data, files, ids)
    of_group = read_groups(groups, files.names, group_by) if groups else find_groups(data, files.images, group_by)
    listed = find_manifest(results, unpacked)
    pictures, surplus = [], []
    found = {name: row.path for name, row in listed.rows.items()} if listed else find_pictures(results)
    for name, path in found.items():
        row = listed.rows[name] if listed else None
        face = _face_of(row.face if row else name, files)
        if face is None or face not in counted:
            surplus.append(name)
            continue
        texts = files.captions.texts.get(face, ())
        pair = pair_of(files, face, classes) if face in files.masks else None
        if row and row.label_map:  # what it was drawn from, which may be another than the face's own
            pair = Pair(face, path, (row.label_map,), (), order=classes)
        pictures.append(
            Picture(
                name,
                path,
                real=files.images[face],
                caption=(row and row.caption) or next(iter(texts), None),
                label_map=PairMap(pair) if pair else None,
                group=of_group.get(face) or (row and row.group) or None,
                face=face,
            )
        )
    if not pictures:
        some = f", as {surplus[0]!r}" if surplus else ""
        raise ValueError(
            f"No picture in {results} has the name of a face in {data}: {len(surplus)} pictures{some}, and "
            f"{len(counted)} faces, as {min(counted, default='none')!r}. Name the picture of face 7 7.png or 7-0.png."
        )
    missing = sorted(counted - {picture.face for picture in pictures})
    study = Study(pictures, [files.images[face] for face in files.images if face in counted])
    notes = [*_unmatched(missing, surplus, results, data), *(listed.notes if listed else ()), *_broken_masks(files)]
    alone = sorted({str(picture.face) for picture in pictures if not picture.group})
    if alone and len(alone) < len({picture.face for picture in pictures}):
        notes.append(
            f"Faces in no group: {len(alone)}, {_some(alone)}. They count only in the figures of all pictures."
        )
    return Matched(study, tuple(notes), _counts(study, missing, surplus))


def without(study: Study, paths: Mapping[Path, str]) -> Study:
    """Without the files that cannot be read: a broken picture goes, one with a broken label map has none."""
    pictures = [each for each in study.pictures if each.path not in paths and each.real not in paths]
    broken = [each.label_map is not None and not set(paths).isdisjoint(each.label_map.files) for each in pictures]
    kept = [replace(each, label_map=None) if bad else each for each, bad in zip(pictures, broken, strict=True)]
    return Study(kept, [path for path in study.reals if path not in paths])


def look(study: Study) -> tuple[dict[Path, str], list[str]]:
    """Read all heads -> what is wrong with broken files; and notes on sizes and formats that differ."""
    problems: dict[Path, str] = {}
    heads = []
    for paths in ([picture.path for picture in study.pictures], study.reals):
        found = {path: head for path in paths if (head := _head(path, problems)) is not None}
        heads.append((Counter(size for size, _ in found.values()), Counter(kind for _, kind in found.values())))
    (sizes, kinds), (real_sizes, real_kinds) = heads
    notes = [
        f"{what} are of {len(several)} sizes: {_listed(several)}. Each metric scales every picture by its own rule."
        for what, several in (("The results", sizes), ("The real pictures", real_sizes))
        if len(several) > 1
    ]
    if sizes and real_sizes and not set(sizes) & set(real_sizes):
        notes.append(
            f"The results are {_first(sizes)}, the real pictures {_first(real_sizes)}: one that is scaled more loses "
            "more detail, which FID and KID see."
        )
    if len(kinds) > 1:
        notes.append(f"The results are of {len(kinds)} formats: {_listed(kinds)}.")
    if kinds and real_kinds and kinds.most_common(1)[0][0] != real_kinds.most_common(1)[0][0]:
        notes.append(
            f"The results are {_first(kinds)}, the real pictures {_first(real_kinds)}. The traces that JPEG leaves "
            "count in FID, KID and detectors; the published results were JPEG of quality 75."
        )
    return problems, notes


def _face_of(name: str, files: Files) -> str | None:
    """By name, else by the name without a seed's number behind it."""
    name = name_of(name)
    match = files.names.find(name)
    if match is None and (shorter := _SEED.sub("", name)) != name:
        match = files.names.find(shorter)
    return match.face if match else None


def _chosen(data: Path, files: Files, ids: Sequence[str]) -> set[str]:
    found = {name: files.names.find(name_of(name)) for name in ids}
    if missing := [name for name, match in found.items() if match is None]:
        raise ValueError(f"{data} has no face for {len(missing)} of the ids, such as {missing[:_SHOWN]}.")
    return {match.face for match in found.values() if match is not None}


def _unmatched(missing: Sequence[str], surplus: Sequence[str], results: Path, data: Path) -> list[str]:
    notes = []
    if missing:
        what = "1 face" if len(missing) == 1 else f"{len(missing)} faces"
        notes.append(
            f"No picture in {results.resolve().name} is of {what} of {data.resolve().name}: {_some(missing)}. FID, KID "
            "and the like compare with all faces, also with those; --ids names the ones to count."
        )
    if surplus:
        what = "1 picture" if len(surplus) == 1 else f"{len(surplus)} pictures"
        notes.append(f"Left out, being of no face to count: {what} in {results.resolve().name}, {_some(surplus)}.")
    return notes


def _broken_masks(files: Files) -> list[str]:
    said = [f"{path} is left out: {problem}, {more}." for path, (problem, more) in files.refused.items() if more]
    return [*said[:_SHOWN], *(f"{why}." for _, why in files.captions.unreadable[:_SHOWN])]


def _counts(study: Study, missing: Sequence[str], surplus: Sequence[str]) -> dict[str, int]:
    pictures = study.pictures
    return {
        "pictures": len(pictures),
        "faces": len({picture.face for picture in pictures}),
        "real pictures": len(study.reals),
        "captions": sum(picture.caption is not None for picture in pictures),
        "label maps": sum(picture.label_map is not None for picture in pictures),
        "groups": len({picture.group for picture in pictures if picture.group}),
        "missing": len(missing),
        "surplus": len(surplus),
    }


def _head(path: Path, problems: dict[Path, str]) -> tuple[str, str] | None:
    """Size and format; of a file that is none, the problem is put down."""
    try:
        with open_picture(path) as picture:
            return f"{picture.width}x{picture.height}", str(picture.format)
    except UnidentifiedImageError:
        problems[path] = "no picture that can be read" if path.stat().st_size else "an empty file"
    except Exception as error:  # Pillow's readers fail on damaged files in ways beyond listing
        problems[path] = str(error)
    return None


def _first(several: Counter) -> str:
    return str(several.most_common(1)[0][0])


def _listed(several: Counter) -> str:
    return ", ".join(f"{count} of {what}" for what, count in several.most_common(_SHOWN))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
