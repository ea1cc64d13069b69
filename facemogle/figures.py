"""Pictures of gating weights: heat maps, overlays, the grid of experts, curves over the steps, animations.

Pure functions from arrays to PIL pictures. S steps, E = 20 experts, (h, w) token grid, (H, W) pixels.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facemogle.expert_effects import ExpertEffects
from facemogle.gating import EXPERTS
from facemogle.labels import PALETTE
from facemogle.whole_files import whole_file

INK, PAPER, FAINT = (34, 34, 34), (255, 255, 255), (221, 221, 221)
COLUMNS = 5
FILMS = {".gif": "GIF", ".webp": "WEBP"}
GAP, BAR_WIDTH, TEXT_SIZE = 8, 64, 14


def heat_map(weights: np.ndarray, size: tuple[int, int], *, top: float | None = None) -> Image.Image:
    """(h, w) weights -> a picture of `size` (width, height) in the viridis colours.

    Dark blue is 0, yellow is `top` or more (None: the largest weight in the map).
    """
    top = max(float(weights.max()) if top is None else top, 1e-6)
    levels = np.rint(np.clip(weights / top, 0, 1) * 255).astype(np.uint8)
    smooth = cv2.resize(levels, size, interpolation=cv2.INTER_LINEAR)
    return Image.fromarray(cv2.applyColorMap(smooth, cv2.COLORMAP_VIRIDIS)[..., ::-1].copy())


def overlay(face: Image.Image, weights: np.ndarray, *, top: float | None = None, opacity: float = 0.85) -> Image.Image:
    """A heat map of (h, w) weights over the face, which is shown in grey so that colour means weight alone.

    Opacity grows with the weight, from a quarter of `opacity` to all of it: the face stays visible where nothing is.
    """
    top = max(float(weights.max()) if top is None else top, 1e-6)
    share = cv2.resize(np.clip(weights / top, 0, 1), face.size, interpolation=cv2.INTER_LINEAR)
    alpha = Image.fromarray(np.rint((0.25 + 0.75 * share) * opacity * 255).astype(np.uint8))
    return Image.composite(heat_map(weights, face.size, top=top), face.convert("L").convert("RGB"), alpha)


def outline(picture: Image.Image, region: np.ndarray) -> Image.Image:
    """Draw the border of an (H, W) boolean region, which is scaled to the picture, in white edged with black."""
    scaled = cv2.resize(region.astype(np.uint8), picture.size, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(scaled, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    canvas = np.array(picture)
    for colour, thickness in ((INK, 3), (PAPER, 1)):
        cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA)
    return Image.fromarray(canvas)


def expert_map(
    weights: np.ndarray,
    expert: int,
    size: tuple[int, int],
    *,
    face: Image.Image | None = None,
    label_map: np.ndarray | None = None,
    top: float | None = None,
) -> Image.Image:
    """One expert of (E, h, w) weights, over the face where given, its class outlined where a label map is given."""
    if face is None:
        picture = heat_map(weights[expert], size, top=top)
    else:
        picture = overlay(face.resize(size, Image.Resampling.LANCZOS), weights[expert], top=top)
    return outline(picture, label_map == expert - 1) if label_map is not None and expert > 0 else picture


def expert_grid(
    weights: np.ndarray,
    *,
    face: Image.Image | None = None,
    label_map: np.ndarray | None = None,
    common_scale: bool = False,
    top: float | np.ndarray | None = None,
    title: str = "",
    width: int = 900,
) -> Image.Image:
    """All 20 experts of (E, h, w) weights with their names and mean weights, and a colour bar.

    A map runs from 0 to `top`: one number for all, or (E,) with one for each expert. None: each map's own maximum, or
    with `common_scale` the largest weight of all.
    """
    if top is None:
        top = weights.max() if common_scale else weights.max((1, 2))
    tops = np.broadcast_to(top, len(EXPERTS))
    cell = (width - BAR_WIDTH - (COLUMNS + 1) * GAP) // COLUMNS
    cell_size = (cell, cell * weights.shape[1] // weights.shape[2])
    lines = _wrapped(f"{title}. Percents: mean weights", width - 2 * GAP) if title else []
    caption, head = TEXT_SIZE + 8, len(lines) * (TEXT_SIZE + 4) + (2 * GAP if title else GAP)
    pitch = (cell + GAP, cell_size[1] + caption + GAP)
    page = Image.new("RGB", (width, head + -(-len(EXPERTS) // COLUMNS) * pitch[1]), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((GAP, GAP), "\n".join(lines), INK, _font())
    for expert, name in enumerate(EXPERTS):
        x, y = GAP + expert % COLUMNS * pitch[0], head + expert // COLUMNS * pitch[1]
        draw.text((x, y), name.replace("_", " "), INK, _font())
        draw.text((x + cell, y), f"{weights[expert].mean():.1%}", INK, _font(), anchor="ra")
        picture = expert_map(weights, expert, cell_size, face=face, label_map=label_map, top=float(tops[expert]))
        page.paste(picture, (x, y + caption))
    _colour_bar(page, (width - BAR_WIDTH, head + caption), float(tops[0]) if (tops == tops[0]).all() else None)
    return page


def effect_tiles(effects: ExpertEffects, side: int) -> list[tuple[str, Image.Image]]:
    """For each expert, that with the most effect first: its name, and the picture without it beside what changed.

    Each of the two is `side` wide. Changes are on one scale, from 0 to what 0.5% of their pixels exceed.
    """
    size = side, side * effects.image.height // effects.image.width
    pictures = dict(zip(effects.experts, zip(effects.muted, effects.changes, strict=True), strict=True))
    top, tiles = float(np.quantile(effects.changes, 0.995)), []
    for name, _ in effects.ranked():
        muted, change = pictures[name]
        tile = Image.new("RGB", (2 * side, size[1]))
        tile.paste(muted.resize(size, Image.Resampling.LANCZOS), (0, 0))
        tile.paste(heat_map(change, size, top=top), (side, 0))
        tiles.append((name, tile))
    return tiles


def effect_sheet(effects: ExpertEffects, *, width: int = 1200) -> Image.Image:
    """The run's picture, then `effect_tiles` with the mean change of the picture."""
    columns, caption = 4, TEXT_SIZE + 8
    side = (width - (columns + 1) * GAP) // (2 * columns)
    tiles, means = effect_tiles(effects, side), dict(effects.ranked())
    height = tiles[0][1].height
    cells = [("the run", effects.image.resize((side, height), Image.Resampling.LANCZOS))]
    cells += [(f"without {name.replace('_', ' ')}: {means[name]:.2%}", tile) for name, tile in tiles]
    pitch = (2 * side + GAP, height + caption + GAP)
    page = Image.new("RGB", (width, GAP + -(-len(cells) // columns) * pitch[1]), PAPER)
    draw = ImageDraw.Draw(page)
    for number, (title, picture) in enumerate(cells):
        x, y = GAP + number % columns * pitch[0], GAP + number // columns * pitch[1]
        draw.text((x, y), title, INK, _font())
        page.paste(picture, (x, y + caption))
    return page


def step_frames(
    weights: np.ndarray,
    timesteps: np.ndarray,
    *,
    face: Image.Image | None = None,
    label_map: np.ndarray | None = None,
    width: int = 900,
) -> list[Image.Image]:
    """(S, E, h, w) weights -> one expert grid a step, all on one scale so that steps compare."""
    return [
        expert_grid(
            weights[step], face=face, label_map=label_map, common_scale=True, top=float(weights.max()), width=width,
            title=f"step {step} of 0 to {len(weights) - 1}, timestep {timesteps[step]:.0f}",
        )
        for step in range(len(weights))
    ]  # fmt: skip


def save_animation(path: str | os.PathLike | BinaryIO, frames: list[Image.Image], *, milliseconds: int = 400) -> None:
    """Write the frames, to a path or into an open file, as a film that repeats without end and rests on the last one.

    A GIF, of 256 colours; or, where the name ends in .webp, a WebP, of all.
    """
    format = FILMS[Path(path).suffix.lower()] if isinstance(path, (str, os.PathLike)) else "GIF"
    durations = [milliseconds] * (len(frames) - 1) + [4 * milliseconds]
    with whole_file(path) as part:
        frames[0].save(
            part, format=format, quality=90, save_all=True, append_images=frames[1:], duration=durations, loop=0
        )


def curves(expert_means: np.ndarray, timesteps: np.ndarray, *, size: tuple[int, int] = (900, 480)) -> Image.Image:
    """(S, E) mean weights -> a line per expert over the steps, in its class's colour, named at its end.

    From left to right the timestep falls from noise to picture.
    """
    steps, experts = expert_means.shape
    left, right, upper, lower = 56, size[0] - 130, 16, size[1] - 40
    top = max(float(expert_means.max()) * 1.05, 1e-6)
    x = np.linspace(left, right, steps) if steps > 1 else np.array([left, right], float)
    y = lower - np.resize(expert_means, (len(x), experts)) / top * (lower - upper)
    canvas = np.full((size[1], size[0], 3), PAPER, np.uint8)
    levels = np.linspace(upper, lower, 5).tolist()
    for height in levels:
        cv2.line(canvas, (left, round(height)), (right, round(height)), FAINT)
    for expert in range(experts):
        points = np.rint(np.stack([x, y[:, expert]], 1)).astype(np.int32)
        for colour, thickness in ((INK, 4), (_expert_colour(expert), 2)):  # edged: yellow would vanish on white
            cv2.polylines(canvas, [points], False, colour, thickness, cv2.LINE_AA)
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for level, height in enumerate(levels):
        draw.text((left - 6, height), f"{top * (1 - level / 4):.3f}", INK, _font(12), anchor="rm")
    for place in sorted({0, (steps - 1) // 2, steps - 1}):
        draw.text((x[place], lower + 8), f"t = {timesteps[place]:.0f}", INK, _font(12), anchor="ma")
    draw.text(
        ((left + right) / 2, size[1] - 4), "mean weight of each expert over the steps", INK, _font(12), anchor="md"
    )
    for expert, height in _spread(y[-1], upper, lower).items():
        draw.line([(right, y[-1, expert]), (right + 12, height)], FAINT)
        draw.rectangle([right + 14, height - 4, right + 22, height + 4], _expert_colour(expert), INK)
        draw.text((right + 28, height), EXPERTS[expert].replace("_", " "), INK, _font(12), anchor="lm")
    return picture


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words, at most `width` pixels wide where a word is no longer."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _font().getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _spread(heights: np.ndarray, upper: float, lower: float) -> dict[int, float]:
    """Heights of labels -> heights in the same order, evenly apart, so that none covers another."""
    order = np.argsort(heights, kind="stable")
    return dict(zip(order.tolist(), np.linspace(upper, lower, len(order)).tolist(), strict=True))


def _colour_bar(page: Image.Image, corner: tuple[int, int], top: float | None) -> None:
    """The scale of the maps: numbers from 0 to `top`, or shares of each map's own maximum."""
    width, height = 14, page.height - corner[1] - 2 * GAP
    ramp = np.linspace(1, 0, height, dtype=np.float32)[:, None].repeat(width, 1)
    page.paste(heat_map(ramp, (width, height), top=1.0), corner)
    draw = ImageDraw.Draw(page)
    for share in (0, 0.25, 0.5, 0.75, 1):
        text = f"{share:.0%}" if top is None else f"{share * top:.2f}"
        draw.text((corner[0] + width + 4, corner[1] + (1 - share) * height), text, INK, _font(12), anchor="lm")
    if top is None:
        draw.text((corner[0], corner[1] - TEXT_SIZE), "of max", INK, _font(12), anchor="lm")


def _expert_colour(expert: int) -> tuple[int, int, int]:
    """The class's palette colour; grey for the global expert."""
    return (150, 150, 150) if expert == 0 else tuple(PALETTE[expert - 1].tolist())


@lru_cache
def _font(size: int = TEXT_SIZE) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
