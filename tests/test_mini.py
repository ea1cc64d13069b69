"""The making of the bundled checkpoint, from portraits to a folder that loads, at a size that takes seconds."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch import nn

from facemogle import checkpoints
from facemogle.checkpoints import load_parser, load_pipeline
from facemogle.data.pairs import find_pairs
from facemogle.gating import coverage, inside_outside
from facemogle.labels import CLASS_ID, NAMES
from facemogle.scheduler import FlowMatchAdamsBashforthScheduler
from tests.mini_recipes import AtOnce
from train.data import FaceDataset
from train.mini import edits, model, objective, parser, program, report, samples, vae, words
from train.mini.config import PHASES, MiniConfig
from train.mini.export import pipeline_of
from train.mini.guidance import Teacher
from train.mini.latent_code import class_shares, unpack
from train.mini.log import Log
from train.mini.loop import learn
from train.mini.objective import Batch, losses, prepare
from train.mini.portraits import sample_attributes
from train.mini.rarity import ATTRIBUTES, UNHEARD_OF, Rarity
from train.mini.text import TextEncoders
from train.objective import TrainingBatch, flow_matching_loss


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> MiniConfig:
    tiny = MiniConfig(
        folder=tmp_path_factory.mktemp("mini"), size=64, device="cpu", workers=1, compile=False, minutes=1.0,
        reserve_seconds=0.0, first_portraits=12, pool=24, slots=16, redrawn_portraits=4, vae_widths=(16, 48, 48, 96),
        text_width=32, attention_heads=1, double_blocks=1, single_blocks=1, adapter_rank=2,
    )  # fmt: skip
    return with_phases(tiny, batch=4, steps=2)


def with_phases(config: MiniConfig, **changes) -> MiniConfig:
    return replace(config, **{name: replace(getattr(config, name), **changes) for name in PHASES})


@pytest.fixture(scope="module")
def portraits(config) -> samples.Samples:
    return samples.load(config, "train", limit=12)


@pytest.fixture(scope="module")
def made(config):
    """The whole program."""
    assert program.make(config) == []
    return config.folder


@pytest.fixture(scope="module")
def checkpoint(made):
    return made / "mini"


@pytest.fixture
def run_of(monkeypatch, tmp_path):
    """The program's parts, for a config, in a folder of their own, with portraits made in this process."""
    monkeypatch.setattr(program.Run, "_feed", lambda self, recipe: AtOnce(recipe))

    def run(config: MiniConfig) -> program.Run:
        config = replace(config, folder=tmp_path / config.folder.name)
        config.folder.mkdir(exist_ok=True)
        return program.Run(config, Log(config.folder / "log.jsonl"))

    return run


def ids_of(encoders: TextEncoders, captions: list[str]) -> list[torch.Tensor]:
    """CLIP's and T5's, padded as FluxPipeline pads them."""
    options = {"padding": "max_length", "max_length": encoders.length, "truncation": True, "return_tensors": "pt"}
    return [tokenizer(captions, **options).input_ids for tokenizer in (encoders.tokenizer, encoders.tokenizer_2)]


def drawn(run: program.Run, count: int, seed: int = 0) -> tuple[dict, Batch]:
    phase = replace(run.config.phase("flow"), batch=count)
    draw = run.sampler.draw(torch.Generator().manual_seed(seed), phase)
    return draw, prepare(draw, run.code)


