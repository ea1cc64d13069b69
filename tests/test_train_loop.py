import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import default_collate

from facemogle.checkpoints import load_pipeline
from facemogle.data.pairs import find_pairs
from facemogle.mogle import EXPERTS, GATINGS
from facemogle.transformer import FaceMoGLETransformer2DModel
from tests.tiny_training import CONFIG, ERRORS, TINY, TinySamples, run, start, start_pair
from train.batches import Encoder, Stream, batches, positions
from train.building import (
    Trained,
    add_trained,
    autocast_dtype,
    build_optimizer,
    freeze_idle,
    learning_rate,
    load_base,
    optional,
)
from train.counting import build
from train.data import FaceDataset
from train.memory import architecture, spread
from train.publish import export
from train.run import Diverged
from train.saving import load, newest

ADAPTER = "pytorch_lora_weights.safetensors"


def records(folder, name):
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return {line["step"]: line[name] for line in lines if name in line}


def trained_on(**changes):
    """A pipeline as a run has it, what is trained of it, and what is not."""
    config = replace(CONFIG, **changes)
    pipeline = load_base(config, "cpu")
    add_trained(pipeline, config)
    trained = Trained(pipeline, config)
    return pipeline, trained, freeze_idle(trained, autocast_dtype(config, "cpu"))


# Samples and draws


def collated(config, process=0, processes=1, samples=None, count=1):
    samples = samples or TinySamples()
    stream = Stream(samples, len(samples), config.seed)
    loader = batches(stream, config, positions(0, config, process, processes), pin=False)
    return [next(loader) for _ in range(count)]


def test_an_epoch_holds_every_sample_once_and_another_order_than_the_next():
    def names_of(config):
        return [name for batch in collated(config, count=7) for name in batch["name"]]

    names = names_of(CONFIG)
    first, second = names[:7], names[7:]
    assert sorted(first) == sorted(second) == [f"{number:05d}" for number in range(7)] and first != second
    assert names == names_of(replace(CONFIG, workers=2))


def test_many_processes_see_and_draw_what_one_does():
    pipeline = load_base(CONFIG, "cpu")
    encoder = Encoder(pipeline, CONFIG, TinySamples())
    (whole,) = collated(replace(CONFIG, batch=4))
    parts = [collated(CONFIG, process, 2)[0] for process in range(2)]
    assert whole["name"] == parts[0]["name"] + parts[1]["name"]
    expected, *inputs = encoder.training_batch(whole)
    halves = [encoder.training_batch(part) for part in parts]
    for place, tensor in enumerate(inputs, 1):
        assert torch.equal(tensor, torch.cat([half[place] for half in halves]))
    tokens = torch.cat([half[0].condition_tokens for half in halves])
    torch.testing.assert_close(tokens, expected.condition_tokens, atol=1e-5, rtol=0)
    assert len({tuple(noise.flatten().tolist()) for noise in inputs[0]}) == 4


def test_the_shares_that_are_dropped():
    config = replace(CONFIG, batch=120, text_dropout=0.3, local_mask_dropout=0.2, all_masks_dropout=0.1)
    samples = TinySamples(1)
    present = [1 + class_id for class_id in samples.samples[0]["label_map"].unique().tolist()]
    batch = Encoder(load_base(config, "cpu"), config, samples).training_batch(collated(config, samples=samples)[0])[0]
    without_text = (batch.prompt_embeds == samples.empty_prompt["prompt_embeds"]).all((1, 2))
    assert torch.equal(
        without_text, (batch.pooled_prompt_embeds == samples.empty_prompt["pooled_prompt_embeds"]).all(1)
    )
    assert abs(without_text.float().mean() - 0.3) < 0.08
    black = Encoder(load_base(config, "cpu"), config, samples).black
    dropped = (batch.condition_tokens == black).all((2, 3))
    assert abs(dropped[:, 0].float().mean() - 0.1) < 0.06
    assert dropped[dropped[:, 0]].all()
    assert abs(dropped[~dropped[:, 0]][:, present].float().mean() - 0.2) < 0.07


def test_a_batch_holds_the_samples_own_conditions():
    config = replace(CONFIG, text_dropout=0.0, local_mask_dropout=0.0, all_masks_dropout=0.0)
    pipeline, samples = load_base(config, "cpu"), TinySamples()
    (given,) = collated(config)
    batch, noise, timestep = Encoder(pipeline, config, samples).training_batch(given)
    assert torch.equal(batch.latents, given["latents"]) and torch.equal(batch.prompt_embeds, given["prompt_embeds"])
    for tokens, label_map in zip(batch.condition_tokens, given["label_map"], strict=True):
        expected = pipeline.encode_label_map(label_map.numpy(), 64, 64)
        torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=0)
    assert noise.shape == batch.latents.shape and ((timestep > 0) & (timestep < 1)).all()


