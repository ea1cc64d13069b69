"""Procedural portraits: attributes are drawn at random, then rendered with an exact label map and put into words."""

from train.mini.portraits.attributes import (
    BACKGROUND_COLOURS,
    CLOTHES_COLOURS,
    EYE_COLOURS,
    HAIR_COLOURS,
    LIPSTICK_COLOURS,
    SKIN_TONES,
    Attributes,
    Shape,
)
from train.mini.portraits.captions import caption
from train.mini.portraits.phrases import SUGGESTIONS, VOCABULARY, unusual
from train.mini.portraits.render import render
from train.mini.portraits.world import FRONTAL, WIDE, World, sample_attributes

__all__ = [
    "BACKGROUND_COLOURS",
    "CLOTHES_COLOURS",
    "EYE_COLOURS",
    "FRONTAL",
    "HAIR_COLOURS",
    "LIPSTICK_COLOURS",
    "SKIN_TONES",
    "SUGGESTIONS",
    "VOCABULARY",
    "WIDE",
    "Attributes",
    "Shape",
    "World",
    "caption",
    "render",
    "sample_attributes",
    "unusual",
]
