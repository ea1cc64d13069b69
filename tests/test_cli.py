import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from facemogle import checkpoints, cli
from facemogle.gating import EXPERTS, GatingRecord, load_gating, save_gating
from facemogle.label_files import read_label_map, write_label_map
from facemogle.labels import NAMES, to_colours
from facemogle.parsing.cleanup import swap_sides
from facemogle.picture_files import MAX_SEED, read_settings
from train.mini.portraits import render, sample_attributes

REFERENCE = Path(__file__).parent / "reference"
TINY = [
    f"--checkpoint={REFERENCE / 'tiny-flux'}",
    f"--adapter={REFERENCE / 'pytorch_lora_weights.safetensors'}",
    f"--mogle={REFERENCE / 'mogle.pt'}",
    "--device=cpu", "--size=64x32", "--steps=2",
]  # fmt: skip
# What a picture does not carry: --from takes the rest from it.
WEIGHTS = TINY[1:4]


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


def _pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.tobytes()


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


def test_each_of_several_images_is_what_its_seed_makes_alone(tmp_path, label_map):
    command = ["generate", f"--label-map={label_map}", *TINY]
    files = [f"--out={tmp_path / 'face.png'}", f"--gating={tmp_path / 'gating.npz'}"]
    assert cli.main([*command, *files, f"--seed={MAX_SEED}", "--num-images=2"]) == 0
    weights = load_gating(tmp_path / "gating.npz").weights
    assert weights.shape == (2, 2, 20, 4, 2) and not np.array_equal(weights[:, 0], weights[:, 1])
    for index, seed in enumerate((MAX_SEED, 0)):
        files = [f"--out={tmp_path / 'alone.png'}", f"--gating={tmp_path / 'alone.npz'}"]
        assert cli.main([*command, *files, f"--seed={seed}"]) == 0
        assert (tmp_path / "alone.png").read_bytes() == (tmp_path / f"face-{index}.png").read_bytes()
        assert np.array_equal(load_gating(tmp_path / "alone.npz").weights[:, 0], weights[:, index])


def test_expert_scale(tmp_path, label_map):
    command = ["generate", f"--label-map={label_map}", f"--gating={tmp_path / 'gating.npz'}", *TINY]
    assert cli.main([*command, f"--out={tmp_path / 'face.png'}"]) == 0
    before = load_gating(tmp_path / "gating.npz").weights
    muted = ["--expert-scale", "hair=0", "--expert-scale", "left_eye=2"]
    assert cli.main([*command, f"--out={tmp_path / 'muted.png'}", *muted]) == 0
    weights = load_gating(tmp_path / "gating.npz").weights
    hair, left_eye = EXPERTS.index("hair"), EXPERTS.index("left_eye")
    assert not weights[:, :, hair].any() and (weights[0, :, left_eye] > before[0, :, left_eye]).all()
    assert _pixels(tmp_path / "muted.png") != _pixels(tmp_path / "face.png")


def test_from_a_picture_makes_it_again_to_the_last_bit(tmp_path, label_map, capsys):
    face, again = tmp_path / "face.png", tmp_path / "again.png"
    settings = ["--prompt=a woman, 頭", "--seed=7", "--guidance-scale=2.3", "--condition-scale=0.7"]
    scale = ["--expert-scale=hair=0", "--expert-scale=nose=1.5"]
    assert cli.main(["generate", f"--label-map={label_map}", f"--out={face}", *settings, *scale, *TINY]) == 0
    label_map.unlink()
    capsys.readouterr()
    assert cli.main(["generate", f"--from={face}", f"--out={again}", *WEIGHTS]) == 0
    assert "seed 7, checkpoint" in capsys.readouterr().err
    assert again.read_bytes() == face.read_bytes()

    # What is given as well stands above it, name by name; the rest remains.
    given = ["--seed=8", "--expert-scale=hair=1", "--steps=1", "--size=32x64"]
    assert cli.main(["generate", f"--from={face}", f"--out={again}", *given, *WEIGHTS]) == 0
    before, after = read_settings(face), read_settings(again)
    assert before.expert_scale == {"hair": 0, "nose": 1.5} and after.expert_scale == {"hair": 1, "nose": 1.5}
    assert (after.seed, after.num_inference_steps, after.height, after.width) == (8, 1, 32, 64)
    for name in ("prompt", "guidance_scale", "condition_scale", "checkpoint"):
        assert getattr(after, name) == getattr(before, name)
    assert np.array_equal(after.label_map, before.label_map)
    assert _pixels(again) != _pixels(face)


