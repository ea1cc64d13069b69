"""A data folder as people have it: which folders hold the faces, the label maps and the captions, and what fits what.

Told from the folders' names, in any case, also one or more folders below ROOT; faces, masks and captions may lie in one
folder. Hidden folders and those of operating systems are left out, links followed. Files belong together by name, see
names.py; what was understood, and what was left out, is told in rows.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from facemogle.data.captions import Captions, find_captions
from facemogle.data.names import (
    IMAGE_SUFFIXES,
    LOSSLESS_SUFFIXES,
    MASK_SUFFIXES,
    MASK_WORDS,
    Match,
    Names,
    key_of,
    name_of,
    words_of,
)
from facemogle.data.walk import Walk, children
from facemogle.label_files import part_of

# By their letters alone; the first that holds any is taken.
IMAGE_FOLDERS = (
    "face", "faces", "image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "celebahqimg", "rgb",
    "jpegimages",
)  # fmt: skip
MASK_FOLDERS = (
    "mask", "masks", "label", "labels", "labelmap", "labelmaps", "seg", "segmentation", "segmentations", "parsing",
    "annotation", "annotations", "anno", "celebamaskhqmaskanno", "celebamaskhqmask", "celebamaskhqmaskcolor",
    "segmentationclass",
)  # fmt: skip
CAPTION_FOLDERS = (
    "text", "texts", "txt", "caption", "captions", "celebacaption", "prompt", "prompts", "description", "descriptions",
)  # fmt: skip
_DEPTH = 3  # folders below ROOT at most
_ANOTHER = "of faces that have another mask"


class Masks(NamedTuple):
    """Of one face: one label map, and no `parts`; or files of single parts, and their classes, in class order."""

    files: tuple[Path, ...]
    parts: tuple[int, ...]


class Files(NamedTuple):
    """What a data folder holds, by the faces' names; `captions` are told apart in captions.Captions."""

    images: dict[str, Path]
    masks: dict[str, Masks]
    captions: Captions
    refused: dict[Path, tuple[str, str]]  # masks that cannot be used: the problem, and more about it
    rows: list[tuple[str, str]]  # what was understood: of what, and what
    names: Names


class _Place(NamedTuple):
    root: Path
    faces: Path | None
    masks: Path | None


def find_files(root: Path, *, without_masks: bool = False) -> Files:
    """ValueError where a folder is missing, or two files claim one name.

    without_masks: a folder of faces alone will do as well.
    """
    try:
        place = _place(Path(root))
    except ValueError:
        place = _look(Path(root))
        if not without_masks or place.faces is None or place.masks is not None:
            raise
    assert place.faces is not None
    texts = [folder for folder in children(place.root) if _plain(folder.name) in CAPTION_FOLDERS]
    shared = place.masks == place.faces
    # Where faces lie in ROOT itself, what lies in other folders is something else.
    deep = place.faces != place.root
    walk = Walk(place.faces, IMAGE_SUFFIXES, skipped=(place.masks, *texts), deep=deep)
    paths = [path for path in walk if not (shared and _is_marked(path))]
    images = _named(walk, paths)
    names = Names(images)
    masks = place.masks or place.faces
    mask_walk = Walk(masks, MASK_SUFFIXES, skipped=(place.faces, *texts), deep=masks != place.root)
    mask_paths = [path for path in mask_walk if place.masks and (not shared or _is_marked(path))]
    matched = _matched(mask_walk, mask_paths, names)
    captions = find_captions(place.root, place.faces, texts, names)
    by_rule = ", ".join(f"{count} {rule}" for rule, count in matched.rules.most_common()) or "none of a face here"
    rows = [
        ("faces", f"{len(images)} in {place.faces}"),
        ("masks", f"{len(matched.masks)} in {place.masks}: {by_rule}" if place.masks else "none found"),
        ("captions", captions.source),
        *(("left out", listed) for listed in _left_out(place.root, walk.left_out, mask_walk.left_out, matched.spare)),
    ]
    return Files(images, matched.masks, captions, matched.refused, rows, names)


