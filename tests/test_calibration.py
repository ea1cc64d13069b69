"""Does the small parser know when it errs? Doubts fitted to renderings, and what the hatching then holds."""

import json

import numpy as np
import pytest
import torch

from facemogle.checkpoints import load_parser
from facemogle.parsing.mini import MiniParser, strangeness, temperature
from facemogle.parsing.parse import UNSURE
from train.mini import parser_report
from train.mini.calibration import Renderings, fit_doubts, signs_of
from train.mini.latent_code import to_tensor


@pytest.fixture(scope="module")
def portraits() -> Renderings:
    return Renderings.of(range(50_000_000, 50_000_006), 256)


@pytest.fixture(scope="module")
def hard(portraits) -> Renderings:
    return portraits.hard(seed=7)


@pytest.fixture(scope="module")
def bundled() -> MiniParser:
    return load_parser("mini")


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(256, 256, 3), dtype=np.uint8)


def test_hatching_holds_half_of_the_errors_and_spares_plain_portraits(bundled, portraits, hard):
    plain, difficult = (parser_report.measure(bundled, renderings) for renderings in (portraits, hard))
    assert difficult["errors hatched"] >= 0.5
    assert difficult["pixels hatched"] <= 0.6
    assert plain["pixels hatched"] <= 0.05


def test_noise_is_strange_and_lowers_the_confidence(bundled, portraits, noise):
    assert bundled.probabilities([noise])[0].max(0).mean() < UNSURE
    assert bundled.probabilities(list(portraits.images[:1]))[0].max(0).mean() > 0.9
    with torch.no_grad(), strangeness(bundled) as strange:
        bundled(to_tensor(np.stack([portraits.images[0], noise])))
    portrait, other = strange().tolist()
    assert other > portrait + 1


def test_doubts_change_no_class(bundled, hard):
    pictures = list(hard.images[:2])
    for probabilities, label_map in zip(bundled.probabilities(pictures), bundled.parse(pictures), strict=True):
        assert np.allclose(probabilities.sum(0), 1, atol=1e-4)
        assert np.array_equal(probabilities.argmax(0), label_map)


def test_a_temperature_follows_its_signs_within_bounds():
    doubt = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.5, 2.0], [1.0, 1.0, 99.0], [1.0, 0.0, -99.0]])
    wanted = [np.exp(0.2), np.exp(1.7), 32, 0.25]
    assert temperature(doubt, (0.2, 1.0, 0.5)).tolist() == pytest.approx(wanted)


def test_fitted_doubts_make_the_truth_more_probable(portraits, hard):
    """On a parser that is sure of what it does not know, as one with random weights and large logits is."""
    torch.manual_seed(0)
    parser = MiniParser(size=64, widths=(8, 12), dilations=(1,)).eval()
    torch.nn.init.normal_(parser.head.weight, std=3.0)
    kinds = [Renderings(each.images[:, ::4, ::4], each.label_maps[:, ::4, ::4]) for each in (portraits, hard)]
    weights = fit_doubts(parser, kinds)
    assert weights == fit_doubts(parser, kinds) and len(weights) == 3
    before, after = 0.0, 0.0
    for logits, doubt, classes in signs_of(parser, kinds[1]):
        before += float(torch.nn.functional.cross_entropy(logits, classes))
        after += float(
            torch.nn.functional.cross_entropy(logits / temperature(doubt, weights)[:, None, None, None], classes)
        )
    assert after < 0.7 * before


def test_figures_follow_from_what_was_counted():
    reading = parser_report.Reading()
    probabilities = np.zeros((19, 1, 4), np.float32)
    probabilities[1, 0], probabilities[2, 0] = (0.9, 0.9, 0.55, 0.55), (0.1, 0.1, 0.45, 0.45)
    reading.add(probabilities, np.array([[1, 2, 1, 2]], np.uint8))
    figures = reading.figures()
    assert figures["accuracy"] == 0.5 and figures["mean confidence"] == 0.725
    assert figures["expected calibration error"] == pytest.approx((2 * 0.4 + 2 * 0.05) / 4, abs=1e-3)
    assert figures["pixels hatched"] == 0.5 and figures["errors hatched"] == 0.5
    assert figures["IoU"]["skin"] == 0.5 and figures["IoU"]["hair"] is None
    assert [row[2] for row in figures["reliability"]] == [0.5, 0.5]


def test_the_report_is_written_beside_the_weights(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "parser"
    MiniParser(size=32, widths=(8, 12), dilations=(1,), doubts=(1.0, 0.0, 0.0)).save_pretrained(folder)
    parser_report.report(folder, before=folder, pictures=2)
    measured = json.loads((folder / "evaluation.json").read_text())
    assert set(measured["hard renderings"]) == {"calibrated", "as trained", "before"}
    text = (folder / "REPORT.md").read_text()
    assert f"{measured['plain portraits']['calibrated']['accuracy']:.3f}" in text
    assert (folder / "reliability.png").stat().st_size < 100_000 and (folder / "hard.jpg").stat().st_size < 300_000