# What learns


def test_only_what_a_gradient_reaches_learns():
    _, trained, idle = trained_on()
    last = len(trained.transformer.single_transformer_blocks) - 1
    block = f"transformer.single_transformer_blocks.{last}"
    layers = ("attn.to_q", "proj_mlp", "proj_out")
    assert sorted(idle) == sorted(f"{block}.{layer}.adapter_{letter}" for layer in layers for letter in "AB")
    learning = trained.learning()
    assert all(name.startswith("mogle.") or "adapter_" in name for name in learning)
    assert {parameter.dtype for parameter in learning.values()} == {torch.float32}
    assert all(parameter.grad is None for parameter in trained.parameters())


def test_with_train_base_the_base_learns_too():
    _, trained, idle = trained_on(train_base=True)
    assert len(idle) == 6 and len(trained.learning()) == len(list(trained.parameters())) - 6


def test_the_base_is_kept_in_half_precision_and_what_learns_is_not(tmp_path):
    pipeline, trained, _ = trained_on(precision="bfloat16")
    dtypes = {name: parameter.dtype for name, parameter in trained.named_parameters()}
    learns = {name for name in dtypes if name.startswith("mogle.") or "adapter_" in name}
    assert {name for name, dtype in dtypes.items() if dtype == torch.float32} == learns
    assert pipeline.vae.dtype == torch.float32  # on a CPU
    assert run(tmp_path, precision="bfloat16", steps=4) == 0
    assert all(np.isfinite(list(records(tmp_path, "loss").values())))


def gradients_of(**changes):
    """Loss and gradients of a step, the adapter having begun."""
    config = replace(CONFIG, **changes)
    pipeline, trained, _ = trained_on(**changes)
    for number, (name, parameter) in enumerate(trained.learning().items()):
        if name.endswith("adapter_B"):
            nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(number))
    step = Encoder(pipeline, config, TinySamples()).training_batch(collated(config)[0])
    autocast = autocast_dtype(config, "cpu")
    with torch.autocast("cpu", autocast, enabled=autocast is not None):
        loss = trained(*step)
    loss.backward()
    return loss.item(), torch.cat([parameter.grad.flatten() for parameter in trained.learning().values()])


def test_a_half_precision_base_has_the_gradients_of_a_whole_one():
    (loss, exact), (rounded_loss, rounded) = gradients_of(), gradients_of(precision="bfloat16")
    assert rounded.dtype == torch.float32
    assert rounded_loss == pytest.approx(loss, rel=0.01)
    # 0.102 as measured, and by autocast over the same base as well: that is what its weights' rounding makes.
    assert 0 < (rounded - exact).norm() < 0.15 * exact.norm()


