"""All metrics there are, and what they rest on: the features of networks, and the readings of a parser."""

from collections.abc import Sequence
from pathlib import Path

from facemogle.checkpoints import parser_of
from facemogle.evaluation.attributes import attribute_metrics
from facemogle.evaluation.diversity import COLOUR_DIVERSITY, identity_metric, lpips_metric, quality_metric
from facemogle.evaluation.face_networks import EDIFFIQA, SFACE
from facemogle.evaluation.label_agreement import label_metrics
from facemogle.evaluation.measuring import chosen
from facemogle.evaluation.metric import Metric, Study
from facemogle.evaluation.perceptual import LPIPS
from facemogle.evaluation.published import METRICS
from facemogle.evaluation.readings import Parse, Reader, digest_of
from facemogle.parser_checkpoints import PARSERS, Published, default_parser, load_parser
from facemogle.picture_files import read_settings


def metrics_of(study: Study, reader: Reader, names: Sequence[str] | None = None) -> list[Metric]:
    """names: those to take; ValueError where one is unknown."""
    found = (
        *METRICS, *label_metrics(reader), *attribute_metrics(reader, study), quality_metric(EDIFFIQA),
        lpips_metric(LPIPS), identity_metric(SFACE), COLOUR_DIVERSITY,
    )  # fmt: skip
    return chosen(found, names)


def require_known(names: Sequence[str] | None, parser: str | None) -> None:
    """ValueError where no metric or no parser is called so: told before hours of drawing and reading."""
    metrics_of(Study(()), Reader(lambda: load_parser("mini"), "mini", "", None), names)
    if parser is not None and parser not in PARSERS and not Path(parser).expanduser().is_dir():
        raise ValueError(f"There is no parser {parser}: it is no folder, and known are {', '.join(PARSERS)}.")


def open_reader(parser: str | None, study: Study, cache: Path, device: str) -> tuple[Reader, list[str]]:
    """parser: for load_parser; None: that of the checkpoint which drew the first picture, else the best for photos.

    -> the reader, and what a person should know of the choice.
    """
    own = _parser_for(study)
    name = parser or own or default_parser()

    def load() -> Parse:
        network = load_parser(name, device=device)
        return lambda picture: network.parse([picture])[0]

    doubts = []
    if name == "mini" and own != "mini":
        doubts.append(
            "Label maps are read by the bundled parser, which is made for portraits that mini draws and often wrong on "
            "photographs: for these give --parser segface or farl."
        )
    return Reader(load, name, _digest(name), cache), doubts


def _digest(name: str) -> str:
    """The sha256 of a parser's weights. Where they are missing, that is told when they are loaded."""
    source = PARSERS.get(name, Path(name).expanduser())
    if isinstance(source, Published):
        return source.sha256
    return " ".join(digest_of(path).hex() for path in sorted(source.glob("*.safetensors")))


def _parser_for(study: Study) -> str | None:
    try:
        settings = read_settings(study.pictures[0].path)
    except (ValueError, OSError):
        return None
    return parser_of(settings.checkpoint) if settings else None
