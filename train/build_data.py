"""`python -m train.data build PHOTOS --out DATA`: from photos to a data set, as the paper made its own.

In every photo the faces are found and cut out as FFHQ's are, and two parsers read each. Where they agree, on 0.8 of the
pixels or more, one of them is taken at random, 9 in 10 times the first; else the face goes on a list, and a person
corrects the first one's map: `python app.py --correct DATA`. So it does with one whose map is taken, but looks wrong to
`train.data check`. What cannot be used is left out, by name and with the reason.

All follows from the files of the photos and the settings: a run that was killed goes on, a face that is done is not
done again, and the end is the same to the last bit. facemogle/data/face_set.py tells what lies where. H, W: pixels.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from facemogle.class_orders import class_order
from facemogle.data.face_set import FOLDERS, IN_SET, LEFT_OUT, OPEN, TAKEN, FaceRecord, FaceSet, PhotoRecord, name_for
from facemogle.data.names import IMAGE_SUFFIXES
from facemogle.data.walk import Walk
from facemogle.folders import own_folder
from facemogle.labels import mirror
from facemogle.overlap import confusion, overall_agreement
from facemogle.parsing.alignment import Face, Frame, find_faces, frame_face
from facemogle.parsing.parse import FaceParser, parse_frame
from facemogle.parsing.photos import read_photo
from facemogle.plausibility import doubts
from facemogle.whole_files import sha256_of, whole_file
from train.captioning import Captioner, captioner_here, load_captioner
from train.photo_facts import Facts, find_table, read_facts
from train.seeds import number_of

SETTINGS = "build.json"
MIRRORED = ":mirrored"
_LOOKED_AT = 256  # pixels a side, for sharpness


@dataclass(frozen=True)
class BuildSettings:
    """What makes a set, besides the photos.

    parsers: two names, of load_parser, with or without MIRRORED behind; agreement: overall, from which on one of them
    is taken; first: how often that is the first; min_side: of the crop, in the photo's pixels; min_sharpness: see
    `sharpness`; max_outside: share of the crop that may lie beyond the photo.
    """

    parsers: tuple[str, str] = ("segface", "farl")
    agreement: float = 0.8
    first: float = 0.9
    seed: int = 0
    min_side: int = 256
    min_sharpness: float = 10.0
    max_outside: float = 0.15

    def __post_init__(self):
        if len(self.parsers) != 2 or self.parsers[0] == self.parsers[1]:
            raise ValueError(f"Two parsers read every face, got {' '.join(self.parsers)}. Name two that differ.")
        for name in ("agreement", "first", "max_outside"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, such as 0.8 for 80%, got {share:g}.")
        if not (self.min_side >= 0 and self.min_sharpness >= 0):  # as NaN is not
            raise ValueError(f"min_side and min_sharpness are from 0, got {self.min_side} and {self.min_sharpness:g}.")


def takes_first(name: str, *, seed: int, share: float) -> bool:
    """Whether a face's map is the first parser's: by its name alone, whatever is read before it."""
    return number_of(seed, "parser", name) < share * 2**63


def sharpness(crop: np.ndarray) -> float:
    """(H, W, 3) uint8 -> the variance of the Laplacian of its grey levels, 0..255, in the middle, at 256 pixels a side.

    Portraits drawn here have 90 to 660, their crops of 512 blurred with a sigma of 4 pixels 8, with 8 pixels 3.
    """
    grey = cv2.cvtColor(cv2.resize(crop, (_LOOKED_AT, _LOOKED_AT), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    border = _LOOKED_AT // 8
    return float(cv2.Laplacian(grey, cv2.CV_64F)[border:-border, border:-border].var())


def outside(frame: Frame, photo: np.ndarray) -> float:
    """The share of a crop that lies beyond the photo (., ., 3), where it only repeats the last pixels."""
    corners = np.array([(0, 0, 1), (frame.width, 0, 1), (frame.width, frame.height, 1), (0, frame.height, 1)])
    quad = (corners @ frame.to_photo.T).astype(np.float32)
    height, width = photo.shape[:2]
    border = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    inside, _ = cv2.intersectConvexConvex(quad, border)
    return max(0.0, 1 - inside / cv2.contourArea(quad))


class Mirrored:
    """A parser that reads every picture in the mirror: a second opinion where there is one parser alone."""

    def __init__(self, parser: FaceParser):
        self.parser = parser

    def probabilities(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        seen = self.parser.probabilities([np.ascontiguousarray(picture[:, ::-1]) for picture in pictures])
        sides = mirror(np.arange(len(seen[0]), dtype=np.uint8)[:, None])[:, 0]
        return [np.ascontiguousarray(each[sides][:, :, ::-1]) for each in seen]


def build(
    photos: Path,
    out: Path,
    settings: BuildSettings,
    *,
    table: Path | None = None,
    load: Callable[[str], FaceParser],
    caption: Captioner | None = None,
) -> FaceSet:
    """Make the set, or go on with it. `load` is asked for each of the two parsers when the first face needs them.

    ValueError where there is no photo, a table cannot be understood, or the set was begun with other settings; OSError
    where the folder cannot be written to, or another process has it.
    """
    if not photos.is_dir():
        raise ValueError(f"There is no folder {photos}.")
    _require_own(out, photos)
    sets = (file.parent for file in photos.rglob(SETTINGS))  # whose faces are of photos that are here, too
    walk = Walk(photos, IMAGE_SUFFIXES, skipped=(out, *sets))
    paths = {path.relative_to(photos).as_posix(): path for path in walk}
    if not paths:
        raise ValueError(f"No picture is in {photos}: no name ends in one of {' '.join(IMAGE_SUFFIXES)}.")
    facts = read_facts(photos, list(paths), table or find_table(photos))
    with own_folder(out, *FOLDERS):
        faces = FaceSet(out)
        _require_settings(out, settings, has_faces=any(True for _ in faces.faces()))
        faces.settle()
        builder = _Builder(faces, settings, load, caption)
        try:
            for photo, path in tqdm(paths.items(), unit="photo", disable=None):
                builder.take(photo, path, facts[photo], paths)
        finally:
            faces.write_lists()
    return faces


def _require_own(out: Path, photos: Path) -> None:
    """ValueError where the set would lie among the photos, or among files of others, some of which it would replace."""
    if photos.resolve() in (own := out.resolve(), *(own / folder for folder in FOLDERS)):
        raise ValueError(f"{out} would hold photos and the faces made of them. Choose another --out.")
    if out.is_dir() and not (out / SETTINGS).exists():
        holding_photos = (photos.resolve(), *photos.resolve().parents)
        others = [path for path in sorted(out.iterdir()) if not path.name.startswith(".")]
        if others := [path for path in others if path.resolve() not in holding_photos]:
            raise ValueError(
                f"{out} is no data set of `python -m train.data build`, and holds {others[0].name}. Choose another "
                "--out, or move that away."
            )


def _require_settings(out: Path, settings: BuildSettings, *, has_faces: bool) -> None:
    """has_faces: whether some were made with the settings there already."""
    file = out / SETTINGS
    asked = json.loads(json.dumps(asdict(settings)))
    if not has_faces or not file.exists():
        with whole_file(file) as part:
            part.write_text(json.dumps(asked, indent=1) + "\n", "utf-8")
    begun = json.loads(file.read_text("utf-8"))
    if others := [f"{name} {begun.get(name)}" for name in asked if begun.get(name) != asked[name]]:
        raise ValueError(f"{out} was begun with {', '.join(others)}. Ask for the same, or choose another --out.")


class _Builder:
    def __init__(self, faces: FaceSet, settings: BuildSettings, load: Callable[[str], FaceParser], caption: Any):
        self.faces, self.settings, self.load, self.caption = faces, settings, load, caption
        self.parsers: list[FaceParser] = []
        self.by_hash = {photo.sha256: photo for photo in faces.photos.values()}

    def take(self, photo: str, path: Path, facts: Facts, paths: Mapping[str, Path]) -> None:
        """A photo: read, or named as another's duplicate; of one that is done, what people know of it and captions."""
        try:
            sha256 = sha256_of(path)
        except OSError as error:
            raise OSError(f"{path} cannot be read: {error}. Make it readable, or move it away.") from error
        known = self.by_hash.get(sha256)
        if known is None:
            record = PhotoRecord(name_for(photo, sha256), photo, sha256, *facts[:3])
            record = self._read(record, path, facts.caption)
        elif known.photo != photo and known.photo in paths:
            record = replace(known, duplicates=sorted({*known.duplicates, photo}))
        else:
            record = self._again(
                replace(known, licence=facts.licence, source=facts.source, author=facts.author), facts.caption
            )
        if record != self.faces.photos.get(record.name):
            self.faces.record(record)
        self.by_hash[sha256] = record

    def _again(self, record: PhotoRecord, text: str) -> PhotoRecord:
        faces = list(record.faces)
        for place, face in enumerate(faces):
            if face.state in (*IN_SET, OPEN) and not (face.text or face.saves) and (text or self.caption):
                crop = np.asarray(self.faces.crop(face.name))
                faces[place] = replace(face, text=self._caption(crop, text, record.faces))
        return replace(record, faces=faces)

    def _caption(self, crop: np.ndarray, text: str, faces: Sequence[Any]) -> str:
        """The photo's own where it is of one face, else the model's."""
        if text and len(faces) == 1:
            return text
        return self.caption(crop) if self.caption else ""

    def _read(self, record: PhotoRecord, path: Path, text: str) -> PhotoRecord:
        try:
            photo = read_photo(path)
            found = find_faces(photo)
        except (ValueError, OSError) as error:
            found, photo, why = [], None, str(error)
        else:
            why = "" if found else "no face was found, nor on its side"
        if photo is None or not found:
            record = replace(record, why=why)
            self.faces.add(record, {}, {})
            return record
        records: list[FaceRecord] = []
        crops: dict[str, np.ndarray] = {}
        maps: dict[str, Sequence[np.ndarray]] = {}
        for number, face in enumerate(found, start=1):
            name = record.name if number == 1 else f"{record.name}-{number}"
            read, crop, label_maps = self._read_face(name, photo, face)
            if label_maps:
                crops[name], maps[name] = crop, label_maps
                read = replace(read, text=self._caption(crop, text, found))
            records.append(read)
        record = replace(record, faces=records)
        self.faces.add(record, crops, maps)
        return record

    def _read_face(self, name: str, photo: np.ndarray, face: Face) -> tuple[FaceRecord, np.ndarray, list[np.ndarray]]:
        """-> what became of it, its crop, and the label maps that it has: one, or both for a person to look at."""
        frame = frame_face(photo, face)
        crop = frame.crop(photo)
        side = min(frame.width, frame.height) * float(np.sqrt(abs(np.linalg.det(frame.to_photo[:, :2]))))
        record = FaceRecord(
            name,
            LEFT_OUT,
            box=face.box.round(1).tolist(),
            to_photo=frame.to_photo.round(4).tolist(),
            side=round(side, 1),
            sharpness=round(sharpness(crop), 1),
        )
        if why := self._unfit(record, outside(frame, photo)):
            return replace(record, why=why), crop, []
        if not self.parsers:
            self.parsers = [self.load(parser) for parser in self.settings.parsers]
        first, second = (parse_frame(parser, photo, frame).label_map for parser in self.parsers)
        agreement = overall_agreement(confusion(second, first))
        record = replace(record, agreement=round(agreement, 4))
        is_first = takes_first(name, seed=self.settings.seed, share=self.settings.first)
        taken = first if is_first else second
        strange = doubts(taken, class_order(None))
        if agreement >= self.settings.agreement and not strange:
            return replace(record, state=TAKEN, parser=self.settings.parsers[not is_first]), crop, [taken]
        why = str(strange[0]) if strange else ""
        if agreement < self.settings.agreement:
            why = f"The parsers agree on {agreement:.0%} of the pixels."
        return replace(record, state=OPEN, why=why), crop, [first, second]

    def _unfit(self, record: FaceRecord, share: float) -> str:
        wanted = self.settings
        if record.side < wanted.min_side:
            return f"too small: its crop is {record.side:.0f} pixels wide, of {wanted.min_side} wanted"
        if share > wanted.max_outside:
            return f"cut off: {share:.0%} of its crop lies beyond the photo, of {wanted.max_outside:.0%} allowed"
        if record.sharpness < wanted.min_sharpness:
            return f"too blurred: its sharpness is {record.sharpness}, of {wanted.min_sharpness:g} wanted"
        return ""


