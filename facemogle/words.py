"""How a checkpoint reads a prompt: which words it knows, what is near those it does not, and how far it reads.

A checkpoint of few words has tokenizers of one token a word; others, as FLUX.1-dev's, know language at large.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from facemogle.synonyms import ABSENT, MEANINGS, RELATED, THINGS, TURNS

CLOSE = 0.75  # difflib's ratio, from which a word is taken for a slip of the pen
# As Stable Diffusion's pages have them: "<lora:ink:0.8>"; "(red hair:1.3)", "((red hair))" and "[[red hair]]".
_LOADING = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>", re.IGNORECASE)
_DEPTH = 8  # of brackets in brackets
_WEIGHTED = r"(?=[^\[\]:]{0,200}?[^\W\d_])((?:[^()\[\]:]|\([^():]*\))+)"
_NUMBER = r":\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*"
# Doubled brackets are looked for where a run of them begins: within a long one, each place would be tried in vain.
_WEIGHT = re.compile(rf"[(\[]{_WEIGHTED}{_NUMBER}[)\]]|(?<!\()\(\(+([^():]+)\)\)+|(?<!\[)\[\[+([^\[\]:]+)\]\]+")


@dataclass(frozen=True)
class PromptReading:
    """unknown: the prompt's words that the checkpoint does not know, each with the nearest that it does, or None.

    It takes `tokens` of the `limit` that are read, both without the tokenizer's own marks; `cut` is the end that is not
    read, "" where all is. `unit` says what they are: "word" or "token". `marks`: what was dropped; see without_marks.
    """

    unknown: dict[str, str | None]
    tokens: int
    limit: int
    cut: str
    unit: str = "token"
    marks: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """What the person who wrote it should know, in sentences."""
        notes = self.dropped()
        if self.unknown:
            notes.append(f"The model does not know: {', '.join(map(_offered, list(self.unknown.items())[:5]))}.")
        if self.cut:
            count = f"Only the first {self.limit} of the prompt's {self.tokens} {self.unit}s count"
            notes.append(f"{count}: {self.cut_start()!r} is not read.")
        return notes

    def dropped(self) -> list[str]:
        """What became of `marks`, in sentences."""
        notes = []
        if loading := [mark for mark in self.marks if mark[0] == "<"]:
            notes.append(f"{loading[0][:60]!r} loads nothing within a prompt. Start with --lora FILE:SCALE.")
        if weights := [mark for mark in self.marks if mark[0] != "<"]:
            notes.append(f"Weights are not understood: the words of {weights[0][:60]!r} count as any others.")
        return notes

    def cut_start(self) -> str:
        """The first words of `cut`."""
        return textwrap.shorten(self.cut, 40, placeholder=" …")


def _offered(word: tuple[str, str | None]) -> str:
    return word[0] if word[1] is None else f"{word[0]} (the nearest that it knows: {word[1]})"


def without_marks(prompt: str) -> tuple[str, tuple[str, ...]]:
    """A prompt without what other programs' prompts have beside words -> it, and what was dropped of it.

    "((red) hair:1.3) <lora:ink:0.8>" -> "(red) hair"; brackets that are no weights, as in "smiling (a little)", stay.
    """
    marks: list[str] = []

    def drop(match: re.Match) -> str:
        marks.append(match[0])
        return next(filter(None, match.groups()), "")

    plain = _LOADING.sub(drop, prompt)
    for _ in range(_DEPTH):
        plain = _WEIGHT.sub(drop, plain)
    return (plain.strip() if marks else prompt), tuple(marks)


def read_prompt(prompt: str, tokenizer: Any, max_length: int) -> PromptReading:
    """What a tokenizer of transformers, T5's as a rule, makes of a prompt when cut to `max_length` tokens."""
    prompt, marks = without_marks(prompt)
    encoded = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, places = encoded.input_ids, encoded.offset_mapping
    limit = max_length - tokenizer.num_special_tokens_to_add()
    known = known_words(tokenizer)
    counted = zip(ids[:limit], places[:limit], strict=True)  # words past the limit are not read, known or not
    strange = [place for index, place in counted if index == tokenizer.unk_token_id]
    words = dict.fromkeys(_word_at(prompt, *place) for place in strange)
    return PromptReading(
        {word: nearest(word, known) for word in words},
        tokens=len(ids),
        limit=limit,
        cut=prompt[prompt.rfind(" ", 0, places[limit][0] + 1) + 1 :].strip() if len(ids) > limit else "",
        unit="word" if known else "token",
        marks=marks,
    )


