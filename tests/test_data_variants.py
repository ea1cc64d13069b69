"""60 data folders drawn at random: each teaches what it says, or is told of with the remedy."""

import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from facemogle.label_files import write_label_map
from tests.data_folders import learned, true_map, write, write_parts
from train.data import main

SEEDS = range(60)
OPTIONS = {
    "faces": ("face", "Images", "IMG", "CelebA-HQ-img", "photos", "images1024x1024", "set/images", ""),
    "masks": (
        "mask/{}.png", "Label/{}_mask.png", "masks/seg_{}.PNG", "CelebAMask-HQ-mask-anno/0/{}_", "annotations/x/{}.bmp",
        "beside",
    ),
    "captions": ("none", "text", "beside", "text.json", "captions.json", "metadata.jsonl", "metadata.csv"),
    "encoding": ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"),
    "names": ("{}", "{:05d}", "IMG_{}", "zoë {}", "a.v{}"),
    "damage": ("", "", "", "empty mask", "other mask", "broken face", "renamed face", "no text"),
}  # fmt: skip
FOUND = {
    "empty mask": "background alone", "other mask": "Give its class order (face-parsing.pytorch)",
    "broken face": "Choose a picture", "renamed face": "face without mask", "no text": "Save it as plain text in UTF-8",
}  # fmt: skip


class Variant(NamedTuple):
    faces: str
    masks: str
    captions: str
    encoding: str
    names: str
    damage: str


def draw(seed: int) -> Variant:
    rng = np.random.default_rng(seed)
    drawn = Variant(*(options[rng.integers(len(options))] for options in OPTIONS.values()))
    in_one_file = not drawn.masks.endswith("_")
    can_be = {"empty mask": in_one_file, "other mask": in_one_file, "no text": drawn.captions in ("text", "beside")}
    return drawn if can_be.get(drawn.damage, True) else drawn._replace(damage="")


def written(root: Path, drawn: Variant) -> dict[str, tuple[str, ...]]:
    """A folder of three faces -> what it teaches, but for the damage."""
    faces, top = root / drawn.faces, root / drawn.faces.rpartition("/")[0]
    texts = {}
    for number in (0, 1, 12):
        name = drawn.names.format(number)
        write(faces, {f"{name}.jpg": "face.jpg"})
        write_masks(top, faces, drawn, name, number)
        texts[name] = f"face {number} at the café"
    write_captions(top, faces, drawn, texts)
    if drawn.damage == "broken face":
        write(faces, {f"{name}.jpg": b"no picture"})
    elif drawn.damage == "renamed face":
        (faces / f"{name}.jpg").rename(faces / "stranger.jpg")
    return {name: (text,) if drawn.captions != "none" else () for name, text in texts.items()}


def write_masks(top: Path, faces: Path, drawn: Variant, name: str, number: int) -> None:
    # One is spelled as another system would.
    name = unicodedata.normalize("NFD", name.upper()) if number == 1 else name
    path = faces / f"{name}_mask.png" if drawn.masks == "beside" else top / drawn.masks.format(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith("_"):
        write_parts(path, 1 if number else 255)
    elif number == 12 and drawn.damage == "other mask":
        write(path.parent, {path.name: "mask-bisenet.png"})
    elif number == 12 and drawn.damage == "empty mask":
        Image.fromarray(true_map() & 0).save(path)
    elif path.suffix == ".bmp":
        Image.fromarray(true_map()).save(path)
    else:
        write_label_map(path, true_map())


def write_captions(top: Path, faces: Path, drawn: Variant, texts: dict[str, str]) -> None:
    if drawn.captions in ("text", "beside"):
        folder = faces if drawn.captions == "beside" else top / "Text"
        files = {f"{name}.txt": text.encode(drawn.encoding) for name, text in texts.items()}
        if drawn.damage == "no text":
            files[f"{next(iter(texts))}.txt"] = b"\0\xff\0\xff\xff"
        write(folder, files)
        return
    table = {f"{faces.name}\\{name}.jpg": text for name, text in texts.items()}
    records = [{"file_name": f"{name}.jpg", "text": text} for name, text in texts.items()]
    contents = {
        "none": "",
        "text.json": json.dumps({name: [text] for name, text in table.items()}, ensure_ascii=False),
        "captions.json": json.dumps({name: {"caption": text} for name, text in table.items()}, ensure_ascii=False),
        "metadata.jsonl": "\n".join(json.dumps(record, ensure_ascii=False) for record in records),
        "metadata.csv": "\n".join(["file_name,caption", *(",".join(record.values()) for record in records)]),
    }
    write(top, {drawn.captions: contents[drawn.captions].encode(drawn.encoding)})


@pytest.mark.parametrize("seed", SEEDS)
def test_every_variant_teaches_what_it_says_or_is_told_of(seed, tmp_path, capsys):
    drawn = draw(seed)
    teaches = written(tmp_path, drawn)
    code = main(["check", str(tmp_path)])
    said = capsys.readouterr()
    assert code == bool(drawn.damage), f"{drawn}: {said.out}{said.err}"
    if drawn.damage:
        assert FOUND[drawn.damage] in said.out, f"{drawn}: {said.out}"
    else:
        assert learned(tmp_path) == teaches, drawn


def test_the_variants_are_of_all_kinds():
    drawn = Counter(value for seed in SEEDS for value in draw(seed))
    assert not [value for options in OPTIONS.values() for value in options if not drawn[value]]
    assert sum(not draw(seed).damage for seed in SEEDS) > 20 < sum(bool(draw(seed).damage) for seed in SEEDS)
