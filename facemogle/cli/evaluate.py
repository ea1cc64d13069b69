"""`python -m facemogle evaluate`: how good a folder of pictures is, beside the real faces that it was to be like."""

import argparse
import json
import sys
import time
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
    add("--metrics", type=metric_names, metavar="NAMES", help="as fid,kid,accuracy (default: all)")
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


def run_evaluate(arguments: argparse.Namespace) -> int:
    """-> the exit code: 1 where nothing could be measured."""
    started = time.monotonic()
    from facemogle.evaluation.matching import look, match
    from facemogle.evaluation.networks import cache_folder

    results, ids, names = _asked(arguments)
    cache = arguments.cache or cache_folder()
    matched = match(
        results,
        arguments.real,
        ids=ids,
        classes=arguments.classes,
        groups=arguments.groups,
        group_by=arguments.group_by,
        unpacked=cache / "shards",
    )
    problems, notes = look(matched.study)
    notes = [*matched.notes, *notes]
    print(*notes, sep="\n", end="\n" if notes else "", file=sys.stderr)

    import torch

    from facemogle.evaluation.features import FeatureCache
    from facemogle.evaluation.label_agreement import by_class, mismatch
    from facemogle.evaluation.measuring import evaluate
    from facemogle.evaluation.metrics import metrics_of, open_reader
    from facemogle.evaluation.page import page
    from facemogle.evaluation.tables import as_json, table, versions

    place = Path(results.name) if arguments.as_published else results.resolve()
    out = arguments.out or place.with_name(f"{place.name}-evaluation")
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    with own_folder(out):
        reader, doubts = open_reader(arguments.parser, matched.study, cache, device)
        features = FeatureCache(cache, networks=arguments.networks, download=not arguments.no_download, device=device)
        evaluation = evaluate(
            matched.study,
            lambda study: metrics_of(study, reader, names),
            features,
            by_class=lambda study: by_class(reader, study),
            problems=problems,
        )
        if evaluation.classes:
            doubts += mismatch(reader, evaluation.study)
        doubts += [f"{path} is left out: {why}" for path, why in evaluation.problems.items()]
        print(*doubts, sep="\n", end="\n" if doubts else "", file=sys.stderr)
        notes += doubts
        settings = {
            "results": str(results),
            "real": str(arguments.real),
            "ids": str(arguments.ids or ("the paper's test faces" if ids else "all")),
            "parser": reader.name,
            "networks in": str(arguments.networks or "the usual caches"),
            "device": device,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1),
        }
        about: dict[str, Any] = {"settings": settings, "counts": matched.counts, "notes": notes}
        about["parser"] = {"name": reader.name, "sha256": reader.digest}
        found = as_json(evaluation, about, features.files_of)
        with whole_file(out / "evaluation.json") as part:
            part.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        html = page(
            evaluation,
            title=place.name,
            notes=notes,
            about=settings | matched.counts | versions(),
            parse=reader.parse if evaluation.classes else None,
        )
        with whole_file(out / "evaluation.html") as part:
            part.write_text(html, "utf-8")
    print(*table(evaluation), sep="\n")
    print(out / "evaluation.html", out / "evaluation.json", sep="\n")
    return 0 if evaluation.measured() else 1


def _asked(arguments: argparse.Namespace) -> tuple[Path, list[str] | None, list[str] | None]:
    """The folder of pictures, the faces to count (None: all) and the metrics to measure (None: all)."""
    from facemogle.data.pairs import read_ids
    from facemogle.evaluation.measuring import ORDER
    from facemogle.evaluation.metrics import require_known
    from facemogle.evaluation.published_pictures import METHOD, published_pictures

    results, names = arguments.results, arguments.metrics
    ids = None if arguments.ids is None else read_ids(arguments.ids)
    if not arguments.real.is_dir():
        raise ValueError(f"There is no folder {arguments.real}.")
    if arguments.as_published:
        if results is None or not results.is_dir():
            results = published_pictures(METHOD if results is None else results.as_posix())
        ids, names = ids or test_ids(arguments.real), names or list(ORDER)
    require_known(names, arguments.parser)
    if results is None:
        raise ValueError("RESULTS is missing: name the folder of the pictures, or give --as-published.")
    if not results.is_dir():
        raise ValueError(f"There is no folder {results}.")
    return results, ids, names


def metric_names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("names no metric: expected some as fid,kid,accuracy. Leave it out for all")
    return names


def test_ids(data: Path) -> list[str] | None:
    """The paper's test faces, where DATA has them: in a folder of the test faces alone all count."""
    from facemogle.data.layout import find_files
    from facemogle.evaluation.published_pictures import TEST_IDS

    names = find_files(data, without_masks=True).names
    return list(TEST_IDS) if all(names.find(name) for name in TEST_IDS) else None
