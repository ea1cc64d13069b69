"""How rare the values of a portrait's attributes are, so that what is rare is drawn, and learned, more often."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from train.mini.portraits import Attributes, World, sample_attributes

ATTRIBUTES = (
    "person", "age", "skin", "hair_style", "hair_colour", "eye_colour", "expression", "glasses", "hat", "hat_colour",
    "earrings", "necklace", "beard", "lipstick", "clothes", "clothes_colour", "background_colour", "light",
    "view", "makeup", "covering",
)  # fmt: skip
UNHEARD_OF = 255  # the id of a value that none of the counted portraits has
CANDIDATES, POWER = 8, 4.0


def told(attributes: Attributes, name: str) -> str:
    """The value of an attribute that a caption could tell: a hat that is absent has no colour."""
    return "none" if name == "hat_colour" and attributes.hat == "none" else str(getattr(attributes, name))


@dataclass(frozen=True)
class Rarity:
    """For each attribute, how much rarer than its fair share each of its values is: 2, where half of that have it.

    Few wear a hat of a given colour: drawn evenly, they are seen too seldom for the words on them to be learned.
    """

    factors: dict[str, dict[str, float]]

    @classmethod
    def of(cls, portraits: list[Attributes]) -> "Rarity":
        counts = {name: Counter(told(one, name) for one in portraits) for name in ATTRIBUTES}
        return cls(
            {
                name: {value: len(portraits) / len(each) / each[value] for value in sorted(each)}
                for name, each in counts.items()
            }
        )

    def weight(self, attributes: Attributes) -> float:
        """On average 1."""
        factors = (self.factors[name].get(told(attributes, name), 1.0) for name in ATTRIBUTES)
        return sum(factors) / len(ATTRIBUTES)

    def ids(self, attributes: Attributes) -> list[int]:
        """(A,) the values' numbers."""
        pairs = [(list(self.factors[name]), told(attributes, name)) for name in ATTRIBUTES]
        return [table.index(value) if value in table else UNHEARD_OF for table, value in pairs]

    def draw(self, rng: np.random.Generator, world: World | None, balanced: float) -> Attributes:
        """A portrait as they come; by a chance of `balanced`, one of eight, the more likely the rarer it is."""
        if rng.random() >= balanced:
            return sample_attributes(rng, world)
        candidates = [sample_attributes(rng, world) for _ in range(CANDIDATES)]
        weights = np.array([self.weight(one) for one in candidates]) ** POWER
        return candidates[rng.choice(CANDIDATES, p=weights / weights.sum())]
