"""What turning, light and a camera make of a picture.

S: side of a picture. Pictures are (S, S, 3) float32 RGB in 0..1 or a little beyond; label maps (S, S) uint8.
"""

import cv2
import numpy as np

from facemogle.labels import CLASS_ID, mirror
from train.mini.textures import blurred, clouds, grid_of, noise

TURN = 40  # degrees at most
SIZES = 0.6, 1.45  # of a head, of what it was
ASIDE = 0.18  # of the picture, at most
SHOULDER = 0.65  # of white: from there on, brighter light counts less
CAST = 0.22  # how far a colour cast moves red and blue


def turned(
    image: np.ndarray, label_map: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mirrored, turned, zoomed, sheared, moved and bent alike; beyond the border the last pixels go on.

    -> picture, label map, and (2,): which way is up for the head.
    """
    size = len(label_map)
    if rng.random() < 0.5:
        image, label_map = image[:, ::-1], mirror(label_map)
    turn = np.radians(np.clip(rng.normal(0, 12), -TURN, TURN))
    zoom = np.exp(rng.uniform(*np.log(SIZES)))
    stretch = rng.uniform(0.88, 1.12)
    cosine, sine = np.cos(turn), np.sin(turn)
    # From the place in the new picture to that in the old one.
    linear = np.array([[cosine * stretch, sine + rng.normal(0, 0.05)], [-sine, cosine / stretch]]) / zoom
    centre, aside = size / 2, np.clip(rng.normal(0, 0.07, 2), -ASIDE, ASIDE) * size
    offset = centre - linear @ (centre + aside)
    x, y = grid_of(size)
    bend = [clouds(rng, size, cells=3, finest=8, roughness=0.5) for _ in range(2)]
    strength = np.float32(size * rng.uniform(0, 0.012))
    linear, offset = linear.astype(np.float32), offset.astype(np.float32)
    from_x = linear[0, 0] * x + linear[0, 1] * y + offset[0] + strength * bend[0]
    from_y = linear[1, 0] * x + linear[1, 1] * y + offset[1] + strength * bend[1]
    if label_map[0].any():  # a head that the border cuts off is rounded, where it comes into view
        dome = (from_x / np.float32(centre) - 1) ** 2 * np.float32(size * rng.uniform(0.1, 0.4))
        from_y -= dome * np.clip(1 - from_y / np.float32(centre), 0, 1)
    picture, classes = moved(image, label_map, from_x, from_y)
    classes[from_y < 0] = CLASS_ID["background"]
    return picture, classes, np.array((-sine, -cosine), np.float32)


def moved(image: np.ndarray, label_map: np.ndarray, from_x: np.ndarray, from_y: np.ndarray):
    """Every pixel taken from elsewhere, in the picture and in the map alike."""
    border = cv2.BORDER_REPLICATE
    picture = cv2.remap(np.ascontiguousarray(image), from_x, from_y, cv2.INTER_LINEAR, borderMode=border)
    return picture, cv2.remap(np.ascontiguousarray(label_map), from_x, from_y, cv2.INTER_NEAREST, borderMode=border)


def lit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light from a side, a hard shadow's edge, coloured light."""
    size = len(image)
    light = np.exp(clouds(rng, size, cells=2, finest=4, roughness=0.6) * np.float32(rng.uniform(0, 0.3)))
    if rng.random() < 0.35:
        turn = rng.uniform(0, 2 * np.pi)
        x, y = grid_of(size)
        across, down = np.float32(np.cos(turn) / size), np.float32(np.sin(turn) / size)
        place = (
            x * across + y * down - (rng.uniform(0.3, 0.7) * across + rng.uniform(0.3, 0.7) * down) * np.float32(size)
        )
        edge = np.tanh((place + 0.03 * clouds(rng, size, cells=3, finest=16)) / rng.uniform(0.01, 0.5))
        light = light * (1 - np.float32(rng.uniform(0.1, 0.4)) * (1 + edge))
    lit_image = image * light[..., None]
    if rng.random() < 0.25:
        glow = clouds(rng, size, cells=2, finest=2)[..., None] * rng.normal(0, 0.08, 3).astype(np.float32)
        lit_image = lit_image * (1 + glow)
    return lit_image


def photographed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White balance, exposure, contrast, focus, noise, grain and JPEG -> (S, S, 3) uint8."""
    size = len(image)
    image = np.maximum(image, 0)
    image = image * np.float32(np.clip(rng.uniform(0.3, 0.6) / (image.mean() + 1e-3), 0.65, 1.6))
    if rng.random() < 0.6:
        cast = rng.uniform(-CAST, CAST)
        image = image * np.array((1 + cast, rng.uniform(0.94, 1.06), 1 - cast), np.float32)
    image = image * np.float32(np.exp(rng.normal(0, 0.12)))
    over = np.maximum(image - np.float32(SHOULDER), 0)  # lights roll off, as on film
    image = image - over + np.float32(1 - SHOULDER) * (1 - cv2.exp(over / np.float32(SHOULDER - 1)))
    if rng.random() < 0.7:
        image = cv2.pow(image, np.exp(rng.normal(0, 0.22)))
        middle = np.float32(rng.uniform(0.35, 0.6))
        image = middle + (image - middle) * np.float32(np.exp(rng.normal(-0.03, 0.15)))
    kind = rng.random()
    if kind < 0.5:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        colour = 0.0 if kind < 0.06 else rng.uniform(0.3, 1.5)
        image = grey[..., None] + (image - grey[..., None]) * np.float32(colour)
    kind = rng.random()
    if kind < 0.3:
        image = blurred(image, size / 256 * rng.uniform(0.4, 2.2))
    elif kind < 0.4:
        image = cv2.filter2D(image, -1, _motion(rng, max(3, round(size / 256 * rng.uniform(3, 8)))))
    elif kind < 0.5:
        small = cv2.resize(
            image, None, fx=rng.uniform(0.3, 0.7), fy=rng.uniform(0.3, 0.7), interpolation=cv2.INTER_AREA
        )
        image = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
    elif kind < 0.65:
        image = image + np.float32(rng.uniform(0.3, 1.2)) * (image - cv2.GaussianBlur(image, (0, 0), size / 200))
    if rng.random() < 0.55:
        image = image + noise_of(image, rng)
    image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return compressed(image, int(rng.uniform(20, 95))) if rng.random() < 0.6 else image


def noise_of(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sensor's, stronger where it is dark, of grey or of colours, fine or in grains."""
    size, amount = len(image), 0.07 * rng.random() ** 2
    channels = 3 if rng.random() < 0.5 else 1
    grain = noise(rng, size, size, channels)
    if rng.random() < 0.4:
        grain = cv2.GaussianBlur(grain, (0, 0), 0.9).reshape(size, size, channels) * np.float32(2.5)
    return grain * np.float32(amount) * (1.2 - np.clip(image, 0, 1))


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """Through JPEG and back."""
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None  # as what is no picture would be
    return np.ascontiguousarray(decoded[..., ::-1])


def _motion(rng: np.random.Generator, length: int) -> np.ndarray:
    kernel = np.zeros((length, length), np.float32)
    way = rng.normal(size=2)
    way *= length / 2 / np.linalg.norm(way)
    middle = np.array((length, length)) / 2
    cv2.line(kernel, tuple(map(int, middle - way)), tuple(map(int, middle + way)), 1.0)
    return kernel / max(kernel.sum(), 1)
