"""English captions over a closed vocabulary: several phrasings, any order, words left out at random."""

import re
from itertools import chain

import numpy as np

from train.mini.portraits.attributes import (
    BACKGROUND_COLOURS,
    CLOTHES_COLOURS,
    EYE_COLOURS,
    HAIR_COLOURS,
    LIPSTICK_COLOURS,
    METAL_COLOURS,
    SKIN_TONES,
    Attributes,
)

MAX_WORDS = 30
SHORT = 0.25  # share of the captions that name one to three things only
MENTION, MENTION_ACCESSORY = 0.75, 0.9
COLOURLESS = 0.12  # "a hat", "curly hair": how often a phrase of three words or more leaves its colour out

PEOPLE = ("woman", "man", "person")
AGES = {"young": ("young",), "adult": ("adult",), "elderly": ("elderly", "old")}
STYLES = {
    "bald": ("a bald head",),
    "short": ("short {} hair",),
    "curly": ("curly {} hair", "short curly {} hair"),
    "afro": ("a {} afro", "a big {} afro"),
    "bob": ("a {} bob",),
    "straight": ("long {} hair", "long straight {} hair", "straight {} hair"),
    "wavy": ("wavy {} hair", "long wavy {} hair"),
    "ponytail": ("a {} ponytail", "{} hair in a ponytail"),
    "bun": ("{} hair in a bun", "a {} bun"),
}
FRONTS = {
    "fringe": ("a fringe", "bangs"),
    "side": ("a side parting",),
    "middle": ("a middle parting",),
    "swept": ("swept back hair",),
}
EXPRESSIONS = {
    "neutral": ("calm", "with a calm face", "with a neutral face"),
    "serious": ("serious", "with a serious face"),
    "smiling": ("smiling", "with a smile", "happy"),
    "laughing": ("laughing", "with an open smile", "with a big smile"),
    "surprised": ("surprised", "with a surprised face", "with an open mouth"),
}
EYE_STATES = {"closed": ("closed eyes",), "winking": ("a wink", "one closed eye")}
GLASSES = {"glasses": ("{} glasses", "glasses"), "sunglasses": ("{} sunglasses", "sunglasses", "dark glasses")}
HATS = {
    "beanie": ("a {} beanie", "a {} hat"),
    "cap": ("a {} cap", "a {} hat"),
    "wide": ("a wide {} hat", "a {} hat", "a {} hat with a brim"),
}
EARRINGS = {
    "stud": ("{} earrings", "small {} earrings", "earrings"),
    "hoop": ("{} earrings", "{} hoop earrings", "hoop earrings"),
    "drop": ("{} earrings", "{} drop earrings", "drop earrings"),
}
NECKLACES = ("a {} necklace",)
LIPSTICKS = ("{} lipstick", "{} lips")
BEARDS = {
    "full": ("a beard", "a full beard"),
    "goatee": ("a goatee",),
    "moustache": ("a moustache",),
    "stubble": ("stubble", "a short beard"),
}
CLOTHES = {
    "shirt": ("a {} shirt", "{} clothes"),
    "collar": ("a {} shirt", "a {} shirt with a collar"),
    "vneck": ("a {} shirt", "a {} sweater"),
    "turtleneck": ("a {} turtleneck", "a {} sweater", "{} clothes"),
    "jacket": ("a {} jacket", "{} clothes"),
}
LIGHTS = {
    "left": ("light from the left", "lit from the left"),
    "right": ("light from the right", "lit from the right"),
    "soft": ("soft light",),
    "warm": ("warm light",),
    "cool": ("cool light",),
}
SHAPES = ("round", "square")
GLUE = "a an and in front of on portrait with face wearing eyes skin hair background"

# How a phrase follows the subject in a sentence, and the phrase.
Feature = tuple[str, str]


def _fill(phrase: str, word: str = "") -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", " ".join(phrase.format(word).split()))


