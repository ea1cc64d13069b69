"""All metrics there are, and what they rest on: the features of networks, and the readings of a parser."""

from collections.abc import Sequence
from pathlib import Path

from facemogle.checkpoints import parser_of
from facemogle.evaluation.attributes import attribute_metrics
from facemogle.evaluation.diversity import COLOUR_DIVERSITY, identity_metric, lpips_metric, quality_metric
from facemogle.evaluation.face_networks import EDIFFIQA, SFACE
from facemogle.evaluation.features import FeatureCache
from facemogle.evaluation.label_agreement import label_metrics
from facemogle.evaluation.measuring import chosen
from facemogle.evaluation.metric import Metric, Study
from facemogle.evaluation.networks import cache_folder
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


def open_features(cache: Path | None, networks: Path | None, device: str | None, *, download: bool) -> FeatureCache:
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return FeatureCache(cache, networks=networks, download=download, device=device)


def open_reader(parser: str | None, study: Study, cache: Path | None, device: str | None) -> Reader:
    """parser: for load_parser; None: that of the checkpoint which drew the first picture, else the best for photos."""
    name = parser or _parser_for(study) or default_parser()

    def load() -> Parse:
        network = load_parser(name, device=device)
        return lambda picture: network.parse([picture])[0]

    return Reader(load, _identity(name), cache or cache_folder())


def _identity(name: str) -> str:
    """A parser's name and the sha256 of its weights; CheckpointError comes when it is loaded."""
    source = PARSERS.get(name, Path(name).expanduser())
    if isinstance(source, Published):
        return f"{name} {source.sha256}"
    files = sorted(path for path in source.glob("*") if path.suffix in (".safetensors", ".json"))
    return " ".join([name, *(digest_of(path).hex() for path in files if path.name != "evaluation.json")])


def _parser_for(study: Study) -> str | None:
    try:
        settings = read_settings(study.pictures[0].path)
    except (ValueError, OSError):
        return None
    return parser_of(settings.checkpoint) if settings else None
