import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from facemogle.checkpoints import (
    CHECKPOINTS,
    FLUX,
    TINY_FLUX,
    CheckpointError,
    available,
    default_settings,
    describe,
    load_pipeline,
    prompt_suggestions,
    prompt_words,
)

REFERENCE = Path(__file__).parent / "reference"
BASE, ADAPTER, MOGLE = (REFERENCE / name for name in ("tiny-flux", "pytorch_lora_weights.safetensors", "mogle.pt"))


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline(BASE, adapter=ADAPTER, mogle=MOGLE, device="cpu")


@pytest.fixture(scope="module")
def whole_folder(pipeline, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole_folder, tmp_path) -> Path:
    """A whole checkpoint that a test may break."""
    return shutil.copytree(whole_folder, tmp_path / "checkpoint")


def _cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _picture(pipeline) -> np.ndarray:
    label_map = np.arange(19).repeat(19).reshape(19, 19)
    return pipeline(
        "a face", label_map=label_map, height=64, width=64, num_inference_steps=2, output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip


def test_parts_are_the_files_weights(pipeline):
    adapter, mogle = load_file(ADAPTER), torch.load(MOGLE, weights_only=True)
    loaded = pipeline.transformer.condition_adapter_state_dict()
    assert set(loaded) == set(adapter) and all(loaded[name].equal(adapter[name]) for name in adapter)
    loaded = pipeline.mogle.state_dict()
    assert set(loaded) == set(mogle) and all(loaded[name].equal(mogle[name].float()) for name in mogle)
    assert pipeline.mogle.config.timestep_scale == 1000
    assert (pipeline.config.num_inference_steps, pipeline.config.guidance_scale) == (28, 3.5)
    assert (pipeline.config.height, pipeline.config.width, pipeline.config.max_sequence_length) == (512, 512, 512)


@pytest.fixture
def tiny_decoder(tmp_path, monkeypatch):
    """A folder with a small decoder in the Hub's cache."""
    torch.manual_seed(0)
    channels = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4, "latent_channels": 16}
    decoder = AutoencoderTiny(**channels, scaling_factor=1.0, shift_factor=0.0)
    decoder.save_pretrained(tmp_path / "tiny")
    asked = []

    def snapshot(repository, *, allow_patterns, local_files_only):
        asked.append((repository, local_files_only))
        return str(tmp_path / "tiny")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return asked