def find_pictures(root: Path) -> dict[str, Path]:
    """All pictures of a folder, of faces alone: by name, with folders; label maps and texts beside them are left out.

    ValueError where two files in one folder claim one name.
    """
    place = _look(Path(root))
    folder = place.faces or place.root
    apart = [child for child in children(place.root) if _plain(child.name) in (*MASK_FOLDERS, *CAPTION_FOLDERS)]
    walk = Walk(folder, IMAGE_SUFFIXES, skipped=apart)
    found: dict[str, Path] = {}
    for path in walk:
        if place.masks == folder and _is_marked(path):
            continue
        if (other := found.setdefault(walk.name_of(path), path)) != path:
            raise ValueError(f"{other} and {path} are two pictures of one name. Remove or rename one of them.")
    return found


def _place(root: Path) -> _Place:
    """Where the faces and the masks are: in ROOT itself, or in the one folder below that has both."""
    own = _look(root)
    if own.faces and own.masks:
        return own
    named = own.faces not in (None, root) or own.masks is not None
    below = [root]
    for _ in range(0 if named else _DEPTH):
        below = [child for folder in below for child in children(folder)]
        found = [place for place in map(_look, below) if place.faces and place.masks]
        if len(found) > 1:
            several = ", ".join(str(place.root) for place in found[:3])
            raise ValueError(f"{root} holds {len(found)} folders of faces with masks: {several}. Name one of them.")
        if found:
            return found[0]
    what, folders = ("masks", MASK_FOLDERS) if own.faces else ("faces", IMAGE_FOLDERS)
    above = _look(root.resolve().parent)
    remedy = f" Give the folder above, {above.root}." if above.faces and above.masks else ""
    expected = ", ".join(f"{name}/" for name in folders[:6])
    raise ValueError(
        f"{root} has no folder of {what}: expected one of {expected} or another of train/README.md.{remedy}"
    )


def _look(root: Path) -> _Place:
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}.")
    folders = children(root)

    def first(wanted: Sequence[str], suffixes: Sequence[str]) -> Path | None:
        named = [child for child in folders if _plain(child.name) in wanted]
        named.sort(key=lambda child: (wanted.index(_plain(child.name)), len(child.name)))
        full = (child for child in named if any(True for _ in Walk(child, suffixes)))
        return next(full, named[0] if named else None)

    faces, masks = first(IMAGE_FOLDERS, IMAGE_SUFFIXES), first(MASK_FOLDERS, MASK_SUFFIXES)
    if faces is None and any(_pictures_in(root)):
        faces = root
    if faces is None and masks is not None:  # then of any name, where no other could be meant
        others = [child for child in folders if child != masks and _plain(child.name) not in CAPTION_FOLDERS]
        others = [child for child in others if any(True for _ in Walk(child, IMAGE_SUFFIXES))]
        faces = others[0] if len(others) == 1 else None
    if masks is None and faces is not None and any(map(_is_marked, _pictures_in(faces))):
        masks = faces
    return _Place(root, faces, masks)


def _named(walk: Walk, paths: Sequence[Path]) -> dict[str, Path]:
    """By the file's name, with its folders where two have the same. ValueError where two in one folder do."""
    full: dict[str, Path] = {}
    for path in paths:
        if (other := full.setdefault(key_of(walk.name_of(path)), path)) != path:
            raise ValueError(f"{other} and {path} are two faces of one name. Remove or rename one of them.")
    count = Counter(key.rpartition("/")[2] for key in full)
    last = {key: walk.name_of(path).rpartition("/")[2] for key, path in full.items()}
    return {last[key] if count[key.rpartition("/")[2]] == 1 else walk.name_of(path): path for key, path in full.items()}


class _Claim(NamedTuple):
    rank: tuple[int, ...]
    path: Path
    rule: str