def test_the_exported_folder_paints_from_map_and_text(checkpoint, portraits):
    pipeline = load_pipeline(checkpoint, device="cpu")
    first, second = (
        np.asarray(pipeline(portraits.captions[0][0], label_map=portraits.label_maps[0], generator=generator).images[0])
        for generator in (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    )
    assert first.shape == (64, 64, 3)
    assert not np.array_equal(first, second)
    assert pipeline.config.num_inference_steps == MiniConfig.num_inference_steps
    assert type(pipeline.scheduler) is FlowMatchAdamsBashforthScheduler and pipeline.scheduler.shift == 3
    record = json.loads((checkpoint / "training.json").read_text())
    assert record["stages"]["flow"][-1]["step"] == 2 and record["run"]["samples"]["guidance"] == 8
    assert (checkpoint / "LICENSE.md").is_file()


def test_the_program_writes_all_that_it_says(made, portraits):
    assert (made / "sheet.jpg").is_file() and (made / "mini-parser" / "LICENSE.md").is_file()
    read = load_parser(made / "mini-parser").parse(list(portraits.images))
    assert np.shape(read) == portraits.label_maps.shape
    told = [json.loads(line) for line in (made / "log.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in told if line["step"] == 2] == list(PHASES)
    assert not (made / "checkpoint.pt").exists()


def test_what_is_done_is_not_done_again(made, config, capsys):
    before = {file: file.read_bytes() for file in made.rglob("*.safetensors")}
    assert program.make(config) == []
    assert "done before: flow, guidance, decoder, parser" in capsys.readouterr().out
    assert all(file.read_bytes() == data for file, data in before.items())


def test_a_killed_run_ends_as_an_undisturbed_one(config, run_of, tmp_path, monkeypatch):
    """Given the same portraits: which ones have been rendered when is the workers' to say."""

    def train(name: str, *, killed_at: int | None = None) -> dict[str, torch.Tensor]:
        run = run_of(with_phases(replace(config, folder=tmp_path / name, checkpoint_seconds=0.0), steps=4))
        run.portraits.next = 0
        run.pool.refill = lambda limit: 0
        steps = iter(range(100))
        loss = losses

        def until_killed(*arguments):
            if next(steps) == killed_at:
                raise KeyboardInterrupt
            return loss(*arguments)

        monkeypatch.setattr(program, "losses", until_killed)
        run.save()
        for phase in ("flow", "guidance"):
            if phase not in run.done:
                getattr(run, phase)(1e9)
                run.checkpoint.unlink()
                run.done[phase] = True
                run.save()
        monkeypatch.setattr(program, "losses", loss)
        return run.model.state_dict()

    whole = train("whole")
    for killed_at in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            train(f"killed-{killed_at}", killed_at=killed_at)
        assert (tmp_path / f"killed-{killed_at}" / "checkpoint.pt").exists()
        torch.testing.assert_close(train(f"killed-{killed_at}"), whole, atol=0, rtol=0)


def test_a_run_of_other_settings_is_not_gone_on_with(made, config):
    before = (made / "weights.pt").read_bytes()
    with pytest.raises(ValueError, match=r"other settings \(words_weight\)"):
        program.make(replace(config, words_weight=2.0))
    assert (made / "weights.pt").read_bytes() == before


def test_a_phase_that_fails_leaves_the_weights_before_it(config, run_of, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program.Run, "parser", lambda self, seconds: None)
    monkeypatch.setattr(program, "sheet", lambda config: None)
    run_of(config)  # its workers are this process
    broken = lambda *arguments, **options: torch.full((4, 16, 64), torch.nan)  # noqa: E731
    monkeypatch.setattr(Teacher, "guided", broken)
    further = replace(config, folder=tmp_path / "run")
    assert program.make(further) == ["guidance"]
    assert "guidance failed" in capsys.readouterr().out
    pipeline = load_pipeline(tmp_path / "run" / "mini", device="cpu")
    assert all(parameter.isfinite().all() for parameter in pipeline.transformer.parameters())


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


def test_it_is_measured_and_reported(made, checkpoint, config, monkeypatch):
    monkeypatch.setitem(checkpoints.PARSERS, "mini", made / "mini-parser")
    report.report(replace(config, cases=4, few_cases=3, seen_cases=12, edits=2), checkpoint)
    measured = json.loads((checkpoint / "evaluation.json").read_text())
    both, alone = measured["text and map"], measured["map only"]
    assert (both["metrics"]["miou"]["cases"], alone["metrics"]["miou"]["cases"]) == (4, 3)
    assert "words" in both["metrics"] and "words" not in alone["metrics"]
    assert "miou" not in measured["text only"]["metrics"]  # which no map was to be followed in
    assert measured["edits"]["equal to the photo outside"] == measured["edits"]["cases"] == 2
    gating = measured["gating"]
    assert set(gating["inside / outside"]) == set(both["classes"]) == set(NAMES) and gating["cases"] == 3
    assert 0 < gating["first to last step"] < 1 and 0 < gating["between portraits"] < 1
    page = (checkpoint / "REPORT.md").read_text()
    assert f"total variation of\n{gating['first to last step']} " in page
    assert f"Mean IoU {both['metrics']['miou']['value']}%" in page
    for picture in re.findall(r"\((\S+\.jpg)\)", page):
        assert (checkpoint / picture).is_file()


def test_training_goes_on_from_an_exported_checkpoint(checkpoint, config, run_of, tmp_path):
    further = with_phases(replace(config, folder=tmp_path / "run", start_from=checkpoint), steps=1)
    run = run_of(further)
    (tmp_path / config.folder.name).mkdir()
    shutil.copy(config.folder / "weights.pt", tmp_path / config.folder.name)
    before = run_of(config)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert (run.code(pictures) - before.code(pictures)).abs().mean() < 0.02  # its weights are bfloat16
    run.guidance(1e9)
    program.export(run.model, run.vae, further, run.log, tmp_path / "checkpoint")
    configs = (tmp_path / "checkpoint").glob("*/config.json")
    assert not any(str(checkpoint) in file.read_text() for file in configs)  # a folder is no one else's business
    record = json.loads((tmp_path / "checkpoint" / "training.json").read_text())
    assert record["before"]["stages"]["flow"][-1]["step"] == 2 and "flow" not in record["stages"]
    assert str(checkpoint) not in json.dumps(record)
    first, second = (
        load_pipeline(folder, device="cpu").transformer for folder in (checkpoint, tmp_path / "checkpoint")
    )
    changes = [(a - b).abs().max() for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert 0 < max(changes) < 0.05  # one step away, not begun anew


def test_the_words_to_go_on_from_are_those_of_the_checkpoint(checkpoint, config):
    pipeline = load_pipeline(checkpoint, dtype=torch.float32, device="cpu")
    further = model.from_checkpoint(pipeline, checkpoint, config).encoders
    own = pipeline.text_encoder_2
    torch.testing.assert_close(further.text_encoder_2.state_dict(), own.float().state_dict())


def test_from_nothing_guidance_changes_nothing_at_first(config, run_of):
    run = run_of(config)
    draw, batch = drawn(run, 2)
    nn.init.normal_(run.model.transformer.proj_out.weight, std=0.3)
    text = run.model.encoders(draw["clip"], draw["t5"])
    one, six = (
        run.model(*text, batch.condition, batch.noisy, draw["timestep"], torch.full((2,), scale))[0]
        for scale in (1.0, 6.0)
    )
    torch.testing.assert_close(one, six, atol=0, rtol=0)
    assert one.abs().max() > 0


def test_rare_attributes_weigh_more_and_are_drawn_more():
    counted = [sample_attributes(np.random.default_rng(seed)) for seed in range(400)]
    rarity = Rarity.of(counted)
    assert np.mean([rarity.weight(one) for one in counted]) == pytest.approx(1)
    hats = [one.hat for one in counted]
    factor = rarity.factors["hat"]
    assert factor["none"] == pytest.approx(400 / len(set(hats)) / hats.count("none"))
    assert factor["cap"] > 1 > factor["none"]
    even, balanced = (
        [rarity.draw(np.random.default_rng(seed), None, share).hat for seed in range(200)] for share in (0.0, 1.0)
    )
    assert balanced.count("none") < even.count("none") - 20
    unheard_of = replace(counted[0], skin="green")
    assert rarity.ids(unheard_of)[ATTRIBUTES.index("skin")] == UNHEARD_OF


def test_heads_learn_what_captions_tell(config):
    rarity = Rarity.of([sample_attributes(np.random.default_rng(seed)) for seed in range(50)])
    heads = words.AttributeHeads(8, rarity)
    logits = heads(torch.zeros(3, 5, 8), torch.zeros(3, 8))
    attributes = torch.zeros(3, len(ATTRIBUTES), dtype=torch.uint8)
    even = words.words_loss(logits, attributes, torch.zeros(3, dtype=torch.bool))
    assert even.item() == pytest.approx(np.log(logits.shape[-1]))
    right = logits.clone()
    right[:, 1:, :, 0] = 100
    dropped = torch.tensor([True, False, False])
    assert words.words_loss(right, attributes, dropped).item() == pytest.approx(0, abs=1e-6)
    attributes[0] = UNHEARD_OF
    assert words.words_loss(right, attributes, torch.zeros(3, dtype=torch.bool)).item() == pytest.approx(0, abs=1e-6)
    assert words.words_loss(right, attributes, torch.ones(3, dtype=torch.bool)).item() == 0  # nothing told: no NaN


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


def test_the_decoder_learns_from_what_the_model_redraws(config, run_of):
    run = run_of(config)
    tokens, rows = vae.redraw(run.model, run.code, run.pool, replace(config, redrawn_portraits=12), seconds=60)
    own = run.pool["latents"][rows].float()
    assert tokens.shape == own.shape
    # Even an untrained model's last steps leave a portrait nearer to itself than to another one.
    others = run.pool["latents"][(rows + 1) % len(run.pool)].float()
    nearer = (tokens - own).square().mean((1, 2)) < (tokens - others).square().mean((1, 2))
    assert nearer.float().mean() > 0.8
    before = [parameter.clone() for parameter in run.vae.decoder.parameters()]
    run.decoder(1e9)
    assert any(not torch.equal(*pair) for pair in zip(before, run.vae.decoder.parameters(), strict=True))


def test_portraits_are_redrawn_as_the_exported_pipeline_draws(config, run_of, monkeypatch):
    """By the last step, then by the last two; both in float32."""
    monkeypatch.setattr(vae, "autocast", lambda device: nullcontext())
    run = run_of(config)
    draws = torch.Generator().manual_seed(0)
    nn.init.normal_(run.model.transformer.proj_out.weight, std=0.3, generator=draws)
    tokens, rows = vae.redraw(run.model, run.code, run.pool, replace(config, redrawn_portraits=8), seconds=60)
    pipeline, draws = pipeline_of(run.model, run.vae, config), torch.Generator().manual_seed(config.seed)
    pipeline.set_progress_bar_config(disable=True)
    for part, strength in ((slice(4), 0.25), (slice(4, 8), 0.5)):
        chosen = {name: run.pool[name][rows[part]] for name in ("images", "label_maps", "clip", "t5")}
        assert torch.equal(rows[part], torch.randint(len(run.pool), (4,), generator=draws))
        with torch.no_grad():
            embeds, pooled = run.model.encoders(chosen["clip"][:, 0].long(), chosen["t5"][:, 0].long())
        drawn = pipeline(
            image=list(chosen["images"].numpy()),
            label_map=list(chosen["label_maps"][:, 0].numpy()),
            latents=torch.randn(tokens[part].shape, generator=draws),
            strength=strength,
            prompt_embeds=embeds,
            pooled_prompt_embeds=pooled,
            output_type="latent",
        ).images
        torch.testing.assert_close(tokens[part], drawn, atol=2e-3, rtol=0)


def test_the_decoders_pictures_are_those_of_its_latents(config, run_of):
    run = run_of(config)
    noiseless = replace(config, decoder_latent_noise=0.0)
    lesson = vae.DecoderLesson(run.vae, run.model, run.code, run.pool, noiseless, seconds=60)
    draw = lesson.draw(torch.Generator().manual_seed(0), replace(config.phase("decoder"), batch=8))
    encoded = run.code(draw["pictures"])[:4]  # the others are redrawn
    torch.testing.assert_close(draw["latents"][:4], encoded, atol=1e-4, rtol=1e-4)
    assert len(draw["latents"]) == len(draw["pictures"]) == 8


def test_the_devices_condition_is_that_of_the_pipeline(config, run_of):
    """Tokens, class shares and latents, computed from tables, equal what the pipeline encodes picture by picture."""
    run = run_of(config)
    pipeline = program.load_pipeline(Path("assets/mini"), device="cpu")
    pipeline.register_modules(vae=run.vae.eval())
    draw, batch = drawn(run, 3)
    draw["dropped"][:] = False
    batch = prepare(draw, run.code)
    for row, label_map in enumerate(draw["label_map"].numpy()):
        torch.testing.assert_close(
            batch.condition[row], pipeline.encode_label_map(label_map, 64, 64), atol=1e-5, rtol=0
        )
        covered = torch.from_numpy(coverage(label_map, 4, 4)).flatten(1).T.float()
        torch.testing.assert_close(batch.seen_shares[row], covered, atol=1e-6, rtol=0)
    torch.testing.assert_close(class_shares(draw["label_map"]), batch.seen_shares)
    images = run.pool["images"][:3]
    encoded = run.vae.encode(images.permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist.mode()
    torch.testing.assert_close(unpack(run.code.tokens(images)), encoded, atol=1e-4, rtol=0)


def test_the_devices_loss_is_flow_matching_of_the_pipelines_transformer(config, run_of):
    run = run_of(config)
    nn.init.normal_(run.model.transformer.proj_out.weight, std=0.1)
    draw, batch = drawn(run, 3)
    embeds, pooled = run.model.encoders(draw["clip"], draw["t5"])
    velocity, weights = run.model(embeds, pooled, batch.condition, batch.noisy, draw["timestep"], draw["guidance"])
    ours = losses(velocity, weights, batch.target, draw["guidance"], batch, config)["square"]
    grid = program.models.image_ids(4, 4)
    plain = TrainingBatch(draw["clean"], embeds, pooled, grid, torch.zeros(32, 3), batch.condition)
    noise, timestep = draw["noise"], draw["timestep"]
    theirs = flow_matching_loss(run.model.transformer, run.model.mogle, plain, noise=noise, timestep=timestep)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_what_is_dropped_is_black(config, run_of):
    run = run_of(config)
    black = run.code.condition(torch.zeros(1, 64, 64, dtype=torch.uint8))[0][0, 2]  # no skin
    draw, batch = drawn(run, 64)
    assert (batch.condition[draw["dropped"]] - black).abs().max() < 1e-6
    without = draw["dropped"].all(1)
    assert torch.equal(~without, batch.known) and 2 < without.sum() < 30  # a fifth
    partly = draw["dropped"][~without]
    assert not partly[:, 0].any() and 0.02 < partly[:, 1:].float().mean() < 0.2


def test_draws_repeat_and_mix_the_maps(config, run_of):
    run = run_of(config)
    run.pool.gather(24).refill = lambda limit: 0
    first, again, other = (drawn(run, 32, seed)[0] for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["noise"], other["noise"])
    own = (first["own_map"] == first["label_map"]).flatten(1).all(1)
    assert 0.5 < own.float().mean() < 1
    silent = first["t5"] == run.empty[1]
    assert torch.equal(silent.all(1), first["silent"])


@pytest.mark.parametrize(("all_masks_dropout", "unusual"), [(0.0, (True, False)), (1.0, (False, True))])
def test_what_is_unusual_is_not_drawn_without_its_words(config, run_of, all_masks_dropout, unusual):
    run = run_of(replace(config, text_dropout=1.0, all_masks_dropout=all_masks_dropout))
    run.pool.refill = lambda limit: 0
    run.pool["unusual"][:] = torch.tensor(unusual)
    assert not drawn(run, 8)[0]["silent"].any()
    run.pool["unusual"][:] = ~torch.tensor(unusual)
    assert drawn(run, 8)[0]["silent"].all()


def test_a_class_counts_as_much_as_any_other_and_by_its_mean_error():
    label_map = torch.zeros(1, 32, 32, dtype=torch.uint8)
    label_map[0, :16, :16] = 3
    shares = class_shares(label_map)
    assert shares.sum(1).nonzero().tolist() == [[0, 0], [0, 3]] and shares[0, :, 3].tolist() == [1, 0, 0, 0]
    wrong = torch.zeros(1, 4, 5)
    wrong[0, 0] = 2  # the one token of class 3: of two classes, one is wrong by 2
    assert objective.class_error(wrong, shares).item() == pytest.approx(2**2 / 2)
    uneven = torch.tensor([0.0, 3.0, -1.0, -2.0])[None, :, None].expand(1, 4, 5)  # over class 0: right on average
    assert objective.class_error(uneven, shares).item() == pytest.approx(0)


def test_an_expert_is_asked_to_weigh_more_inside_its_class():
    # Every other class is absent, and is not asked; nor is a sample whose map was dropped.
    label_maps = torch.zeros(2, 32, 32, dtype=torch.uint8)
    label_maps[:, 16:] = 1
    shares, known = class_shares(label_maps), torch.tensor([True, False])
    apart = torch.full((2, 4, 20), 1 / 20)
    hinge = lambda: objective.unspecialised(apart, shares, known, 3.0).item()  # noqa: E731
    assert hinge() == pytest.approx(np.log(3))
    apart[0, :2, 1] *= 4
    assert hinge() == pytest.approx(np.log(3) / 2)
    apart[0, 2:, 2] *= 3
    assert hinge() == pytest.approx(0, abs=1e-6)
    assert objective.unspecialised(apart, shares, torch.zeros(2, dtype=torch.bool), 3.0).item() == 0


@pytest.fixture
def lesson(config, run_of):
    """A teacher on whom text and guidance have an effect, and a draw: a red-haired man, and no prompt."""
    run = run_of(config)
    draws = torch.Generator().manual_seed(0)
    nn.init.normal_(run.model.transformer.proj_out.weight, std=0.3, generator=draws)
    nn.init.normal_(run.model.transformer.time_text_embed.guidance_embedder.linear_2.weight, std=0.3, generator=draws)
    run.model.eval()
    draw, _ = drawn(run, 2)
    draw["clip"], draw["t5"] = ids_of(run.model.encoders, ["a man with red hair", ""])
    draw["dropped"][:] = False
    return Teacher(run.model, run.empty, config), draw, run.code


def guided(lesson, scale: float, timestep: float = 0.9, **options) -> torch.Tensor:
    teacher, draw, code = lesson
    draw |= {"timestep": torch.full((2,), timestep), "guidance": torch.full((2,), scale)}
    batch = replace(prepare(draw, code), noisy=draw["noise"])
    return teacher.guided(draw, batch, **options)


def test_guidance_goes_on_from_no_prompt_to_the_prompt(lesson):
    """What two passes made, one pass shall make; an empty prompt leads nowhere, and little noise needs none."""
    told, untold = guided(lesson, 1.0), guided(lesson, 0.0)
    assert (told - untold)[0].abs().max() > 1e-3 and (told - untold)[1].abs().max() < 1e-4
    teacher, draw, code = lesson
    text, batch = teacher.model.encoders(draw["clip"], draw["t5"]), prepare(draw, code)
    one = torch.ones(2)
    plain, _ = teacher.model(*text, batch.condition, draw["noise"], torch.full((2,), 0.9), one)
    torch.testing.assert_close(told, plain)
    torch.testing.assert_close(guided(lesson, 3.0), untold + 3 * (told - untold))
    assert not torch.equal(guided(lesson, 3.0, 0.31), guided(lesson, 1.0, 0.31))
    assert torch.equal(guided(lesson, 3.0, 0.3), guided(lesson, 1.0, 0.3))
    assert not guided(lesson, 3.0).requires_grad


def test_without_a_map_guidance_also_leads_away_from_perturbed_attention(lesson):
    teacher = lesson[0]

    def added(scale, timestep=0.9, *, weight=1.5):
        """By perturbed attention, to the velocities without a map and with one."""
        teacher.config = replace(teacher.config, perturbed=weight)
        return guided(lesson, scale, timestep, without_map=1) - guided(lesson, scale, timestep)

    without, with_map = added(2.0)
    assert not with_map.any() and without.abs().max() > 1e-3
    torch.testing.assert_close(added(2.0, weight=3.0)[0], 2 * without)
    torch.testing.assert_close(added(1.5)[0], without / 2)
    torch.testing.assert_close(added(5.0)[0], without)
    assert not added(1.0).any() and not added(2.0, 0.7).any()


def test_some_samples_go_on_learning_from_portraits(lesson):
    _, draw, code = lesson
    made = guided(lesson, 3.0, portraits=1)
    assert torch.equal(made[1], prepare(draw, code).target[1])
    assert torch.equal(made[0], guided(lesson, 3.0)[0])


def test_perturbed_image_tokens_see_only_themselves(config):
    small = model.from_nothing(replace(config, text_length=3, size=32))
    block = small.transformer.single_transformer_blocks[0]
    rows = torch.randn(1, 3 + 2 * 4, 64, generator=torch.Generator().manual_seed(0))  # text, image, condition

    def reached(place):
        """The rows whose output hangs on that row."""
        changed = rows.clone()
        changed[:, place] += 1
        options = {"image_rotary_emb": (small.cosines, small.sines), "attention_mask": small.only_themselves}
        before, after = (block.attn(hidden_states=each, **options)[0] for each in (rows, changed))
        return set((before - after).abs().amax(1).gt(1e-5).nonzero().flatten().tolist())

    image = {3, 4, 5, 6}
    assert reached(4) == set(range(11)) - image | {4}
    assert reached(0) == reached(9) == set(range(11)) - image


def test_what_a_teacher_says_is_learned(config, run_of):
    run = run_of(with_phases(replace(config, specialisation_weight=0.0), steps=40, learning_rate=3e-3, average=0.9))
    draws = torch.Generator().manual_seed(0)
    nn.init.normal_(run.model.transformer.proj_out.weight, std=0.3, generator=draws)
    teacher = Teacher(run.model, run.empty, config)
    draw, batch = drawn(run, 4)
    draw |= {"timestep": torch.full((4,), 0.92), "guidance": torch.full((4,), 5.0)}
    batch = prepare(draw, run.code)
    lesson = run.denoising(lambda generator, phase: draw, teacher.guided)
    learn("guidance", lesson, run.config, seconds=1e9, log=run.log)
    inputs = batch.condition, batch.noisy, draw["timestep"], draw["guidance"]
    with torch.no_grad():
        before, after = (
            each(*each.encoders(draw["clip"], draw["t5"]), *inputs)[0] for each in (teacher.model, run.model)
        )
    wanted = teacher.guided(draw, batch)
    assert (after - wanted).square().mean() < 0.5 * (before - wanted).square().mean()


def test_asking_for_it_makes_the_gating_specialise(config, run_of, tmp_path):
    ratios = {}
    for weight in (0.0, 10.0):
        settings = replace(
            config, folder=tmp_path / str(weight), specialisation_weight=weight, all_masks_dropout=0.0, world=None
        )
        run = run_of(with_phases(settings, steps=60, learning_rate=3e-3))
        run.pool.refill = lambda limit: 0  # rendering more takes longer than learning
        run.flow(1e9)
        label_maps = run.pool["label_maps"][:12, 0]
        tokens, _ = run.code.condition(label_maps)
        noise = torch.randn(tokens[:, 0].shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            gating_weights = run.model.mogle(tokens, noise, torch.ones(len(noise)))[1].mT.unflatten(2, (4, 4)).numpy()
        parts = [inside_outside(*pair) for pair in zip(gating_weights, label_maps.numpy(), strict=True)]
        inside, outside = np.nanmean(parts, axis=0).T
        ratios[weight] = inside / outside
    assert np.mean(ratios[10.0] > 1.5) > 0.8 > np.mean(ratios[0.0] > 1.5)


def test_portraits_are_rendered_once(config, portraits, monkeypatch):
    monkeypatch.setattr(samples, "ProcessPoolExecutor", None)
    assert np.array_equal(samples.load(config, "train", limit=12).images, portraits.images)


def test_workers_portraits_are_the_trainers(config, run_of):
    """Token ids as the encoders' tokenizers give them, the own map first, then one that differs."""
    run = run_of(config)
    recipe = run.portraits.recipe
    sample = recipe(5)
    ids = (4, config.text_length), "int16"
    assert {name: (array.shape, array.dtype.name) for name, array in sample.items()} == {
        "images": ((64, 64, 3), "uint8"), "label_maps": ((2, 64, 64), "uint8"), "clip": ids, "t5": ids,
        "attributes": ((len(ATTRIBUTES),), "uint8"), "unusual": ((2,), "bool"),
    }  # fmt: skip
    rng = np.random.default_rng(5)
    attributes = recipe.rarity.draw(rng, config.world, config.balanced)
    image, label_map = samples.render(attributes, size=64)
    assert np.array_equal(sample["images"], image) and np.array_equal(sample["label_maps"][0], label_map)
    assert (sample["label_maps"][1] != label_map).any()
    captions = ["a woman, with xyzzy hair", " ".join(["red"] * 60), ""]
    for own, ids in zip(recipe.tokenizers, ids_of(run.model.encoders, captions), strict=True):
        assert [own.encode(caption).ids for caption in captions] == ids.tolist()


def test_unseen_portraits_are_never_rendered(config, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(program, "Feed", lambda recipe, **options: asked.append(options["seeds"]) or AtOnce(recipe))
    program.Run(replace(config, folder=tmp_path), Log(tmp_path / "log.jsonl"))
    assert asked == [range(config.test_seed)]


def test_words_outside_the_vocabulary_are_one_token(config):
    text = TextEncoders(config)
    clip, t5 = ids_of(text, ["a woman with xyzzy hair", "a woman, with red hair."])
    assert clip.shape == t5.shape == (2, config.text_length)
    differing = (t5[0] != t5[1]).nonzero()[:, 0].tolist()
    assert differing == [3]  # punctuation is dropped, case and place of the rest is kept
    prompt_embeds, pooled = text(clip, t5)
    assert prompt_embeds.shape == (2, config.text_length, 32) and pooled.shape == (2, 32)


def test_some_words_become_unknown_ones(config, run_of):
    recipe = run_of(config).portraits.recipe
    kept, spoiled = (replace(recipe, config=replace(config, unknown_words=share))(5) for share in (0.0, 0.3))
    unknown = [tokenizer.token_to_id("<unk>") for tokenizer in recipe.tokenizers]
    changed = [kept[name] != spoiled[name] for name in ("clip", "t5")]
    assert all((spoiled[name][at] == id).all() for name, at, id in zip(("clip", "t5"), changed, unknown, strict=True))
    assert np.array_equal(
        changed[0][:, 1:], changed[1][:, :-1]
    )  # the same words; CLIP's ids begin with one of their own
    words = (kept["t5"] > max(unknown)).sum()
    assert 0.15 < changed[1].sum() / words < 0.45


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "a phase that fails leaves the weights of the one before it"),
        (["--minutes", "0"], "--minutes must be above 0"),
        (["--start-from", "nowhere"], "--start-from must be a folder, got nowhere"),
        (["bake"], "invalid choice"),
    ],
)
def test_the_command_explains_itself(arguments, said):
    run = subprocess.run([sys.executable, "-m", "train.mini", *arguments], capture_output=True, text=True)
    assert said in " ".join((run.stdout + run.stderr).split())
    assert len(run.stdout.splitlines()) < 45


def test_the_parsers_pictures_and_maps_move_together(portraits):
    """A picture that shows its own label map still does after all that moves it."""
    label_maps = torch.from_numpy(portraits.label_maps)
    shown = (label_maps[..., None] * 13).expand(-1, -1, -1, 3)
    pictures, classes = parser.draw_batch(shown, label_maps, torch.Generator().manual_seed(0))
    again = parser.draw_batch(shown, label_maps, torch.Generator().manual_seed(0))
    assert torch.equal(pictures, again[0]) and torch.equal(classes, again[1])
    for picture, label_map in zip(pictures.mean(1), classes, strict=True):
        # Left and right classes are swapped by a flip, and differ little in these grey levels.
        correlation = np.corrcoef(picture.flatten(), label_map.flatten())[0, 1]
        assert correlation > 0.9


def test_a_parsers_pairs_can_be_made_hard(config, monkeypatch):
    monkeypatch.setattr(samples, "harden", lambda image, label_map, rng: (255 - image, label_map * 0))
    recipe, plain = (samples.PairRecipe(replace(config, size=32, hard=share)) for share in (0.5, 0.0))
    hard = [not recipe(seed)["label_maps"].any() for seed in range(20)]
    assert 4 < sum(hard) < 16
    for seed in range(3):
        image = plain(seed)["images"]
        assert np.array_equal(recipe(seed)["images"], 255 - image if hard[seed] else image)


def test_the_parsers_loss_falls_with_better_logits():
    classes = torch.randint(19, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(classes, 19).movedim(-1, 1).float()
    losses = [float(parser.loss_of_logits(scale * right, classes, torch.ones(19))) for scale in (0, 4, 20)]
    assert losses[0] > losses[1] > losses[2] and losses[2] < 1e-3
    assert losses[0] == pytest.approx(np.log(19) + parser.DICE * (1 - 1 / 19), rel=0.01)
