"""The training of the bundled checkpoint, from portraits to a folder that loads, at a size that takes seconds."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch import nn

from facemogle import checkpoints
from facemogle.checkpoints import load_parser, load_pipeline
from facemogle.gating import EXPERTS, inside_outside
from facemogle.labels import CLASS_ID, NAMES
from facemogle.pipeline import image_ids
from tests import tiny_training
from train.data import FaceDataset
from train.mini import adapter, base, edits, export, guidance, parser, report, samples, vae, words
from train.mini.__main__ import changed
from train.mini.config import MiniConfig
from train.mini.latent_code import encode_portraits, to_tensor
from train.mini.loop import fit, learning_rate_factor
from train.mini.text import TextEncoders, training_ids
from train.objective import ConditionDropout, TrainingBatch, predict_velocity
from train.pairs import find_pairs


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> MiniConfig:
    return MiniConfig(
        folder=tmp_path_factory.mktemp("mini"), size=64, train_portraits=12, test_portraits=4, shard=6,
        device="cpu", vae_widths=(16, 48, 48, 96), decoder_steps=2, decoder_batch=2, text_width=32, attention_heads=1,
        double_blocks=1, single_blocks=1, base_steps=2, base_batch=2, adapter_rank=2, adapter_steps=2, adapter_batch=2,
        parser_steps=2, parser_batch=4, words_steps=2, words_batch=4, num_inference_steps=2, compile=False,
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
    words.train_words(portraits, config)
    base.train_base(portraits, latents, config)
    adapter.train_adapter(portraits, latents, config)
    parser.train_parser(portraits, config)
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


def test_portraits_as_files_are_what_training_reads(config, portraits, tmp_path):
    samples.write_pictures(portraits.first(3), tmp_path)
    faces = FaceDataset(find_pairs(tmp_path), height=config.size, width=config.size)
    assert len(faces) == 3
    for index in range(3):
        assert np.array_equal(faces[index]["image"].movedim(0, -1), portraits.images[index])
        assert np.array_equal(faces[index]["label_map"], portraits.label_maps[index])
        assert faces[index]["caption"] in portraits.captions[index]


def test_training_leaves_other_models_their_attention(checkpoint):
    assert _AttentionBackendRegistry.get_active_backend()[0] == AttentionBackendName.NATIVE


def test_it_is_measured_and_reported(checkpoint, config, tmp_path, monkeypatch):
    parser.export_parser(config, tmp_path)
    monkeypatch.setitem(checkpoints.PARSERS, "mini", tmp_path)
    report.report(replace(config, cases=4, few_cases=3, edits=2), checkpoint)
    measured = json.loads((checkpoint / "evaluation.json").read_text())
    assert (measured["cases"], measured["cases of the other runs"]) == (4, 3)
    assert measured["edits"]["equal to the photo outside"] == measured["edits"]["cases"] == 2
    assert set(measured["gating inside / outside"]) == set(measured["text and map"]["IoU"]) == set(NAMES)
    assert len(measured["gating inside / outside, by step"]["skin"]) == config.num_inference_steps
    over_time = measured["gating over the steps"]
    assert over_time["cases"] == 3 and set(over_time["by expert"]) == set(EXPERTS)
    assert 0 < over_time["first to last step"] < 1 and 0 < over_time["between portraits"] < 1
    page = (checkpoint / "REPORT.md").read_text()
    assert f"total variation of\n{over_time['first to last step']} " in page
    assert str(measured["text and map"]["mean IoU"]) in page
    for picture in re.findall(r"\((\S+\.jpg)\)", page):
        assert (checkpoint / picture).is_file()


def test_training_goes_on_from_an_exported_checkpoint(checkpoint, config, portraits, tmp_path):
    further = replace(config, folder=tmp_path, start_from=checkpoint, adapter_steps=1, words_steps=1)
    vae.build_linear(portraits, further)
    before, code = vae.load_code(config), vae.load_code(further)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert (code(pictures) - before(pictures)).abs().mean() < 0.02  # its weights are bfloat16
    words.train_words(portraits, further)
    adapter.train_adapter(portraits, encode_portraits(code, portraits), further)
    export.export(further, tmp_path / "checkpoint")
    configs = (tmp_path / "checkpoint").glob("*/config.json")
    assert not any(str(checkpoint) in file.read_text() for file in configs)  # a folder is no one else's business
    record = json.loads((tmp_path / "checkpoint" / "training.json").read_text())
    assert record["before"]["stages"]["base"][-1]["step"] == 2 and record["stages"]["base"] == []
    first, second = (
        load_pipeline(folder, device="cpu").transformer for folder in (checkpoint, tmp_path / "checkpoint")
    )
    changes = [(a - b).abs().max() for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert 0 < max(changes) < 0.05  # one step away, not begun anew


def test_a_run_of_the_training_program_takes_the_place_of_the_adapter(checkpoint, config, tmp_path):
    own, run, adopted = tmp_path / "own", tmp_path / "run", tmp_path / "adopted"
    tiny_training.run(run, checkpoint=str(checkpoint), from_checkpoint=True, rank=2, alpha=2.0)
    weights = run / "weights"
    for folder in (own, adopted):
        shutil.copytree(checkpoint, folder)
    export.adopt(replace(config, adapter_run=run), adopted)
    trained = load_pipeline(own, adapter=weights / checkpoints.ADAPTER_FILE, mogle=weights / "mogle", device="cpu")
    before, after = (load_pipeline(folder, device="cpu") for folder in (own, adopted))
    for part in ("transformer", "mogle"):
        first, second, third = (getattr(each, part).state_dict() for each in (before, after, trained))
        assert any(not torch.equal(first[name], second[name]) for name in first)
        for name in second:
            torch.testing.assert_close(second[name], third[name].bfloat16().float(), atol=0, rtol=0)
    record = json.loads((adopted / "training.json").read_text())
    assert [point["step"] for point in record["stages"]["validation"]] == [6, 12]
    assert record["settings"]["rank"] == 2 and record["before"]["stages"]["base"][-1]["step"] == 2
    assert "| adapter | 64 | 12 |" in report.stage_times(adopted)
    assert not any(str(tmp_path) in file.read_text() for file in adopted.rglob("*.json"))


def test_without_its_own_stage_the_words_are_those_of_the_checkpoint(checkpoint, config, tmp_path):
    further = words.load_words(replace(config, folder=tmp_path, start_from=checkpoint))
    own = load_pipeline(checkpoint, device="cpu").text_encoder_2
    torch.testing.assert_close(further.text_encoder_2.state_dict(), own.float().state_dict())


def test_encoders_that_go_on_stay_near_what_they_said(checkpoint, config, portraits, tmp_path):
    ids = words.TextEncoders(config).ids(["a man with red hair"])
    said = words.load_words(replace(config, folder=tmp_path, start_from=checkpoint))(*ids)[0]
    moved = {}
    for anchor in (0.0, 100.0):
        further = replace(config, folder=tmp_path / str(anchor), start_from=checkpoint, words_anchor=anchor)
        words.train_words(portraits, replace(further, words_steps=20))
        moved[anchor] = (words.load_words(further)(*ids)[0] - said).abs().mean()
    assert 0 < moved[100.0] < 0.5 * moved[0.0]


def test_rare_attributes_weigh_more():
    hats = torch.tensor([0, 0, 0, 1])
    weight = words.rarity(torch.stack([hats, torch.zeros(4, dtype=torch.long)], 1), [2, 1])
    assert weight.mean() == pytest.approx(1)
    assert weight[3] == pytest.approx((4 / 2 / 1 + 1) / 2) and weight[0] == pytest.approx((4 / 2 / 3 + 1) / 2)


@pytest.mark.parametrize("kind", edits.EDITS)
def test_an_edit_changes_what_it_says(kind):
    drawn = [edits.draw_edit(seed, 64) for seed in range(20)]
    maps = [(edit.before, edit.after) for edit in drawn if edit.kind == kind]
    parts = {"hair": "hair", "glasses": "eyeglasses", "mouth": "mouth", "hat": "hat"}
    class_id = CLASS_ID[parts[kind.split()[0]]]
    assert len(maps) == 5 and all(((before == class_id) != (after == class_id)).any() for before, after in maps)


def test_a_seam_shows_across_the_border():
    region = np.zeros((8, 8), bool)
    region[:, 4:] = True
    flat = np.full((8, 8, 3), 100, np.uint8)
    seam = flat + np.uint8(10) * region[..., None]
    assert edits.across_border(flat, region) == 0 and edits.across_border(seam, region) == 10


def test_the_decoder_learns_from_what_the_model_redraws(checkpoint, config, portraits, tmp_path):
    further = replace(config, folder=tmp_path, start_from=checkpoint, decoder_redrawn=0.5, num_inference_steps=8)
    vae.build_linear(portraits, further)
    pipeline = load_pipeline(checkpoint, device="cpu")
    rows = np.array([1, 3])
    redrawn = vae.redraw(pipeline, portraits, rows, torch.Generator().manual_seed(0), further)
    own = vae.encode(vae.load_vae(further), to_tensor(portraits.images[rows]))
    assert redrawn.shape == own.shape
    # Even an untrained model's last steps leave a portrait nearer to itself than to another one.
    assert (redrawn - own).square().mean() < (redrawn - own.flip(0)).square().mean()
    vae.train_decoder(portraits, further)
    before, after = vae.load_vae(further, decoder=False), vae.load_vae(further)
    assert any(not torch.equal(*pair) for pair in zip(before.parameters(), after.parameters(), strict=True))


def test_a_class_counts_as_much_as_any_other_and_by_its_mean_error():
    label_maps = np.zeros((1, 4, 4), np.uint8)
    label_maps[0, :2, :2] = 3
    shares = adapter.class_shares(label_maps, 2)
    assert shares.sum(2).nonzero().tolist() == [[0, 0], [3, 0]] and shares[3].tolist() == [[1, 0, 0, 0]]
    wrong = torch.zeros(1, 4, 5)
    wrong[0, 0] = 2  # the one token of class 3: of two classes, one is wrong by 2
    assert adapter.class_error(wrong, shares).item() == pytest.approx(2**2 / 2)
    uneven = torch.tensor([0.0, 3.0, -1.0, -2.0])[None, :, None].expand(1, 4, 5)  # over class 0: right on average
    assert adapter.class_error(uneven, shares).item() == pytest.approx(0)


def test_an_expert_is_asked_to_weigh_more_inside_its_class():
    # Every other class is absent, and is not asked.
    shares = adapter.class_shares(np.array([[[0, 0], [1, 1]]], np.uint8), 2)
    even = torch.full((1, 4, 20), 1 / 20)
    assert adapter.unspecialised(even, shares, 3.0).item() == pytest.approx(np.log(3))
    apart = even.clone()
    apart[0, :2, 1] *= 4
    assert adapter.unspecialised(apart, shares, 3.0).item() == pytest.approx(np.log(3) / 2)
    apart[0, 2:, 2] *= 3
    assert adapter.unspecialised(apart, shares, 3.0).item() == pytest.approx(0, abs=1e-6)


def test_a_base_that_takes_guidance_is_at_first_the_same(checkpoint):
    """And its embedding is made once: trained weights stay."""
    transformer = load_pipeline(checkpoint, device="cpu").transformer
    draw = torch.Generator().manual_seed(0)
    inputs = {
        "hidden_states": torch.randn(2, 4, 64, generator=draw), "timestep": torch.tensor([0.9, 0.2]),
        "encoder_hidden_states": torch.randn(2, 3, 32, generator=draw), "img_ids": image_ids(2, 2),
        "pooled_projections": torch.randn(2, 32, generator=draw), "txt_ids": torch.zeros(3, 3),
    }  # fmt: skip
    before = transformer(**inputs).sample
    guidance.take_guidance(transformer)
    assert transformer.config.guidance_embeds
    torch.testing.assert_close(transformer(**inputs, guidance=torch.tensor([1.0, 6.0])).sample, before)
    trained = transformer.time_text_embed
    guidance.take_guidance(transformer)
    assert transformer.time_text_embed is trained


@pytest.fixture(scope="module")
def outspoken(checkpoint, tmp_path_factory):
    """Two steps of training leave the text without effect: here it has one."""
    pipeline = load_pipeline(checkpoint, device="cpu")
    nn.init.normal_(pipeline.transformer.proj_out.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("outspoken")
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def lesson(outspoken, config, portraits):
    """A teacher, its inputs for a red-haired man and for no prompt, and a learner's inputs from the same."""
    teacher = guidance.Teacher(replace(config, start_from=outspoken, adapter_guided_above=0.7))
    tokens = adapter.condition_tokens(portraits.label_maps[:2], vae.load_code(config))
    noisy = torch.randn(2, *tokens.shape[2:], generator=torch.Generator().manual_seed(0))
    ids = teacher.text.ids(["a man with red hair", ""])
    embeds = teacher.text(*ids)
    batch = TrainingBatch(noisy, *embeds, base.token_grid_ids(noisy), torch.zeros(config.text_length, 3), tokens)
    return teacher, batch, ids, noisy


