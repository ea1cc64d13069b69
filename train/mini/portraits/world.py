"""How wide the world of the portraits is: frontal and framed alike, or heads as they are."""

from dataclasses import dataclass, replace

import numpy as np

from train.mini.portraits.attributes import LONG_STYLES, Attributes, Shape, pick, sample_frontal
from train.mini.portraits.headgear import WRAPS

QUARTER, PROFILE = 0.35, 1.05  # radians from which a head is told to be turned, and to be in profile


@dataclass(frozen=True)
class World:
    """How often portraits go beyond those of the frontal world; each share is of all portraits unless said otherwise.

    In captions left and right are the picture's: a head "turned left" looks to the left of the picture. In the label
    map they are the subject's, as in CelebAMask-HQ.
    """

    turned: float  # between `QUARTER` and `PROFILE`
    profile: float
    tilted: float  # by up to 35 degrees
    small: float  # from half of the usual size on, and off the centre
    large: float  # up to 1.2 of it
    children: float
    teenagers: float
    headgear: float  # hoods, headscarves, helmets, veils
    covered: float  # by a hand or by strands of hair
    braids: float
    scarves: float
    makeup: float  # of women
    dyed: float  # of the dyed hair of the frontal world (14%)
    bare: float  # heads without any hair


FRONTAL = None  # the portraits of mini's first training, for the same seeds the same pictures
WIDE = World(
    turned=0.27, profile=0.17, tilted=0.25, small=0.22, large=0.13, children=0.11, teenagers=0.08, headgear=0.1,
    covered=0.07, braids=0.05, scarves=0.06, makeup=0.25, dyed=0.4, bare=0.03,
)  # fmt: skip

CHILD = {"eye_size": 1.2, "eye_height": 1.12, "face_width": 1.02, "cheek": 1.05, "jaw": 0.95, "chin": 0.9,
    "nose_width": 0.8, "nose_height": 0.62, "mouth_width": 0.82, "brow_thickness": 0.72, "neck_width": 0.72,
    "body_width": 0.72, "scale": 0.95, "lip_fullness": 0.95, "hair_volume": 0.7}  # fmt: skip
CHILD_MOVED = {"chin_drop": -0.034, "nose_length": -0.024, "mouth_height": -0.024, "eye_height": 0.0}
ELDERLY = {"eye_height": 0.86, "lip_fullness": 0.66, "nose_height": 1.1, "ear_size": 1.16, "jaw": 1.05, "cheek": 0.97,
    "brow_thickness": 0.9}  # fmt: skip
ELDERLY_MOVED = {"nose_length": 0.006, "brow_height": 0.004, "eye_tilt": -0.005, "mouth_height": 0.003}


def view_of(yaw: float) -> str:
    """The word for a turn: front, turned_left, turned_right, profile_left, profile_right, as seen in the picture."""
    if abs(yaw) < QUARTER:
        return "front"
    return f"{'turned' if abs(yaw) < PROFILE else 'profile'}_{'right' if yaw > 0 else 'left'}"


def _aged(shape: Shape, factors: dict, moves: dict, amount: float) -> Shape:
    scaled = {name: getattr(shape, name) * (1 + amount * (factor - 1)) for name, factor in factors.items()}
    moved = {name: scaled.get(name, getattr(shape, name)) + amount * move for name, move in moves.items()}
    return replace(shape, **{**scaled, **moved})


def _pose(shape: Shape, rng: np.random.Generator, world: World) -> Shape:
    turn = pick(rng, front=1 - world.turned - world.profile, turned=world.turned, profile=world.profile)
    yaw = {
        "front": np.clip(0.15 * rng.normal(), -0.34, 0.34),
        "turned": rng.uniform(QUARTER, PROFILE),
        "profile": PROFILE + (np.pi / 2 - PROFILE) * rng.random() ** 0.6,
    }[turn]
    yaw = float(yaw * rng.choice((-1, 1)))
    roll = float(rng.uniform(-0.61, 0.61) if rng.random() < world.tilted else np.clip(0.06 * rng.normal(), -0.15, 0.15))
    size = pick(rng, usual=1 - world.small - world.large, small=world.small, large=world.large)
    scale = {"usual": 1.01 + 0.04 * rng.normal(), "small": rng.uniform(0.5, 0.95), "large": rng.uniform(1.06, 1.2)}[
        size
    ]
    room = max(0.0, 1.02 - scale)
    return replace(
        shape,
        solid=True,
        yaw=yaw,
        roll=roll,
        pitch=float(np.clip(0.1 * rng.normal(), -0.26, 0.26)),
        scale=float(shape.scale * np.clip(scale, 0.5, 1.2)),
        shift_x=float(shape.shift_x * 3 + room * rng.uniform(-0.5, 0.5)),
        shift_y=float(shape.shift_y * 3 + room * rng.uniform(-0.3, 0.35)),
        anchor=float(rng.uniform(0.0, 1.0) if turn != "profile" else rng.uniform(-0.1, 0.7)),
        body_turn=yaw * float(rng.uniform(0.2, 0.9)),
        body_roll=roll * float(rng.uniform(0.2, 0.8)),
    )


