import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemogle import checkpoints, cli
from facemogle.gating import GatingRecord, load_gating, save_gating
from facemogle.label_files import write_label_map
from facemogle.labels import NAMES, to_colours

REFERENCE = Path(__file__).parent / "reference"
TINY = [
    f"--checkpoint={REFERENCE / 'tiny-flux'}",
    f"--adapter={REFERENCE / 'pytorch_lora_weights.safetensors'}",
    f"--mogle={REFERENCE / 'mogle.pt'}",
    "--device=cpu", "--size=64x32", "--steps=2",
]  # fmt: skip


@pytest.fixture
def label_map(tmp_path) -> Path:
    write_label_map(tmp_path / "map.png", np.arange(19).repeat(4).reshape(1, -1).repeat(40, 0))
    return tmp_path / "map.png"


@pytest.fixture
def record(tmp_path) -> Path:
    scores = np.exp(np.random.default_rng(0).normal(size=(3, 2, 20, 4, 2)))
    save_gating(tmp_path / "gating.npz", GatingRecord(scores / scores.sum(2, keepdims=True), np.arange(3)[::-1]))
    return tmp_path / "gating.npz"


def _fails(capsys, arguments: list, *words: str) -> None:
    """The command ends with code 2 and, after any progress bars, one line on stderr that holds all the words."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as end:  # argparse, which prints the usage first
        code = end.code
    output = capsys.readouterr().err
    assert code == 2 and "Traceback" not in output
    *_, last = output.splitlines()
    assert all(word in last for word in ("facemogle", *words)), last


def test_help_teaches_and_is_quick():
    """Neither torch nor diffusers is imported for a help text."""
    code = (
        "import sys, facemogle.cli\n"
        "try: facemogle.cli.main(['generate', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'diffusers', 'transformers', 'gradio'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REFERENCE.parents[1])
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in NAMES)
    assert "examples:" in done.stdout and "python -m facemogle generate --prompt" in done.stdout


def test_python_m_facemogle():
    command = [sys.executable, "-m", "facemogle", "gating", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REFERENCE.parents[1])
    assert done.returncode == 0 and "--animate" in done.stdout


def test_generate_then_draw(tmp_path, label_map, capsys):
    face, gating, grid = tmp_path / "face.png", tmp_path / "gating.npz", tmp_path / "grid.png"
    command = ["generate", "--prompt=a face", f"--label-map={label_map}", f"--out={face}", f"--gating={gating}", *TINY]
    assert cli.main(command) == 0
    first = face.read_bytes()
    with Image.open(face) as picture:
        assert picture.size == (32, 64)
    assert load_gating(gating).weights.shape == (2, 1, 20, 4, 2)
    assert cli.main(command) == 0 and face.read_bytes() == first
    assert cli.main([*command, "--seed=1"]) == 0 and face.read_bytes() != first
    capsys.readouterr()

    assert cli.main(["gating", str(gating), f"--out={grid}", f"--face={face}", f"--label-map={label_map}"]) == 0
    with Image.open(grid) as picture:
        assert picture.width == 900
    output = capsys.readouterr().out
    assert "ratio" in output and "lower_lip" in output and str(grid) in output


def test_text_alone_and_several_images(tmp_path):
    assert cli.main(["generate", "--prompt=a face", f"--out={tmp_path / 'face.png'}", "--num-images=2", *TINY]) == 0
    pictures = [(tmp_path / f"face-{index}.png").read_bytes() for index in range(2)]
    assert pictures[0] != pictures[1] and not (tmp_path / "face.png").exists()


def test_generate_tells_of_pixels_off_the_palette(tmp_path, capsys):
    colours = to_colours(np.ones((10, 10), int))
    colours[0, :3] += 5
    Image.fromarray(colours).save(tmp_path / "map.png")
    out = f"--out={tmp_path / 'face.png'}"
    assert cli.main(["generate", f"--label-map={tmp_path / 'map.png'}", out, *TINY]) == 0
    assert "3 pixels (3.0%)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "pages"), [([], None), (["--step=2"], None), (["--animate"], 3), (["--curves", "--image=1"], None)]
)
def test_gating_figures(record, tmp_path, options, pages):
    out = tmp_path / ("figure.gif" if pages else "figure.png")
    assert cli.main(["gating", str(record), f"--out={out}", *options]) == 0
    with Image.open(out) as picture:
        assert getattr(picture, "n_frames", None) == pages or pages is None


def test_gating_of_one_step_differs_from_the_mean(record, tmp_path):
    for name, options in {"mean.png": [], "step.png": ["--step=0"]}.items():
        assert cli.main(["gating", str(record), f"--out={tmp_path / name}", *options]) == 0
    assert (tmp_path / "mean.png").read_bytes() != (tmp_path / "step.png").read_bytes()


def test_errors_of_generate(tmp_path, label_map, capsys):
    out = f"--out={tmp_path / 'face.png'}"
    wrong = tmp_path / "wrong.png"
    Image.new("L", (4, 4), 200).save(wrong)
    _fails(capsys, ["generate"], "--out")
    _fails(capsys, ["generate", f"--out={tmp_path / 'none' / 'face.png'}"], "folder that exists")
    _fails(capsys, ["generate", f"--out={tmp_path / 'face.xyz'}"], ".png")
    _fails(capsys, ["generate", out, "--steps=0"], "whole number from 1")
    _fails(capsys, ["generate", out, f"--seed={2**64}"], "below 2**64")
    _fails(capsys, ["generate", out, "--size=1x2x3"], "HEIGHTxWIDTH")
    _fails(capsys, ["generate", out, "--label-map=none.png"], "none.png")
    _fails(capsys, ["generate", out, f"--label-map={wrong}"], "wrong.png", "[200]", "Class ids are 0")
    _fails(capsys, ["generate", out, "--checkpoint=fluxx"], "Did you mean 'flux'?")
    _fails(capsys, ["generate", out, *TINY, "--size=8"], "at least 16 pixels")
    _fails(capsys, ["generate", out, *TINY, "--device=abacus"], "got 'abacus'")


def test_errors_of_gating(record, tmp_path, capsys):
    out = f"--out={tmp_path / 'grid.png'}"
    (tmp_path / "bad.npz").write_bytes(b"not an archive")
    _fails(capsys, ["gating", "none.npz", out], "none.npz")
    _fails(capsys, ["gating", tmp_path / "bad.npz", out], "bad.npz is not a gating record")
    _fails(capsys, ["gating", record, out, "--step=3"], "steps 0 to 2, got step 3")
    _fails(capsys, ["gating", record, out, "--image=2"], "images 0 to 1")
    _fails(capsys, ["gating", record, out, "--animate"], "Name it grid.gif")
    _fails(capsys, ["gating", record, out, f"--face={tmp_path / 'bad.npz'}"], "bad.npz")


def test_interrupting_ends_without_a_traceback(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "_find", interrupted)
    assert cli.main(["generate", f"--out={tmp_path / 'face.png'}"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
