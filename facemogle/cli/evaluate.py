"""`python -m facemogle evaluate`: how good a folder of pictures is, beside the real faces that it was to be like."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from facemogle.cli.arguments import CLASSES_HELP, add_command, classes, device
from facemogle.folders import own_folder
from facemogle.whole_files import whole_file

_EPILOG = """\
RESULTS is the folder of a batch, or any folder of pictures; DATA holds the real faces, with label maps and captions
where there are any, in the layouts of train/README.md. A picture belongs to the face of its name: 7.png, 7-0.png and
7-1.png (two seeds), seed1/7.png to 7.jpg. The figures of the paper come first, as its code computes them; each metric
that cannot be measured is named with the reason, and the others go on. `evaluation.json` and `evaluation.html`, a page
by itself, are written to --out. A second run reads what the first one has computed.

examples:
  a folder:          python -m facemogle evaluate results --real data/mmcelebahq --ids test.txt
  without networks:  python -m facemogle evaluate results --real data/mmcelebahq --metrics accuracy,miou,words
  by group:          python -m facemogle evaluate results --real data/mmfairfacehq --groups labels.csv --group-by race
  the authors' own:  python -m facemogle evaluate --as-published --real data/mmcelebahq
"""
_PARSER_HELP = (
    "who reads label maps in the pictures: mini, segface, farl, segformer or a folder (default: the best here)"
)
_GROUPS_HELP = "a table of the faces' groups (default: DATA's groups.csv, or the folders that its faces lie in)"
_PUBLISHED_HELP = "the authors' own result pictures, from the Hub, by the settings of the paper's tables"


def add_evaluate(commands) -> None:
    summary = "how good a folder of pictures is: FID and the paper's other metrics, label maps, captions, groups"
    add = add_command(commands, "evaluate", run_evaluate, summary, _EPILOG).add_argument
    add("results", type=Path, nargs="?", metavar="RESULTS", help="the folder of pictures")
    add("--real", type=Path, required=True, metavar="DATA", help="the folder of real faces, label maps and captions")
    add("--ids", type=Path, metavar="FILE", help="the faces to count, a name a line (default: all of DATA)")
    add("--metrics", type=_names, metavar="NAMES", help="as fid,kid,accuracy (default: all)")
    add("--parser", metavar="NAME", help=_PARSER_HELP)
    add("--classes", type=classes, metavar="NAME", help=CLASSES_HELP)
    add("--groups", type=Path, metavar="FILE", help=_GROUPS_HELP)
    add("--group-by", default="group", metavar="COLUMNS", help="of that table, one or more (default: group)")
    add("--networks", type=Path, metavar="FOLDER", help="where networks lie that were downloaded by hand")
    add("--no-download", action="store_true", help="take only networks that are on this disk")
    add("--as-published", action="store_true", help=_PUBLISHED_HELP)
    add("--out", type=Path, metavar="FOLDER", help="of the page and the JSON (default: RESULTS-evaluation)")
    add("--cache", type=Path, metavar="FOLDER", help="of what was computed (default: the user's cache)")
    add("--device", type=device, help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def run_evaluate(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    results, ids, names = arguments.results, arguments.ids, arguments.metrics
    from facemogle.data.pairs import read_ids
    from facemogle.evaluation.matching import look, match
    from facemogle.evaluation.measuring import ORDER, evaluate
    from facemogle.evaluation.networks import cache_folder
    from facemogle.evaluation.published_pictures import published_pictures

    id_list = read_ids(ids) if ids is not None else None
    if arguments.as_published:
        results = results if results is not None and results.is_dir() else published_pictures(
            str(results or "face-mogle")
        )  # fmt: skip
        id_list, names = id_list or _test_ids(arguments.real), names or list(ORDER)
    if results is None:
        raise ValueError("RESULTS is missing: name the folder of the pictures, or give --as-published.")
    for folder in (results, arguments.real):
        if not folder.is_dir():
            raise ValueError(f"There is no folder {folder}.")
    matched = match(
        results,
        arguments.real,
        ids=id_list,
        classes=arguments.classes,
        groups=arguments.groups,
        group_by=arguments.group_by,
        unpacked=(arguments.cache or cache_folder()) / "shards",
    )
    problems, notes = look(matched.study)
    notes = [*matched.notes, *notes]
    for note in notes:
        print(note, file=sys.stderr)

    from facemogle.evaluation.label_agreement import by_class, looks_mismatched
    from facemogle.evaluation.metrics import metrics_of, open_features, open_reader
    from facemogle.evaluation.page import page
    from facemogle.evaluation.tables import as_json, table, versions

    out = arguments.out or results.resolve().with_name(f"{results.resolve().name}-evaluation")
    with own_folder(out):
        reader = open_reader(arguments.parser, matched.study, arguments.cache, arguments.device)
        features = open_features(
            arguments.cache, arguments.networks, arguments.device, download=not arguments.no_download
        )
        evaluation = evaluate(
            matched.study,
            lambda study: metrics_of(study, reader, names),
            features,
            by_class=(lambda study: by_class(reader, study)) if _asks(names, "accuracy", "miou") else None,
            problems=problems,
        )
        if evaluation.classes and looks_mismatched(reader, evaluation.study):
            notes.append(
                "The pictures agree no better with their own label maps than with those of other faces: do their names "
                "stand for the same faces as in DATA?"
            )
            print(notes[-1], file=sys.stderr)
        for path, why in evaluation.problems.items():
            print(f"{path} is left out: {why}", file=sys.stderr)
        settings = {
            "results": str(results),
            "real": str(arguments.real),
            "faces": str(ids) if ids else "the paper's test faces" if arguments.as_published and id_list else "all",
            "parser": reader.identity,
            "networks in": str(arguments.networks or "the usual caches"),
            "device": str(arguments.device or "the best here"),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1),
        }
        about: dict[str, Any] = {"settings": settings, "counts": matched.counts, "notes": notes}
        found = as_json(evaluation, about, features.files_of)
        with whole_file(out / "evaluation.json") as part:
            part.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        html = page(
            evaluation,
            title=results.resolve().name,
            notes=notes,
            about=settings | {"parser": reader.name} | matched.counts | versions(),
            parse=reader.parse if evaluation.classes else None,
        )
        with whole_file(out / "evaluation.html") as part:
            part.write_text(html, "utf-8")
    print(*table(evaluation), sep="\n")
    print(out / "evaluation.html", out / "evaluation.json", sep="\n")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _asks(names: Sequence[str] | None, *wanted: str) -> bool:
    return names is None or not set(names).isdisjoint(wanted)


def _test_ids(data: Path) -> list[str] | None:
    """The paper's test faces, where DATA has them: in a folder of the test faces alone all count."""
    from facemogle.data.layout import find_files
    from facemogle.evaluation.published_pictures import TEST_IDS

    names = find_files(data, without_masks=True).names
    return list(TEST_IDS) if all(names.find(name) for name in TEST_IDS) else None
