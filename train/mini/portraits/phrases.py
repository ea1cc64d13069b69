"""The phrases of captions: every attribute's ways to be told, what must be, and the closed vocabulary."""

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

from train.mini.portraits.attributes import (
    BACKGROUND_COLOURS,
    CLOTHES_COLOURS,
    EYE_COLOURS,
    HAIR_COLOURS,
    LIPSTICK_COLOURS,
    METAL_COLOURS,
    SKIN_TONES,
)

# Attribute -> its values that every caption tells.
UNUSUAL = {
    "age": ("child", "teenager", "elderly"),
    "view": ("profile_left", "profile_right"),
    "hair_style": ("bald",),
    "hair_colour": ("grey", "white", "blue", "pink", "green"),
    "eyes": ("closed", "winking"),
    "glasses": ("glasses", "sunglasses"),
    "hat": ("beanie", "cap", "wide", "hood", "headscarf", "helmet", "veil"),
    "earring_shape": ("large",),
    "beard": ("full", "goatee", "moustache", "stubble"),
    "lipstick": ("red", "pink", "purple"),
    "makeup": ("makeup",),
    "covering": ("hand", "strands"),
}
# The label map tells these as well as a caption does.
MAPPED = ("view", "hair_style", "eyes", "glasses", "hat", "earring_shape", "covering")

