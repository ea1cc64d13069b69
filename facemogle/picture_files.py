"""PNG and JPEG files that say that they are generated, and carry the settings that made them.

They stand as JSON in an iTXt chunk or in JPEG's comments, which every viewer passes over; the label map in it is zlib's
bytes in base64.
"""

import base64
import json
import math
import os
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from facemogle.labels import NAMES, NUM_CLASSES
from facemogle.picture_formats import open_picture
from facemogle.whole_files import whole_file

VERSION = 1
# A picture may come from anyone: what it asks for must not fill the memory.
MAX_PIXELS = 4096 * 4096
MAX_STEPS = 1000  # of as many noise levels that a model is trained on
MAX_SEED = 2**53 - 1  # the largest whole number that a browser keeps exactly

CARRYING = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}  # names' endings -> formats that carry settings
_SETTINGS_KEY = "facemogle"
_COMMENT = b"facemogle:"  # before each part of the settings in a JPEG
_COMMENT_BYTES = 65_000  # of a comment, which takes at most 65,533
_XMP_KEY = "XML:com.adobe.xmp"
_XMP = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp:CreatorTool="Face-MoGLE"
    Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{source_type}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
_GENERATED = _XMP.format(source_type="trainedAlgorithmicMedia")
_COMPOSITE = _XMP.format(source_type="compositeWithTrainedAlgorithmicMedia")