def test_previews_come_from_a_small_decoder_on_the_disk(tiny_decoder, pipeline, tmp_path):
    loaded = load_pipeline(BASE, adapter=ADAPTER, mogle=MOGLE, device="cpu")
    assert tiny_decoder == [("madebyollin/taef1", True)]
    latents = torch.randn(2, 16, 64, generator=torch.Generator().manual_seed(0))
    previews, pictures = loaded.preview_latents(latents, 64, 64), loaded.decode_latents(latents, 64, 64)
    assert [preview.size for preview in previews] == [(64, 64)] * 2
    unpacked = torch.nn.functional.pixel_shuffle(latents.mT.unflatten(2, (4, 4)), 2)
    with torch.no_grad():
        expected = loaded.preview_vae.decode(unpacked).sample / 2 + 0.5
    assert np.array_equal(np.asarray(previews[0]), (expected[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy())
    assert not np.array_equal(np.asarray(previews[0]), np.asarray(pictures[0]))
    assert np.array_equal(_picture(loaded), _picture(pipeline))  # what is made is the VAE's
    _cut(tmp_path / "tiny" / "diffusion_pytorch_model.safetensors")
    loaded = load_pipeline(BASE, adapter=ADAPTER, mogle=MOGLE, device="cpu")
    assert loaded.preview_vae is None
    assert [preview.size for preview in loaded.preview_latents(latents, 64, 64)] == [(64, 64)] * 2


def test_no_small_decoder_for_other_latents(tiny_decoder):
    assert load_pipeline("mini", device="cpu").preview_vae is None and not tiny_decoder


def test_whole_folder_gives_the_same_picture(pipeline, whole_folder):
    assert available(whole_folder)
    assert (_picture(load_pipeline(whole_folder, device="cpu")) == _picture(pipeline)).all()


def test_other_weights_take_the_place_of_the_folders_own(folder, tmp_path):
    adapter = {name: matrix * 2 for name, matrix in load_file(ADAPTER).items()}
    save_file(adapter, tmp_path / "pytorch_lora_weights.safetensors")
    other = load_pipeline(folder, adapter=tmp_path, mogle=folder / "mogle", dtype=torch.bfloat16, device="cpu")
    name = "transformer.x_embedder.lora_A.weight"
    assert other.transformer.condition_adapter_state_dict()[name].equal(adapter[name].bfloat16())
    assert {module.dtype for module in (other.transformer, other.vae, other.mogle, other.text_encoder)} == {
        torch.bfloat16
    }


def test_mogle_from_safetensors(tmp_path):
    state_dict = {name: tensor.float() for name, tensor in torch.load(MOGLE, weights_only=True).items()}
    save_file(state_dict, tmp_path / "mogle.safetensors")
    loaded = load_pipeline(BASE, adapter=ADAPTER, mogle=tmp_path / "mogle.safetensors", device="cpu").mogle.state_dict()
    assert all(loaded[name].equal(tensor) for name, tensor in state_dict.items())


def test_flux_folder_alone_asks_for_the_rest():
    assert not available(BASE)
    with pytest.raises(CheckpointError, match=r"no Face-MoGLE weights\. Pass adapter= and mogle="):
        load_pipeline(BASE, adapter=ADAPTER)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fluxx", "no checkpoint 'fluxx'. Did you mean 'flux'. Known are mini, flux"),
        ("quite-other", r"no checkpoint 'quite-other'\. Known are mini, flux"),
        ("./checkpoints/of/mine", "no folder checkpoints/of/mine"),
        ("/nowhere", "no folder /nowhere"),
    ],
)
def test_unknown_names(name, message):
    assert not available(name)
    with pytest.raises(CheckpointError, match=message):
        load_pipeline(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none():
    with pytest.raises(ValueError, match="torch sees no CUDA device"):
        load_pipeline(BASE, adapter=ADAPTER, mogle=MOGLE, device="cuda")


def test_describe():
    assert "FLUX.1-dev" in describe("flux") and describe(Path("my/folder")) == str(Path("my/folder"))


# Broken files


@pytest.mark.parametrize(
    "name",
    ["model_index.json", ADAPTER.name, "mogle/config.json", "vae", "text_encoder_2/model.safetensors"],
)
def test_missing_files_are_named(folder, name):
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not available(folder)
    with pytest.raises(CheckpointError, match=os.path.dirname(name) or name):
        load_pipeline(folder)


@pytest.mark.parametrize("part", ["transformer", "vae", "mogle", "text_encoder", "text_encoder_2", "."])
def test_truncated_weights_are_named(folder, part):
    (file,) = (folder / part).glob("*.safetensors")
    _cut(file)
    assert not available(folder)
    with pytest.raises(CheckpointError, match=rf"{file.name} .* is truncated or damaged.*fetch it again"):
        load_pipeline(folder)


def test_missing_shard_is_named(folder):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "transformer" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.safetensors is missing"):
        load_pipeline(folder)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_damaged_config_is_named(folder, content):
    (folder / "vae" / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_pipeline(folder)


@pytest.mark.parametrize("part", ["transformer", "vae", "mogle"])
@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape"])
def test_weights_load_strictly(folder, part, fault):
    (file,) = (folder / part).glob("*.safetensors")
    state_dict = load_file(file)
    name = sorted(state_dict)[0]
    tensor = state_dict.pop(name)
    if fault == "unexpected":
        state_dict |= {name: tensor, "stray.weight": tensor.clone()}
    elif fault == "shape":
        state_dict[name] = tensor[:-1]
    save_file({name: tensor.contiguous() for name, tensor in state_dict.items()}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"{part}.*{'stray.weight' if fault == 'unexpected' else name}"):
        load_pipeline(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda name, matrix: matrix[:2] if "x_embedder.lora_A" in name else matrix, "must share one rank"),
        (lambda name, matrix: matrix[:, :-1] if name.endswith("to_q.lora_A.weight") else matrix, "another width"),
        (lambda name, matrix: matrix * torch.nan if "proj_out" in name else matrix, "NaN or infinity in 4 tensors"),
        (lambda name, matrix: None if "norm1" in name else matrix, "4 missing, 0 unexpected"),
    ],
)
def test_adapter_that_does_not_fit(edit, message, tmp_path):
    edited = {name: edit(name, matrix) for name, matrix in load_file(ADAPTER).items()}
    save_file(
        {name: matrix.contiguous() for name, matrix in edited.items() if matrix is not None},
        tmp_path / "adapter.safetensors",
    )
    with pytest.raises(CheckpointError, match=rf"adapter\.safetensors.*{message}"):
        load_pipeline(BASE, adapter=tmp_path / "adapter.safetensors", mogle=MOGLE)