PEOPLE = ("woman", "man", "person")
AGES = {"young": ("young",), "adult": ("adult",), "elderly": ("elderly", "old", "senior")}
YOUTH: dict[str, dict[str, tuple[str, ...]]] = {
    "child": {"woman": ("girl", "little girl", "young girl"), "man": ("boy", "little boy", "young boy"),
              "person": ("child", "little child", "young child")},
    "teenager": {"woman": ("teenage girl", "girl"), "man": ("teenage boy", "boy"), "person": ("teenager",)},
}  # fmt: skip
HAIRED = {"blonde": "blonde", "brown": "brunette", "red": "redhead"}  # "a brunette", beside "a brown haired woman"
# What other people say for a word of these tables, and how often.
SPOKEN = {
    r"grey": (0.25, ("gray",)),
    r"blonde": (0.25, ("blond",)),
    r"red(?= (hair|curls|afro|bob|ponytail|bun|braids))": (0.2, ("ginger",)),
    r"brown(?= (hair|curls|bob|ponytail|bun|braids))": (0.1, ("brunette",)),
    r"(?<!dark )glasses": (0.2, ("spectacles", "eyeglasses")),
    r"sunglasses": (0.2, ("shades",)),
    r"moustache": (0.25, ("mustache",)),
    r"woman": (0.08, ("lady",)),
    r"man": (0.08, ("guy",)),
    r"smiling": (0.1, ("grinning",)),
    r"braids": (0.2, ("plaits",)),
}
STYLES = {
    "bald": ("a bald head",),
    "short": ("short {} hair",),
    "curly": ("curly {} hair", "short curly {} hair", "{} curls"),
    "afro": ("a {} afro", "a big {} afro"),
    "bob": ("a {} bob",),
    "straight": ("long {} hair", "long straight {} hair", "straight {} hair"),
    "wavy": ("wavy {} hair", "long wavy {} hair"),
    "ponytail": ("a {} ponytail", "{} hair in a ponytail"),
    "bun": ("{} hair in a bun", "a {} bun"),
    "braids": ("{} braids", "{} hair in braids"),
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
VIEWS = {
    "front": ("seen from the front",),
    "turned_left": ("turned to the left", "looking to the left"),
    "turned_right": ("turned to the right", "looking to the right"),
    "profile_left": ("in profile facing left", "facing left in profile", "in profile"),
    "profile_right": ("in profile facing right", "facing right in profile", "in profile"),
}
COVERINGS = {
    "hand": ("a hand over the face", "a hand on the face"),
    "strands": ("hair over the face", "strands of hair over the face"),
}
MAKEUPS = {"makeup": ("makeup", "make up")}
EYE_STATES = {"closed": ("closed eyes",), "winking": ("a wink", "one closed eye")}
GLASSES = {"glasses": ("{} glasses", "glasses"), "sunglasses": ("{} sunglasses", "sunglasses", "dark glasses")}
HATS = {
    "beanie": ("a {} beanie", "a {} hat", "a {} knit cap"),
    "cap": ("a {} cap", "a {} hat", "a {} baseball cap"),
    "wide": ("a wide {} hat", "a {} hat", "a {} hat with a brim"),
    "hood": ("a {} hood",),
    "headscarf": ("a {} headscarf", "a {} scarf on the head"),
    "helmet": ("a {} helmet",),
    "veil": ("a {} veil",),
}
EARRINGS = {
    "stud": ("{} earrings", "small {} earrings", "earrings"),
    "hoop": ("{} earrings", "{} hoop earrings", "hoop earrings"),
    "drop": ("{} earrings", "{} drop earrings", "drop earrings"),
    "large": ("large {} earrings", "big {} earrings", "large earrings"),
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
    "scarf": ("a {} scarf",),
}
LIGHTS = {
    "left": ("light from the left", "lit from the left"),
    "right": ("light from the right", "lit from the right"),
    "soft": ("soft light",),
    "warm": ("warm light",),
    "cool": ("cool light",),
}
SHAPES = ("round", "square")
GLUE = "a an and in front of on portrait with face wearing eyes skin hair haired background"


def unusual(attributes: Mapping[str, Any], *, with_map: bool = False) -> set[str]:
    """Names of the attributes, as of `vars(Attributes)`, that every caption tells; `with_map`: but for those that the
    label map tells. Where there are any, a portrait must not be learned without its caption.
    """
    a = attributes
    names = {name for name, values in UNUSUAL.items() if a.get(name) in values}
    if a["hair_style"] == "bald" or (a["age"] == "elderly" and a["hair_colour"] in ("grey", "white")):
        names.discard("hair_colour")
    if a["earrings"] == "none":
        names.discard("earring_shape")
    if a["glasses"] == "sunglasses":
        names.discard("eyes")
    return names.difference(MAPPED) if with_map else names


def fill(phrase: str, word: str = "") -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", " ".join(phrase.format(word).split()))


def _suggestions() -> dict[str, tuple[str, ...]]:
    first = lambda table: tuple(fill(phrases[0]) for phrases in table.values())  # noqa: E731
    each = lambda phrase, words: tuple(fill(phrase, word) for word in words)  # noqa: E731
    return {
        "person": tuple(f"{age[0]} {noun}" for age in AGES.values() for noun in PEOPLE)
        + tuple(nouns[0] for age in YOUTH.values() for nouns in age.values()),
        "hair colour": each("{} hair", HAIR_COLOURS),
        "hair style": first(STYLES),
        "forehead": first(FRONTS),
        "eyes": each("{} eyes", EYE_COLOURS) + first(EYE_STATES),
        "skin": each("{} skin", SKIN_TONES),
        "expression": first(EXPRESSIONS),
        "beard": first(BEARDS),
        "lipstick": each(LIPSTICKS[0], LIPSTICK_COLOURS) + first(MAKEUPS),
        "glasses": tuple(phrase for kind in GLASSES.values() for phrase in each(kind[0], SHAPES)),
        "hat": first(HATS) + each(HATS["beanie"][1], CLOTHES_COLOURS),
        "earrings": each(EARRINGS["stud"][0], METAL_COLOURS) + tuple(phrases[-1] for phrases in EARRINGS.values()),
        "necklace": each(NECKLACES[0], METAL_COLOURS),
        "clothes": first(CLOTHES) + each(CLOTHES["shirt"][0], CLOTHES_COLOURS),
        "background": each("{} background", BACKGROUND_COLOURS),
        "light": first(LIGHTS),
        "view": first(VIEWS),
        "covering": tuple(chain.from_iterable(COVERINGS.values())),
    }


SUGGESTIONS: dict[str, tuple[str, ...]] = {
    attribute: tuple(dict.fromkeys(phrases)) for attribute, phrases in _suggestions().items()
}


def _words() -> tuple[str, ...]:
    tables: tuple[Mapping[str, tuple[str, ...]], ...] = (
        AGES, *YOUTH.values(), STYLES, FRONTS, EXPRESSIONS, VIEWS, COVERINGS, MAKEUPS, EYE_STATES, GLASSES, HATS,
        EARRINGS, BEARDS, CLOTHES, LIGHTS,
    )  # fmt: skip
    phrases = chain.from_iterable(phrase for table in tables for phrase in table.values())
    spoken = chain.from_iterable(words for _, words in SPOKEN.values())
    colours = chain(
        SKIN_TONES, HAIR_COLOURS, EYE_COLOURS, LIPSTICK_COLOURS, CLOTHES_COLOURS, BACKGROUND_COLOURS, METAL_COLOURS
    )
    texts = chain((GLUE,), PEOPLE, HAIRED.values(), SHAPES, NECKLACES, LIPSTICKS, phrases, spoken, colours)
    return tuple(sorted({word for text in texts for word in text.split() if word != "{}"} | {","}))


VOCABULARY: tuple[str, ...] = _words()
