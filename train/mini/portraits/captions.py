"""English captions over a closed vocabulary: several phrasings, any order, words left out at random.

What is unusual is told in every caption: whatever a prompt leaves open then comes out ordinary.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from train.mini.portraits.attributes import Attributes
from train.mini.portraits.phrases import (
    AGES,
    BEARDS,
    CLOTHES,
    COVERINGS,
    EARRINGS,
    EXPRESSIONS,
    EYE_STATES,
    FRONTS,
    GLASSES,
    HAIRED,
    HATS,
    LIGHTS,
    LIPSTICKS,
    MAKEUPS,
    NECKLACES,
    SPOKEN,
    STYLES,
    VIEWS,
    YOUTH,
    fill,
    unusual,
)

MAX_WORDS = 30
SHORT = 0.3  # share of the captions that name one to three things only, and what is unusual
MENTION, MENTION_ACCESSORY = 0.75, 0.9
COLOURLESS = 0.12  # "a hat", "curly hair": how often a phrase of three words or more leaves its colour out


class Feature(NamedTuple):
    """How often a phrase is told (1: always), how it follows the subject in a sentence, and the phrase."""

    probability: float
    join: str
    phrase: str


def _choose(rng: np.random.Generator, phrases: tuple[str, ...], word: str = "", *, colourless: bool = True) -> str:
    phrase = phrases[rng.integers(len(phrases))]
    left_out = colourless and len(phrase.split()) > 2 and rng.random() < COLOURLESS
    return fill(phrase, "" if left_out else word)


def _hair(a: Attributes, odd: set[str], rng: np.random.Generator) -> str:
    if a.hair_style != "bald" and rng.random() < 0.25:
        return f"{a.hair_colour} hair"
    return _choose(rng, STYLES[a.hair_style], a.hair_colour, colourless="hair_colour" not in odd)


def _features(a: Attributes, odd: set[str], rng: np.random.Generator) -> list[Feature]:
    """What the person has and wears; `odd` attributes are always told."""
    parts: list[Feature] = []

    def tell(probability: float, join: str, phrase: str, *attributes: str):
        parts.append(Feature(1.0 if odd.intersection(attributes) else probability, join, phrase))

    eyes_show = a.glasses != "sunglasses"
    tell(0.85, "with", _hair(a, odd, rng), "hair_style", "hair_colour")
    if a.hair_style in ("short", "bob", "straight", "wavy", "ponytail") and a.hat == "none":
        tell(0.3, "with", _choose(rng, FRONTS[a.hair_front]))
    if a.eyes != "open" and eyes_show:
        tell(0.9, "with", _choose(rng, EYE_STATES[a.eyes]), "eyes")
    if a.eyes != "closed" and eyes_show:
        tell(0.6, "with", f"{a.eye_colour} eyes")
    tell(0.5, "with", f"{a.skin} skin")
    if a.beard != "none":
        tell(MENTION_ACCESSORY, "with", _choose(rng, BEARDS[a.beard]), "beard")
    if a.lipstick != "none":
        tell(MENTION, "with", _choose(rng, LIPSTICKS, a.lipstick), "lipstick")
    if (makeup := getattr(a, "makeup", "none")) != "none":
        tell(MENTION, "with", _choose(rng, MAKEUPS[makeup]), "makeup")
    if (covering := getattr(a, "covering", "none")) != "none":
        tell(MENTION, "with", _choose(rng, COVERINGS[covering]), "covering")
    if a.glasses != "none":
        tell(MENTION_ACCESSORY, "wearing", _choose(rng, GLASSES[a.glasses], a.glasses_shape), "glasses")
    if a.hat != "none":
        tell(MENTION_ACCESSORY, "wearing", _choose(rng, HATS[a.hat], a.hat_colour), "hat")
    if a.earrings != "none":
        tell(MENTION_ACCESSORY, "wearing", _choose(rng, EARRINGS[a.earring_shape], a.earrings), "earring_shape")
    if a.necklace != "none":
        tell(MENTION_ACCESSORY, "wearing", _choose(rng, NECKLACES, a.necklace))
    if a.clothes != "none":
        tell(MENTION, "wearing", _choose(rng, CLOTHES[a.clothes], a.clothes_colour))
    return parts


def _surroundings(a: Attributes, odd: set[str], rng: np.random.Generator) -> list[Feature]:
    """What stands apart from the subject: expression, view, background, light."""
    background = fill("a {} background", a.background_colour)
    where = _choose(rng, ("in front of", "on", "on", "on"))
    view = getattr(a, "view", "front")
    seen = 1.0 if "view" in odd else 0.05 if view == "front" else 0.5
    return [
        Feature(MENTION, "", _choose(rng, EXPRESSIONS[a.expression])),
        Feature(seen, "", _choose(rng, VIEWS[view])),
        Feature(MENTION, "", f"{a.background_colour} background" if rng.random() < 0.3 else f"{where} {background}"),
        Feature(0.6, "", _choose(rng, LIGHTS[a.light])),
    ]


def _subject(a: Attributes, odd: set[str], rng: np.random.Generator) -> str:
    noun = a.person if rng.random() < 0.85 else "person"
    if a.age in YOUTH:
        return _choose(rng, YOUTH[a.age][noun])
    if a.hair_colour in HAIRED and a.hair_style != "bald" and rng.random() < 0.15:
        noun = HAIRED[a.hair_colour] if rng.random() < 0.5 else f"{a.hair_colour} haired {noun}"
    return f"{_choose(rng, AGES[a.age])} {noun}" if "age" in odd or rng.random() < MENTION else noun


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _joined(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _sentence(subject: str, features: Iterable[Feature], rng: np.random.Generator) -> str:
    text = _with_article(subject) if rng.random() < 0.8 else subject
    if rng.random() < 0.15:
        text = f"portrait of {_with_article(subject)}"
    joins = ("with", "wearing") if rng.random() < 0.6 else ("with",)
    for join in joins:
        phrases = [feature.phrase for feature in features if feature.join == join or len(joins) == 1]
        if phrases:
            text += f" {join} {_joined(phrases)}"
    return text


def _tags(phrases: list[str], rng: np.random.Generator) -> str:
    """Separated by commas; half the time without articles: "red hair, hat, big smile"."""
    if rng.random() < 0.5:
        phrases = [re.sub("^(with |on )?(an? )?", "", phrase) for phrase in phrases]
    return ", ".join(phrases)


def _short(a: Attributes, odd: set[str], rng: np.random.Generator) -> str:
    """What is unusual, and one to three things in all, whichever they are."""
    subject = Feature(1.0 if "age" in odd else MENTION, "", _subject(a, odd, rng))
    things = [*_features(a, odd, rng), *_surroundings(a, odd, rng), subject]
    rng.shuffle(things)
    things.sort(key=lambda thing: thing.probability < 1)
    always = sum(thing.probability == 1 for thing in things)
    chosen = things[: max(always, int(rng.integers(1, 4)))]
    rng.shuffle(chosen)
    told = [thing for thing in chosen if thing is not subject]
    if told and all(thing.join for thing in told) and (subject in chosen or len(chosen) < 3) and rng.random() < 0.5:
        return _sentence(subject.phrase, told, rng)
    return _tags([thing.phrase for thing in chosen], rng)


def _spoken(text: str, rng: np.random.Generator) -> str:
    """A caption with some words as other people say them."""
    for word, (probability, others) in SPOKEN.items():
        if rng.random() < probability:
            text = re.sub(rf"\b{word}\b", others[rng.integers(len(others))], text)
    return fill(re.sub(r"\ban (?=[^aeiou])", "a ", text))


def caption(attributes: Attributes, rng: np.random.Generator) -> str:
    """A caption of at most 30 words, lower case; nothing is mentioned that is not there, all that is unusual is."""
    a, odd = attributes, unusual(vars(attributes))
    if rng.random() < SHORT:
        return _spoken(_short(a, odd, rng), rng)
    features, around = (
        [feature for feature in things if rng.random() < feature.probability]
        for things in (_features(a, odd, rng), _surroundings(a, odd, rng))
    )
    rng.shuffle(features)
    rng.shuffle(around)
    subject, tags, first = _subject(a, odd, rng), rng.random() < 0.25, rng.random() < 0.15
    while True:
        rest = [phrase for *_, phrase in around]
        if tags:
            text = _tags([subject, *(phrase for *_, phrase in features), *rest], rng)
        else:
            sentence = _sentence(subject, features, rng)
            text = ", ".join([*rest, sentence] if first else [sentence, *rest])
        if len(text.split()) <= MAX_WORDS:
            return _spoken(text, rng)
        _drop_one(features, around)


def _drop_one(features: list[Feature], around: list[Feature]) -> None:
    """Drop the last thing that may be left out, or where there is none, the last; from the longer list if it can."""
    candidates = (features, around) if len(features) > len(around) else (around, features)
    things = max(candidates, key=lambda each: any(thing.probability < 1 for thing in each))
    free = [index for index, thing in enumerate(things) if thing.probability < 1]
    del things[free[-1] if free else -1]