def _age(a: Attributes, rng: np.random.Generator, world: World) -> Attributes:
    age = pick(rng, child=world.children, teenager=world.teenagers, other=1 - world.children - world.teenagers)
    if age == "other":
        old = a.age == "elderly"
        return replace(a, shape=_aged(a.shape, ELDERLY, ELDERLY_MOVED, 1.0)) if old else a
    lipstick = "none" if age == "child" else a.lipstick
    style = "short" if a.hair_style == "bald" else a.hair_style
    colour = a.hair_colour
    if colour in ("grey", "white") or a.age == "elderly":
        colour = pick(rng, black=0.3, brown=0.35, blonde=0.22, red=0.13)
    shape = _aged(a.shape, CHILD, CHILD_MOVED, 1.0 if age == "child" else 0.45)
    return replace(a, age=age, hair_style=style, hair_colour=colour, shape=shape, beard="none", lipstick=lipstick)


def _head(a: Attributes, rng: np.random.Generator, world: World) -> Attributes:
    """Hair and what is worn upon it."""
    if a.hair_colour in ("blue", "pink", "green") and rng.random() > world.dyed:
        a = replace(a, hair_colour=pick(rng, black=0.3, brown=0.34, blonde=0.22, red=0.14))
    if a.age in ("young", "adult") and a.hair_colour == "white" and rng.random() < 0.7:
        a = replace(a, hair_colour="brown")
    draw = rng.random()
    if draw < world.bare and a.age in ("adult", "elderly"):
        a = replace(a, hair_style="bald", ears_free=True)
    elif draw > 1 - world.braids and a.person == "woman":
        a = replace(a, hair_style="braids", ears_free=True, hat="none" if a.hat == "beanie" else a.hat)
    if rng.random() < world.headgear:
        hat = pick(rng, hood=0.25, headscarf=0.4 if a.person == "woman" else 0.0, helmet=0.2,
            veil=0.3 if a.person == "woman" else 0.0)  # fmt: skip
        a = replace(a, hat=hat)
        if hat == "veil" and rng.random() < 0.6:
            a = replace(a, hat_colour="white")
        if a.hair_style in ("afro", "bun", "ponytail", "braids", "curly"):
            a = replace(a, hair_style="straight" if a.person == "woman" else "short")
        if hat == "veil" and a.hair_style == "bald":
            a = replace(a, hair_style="wavy")
        if hat == "helmet" and a.hair_style == "bob":
            a = replace(a, hair_style="short", ears_free=True)
        if a.hair_style in LONG_STYLES:
            a = replace(a, ears_free=False)
        if hat in WRAPS or not a.ears_free:
            a = replace(a, earrings="none")
        if hat == "headscarf":
            a = replace(a, necklace="none")
    if a.hair_front == "fringe" and rng.random() < 0.5:  # down to the brows, and over them
        a = replace(a, shape=replace(a.shape, hairline=0.045))
    return a


def _wear(a: Attributes, rng: np.random.Generator, world: World) -> Attributes:
    adult = a.age != "child"
    if a.person == "woman" and adult and rng.random() < world.makeup:
        a = replace(a, makeup="makeup", shape=replace(a.shape, tint=float(rng.random()), blush=1.3))
    if a.earrings in ("gold", "silver") and adult and rng.random() < 0.25:
        a = replace(a, earring_shape="large")
    if a.glasses == "sunglasses" and rng.random() < 0.75:
        frame = "black" if rng.random() < 0.6 else a.glasses_colour
        a = replace(a, shape=replace(a.shape, lens_dark=1.0), glasses_colour=frame)
    if a.necklace == "none" and a.hat not in WRAPS and rng.random() < world.scarves:
        a = replace(a, clothes="scarf")
    if a.clothes == "none" and (a.shape.scale < 0.97 or a.shape.roll**2 > 0.03 or a.shape.shift_y < -0.02):
        a = replace(a, clothes=pick(rng, shirt=0.4, vneck=0.3, collar=0.3))
    elif a.shape.scale > 1.05 and a.necklace == "none" and a.clothes != "scarf" and rng.random() < 0.25:
        a = replace(a, clothes="none")
    if rng.random() < world.covered:
        strands = a.hair_style in ("short", *LONG_STYLES) and a.hat == "none"
        a = replace(a, covering=pick(rng, hand=0.5, strands=0.5 if strands else 0.0))
    return a


def sample_attributes(rng: np.random.Generator, world: World | None = FRONTAL) -> Attributes:
    """Draw a portrait of a world: `FRONTAL`, as mini's first training saw them, or `WIDE`.

    Accessories are more frequent than in photographs, so that every class can be learned.
    """
    a = sample_frontal(rng)
    if world is FRONTAL:
        return a
    a = _age(a, rng, world)
    a = replace(a, shape=_pose(a.shape, rng, world))
    a = _wear(_head(a, rng, world), rng, world)
    return replace(a, view=view_of(a.shape.yaw))
