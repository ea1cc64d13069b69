"""Pictures of results beside the faces of a data folder: by name in every layout, and all that does not fit told."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from facemogle.data.names import Names
from facemogle.evaluation.groups import find_groups, read_groups
from facemogle.evaluation.manifest import NAME
from facemogle.evaluation.matching import look, match, without
from tests.data_folders import CASES, true_map, write

FACES = {
    "MM-CelebA-HQ": {"face/7.jpg": "face.jpg", "mask/7.png": "mask.png", "text/7.txt": b"a man\na person",
                     "face/10.jpg": "face.jpg", "mask/10.png": "mask.png", "text/10.txt": b"a woman"},
    "CelebAMask-HQ": {"CelebA-HQ-img/7.jpg": "face.jpg", "CelebA-HQ-img/10.jpg": "face.jpg",
                      "CelebAMask-HQ-mask-anno/0/00007_": "parts", "CelebAMask-HQ-mask-anno/0/00010_": "parts",
                      "captions.json": b'{"7.jpg": ["a man"], "10.jpg": ["a woman"]}'},
    "one folder": {"7.jpg": "face.jpg", "7_mask.png": "mask.png", "7.txt": b"a man",
                   "10.jpg": "face.jpg", "10_mask.png": "mask.png", "10.txt": b"a woman"},
    "faces alone": {"7.jpg": "face.jpg", "7.txt": b"a man", "10.jpg": "face.jpg", "10.txt": b"a woman"},
}  # fmt: skip
RESULTS = {
    "names": ("7.png", "10.png"),
    "zeros, another format": ("00007.jpg", "00010.jpg"),
    "a folder of faces": ("face/7.png", "face/10.png", "mask/7.png"),
    "seeds behind names": ("7-0.png", "7-1.png", "10_seed3.png"),
    "seeds in folders": ("seed0/7.png", "seed1/7.png", "seed0/10.png"),
}


def results(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (90, 60, 50)).save(path)
    return root


def test_pictures_find_faces_captions_and_maps_by_name_in_every_layout(tmp_path):
    for layout, files in FACES.items():
        data = write(tmp_path / layout, files)
        for kind, names in RESULTS.items():
            study = match(results(tmp_path / f"results {kind}", names), data, unpacked=tmp_path).study
            case = layout, kind
            wanted = [name for name in names if not name.startswith("mask/")]
            assert len(study.pictures) == len(wanted), case
            assert [path.stem for path in study.reals] == ["10", "7"] or [path.stem for path in study.reals] == [
                "7", "10",
            ], case  # fmt: skip
            for picture in study.pictures:
                stem = "10" if "10" in picture.name else "7"
                assert (picture.face, picture.real.stem) == (stem, stem), case
                assert picture.caption == {"7": "a man", "10": "a woman"}[stem], case
                assert (picture.label_map is None) == (layout == "faces alone"), case
                if picture.label_map is not None:
                    assert (picture.label_map() == true_map()).all(), case


def test_order_decides_nothing(tmp_path):
    """In order, "10" and "9" would be the first two of each side, and 10 be measured against 9."""
    data = write(tmp_path / "data", {f"face/{name}.jpg": "face.jpg" for name in ("9", "10", "11")})
    matched = match(results(tmp_path / "results", ["10.png", "9.png", "12.png"]), data, unpacked=tmp_path)
    assert {picture.name: picture.real.stem for picture in matched.study.pictures} == {"10": "10", "9": "9"}
    assert matched.counts["missing"] == matched.counts["surplus"] == 1
    missing, surplus = matched.notes
    assert "1 face of data: 11." in missing and "--ids" in missing
    assert "1 picture in results, 12." in surplus
    few = match(tmp_path / "results", data, ids=["9.jpg", "00010"], unpacked=tmp_path)
    assert [path.stem for path in few.study.reals] == ["10", "9"] and few.counts["missing"] == 0
    with pytest.raises(ValueError, match=r"no face for 1 of the ids, such as \['44'\]"):
        match(tmp_path / "results", data, ids=["44"], unpacked=tmp_path)
    with pytest.raises(ValueError, match=r"No picture in .* has the name of a face .* as 'z'.* Name the picture"):
        match(results(tmp_path / "others", ["z.png"]), data, unpacked=tmp_path)


def test_broken_files_mixed_sizes_and_formats_are_told(tmp_path):
    names = [f"{number}.png" for number in range(5)]
    data = write(tmp_path / "data", {f"face/{number}.jpg": "face.jpg" for number in range(5)})
    folder = results(tmp_path / "results", names)
    Image.new("RGB", (32, 32)).save(folder / "1.png")
    Image.new("RGB", (64, 64)).save(folder / "2.jpg", quality=75)
    (folder / "2.png").unlink()
    (folder / "3.png").write_bytes(b"")
    (folder / "4.png").write_bytes(b"<html>")
    study = match(folder, data, unpacked=tmp_path).study
    problems, notes = look(study)
    assert {path.name: why for path, why in problems.items()} == {
        "3.png": "an empty file", "4.png": "no picture that can be read",
    }  # fmt: skip
    said = " ".join(notes)
    assert "The results are of 2 sizes: 2 of 64x64, 1 of 32x32." in said
    assert "The results are of 2 formats: 2 of PNG, 1 of JPEG." in said
    assert "The results are PNG, the real pictures JPEG." in said and "quality 75" in said
    assert {picture.name for picture in without(study, problems).pictures} == {"0", "1", "2"}
    (folder / "0.jpg").write_bytes((folder / "0.png").read_bytes())
    with pytest.raises(ValueError, match="two pictures of one name"):
        match(folder, data, unpacked=tmp_path)


def test_groups_come_from_a_table_or_from_folders(tmp_path):
    faces = {name: tmp_path / "face" / f"{name}.jpg" for name in ("7", "10", "11")}
    (tmp_path / "groups.tsv").write_text("file_name\tgroup\n00007.jpg\tolder\n10.jpg\tyounger\n")
    assert find_groups(tmp_path, faces) == {"7": "older", "10": "younger"}
    data = write(tmp_path / "data", {f"face/{name}.jpg": "face.jpg" for name in faces})
    folder = results(tmp_path / "results", ["7.png", "10.png"])
    table = tmp_path / "labels.csv"
    table.write_text("file,race,gender\nval/7.jpg,East Asian,Male\nval/10.jpg,Black,Female\n")
    matched = match(folder, data, groups=table, group_by="Race, gender", unpacked=tmp_path)
    assert {each.face: each.group for each in matched.study.pictures} == {
        "7": "East Asian, Male",
        "10": "Black, Female",
    }
    with pytest.raises(ValueError, match=r"needs a column of files.* and group; it has file, race, gender. Name a col"):
        match(folder, data, groups=table, unpacked=tmp_path)
    table.write_text(json.dumps({"7.jpg": "one", "10.jpg": "two"}))
    table.rename(tmp_path / "labels.json")
    matched = match(folder, data, groups=tmp_path / "labels.json", unpacked=tmp_path)
    assert {each.face: each.group for each in matched.study.pictures} == {"7": "one", "10": "two"}
    by_folder = {str(number): tmp_path / ("men" if number % 2 else "women") / f"{number}.jpg" for number in range(4)}
    assert find_groups(tmp_path / "data", by_folder) == {"0": "women", "1": "men", "2": "women", "3": "men"}
    numbered = {str(number): tmp_path / f"{number % 2:05}" / f"{number}.jpg" for number in range(4)}
    assert find_groups(tmp_path / "data", numbered) == {}  # as FFHQ's folders of a thousand
    (tmp_path / "few.csv").write_text('\ufefffile;group\n7;"one; two"\n', "utf-8")
    assert read_groups(tmp_path / "few.csv", Names(faces)) == {"7": "one; two"}
    (tmp_path / "wide.csv").write_text("file,group\n7.jpg,Black, African\n")
    with pytest.raises(ValueError, match=r"wide\.csv cannot be read.* line 2 has more values"):
        read_groups(tmp_path / "wide.csv", Names(faces))
    with pytest.raises(ValueError, match=r"data has no groups\.csv with the columns race\. Give the table"):
        match(folder, data, group_by="race", unpacked=tmp_path)
    (tmp_path / "none.csv").write_text("file,group\nz.jpg,one\n")
    with pytest.raises(ValueError, match=r"names none of the faces: its first file is 'z.jpg'"):
        read_groups(tmp_path / "none.csv", Names(faces))


def test_a_batchs_manifest_says_what_each_picture_is_of(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    data = write(tmp_path / "data", FACES["MM-CelebA-HQ"])
    other = tmp_path / "other.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(other)
    folder = results(tmp_path / "batch", ["aa.png", "bb.png"])
    sample = {"00000000.png": (CASES / "mask.png").read_bytes(), "00000000.txt": b"a man",
              "00000000.json": json.dumps({"file": "7-1.png"}).encode()}  # fmt: skip
    with tarfile.open(folder / "000000.tar", "w") as tar:
        for name, content in sample.items():
            (tmp_path / name).write_bytes(content)
            tar.add(tmp_path / name, name)
    columns = ("file", "face", "group", "caption", "label_map", "shard", "failure", "conditions")
    rows = [
        ("aa.png", "7", "old", None, None, None, None, "text and label map"),
        ("bb.png", "10", None, "a queen", str(other), None, None, "text and label map"),
        ("7-1.png", "7", "old", None, "gone.png", "000000.tar", None, "text and label map"),
        ("cc.png", "10", None, None, None, None, "out of memory", "text and label map"),
    ]
    parquet.write_table(
        pyarrow.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows]), folder / NAME
    )
    matched = match(folder, data, unpacked=tmp_path / "unpacked")
    found = {each.name: (each.face, each.group, each.caption) for each in matched.study.pictures}
    assert found == {"aa": ("7", "old", "a man"), "bb": ("10", None, "a queen"), "7-1": ("7", "old", "a man")}
    by_name = {each.name: each for each in matched.study.pictures}
    assert (by_name["aa"].label_map() == true_map()).all() and by_name["bb"].label_map().shape == (8, 8)
    assert by_name["7-1"].path.read_bytes() == sample["00000000.png"]
    assert matched.notes == (
        "Of the pictures in manifest.parquet, 1 are not there: cc.png (out of memory).",
        "The pictures were drawn from text and label map.",
        "Faces in no group: 1, 10. They count only in the figures of all pictures.",
    )
    (folder / ".journal").mkdir()
    (folder / ".journal" / "000001.jsonl").write_text("{}")
    with pytest.raises(ValueError, match=r"batch is not finished: .* Run the command of the batch to its end"):
        match(folder, data, unpacked=tmp_path / "unpacked")
    (folder / ".journal" / "000001.jsonl").unlink()
    (folder / NAME).write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"manifest\.parquet cannot be read"):
        match(folder, data, unpacked=tmp_path / "unpacked")
