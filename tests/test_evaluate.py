"""`python -m facemogle evaluate`, from folders to the table, the JSON and the page, with tiny random networks."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from facemogle.cli import main
from facemogle.data.pairs import read_image
from facemogle.evaluation import metrics
from facemogle.evaluation.metric import Measured, Metric, Network, NetworkFile
from facemogle.label_files import write_label_map
from facemogle.parsing.mini import MiniParser
from train.mini.portraits import caption, render, sample_attributes

FACES = 12


def small(path):
    return torch.from_numpy(np.asarray(read_image(path).resize((16, 16)), np.float32) / 255).permute(2, 0, 1)


def load_tiny(paths, device):
    weight = load_file(paths[0])["weight"]
    return lambda pictures: torch.nn.functional.conv2d(pictures, weight, stride=4).flatten(1)


TINY = Network("tiny", (NetworkFile("nobody/tiny/tiny.safetensors", 1_000),), small, load_tiny, licence="none")
ABSENT = Network("absent", (NetworkFile("https://example.org/absent.pt", 1_000_000, by_hand=True),), small, load_tiny)


def distance(study, features):
    ours, reals = (features(TINY, paths).mean(0) for paths in ([each.path for each in study.pictures], study.reals))
    return Measured(float(np.linalg.norm(ours - reals)))


def brightness(study, features):
    values = features(TINY, [picture.path for picture in study.pictures])[:, 0]
    return Measured(
        float(values.mean()), each={each.name: float(one) for each, one in zip(study.pictures, values, strict=True)}
    )


METRICS = (
    Metric("text", "Text", "higher", frozenset({"caption"}), (TINY,), brightness),
    Metric("fid", "FID", "lower", frozenset({"real"}), (TINY,), distance),
    Metric("ir", "IR", "higher", frozenset({"caption"}), (ABSENT,), lambda study, features: features(ABSENT, [])),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Real faces with maps, captions and groups; results of two seeds for some; a parser; a folder of networks."""
    root = tmp_path_factory.mktemp("evaluate")
    for folder in ("data/face", "data/mask", "results", "networks/tiny"):
        (root / folder).mkdir(parents=True)
    groups = ["file_name,group"]
    captions = {}
    for number in range(FACES):
        rng = np.random.default_rng(number)
        attributes = sample_attributes(rng)
        image, label_map = render(attributes, size=64)
        Image.fromarray(image).save(root / "data" / "face" / f"{number}.jpg")
        write_label_map(root / "data" / "mask" / f"{number}.png", label_map)
        captions[f"{number}.jpg"] = [caption(attributes, rng), "another"]
        groups.append(f"{number}.jpg,{attributes.person}")
        for seed in range(2 if number < 3 else 1):
            noise = rng.normal(0, 12, image.shape)
            drawn = Image.fromarray(np.clip(image + noise, 0, 255).astype(np.uint8))
            drawn.save(root / "results" / f"{number:05}-{seed}.png")
    (root / "data" / "text.json").write_text(json.dumps(captions))
    (root / "data" / "groups.csv").write_text("\n".join(groups))
    (root / "results" / "00011-0.png").write_bytes(b"")
    save_file({"weight": torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))},
              root / "networks" / "tiny" / "tiny.safetensors")  # fmt: skip
    torch.manual_seed(0)
    MiniParser(size=32, widths=(8, 8, 8), dilations=(1,)).save_pretrained(root / "parser")
    return root


@pytest.fixture
def run(folders, tmp_path, monkeypatch, capsys):
    """Options -> the exit code, what was printed, and the folder of what was written."""
    monkeypatch.setattr(metrics, "METRICS", METRICS)

    def run(*options, results="results"):
        out = tmp_path / "out"
        folder = folders / results
        code = main(["evaluate", str(folder), "--real", str(folders / "data"), "--parser", str(folders / "parser"),
                     "--networks", str(folders / "networks"), "--cache", str(tmp_path / "cache"), "--no-download",
                     "--device", "cpu", "--out", str(out), *options])  # fmt: skip
        return code, capsys.readouterr(), out

    return run


