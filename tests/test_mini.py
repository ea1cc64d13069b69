"""The training of the bundled checkpoint, from portraits to a folder that loads, at a size that takes seconds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from facemogle.checkpoints import load_pipeline
from facemogle.labels import CLASS_ID, NAMES
from train.mini import adapter, base, evaluate, export, judge, samples, vae
from train.mini.__main__ import changed
from train.mini.config import MiniConfig
from train.mini.latent_code import encode_portraits
from train.mini.loop import fit, learning_rate_factor
from train.mini.text import TextEncoders, training_ids
from train.objective import ConditionDropout


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> MiniConfig:
    return MiniConfig(
        folder=tmp_path_factory.mktemp("mini"), size=64, train_portraits=12, test_portraits=4, shard=6,
        device="cpu", vae_widths=(16, 48, 48, 96), decoder_steps=2, decoder_batch=2, text_width=32, attention_heads=1,
        double_blocks=1, single_blocks=1, base_steps=2, base_batch=2, adapter_rank=2, adapter_steps=2, adapter_batch=2,
        judge_steps=2, judge_batch=4, num_inference_steps=2, compile=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def portraits(config) -> samples.Samples:
    samples.render_all(config, workers=1)
    return samples.load(config, "train")


@pytest.fixture(scope="module")
def checkpoint(config, portraits):
    """Every stage in order, then the exported folder."""
    vae.build_linear(portraits, config)
    vae.train_decoder(portraits, config)
    latents = encode_portraits(vae.load_code(config), portraits)
    base.train_base(portraits, latents, config)
    adapter.train_adapter(portraits, latents, config)
    judge.train_judge(portraits, config)
    export.export(config, config.folder / "checkpoint")
    return config.folder / "checkpoint"


def test_the_exported_folder_paints_from_map_and_text(checkpoint, portraits):
    pipeline = load_pipeline(checkpoint, device="cpu")
    first, second = (
        np.asarray(pipeline(portraits.captions[0][0], label_map=portraits.label_maps[0], generator=generator).images[0])
        for generator in (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    )
    assert first.shape == (64, 64, 3)
    assert not np.array_equal(first, second)
    assert pipeline.config.num_inference_steps == 2
    record = json.loads((checkpoint / "training.json").read_text())
    assert record["stages"]["base"][-1]["step"] == 2
    assert (checkpoint / "LICENSE.md").is_file()


def test_it_is_measured_by_the_judge(checkpoint, config):
    evaluate.evaluate(config, checkpoint)
    report = json.loads((checkpoint / "evaluation.json").read_text())
    assert report["cases"] == 4
    assert set(report["gating inside / outside"]) == set(report["generated"]["IoU"]) == set(NAMES)
    assert (checkpoint / "contact-sheet.png").is_file()


def test_condition_tokens_are_those_of_the_pipeline(checkpoint, config, portraits):
    pipeline = load_pipeline(checkpoint, device="cpu")
    label_map = portraits.label_maps[0]
    ours = adapter.condition_tokens(label_map[None], vae.load_code(config))[0]
    assert (ours - pipeline.encode_label_map(label_map, 64, 64)).abs().mean() < 0.02  # its weights are bfloat16


def test_portraits_are_rendered_once(config, portraits):
    again = samples.load(config, "train", limit=5)
    assert len(again) == 5
    assert np.array_equal(again.images, portraits.images[:5])
    with pytest.raises(FileNotFoundError, match=r"train\.mini portraits"):
        samples.load(replace(config, test_seed=77), "test")


def test_an_interrupted_run_ends_as_an_undisturbed_one(tmp_path):
    def train(folder, *, stop_at: int | None = None, settings: dict[str, str] | None = None) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Linear(3, 1)

        def loss_of(generator, step):
            if step == stop_at:
                raise KeyboardInterrupt
            return (model(torch.randn(8, 3, generator=generator)) - 1).square().mean()

        fit(
            folder,
            {"model": model},
            loss_of,
            steps=9,
            learning_rate=0.1,
            seed=1,
            settings=settings or {},
            checkpoint_seconds=0,
        )
        return model.weight.detach()

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", stop_at=4)
    assert torch.equal(train(tmp_path / "broken"), train(tmp_path / "whole"))
    with pytest.raises(ValueError, match=r"other settings \(width\)"):
        train(tmp_path / "whole", settings={"width": "4"})


def test_learning_rate_warms_up_and_ends_at_zero():
    factors = [learning_rate_factor(step, 1000) for step in (0, 99, 500, 875, 1000)]
    assert factors == pytest.approx([0.01, 1, 1, 0.5, 0])


def test_words_outside_the_vocabulary_are_one_token(config):
    text = TextEncoders(config)
    clip, t5 = text.ids(["a woman with xyzzy hair", "a woman, with red hair."])
    assert clip.shape == t5.shape == (2, config.text_length)
    differing = (t5[0] != t5[1]).nonzero()[:, 0].tolist()
    assert differing == [3]  # punctuation is dropped, case and place of the rest is kept
    prompt_embeds, pooled = text(clip, t5)
    assert prompt_embeds.shape == (2, config.text_length, 32) and pooled.shape == (2, 32)


def test_dropped_captions_are_empty(config):
    text = TextEncoders(config)
    generator = torch.Generator().manual_seed(0)
    dropped = training_ids(text, ["a woman"] * 3, generator, dropout=ConditionDropout(text=1.0), unknown=0.0)
    assert torch.equal(dropped[1], text.ids([""] * 3)[1])


def test_judge_reads_colours_and_presence():
    read = np.zeros((10, 10), np.uint8)
    read[:5] = CLASS_ID["hair"]
    read[5] = CLASS_ID["eyeglasses"]
    image = np.zeros((10, 10, 3), np.uint8)
    image[:5] = (190, 80, 42)
    attributes = {"hair_colour": "red", "clothes_colour": "blue", "glasses": "glasses", "hat": "none"}
    verdict = evaluate.agreement(image, read, "a man with red hair, round glasses and a blue shirt", attributes)
    assert verdict == {"hair colour": True, "clothes colour": False, "glasses": True, "no hat": True}


def test_intersection_over_union():
    counts = evaluate.confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    iou = evaluate.intersection_over_union(counts)
    assert iou[:2] == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(iou[2:]).all()


def test_settings_given_as_text():
    assert changed(MiniConfig(), {"base_steps": "7", "base_learning_rate": "2e-3"}).base_steps == 7
    with pytest.raises(SystemExit, match="base_stepz"):
        changed(MiniConfig(), {"base_stepz": "7"})
