"""What runs are called on the page: by what differs between them."""

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from facemogle.picture_files import Settings


def names_of(pictures: Sequence[Settings]) -> list[str]:
    """Of each picture, what tells it from the others: "hair ×0", "seed 8", "red hair"; its title where nothing does."""
    maps: dict[tuple, int] = {}

    def map_in_words(label_map: np.ndarray | None) -> str:
        if label_map is None:
            return "no map"
        return f"map {maps.setdefault((label_map.shape, label_map.tobytes()), len(maps) + 1)}"

    words = [in_words(settings) | {"map": map_in_words(settings.label_map)} for settings in pictures]
    kinds = dict.fromkeys(kind for each in words for kind in each)
    differing = [kind for kind in kinds if len({each.get(kind) for each in words}) > 1]
    told = (", ".join(each[kind] for kind in differing if kind in each) for each in words)
    return [name or title_of(settings) for name, settings in zip(told, pictures, strict=True)]


def title_of(settings: Settings) -> str:
    """What a picture is called on its own: "red hair, seed 8", and its experts' factors where it has some."""
    words = in_words(settings)
    kinds = ["prompt", "seed"] + ["factors"] * bool(settings.expert_scale)
    return ", ".join(words[kind] for kind in kinds)


def in_words(settings: Settings) -> dict[str, str]:
    """What may tell a picture from another one, but for its map: kind -> words."""
    factors = [f"{name.replace('_', ' ')} ×{factor:g}" for name, factor in (settings.expert_scale or {}).items()]
    words = {
        "factors": ", ".join(factors) or "not steered",
        "seed": f"seed {settings.seed}",
        "prompt": settings.prompt or "no prompt",
        "steps": f"{settings.num_inference_steps} steps",
        "guidance": f"guidance {settings.guidance_scale:g}",
        "condition": f"condition scale {settings.condition_scale:g}",
    }
    if settings.loras:
        words["loras"] = ", ".join(f"{lora_title(name)} ×{scale:g}" for name, scale in settings.loras.items())
    return words if settings.strength is None else words | {"strength": f"strength {settings.strength:g}"}


def lora_title(name: str) -> str:
    return PurePath(name).stem