def test_a_folder_is_measured_from_end_to_end(run, folders):
    code, printed, out = run()
    assert code == 0
    table = printed.out.splitlines()
    order = [re.split(r" [↓↑]|  ", line)[0] for line in table[1:6]]
    assert order == ["FID", "Text", "Mask accuracy, %", "Mask mIoU, %", "Words shown, %"]
    assert "paper, multimodal" in table[0] and "22.24" in table[1] and "real" in table[0]
    assert "man (" in printed.out and "left eye" in printed.out  # groups and classes
    missing = next(line for line in table if line.startswith("  IR"))
    assert all(word in missing for word in ("absent.pt", "1.00 MB", "https://example.org/absent.pt", "networks/absent"))
    assert "11-0.png is left out: an empty file" in printed.err and "results are PNG, the real pictures" in printed.err
    found = json.loads((out / "evaluation.json").read_text())
    assert found["counts"]["pictures"] == FACES + 3 and found["counts"]["faces"] == FACES
    text = found["metrics"]["text"]
    assert len(text["each"]) == FACES + 2 and text["interval"][0] < text["value"] < text["interval"][1]
    assert text["value"] == pytest.approx(np.mean(list(text["each"].values())), rel=1e-5)
    assert found["metrics"]["seeds_colour"]["note"] == "3 pairs of 3 faces"
    by_group = {name: group["text"]["value"] for name, group in found["groups"].items()}
    counts = {name: group["pictures"] for name, group in found["groups"].items()}
    assert set(counts) == {"man", "woman"} and sum(counts.values()) == FACES + 2
    assert sum(by_group[name] * counts[name] for name in counts) / (FACES + 2) == pytest.approx(text["value"], rel=1e-5)
    assert "ir" in found["left out"] and found["paper"]["multimodal"]["fid"] == 22.24
    (file,) = found["networks"]["tiny"]["files"]
    assert len(file["sha256"]) == 64 and file["path"].endswith("networks/tiny/tiny.safetensors")
    assert {"torch", "numpy"} < set(found["versions"]) and found["settings"]["parser"].endswith("parser")
    assert len(found["parser"]["sha256"]) == 64
    page = (out / "evaluation.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)  # all it shows is in it
    assert page.count("<img") >= 8 and "Left out" in page and page.count('class="bar"') > 10


def test_a_second_run_reads_what_the_first_has_computed(run, monkeypatch):
    first = json.loads((run()[2] / "evaluation.json").read_text())

    def never(*arguments):
        raise AssertionError("known already")

    monkeypatch.setattr(metrics, "load_parser", never)
    monkeypatch.setattr("facemogle.evaluation.page._cases", lambda *arguments: "")  # which shows what is read
    for network in {metric.networks[0] for metric in METRICS}:
        monkeypatch.setitem(vars(network), "load", never)
    code, _, out = run()
    again = json.loads((out / "evaluation.json").read_text())
    assert code == 0 and again["metrics"] == first["metrics"]


def test_metrics_are_chosen_by_name_and_what_is_wrong_is_one_sentence(run, folders, tmp_path):
    code, _, out = run("--metrics", "fid,words")
    found = json.loads((out / "evaluation.json").read_text())
    assert code == 0 and "fid" in found["metrics"] and not found["classes"]
    assert {name.partition(".")[0] for name in [*found["metrics"], *found["left out"]]} == {"fid", "words"}
    code, printed, _ = run("--metrics", "fid,beauty")
    assert code == 2 and "There is no metric beauty. Known are text, fid" in printed.err
    with pytest.raises(SystemExit):
        run("--metrics", " ,")
    code, printed, _ = run("--parser", "segfaced")
    assert code == 2 and "There is no parser segfaced" in printed.err
    code, printed, _ = run("--metrics", "ir")
    assert code == 1 and "absent.pt" in printed.out  # nothing was measured
    (tmp_path / "ids.txt").write_text("\n")
    for ids, told in (("ids.txt", "names no face"), ("none.txt", "There is no file")):
        code, printed, _ = run("--ids", str(tmp_path / ids))
        assert code == 2 and told in printed.err
    code, printed, _ = run("--cache", str(tmp_path / "ids.txt"))
    assert code == 2 and "ids.txt cannot keep what is computed" in printed.err
    code, printed, _ = run(results="nowhere")
    assert code == 2 and "There is no folder" in printed.err
    shutil.copytree(folders / "results", folders / "strangers")
    for path in (folders / "strangers").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    code, printed, _ = run(results="strangers")
    assert code == 2 and "Name the picture of face 7 7.png" in printed.err and printed.err.count("\n") == 1


def test_the_authors_own_pictures_are_found_in_their_folder(run, folders, tmp_path, monkeypatch):
    """Of the paper's method, also in an archive; where several or none fit, what there is is listed."""
    home = tmp_path / "visualization"
    for method in ("tedigan", "face-mogle/face"):
        shutil.copytree(folders / "results", home / method)
    monkeypatch.setattr("facemogle.evaluation.published_pictures.fetch_dataset", lambda *place: home)
    code, printed, _ = run("--as-published", results="face-mogle/face")
    assert code == 2 and "0 folders" in printed.err and "face-mogle/face, tedigan" in printed.err
    shutil.make_archive(str(home / "face-mogle"), "zip", home / "face-mogle")
    shutil.rmtree(home / "face-mogle")
    shutil.copytree(folders / "data", folders / "copy", dirs_exist_ok=True)
    code = main(["evaluate", "--as-published", "--real", str(folders / "copy"), "--metrics", "fid",
                 "--networks", str(folders / "networks"), "--cache", str(tmp_path / "cache"),
                 "--out", str(tmp_path / "own")])  # fmt: skip
    found = json.loads((tmp_path / "own" / "evaluation.json").read_text())
    assert code == 0 and found["settings"]["results"] == str(home / "face-mogle" / "face") and "fid" in found["metrics"]
