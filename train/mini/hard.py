"""Portraits made hard: the same faces as a photograph might show them, for a parser that has to read photographs.

Everything is painted anew through the label map: skin, hair, clothes and what is behind them get the colours and
surfaces of photographs; then come occlusions, light and a camera. S: side of a picture; pictures are (S, S, 3).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from facemogle.labels import CLASS_ID
from train.mini import camera, textures
from train.mini.textures import HAIRS, SKINS, along, any_colour, clouds

SKIN = ("skin", "nose", "neck", "left_ear", "right_ear")
LIPS = ("upper_lip", "lower_lip")
BROWS = ("left_brow", "right_brow")
EYES = ("left_eye", "right_eye")
FEATURES = (*EYES, *BROWS, "mouth", *LIPS)  # what stays as it was drawn


@dataclass
class Scene:
    """A picture while it is painted: `image` float32 in 0..1, `label_map` uint8, `up` (2,) towards the crown.

    `middle` (2,) and `reach`: the face's centre and half its height, in pixels.
    """

    image: np.ndarray
    label_map: np.ndarray
    up: np.ndarray
    rng: np.random.Generator

    def __post_init__(self):
        face = self.of("skin", "nose")
        self.size = len(self.label_map)
        rows, columns = np.nonzero(face)
        found = len(rows) > 0
        middle = [columns.mean(), rows.mean()] if found else [self.size / 2] * 2
        self.middle = np.array(middle, np.float32)
        self.reach = np.float32(np.sqrt(len(rows) / np.pi) * 1.25 if found else self.size / 3)

    def of(self, *names: str) -> np.ndarray:
        """(S, S) bool: where one of these classes is."""
        table = np.zeros(256, np.uint8)
        table[[CLASS_ID[name] for name in names]] = 1
        return cv2.LUT(self.label_map, table).view(bool)

    def cover(self, where: np.ndarray, paint: np.ndarray, share: float = 1.0) -> None:
        """Paint (3,) or (S, S, 3) over a (S, S) bool or 0..1 place, with soft edges."""
        left, top, width, height = cv2.boundingRect((where > 0).astype(np.uint8))
        window = np.s_[max(0, top - 4) : top + height + 4, max(0, left - 4) : left + width + 4]
        alpha = cv2.GaussianBlur(where[window].astype(np.float32), (0, 0), self.size / 400) * np.float32(share)
        view = self.image[window]
        view += (paint[window] - view if paint.ndim == 3 else paint - view) * alpha[..., None]

    def light_on(self, where: np.ndarray) -> np.ndarray:
        """(S, S) brightness, 1 in the mean of a place."""
        light = cv2.transform(self.image, np.full((1, 3), 1 / 3, np.float32)).clip(0) + np.float32(0.03)
        return light / light[where].mean()

    def shadow(self, amount: np.ndarray) -> None:
        self.image *= (1 - np.clip(amount, 0, 0.95))[..., None]

    def place(self, right: float, up: float) -> np.ndarray:
        """A point in pixels, from the face's centre in shares of its reach."""
        across = np.array((-self.up[1], self.up[0]))
        return self.middle + self.reach * (right * across + up * self.up)