def test_adapter_as_a_pickle_is_not_read(tmp_path):
    torch.save(load_file(ADAPTER), tmp_path / "adapter.bin")
    with pytest.raises(CheckpointError, match=r"not a \.safetensors file\. Convert it"):
        load_pipeline(BASE, adapter=tmp_path / "adapter.bin", mogle=MOGLE)


class _Code:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_with_code_is_refused_and_not_run(tmp_path, zipped):
    content = {"gating.gate.0.weight": _Code(tmp_path / "it-ran")}
    torch.save(content, tmp_path / "mogle.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"mogle\.pt was refused.*pass the \.safetensors file"):
        load_pipeline(BASE, adapter=ADAPTER, mogle=tmp_path / "mogle.pt")
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("content", [b"", b"no pickle at all", MOGLE.read_bytes()[:100_000]])
def test_damaged_pickle(tmp_path, content):
    (tmp_path / "mogle.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"mogle\.pt .* damaged"):
        load_pipeline(BASE, adapter=ADAPTER, mogle=tmp_path / "mogle.pt")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: list(state.values()), "must hold a state dict of tensors, got list"),
        (lambda state: {**state, "gating.gate.2.bias": torch.zeros(19)}, "gating.gate.2.bias"),
        (lambda state: {name: state[name] for name in state if "local_experts.18" not in name}, "local_experts.18"),
        (lambda state: {**state, "gating.gate.2.bias": torch.full((20,), torch.nan)}, "NaN or infinity in 1 tensors"),
    ],
)
def test_mogle_that_does_not_fit(edit, message, tmp_path):
    torch.save(edit(torch.load(MOGLE, weights_only=True)), tmp_path / "mogle.pt")
    with pytest.raises(CheckpointError, match=rf"mogle\.pt.*{message}"):
        load_pipeline(BASE, adapter=ADAPTER, mogle=tmp_path / "mogle.pt")


# The Hub


@pytest.fixture
def hub(monkeypatch):
    """The published repositories, served from the reference files; a test may take files away or put errors in."""
    hub = SimpleNamespace(
        files={"pytorch_lora_weights.safetensors": ADAPTER, "mogle.pt": MOGLE}, folder=BASE, cached=True, asked=[]
    )

    def answer(repository, name, found, local_files_only):
        hub.asked.append((repository, name))
        if isinstance(found, Exception):
            raise found
        if local_files_only and not hub.cached:
            raise errors.LocalEntryNotFoundError("not in the cache")
        if found is None:
            raise errors.EntryNotFoundError("404")
        return str(found)

    def hf_hub_download(repository, name, *, local_files_only, revision=None):
        return answer(repository, name, hub.files.get(name), local_files_only)

    def snapshot_download(repository, *, allow_patterns, local_files_only, revision=None):
        if repository == TINY_FLUX and local_files_only:  # which is never downloaded
            raise errors.LocalEntryNotFoundError("not in the cache")
        assert not any(Path("flux1-dev.safetensors").match(pattern) for pattern in allow_patterns)
        return answer(repository, None, hub.folder, local_files_only)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return hub


_RESPONSE = SimpleNamespace(headers={}, request=None, status_code=403)


def test_flux_from_the_hub(hub, pipeline):
    assert (_picture(load_pipeline("flux", device="cpu")) == _picture(pipeline)).all()
    published = "XavierJiezou/face-mogle-models"
    assert hub.asked == [
        (published, "pytorch_lora_weights.safetensors"),
        (published, "global_local_mask_moe.pt"),
        (published, "mogle.pt"),
        (FLUX, None),
    ]


def test_flux_with_local_weights_asks_for_the_base_alone(hub):
    load_pipeline("flux", adapter=ADAPTER, mogle=MOGLE, device="cpu")
    assert hub.asked == [(FLUX, None)]


def test_any_hub_pipeline(hub, whole_folder):
    hub.folder = whole_folder
    load_pipeline("someone/a-face-mogle", device="cpu")
    assert hub.asked == [("someone/a-face-mogle", None)]


