"""LoRAs of the base on every way in: Python, the command line, the page; and what a picture remembers of them."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import app
from facemogle import cli
from facemogle.checkpoints import CheckpointError, load_pipeline, lora_scales
from facemogle.picture_files import Settings, read_settings, write_picture
from facemogle.ui import handlers, layout
from facemogle.ui.names import in_words
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.visit import Visit

CASES = Path(__file__).parent / "cases"
BARE, NAMED = (CASES / f"lora-{name}.safetensors" for name in ("no-prefix", "default-name"))  # of mini's shape
MINI = ["--checkpoint=mini", "--device=cpu", "--size=32x32", "--steps=2", "--prompt=a man"]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


@pytest.mark.parametrize(
    ("loras", "expected"),
    [
        (["ink.safetensors"], {"ink.safetensors": 1}),
        (["a/ink.safetensors:0.6", Path("b.safetensors")], {"a/ink.safetensors": 0.6, "b.safetensors": 1}),
        (["https://huggingface.co/o/n:-1"], {"https://huggingface.co/o/n": -1}),
        (
            ["https://huggingface.co/o/n", "C:\\ink.safetensors"],
            {"https://huggingface.co/o/n": 1, "C:\\ink.safetensors": 1},
        ),
        ({"ink.safetensors": 0.5}, {"ink.safetensors": 0.5}),
        ((), {}),
    ],
)
def test_files_and_scales(loras, expected):
    assert lora_scales(loras) == expected


def test_loaded_with_a_checkpoint_it_acts_as_merged_weights(tmp_path):
    def picture(pipeline):
        generator = torch.Generator().manual_seed(3)
        options = {"height": 32, "width": 32, "num_inference_steps": 2, "output_type": "latent"}
        return pipeline("a man", label_map=np.full((32, 32), 13), generator=generator, **options).images

    plain = load_pipeline("mini", device="cpu")
    before = picture(plain)
    with torch.no_grad():
        for scale, file in ((1.5, BARE), (-0.5, NAMED)):
            state_dict = {
                key.replace(".default", "").removeprefix("transformer."): each for key, each in load_file(file).items()
            }
            for key in [key for key in state_dict if ".lora_A" in key]:
                weight = plain.transformer.get_submodule(key.removesuffix(".lora_A.weight")).weight
                weight += scale * state_dict[key.replace("lora_A", "lora_B")] @ state_dict[key]
    styled = load_pipeline("mini", loras=[f"{BARE}:1.5", f"{NAMED}:-0.5"], device="cpu")
    assert styled.loras == {str(BARE): 1.5, str(NAMED): -0.5}
    assert (picture(plain) - before).abs().max() > 0.01
    torch.testing.assert_close(picture(styled), picture(plain), atol=1e-4, rtol=0)
    torch.testing.assert_close(picture(styled), picture(load_pipeline("mini", loras={str(BARE): 1.5, NAMED: -0.5})))
    with pytest.raises(ValueError, match=r"LoRAs are loaded, .*unload_lora_weights\(\) first"):
        styled.save_pretrained(tmp_path)
    styled.fuse_lora()
    styled.unload_lora_weights()
    styled.save_pretrained(tmp_path)
    torch.testing.assert_close(picture(load_pipeline(tmp_path, device="cpu")), picture(plain), atol=1e-4, rtol=0)


def test_what_cannot_be_loaded_is_one_sentence(tmp_path, capsys):
    flux = {
        "transformer.x_embedder.lora_A.weight": torch.zeros(4, 64),
        "transformer.x_embedder.lora_B.weight": torch.zeros(3072, 4),
    }
    save_file(flux, tmp_path / "flux.safetensors")
    for file, message in (
        (
            tmp_path / "flux.safetensors",
            r"flux.safetensors changes nothing: .* another shape.* \(4, 64\)\. .*another model",
        ),
        (tmp_path / "none.safetensors", "There is no file .*none.safetensors"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_pipeline("mini", loras=[file], device="cpu")
    command = ["generate", *MINI, f"--out={tmp_path / 'face.png'}", f"--lora={tmp_path / 'flux.safetensors'}"]
    assert cli.main(command) == 2 and "changes nothing" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(SystemExit):
        cli.main([*command[:-1], f"--lora={BARE}:nan"])
    with pytest.raises(ValueError, match=r"give \['ink\.safetensors'\]"):
        load_pipeline("mini", loras="ink.safetensors")


def test_a_picture_remembers_its_loras(tmp_path):
    def make(name: str, *options: str) -> np.ndarray:
        assert cli.main(["generate", f"--out={tmp_path / name}", *options]) == 0
        return pixels(tmp_path / name)

    plain = make("plain.png", *MINI)
    assert read_settings(tmp_path / "plain.png").loras is None
    styled = make("styled.png", *MINI, f"--lora={BARE}:40", f"--lora={NAMED}:0")
    assert read_settings(tmp_path / "styled.png").loras == {str(BARE): 40}
    assert (styled != plain).any()
    assert (make("again.png", f"--from={tmp_path / 'styled.png'}", "--device=cpu") == styled).all()
    assert (make("without.png", f"--from={tmp_path / 'styled.png'}", f"--lora={BARE}:0", "--device=cpu") == plain).all()


def test_settings_hold_loras_exactly_or_not_at_all(tmp_path):
    def settings(loras):
        return Settings("", None, 0, 1, 1, 1, 16, 16, None, "mini", loras=loras)

    write_picture(tmp_path / "face.png", Image.new("L", (16, 16)), settings({"a.safetensors": 0.1}))
    assert read_settings(tmp_path / "face.png").loras == {"a.safetensors": 0.1}
    write_picture(tmp_path / "face.png", Image.new("L", (16, 16)), settings(None))
    with Image.open(tmp_path / "face.png") as picture:
        assert "loras" not in json.loads(picture.info["facemogle"])
    for wrong in (["a"], {"a": "much"}, {"a": float("inf")}, {3: 1.0}):
        with pytest.raises(ValueError, match="must be"):
            settings(wrong)


# The page


@pytest.fixture
def provider(pipeline, tmp_path):
    generator = torch.Generator().manual_seed(0)
    for name in ("ink", "oil"):
        layer = f"transformer.transformer_blocks.0.attn.to_{'q' if name == 'ink' else 'v'}"
        shapes = {"A": (2, 64), "B": (64, 2)}
        save_file(
            {
                f"{layer}.lora_{letter}.weight": torch.randn(shape, generator=generator)
                for letter, shape in shapes.items()
            },
            tmp_path / f"{name}.safetensors",
        )
    loras = {str(tmp_path / "ink.safetensors"): 1.0, str(tmp_path / "oil.safetensors"): 3.0}
    for file, scale in loras.items():
        pipeline.load_lora(file, scale=scale)
    return PipelineProvider("tiny", lambda: pipeline, checkpoint="tiny", loras=loras)


FIELDS = np.full((64, 64), 1), "a man", 3, 1, 2, 3.5, 1.0, None, False, 1.0, None, None


def run_of(provider, *scales):
    return list(handlers.generate(provider, Visit(), *FIELDS, *scales))[-1][2]


def test_the_page_scales_its_loras_for_each_run(provider):
    started, off = run_of(provider), run_of(provider, 0.0, 0.0)
    ink, oil = provider.loras
    assert started.settings.loras == {ink: 1, oil: 3} and off.settings.loras == {ink: 0, oil: 0}
    faces = [np.asarray(each.face) for each in (started, off, run_of(provider, 1.0, 3.0), run_of(provider))]
    assert (faces[0] != faces[1]).any() and (faces[0] == faces[2]).all() and (faces[0] == faces[3]).all()
    assert handlers.lora_values(provider.loras, off.settings) == [0, 0]
    assert in_words(started.settings)["loras"] == "ink ×1, oil ×3"
    paint = partial(handlers.generate, provider)
    *_, (_, (_, again)) = handlers.look_again(paint, off, tuple(provider.loras))
    assert (np.asarray(again.faces[0]) == faces[1]).all()


def test_a_dropped_picture_says_which_lora_the_page_has_not(provider):
    ink, _ = provider.loras
    loras = {ink: 0.5, "styles/pastel.safetensors": 1.0, "off.safetensors": 0.0}
    settings = Settings("", None, 7, 2, 3.5, 1.0, 64, 64, None, "tiny", loras=loras)
    assert "made with the LoRA pastel, which this page has not" in handlers.restore(provider, settings)[0]
    assert handlers.lora_values(provider.loras, settings) == [0.5, 0]
    far = handlers.lora_sliders(provider.loras, replace(settings, loras={ink: 5.0}))[0]
    assert (far["value"], far["minimum"], far["maximum"]) == (5, 0, 5)


def test_the_page_has_a_slider_for_each_lora(provider):
    page = layout.build(provider, [])
    sliders = {
        each.label: each for each in page.blocks.values() if str(getattr(each, "elem_id", "")).startswith("lora-")
    }
    assert [(name, each.value, each.maximum) for name, each in sliders.items()] == [
        ("LoRA ink", 1, 2),
        ("LoRA oil", 3, 3),
    ]


def test_the_app_takes_loras():
    arguments = app.parse_arguments(["--lora", "ink.safetensors:0.5", "--lora", "oil.safetensors"])
    assert lora_scales(arguments.lora) == {"ink.safetensors": 0.5, "oil.safetensors": 1}
    described = app.describe_parts("mini", adapter=None, mogle=None, loras=["ink.safetensors"])
    assert described.endswith(", with LoRA ink.safetensors")
