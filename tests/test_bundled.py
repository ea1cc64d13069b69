"""The checkpoint and the examples that come with the repository."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from facemogle.checkpoints import load_parser, load_pipeline
from facemogle.labels import CLASS_ID
from facemogle.masks import resize_nearest
from facemogle.overlap import confusion, intersection_over_union
from facemogle.ui.examples import load_examples
from train.mini.portraits import render, sample_attributes

ROOT = Path(__file__).parents[1]
MINI = ROOT / "assets" / "mini"
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline("mini", device="cpu")


@pytest.fixture(scope="module")
def examples():
    return load_examples(ROOT / "assets" / "examples")


def paint(pipeline, prompt, label_map, *, seed=0) -> np.ndarray:
    result = pipeline(prompt, label_map=label_map, generator=torch.Generator().manual_seed(seed))
    return np.asarray(result.images[0])


def test_the_same_seed_gives_the_same_picture(pipeline, examples):
    first, again = (paint(pipeline, examples[0].prompt, examples[0].label_map, seed=3) for _ in range(2))
    assert first.shape == (pipeline.config.height, pipeline.config.width, 3)
    assert np.array_equal(first, again)


def test_the_prompt_colours_the_hair(pipeline, examples):
    label_map = examples[4].label_map
    hair = resize_nearest(label_map, pipeline.config.height, pipeline.config.width) == CLASS_ID["hair"]
    red, blue = (
        paint(pipeline, f"a woman with long {colour} hair", label_map)[hair].mean(0) for colour in ("red", "blue")
    )
    assert red[0] > red[2] + 30
    assert blue[2] > blue[0] + 30


def test_the_map_moves_the_face(pipeline, examples):
    """Where one map has hair and the other background, the pictures differ more than where both have the same."""
    first, second = (
        resize_nearest(examples[i].label_map, pipeline.config.height, pipeline.config.width) for i in (2, 4)
    )
    pictures = [paint(pipeline, "a person with red hair, on a blue background", each) / 255 for each in (first, second)]
    difference = abs(pictures[0] - pictures[1]).mean(-1)
    kinds = [CLASS_ID["background"], CLASS_ID["hair"]]
    moved = np.isin(first, kinds) & np.isin(second, kinds) & (first != second)
    assert difference[moved].mean() > 3 * difference[(first == second) & (first == CLASS_ID["background"])].mean()


def test_every_combination_of_text_and_map_runs(pipeline, examples):
    for prompt in (None, "a man with a blue hat"):
        for label_map in (None, examples[1].label_map):
            assert paint(pipeline, prompt, label_map).std() > 10


def test_weights_are_small_shards_of_bfloat16():
    files = list(MINI.rglob("*.safetensors"))
    assert max(file.stat().st_size for file in files) <= 9 * MEGABYTE
    assert sum(file.stat().st_size for file in MINI.rglob("*") if file.is_file()) <= 64 * MEGABYTE
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"BF16"}  # noqa: SIM118


def test_the_parser_reads_unseen_portraits():
    portraits = [render(sample_attributes(np.random.default_rng(30_000_000 + seed)), size=256) for seed in range(24)]
    pictures, label_maps = (list(each) for each in zip(*portraits, strict=True))
    read = load_parser("mini").parse(pictures)
    iou = intersection_over_union(confusion(np.stack(read), np.stack(label_maps)))
    assert np.nanmean(iou) >= 0.9
    assert np.nanmin(iou) >= 0.65


def test_it_obeys_as_measured():
    """The figures of `python -m train.mini report` on unseen portraits: new weights must not fall below these."""
    report = json.loads((MINI / "evaluation.json").read_text())
    drawn = report["text and map"]["metrics"]
    assert drawn["miou"]["cases"] >= 200
    assert drawn["miou"]["value"] >= 78
    words = ("words.hair_colour", "words.clothes_colour", "words.hat", "words.glasses")
    assert min(drawn[name]["value"] for name in words) >= 85
    assert sum(ratio > 1.5 for ratio in report["gating"]["inside / outside"].values()) >= 10
    assert report["VAE in dB"]["portraits"] >= 33


def test_loading_and_painting_stay_under_two_gigabytes():
    if not Path("/proc/self/status").exists():
        pytest.skip("needs a Linux system to ask for the memory used")
    # Not getrusage, which starts with what the process that runs the tests had used.
    program = (
        "from facemogle import load_pipeline; pipeline = load_pipeline('mini', device='cpu'); pipeline('a face');"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(answer.stdout.split()[-1]) * 1024 < 2 * 10**9


def test_examples_name_what_their_maps_hold(examples):
    assert len(examples) >= 4
    for example in examples:
        for word, class_name in (("glasses", "eyeglasses"), ("hat", "hat"), ("necklace", "necklace")):
            if word in example.prompt.replace(",", "").split():
                assert (example.label_map == CLASS_ID[class_name]).any()


def test_readme_is_finished():
    assert "MINI_" not in (ROOT / "README.md").read_text()
