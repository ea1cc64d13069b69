"""Blocks compiled ahead of time: exported, compiled by AOTInductor and loaded by spaces' own classes, all for real.

Stand-ins: the CPU for a GPU, a folder for the Hub; where it says so, clones for what ZeroGPU moves to a GPU.
"""

import json
import logging
import shutil
from pathlib import Path

import pytest
import spaces
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.models.attention_dispatch import AttentionBackendName
from huggingface_hub.errors import EntryNotFoundError

if torch.version.cuda is None:
    pytest.skip("spaces compiles with builds of PyTorch for CUDA alone", allow_module_level=True)

import app
from facemogle import cli, compiled_blocks
from facemogle.compiled_blocks import MAX_IMAGES, load_compiled_blocks
from facemogle.weight_files import CheckpointError
from tests import recorded

patching = pytest.importorskip("spaces.zero.torch.patching")

OTHERS = "layers or weights are others than they were loaded for"


def tiny():
    return recorded.tiny_pipeline(recorded.tiny_transformer(), recorded.published_mogle())


def run(pipeline, **options):
    """Latents of two steps."""
    defaults = {"prompt": "a woman with red hair", "num_inference_steps": 2, "output_type": "latent"}
    return pipeline(generator=torch.Generator().manual_seed(7), **defaults | options).images


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """Where spaces notes what it unpacked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spaces.zero.utils.CLEANUPS_BASE_DIR", tmp_path_factory.mktemp("cleanups"))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command makes of the tiny pipeline; the compiler of C++ told to hurry."""
    place = tmp_path_factory.mktemp("compiled")
    tiny().save_pretrained(place / "tiny")
    quick = {"aot_inductor.compile_wrapper_opt_level": "O0", "aot_inductor.precompile_headers": False}
    with torch._inductor.config.patch(quick):
        arguments = ["compile", f"--checkpoint={place / 'tiny'}", "--device=cpu", f"--out={place / 'blocks'}"]
        assert cli.main(arguments) == 0
    return place / "blocks"


@pytest.fixture(scope="module")
def plain():
    return tiny()


@pytest.fixture
def compiled(folder):
    pipeline = tiny()
    pipeline.aside = load_compiled_blocks(pipeline.transformer, str(folder))
    return pipeline


@pytest.fixture
def stepped_aside(plain, compiled, caplog):
    """A run of the compiled pipeline equals the plain one's -> why blocks did without their packages."""

    def stepped_aside(**options):
        compiled.aside.said.clear()
        caplog.clear()
        torch.testing.assert_close(run(compiled, **options), run(plain, **options), rtol=0, atol=5e-5)
        return [record.getMessage() for record in caplog.records if record.name == "facemogle.compiled_blocks"]

    return stepped_aside


def test_runs_equal_those_from_python(compiled, stepped_aside, label_map, monkeypatch):
    def refuse(*_):
        raise AssertionError("it ran from Python")

    for block in compiled.transformer.blocks():
        monkeypatch.setattr(block.forward, "plain", refuse)
    for options in (
        {"label_map": label_map}, {"num_images_per_prompt": 3}, {"height": 32, "width": 96, "guidance_scale": 1.5},
        {"num_images_per_prompt": MAX_IMAGES},
    ):  # fmt: skip
        assert not stepped_aside(**options)


def test_weights_are_each_blocks_own_with_the_adapter(folder, plain, compiled):
    assert sum(file.stat().st_size for file in folder.glob("*/package.pt2")) < 10e6
    config = json.loads((folder / "config.json").read_text())
    for name, blocks in compiled_blocks.blocks_by_class(compiled.transformer).items():
        constants = set(config["blocks"][name]["weights"])
        others = {each for each, _ in blocks[0].named_parameters() if each.startswith(("norm.linear", "norm1"))}
        assert constants == {each for each, _ in blocks[0].named_parameters()} - others
        assert {"attn.to_q.adapter_A", "attn.to_q.adapter_B"} < constants
    before = run(compiled)
    with torch.no_grad():  # in place: where they lie, the packages read them
        for transformer in (compiled.transformer, plain.transformer):
            transformer.single_transformer_blocks[1].attn.to_v.adapter_B.mul_(-3)
    try:
        after = run(compiled)
        torch.testing.assert_close(after, run(plain), rtol=0, atol=5e-5)
        assert (after - before).abs().max() > 1e-3
    finally:
        with torch.no_grad():
            plain.transformer.single_transformer_blocks[1].attn.to_v.adapter_B.div_(-3)


