"""Jobs: one picture each, read from a list or a data folder, and checked whole before the first is made.

A list is JSON lines, CSV, TSV or Parquet, with a row for each job; FIELDS says what may stand in one. Label maps' paths
are taken from the list's folder.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from facemogle.batch.label_maps import MapFile, map_at, read_all
from facemogle.batch.model import Survey
from facemogle.batch.rows import read_rows, values_of
from facemogle.class_orders import ClassOrder
from facemogle.data.names import name_of
from facemogle.data.pairs import find_pairs
from facemogle.gating import EXPERTS
from facemogle.masks import whole_tokens
from facemogle.picture_files import MAX_SEED, Settings
from facemogle.setting_ranges import require_sane

CONDITIONS = {(True, True): "text and label map", (True, False): "text", (False, True): "label map"}
LONGEST_NAME = 200
# To check jobs by, until the checkpoint tells its own.
_FLUXES = {"height": 512, "width": 512, "num_inference_steps": 28, "guidance_scale": 3.5}


@dataclass(frozen=True, eq=False)
class Job:
    """One picture. settings: all but the label map, which is read where the picture is made.

    number: of its row or line, from 1. name: of its file in the folder of the results, without ending. face, group,
    caption: what an evaluation looks at, whether it was drawn from or not, as is label_map; guided: by that map.
    open: fields of the settings that nobody gave, which are the checkpoint's. digest: of all that the picture's bytes
    depend on.
    """

    number: int
    name: str
    face: str
    settings: Settings
    group: str | None = None
    caption: str | None = None
    label_map: MapFile | None = None
    guided: bool = False
    open: frozenset[str] = frozenset()
    digest: str = ""

    def digested(self, identity: str, loras: Mapping[str, str]) -> "Job":
        """identity: what else the picture's bytes depend on. loras: what tells each file from others."""
        drawn = {name: value for name, value in vars(self.settings).items() if name != "label_map"}
        drawn["loras"] = {loras[file]: scale for file, scale in (self.settings.loras or {}).items()}
        drawn["label_map"] = self.label_map.digest if self.guided and self.label_map is not None else None
        digest = hashlib.sha256(json.dumps([drawn, identity], sort_keys=True).encode()).hexdigest()
        return replace(self, digest=digest)

    def whole_settings(self) -> Settings:
        """With the label map. ValueError where it cannot be read, or is not what it was when the job was checked."""
        if self.label_map is None or not self.guided:
            return self.settings
        return replace(self.settings, label_map=self.label_map.read_again())

    def described(self) -> dict[str, Any]:
        """Its columns of the manifest."""
        settings = self.settings
        return {
            "number": self.number,
            "face": self.face,
            "seed": settings.seed,
            "group": self.group,
            "caption": self.caption,
            "label_map": self.label_map and self.label_map.path,
            "conditions": CONDITIONS.get((bool(settings.prompt), self.guided), "none"),
            "prompt": settings.prompt,
            "num_inference_steps": settings.num_inference_steps,
            "guidance_scale": settings.guidance_scale,
            "condition_scale": settings.condition_scale,
            "height": settings.height,
            "width": settings.width,
            "expert_scale": settings.expert_scale and json.dumps(settings.expert_scale, sort_keys=True),
            "loras": settings.loras and json.dumps(settings.loras, sort_keys=True),
            "checkpoint": settings.checkpoint,
        }


class JobErrors(ValueError):
    """Jobs that cannot be made: `messages` has a sentence on each, with its row."""

    def __init__(self, messages: Sequence[str]):
        super().__init__(" ".join(messages))
        self.messages = messages


@dataclass(frozen=True)
class Source:
    """Where jobs are from, and what all of them share.

    place: a list or a data folder. seeds: each job once for each of so many seeds, upwards from its own. without: a
    condition that no picture is drawn from, "prompt" or "label-map". ids: of a data folder, these faces alone.
    """

    place: str
    seeds: int = 1
    without: str | None = None
    ids: tuple[str, ...] | None = None
    classes: ClassOrder | None = None


def read_jobs(source: Source, given: Mapping[str, Any]) -> tuple[list[Job], list[str]]:
    """-> all jobs, each name once, for `finish`; and what looks wrong with label maps.

    given: fields of Settings for what a job leaves open. What these do, too, is the checkpoint's.
    JobErrors; ValueError where the source itself cannot be read, OSError.
    """
    is_data = Path(source.place).is_dir()
    jobs: list[Job] = []
    errors: list[tuple[int, str]] = []
    for number, record in _of_data(source) if is_data else read_rows(source.place):
        try:
            jobs += _jobs_of(number, record if is_data else values_of(record), source, given)
        except ValueError as error:
            errors.append((number, str(error)))
    maps, broken, doubts = read_all({job.label_map for job in jobs if job.label_map is not None})
    first = {job.label_map: job.number for job in reversed(jobs)}
    errors += [(first[file], why) for file, why in broken.items()]
    jobs = _named([replace(job, label_map=job.label_map and maps.get(job.label_map)) for job in jobs])
    if not errors:
        errors += _clashes(jobs)
    if errors:
        raise _told(errors, source)
    if not jobs:
        raise ValueError(f"{source.place} holds no jobs.")
    return jobs, doubts