@pytest.mark.parametrize("changed", ["--prompt=", "--guidance-scale=1", "--condition-scale=1", "--seed=0"])
def test_every_restored_setting_takes_part(changed, tmp_path, label_map):
    face, again = tmp_path / "face.png", tmp_path / "again.png"
    settings = ["--prompt=a face", "--guidance-scale=5", "--condition-scale=0.5", "--seed=7"]
    assert cli.main(["generate", f"--label-map={label_map}", f"--out={face}", *settings, *TINY]) == 0
    assert cli.main(["generate", f"--from={face}", f"--out={again}", changed, *WEIGHTS]) == 0
    assert _pixels(again) != _pixels(face)


def test_settings_of_the_checkpoint_and_of_the_picture_that_came_out(tmp_path):
    """Steps and guidance that were not asked for, and a size rounded to whole tokens."""
    path = tmp_path / "face.PNG"
    assert cli.main(["generate", f"--out={path}", *TINY[:4], "--size=70x33", "--steps=1"]) == 0
    settings = read_settings(path)
    assert (settings.height, settings.width, settings.guidance_scale, settings.seed) == (64, 32, 3.5, 0)
    assert settings.label_map is None and settings.expert_scale is None and settings.prompt == ""


@pytest.fixture
def photo(tmp_path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (64, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def edited(tmp_path, label_map) -> Path:
    """The label map with hair in its upper half."""
    class_ids = read_label_map(label_map).label_map
    class_ids = class_ids.copy()
    class_ids[:20] = NAMES.index("hair")
    write_label_map(tmp_path / "edited.png", class_ids)
    return tmp_path / "edited.png"


def _rows(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_change_a_part_of_a_picture(tmp_path, photo, label_map, edited, capsys):
    new, again = tmp_path / "new.png", tmp_path / "again.png"
    maps = [f"--source-map={label_map}", f"--label-map={edited}"]
    assert cli.main(["generate", f"--image={photo}", *maps, f"--out={new}", *TINY]) == 0
    assert np.array_equal(_rows(new)[40:], _rows(photo)[40:])
    assert not np.array_equal(_rows(new)[:24], _rows(photo)[:24])

    # As a grey mask, white where it may change; less strongly; and again from its settings.
    Image.fromarray(np.arange(64, dtype=np.uint8)[:, None].repeat(32, 1) * 4 ^ 255).save(tmp_path / "region.png")
    region = f"--region={tmp_path / 'region.png'}"
    assert cli.main(["generate", f"--image={photo}", region, "--strength=0.5", f"--out={new}", *TINY]) == 0
    assert np.array_equal(_rows(new)[32:], _rows(photo)[32:])
    assert (_rows(new)[:32] != _rows(photo)[:32]).any((1, 2)).all()
    assert read_settings(new).strength == 0.5
    assert cli.main(["generate", f"--from={new}", f"--image={photo}", region, f"--out={again}", *WEIGHTS]) == 0
    assert again.read_bytes() == new.read_bytes()
    capsys.readouterr()
    _fails(capsys, ["generate", f"--from={new}", f"--out={again}", *WEIGHTS], "new.png", "does not carry", "--image")


def test_an_edit_says_what_it_is(tmp_path, photo):
    options = [f"--image={photo}", "--strength=0.5"]
    for name, given, source in (("new.png", options, "compositeWithTrained"), ("face.png", [], "/trained")):
        assert cli.main(["generate", *given, f"--out={tmp_path / name}", *TINY]) == 0
        with Image.open(tmp_path / name) as picture:
            assert source in picture.info["XML:com.adobe.xmp"]
        assert read_settings(tmp_path / name).strength == (0.5 if given else None)


def test_a_photo_is_turned_upright(tmp_path, photo):
    with Image.open(photo) as picture:
        exif = picture.getexif()
        exif[0x0112] = 3  # stored upside down
        picture.rotate(180).save(tmp_path / "turned.png", exif=exif)
    pictures = []
    for path in (photo, tmp_path / "turned.png"):
        command = ["generate", f"--image={path}", "--strength=0.5", f"--out={tmp_path / 'new.png'}", *TINY]
        assert cli.main(command) == 0
        pictures.append(_pixels(tmp_path / "new.png"))
    assert pictures[0] == pictures[1]


def test_errors_of_changing_a_picture(tmp_path, photo, label_map, edited, capsys):
    out, image = f"--out={tmp_path / 'new.png'}", f"--image={photo}"
    source, region = f"--source-map={label_map}", f"--region={photo}"
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for alone in (source, region, "--strength=0.5"):
        _fails(capsys, ["generate", out, alone], "change a picture", "--image")
    _fails(capsys, ["generate", out, image, source, region], "not allowed with")
    _fails(capsys, ["generate", out, "--image=none.png", "--strength=0.5"], "none.png")
    _fails(capsys, ["generate", out, f"--image={tmp_path / 'bad.png'}", "--strength=0.5"], "bad.png")
    _fails(capsys, ["generate", out, image, f"--region={tmp_path / 'bad.png'}"], "bad.png")
    _fails(capsys, ["generate", out, image, *TINY], "At strength 1")
    _fails(capsys, ["generate", out, image, "--strength=0", *TINY], "strength must be above 0")
    _fails(capsys, ["generate", out, image, "--strength=nan", *TINY], "strength must be a number")
    _fails(capsys, ["generate", out, image, source, *TINY], "label_map, the edited one")
    _fails(capsys, ["generate", out, image, source, f"--label-map={label_map}", *TINY], "do not differ")


def test_other_formats_carry_no_settings(tmp_path, capsys):
    assert cli.main(["generate", f"--out={tmp_path / 'face.webp'}", *TINY]) == 0
    assert read_settings(tmp_path / "face.webp") is None
    out = f"--out={tmp_path / 'again.png'}"
    _fails(capsys, ["generate", f"--from={tmp_path / 'face.webp'}", out, *TINY], "face.webp carries no settings", "PNG")


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
    _fails(capsys, ["generate", out, f"--seed={MAX_SEED + 1}"], "whole number from 0")
    _fails(capsys, ["generate", out, "--size=1x2x3"], "HEIGHTxWIDTH")
    _fails(capsys, ["generate", out, "--label-map=none.png"], "none.png")
    _fails(capsys, ["generate", out, f"--label-map={wrong}"], "wrong.png", "[200]", "Class ids are 0")
    _fails(capsys, ["generate", out, "--checkpoint=fluxx"], "Did you mean 'flux'?")
    _fails(capsys, ["generate", out, "--from=none.png"], "none.png")
    _fails(capsys, ["generate", out, "--expert-scale=beard=2"], "global background", "cloth", "'beard=2'")
    _fails(capsys, ["generate", out, "--expert-scale=hair=much"], "such as hair=0", "'hair=much'")
    _fails(capsys, ["generate", out, *TINY, "--expert-scale=hair=-1"], "expert_scale of hair", "from 0")
    _fails(capsys, ["generate", out, *TINY, "--guidance-scale=nan"], "guidance_scale must be a number")
    every = [f"--expert-scale={name}=0" for name in EXPERTS]
    _fails(capsys, ["generate", out, *TINY, *every], "mutes all experts")
    _fails(capsys, ["generate", out, *TINY, "--size=8"], "at least 16 pixels")
    _fails(capsys, ["generate", out, *TINY, "--device=abacus"], "got 'abacus'")


def test_nothing_that_is_read_is_written_over(tmp_path, capsys):
    face, film = tmp_path / "face.png", tmp_path / "film.gif"
    face.write_bytes(b"a face")
    for command in (
        ["morph", face, face, f"--out={film}", f"--strip={face}"],
        ["experts", face, f"--out={face}"],
        ["sketch", face, f"--out={face}"],
        ["generate", "--from", face, f"--out={face}"],
        ["generate", f"--out={film}", f"--gating={film}"],
        ["gating", tmp_path / "gating.npz", "--face", face, f"--out={face}"],
    ):
        _fails(capsys, command, "would be written over")
    _fails(capsys, ["morph", face, face, f"--out={film}", "--frames=99999999"], "from 2 to 1000")
    _fails(capsys, ["morph", tmp_path / "none.png", face, f"--out={film}"], "There is no file", "none.png")
    assert face.read_bytes() == b"a face"


def test_a_folder_in_place_of_a_picture(tmp_path, capsys):
    folder, out = tmp_path / "photos", f"--out={tmp_path / 'new.png'}"
    folder.mkdir()
    for command in (
        ["sketch", folder, out],
        ["experts", folder, out],
        ["generate", "--from", folder, out],
        ["generate", "--image", folder, "--strength=0.5", out],
        ["change", folder, "--part=hair", "--prompt=red", out],
    ):
        _fails(capsys, command, f"{folder} is a folder. Name a picture in it.")
    _fails(capsys, ["inspect", tmp_path / "none", tmp_path / "no.png"], "There is no file", "none.", "no.png.")


def test_errors_of_gating(record, tmp_path, capsys):
    out = f"--out={tmp_path / 'grid.png'}"
    (tmp_path / "bad.npz").write_bytes(b"not an archive")
    _fails(capsys, ["gating", "none.npz", out], "none.npz")
    _fails(capsys, ["gating", tmp_path / "bad.npz", out], "bad.npz is not a gating record")
    _fails(capsys, ["gating", record, out, "--step=3"], "steps 0 to 2, got step 3")
    _fails(capsys, ["gating", record, out, "--image=2"], "images 0 to 1")
    _fails(capsys, ["gating", record, out, "--animate"], "Name it grid.gif or grid.webp")
    _fails(capsys, ["gating", record, out, f"--face={tmp_path / 'bad.npz'}"], "bad.npz")


@pytest.fixture(scope="module")
def portrait() -> tuple[np.ndarray, np.ndarray]:
    """(256, 256, 3) picture and (256, 256) label map."""
    return render(sample_attributes(np.random.default_rng(20)), 256)


@pytest.fixture
def faces_folder(tmp_path, portrait) -> Path:
    """Two photos of one name, two that are none, and a letter."""
    folder = tmp_path / "faces"
    folder.mkdir()
    Image.fromarray(portrait[0]).save(folder / "anna.PNG")
    Image.fromarray(portrait[0]).save(folder / "anna.jpg", quality=95)
    Image.fromarray(portrait[0]).save(folder / "berta.webp", lossless=True)
    Image.new("RGB", (300, 200), "white").save(folder / "wall.png")
    (folder / "empty.jpg").touch()
    (folder / "letter.txt").write_text("Dear Anna,")
    return folder


PARSE = ["parse", "--parser=mini"]


def test_parse_a_photo(tmp_path, portrait, capsys):
    photo, out = tmp_path / "photo.png", tmp_path / "map.png"
    Image.fromarray(portrait[0]).save(photo)
    more = [f"--crop-out={tmp_path / 'crop.png'}", f"--confidence={tmp_path / 'sure.png'}"]
    assert cli.main([*PARSE, str(photo), f"--out={out}", *more]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in ("map.png", "crop.png", "sure.png")]
    label_map, off_palette, *_ = read_label_map(out)
    assert off_palette == 0 and (label_map == portrait[1]).mean() > 0.97
    assert np.array_equal(_rows(tmp_path / "crop.png"), portrait[0])
    sure = _rows(tmp_path / "sure.png")
    assert sure.shape == label_map.shape and sure.max() == 255 and sure[label_map == portrait[1]].mean() > 200

    assert cli.main([*PARSE, str(photo), f"--out={out}", "--swap-sides"]) == 0
    assert np.array_equal(read_label_map(out)[0], swap_sides(label_map))
    capsys.readouterr()
    for options, told in (([], True), (["--no-clean"], False)):
        Image.fromarray(astronaut()).save(photo)
        assert cli.main([*PARSE, str(photo), f"--out={out}", *options]) == 0
        assert ("photo.png: " in (output := capsys.readouterr().err) and "small island" in output) == told


def test_parse_which_part(tmp_path):
    photo, out, crop = tmp_path / "photo.png", tmp_path / "map.png", tmp_path / "crop.png"
    Image.fromarray(astronaut()[:400]).save(photo)
    crops = []
    for options in ([], ["--face=0"], ["--square=150,40,128"], ["--whole"]):
        assert cli.main([*PARSE, str(photo), f"--out={out}", f"--crop-out={crop}", *options]) == 0
        crops.append(_rows(crop))
        assert read_label_map(out)[0].shape == crops[-1].shape[:2]
    assert np.array_equal(crops[0], crops[1])
    assert crops[2].shape == (512, 512, 3) and not np.array_equal(crops[2], crops[0])
    assert np.array_equal(crops[3], astronaut()[:400])


def test_parse_what_was_drawn_here(tmp_path, label_map):
    """Whole, although no face is found in it."""
    face, out = tmp_path / "face.png", tmp_path / "map.png"
    assert cli.main(["generate", f"--label-map={label_map}", f"--out={face}", *TINY]) == 0
    assert cli.main([*PARSE, str(face), f"--out={out}"]) == 0
    assert read_label_map(out)[0].shape == (64, 32)


def test_parse_a_folder(tmp_path, faces_folder, portrait, capsys):
    maps, crops = tmp_path / "maps", tmp_path / "crops"
    assert cli.main([*PARSE, str(faces_folder), f"--out={maps}", f"--crop-out={crops}"]) == 2
    errors = capsys.readouterr().err
    assert "3 of 5 pictures parsed." in errors
    assert "empty.jpg is an empty file" in errors and "wall.png: No face was found" in errors
    assert errors.splitlines()[-1] == "facemogle: 2 of 5 pictures could not be parsed: see above."
    names = {"anna.PNG.png", "anna.jpg.png", "berta.png"}
    assert {path.name for path in maps.iterdir()} == {path.name for path in crops.iterdir()} == names
    for name in names:
        assert (read_label_map(maps / name)[0] == portrait[1]).mean() > 0.97

    (faces_folder / "empty.jpg").unlink()
    (faces_folder / "wall.png").unlink()
    assert cli.main([*PARSE, str(faces_folder), f"--out={maps}"]) == 0
    assert capsys.readouterr().err.endswith("3 of 3 pictures parsed.\n")


def test_parse_help_teaches_and_is_quick():
    code = (
        "import sys, facemogle.cli\n"
        "try: facemogle.cli.main(['parse', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'diffusers', 'transformers', 'gradio', 'facenet_pytorch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REFERENCE.parents[1])
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in NAMES)
    for words in ("examples:", "--square 120,40,300", "--whole", "--swap-sides", "a folder:", "segface"):
        assert words in done.stdout


def test_a_picture_that_is_too_large_is_one_line(tmp_path):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "huge.png")
    command = [sys.executable, "-m", "facemogle", "parse", tmp_path / "huge.png", "--out", tmp_path / "map.png"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REFERENCE.parents[1])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("facemogle: huge.png has 10000x10000 pixels") and "Scale it down" in line


def test_errors_of_parse(tmp_path, faces_folder, capsys):
    photo, wall, out = faces_folder / "berta.webp", faces_folder / "wall.png", f"--out={tmp_path / 'map.png'}"
    _fails(capsys, ["parse", photo], "--out")
    _fails(capsys, ["parse", "none.jpg", out], "none.jpg")
    _fails(capsys, ["parse", faces_folder / "empty.jpg", out], "empty.jpg is an empty file", "Choose a picture")
    _fails(capsys, ["parse", faces_folder / "letter.txt", out], "letter.txt is no picture", "JPEG or PNG")
    _fails(capsys, ["parse", wall, out], "No face was found", "--whole", "--square")
    _fails(capsys, ["parse", photo, out, "--face=1"], "face 1", "1 face was found")
    _fails(capsys, ["parse", photo, out, "--face=-1"], "whole number from 0")
    _fails(capsys, ["parse", photo, out, "--square=1,2"], "LEFT,TOP,SIDE", "'1,2'")
    _fails(capsys, ["parse", photo, out, "--square=900,0,10"], "touch the photo of 256x256")
    _fails(capsys, ["parse", photo, out, "--whole", "--face=0"], "not allowed with")
    _fails(capsys, ["parse", photo, out, "--whole", "--parser=nobody"], "nobody")
    _fails(capsys, ["parse", photo, f"--out={tmp_path / 'none' / 'map.png'}"], "--out", "folder that exists")
    _fails(capsys, ["parse", photo, f"--out={tmp_path / 'map.jpg'}"], "map.jpg", ".png")
    _fails(capsys, ["parse", photo, out, f"--crop-out={tmp_path}"], "--crop-out", ".png")
    _fails(capsys, ["parse", wall, f"--out={wall}"], "written over")
    _fails(capsys, ["parse", photo, out, f"--confidence={tmp_path / 'map.png'}"], "map.png", "written over")
    _fails(capsys, ["parse", faces_folder, f"--out={faces_folder}"], "written over")
    (tmp_path / "nothing").mkdir()
    _fails(capsys, ["parse", tmp_path / "nothing", f"--out={tmp_path / 'maps'}"], "No picture is in", ".jpg")
    assert not (tmp_path / "map.png").exists() and not (tmp_path / "maps").exists()


def test_interrupting_ends_without_a_traceback(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "find_files", interrupted)
    assert cli.main(["generate", f"--out={tmp_path / 'face.png'}"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