def test_calls_of_another_kind_run_from_python(compiled, plain, stepped_aside):
    def only(line, **options):
        (said,) = stepped_aside(**options)
        assert line in said

    only("attention takes attention_mask", condition_scale=0.5)
    only("9 images of 16 tokens", num_images_per_prompt=9)
    only("float32 (1, 8, 64) where they take float32 (1, 16, 64)", max_sequence_length=8)
    compiled.enable_condition_refresh(2)
    only("attention takes condition_memory", num_inference_steps=1)
    compiled.enable_condition_refresh(1)
    compiled.transformer.enable_cache(FirstBlockCacheConfig(1e-9))
    only("hooks or a step cache")
    compiled.transformer.disable_cache()
    hook = compiled.transformer.transformer_blocks[0].attn.to_q.register_forward_hook(lambda *_: None)
    only("hooks or a step cache")
    hook.remove()
    assert not stepped_aside()
    processor = compiled.transformer.transformer_blocks[0].attn.processor
    processor._attention_backend = AttentionBackendName.NATIVE  # as set_attention_backend does, with a global beside it
    only(OTHERS)
    del processor._attention_backend
    assert not stepped_aside()

    forward = compiled.transformer.blocks()[0].forward
    call = (torch.zeros(1, 2, 64), torch.zeros(1, 16, 64), (), (), {})
    assert forward.why_not(call) == "gradients are recorded"


def test_a_lora_runs_from_python(compiled, plain, stepped_aside, seed):
    lora = {
        f"transformer.transformer_blocks.0.attn.to_k.lora_{letter}.weight": torch.randn(size, generator=seed(0))
        for letter, size in (("A", (2, 64)), ("B", (64, 2)))
    }
    for pipeline in (compiled, plain):
        pipeline.load_lora_weights(lora)
    (said,) = stepped_aside()  # of one block: the others run their packages
    assert OTHERS in said
    for pipeline in (compiled, plain):
        pipeline.unload_lora_weights()
    assert not stepped_aside()


@pytest.mark.parametrize("change", ["adapter", "dtype"])
def test_other_weights_run_from_python(change, compiled, caplog):
    other = tiny()
    for pipeline in (compiled, other):
        if change == "adapter":
            pipeline.transformer.load_condition_adapter(pipeline.transformer.condition_adapter_state_dict(), alpha=9.0)
        else:
            pipeline.to(torch.bfloat16)
    assert torch.equal(run(compiled), run(other))
    assert OTHERS in caplog.text


def test_weights_that_zerogpu_brings_to_the_gpu_later(folder, plain, caplog, monkeypatch):
    """spaces' own stand-ins for tensors on a GPU; in place of the copies that a worker then makes there, clones."""
    pipeline = tiny()
    place = compiled_blocks._bound_to(pipeline.transformer.device)
    monkeypatch.setattr(patching, "cuda_aliases", type(patching.cuda_aliases)())
    # What `unpatch` does not put back, or not in its own place.
    for where, name in ((torch.cuda, "_maybe_exchange_device"), (torch.UntypedStorage, "device")):
        monkeypatch.setattr(where, name, getattr(where, name))
    patching.patch()
    try:
        pipeline.transformer.to("cuda")
        with pytest.raises(CheckpointError, match=r"compiled for device cpu \w+; here is cuda 9.0. Compile them again"):
            load_compiled_blocks(pipeline.transformer, str(folder))
        monkeypatch.setattr(compiled_blocks, "_bound_to", lambda _: place)
        load_compiled_blocks(pipeline.transformer, str(folder))
    finally:
        patching.unpatch()
    monkeypatch.setattr("torch.cuda.synchronize", lambda *_: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor, **_: tensor.clone())
    patching._move()
    torch.testing.assert_close(run(pipeline), run(plain), rtol=0, atol=5e-5)
    assert "from Python" not in caplog.text


