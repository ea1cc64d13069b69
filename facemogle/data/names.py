"""Which face a file, or an entry of a list, belongs to: told from its name, whatever the program that wrote it.

A name is a path within a folder, without endings, composed (Unicode NFC), with / between folders.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".gif", ".jp2",
)  # fmt: skip
LOSSLESS_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".npy", ".gif", ".webp")
MASK_SUFFIXES = (*LOSSLESS_SUFFIXES, ".jpg", ".jpeg")
TEXT_SUFFIXES = (".txt", ".caption")
TABLE_SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")
_ENDINGS = {*IMAGE_SUFFIXES, *MASK_SUFFIXES, *TEXT_SUFFIXES}
# What stands before or behind the name that a face shares with its mask and its captions.
MASK_WORDS = {
    "mask", "masks", "label", "labels", "labelmap", "map", "seg", "segm", "segmentation", "parsing", "parse", "parsed",
    "anno", "annotation", "gt", "color", "colour", "ids", "labelids",
}  # fmt: skip
_WORDS = MASK_WORDS | {
    "face",
    "image",
    "img",
    "photo",
    "picture",
    "pic",
    "rgb",
    "caption",
    "captions",
    "text",
    "prompt",
}


class Match(NamedTuple):
    """The face, by its own name; and how it was told. Of two, the one of the smaller `rank` is the surer."""

    face: str
    rank: tuple[int, int]  # folders left away, then the rule

    @property
    def rule(self) -> str:
        return RULES[self.rank[1]]


class Names:
    """Faces, to be found by what masks, captions and lists call them."""

    def __init__(self, faces: Iterable[str]):
        self._faces: list[dict[str, list[str]]] = []
        for _, of_face, _ in _RULES:
            index: dict[str, list[str]] = {}
            for face in faces:
                for tail in _tails(face):
                    index.setdefault(_in_last(of_face, tail), []).append(face)
            self._faces.append(index)

    def find(self, name: str, *, rules: int | None = None) -> Match | None:
        """By as many of its folders as fit, and by the first of the rules that fits one face alone; None: nothing."""
        for left_away, tail in enumerate(_tails(name)):
            for rule, (_, _, of_other) in enumerate(_RULES[:rules]):
                found = self._faces[rule].get(_in_last(of_other, tail), ())
                if len(found) == 1:
                    return Match(found[0], (left_away, rule))
        return None


def name_of(path: str) -> str:
    """ "face\\0007.JPG" -> "face/0007"; "a.v2.jpg.txt" -> "a.v2"."""
    name = unicodedata.normalize("NFC", path).strip().replace("\\", "/").removeprefix("./")
    while (dot := name.rfind(".")) > name.rfind("/") + 1 and name[dot:].casefold() in _ENDINGS:
        name = name[:dot]
    return name


def words_of(name: str) -> list[str]:
    """ "a/0007_hair-mask" -> ["0007", "hair", "mask"]."""
    return [word for word in re.split(r"[\s_.-]+", name.rpartition("/")[2].casefold()) if word]


def in_order(name: str) -> tuple[bool, int, str]:
    """To sort names by: numbers in numeric order, then others."""
    name = _number(name)
    number = name.isascii() and name.isdigit()
    return not number, len(name) if number else 0, name


def key_of(name: str) -> str:
    """ "0x/0007" -> "0x/7": the same for all that count as one name."""
    return _in_last(_number, name)


def _number(name: str) -> str:
    return name.lstrip("0") or "0" if name.isascii() and name.isdigit() else name


def _folded(name: str) -> str:
    return _number(name.casefold())


def _bare(name: str) -> str:
    """Without the words at its ends that say what kind of file it is."""
    words = words_of(name)
    while len(words) > 1 and words[-1] in _WORDS:
        words.pop()
    while len(words) > 1 and words[0] in _WORDS:
        words.pop(0)
    return _number("_".join(words))


Spelling = Callable[[str], str]
# How a face is spelled, and how what belongs to it; the surest first.
_RULES: tuple[tuple[str, Spelling, Spelling], ...] = (
    ("by name", _number, _number),
    ("by name in other case", _folded, _folded),
    ("by name without words such as mask", _folded, _bare),
    ("by name without words such as image and mask", _bare, _bare),
)
RULES = tuple(rule for rule, _, _ in _RULES)


def _tails(name: str) -> list[str]:
    """ "a/b/c" -> "a/b/c", "b/c", "c"."""
    folders = name.split("/")
    return ["/".join(folders[start:]) for start in range(len(folders))]


def _in_last(spelling: Spelling, name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder.casefold() + slash + spelling(last)