class _Matched(NamedTuple):
    """As in Files; masks that are not needed, by what they are; how many faces' masks were told by each rule."""

    masks: dict[str, Masks]
    refused: dict[Path, tuple[str, str]]
    spare: dict[str, list[Path]]
    rules: Counter


def _matched(walk: Walk, paths: Sequence[Path], names: Names) -> _Matched:
    """ValueError where two masks have as good a claim to one face."""
    claims: dict[str, dict[int, list[_Claim]]] = {}
    lossy: dict[Path, str] = {}
    others: list[Path] = []
    for path in paths:
        match, class_id = _face_of(walk.name_of(path), names)
        is_lossy = path.suffix.lower() not in LOSSLESS_SUFFIXES
        if match is None:
            others.append(path)
        elif is_lossy and not class_id:
            lossy[path] = match.face
        else:
            claim = _Claim((is_lossy, *match.rank), path, match.rule)
            claims.setdefault(match.face, {}).setdefault(class_id, []).append(claim)
    found = _Matched({}, {}, {}, Counter())
    for face, by_class in claims.items():
        chosen = {class_id: _surest(by_class[class_id]) for class_id in ([0] if 0 in by_class else sorted(by_class))}
        files = tuple(claim.path for claim in chosen.values())
        found.masks[face] = Masks(files, () if 0 in chosen else tuple(chosen))
        found.rules[next(iter(chosen.values())).rule + ("" if 0 in chosen else ", in parts")] += 1
        unused = [claim.path for several in by_class.values() for claim in several if claim.path not in files]
        found.spare.setdefault(_ANOTHER, []).extend(unused)
    for path, face in lossy.items():
        if face in found.masks:
            found.spare.setdefault(_ANOTHER, []).append(path)
        else:
            found.refused[path] = "mask in JPEG", "which blurs classes into others at their edges; save it as PNG"
    for path in others:
        before, _, word = re.sub(r"[\s.-]", "_", walk.name_of(path)).rpartition("_")
        match = names.find(before) if before else None
        if match and match.face in found.masks:
            found.spare.setdefault(f"of no class ({word})", []).append(path)
        else:
            found.refused[path] = "mask without face", ""
    return found


def _face_of(name: str, names: Names) -> tuple[Match | None, int]:
    """-> whose mask it is, and of which class; 0: of all."""
    if whole := names.find(name, rules=2):
        return whole, 0
    if part := part_of(re.sub(r"[\s-]", "_", name)):
        return names.find(part[0]), part[1]
    return names.find(name), 0


def _surest(claims: Sequence[_Claim]) -> _Claim:
    first, *others = sorted(claims)
    if others and others[0].rank == first.rank:
        raise ValueError(f"{first.path} and {others[0].path} are two masks of one name. Remove or rename one of them.")
    return first


def _pictures_in(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")]


def _is_marked(path: Path) -> bool:
    """Whether a file in a folder of both is a mask, by the word before or behind its name."""
    name = name_of(path.name)
    words = words_of(name)
    return len(words) > 1 and bool({words[0], words[-1]} & MASK_WORDS or part_of(re.sub(r"[\s-]", "_", name)))


def _plain(folder: str) -> str:
    """ "CelebA-HQ-img" -> "celebahqimg"; "images 1024x1024" -> "images"."""
    letters = re.sub(r"[\W_]", "", unicodedata.normalize("NFC", folder).casefold())
    return re.sub(r"\d+(x\d+)?(px)?$", "", letters)


def _left_out(root: Path, *passed_over: dict[str, list[Path]]) -> Iterator[str]:
    by_kind: dict[str, set[str]] = {}
    for kind, paths in (item for each in passed_over for item in each.items()):
        by_kind.setdefault(kind, set()).update(os.path.relpath(path, root) for path in paths)
    for kind, found in by_kind.items():
        if found:
            yield f"{len(found)} {kind}: {', '.join(sorted(found)[:3])}{', ...' if len(found) > 3 else ''}"