def test_guidance_goes_on_from_no_prompt_to_the_prompt(lesson):
    """What two passes made, one pass shall make; an empty prompt leads nowhere, and little noise needs none."""
    teacher, batch, ids, noisy = lesson

    def guided(scale, timestep=0.9):
        times = torch.full((2,), timestep)
        return teacher.guided_velocity(batch, ids, noisy, times, torch.full((2,), scale))

    told, untold = guided(1.0), guided(0.0)
    assert (told - untold)[0].abs().max() > 1e-3 and (told - untold)[1].abs().max() < 1e-4
    blended, _ = teacher.mogle(batch.condition_tokens, noisy, torch.full((2,), 0.9))
    plain = predict_velocity(
        teacher.transformer, batch, noisy, torch.full((2,), 0.9), guidance_scale=None, condition_hidden_states=blended
    )
    torch.testing.assert_close(told, plain)
    torch.testing.assert_close(guided(3.0), untold + 3 * (told - untold))
    assert not torch.equal(guided(3.0, 0.71), guided(1.0, 0.71))
    assert torch.equal(guided(3.0, 0.7), guided(1.0, 0.7))
    assert not guided(3.0).requires_grad


def test_without_a_map_guidance_also_leads_away_from_perturbed_attention(lesson, config, monkeypatch):
    teacher, batch, ids, noisy = lesson
    tokens = batch.condition_tokens.clone()
    tokens[1] = adapter.condition_tokens(np.zeros((1, config.size, config.size), np.uint8), vae.load_code(config))[0, 2]
    batch = replace(batch, condition_tokens=tokens)

    def added(scale, timestep=0.9, *, weight=1.5):
        """By perturbed attention, to the velocities with a map and without."""

        def guided(weight):
            monkeypatch.setattr(teacher, "config", replace(teacher.config, adapter_perturbed=weight))
            return teacher.guided_velocity(batch, ids, noisy, torch.full((2,), timestep), torch.full((2,), scale))

        return guided(weight) - guided(0.0)

    with_map, without = added(2.0)
    assert not with_map.any() and without.abs().max() > 1e-3
    torch.testing.assert_close(added(2.0, weight=3.0)[1], 2 * without)
    torch.testing.assert_close(added(1.5)[1], without / 2)
    torch.testing.assert_close(added(5.0)[1], without)
    assert not added(1.0).any() and not added(2.0, 0.7).any()