class Uploads(TorchDispatchMode):
    """Copies from the CPU to "meta" without a word about whether Python waits for them fail."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        copied = func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu"
        if copied and torch.device(kwargs.get("device") or "cpu").type == "meta":
            assert kwargs.get("non_blocking"), f"a copy of {tuple(args[0].shape)} that Python waits for"
            self.number += 1
        return func(*args, **kwargs)


def test_a_step_never_waits_for_the_device():
    """Tensors on "meta" have no values: whoever asks for one, as .item() or an `if`, gets an error."""
    pipeline, trained, _ = trained_on()
    pipeline.to("meta")
    trained.to("meta")
    encoder = Encoder(pipeline, CONFIG, TinySamples())
    with Uploads() as uploads:
        loss = trained(*encoder.training_batch(collated(CONFIG)[0]))
        loss.backward()
        nn.utils.clip_grad_norm_(trained.learning().values(), CONFIG.max_gradient_norm)
    assert uploads.number > 5
    with pytest.raises(RuntimeError):
        loss.item()


def test_a_cache_leaves_the_text_encoders_out():
    assert load_base(CONFIG, "cpu").text_encoder_2 is None
    assert load_base(replace(CONFIG, cache="", data="x"), "cpu").text_encoder_2 is not None


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_learning_rates(schedule):
    config = replace(CONFIG, schedule=schedule, steps=110, warmup_steps=10, learning_rate=2.0)
    rates = [learning_rate(step, config) for step in range(110)]
    assert rates[:10] == pytest.approx(np.linspace(0.2, 2, 10)) and rates[10] == 2
    assert rates[60] == pytest.approx({"constant": 2, "linear": 1, "cosine": 1}[schedule])
    assert rates[-1] == pytest.approx({"constant": 2, "linear": 0.02, "cosine": 0.0005}[schedule], rel=0.05)


def test_a_missing_package_is_named():
    with pytest.raises(ImportError, match="optimizer=x needs the package no_such_package: pip install"):
        optional("no_such_package", "optimizer=x")


@pytest.mark.parametrize(("name", "package"), [("prodigy", "prodigyopt"), ("adamw8bit", "bitsandbytes")])
def test_optional_optimisers(name, package, tmp_path):
    pytest.importorskip(package)
    settings = {"optimizer": name, "learning_rate": 1.0 if name == "prodigy" else 1e-3, "validation_every": 0}
    run(tmp_path / "whole", steps=8, **settings)
    run(tmp_path / "broken", steps=4, **settings)
    run(tmp_path / "broken", steps=8, **settings)
    for first, second in zip(*(weights(tmp_path / each) for each in ("whole", "broken")), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_holds_what_the_log_holds(tracker, tmp_path):
    pytest.importorskip(tracker)
    folder = tmp_path / "run"
    # In a process of its own, since they read where to write as they are imported.
    process = start(folder, {"WANDB_MODE": "offline", "TRACKIO_DIR": str(folder / "trackio")}, tracker=tracker)
    process.join()
    assert process.exitcode == 0
    losses = records(folder, "loss")
    assert list(losses) == [3, 6, 9, 12]
    if tracker == "tensorboard":
        events = EventAccumulator(str(folder / "face-mogle")).Reload().Scalars("loss")
        assert {event.step: event.value for event in events} == pytest.approx(losses)
    else:
        kept = [path for path in folder.rglob("*") if path.suffix in (".wandb", ".db", ".db-wal")]
        written = b"".join(path.read_bytes() for path in kept)
        assert all(str(loss).encode() in written for loss in losses.values())


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_a_quantised_base(bits, tmp_path):
    pytest.importorskip("bitsandbytes")
    _, trained, idle = trained_on(quantise=bits)
    assert trained.transformer.transformer_blocks[0].attn.to_q.weight.dtype in (torch.uint8, torch.int8)
    assert len(idle) == 6 and {each.dtype for each in trained.learning().values()} == {torch.float32}
    run(tmp_path, quantise=bits, steps=4)
    losses = list(records(tmp_path, "loss").values())
    run(tmp_path / "plain", steps=4)
    assert losses == pytest.approx(list(records(tmp_path / "plain", "loss").values()), rel=0.1)


def weights(folder):
    """What a finished run learned."""
    return [*load_file(folder / "weights" / ADAPTER).values(), *mogle_weights(folder).values()]


def mogle_weights(folder):
    return load_file(folder / "weights" / "mogle" / "diffusion_pytorch_model.safetensors")


# Runs


def test_a_few_samples_are_learned_by_heart(tmp_path):
    """The tiny base is random: nothing is there to be steered, so it learns too."""
    settings = {"train_base": True, "learning_rate": 6e-3, "steps": 80, "batch": 4, "log_every": 10}
    settings |= {"validation_every": 0, "validation_samples": 0, "checkpoint_every": 80, "ema_decay": 0.9}
    settings |= {"text_dropout": 0.0, "local_mask_dropout": 0.0, "all_masks_dropout": 0.0, "timestep_std": 0.1}
    run(tmp_path, TinySamples(2), **settings)
    losses = list(records(tmp_path, "loss").values())
    assert losses[-1] < 0.7 * losses[0] and losses == sorted(losses, reverse=True)


def test_accumulation_is_a_larger_batch(tmp_path):
    for name, settings in {"large": {"batch": 4}, "small": {"batch": 2, "accumulation": 2}}.items():
        run(tmp_path / name, steps=3, **settings)
    first, second = (records(tmp_path / name, "loss") for name in ("large", "small"))
    assert first == pytest.approx(second, rel=1e-5)
    states = [newest(tmp_path / name / "checkpoints") for name in ("large", "small")]
    assert states[0]["samples"] == states[1]["samples"] == 12


def test_gradient_checkpointing_changes_nothing(tmp_path):
    for flag in (False, True):
        run(tmp_path / str(flag), steps=2, gradient_checkpointing=flag)
    for first, second in zip(weights(tmp_path / "False"), weights(tmp_path / "True"), strict=True):
        torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def test_compiled_blocks_learn_the_same(tmp_path, monkeypatch):
    compiled = []

    def compile_quickly(self, **settings):  # the same graphs, without the minutes that making code of them takes
        compiled.append(self)
        compile_repeated_blocks(self, backend="aot_eager", **settings)

    compile_repeated_blocks = FaceMoGLETransformer2DModel.compile_repeated_blocks
    monkeypatch.setattr(FaceMoGLETransformer2DModel, "compile_repeated_blocks", compile_quickly)
    for flag in (False, True):
        run(tmp_path / str(flag), steps=2, compile=flag, validation_every=0)
    assert len(compiled) == 1
    for first, second in zip(weights(tmp_path / "False"), weights(tmp_path / "True"), strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


def test_the_average_is_what_is_published(tmp_path):
    run(tmp_path, ema_decay=0.9)
    state = newest(tmp_path / "checkpoints")
    averages = dict(zip(state["weights"], state["average"]["shadow_params"], strict=True))
    published = {f"mogle.{name}": tensor for name, tensor in mogle_weights(tmp_path).items()}
    assert all(torch.equal(tensor, averages[name]) for name, tensor in published.items() if name in averages)
    assert not torch.equal(averages["mogle.gating.gate.2.bias"], state["weights"]["mogle.gating.gate.2.bias"])
    run(tmp_path / "none", ema_decay=0.0)
    state = newest(tmp_path / "none" / "checkpoints")
    for weight, average in zip(state["weights"].values(), state["average"]["shadow_params"], strict=True):
        torch.testing.assert_close(weight, average)


def test_nan_stops_the_run_with_the_samples_names(tmp_path):
    with pytest.raises(Diverged) as error:
        run(tmp_path, TinySamples(broken=3), checkpoint_every=2)
    assert "00003" in str(error.value) and "same command goes on" in str(error.value)
    for state in map(load, (tmp_path / "checkpoints").glob("*.pt")):
        assert all(tensor.isfinite().all() for tensor in state["weights"].values())


def test_too_few_samples(tmp_path):
    with pytest.raises(ValueError, match="There are 2 samples, and validation_samples holds 2"):
        run(tmp_path, TinySamples(2))


def test_validation_compares_and_draws(tmp_path):
    run(tmp_path, validation_pictures=2, learning_rate=1e-12, log_every=6)
    losses = records(tmp_path, "validation_loss")
    assert list(losses) == [6, 12] and losses[6] == pytest.approx(losses[12], rel=1e-5)
    with Image.open(tmp_path / "validation" / "step-00000012.png") as page:
        assert page.width > 900 and len(page.getcolors(2**24)) > 1000


ABLATIONS = [{"experts": experts, "gating": "matrix"} for experts in EXPERTS]
ABLATIONS += [{"experts": "both", "gating": gating} for gating in GATINGS[1:]]
ABLATIONS += [{"experts": "both", "gating": "matrix", "gating_timestep": False}]
ABLATIONS += [{"experts": "none", "gating": "static"}, {"gating": "scalar", "gating_timestep": False}]


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: "-".join(map(str, ablation.values())))
def test_every_ablation_trains_saves_loads_and_generates(ablation, tmp_path, label_map):
    run(tmp_path, steps=2, validation_every=0, timestep_scale=1.0, alpha=2.0, **ablation)
    folder = tmp_path / "weights"
    pipeline = load_pipeline(TINY, adapter=folder / ADAPTER, mogle=folder / "mogle", device="cpu")
    assert pipeline.transformer.adapter_config.alpha == 2 and pipeline.mogle.config.timestep_scale == 1
    assert pipeline.mogle.config.experts == ablation.get("experts", "both")
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        "a face",
        label_map=label_map,
        height=64,
        width=64,
        num_inference_steps=1,
        max_sequence_length=8,
        output_type="latent",
        record_gating=True,
    )
    assert made.images.isfinite().all() and made.gating.weights.shape[2] == 20
    assert not (folder / "mogle.pt").exists()


def test_the_published_layout_loads_too(tmp_path):
    run(tmp_path, steps=2, validation_every=0)
    folder = tmp_path / "weights"
    first, second = (
        load_pipeline(TINY, adapter=folder, mogle=folder / name, device="cpu") for name in ("mogle", "mogle.pt")
    )
    assert all(map(torch.equal, first.mogle.state_dict().values(), second.mogle.state_dict().values()))
    card = (folder / "README.md").read_text()
    assert str(tmp_path) not in card and str(TINY) not in card
    assert "steps: 2" in card and "learning_rate: 0.01" in card and "`mogle.pt`" in card


def test_a_run_is_exported_from_its_checkpoints(tmp_path):
    run(tmp_path, learning_rate=0.05)
    before = weights(tmp_path)
    assert export(tmp_path, "last") == tmp_path / "weights"
    assert all(map(torch.equal, before, weights(tmp_path)))
    best = load(tmp_path / "checkpoints" / "best.pt")
    assert f"steps: {best['step']}" in (export(tmp_path, "best") / "README.md").read_text()


def test_going_on_from_a_checkpoints_own_weights(tmp_path):
    pipeline = load_base(CONFIG, "cpu")
    add_trained(pipeline, CONFIG)
    for linear in pipeline.transformer.modules():
        if getattr(linear, "adapter_B", None) is not None:
            torch.nn.init.normal_(linear.adapter_B, generator=torch.Generator().manual_seed(0))
    full = load_base(replace(CONFIG, cache="", data="x"), "cpu")
    full.register_modules(transformer=pipeline.transformer, mogle=pipeline.mogle)
    full.save_pretrained(tmp_path / "base")

    settings = {"checkpoint": str(tmp_path / "base"), "from_checkpoint": True, "learning_rate": 1e-12, "steps": 1}
    run(tmp_path / "run", **settings)
    torch.testing.assert_close(
        load_file(tmp_path / "run" / "weights" / ADAPTER), pipeline.transformer.condition_adapter_state_dict()
    )
    with pytest.raises(ValueError, match="Make them equal"):
        run(tmp_path / "other", **settings, rank=2)
    with pytest.raises(ValueError, match="Make them equal"):
        run(tmp_path / "other", **settings, gating="scalar")


def test_without_a_cache(tmp_path, reference):
    config = replace(CONFIG, cache="", data=str(reference / "dataset"), validation_every=0, validation_samples=0)
    samples = FaceDataset(find_pairs(reference / "dataset"), height=64, width=64)
    settings = {name: getattr(config, name) for name in ("cache", "data", "validation_every", "validation_samples")}
    run(tmp_path, samples, steps=2, **settings)
    assert len(records(tmp_path, "loss")) == 1

    encoder = Encoder(load_base(config, "cpu"), replace(config, text_dropout=1.0), samples)
    batch = encoder.training_batch(default_collate([samples[0] | {"position": 0}, samples[1] | {"position": 1}]))[0]
    assert torch.equal(batch.prompt_embeds[0], batch.prompt_embeds[1])
    batch = encoder.encode(default_collate([samples[0], samples[1]]))
    assert not torch.equal(batch.prompt_embeds[0], batch.prompt_embeds[1])
    expected = encoder.pipeline.encode_images(samples[0]["image"][None] / 255)
    torch.testing.assert_close(batch.latents[:1], expected)


@pytest.mark.parametrize("shard_base", [False, True], ids=["DDP", "base by FSDP"])
def test_two_processes_have_the_gradients_of_one_with_twice_the_batch(tmp_path, shard_base):
    settings = {"steps": 1, "accumulation": 2, "max_gradient_norm": 1e9, "shard_base": shard_base}
    settings |= {"validation_every": 1, "validation_pictures": 1}
    pair = start_pair(tmp_path / "two", batch=1, **settings)
    for process in pair:
        process.join()
    assert [process.exitcode for process in pair] == [0, 0], (tmp_path / "two" / ERRORS).read_text()
    kept = re.search(
        r"Of the base's ([\d.]+) MB, each process keeps ([\d.]+)\.", (tmp_path / "two" / ERRORS).read_text()
    )
    assert (kept is not None and float(kept[2]) < 0.6 * float(kept[1])) == shard_base
    if kept is not None:
        planned, _ = spread(build(architecture(str(TINY)), CONFIG, "meta").transformer, 2)
        assert float(kept[2]) == pytest.approx(planned / 1e6, rel=0.05, abs=0.1)
    run(tmp_path / "one", batch=2, **settings)
    one, two = (newest(tmp_path / name / "checkpoints") for name in ("one", "two"))
    assert one["samples"] == two["samples"] == 4
    for place, state in one["optimizer"]["state"].items():
        first, second = (each["exp_avg"] * 10 for each in (state, two["optimizer"]["state"][place]))  # the gradient
        torch.testing.assert_close(first, second, atol=1e-5, rtol=0)
    assert any(state["exp_avg"].abs().max() > 1e-3 for state in one["optimizer"]["state"].values())
    for name in ("loss", "validation_loss"):
        assert records(tmp_path / "one", name) == pytest.approx(records(tmp_path / "two", name), rel=1e-5)
    assert (tmp_path / "two" / "validation" / "step-00000001.png").is_file()


def test_the_defaults_build_adamw():
    parameter = torch.nn.Parameter(torch.ones(2))
    assert isinstance(build_optimizer([parameter], CONFIG), torch.optim.AdamW)
