"""English captions over a closed vocabulary: several phrasings, any order, words left out at random."""

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
MENTION, MENTION_ACCESSORY = 0.75, 0.9

AGES = {"young": ("young",), "adult": ("adult",), "elderly": ("elderly", "old")}
STYLES = {
    "bald": ("a bald head",), "short": ("short {} hair",), "curly": ("curly {} hair", "short curly {} hair"),
    "afro": ("a {} afro",), "bob": ("a {} bob",),
    "straight": ("long {} hair", "long straight {} hair"), "wavy": ("long wavy {} hair", "wavy {} hair"),
    "ponytail": ("a {} ponytail",), "bun": ("{} hair in a bun",),
}  # fmt: skip
FRONTS = {
    "fringe": ("a fringe",),
    "side": ("a side parting",),
    "middle": ("a middle parting",),
    "swept": ("swept back hair",),
}
EXPRESSIONS = {
    "neutral": ("calm", "with a calm face"), "serious": ("serious", "with a serious face"),
    "smiling": ("smiling", "with a smile"),
    "laughing": ("laughing", "with an open smile"), "surprised": ("surprised", "with an open mouth"),
}  # fmt: skip
EYE_STATES = {"closed": ("closed eyes",), "winking": ("a wink",)}
GLASSES = {"glasses": ("{} glasses", "glasses"), "sunglasses": ("{} sunglasses", "sunglasses")}
HATS = {"beanie": ("a {} beanie", "a {} hat"), "cap": ("a {} cap", "a {} hat"), "wide": ("a wide {} hat", "a {} hat")}
EARRINGS = {
    "stud": ("{} earrings",),
    "hoop": ("{} earrings", "{} hoop earrings"),
    "drop": ("{} earrings", "{} drop earrings"),
}
BEARDS = {
    "full": ("a beard", "a full beard"),
    "goatee": ("a goatee",),
    "moustache": ("a moustache",),
    "stubble": ("stubble",),
}
CLOTHES = {
    "shirt": ("a {} shirt", "{} clothes"), "collar": ("a {} shirt with a collar", "a {} shirt"),
    "vneck": ("a {} shirt", "a {} sweater"),
    "turtleneck": ("a {} turtleneck", "{} clothes"), "jacket": ("a {} jacket",),
}  # fmt: skip
LIGHTS = {"left": ("light from the left",), "right": ("light from the right",), "soft": ("soft light",),
    "warm": ("warm light",), "cool": ("cool light",)}  # fmt: skip
GLUE = (
    "a an and in front of on portrait with person woman man",
    "round square",
    "eyes skin lipstick lips necklace background a wearing",
)


def _words() -> tuple[str, ...]:
    tables = (AGES, STYLES, FRONTS, EXPRESSIONS, EYE_STATES, GLASSES, HATS, EARRINGS, BEARDS, CLOTHES, LIGHTS)
    phrases = chain(GLUE, *(phrase for table in tables for phrase in table.values()))
    colours = chain(
        SKIN_TONES, HAIR_COLOURS, EYE_COLOURS, LIPSTICK_COLOURS, CLOTHES_COLOURS, BACKGROUND_COLOURS, METAL_COLOURS
    )
    return tuple(
        sorted({word for phrase in chain(phrases, colours) for word in phrase.split() if word != "{}"} | {","})
    )


VOCABULARY: tuple[str, ...] = _words()


def _choose(rng: np.random.Generator, phrases: tuple[str, ...], word: str = "") -> str:
    return phrases[rng.integers(len(phrases))].format(word).replace("a orange", "an orange")


def _features(a: Attributes, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Everything there is to say, as (how it is joined, phrase)."""
    has = lambda phrase: ("with", phrase)  # noqa: E731
    wears = lambda phrase: ("wearing", phrase)  # noqa: E731
    said = lambda probability: rng.random() < probability  # noqa: E731
    parts = []
    hair = _choose(rng, STYLES[a.hair_style], a.hair_colour)
    if said(MENTION + 0.1):
        parts.append(has(hair if said(0.75) or a.hair_style == "bald" else f"{a.hair_colour} hair"))
    if a.hair_style in ("short", "bob", "straight", "wavy", "ponytail") and a.hat == "none" and said(0.3):
        parts.append(has(_choose(rng, FRONTS[a.hair_front])))
    if a.eyes != "open" and a.glasses != "sunglasses" and said(0.9):
        parts.append(has(_choose(rng, EYE_STATES[a.eyes])))
    if a.eyes != "closed" and a.glasses != "sunglasses" and said(0.6):
        parts.append(has(f"{a.eye_colour} eyes"))
    if said(0.5):
        parts.append(has(f"{a.skin} skin"))
    if a.beard != "none" and said(MENTION_ACCESSORY):
        parts.append(has(_choose(rng, BEARDS[a.beard])))
    if a.lipstick != "none" and said(MENTION):
        parts.append(has(f"{a.lipstick} {'lips' if said(0.3) else 'lipstick'}"))
    if a.glasses != "none" and said(MENTION_ACCESSORY):
        parts.append(wears(_choose(rng, GLASSES[a.glasses], a.glasses_shape)))
    if a.hat != "none" and said(MENTION_ACCESSORY):
        parts.append(wears(_choose(rng, HATS[a.hat], a.hat_colour)))
    if a.earrings != "none" and said(MENTION_ACCESSORY):
        parts.append(wears(_choose(rng, EARRINGS[a.earring_shape], a.earrings)))
    if a.necklace != "none" and said(MENTION_ACCESSORY):
        parts.append(wears(f"a {a.necklace} necklace"))
    if said(MENTION):
        parts.append(wears(_choose(rng, CLOTHES[a.clothes], a.clothes_colour)))
    return parts


def _subject(a: Attributes, rng: np.random.Generator) -> str:
    noun = a.person if rng.random() < 0.85 else "person"
    return f"{_choose(rng, AGES[a.age])} {noun}" if rng.random() < MENTION else noun


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _joined(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _sentence(subject: str, features: list[tuple[str, str]], rng: np.random.Generator) -> str:
    text = _with_article(subject)
    if rng.random() < 0.2:
        text = f"portrait of {text}"
    joins = ("with", "wearing") if rng.random() < 0.6 else ("with",)
    for join in joins:
        phrases = [phrase for kind, phrase in features if kind == join or len(joins) == 1]
        if phrases:
            text += f" {join} {_joined(phrases)}"
    return text


def _background(a: Attributes, rng: np.random.Generator) -> str:
    where = "in front of" if rng.random() < 0.25 else "on"
    return f"{where} {_with_article(a.background_colour)} background"


def caption(attributes: Attributes, rng: np.random.Generator) -> str:
    """A caption of at most 30 words, lower case; nothing is mentioned that is not there."""
    a = attributes
    features = _features(a, rng)
    rng.shuffle(features)
    tail = [_choose(rng, EXPRESSIONS[a.expression])] if rng.random() < MENTION else []
    tail += [_background(a, rng)] if rng.random() < MENTION else []
    tail += [_choose(rng, LIGHTS[a.light])] if rng.random() < 0.6 else []
    subject, tags = _subject(a, rng), rng.random() < 0.2
    while True:
        if tags:
            text = ", ".join([subject, *(phrase for _, phrase in features), *tail])
        else:
            text = ", ".join([_sentence(subject, features, rng), *tail])
        if len(text.split()) <= MAX_WORDS:
            return text
        (features if len(features) > len(tail) else tail).pop()