def test_perturbed_image_tokens_see_only_themselves(outspoken, config):
    transformer = load_pipeline(outspoken, device="cpu").transformer
    guidance.perturb(transformer, text_length=3)
    attention = transformer.single_transformer_blocks[0].attn
    rope = transformer.pos_embed(torch.zeros(3 + 2 * 4, 3))
    rows = torch.randn(1, 3 + 2 * 4, 64, generator=torch.Generator().manual_seed(0))  # text, image, condition

    def reached(place):
        """The rows whose output hangs on that row."""
        changed = rows.clone()
        changed[:, place] += 1
        before, after = (attention(hidden_states=each, image_rotary_emb=rope)[0] for each in (rows, changed))
        return set((before - after).abs().amax(1).gt(1e-5).nonzero().flatten().tolist())

    image = {3, 4, 5, 6}
    assert reached(4) == set(range(11)) - image | {4}
    assert reached(0) == reached(9) == set(range(11)) - image


def test_what_guidance_says_is_learned(outspoken, lesson, config, portraits, tmp_path):
    further = replace(
        config, folder=tmp_path, start_from=outspoken, adapter_guidance=6.0, adapter_steps=120, adapter_batch=8,
        adapter_learning_rate=3e-3,
    )  # fmt: skip
    vae.build_linear(portraits, further)
    adapter.train_adapter(portraits, encode_portraits(vae.load_code(further), portraits), further)
    text, transformer, mogle = adapter.load_adapter(further)
    teacher, batch, ids, noisy = lesson
    times, scale = torch.full((2,), 0.9), torch.full((2,), 5.0)
    told, wanted = (teacher.guided_velocity(batch, ids, noisy, times, each)[0] for each in (torch.ones(2), scale))
    embeds, pooled = text(*ids)
    batch = replace(batch, prompt_embeds=embeds, pooled_prompt_embeds=pooled)
    blended, _ = mogle(batch.condition_tokens, noisy, times)
    plain, guided = (
        predict_velocity(transformer, batch, noisy, times, guidance_scale=each, condition_hidden_states=blended)[0]
        for each in (torch.ones(2), scale)
    )
    assert (guided - wanted).square().mean() < 0.5 * (told - wanted).square().mean()
    assert (plain - told).square().mean() < 0.5 * (told - wanted).square().mean()


