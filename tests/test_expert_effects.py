import numpy as np
import pytest
import torch
from PIL import Image

from facemogle.cli import main
from facemogle.expert_effects import ExpertEffects
from facemogle.figures import effect_sheet
from facemogle.gating import EXPERTS

RUN = {"height": 64, "width": 64, "num_inference_steps": 2}


def arguments(seed, label_map):
    return RUN | {"label_map": label_map, "generator": seed(5)}


def test_the_run_again_without_each_expert(pipeline, label_map, seed):
    seen = []
    effects = pipeline.expert_effects(
        "a face",
        **arguments(seed, label_map),
        batch_size=7,
        on_picture=lambda each: seen.append(each.experts),
    )
    assert effects.experts == EXPERTS and [len(each) for each in seen] == [7, 14, 20]

    def alone(scale):
        return pipeline("a face", **arguments(seed, label_map), expert_scale=scale).images[0]

    assert np.array_equal(effects.image, alone(None))
    for place in (0, 2, 13):
        one, same = np.int16(effects.muted[place]), np.int16(alone({EXPERTS[place]: 0}))
        assert np.abs(one - same).max() <= 1  # a batch rounds otherwise
        assert (one != np.int16(effects.image)).any()
    assert effect_sheet(effects, width=640).width == 640


def test_a_steered_run_is_muted_as_it_is_steered(pipeline, label_map, seed):
    given = {"hair": 2.0, "nose": 0.0}
    effects = pipeline.expert_effects(
        **arguments(seed, label_map), expert_scale=given, experts=("skin", "nose", "hair")
    )
    assert effects.experts == ("skin", "hair")  # in the experts' order, and the nose is muted already
    whole = pipeline(**arguments(seed, label_map), expert_scale=given).images[0]
    assert np.array_equal(effects.image, whole)


def test_an_interrupted_run_keeps_what_was_finished(pipeline, label_map, seed):
    calls = []

    def stop(pipe, step, _timestep, _tensors):
        calls.append(step)
        pipe._interrupt = len(calls) == 4  # in the second step of the first batch
        return {}

    effects = pipeline.expert_effects(**arguments(seed, label_map), batch_size=5, callback_on_step_end=stop)
    assert effects.experts == () and effects.image.size == (64, 64) and len(calls) == 4


def test_what_cannot_be_muted(pipeline, label_map, seed):
    with pytest.raises(ValueError, match=r"no experts \['hare'\]"):
        pipeline.expert_effects(experts=("hare",), **RUN)
    with pytest.raises(ValueError, match="No expert is left to be muted"):
        pipeline.expert_effects(expert_scale=dict.fromkeys(EXPERTS[1:], 0.0), **RUN)


def test_changes_are_told_by_picture_and_by_class():
    black, label_map = Image.new("RGB", (8, 8)), np.zeros((16, 16), np.uint8)
    label_map[:4] = 13
    changed = np.zeros((8, 8, 3), np.uint8)
    changed[:2] = 255, 0, 0
    changed[2:, :, 1] = 51
    effects = ExpertEffects(black, ("global", "hair", "hat"), (black, Image.fromarray(changed), black))
    assert effects.ranked()[0] == ("hair", pytest.approx((2 / 3 + 6 * 0.2 / 3) / 8))
    inside, outside = effects.inside_outside(label_map)[1]
    assert inside == pytest.approx(1 / 3) and outside == pytest.approx(0.2 / 3)
    assert np.isnan(effects.inside_outside(label_map)[[0, 2]]).all()  # no class of its own; a class that is nowhere


def test_scales_of_each_image(pipeline, label_map, seed):
    noise = pipeline.noise(seed(5), 64, 64)
    scales = [{"hair": 0.0}, {}]
    both = pipeline(
        label_map=label_map, latents=noise.expand(2, -1, -1), expert_scale=scales, output_type="latent",
        record_gating=True, **RUN,
    )  # fmt: skip
    assert not both.gating.expert_map("hair", image=0).any() and both.gating.expert_map("hair", image=1).all()
    for row, scale in zip(both.images, scales, strict=True):
        alone = pipeline(label_map=label_map, generator=seed(5), expert_scale=scale, output_type="latent", **RUN)
        torch.testing.assert_close(row, alone.images[0], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="expert scales"):
        pipeline(["a", "b", "c"], expert_scale=scales, **RUN)


def test_on_the_command_line(tmp_path, capsys, reference):
    face, sheet = tmp_path / "face.png", tmp_path / "sheet.png"
    main(["generate", "--prompt", "a face", "--out", str(face), "--steps", "1", "--size", "64"])
    assert main(["experts", str(face), "--expert", "hair", "--expert", "global", "--out", str(sheet)]) == 0
    printed = capsys.readouterr().out
    assert "hair" in printed and "global" in printed and Image.open(sheet).width == 1200
    Image.new("RGB", (8, 8)).save(sheet)
    assert main(["experts", str(sheet), "--out", str(tmp_path / "none.png")]) == 2
    assert "carries no settings" in capsys.readouterr().err
