"""Look into a run's gating weights: which expert speaks where, how loudly, and when.

All of it happens in the page. It receives a run's weights once, in half precision, and keeps the last few runs to
compare; Python is asked again only to draw a file. S steps, E = 20 experts, (h, w) token grid, (H, W) pixels.
"""

import base64
import binascii
import io
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
from PIL import Image

from facemogle import figures
from facemogle.gating import EXPERTS, NUM_EXPERTS, GatingRecord, locality, save_gating
from facemogle.masks import resize_nearest
from facemogle.picture_files import MAX_SEED, MAX_STEPS
from facemogle.ui.component import PageComponent, beside
from facemogle.ui.label_editor.component import LabelMapData, decode, encode
from facemogle.ui.views import CHIPS, COLOURS, data_url

MAX_RUNS = 6  # that the page holds
MAX_SIDE = 512  # pixels, of the face and of the label map in the page
THUMB_SIDE = 96
MAX_FRAMES = 50  # of an animation, spread over the steps
# What an export accepts: all that the page can make, and little more.
MAX_TOKENS = 64  # per side
MAX_TITLE = 200
MAX_PROMPT = 2000
MAX_FACE_BYTES = 2**20
SUM_TOLERANCE = 0.01  # half precision rounds each of the 20 weights
FORGOTTEN = "forgotten"
GLOBAL_COLOUR, GLOBAL_LINE = "#ffffff", "#969696"  # no class has them; a white line would be lost on a white page
EXPORT_PATIENCE = 20  # seconds to wait for another visitor's export

_FACE_PREFIX = "data:image/webp;base64,"
_SCRIPTS = ("run", "maps", "charts", "column", "inspector")  # one function
_one_export = threading.Lock()  # a film of a large run takes 100 MB


@dataclass(frozen=True, eq=False)
class Inspected:
    """One picture of a run, and what its experts said.

    `title` names the run, such as "a woman with red hair, seed 7"; `image` is which image of the record it is;
    `label_map` (H, W) class ids, or None for a run without. `names` tell it from the others of its visit: the `key` of
    each -> its name, such as "hair ×0".
    """

    title: str
    gating: GatingRecord
    image: int
    face: Image.Image
    label_map: np.ndarray | None
    key: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    prompt: str | None = None
    seed: int | None = None


class InspectedData(TypedDict):
    """An Inspected as JSON.

    `grid` is [h, w]; `weights` base64 of little-endian float16 (S, E, h, w); `face`, in grey, and `thumb` are
    addresses of WebP pictures; `locality` (S, 19, 2) means inside and outside of each class, None where there are none.
    """

    title: str
    grid: list[int]
    timesteps: list[float]
    weights: str
    face: str
    thumb: str
    label_map: LabelMapData | None
    locality: list[list[list[float | None]]] | None
    key: str
    names: dict[str, str]
    prompt: str | None
    seed: int | None


class GatingInspector(PageComponent):
    """Shows an Inspected, and compares it with earlier ones of this visit. Output only.

    Given FORGOTTEN, it offers to make the run again, with the event `again`.
    """

    def __init__(
        self,
        value: Inspected | str | None = None,
        *,
        label: str = "What each expert said",
        elem_id: str | None = None,
        render: bool = True,
    ):
        super().__init__(
            value,  # type: ignore[arg-type]
            label=label,
            elem_id=elem_id,
            render=render,
            **beside(__file__, "inspector", scripts=_SCRIPTS),
            server_functions=[export_gating],
            experts=_experts(),
            max_runs=MAX_RUNS,
        )

    def preprocess(self, payload: Any) -> None:  # type: ignore[override]
        """Output only: what a page sends back is not looked at."""

    def postprocess(self, value: Inspected | str | None) -> InspectedData | str | None:  # type: ignore[override]
        return to_data(value) if isinstance(value, Inspected) else value

    def api_info(self) -> dict[str, Any]:
        return {
            "type": "object",
            "description": "Gating weights of a run: base64 of float16 (steps, 20, h, w), and more",
        }