def test_guidance_needs_a_teacher(config):
    with pytest.raises(ValueError, match="Set start_from"):
        guidance.Teacher(replace(config, start_from=Path("none")))


def test_asking_for_it_makes_the_gating_specialise(checkpoint, config, portraits, tmp_path):
    ratios = {}
    for weight in (0.0, 10.0):
        further = replace(
            config, folder=tmp_path / str(weight), start_from=checkpoint, adapter_specialisation_weight=weight,
            adapter_steps=60, adapter_learning_rate=3e-3,
        )  # fmt: skip
        vae.build_linear(portraits, further)
        code = vae.load_code(further)
        adapter.train_adapter(portraits, encode_portraits(code, portraits), further)
        _, _, mogle = adapter.load_adapter(further)
        tokens = adapter.condition_tokens(portraits.label_maps, code)
        noise = torch.randn(tokens[:, 0].shape, generator=torch.Generator().manual_seed(0))
        gating_weights = mogle(tokens, noise, torch.ones(len(noise)))[1].mT.unflatten(2, (4, 4)).numpy()
        parts = [inside_outside(*pair) for pair in zip(gating_weights, portraits.label_maps, strict=True)]
        inside, outside = np.nanmean(parts, axis=0).T
        ratios[weight] = inside / outside
    assert np.mean(ratios[10.0] > 1.5) > 0.8 > np.mean(ratios[0.0] > 1.5)


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