def _suggestions() -> dict[str, tuple[str, ...]]:
    first = lambda table: tuple(_fill(phrases[0]) for phrases in table.values())  # noqa: E731
    each = lambda phrase, words: tuple(_fill(phrase, word) for word in words)  # noqa: E731
    return {
        "person": tuple(f"{age[0]} {noun}" for age in AGES.values() for noun in PEOPLE),
        "hair colour": each("{} hair", HAIR_COLOURS),
        "hair style": first(STYLES),
        "forehead": first(FRONTS),
        "eyes": each("{} eyes", EYE_COLOURS) + first(EYE_STATES),
        "skin": each("{} skin", SKIN_TONES),
        "expression": first(EXPRESSIONS),
        "beard": first(BEARDS),
        "lipstick": each(LIPSTICKS[0], LIPSTICK_COLOURS),
        "glasses": tuple(phrase for kind in GLASSES.values() for phrase in each(kind[0], SHAPES)),
        "hat": first(HATS) + each(HATS["beanie"][1], CLOTHES_COLOURS),
        "earrings": each(EARRINGS["stud"][0], METAL_COLOURS) + tuple(phrases[-1] for phrases in EARRINGS.values()),
        "necklace": each(NECKLACES[0], METAL_COLOURS),
        "clothes": first(CLOTHES) + each(CLOTHES["shirt"][0], CLOTHES_COLOURS),
        "background": each("{} background", BACKGROUND_COLOURS),
        "light": first(LIGHTS),
    }


SUGGESTIONS: dict[str, tuple[str, ...]] = {
    attribute: tuple(dict.fromkeys(phrases)) for attribute, phrases in _suggestions().items()
}


def _words() -> tuple[str, ...]:
    tables = (AGES, STYLES, FRONTS, EXPRESSIONS, EYE_STATES, GLASSES, HATS, EARRINGS, BEARDS, CLOTHES, LIGHTS)
    phrases = chain.from_iterable(phrase for table in tables for phrase in table.values())
    colours = chain(
        SKIN_TONES, HAIR_COLOURS, EYE_COLOURS, LIPSTICK_COLOURS, CLOTHES_COLOURS, BACKGROUND_COLOURS, METAL_COLOURS
    )
    texts = chain((GLUE,), PEOPLE, SHAPES, NECKLACES, LIPSTICKS, phrases, colours)
    return tuple(sorted({word for text in texts for word in text.split() if word != "{}"} | {","}))


VOCABULARY: tuple[str, ...] = _words()


def _choose(rng: np.random.Generator, phrases: tuple[str, ...], word: str = "") -> str:
    phrase = phrases[rng.integers(len(phrases))]
    return _fill(phrase, "" if len(phrase.split()) > 2 and rng.random() < COLOURLESS else word)


def _features(a: Attributes, rng: np.random.Generator) -> list[tuple[float, Feature]]:
    """What the person has and wears, each with how often it is told."""
    parts: list[tuple[float, Feature]] = []

    def tell(probability: float, join: str, phrase: str):
        parts.append((probability, (join, phrase)))

    eyes_show = a.glasses != "sunglasses"
    plain = a.hair_style != "bald" and rng.random() < 0.25
    tell(0.85, "with", f"{a.hair_colour} hair" if plain else _choose(rng, STYLES[a.hair_style], a.hair_colour))
    if a.hair_style in ("short", "bob", "straight", "wavy", "ponytail") and a.hat == "none":
        tell(0.3, "with", _choose(rng, FRONTS[a.hair_front]))
    if a.eyes != "open" and eyes_show:
        tell(0.9, "with", _choose(rng, EYE_STATES[a.eyes]))
    if a.eyes != "closed" and eyes_show:
        tell(0.6, "with", f"{a.eye_colour} eyes")
    tell(0.5, "with", f"{a.skin} skin")
    if a.beard != "none":
        tell(MENTION_ACCESSORY, "with", _choose(rng, BEARDS[a.beard]))
    if a.lipstick != "none":
        tell(MENTION, "with", _choose(rng, LIPSTICKS, a.lipstick))
    if a.glasses != "none":
        tell(MENTION_ACCESSORY, "wearing", _choose(rng, GLASSES[a.glasses], a.glasses_shape))
    if a.hat != "none":
        tell(MENTION_ACCESSORY, "wearing", _choose(rng, HATS[a.hat], a.hat_colour))
    if a.earrings != "none":
        tell(MENTION_ACCESSORY, "wearing", _choose(rng, EARRINGS[a.earring_shape], a.earrings))
    if a.necklace != "none":
        tell(MENTION_ACCESSORY, "wearing", _choose(rng, NECKLACES, a.necklace))
    if a.clothes != "none":
        tell(MENTION, "wearing", _choose(rng, CLOTHES[a.clothes], a.clothes_colour))
    return parts