def to_data(inspected: Inspected) -> InspectedData:
    """What the page gets. IndexError where the record has no such image."""
    weights = inspected.gating.over_steps(image=inspected.image)
    label_map, shares = inspected.label_map, None
    if label_map is not None:
        shares = locality(inspected.gating, label_map, image=inspected.image).round(6).tolist()
        shares = [[[None if math.isnan(mean) else mean for mean in pair] for pair in step] for step in shares]
    return {
        "title": " ".join(inspected.title.split())[:MAX_TITLE],
        "grid": list(weights.shape[2:]),
        "timesteps": inspected.gating.timesteps.tolist(),
        "weights": base64.b64encode(weights.astype("<f2").tobytes()).decode(),
        "face": _small(inspected.face.convert("L"), MAX_SIDE),
        "thumb": _small(inspected.face.convert("RGB"), THUMB_SIDE),
        "label_map": None if label_map is None else encode(_fit(label_map)),
        "locality": shares,
        "key": inspected.key,
        "names": dict(inspected.names),
        "prompt": None if inspected.prompt is None else inspected.prompt[:MAX_PROMPT],
        "seed": inspected.seed,
    }


def _small(picture: Image.Image, side: int) -> str:
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return data_url(picture, format="WEBP")


def from_data(data: Any) -> Inspected:
    """An InspectedData from anyone at all, without locality and thumb -> with a grey face. ValueError on all else."""
    if not isinstance(data, dict):
        raise ValueError(f"The run must be a JSON object as the page got it, got {type(data).__name__}.")
    title, label_map = data.get("title"), data.get("label_map")
    if not isinstance(title, str) or len(title) > MAX_TITLE:
        raise ValueError(f"title must be a text of at most {MAX_TITLE} characters.")
    timesteps = _read_timesteps(data.get("timesteps"))
    weights = _read_weights(data.get("weights"), len(timesteps), *_read_grid(data.get("grid")))
    face = _read_face(data.get("face"))
    prompt, seed = data.get("prompt"), data.get("seed")
    if not (prompt is None or (isinstance(prompt, str) and len(prompt) <= MAX_PROMPT)):
        raise ValueError(f"prompt must be a text of at most {MAX_PROMPT} characters.")
    if not (seed is None or (type(seed) is int and 0 <= seed <= MAX_SEED)):
        raise ValueError(f"seed must be a whole number from 0 to {MAX_SEED}.")
    label_map = None if label_map is None else decode(label_map)
    return Inspected(title, GatingRecord(weights[:, None], timesteps), 0, face, label_map, prompt=prompt, seed=seed)


def export_gating(request: Any) -> dict[str, str]:
    """{"data": InspectedData, "kind", "step", "tops"} from the page -> {"file" in base64, "name"}, or {"error"}.

    `kind`: "png", the experts at one step, from 0; "gif", at all steps or at MAX_FRAMES of them; "npz", the weights as
    facemogle.gating writes them. `tops`: for the pictures, the 20 weights at which the experts' colours end.
    """
    try:
        if not isinstance(request, dict) or request.get("kind") not in ("png", "gif", "npz"):
            raise ValueError('An export is {"data", "kind"}, where kind is "png", "gif" or "npz".')
        inspected = from_data(request.get("data"))
        if not _one_export.acquire(timeout=EXPORT_PATIENCE):
            raise ValueError("Others are exporting, too. Try again in a minute.")
        try:
            content, name = _draw(inspected, request["kind"], request.get("step"), request.get("tops"))
        finally:
            _one_export.release()
    except ValueError as error:
        return {"error": str(error)}
    return {"file": base64.b64encode(content).decode(), "name": name}


def _draw(inspected: Inspected, kind: str, step: Any, tops: Any) -> tuple[bytes, str]:
    """The content of a file, and its name."""
    file = io.BytesIO()
    if kind == "npz":
        save_gating(file, inspected.gating, prompt=inspected.prompt, seed=inspected.seed)
        return file.getvalue(), "gating.npz"
    ends = _read_tops(tops)
    steps = len(inspected.gating.timesteps)
    if kind == "png":
        if type(step) is not int or not 0 <= step < steps:
            raise ValueError(f"step must be a whole number from 0 to {steps - 1}, got {str(step)[:20]}.")
        _grid(inspected, step, ends, cell=216).save(file, format="PNG")
        return file.getvalue(), f"experts-step-{step + 1}.png"
    frames = np.linspace(0, steps - 1, min(steps, MAX_FRAMES)).round().astype(int)
    figures.save_animation(file, [_grid(inspected, step, ends, cell=128) for step in frames])
    return file.getvalue(), "experts.gif"