def finish(jobs: Sequence[Job], source: Source, survey: Survey, identity: str) -> list[Job]:
    """With the checkpoint's own settings, the sizes that it draws, and digests. JobErrors.

    identity: what else the pictures' bytes depend on.
    """
    whole = cache(partial(whole_tokens, pixels_per_token=survey.pixels_per_token))  # tells of each size once
    finished: list[Job] = []
    first = {file: job.number for job in reversed(jobs) for file in job.settings.loras or ()}
    errors = [(number, survey.unfound[file]) for file, number in first.items() if file in survey.unfound]
    for job in jobs:
        settings = replace(job.settings, **{name: survey.defaults[name] for name in job.open})
        try:
            height, width = whole(settings.height, settings.width)
        except ValueError as error:
            errors.append((job.number, str(error)))
        else:
            finished.append(replace(job, settings=replace(settings, height=height, width=width)))
    if errors:
        raise _told(errors, source)
    return [job.digested(identity, survey.loras) for job in finished]


def _told(errors: Collection[tuple[int, str]], source: Source) -> JobErrors:
    """errors: by the numbers of their jobs."""
    is_data = Path(source.place).is_dir()
    what = "face" if is_data else "row" if source.place.lower().endswith(".parquet") else "line"
    return JobErrors([f"{source.place}, {what} {number}: {why}" for number, why in sorted(set(errors))])


def _of_data(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, pair in enumerate(find_pairs(Path(source.place), ids=source.ids), 1):
        parts = tuple((os.path.abspath(path), part) for path, part in zip(pair.masks, pair.parts, strict=False))
        shown = os.path.abspath(pair.masks[0].parent / pair.name if parts else pair.masks[0])
        values: dict[str, Any] = {"face": pair.name, "label_map": MapFile(shown, parts)}
        yield number, values | ({"caption": pair.captions[0]} if pair.captions else {})


def _jobs_of(number: int, values: Mapping[str, Any], source: Source, given: Mapping[str, Any]) -> Iterator[Job]:
    caption = values.get("caption", values.get("prompt"))
    prompt = values.get("prompt", caption)
    place = values.get("label_map")
    file = map_at(place, source.place) if isinstance(place, str) else place
    if file is not None:
        file = replace(file, classes=source.classes)
    own = {name: value for name, value in values.items() if name in Settings.__dataclass_fields__}
    told = {name: value for name, value in given.items() if value is not None} | own
    settings = _FLUXES | {"seed": 0, "condition_scale": 1.0} | told
    settings["prompt"] = "" if source.without == "prompt" else prompt or ""
    for name in ("expert_scale", "loras"):
        settings[name] = (given.get(name) or {}) | values.get(name, {}) or None
    settings["loras"] = {file: scale for file, scale in (settings["loras"] or {}).items() if scale} or None
    require_sane({name: settings[name] for name in ("num_inference_steps", "guidance_scale", "height", "width")})
    first = Settings(**settings | {"label_map": None})
    if first.expert_scale and not any(first.expert_scale.get(name, 1) for name in EXPERTS):
        raise ValueError("expert_scale mutes all experts. Leave one a factor above 0.")
    face = name_of(values.get("face") or (os.path.basename(file.path) if file is not None else f"{number:06}"))
    name = name_of(values.get("name", face))
    _check_name(name)
    for index in range(source.seeds):
        yield Job(
            number=number,
            name=name,
            face=face,
            settings=replace(first, seed=(first.seed + index) % (MAX_SEED + 1)),
            group=values.get("group"),
            caption=caption,
            label_map=file,
            guided=file is not None and source.without != "label-map",
            open=frozenset(_FLUXES.keys() - told.keys()),
        )


def _check_name(name: str) -> None:
    parts = name.split("/")
    if not all(parts) or any(part.startswith(".") for part in parts) or "\\" in name or not name.isprintable():
        raise ValueError(f"{name!r} cannot be a picture's name: it is a path within the results, without ending.")
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"a picture's name has at most {LONGEST_NAME} bytes, got {name[:40]!r}...")


def _named(jobs: Sequence[Job]) -> list[Job]:
    """Where a name comes again, which several seeds make, all lie in folders of their seeds: seed8/NAME."""
    if all(count == 1 for count in Counter(job.name for job in jobs).values()):
        return list(jobs)
    return [replace(job, name=f"seed{job.settings.seed}/{job.name}") for job in jobs]


def _clashes(jobs: Collection[Job]) -> Iterator[tuple[int, str]]:
    """On disks that know no case, A and a are one name."""
    seen: dict[str, Job] = {}
    for job in jobs:
        other = seen.setdefault(job.name.casefold(), job)
        if other is not job:
            yield (
                job.number,
                f"its picture {job.name} is that of {other.number}, too. Give jobs that share a face and a seed "
                "a `name` of their own.",
            )
