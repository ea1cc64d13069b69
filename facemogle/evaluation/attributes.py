"""Does a picture show what its caption says? Colours and what is worn, as a parser finds them in the picture.

A colour is right where, of the words that captions have for it, its own is the nearest to the median of the class, in
L*a*b*. How a word looks is learned from the real pictures whose captions say it, not from the results.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
from tokenizers import Regex, normalizers

from facemogle.evaluation.metric import Features, Measured, Metric, Picture, Study
from facemogle.evaluation.readings import PLACES, Reader, Readings
from facemogle.labels import CLASS_ID
from facemogle.words import replacements

# A class that covers less of the picture than this was not drawn: 33 pixels of 256 x 256.
PRESENT_SHARE = 5e-4
# For each of PLACES, its colours and the nouns that they stand before.
COLOURS: dict[str, tuple[str, str]] = {
    "hair colour": ("black brown blonde red grey white blue pink green", "hair|afro|bob|ponytail|bun"),
    "clothes colour": (
        "white black grey red orange yellow green blue purple pink", "shirt|clothes|sweater|turtleneck|jacket",
    ),
    "hat colour": ("white black grey red orange yellow green blue purple pink", "hat|beanie|cap"),
    "background colour": ("white grey blue teal green yellow orange pink purple", "background"),
    "skin tone": ("pale light tan brown dark", "skin"),
    "lipstick": ("red pink purple", "lipstick|lips"),
}  # fmt: skip
# What is worn: the class that shows it, and its nouns.
WORN = {
    "glasses": ("eyeglasses", "glasses|sunglasses"),
    "hat": ("hat", "hat|cap|beanie"),
    "earrings": ("earring", "earrings"),
    "necklace": ("necklace", "necklace"),
}
ATTRIBUTES = (*COLOURS, *WORN)
# What may stand between a colour and its noun.
_BETWEEN = (
    "long|short|medium|shoulder|length|wavy|straight|curly|thick|thin|bushy|receding|afro|collared|plain|knit|wide|"
    "baseball|small|large"
)
_VOCABULARY = {
    "woman", "man", "person", "wearing", "with", "has", "no", "not", "and", "a",
    *(word for colours, nouns in COLOURS.values() for word in (*colours.split(), *nouns.split("|"))),
    *(word for _, nouns in WORN.values() for word in nouns.split("|")),
}  # fmt: skip
_FEWEST = 3  # real pictures that must say a word before it can be told by its looks
ColourTable = dict[str, dict[str, np.ndarray]]  # place -> word -> (3,) L*a*b*


def told(caption: str) -> dict[str, str]:
    """Which of ATTRIBUTES a caption names: a colour's word, or the noun of what is worn.

    Synonyms are read as words.py reads them ("blond", "spectacles"), and what is said to be absent is not named.
    """
    text = _plain_words().normalize_str(caption)
    found = {}
    for name, (colours, nouns) in COLOURS.items():
        words = colours.replace(" ", "|")
        if match := re.search(rf"\b({words}),? (?:(?:and |, )?(?:{_BETWEEN}),? )*({nouns})\b", text):
            found[name] = match[1]
    for name, (_, nouns) in WORN.items():
        if match := re.search(rf"\b({nouns})\b", text):
            found[name] = match[1]
    return found


@lru_cache(maxsize=1)
def _plain_words() -> normalizers.Normalizer:
    rules = [normalizers.Replace(Regex(pattern), text) for pattern, text in replacements(_VOCABULARY)]
    return normalizers.Sequence([normalizers.Lowercase(), *rules])


def learn_colours(cases: Iterable[tuple[Mapping[str, str], np.ndarray]], *, fewest: int = _FEWEST) -> ColourTable:
    """What is told of a picture, and the colours (P, 3) that it shows -> how each word looks, on average."""
    shown: dict[str, dict[str, list[np.ndarray]]] = {place: {} for place in PLACES}
    for words, colours in cases:
        for place, colour in zip(PLACES, colours, strict=True):
            if place in words and not np.isnan(colour).any():
                shown[place].setdefault(words[place], []).append(colour)
    return {
        place: {word: np.mean(colours, axis=0) for word, colours in by_word.items() if len(colours) >= fewest}
        for place, by_word in shown.items()
    }


def nearest(colour: np.ndarray, table: Mapping[str, np.ndarray]) -> str:
    return min(table, key=lambda word: float(np.linalg.norm(colour - table[word])))


def agreement(words: Mapping[str, str], shares: np.ndarray, colours: np.ndarray, table: ColourTable) -> dict[str, bool]:
    """For everything told that a parser can check, whether the picture shows it: its shares (C,) and colours (P, 3)."""
    verdicts = {}
    for place, colour in zip(PLACES, colours, strict=True):
        if len(table[place]) > 1 and words.get(place) in table[place]:
            verdicts[place] = not np.isnan(colour).any() and nearest(colour, table[place]) == words[place]
    for name, (class_name, _) in WORN.items():
        if name in words:
            verdicts[name] = bool(shares[CLASS_ID[class_name]] > PRESENT_SHARE)
    return verdicts


def attribute_metrics(reader: Reader, whole: Study) -> tuple[Metric, ...]:
    """All that captions tell together, then each attribute; colours are learned from the whole study."""

    @lru_cache(maxsize=1)
    def table() -> ColourTable:
        reals = _reals(whole)
        readings = _read(reader, reals, "real pictures", real=True)
        return learn_colours(zip([told(each.caption or "") for each in reals], readings.colours, strict=True))

    def verdicts(pictures: list[Picture], what: str, *, real: bool) -> dict[str, dict[str, bool]]:
        readings = _read(reader, pictures, what, real=real)
        rows = zip(pictures, readings.shares, readings.colours, strict=True)
        return {each.name: agreement(told(each.caption or ""), one, other, table()) for each, one, other in rows}

    def measure(study: Study, features: Features, *, name: str | None = None) -> Measured:
        reals = _shares_right(verdicts(_reals(study), "real pictures", real=True), name)
        pictures = [picture for picture in study.pictures if picture.caption]
        each = _shares_right(verdicts(pictures, "pictures", real=False), name)
        if not each:
            raise ValueError(
                f"how its words look is learned from real pictures, {_FEWEST} for each of two words at least."
                if any(name in told(picture.caption or "") for picture in pictures)
                else "no caption tells it."
            )
        note = f"told by {len(each)} captions, read by {reader.name}"
        return Measured(
            float(np.mean(list(each.values()))), each=each, note=note,
            real=float(np.mean(list(reals.values()))) if reals else None,
        )  # fmt: skip

    def metric(name: str, title: str, attribute: str | None) -> Metric:
        def of_attribute(study: Study, features: Features) -> Measured:
            return measure(study, features, name=attribute)

        return Metric(name, title, "higher", frozenset({"caption"}), (), of_attribute)

    return (
        metric("words", "Words shown, %", None),
        *(metric(f"words.{each.replace(' ', '_')}", f"  {each}, %", each) for each in ATTRIBUTES),
    )


def _reals(study: Study) -> list[Picture]:
    """One of the pictures of each real face with a caption."""
    return list({each.real: each for each in study.pictures if each.real and each.caption}.values())


def _read(reader: Reader, pictures: list[Picture], what: str, *, real: bool) -> Readings:
    paths = [each.real if real else each.path for each in pictures]
    return reader([(path, each.label_map) for path, each in zip(paths, pictures, strict=True) if path], what=what)


def _shares_right(verdicts: Mapping[str, Mapping[str, bool]], name: str | None) -> dict[str, float]:
    """Of each picture of which anything is told, in %: of all, or of one attribute."""
    told_of = {
        picture: [right for attribute, right in each.items() if name in (None, attribute)]
        for picture, each in verdicts.items()
    }
    return {picture: 100 * float(np.mean(rights)) for picture, rights in told_of.items() if rights}
