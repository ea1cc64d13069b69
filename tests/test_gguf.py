"""A transformer in a GGUF file, in the place of a pipeline folder's own."""

import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from facemogle.checkpoints import CHECKPOINTS, CheckpointError, available, default_settings, load_pipeline, parser_of

gguf = pytest.importorskip("gguf")


@pytest.fixture
def folder(reference, tmp_path):
    """The tiny FLUX without weights of its transformer, and those as 8-bit blocks in flux.gguf."""
    folder = shutil.copytree(reference / "tiny-flux", tmp_path / "flux")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    write_gguf(folder / "flux.gguf", load_file(weights))
    weights.unlink()
    return folder


def write_gguf(path, weights, *, without: str = "") -> None:
    writer = gguf.GGUFWriter(path, "flux")
    for name, tensor in weights.items():
        values = tensor.float().numpy()
        packed = values.ndim == 2 and values.shape[1] % 32 == 0 and not name.startswith("proj_out")
        kind = gguf.GGMLQuantizationType.Q8_0 if packed else gguf.GGMLQuantizationType.F32
        if name != without:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def flux(monkeypatch, reference, folder):
    """flux, with the tiny files in place of the published."""
    files = {"adapter": "pytorch_lora_weights.safetensors", "mogle": "mogle.pt"}
    own = {part: (str(reference / name),) for part, name in files.items()}
    monkeypatch.setitem(CHECKPOINTS, "flux", replace(CHECKPOINTS["flux"], base=str(folder), **own))


def picture(pipeline, label_map):
    generator = torch.Generator().manual_seed(7)
    options = {"height": 64, "width": 64, "num_inference_steps": 2, "output_type": "latent"}
    return pipeline("a man", label_map=label_map, generator=generator, **options).images


def unpacked(reference, pipeline):
    """The tiny FLUX with the weights that the 8-bit blocks stand for."""
    plain = load_pipeline(
        reference / "tiny-flux", adapter=reference / "pytorch_lora_weights.safetensors", mogle=reference / "mogle.pt",
        device="cpu",
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in plain.transformer.named_parameters():
            packed = weight.ndim == 2 and weight.shape[1] % 32 == 0 and "adapter" not in name
            if packed and not name.startswith("proj_out"):
                kind = gguf.GGMLQuantizationType.Q8_0
                values = gguf.quants.dequantize(gguf.quants.quantize(weight.numpy(), kind), kind)
                weight.copy_(torch.from_numpy(np.array(values)).half())  # in which diffusers unpacks
    return plain


@pytest.mark.parametrize("beside", [True, False])
def test_it_draws_as_its_unpacked_weights_do(beside, folder, flux, reference, label_map, tmp_path):
    file = folder / "flux.gguf" if beside else (folder / "flux.gguf").rename(tmp_path / "elsewhere.gguf")
    assert available(file)
    pipeline = load_pipeline(file, device="cpu")
    assert {each.dtype for each in pipeline.transformer.parameters()} == {torch.float32, torch.uint8}
    assert pipeline.transformer.dtype == torch.float32
    plain = unpacked(reference, pipeline)
    drawn = picture(pipeline, label_map)
    torch.testing.assert_close(drawn, picture(plain, label_map), atol=1e-4, rtol=0)
    assert (drawn - picture(pipeline, label_map[::-1].copy())).abs().max() > 1e-3  # the adapter is felt


def test_a_lora_acts_on_packed_weights(folder, flux, reference, label_map):
    pipeline, plain = load_pipeline(folder / "flux.gguf", device="cpu"), None
    plain = unpacked(reference, pipeline)
    A, B = torch.randn(2, 64, generator=torch.Generator().manual_seed(1)), torch.ones(64, 2)
    with torch.no_grad():
        plain.transformer.transformer_blocks[0].attn.to_q.weight += B @ A
    layer = "transformer.transformer_blocks.0.attn.to_q"
    before = picture(pipeline, label_map)
    pipeline.load_lora_weights({f"{layer}.lora_A.weight": A, f"{layer}.lora_B.weight": B})
    styled = picture(pipeline, label_map)
    assert (styled - before).abs().max() > 1e-2
    torch.testing.assert_close(styled, picture(plain, label_map), atol=1e-4, rtol=0)


def test_it_counts_as_flux(folder, flux, tmp_path):
    elsewhere = tmp_path / "elsewhere.gguf"
    assert default_settings(elsewhere) == default_settings("flux") and parser_of(elsewhere) == parser_of("flux")


def test_what_is_wrong_with_it_is_one_sentence(folder, flux, reference, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"There is no file .*nowhere\.gguf"):
        load_pipeline(tmp_path / "nowhere.gguf")
    weights = load_file(reference / "tiny-flux" / "transformer" / "diffusion_pytorch_model.safetensors")
    write_gguf(tmp_path / "other.gguf", {"blk.0.attn_q.weight": weights["x_embedder.weight"]})
    with pytest.raises(
        CheckpointError, match=r"other\.gguf holds no FLUX transformer such as .*flux/transformer describes"
    ):
        load_pipeline(tmp_path / "other.gguf", device="cpu")
    (tmp_path / "cut.gguf").write_bytes((folder / "flux.gguf").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"cut\.gguf of 5,000 bytes is no GGUF file, or is cut short"):
        load_pipeline(tmp_path / "cut.gguf", device="cpu")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CheckpointError, match=r"package gguf: pip install -r requirements-gguf\.txt"):
        load_pipeline(folder / "flux.gguf", device="cpu")
