"""What a portrait shows: words (with the colours they stand for) and continuous shape and pose parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np

RGB = tuple[int, int, int]

SKIN_TONES: dict[str, RGB] = {
    "pale": (252, 222, 202), "light": (240, 194, 160), "tan": (212, 156, 116), "brown": (160, 104, 72),
    "dark": (102, 64, 48),
}  # fmt: skip
HAIR_COLOURS: dict[str, RGB] = {
    "black": (42, 36, 42), "brown": (112, 70, 44), "blonde": (232, 190, 112), "red": (188, 78, 40),
    "grey": (148, 150, 158),
    "white": (230, 229, 228), "blue": (70, 112, 206), "pink": (238, 132, 176), "green": (80, 164, 112),
}  # fmt: skip
EYE_COLOURS: dict[str, RGB] = {
    "brown": (112, 64, 30),
    "blue": (60, 134, 214),
    "green": (70, 154, 82),
    "grey": (128, 142, 154),
}
LIPSTICK_COLOURS: dict[str, RGB] = {"red": (204, 36, 52), "pink": (236, 92, 140), "purple": (132, 44, 104)}
CLOTHES_COLOURS: dict[str, RGB] = {
    "white": (238, 236, 232), "black": (48, 48, 56), "grey": (146, 150, 156), "red": (206, 58, 60),
    "orange": (240, 140, 56),
    "yellow": (246, 208, 84), "green": (78, 160, 98), "blue": (62, 116, 204), "purple": (128, 86, 180),
    "pink": (242, 152, 182),
}  # fmt: skip
BACKGROUND_COLOURS: dict[str, RGB] = {
    "white": (240, 239, 236), "grey": (160, 164, 170), "blue": (132, 178, 228), "teal": (92, 178, 176),
    "green": (158, 204, 146),
    "yellow": (248, 220, 130), "orange": (246, 178, 118), "pink": (246, 190, 204), "purple": (178, 156, 214),
}  # fmt: skip
METAL_COLOURS: dict[str, RGB] = {"gold": (232, 180, 70), "silver": (206, 212, 222), "pearl": (246, 240, 232)}
FRAME_COLOURS: dict[str, RGB] = {"black": (40, 38, 44), "brown": (120, 70, 40), "red": (190, 46, 54),
    "blue": (50, 84, 170), "gold": (214, 164, 70)}  # fmt: skip

LONG_STYLES = ("bob", "straight", "wavy")


@dataclass(frozen=True)
class Shape:
    """Continuous parameters. Angles in radians; factors around 1; the rest around 0, in fractions of the picture."""

    yaw: float  # positive: towards the right of the picture
    roll: float
    scale: float
    shift_x: float
    shift_y: float
    face_width: float
    jaw: float
    chin: float
    cheek: float
    eye_size: float
    eye_height: float
    eye_tilt: float
    gaze: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lip_fullness: float
    mouth_height: float
    mouth_open: float
    ear_size: float
    hair_volume: float
    hair_length: float
    hairline: float
    parting: float  # which side, and how far, the parting, the fringe's sweep and a ponytail are
    neck_width: float
    shoulder_height: float
    shoulder_tilt: float
    lean: float  # where the shoulders are, beside the head
    hat_size: float
    blush: float
    skin_jitter: float
    hair_jitter: float
    clothes_jitter: float
    background_jitter: float
    # Of the wide world; 0 and 1 are what frontal portraits have.
    solid: bool = False  # drawn as a body in space, at any angle
    pitch: float = 0.0  # positive: looking down
    anchor: float = 1.0  # which point of a turning head stays in place: 0 its axis, 1 the eyes
    body_turn: float = 0.0
    body_roll: float = 0.0
    body_width: float = 1.0
    chin_drop: float = 0.0
    nose_height: float = 1.0  # how far it stands out
    lens_dark: float = 0.0
    tint: float = 0.0  # 0..1, of eye shadow


@dataclass(frozen=True)
class Attributes:
    """The words of a portrait, and its `shape`. "none" stands for an accessory that is absent."""

    person: str  # woman, man
    age: str  # child, teenager, young, adult, elderly
    skin: str
    hair_style: str  # bald, short, curly, afro, bob, straight, wavy, ponytail, bun, braids
    hair_front: str  # swept, fringe, side, middle
    hair_colour: str
    hair_forward: bool  # long hair falls in front of the shoulders
    ears_free: bool  # long hair is tucked behind the ears
    eye_colour: str
    eyes: str  # open, closed, winking
    expression: str  # neutral, serious, smiling, laughing, surprised
    glasses: str  # none, glasses, sunglasses
    glasses_shape: str  # round, square
    glasses_colour: str
    hat: str  # none, beanie, cap, wide, hood, headscarf, helmet, veil
    hat_colour: str
    earrings: str  # none, gold, silver, pearl
    earring_shape: str  # stud, hoop, drop, large
    necklace: str  # none, gold, silver, pearl
    beard: str  # none, full, goatee, moustache, stubble
    lipstick: str  # none, red, pink, purple
    clothes: str  # none (below the picture), shirt, collar, vneck, turtleneck, jacket, scarf
    clothes_colour: str
    background_colour: str
    light: str  # left, right, soft, warm, cool
    shape: Shape
    view: str = "front"  # front, turned_left, turned_right, profile_left, profile_right: where in the picture it looks
    makeup: str = "none"  # none, makeup
    covering: str = "none"  # none, hand, strands: what lies over a part of the face


def pick(rng: np.random.Generator, **weights: float) -> str:
    """One of the names, with probabilities in proportion to the weights."""
    values = np.array(list(weights.values()), float)
    return str(rng.choice(list(weights), p=values / values.sum()))


def _one_of(rng: np.random.Generator, colours: dict[str, RGB]) -> str:
    return str(rng.choice(list(colours)))


def _sample_shape(rng: np.random.Generator, *, man: bool, age: str) -> Shape:
    def around(centre: float, spread: float) -> float:
        return float(centre + spread * np.clip(rng.normal(), -2.0, 2.0))

    young = age == "young"
    centres_and_spreads = {
        "yaw": (0.0, 0.25), "roll": (0.0, 0.035), "scale": (1.025, 0.025), "shift_x": (0.0, 0.004),
        "shift_y": (0.0, 0.004),
        "face_width": (1.06, 0.035), "jaw": (1.08 if man else 0.98, 0.06), "chin": (1.1 if man else 0.95, 0.1),
        "cheek": (1.02 if young else 0.99, 0.025), "eye_size": (0.98 if man else 1.04, 0.05),
        "eye_height": (1.06 if young else 0.97, 0.09),
        "eye_tilt": (0.003, 0.003), "gaze": (0.0, 0.004), "brow_height": (0.008, 0.006),
        "brow_thickness": (1.15 if man else 0.85, 0.13),
        "brow_arch": (0.9 if man else 1.1, 0.3), "nose_width": (1.06 if man else 0.95, 0.08),
        "nose_length": (0.0, 0.006),
        "mouth_width": (1.0, 0.07), "lip_fullness": (0.85 if man else 1.1, 0.12), "mouth_height": (0.0, 0.006),
        "mouth_open": (1.0, 0.3),
        "ear_size": (1.0, 0.13), "hair_volume": (0.029, 0.022), "hair_length": (0.02, 0.045),
        "hairline": (-0.005, 0.014),
        "neck_width": (1.1 if man else 0.93, 0.06), "shoulder_height": (0.048, 0.04), "shoulder_tilt": (0.0, 0.06),
        "lean": (0.0, 0.035), "hat_size": (0.006, 0.018),
        "blush": (0.8 if man else 1.1, 0.25), "skin_jitter": (0.0, 0.5), "hair_jitter": (0.0, 0.5),
        "clothes_jitter": (0.0, 0.5), "background_jitter": (0.0, 0.5),
    }  # fmt: skip
    values: dict[str, Any] = {name: around(*pair) for name, pair in centres_and_spreads.items()}
    values["parting"] = float(rng.choice((-1, 1)) * rng.uniform(0.6, 1.3))
    return Shape(**values)


def _sample_hair(rng: np.random.Generator, *, man: bool, age: str) -> dict:
    if man:
        bald = 0.16 if age == "elderly" else 0.09
        style = pick(rng, bald=bald, short=0.46, curly=0.15, afro=0.07, bob=0.06, straight=0.07, wavy=0.08, bun=0.03)
    else:
        long = {"bob": 0.15, "straight": 0.26, "wavy": 0.26, "ponytail": 0.07}
        style = pick(rng, bald=0.01, short=0.06, curly=0.06, afro=0.08, bun=0.05, **long)
    if age == "elderly":
        colour = pick(rng, grey=0.5, white=0.4, blonde=0.05, brown=0.05)
    else:
        colour = pick(
            rng, black=0.22, brown=0.24, blonde=0.19, red=0.15, grey=0.03, white=0.03, blue=0.05, pink=0.05, green=0.04
        )
    if style == "bald" and colour in ("blue", "pink", "green"):  # only brows and beard show it
        colour = "brown"
    front = pick(rng, swept=0.35, fringe=0.1 if man else 0.17, side=0.35, middle=0.05 if man else 0.2)
    return {
        "hair_style": style,
        "hair_colour": colour,
        "hair_front": front,
        "hair_forward": bool(rng.random() < 0.75),
        "ears_free": style not in LONG_STYLES or bool(rng.random() < 0.22),
    }


def sample_frontal(rng: np.random.Generator) -> Attributes:
    """Draw a portrait that is frontal and framed as in CelebA-HQ."""
    man = bool(rng.random() < 0.41)
    age = pick(rng, young=0.38, adult=0.42, elderly=0.2)
    hair = _sample_hair(rng, man=man, age=age)
    hat = (
        pick(rng, none=0.81, beanie=0.07, cap=0.06, wide=0.06) if hair["hair_style"] not in ("afro", "bun") else "none"
    )
    metal = dict(none=0.35, gold=0.3, silver=0.2, pearl=0.15) if not man else dict(none=0.85, gold=0.08, silver=0.07)
    earrings = pick(rng, **metal) if hair["ears_free"] else "none"
    necklace = (
        pick(rng, none=0.87, gold=0.07, silver=0.06)
        if man
        else pick(rng, none=0.72, gold=0.11, silver=0.08, pearl=0.09)
    )
    clothes = pick(rng, none=0.12, shirt=0.26, collar=0.18, vneck=0.18, turtleneck=0.1, jacket=0.16)
    if necklace != "none":
        clothes = pick(rng, shirt=0.5, vneck=0.5)
    beard = (
        pick(rng, none=0.5, full=0.18, goatee=0.1, moustache=0.09, stubble=0.13) if man and age != "young" else "none"
    )
    return Attributes(
        person="man" if man else "woman",
        age=age,
        skin=_one_of(rng, SKIN_TONES),
        **hair,
        eye_colour=pick(rng, brown=0.4, blue=0.22, green=0.2, grey=0.18),
        eyes=pick(rng, open=0.93, closed=0.04, winking=0.03),
        expression=pick(rng, neutral=0.2, serious=0.08, smiling=0.3, laughing=0.35, surprised=0.11),
        glasses=pick(rng, none=0.75, glasses=0.17, sunglasses=0.08),
        glasses_shape=pick(rng, round=0.55, square=0.45),
        glasses_colour=_one_of(rng, FRAME_COLOURS),
        hat=hat,
        hat_colour=_one_of(rng, CLOTHES_COLOURS),
        earrings=earrings,
        earring_shape=pick(rng, stud=0.34, hoop=0.33, drop=0.33) if earrings != "pearl" else "stud",
        necklace=necklace,
        beard=beard,
        lipstick=pick(rng, none=0.6, red=0.18, pink=0.13, purple=0.09) if not man else "none",
        clothes=clothes,
        clothes_colour=_one_of(rng, CLOTHES_COLOURS),
        background_colour=_one_of(rng, BACKGROUND_COLOURS),
        light=pick(rng, left=0.28, right=0.28, soft=0.2, warm=0.12, cool=0.12),
        shape=_sample_shape(rng, man=man, age=age),
    )