def _surroundings(a: Attributes, rng: np.random.Generator) -> list[tuple[float, Feature]]:
    """What stands apart from the subject: expression, background, light; told as in `_features`."""
    background = _fill("a {} background", a.background_colour)
    where = _choose(rng, ("in front of", "on", "on", "on"))
    return [
        (MENTION, ("", _choose(rng, EXPRESSIONS[a.expression]))),
        (MENTION, ("", f"{a.background_colour} background" if rng.random() < 0.3 else f"{where} {background}")),
        (0.6, ("", _choose(rng, LIGHTS[a.light]))),
    ]


def _subject(a: Attributes, rng: np.random.Generator) -> str:
    noun = a.person if rng.random() < 0.85 else "person"
    return f"{_choose(rng, AGES[a.age])} {noun}" if rng.random() < MENTION else noun


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _joined(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _sentence(subject: str, features: list[Feature], rng: np.random.Generator) -> str:
    text = _with_article(subject) if rng.random() < 0.8 else subject
    if rng.random() < 0.15:
        text = f"portrait of {_with_article(subject)}"
    joins = ("with", "wearing") if rng.random() < 0.6 else ("with",)
    for join in joins:
        phrases = [phrase for kind, phrase in features if kind == join or len(joins) == 1]
        if phrases:
            text += f" {join} {_joined(phrases)}"
    return text


def _tags(phrases: list[str], rng: np.random.Generator) -> str:
    """Separated by commas; half the time without articles: "red hair, hat, big smile"."""
    if rng.random() < 0.5:
        phrases = [re.sub("^(with |on )?(an? )?", "", phrase) for phrase in phrases]
    return ", ".join(phrases)


def _short(a: Attributes, rng: np.random.Generator) -> str:
    """One to three things, whichever they are."""
    features = [feature for _, feature in _features(a, rng)]
    things = [*features, *(feature for _, feature in _surroundings(a, rng)), ("", _subject(a, rng))]
    chosen = [things[index] for index in rng.permutation(len(things))[: rng.integers(1, 4)]]
    if all(join for join, _ in chosen) and len(chosen) < 3 and rng.random() < 0.5:
        return _sentence(_subject(a, rng), chosen, rng)
    return _tags([phrase for _, phrase in chosen], rng)


def caption(attributes: Attributes, rng: np.random.Generator) -> str:
    """A caption of at most 30 words, lower case; nothing is mentioned that is not there."""
    a = attributes
    if rng.random() < SHORT:
        return _short(a, rng)
    features, around = (
        [feature for probability, feature in told if rng.random() < probability]
        for told in (_features(a, rng), _surroundings(a, rng))
    )
    rng.shuffle(features)
    rng.shuffle(around)
    subject, tags, first = _subject(a, rng), rng.random() < 0.25, rng.random() < 0.15
    while True:
        rest = [phrase for _, phrase in around]
        if tags:
            text = _tags([subject, *(phrase for _, phrase in features), *rest], rng)
        else:
            sentence = _sentence(subject, features, rng)
            text = ", ".join([*rest, sentence] if first else [sentence, *rest])
        if len(text.split()) <= MAX_WORDS:
            return text
        (features if len(features) > len(around) else around).pop()
