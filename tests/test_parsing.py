"""The bundled parser's network: any picture in, a label map of its size out."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facemogle.checkpoints import CheckpointError, load_parser
from facemogle.labels import NUM_CLASSES
from facemogle.parsing.mini import MiniParser
from facemogle.parsing.pictures import resized


@pytest.fixture(scope="module")
def parser() -> MiniParser:
    torch.manual_seed(0)
    parser = MiniParser(size=32, widths=(8, 12, 16), dilations=(1, 2))
    for module in parser.modules():  # else random weights read almost the same everywhere
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
    return parser.eval()


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(256, size=(*size, 3), dtype=np.uint8) for size in ((32, 32), (75, 50), (9, 21))]


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (16, 40)])
@pytest.mark.parametrize("patch", [2, 4])
def test_every_pixel_has_logits(size, patch):
    parser = MiniParser(patch=patch, widths=(8, 12), dilations=(1,))
    assert parser(torch.zeros(2, 3, *size)).shape == (2, NUM_CLASSES, *size)


def test_any_size_in_and_its_map_out(parser, pictures):
    for picture, label_map in zip(pictures, parser.parse(pictures), strict=True):
        assert label_map.shape == picture.shape[:2] and label_map.dtype == np.uint8
        assert label_map.max() < NUM_CLASSES
    assert len(np.unique(parser.parse(pictures[:1])[0])) > 1


def test_probabilities_agree_with_the_map(parser, pictures):
    for probabilities, label_map in zip(parser.probabilities(pictures), parser.parse(pictures), strict=True):
        assert probabilities.dtype == np.float32 and probabilities.shape == (NUM_CLASSES, *label_map.shape)
        assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
        assert np.array_equal(probabilities.argmax(0), label_map)


def test_a_larger_picture_is_averaged_not_sampled(parser, pictures):
    small = pictures[0]
    large = np.kron(small, np.ones((4, 4, 1), np.uint8))
    large[1::4, 1::4] = 255 - large[1::4, 1::4]
    means = np.round(large.reshape(32, 4, 32, 4, 3).mean((1, 3))).astype(np.uint8)
    shrunk = resized(large, 32)[0].permute(1, 2, 0).numpy()
    # The triangle filter reaches a little into the neighbours; picking single pixels would be far off.
    assert np.abs(shrunk - means).mean() < np.abs(large[1::4, 1::4].astype(float) - means).mean() / 3


@pytest.mark.filterwarnings("error")
def test_views_and_read_only_arrays_are_read_as_they_are(parser, pictures):
    flipped = pictures[1][:, ::-1]
    locked = flipped.copy()
    locked.flags.writeable = False
    first, second = parser.parse([flipped, locked])
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8, 3))],
    ids=["float", "grey", "alpha", "empty"],
)
def test_other_arrays_are_refused(parser, picture):
    with pytest.raises(ValueError, match=r"must be \(H, W, 3\) uint8 RGB, got .*convert\('RGB'\)"):
        parser.parse([picture])


def test_saved_in_half_precision_and_read_back(parser, pictures, tmp_path):
    half = MiniParser.from_config(parser.config)
    half.load_state_dict(parser.state_dict())
    half.half().save_pretrained(tmp_path)
    loaded = load_parser(tmp_path)
    assert loaded.dtype == torch.float32 and not loaded.training
    assert json.loads((tmp_path / "config.json").read_text())["widths"] == [8, 12, 16]
    for one, other in zip(parser.probabilities(pictures), loaded.probabilities(pictures), strict=True):
        assert np.abs(one - other).max() < 0.02


def test_what_does_not_load_is_explained(parser, tmp_path):
    with pytest.raises(CheckpointError, match="no parser nowhere"):
        load_parser("nowhere")
    parser.save_pretrained(tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    state_dict = parser.state_dict()
    del state_dict["head.weight"]
    save_file(state_dict, weights)
    with pytest.raises(CheckpointError, match=r"do not fit its config\.json: 1 missing keys"):
        load_parser(tmp_path)
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_parser(tmp_path)