def test_addresses_as_a_browser_shows_them(hub, whole_folder, tmp_path):
    published = "https://huggingface.co/XavierJiezou/face-mogle-models"
    files = {
        "adapter": f"{published}/blob/main/{ADAPTER.name}",
        "mogle": f"{published}/resolve/main/mogle.pt?download=true",
    }
    load_pipeline(f"https://huggingface.co/{FLUX}", **files, device="cpu")
    repository = "XavierJiezou/face-mogle-models"
    assert hub.asked == [(repository, ADAPTER.name), (repository, "mogle.pt"), (FLUX, None)]
    load_pipeline(FLUX, adapter=published, mogle=MOGLE, device="cpu")  # the name that such files have
    assert hub.asked[3:] == [(repository, ADAPTER.name), (FLUX, None)]

    hub.folder = shutil.copytree(whole_folder, tmp_path / "some" / "where").parent
    load_pipeline("https://huggingface.co/someone/a-face-mogle/tree/main/where", device="cpu")
    assert hub.asked[5:] == [("someone/a-face-mogle", None)]
    load_pipeline(BASE, adapter=ADAPTER, mogle="hf.co/someone/a-face-mogle/tree/main/where/mogle", device="cpu")
    with pytest.raises(CheckpointError, match=r"has no folder mogle\. Or give the address of the file itself"):
        load_pipeline(BASE, adapter=ADAPTER, mogle="someone/a-face-mogle", device="cpu")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://huggingface.co/datasets/someone/faces", "is a dataset on the Hub, and not a model"),
        (
            "https://example.com/ink.safetensors",
            r"no address of a model.*Give one such as https://huggingface.co/owner",
        ),
        ("https://huggingface.co/someone/ink/discussions/3", "no address of a model, or of a file of one"),
    ],
)
def test_other_addresses_are_one_sentence(hub, address, message):
    for options in ({"adapter": address}, {"mogle": address}, {"loras": [address]}, {"name_or_path": address}):
        with pytest.raises(CheckpointError, match=message):
            load_pipeline(**{"name_or_path": BASE, "adapter": ADAPTER, "mogle": MOGLE} | options)
    assert hub.asked == []


def test_a_file_is_no_checkpoint(hub):
    with pytest.raises(CheckpointError, match="is one file; a checkpoint is a folder of parts"):
        load_pipeline("https://huggingface.co/someone/flux/blob/main/flux1-dev.safetensors")


def test_available_never_downloads(hub):
    assert available("flux")
    hub.cached = False
    assert not available("flux")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.GatedRepoError("403", response=_RESPONSE), "FLUX.1-dev is gated"),
        (errors.RepositoryNotFoundError("401", response=_RESPONSE), "no such repository on the Hub, or a private one"),
        (errors.LocalEntryNotFoundError("offline"), "not on this disk"),
        (ConnectionError("proxy says no"), "could not be downloaded: proxy says no"),
    ],
)
def test_flux_that_cannot_be_had_names_licence_size_and_place(hub, error, message):
    hub.folder = error
    with pytest.raises(CheckpointError, match=message) as caught:
        load_pipeline("flux")
    for remedy in (
        f"https://huggingface.co/{FLUX}",
        "HF_TOKEN",
        "34 GB",
        huggingface_hub.constants.HF_HUB_CACHE,
        "'mini'",
    ):
        assert remedy in str(caught.value)


def test_the_remedy_is_not_offered_for_a_callers_own_file(hub, tmp_path):
    with pytest.raises(CheckpointError, match="no file") as caught:
        load_pipeline("flux", adapter=tmp_path / "adapter.safetensors")
    assert "licence" not in str(caught.value) and hub.asked == []


def test_file_that_the_repository_lacks(hub):
    del hub.files["mogle.pt"]
    with pytest.raises(CheckpointError, match=r"face-mogle-models has no global_local_mask_moe\.pt"):
        load_pipeline("flux")


def test_mini_without_its_folder(monkeypatch, tmp_path):
    monkeypatch.setitem(CHECKPOINTS, "mini", replace(CHECKPOINTS["mini"], base=str(tmp_path / "mini")))
    assert not available("mini")
    with pytest.raises(CheckpointError, match=r"no folder .*mini.*part of the repository"):
        load_pipeline("mini")


def test_phrases_that_a_checkpoint_knows(tmp_path):
    assert prompt_suggestions(tmp_path) == prompt_suggestions("flux") == {}
    (tmp_path / "suggestions.json").write_text('{"hat": ["a wide hat"]}')
    assert prompt_suggestions(tmp_path) == {"hat": ["a wide hat"]}
    (tmp_path / "model_index.json").write_text('{"max_sequence_length": 20}')
    assert prompt_words(tmp_path) == 19 and prompt_words("flux") is None
    assert prompt_words("mini") == 31


def test_settings_are_known_before_the_weights_are_read(tmp_path):
    assert default_settings(tmp_path) == default_settings("flux") == default_settings("owner/name") == (28, 3.5)
    (tmp_path / "model_index.json").write_text('{"num_inference_steps": 4, "guidance_scale": 2.5}')
    assert default_settings(tmp_path) == (4, 2.5)
