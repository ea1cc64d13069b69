"""Condition tokens of label maps: what is drawn, what is encoded, and what is kept."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from facemogle import mask_encoding
from facemogle.labels import CLASS_ID, NUM_CLASSES
from facemogle.mask_encoding import ENCODER_VALUES, MAX_MASKS, MaskEncoder, images_at_once, mask_images
from facemogle.masks import condition_images
from facemogle.random_flux import FLUX_PARTS
from train.counting import Live, as_on, without_values


@pytest.fixture
def other_map():
    return np.random.default_rng(3).integers(0, NUM_CLASSES, (64, 64)).astype(np.uint8)


def test_masks_are_drawn_as_anywhere(label_map):
    drawn = mask_images(torch.from_numpy(label_map.astype(np.uint8)), range(NUM_CLASSES + 1))
    assert np.array_equal(drawn.numpy(), condition_images(label_map))


def test_tokens_are_the_masks_own_each_encoded_alone(pipeline, label_map):
    label_map = np.where(label_map == CLASS_ID["hat"], 0, label_map)
    tokens = pipeline.encode_label_map(label_map, 64, 64)
    for expert, image in enumerate(torch.from_numpy(condition_images(label_map))):
        assert torch.equal(tokens[expert], pipeline.encode_images(image[None])[0])
    black = pipeline.encode_images(torch.zeros(1, 3, 64, 64))
    assert torch.equal(pipeline.encode_label_map(None, 64, 64), black.expand(20, -1, -1))
    assert torch.equal(tokens[1 + CLASS_ID["hat"]], black[0])


@pytest.mark.parametrize("at_once", [2, 8])
def test_only_masks_that_changed_are_encoded_again(at_once, pipeline, label_map, other_map, monkeypatch):
    monkeypatch.setattr("facemogle.pipeline.images_at_once", lambda *_, **__: at_once)
    encoded = []
    first = pipeline.encode_label_map(label_map, 64, 64)
    painted = label_map.copy()
    painted[:8, :8] = CLASS_ID["hat"]
    with pipeline.vae.encoder.register_forward_hook(lambda module, images, _: encoded.append(len(images[0]))):
        assert torch.equal(pipeline.encode_label_map(label_map, 64, 64), first)
        assert not encoded
        second = pipeline.encode_label_map(painted, 64, 64)
        changed = 1 + len(np.unique(label_map[:8, :8])) + 1  # the whole map, what was painted over, the hat
        assert encoded == [at_once] * -(-changed // at_once)
        encoded.clear()
        pipeline.encode_label_map(painted, 32, 64)
        assert encoded  # another size
    pipeline._masks = MaskEncoder()
    assert torch.equal(pipeline.encode_label_map(painted, 64, 64), second)  # alike in company and alone


def test_what_is_kept_is_bounded(pipeline, label_map):
    for seed in range(MAX_MASKS):
        other = np.random.default_rng(seed).integers(0, NUM_CLASSES, (64, 64)).astype(np.uint8)
        pipeline.encode_label_map(other, 64, 64)
    assert len(pipeline._masks.kept) == MAX_MASKS


def test_all_tokens_of_a_map_are_there_when_the_store_is_small(pipeline, label_map, other_map, monkeypatch):
    expected = pipeline.encode_label_map(label_map, 64, 64)
    monkeypatch.setattr(mask_encoding, "MAX_MASKS", 3)
    pipeline.encode_label_map(other_map, 64, 64)
    assert torch.equal(pipeline.encode_label_map(label_map, 64, 64), expected)


@pytest.mark.parametrize(
    ("gigabytes", "size", "itemsize", "expected"),
    [(139, 512, 2, 8), (139, 1024, 2, 4), (80, 512, 2, 8), (24, 512, 2, 4), (24, 512, 4, 2), (12, 512, 2, 2)],
)
def test_as_many_at_once_as_fit_a_gpu(gigabytes, size, itemsize, expected, monkeypatch):
    properties = SimpleNamespace(total_memory=gigabytes << 30)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: properties)
    device = torch.device("cuda")
    assert images_at_once(size, size, itemsize=itemsize, device=device) == expected
    assert images_at_once(size, size, itemsize=itemsize, device=torch.device("cpu")) == 2


def test_what_the_encoder_takes_is_counted():
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(FLUX_PARTS["vae"])
    with FakeTensorMode(), torch.no_grad():
        values = without_values(vae.encoder, "cuda")
        with as_on("cuda", None), Live(values.values()) as live:
            functional_call(vae.encoder, values, torch.zeros(2, 3, 256, 256, device="cuda"))
    assert live.peak == pytest.approx(ENCODER_VALUES * 4 * 2 * 256 * 256, rel=0.05)