def harden(image: np.ndarray, label_map: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(S, S, 3) uint8 RGB and its (S, S) uint8 class ids -> the same, hard to read, and its own label map.

    What stands before the person, hands too, is background, as in CelebAMask-HQ. A seeded `rng` makes it repeatable.
    """
    picture, classes, up = camera.turned(image, label_map, rng)
    scene = Scene(picture.astype(np.float32) / 255, classes, up, rng)
    fray_hair(scene)
    hair = along(rng, HAIRS)
    crown = scene.place(rng.normal(0, 0.3), rng.uniform(0.6, 1.2))
    lines = textures.strands(rng, scene.size, crown, 0.004 + 0.06 * rng.random() ** 3)
    if rng.random() < 0.85:
        scene.cover(scene.of("background"), textures.background(rng, scene.size))
    if rng.random() < 0.9:
        paint_skin(scene)
    if rng.random() < 0.9:
        paint_hair(scene, lines, hair)
    if rng.random() < 0.85:
        paint_clothes(scene)
    paint_features(scene, hair)
    if rng.random() < 0.22:
        grow_beard(scene, lines, hair)
    if rng.random() < 0.4:
        wrinkle(scene)
    if rng.random() < 0.4:
        let_hairs_fly(scene, hair)
    if rng.random() < 0.2:
        occlude(scene)
    return camera.photographed(camera.lit(scene.image, rng), rng), scene.label_map


def fray_hair(scene: Scene) -> None:
    """Tufts and gaps along the hair's border: picture and map are moved to and fro there, strand by strand."""
    rng, size = scene.rng, scene.size
    strength = size * 0.022 * rng.random() ** 1.5
    hair = scene.of("hair").astype(np.float32)
    if strength < 0.5 or not hair.any():
        return
    crown = scene.place(rng.normal(0, 0.2), 0.9)
    tufts = textures.strands(rng, size, crown, 0.01)
    border = cv2.blur(hair, (2 * (size // 24) + 1,) * 2)
    border = 4 * border * (1 - border) * ~scene.of(*FEATURES, "eyeglasses", "nose", "mouth")
    border = cv2.blur(border, (size // 64 * 2 + 1,) * 2)
    x, y = textures.grid_of(size)
    away = np.stack([x - np.float32(crown[0]), y - np.float32(crown[1])])
    away /= np.linalg.norm(away, axis=0) + np.float32(1)
    step = away * (tufts * border * np.float32(strength))
    scene.image, scene.label_map = camera.moved(scene.image, scene.label_map, x + step[0], y + step[1])


def paint_skin(scene: Scene) -> None:
    """Another tone, stronger or weaker light on it, pores, blotches, a shine; the lips follow."""
    rng, size = scene.rng, scene.size
    where = scene.of(*SKIN)
    if not where.any():
        return
    tone = along(rng, SKINS)
    own = np.maximum(scene.image[scene.of("skin", "neck")].mean(0) if scene.of("skin", "neck").any() else tone, 0.02)
    shape = cv2.pow(np.maximum(scene.image, 0.02) / own, rng.uniform(0.5, 1.4))
    pores = clouds(rng, size, cells=32) * np.float32(0.05 * rng.random() ** 2)
    blotches = clouds(rng, size, cells=8, finest=32)[..., None] * np.float32(0.05 * rng.random() ** 2)
    paint = tone * shape * (1 + pores[..., None] + blotches * np.array((1, -0.5, -0.5), np.float32))
    if rng.random() < 0.5:  # the round of the face: light on one side, dark on the other
        x, y = textures.grid_of(size)
        turn = rng.uniform(0, 2 * np.pi)
        way = np.array((np.cos(turn), np.sin(turn)), np.float32) / scene.reach
        side = (x - scene.middle[0]) * way[0] + (y - scene.middle[1]) * way[1]
        paint = paint * cv2.exp(np.float32(-rng.uniform(0.1, 0.6)) * np.clip(side, -1, 1.2))[..., None]
    if rng.random() < 0.3:
        for _ in range(rng.integers(1, 4)):
            spot = np.zeros((size, size), np.float32)
            centre = tuple(map(int, scene.place(rng.normal(0, 0.4), rng.normal(0.1, 0.5))))
            cv2.circle(spot, centre, int(scene.reach * rng.uniform(0.08, 0.25)), 1.0, -1)
            spot = textures.blurred(spot, float(scene.reach) * rng.uniform(0.05, 0.15))
            paint = paint + spot[..., None] * np.float32(rng.uniform(0.05, 0.3))
    scene.cover(where, paint)
    lips = tone * np.array((1, 0.72, 0.72), np.float32) * (shape + 0.1)
    scene.cover(scene.of(*LIPS), lips, rng.uniform(0, 1))


def paint_hair(scene: Scene, lines: np.ndarray, colour: np.ndarray) -> None:
    """Strands over the light that lay on it; or shorn, so that the skin shows through."""
    rng = scene.rng
    hair = scene.of("hair")
    if not hair.any():
        return
    light = cv2.pow(scene.light_on(hair), rng.uniform(0, 0.8))
    paint = textures.hair_paint(rng, scene.size, lines, colour) * light[..., None]
    if rng.random() < 0.08 and scene.of("skin").any():
        skin = scene.image[scene.of("skin")].mean(0)
        grain = np.clip(clouds(rng, scene.size, cells=64) * 0.3 + rng.uniform(0.2, 0.8), 0, 1)[..., None]
        paint = skin + (colour - skin) * grain
    scene.cover(hair, paint)
    if rng.random() < 0.5:  # the shadow that it throws
        fall = cv2.blur(hair.astype(np.float32), (scene.size // 16,) * 2)
        scene.shadow(fall * ~hair * scene.of(*SKIN, *FEATURES) * np.float32(rng.uniform(0.1, 0.7)))


def paint_clothes(scene: Scene) -> None:
    rng = scene.rng
    for name in ("cloth", "hat"):
        where = scene.of(name)
        if where.any():
            light = cv2.pow(scene.light_on(where), rng.uniform(0, 1))
            scene.cover(where, textures.cloth_paint(rng, scene.size) * light[..., None])


def paint_features(scene: Scene, hair: np.ndarray) -> None:
    """Brows of the hair's colour, faint or bushy; lids and sockets in shadow; whites less white; frames recoloured."""
    rng, size = scene.rng, scene.size
    skin = scene.of("skin", "nose")
    tone = scene.image[skin].mean(0) if skin.any() else along(rng, SKINS)
    faint = tone + (np.minimum(hair, tone) - tone) * np.float32(rng.uniform(0.1, 1))
    texture = 1 + 0.25 * clouds(rng, size, cells=64)[..., None]
    scene.cover(scene.of(*BROWS), faint * texture, rng.uniform(0.3, 1))
    eyes = scene.of(*EYES)
    if eyes.any():
        scene.image *= 1 - (eyes * np.float32(rng.uniform(0, 0.45)))[..., None]
        if rng.random() < 0.6:
            sockets = textures.blurred(eyes.astype(np.float32), float(scene.reach) * rng.uniform(0.08, 0.2))
            scene.shadow(np.minimum(sockets * 1.5, 1) * ~scene.of("eyeglasses") * np.float32(rng.uniform(0.1, 0.6)))
    glass = scene.of("eyeglasses")
    if glass.any() and rng.random() < 0.5:
        dark = glass & (scene.image.mean(2) < 0.6 * float(tone.mean()))
        scene.cover(dark, any_colour(rng) * np.float32(rng.uniform(0.1, 1)), rng.uniform(0.3, 1))


def grow_beard(scene: Scene, lines: np.ndarray, hair: np.ndarray) -> None:
    """Stubble to a full beard on what stays skin."""
    rng, size = scene.rng, scene.size
    x, y = textures.grid_of(size)
    dx, dy = (x - scene.middle[0]) / scene.reach, (y - scene.middle[1]) / scene.reach
    across, height = dy * scene.up[0] - dx * scene.up[1], dx * scene.up[0] + dy * scene.up[1]
    top = rng.uniform(-0.45, -0.15) + rng.uniform(0, 0.9) * across**2
    amount = np.clip((top - height + 0.08 * clouds(rng, size, cells=8)) / rng.uniform(0.05, 0.3), 0, 1)
    grain = np.clip(rng.uniform(0.3, 1.5) + 0.3 * lines + 0.3 * clouds(rng, size, cells=64), 0, 1)
    where = amount * grain * scene.of("skin") * np.float32(rng.uniform(0.3, 1))
    scene.cover(where, textures.hair_paint(rng, size, lines, hair * np.float32(rng.uniform(0.5, 1))))


def wrinkle(scene: Scene) -> None:
    """Thin lines and folds on the skin, around the eyes above all: no frames of glasses."""
    rng, size = scene.rng, scene.size
    lines = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(2, 14)):
        start = scene.place(rng.normal(0, 0.5), rng.normal(0.15, 0.45))
        bend, way = rng.normal(0, 0.12, 2) * scene.reach, rng.normal(0, 0.25, 2) * scene.reach
        share = np.linspace(0, 1, 8)[:, None]
        curve = start + share * way + 4 * share * (1 - share) * bend
        cv2.polylines(lines, [curve.astype(np.int32)], False, float(rng.uniform(0.2, 1)), 1, cv2.LINE_AA)
    soft = cv2.GaussianBlur(lines, (0, 0), size / 256 * rng.uniform(0.5, 1.5))
    scene.shadow(soft * scene.of("skin", "nose", "neck") * np.float32(rng.uniform(0.2, 0.6)))


def let_hairs_fly(scene: Scene, hair: np.ndarray) -> None:
    """Single hairs before the background and the face: too thin to be labelled."""
    rng, size = scene.rng, scene.size
    rows, columns = np.nonzero(scene.of("hair"))
    if not len(rows):
        return
    thin = np.zeros((size, size), np.float32)
    for index in rng.integers(len(rows), size=rng.integers(5, 40)):
        start = np.array((columns[index], rows[index]))
        bend, way = rng.normal(0, 0.06, 2) * size, rng.normal(0, 0.12, 2) * size
        share = np.linspace(0, 1, 10)[:, None]
        curve = start + share * way + 4 * share * (1 - share) * bend
        cv2.polylines(thin, [(curve * 16).astype(np.int32)], False, float(rng.uniform(0.2, 0.9)), 1, cv2.LINE_AA, 4)
    paint = hair * np.float32(rng.uniform(0.7, 1.5))
    scene.image += (paint - scene.image) * thin[..., None]


def occlude(scene: Scene) -> None:
    """A hand, a bar or a thing of some shape before the person: background in the map."""
    rng, size = scene.rng, scene.size
    where = np.zeros((size, size), np.uint8)
    centre = scene.place(rng.normal(0, 0.9), rng.normal(-0.5, 0.9))
    side = scene.reach * rng.uniform(0.15, 0.45)
    kind, colour = rng.integers(3), any_colour(rng)
    if kind == 0:
        colour = along(rng, SKINS)
        way = rng.normal(size=2)
        way /= np.linalg.norm(way)
        for finger in range(4):
            start = centre + (finger - 1.5) * 0.45 * side * np.array((-way[1], way[0]))
            end = start + way * side * rng.uniform(1.5, 2.5)
            cv2.line(where, tuple(map(int, start)), tuple(map(int, end)), 1, max(1, int(0.42 * side)), cv2.LINE_8)
        cv2.circle(where, tuple(map(int, centre - 0.3 * side * way)), max(1, int(side)), 1, -1)
    elif kind == 1:
        way = rng.normal(size=2) * size
        far = tuple(map(int, centre + way))
        cv2.line(where, tuple(map(int, centre)), far, 1, max(1, int(0.5 * side)), cv2.LINE_8)
    else:
        corners = (centre + rng.normal(0, side, (rng.integers(3, 8), 2))).astype(np.int32)
        cv2.fillConvexPoly(where, cv2.convexHull(corners), 1)
    place = where > 0
    fall = cv2.blur(where.astype(np.float32), (size // 20,) * 2)
    scene.shadow(fall * ~place * np.float32(rng.uniform(0, 0.6)))
    light = 1 + np.float32(0.25) * clouds(rng, size, cells=4, finest=64) + np.float32(0.3) * (fall - 1)
    scene.cover(place, colour * light[..., None])
    scene.label_map[place] = CLASS_ID["background"]