@dataclass(frozen=True, eq=False)
class Settings:
    """What makes a picture: the pipeline's arguments, with the seed of its generator, and the checkpoint's name.

    `label_map` (H, W) uint8 class ids, or None; `height` and `width` of the picture in pixels; `expert_scale` from
    experts' names to factors, or None; `strength` where another picture was changed, which it does not carry, else
    None; `loras` from the files of LoRAs to their scales, or None. ValueError where a value has the wrong type or lies
    out of range.
    """

    prompt: str
    label_map: np.ndarray | None
    seed: int
    num_inference_steps: int
    guidance_scale: float
    condition_scale: float
    height: int
    width: int
    expert_scale: Mapping[str, float] | None
    checkpoint: str
    version: int = VERSION
    strength: float | None = None
    loras: Mapping[str, float] | None = None

    def __post_init__(self):
        _check_version(self.version)
        for name in ("prompt", "checkpoint"):
            _expect(isinstance(value := getattr(self, name), str), f"{name} must be text", value)
        self._whole("seed", 0, MAX_SEED)
        self._whole("num_inference_steps", 1, MAX_STEPS)
        self._whole("height", 1, MAX_PIXELS)
        self._whole("width", 1, MAX_PIXELS // self.height)
        for name, smallest in (("guidance_scale", -math.inf), ("condition_scale", 0)):
            object.__setattr__(self, name, _finite(name, getattr(self, name), smallest))
        if self.strength is not None:
            object.__setattr__(self, "strength", _finite("strength", self.strength, 0))
        if self.expert_scale is not None:
            object.__setattr__(self, "expert_scale", _checked_scale(self.expert_scale))
        if self.loras is not None:
            object.__setattr__(self, "loras", _checked_loras(self.loras))
        if self.label_map is not None:
            object.__setattr__(self, "label_map", _checked_map(np.asarray(self.label_map)))

    def arguments(self) -> dict[str, Any]:
        """Of the pipeline; the noise, a photo and LoRAs apart."""
        names = (
            "prompt", "label_map", "height", "width", "num_inference_steps", "guidance_scale", "condition_scale",
            "expert_scale",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def _whole(self, name: str, smallest: int, largest: int | None = None) -> None:
        value = getattr(self, name)
        fits = type(value) is int and smallest <= value and (largest is None or value <= largest)
        upwards = "" if largest is None else f" to {largest}"
        _expect(fits, f"{name} must be a whole number from {smallest}{upwards}", value)


def write_picture(
    file: str | os.PathLike | BinaryIO, image: Image.Image, settings: Settings, *, format: str = "PNG"
) -> None:
    """Write a PNG, or a JPEG of Pillow's quality, with its settings, marked as generated, or as changed in that way."""
    fields = vars(settings) | {"label_map": None if settings.label_map is None else _pack(settings.label_map)}
    if settings.loras is None:  # so that versions which know of none read the rest
        del fields["loras"]
    xmp = _GENERATED if settings.strength is None else _COMPOSITE
    text = json.dumps(fields, allow_nan=False)
    with whole_file(file) as part:
        if format == "JPEG":
            image.save(part, format="JPEG", xmp=xmp.encode(), extra=_comments(text.encode()))
            return
        info = PngImagePlugin.PngInfo()
        info.add_itxt(_XMP_KEY, xmp)
        info.add_itxt(_SETTINGS_KEY, text)
        image.save(part, format="PNG", pnginfo=info)


def write_photo(file: str | os.PathLike | BinaryIO, photo: np.ndarray) -> None:
    """Write (H, W, 3) uint8 of a photo that was changed in a part, marked as such, in the format that the name ends in.

    An open file gets a PNG. PNG and lossless WebP keep every pixel; a JPEG is written with little loss. It carries no
    settings: on the page it is a photo like any other.
    """
    name = "" if hasattr(file, "write") else os.fspath(file)
    lossless = {"lossless": True} if name.lower().endswith(".webp") else {}
    png = PngImagePlugin.PngInfo()
    png.add_itxt(_XMP_KEY, _COMPOSITE)
    options = {"pnginfo": png, "xmp": _COMPOSITE.encode(), "quality": 95, "subsampling": 0, **lossless}
    with whole_file(file) as part:
        Image.fromarray(photo).save(part, format=None if name else "PNG", **options)


def read_settings(file: str | os.PathLike | BinaryIO) -> Settings | None:
    """What write_picture wrote, exactly; None from a picture without settings. Its pixels are not decoded.

    ValueError where the file is no picture, or its settings are damaged, foreign, too large or of a newer version;
    FileNotFoundError where there is none.
    """
    name = getattr(file, "name", "the picture") if hasattr(file, "read") else os.fspath(file)
    try:
        with open_picture(file) as picture:
            text = _text_in(picture)
    except FileNotFoundError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture that can be read. Settings are in PNG and JPEG files.") from error
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # PIL: SyntaxError, broken PNG
        raise ValueError(f"{name} cannot be read as a picture: {error}") from error
    if text is None:
        return None
    try:
        return _unpack(json.loads(text))
    # TypeError: fields that are missing or unknown, or no text at all. RecursionError: JSON of endless brackets.
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"The settings in {name} cannot be read: {error}") from error


def _text_in(picture: Image.Image) -> str | None:
    if picture.format == "PNG":
        return picture.info.get(_SETTINGS_KEY)
    if picture.format == "JPEG":
        comments = (data for kind, data in getattr(picture, "applist", ()) if kind == "COM")
        parts = [data.removeprefix(_COMMENT) for data in comments if data.startswith(_COMMENT)]
        return b"".join(parts).decode() if parts else None
    return None


def _comments(text: bytes) -> bytes:
    """JPEG's segments that hold a text."""
    parts = [_COMMENT + text[start : start + _COMMENT_BYTES] for start in range(0, len(text), _COMMENT_BYTES)]
    return b"".join(b"\xff\xfe" + (len(part) + 2).to_bytes(2, "big") + part for part in parts)


def _pack(label_map: np.ndarray) -> dict[str, Any]:
    return {"shape": label_map.shape, "zlib": base64.b64encode(zlib.compress(label_map.tobytes())).decode()}


def _unpack(fields: Any) -> Settings:
    _expect(isinstance(fields, dict), "they must be a JSON object", fields)
    _check_version(fields.get("version"))  # before the fields, which another version may name otherwise
    if fields.get("label_map") is not None:
        fields["label_map"] = _unpacked_map(fields["label_map"])
    return Settings(**fields)


def _check_version(version: Any) -> None:
    _expect(type(version) is int and version >= 1, "version must be a whole number from 1", version)
    if version > VERSION:
        raise ValueError(f"version {version} is newer than {VERSION}, the newest known here. Update Face-MoGLE.")


def _unpacked_map(packed: Any) -> np.ndarray:
    """The size is known and checked before, so that a few bytes cannot become gigabytes."""
    shape: Any = packed.get("shape") if isinstance(packed, dict) else None
    fits = isinstance(shape, list) and len(shape) == 2 and all(type(side) is int and side > 0 for side in shape)
    _expect(fits, "label_map must have a shape of two sides", shape)
    pixels = shape[0] * shape[1]
    _expect(pixels <= MAX_PIXELS, f"label_map is too large: its shape may have at most {MAX_PIXELS} pixels", shape)
    decompressor = zlib.decompressobj()
    try:
        values = decompressor.decompress(base64.b64decode(packed["zlib"], validate=True), pixels + 1)
    except (KeyError, TypeError, ValueError, zlib.error) as error:  # ValueError: no base64
        raise ValueError(f"the label map is damaged ({error}).") from error
    if len(values) != pixels or not decompressor.eof:
        raise ValueError(f"the label map is damaged: it has not the {pixels} pixels of its shape.")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _checked_scale(expert_scale: Any) -> dict[str, float]:
    _expect(isinstance(expert_scale, Mapping), "expert_scale must be names with factors", expert_scale)
    if unknown := [name for name in expert_scale if name not in ("global", *NAMES)]:
        raise ValueError(f"expert_scale names no experts of this model: {unknown[:5]}.")
    return {name: _finite(f"expert_scale of {name}", factor, 0) for name, factor in expert_scale.items()}


def _checked_loras(loras: Any) -> dict[str, float] | None:
    fits = isinstance(loras, Mapping) and all(isinstance(name, str) for name in loras)
    _expect(fits, "loras must be files with scales", loras)
    return {name: _finite(f"the scale of {name}", scale, -math.inf) for name, scale in loras.items()} or None


def _checked_map(label_map: np.ndarray) -> np.ndarray:
    what = f"label_map must be (H, W) class ids 0 to {NUM_CLASSES - 1} of at most {MAX_PIXELS} pixels"
    fits = label_map.ndim == 2 and 0 < label_map.size <= MAX_PIXELS and np.issubdtype(label_map.dtype, np.integer)
    _expect(fits, what, f"{label_map.dtype} of shape {label_map.shape}")
    wrong = np.unique(label_map[(label_map < 0) | (label_map >= NUM_CLASSES)])
    _expect(not wrong.size, what, wrong[:5].tolist())
    return label_map.astype(np.uint8)


def _finite(name: str, value: Any, smallest: float) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = number and smallest <= value and abs(value) <= sys.float_info.max
    _expect(fits, f"{name} must be a number" + ("" if smallest < 0 else f" from {smallest}"), value)
    return float(value)


def _expect(fits: bool, what: str, got: Any) -> None:
    if not fits:
        raise ValueError(f"{what}, got {str(got)[:100]!r}.")