def summary(faces: FaceSet, out: Path) -> Iterator[str]:
    """Whatever was left out, then a table, then what is to be done."""
    left_out = [json.loads(line) for line in (out / "left-out.jsonl").read_text("utf-8").splitlines()]
    for line in left_out:
        yield f"{line['photo']}{', face {face}'.format(face=line['face']) if 'face' in line else ''}: {line['why']}"
    kept = [(photo, face) for photo in faces.photos.values() for face in photo.faces if face.state in IN_SET]
    states = Counter(face.state for face in faces.faces())
    rows = [("photos", len(faces.photos)), ("faces", sum(states.values())), *sorted(states.items())]
    rows += [(f"map of {parser}", count) for parser, count in Counter(face.parser for _, face in kept).most_common()]
    rows += [("without a licence", sum(not photo.licence for photo, _ in kept))]
    without = sum(not face.text for _, face in kept)
    rows += [("without a caption", without)]
    yield ""
    yield from (f"{name:<28}{count}" for name, count in rows)
    if states[OPEN] or without:
        yield f"\nTo correct maps and write captions: python app.py --correct {out}"
    yield f"To look it over: python -m train.data check {out}"


def add_build(commands: Any) -> None:
    command = commands.add_parser("build", help="make a data set of a folder of photos", description=__doc__)
    add, default = command.add_argument, BuildSettings()
    add("photos", type=Path, metavar="PHOTOS", help="a folder of photos, with folders in it or without")
    add("--out", type=Path, required=True, metavar="DATA", help="the data set; what is done there is not done again")
    add("--parsers", nargs=2, default=default.parsers, metavar="NAME", help="two of those that `python -m facemogle "
        f"parse` knows, by name or folder; {MIRRORED} behind one: in the mirror (default: segface farl)")  # fmt: skip
    add("--agreement", type=float, default=default.agreement, metavar="SHARE", help="of the pixels, from which on a "
        "map is taken without a person (default: 0.8)")  # fmt: skip
    add("--seed", type=int, default=default.seed, help="of the choice between the two maps (default: 0)")
    add("--table", type=Path, metavar="FILE", help="CSV, JSON lines or JSON with the columns file, licence, source, "
        "author, caption (default: photos.* or licences.* in PHOTOS)")  # fmt: skip
    add("--captioner", metavar="NAME", help="a captioning model for transformers, on the Hub or in a folder, or none "
        "(default: the first of those in train/captioning.py that is on the disk)")  # fmt: skip
    add("--min-side", type=int, default=default.min_side, help="pixels of the crop in the photo (default: 256)")
    add("--min-sharpness", type=float, default=default.min_sharpness, help="below it a face is blurred (default: 10)")
    add("--max-outside", type=float, default=default.max_outside, help="share of the crop that may lie beyond the "
        "photo (default: 0.15)")  # fmt: skip
    add("--device", default="cpu", help="of the parsers and the captioner: cpu, cuda, ... (default: cpu)")
    command.set_defaults(run=run_build)


def run_build(arguments: argparse.Namespace) -> int:
    """-> the exit code."""
    from facemogle.parser_checkpoints import load_parser

    def load(name: str) -> FaceParser:
        parser = load_parser(name.removesuffix(MIRRORED), device=arguments.device)
        return Mirrored(parser) if name.endswith(MIRRORED) else parser

    settings = BuildSettings(
        tuple(arguments.parsers),
        agreement=arguments.agreement,
        seed=arguments.seed,
        min_side=arguments.min_side,
        min_sharpness=arguments.min_sharpness,
        max_outside=arguments.max_outside,
    )
    captioner = arguments.captioner or captioner_here()
    captioner = None if captioner == "none" else captioner
    print(f"Captions: {captioner or 'those of the table, else by hand'}.", file=sys.stderr)
    caption = load_captioner(captioner, device=arguments.device) if captioner else None
    faces = build(arguments.photos, arguments.out, settings, table=arguments.table, load=load, caption=caption)
    print(*summary(faces, arguments.out), sep="\n")
    return 0