def _grid(inspected: Inspected, step: int, tops: np.ndarray, *, cell: int) -> Image.Image:
    """The experts at one step, from 0; no map's side is longer than `cell` pixels, but for slivers."""
    weights, timesteps = inspected.gating.at(step), inspected.gating.timesteps
    height, width = weights.shape[1:]
    map_width = max(8, cell * width // max(height, width))
    return figures.expert_grid(
        weights,
        face=inspected.face,
        label_map=inspected.label_map,
        top=tops,
        title=f"Step {step + 1} of {len(timesteps)}, timestep {timesteps[step]:.0f}. {inspected.title}",
        width=figures.COLUMNS * (map_width + figures.GAP) + figures.GAP + figures.BAR_WIDTH,
    )


def _fit(label_map: np.ndarray) -> np.ndarray:
    scale = min(1, MAX_SIDE / max(label_map.shape))
    height, width = (max(1, round(side * scale)) for side in label_map.shape)
    return resize_nearest(label_map, height, width)


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _read_grid(grid: Any) -> list[int]:
    sides = isinstance(grid, list) and len(grid) == 2
    if not sides or not all(type(side) is int and 1 <= side <= MAX_TOKENS for side in grid):
        raise ValueError(f"grid must be [height, width] in tokens, from 1 to {MAX_TOKENS} each.")
    return grid


def _read_timesteps(timesteps: Any) -> np.ndarray:
    count = len(timesteps) if isinstance(timesteps, list) else 0
    if not 1 <= count <= MAX_STEPS or not all(_is_number(timestep, 0, 1000) for timestep in timesteps):
        raise ValueError(f"timesteps must be a list of 1 to {MAX_STEPS} numbers from 0 to 1000.")
    return np.array(timesteps, np.float32)


def _read_tops(tops: Any) -> np.ndarray:
    if not isinstance(tops, list) or len(tops) != NUM_EXPERTS or not all(_is_number(top, 0, 1) for top in tops):
        raise ValueError(f"tops must be a list of {NUM_EXPERTS} numbers from 0 to 1.")
    return np.array(tops, np.float32)


def _read_weights(text: Any, steps: int, height: int, width: int) -> np.ndarray:
    """Base64 of half precision -> (S, E, h, w) float32."""
    shape = (steps, NUM_EXPERTS, height, width)
    content = _read_base64(text, "weights", limit=2 * math.prod(shape))
    if len(content) != 2 * math.prod(shape):
        raise ValueError(
            f"weights must be float16 of shape {shape}, {2 * math.prod(shape)} bytes; got {len(content)} bytes."
        )
    weights = np.frombuffer(content, "<f2").reshape(shape).astype(np.float32)
    sums = weights.sum(1)
    # Comparisons with NaN are false, so that it is refused as well.
    if not ((weights >= 0).all() and (abs(sums - 1) <= SUM_TOLERANCE).all()):
        raise ValueError(f"weights must be finite, at least 0, and sum to 1 over the {NUM_EXPERTS} experts everywhere.")
    return weights


def _read_face(address: Any) -> Image.Image:
    if not isinstance(address, str) or not address.startswith(_FACE_PREFIX):
        raise ValueError(f"face must be a picture's address that begins with {_FACE_PREFIX}")
    content = _read_base64(address[len(_FACE_PREFIX) :], "face", limit=MAX_FACE_BYTES)
    too_large = ValueError(f"face must be a WebP picture of at most {MAX_SIDE} pixels a side.")
    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as picture:
            if max(picture.size) > MAX_SIDE:
                raise too_large
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise too_large from error


def _read_base64(text: Any, name: str, *, limit: int) -> bytes:
    """At most `limit` bytes; what is longer is refused before it is decoded."""
    if not isinstance(text, str) or len(text) > 4 * math.ceil(limit / 3):
        raise ValueError(f"{name} must be base64 of at most {limit} bytes.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: letters outside ASCII
        raise ValueError(f"{name} is no base64: {error}.") from error


def _experts() -> list[dict[str, str]]:
    """Per expert what the page shows: `chip` fills a small square, `colour` a place or a bar, `line` draws a curve."""
    looks = zip(EXPERTS, CHIPS, [GLOBAL_COLOUR, *COLOURS], [GLOBAL_LINE, *COLOURS], strict=True)
    return [
        {"name": name.replace("_", " "), "chip": chip, "colour": colour, "line": line}
        for name, chip, colour, line in looks
    ]