def test_from_the_hub(folder, plain, caplog, monkeypatch):
    """In place of its downloads, the folder; once as spaces itself reads it."""

    def fetch(repo_id, filename, subfolder=None):
        path = folder / (subfolder or "") / filename
        if not path.is_file():
            raise EntryNotFoundError(str(path))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repository, **_: str(folder))
    by_spaces, ours = tiny(), tiny()
    spaces.aoti_blocks_load(by_spaces.transformer, "owner/name")
    load_compiled_blocks(ours.transformer, "owner/name")
    for pipeline in (by_spaces, ours):
        torch.testing.assert_close(run(pipeline), run(plain), rtol=0, atol=5e-5)
    assert "from Python" not in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.update(torch="2.0"), "compiled for torch 2.0; here is"),
        (lambda config: config.update({"transformer.py": "0"}), "compiled for transformer.py 0; here is"),
        (lambda config: config.update(device="cuda 12.0"), "compiled for device cuda 12.0; here is cpu"),
        (lambda config: config["blocks"].popitem(), "not that of blocks by"),
        (lambda config: config.pop("torch"), "not that of blocks by"),
        (lambda config: config.pop("limits"), "not that of blocks by"),
        (lambda config: config.update(blocks=[]), "not that of blocks by"),
        (lambda config: single(config)["tensors"].append("x"), "not that of blocks by"),
        (lambda config: single(config)["weights"]["proj_out.adapter_A"][1].reverse(), "another adapter"),
        (lambda config: single(config)["weights"].update({"to_q.weight": ["float32", []]}), "other layers"),
        (lambda config: single(config)["adapter_scales"].update(proj_out=2.0), "another adapter"),
    ],
)
def test_a_folder_for_another_model_is_refused(change, said, folder, tmp_path, plain):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=said):
        load_compiled_blocks(plain.transformer, str(tmp_path))
    assert not any("forward" in vars(block) for block in plain.transformer.blocks())


def single(config):
    return config["blocks"]["FaceMoGLESingleTransformerBlock"]


def test_the_app_goes_on_without_them(folder, tmp_path, plain, label_map, caplog):
    own = {"adapter": recorded.ADAPTER, "mogle": recorded.REFERENCE / "mogle.pt", "device": "cpu"}
    options = {"label_map": label_map, "height": 64, "width": 64, "max_sequence_length": 16}

    def log_of(source):
        caplog.clear()
        pipeline = app.load_with_blocks(source, recorded.REFERENCE / "tiny-flux", **own)
        with caplog.at_level(logging.WARNING):
            torch.testing.assert_close(run(pipeline, **options), run(plain, **options), rtol=0, atol=5e-5)
        return [record.getMessage() for record in caplog.records if "from Python" in record.getMessage()]

    assert log_of(str(folder)) == []
    (said,) = log_of("nowhere")
    assert said == "Blocks run from Python: There is no folder nowhere. Make it with `python -m facemogle compile`."
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    package = broken / "FaceMoGLETransformerBlock" / "package.pt2"
    shutil.copy(recorded.REFERENCE / "mogle.pt", package)  # an archive, but of something else
    (said,) = log_of(str(broken))
    assert said.startswith(f"Blocks run from Python, not from {broken}: they failed: ")
    package.write_bytes(package.read_bytes()[:100])
    (said,) = log_of(str(broken))
    assert said == f"Blocks run from Python: {package} is missing or cut short. Fetch it again."


def test_the_spaces_variable(monkeypatch):
    monkeypatch.setenv("FACEMOGLE_BLOCKS", "owner/name")
    assert app.parse_arguments([]).blocks == "owner/name"
    assert app.parse_arguments(["--blocks=here"]).blocks == "here"


def test_flux_is_compiled_without_its_weights(monkeypatch):
    from facemogle.cli import compile as command
    from tests.selftest import NARROW

    monkeypatch.setattr("facemogle.random_flux.FLUX_PARTS", NARROW)
    pipeline = command.pipeline_for(cli.parse_arguments(["compile", "--out=blocks", "--device=cpu"]))
    assert len(pipeline.transformer.blocks()) == 2
    for block in pipeline.transformer.blocks():
        hidden_states, text, *_ = compiled_blocks._example_call(pipeline, block, compiled_blocks._spaces_aoti())
        assert hidden_states.shape == (2, 2 * 1024, 128) and text.shape == (2, 512, 128)


def test_what_cannot_be_compiled(tmp_path, capsys, monkeypatch):
    watched = tiny()
    watched.transformer.enable_cache(FirstBlockCacheConfig(1e-9))
    with pytest.raises(ValueError, match="without hooks, offloading, step caches"):
        next(compiled_blocks.compile_blocks(watched, tmp_path))
    monkeypatch.setattr("torch.version.cuda", None)
    assert cli.main(["compile", "--checkpoint=mini", "--device=cpu", f"--out={tmp_path}"]) == 2
    assert "take a PyTorch that is built for CUDA" in capsys.readouterr().err
