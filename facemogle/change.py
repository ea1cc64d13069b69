"""From a photo and a wish for one part of it to the photo with that part drawn anew, in one call."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facemogle.editing import photo_pixels
from facemogle.faces import Picture, parse_face, read_picture
from facemogle.masks import picture_size
from facemogle.parsing.parse import FaceParse, FaceParser
from facemogle.parts import PartChange, change_of, prompt_for
from facemogle.photo_changes import FADES, CropChange, goes_on, put_back

if TYPE_CHECKING:
    from facemogle.pipeline import FaceMoGLEPipeline

_LARGER = "square=(left, top, side) in pixels (--square LEFT,TOP,SIDE) takes a larger one"


@dataclass(frozen=True, eq=False)
class ChangedPhoto:
    """`photo` (H, W, 3) uint8 in its own size, changed in one part; `parse` of its face, and what was asked of that.

    `drawn` (h, w, 3) uint8: the face as the pipeline drew it, at the pipeline's size. `notes`: what a person should
    know of it.
    """

    photo: np.ndarray
    parse: FaceParse
    change: PartChange
    drawn: np.ndarray
    notes: tuple[str, ...] = ()


def change_part(
    image: Picture,
    part: str,
    prompt: str = "",
    *,
    to: str | None = None,
    pipeline: "FaceMoGLEPipeline | str | os.PathLike" = "mini",
    parser: str | os.PathLike | FaceParser | None = None,
    face: int | None = None,
    square: tuple[float, float, float] | None = None,
    whole: bool = False,
    seed: int = 0,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    strength: float = 1.0,
    device: str | None = None,
) -> ChangedPhoto:
    """Draw one part of a photo's face anew, and put it back into the photo: all else keeps its pixels.

    image: whatever parse_face takes; `parser`, `face`, `square` and `whole` say how its face is found and read.
    part: one of parts.PARTS, such as "hair", or a class of its own, such as "left_eye". Hat, glasses, earrings and a
        necklace may be missing: they are added.
    prompt: what it is to be, as "red"; its name is added. `to`: the part that comes in its place, as a hat for hair.
    pipeline: one that is loaded, or a name or folder for checkpoints.load_pipeline, on `device`.
    seed, num_inference_steps, guidance_scale, strength: of the run, as in the pipeline.

    Raises ValueError for a part that is not there or an argument that does not fit; whatever parse_face and
    load_pipeline raise.
    """
    import torch

    from facemogle.checkpoints import load_pipeline

    photo = read_picture(image)
    parse = parse_face(image, parser=parser, face=face, square=square, whole=whole)
    change = change_of(parse.label_map, part, to=to)
    if isinstance(pipeline, (str, os.PathLike)):
        pipeline = load_pipeline(pipeline, device=device)
    height, width = picture_size(pipeline, change.label_map)
    (drawn,) = pipeline(
        prompt_for(to or part, prompt),
        label_map=change.label_map,
        image=parse.crop,
        edit_region=change.region,
        strength=strength,
        height=height,
        width=width,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        generator=torch.Generator().manual_seed(seed),
    ).images
    after = np.asarray(drawn)
    maps = parse.label_map, change.label_map
    made = CropChange(photo_pixels(parse.crop, height, width), after, change.region, maps)
    notes = parse.notes
    if goes_on(photo.shape[:2], parse.frame, change.region):
        notes += (f"The {part} {FADES}: {_LARGER}.",)
    return ChangedPhoto(put_back(photo, parse.frame, [made]), parse, change, after, notes)