def _word_at(prompt: str, start: int, end: int) -> str:
    """The whole word of which a token is a part; a sign that belongs to none stands for itself."""
    for word in re.finditer(r"\w+(?:['’]\w+)*", prompt):
        if word.start() < end and start < word.end():
            return word.group()
    return prompt[start:end].strip()


def known_words(tokenizer: Any) -> set[str]:
    """The vocabulary of a tokenizer of one token a word; empty: it splits words, and knows them all."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)  # of transformers, or of tokenizers itself
    if type(getattr(backend, "model", None)).__name__ != "WordLevel":
        return set()
    return {word for word in tokenizer.get_vocab() if word.isalpha()}


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known word or words that mean the same or about that, else the one that is spelled most alike; or None."""
    word = word.lower()
    for meaning, source in _pairs(MEANINGS + RELATED):
        if meaning and known_all(meaning, known) and re.fullmatch(f"(?:{source})s?", word):
            return meaning
    read = {source for meaning, source in _pairs(MEANINGS) if known_all(meaning, known)}
    candidates = sorted(each for each in read.union(known) if len(each) > 2 and each.isalpha())
    return next(iter(difflib.get_close_matches(word, candidates, n=1, cutoff=CLOSE)), None)


def _pairs(table: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    return ((meaning, source) for meaning, sources in table for source in sources.split(", "))


def known_all(text: str, known: Collection[str]) -> bool:
    """Whether all words of a meaning or a source are known, but for those that only have to follow it."""
    text, *_ = re.split(r"\(\?[=!]", text)
    return all(word in known for word in re.findall("[a-z]+", text))


def replacements(known: Collection[str]) -> list[tuple[str, str]]:
    """What to replace in a prompt in lower case, one after the other, for a tokenizer that knows these words alone.

    Pairs of a regular expression and plain text. A source of which all words are known stands for itself.
    """
    rules = [
        (r":\s*\d+(?:\.\d+)?|[()\[\]{}]", " "),  # weights, as in "(red hair:1.3)"
        (r"(?<=\w)['’]s(?!\w)", ""),
        (r"(?<=\w)[-‐‑–_](?=\w)", " "),
        (r"\s+", " "),
        (r"(?:is|does|has)n['’]t(?= )", "not"),
    ]
    nouns = sorted(word for word in known if word.isalpha() and word[-1] != "s" and f"{word}s" not in known)
    if nouns:
        rules.append((r"(?<=\b" + r"|\b".join(nouns) + r")s(?!\w)", ""))
    for meaning, sources in MEANINGS:
        if known_all(meaning, known) and (new := [each for each in sources.split(", ") if not known_all(each, known)]):
            rules.append((rf"(?<!\w)(?:{'|'.join(new)})s?(?!\w)", meaning))
    rules += [
        (rf"(?<!\w)(?:{'|'.join(sources.split(', '))})(?!\w)", meaning)
        for meaning, sources in TURNS
        if known_all(meaning, known)
    ]
    return rules + _negations()


def _negations() -> list[tuple[str, str]]:
    """Leave out what a prompt says is not there: "no hat", "without a hat or glasses", "not wearing a hat"."""
    things = rf"(?:{THINGS})(?!\w)"
    thing = rf"(?:(?:a|an|any|the) )?(?:(?!(?:and|or|nor|with|but|in|on) )\w+ ){{0,2}}?{things}"
    several = rf"{thing}(?: (?:or|nor|and no|and without) {thing})*"
    absent = rf"(?:no {several}|without {several}(?: and {things})?|not (?:wear|wearing|have|with) {several}|{ABSENT})"
    return [
        (rf"(?<=\bwith )no {several} (?:and|but) (?!no )", ""),
        (rf"(?<!\w)(?:(?:and|but) )?(?:(?:with|wearing) )?{absent}(?!\w)", ""),
        (r"(?<!\w)not (?:very |too )?\w+", ""),
    ]