def test_settings_given_as_text():
    assert changed(MiniConfig(), {"base_steps": "7", "base_learning_rate": "2e-3"}).base_steps == 7
    with pytest.raises(SystemExit, match="base_stepz"):
        changed(MiniConfig(), {"base_stepz": "7"})


def test_the_parser_is_exported_whole(checkpoint, config, portraits, tmp_path):
    parser.export_parser(config, tmp_path)
    assert (tmp_path / "LICENSE.md").is_file()
    read = load_parser(tmp_path).parse(list(portraits.images))
    assert np.shape(read) == portraits.label_maps.shape


def test_the_parsers_pictures_and_maps_move_together(portraits):
    """A picture that shows its own label map still does after all that moves it."""
    shown = replace(portraits, images=np.repeat(portraits.label_maps[..., None] * 13, 3, axis=-1))
    pictures, classes = parser.draw_batch(shown, 8, torch.Generator().manual_seed(0))
    again = parser.draw_batch(shown, 8, torch.Generator().manual_seed(0))
    assert torch.equal(pictures, again[0]) and torch.equal(classes, again[1])
    for picture, label_map in zip(pictures.mean(1), classes, strict=True):
        # Left and right classes are swapped by a flip, and differ little in these grey levels.
        correlation = np.corrcoef(picture.flatten(), label_map.flatten())[0, 1]
        assert correlation > 0.9


def test_the_parsers_loss_falls_with_better_logits():
    classes = torch.randint(19, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(classes, 19).movedim(-1, 1).float()
    losses = [float(parser.loss_of_logits(scale * right, classes, torch.ones(19))) for scale in (0, 4, 20)]
    assert losses[0] > losses[1] > losses[2] and losses[2] < 1e-3
    assert losses[0] == pytest.approx(np.log(19) + parser.DICE * (1 - 1 / 19), rel=0.01)
