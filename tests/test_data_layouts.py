"""Data folders as people have them: each is learned from as it is meant, or refused with the reason."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemogle.data.captions import is_garbled
from facemogle.data.names import Names, name_of
from facemogle.data.pairs import find_pairs, read_ids, read_image
from facemogle.label_files import part_of, write_label_map
from facemogle.text_files import read_encoded
from tests.data_folders import CASES, learned, true_map, write, write_parts
from train.data import main

WOMAN, MAN = "a woman", "a man"


def faces_and_masks(faces: str = "face/{}.jpg", masks: str = "mask/{}.png") -> dict[str, str | bytes]:
    """Two faces, 0 and 1, with a mask each."""
    return {faces.format(number): "face.jpg" for number in "01"} | {masks.format(number): "mask.png" for number in "01"}


TWO = faces_and_masks()
NO_TEXT = {"0": (), "1": ()}
TEXTS = {"0": (WOMAN,), "1": (MAN,)}
CELEB = {"CelebA-HQ-img/0.jpg": "face.jpg", "CelebAMask-HQ-mask-anno/0/00000_": "parts"}

# The folder's files, each a file of tests/cases/data, what is written into it, or the parts of mask.png; what each face
# teaches, None where nothing can be learned; the exit code of `check`, and words in what it says.
ROWS: dict[str, tuple[dict[str, str | bytes], dict[str, tuple[str, ...]] | None, int, str]] = {
    "Image-upper": (faces_and_masks("Images/{}.jpg", "Masks/{}.png"), NO_TEXT, 0, "2 by name"),
    "bgr": (TWO | {"mask/1.png": "mask-bgr.png"}, NO_TEXT, 0, "red and blue exchanged: 1"),
    "bisenet": (TWO | {"mask/1.png": "mask-bisenet.png"}, NO_TEXT, 1, "Give its class order (face-parsing.pytorch)"),
    "captions-beside": (TWO | {"face/0.txt": b"a woman", "face/1.txt": b"a man"}, TEXTS, 0, "2 in ROOT/face"),
    "captions-dir": (TWO | {"captions/0.txt": b"a woman", "captions/1.txt": b"a man"}, TEXTS, 0, "2 in ROOT/captions"),
    "case": (
        TWO | {"face/IMG_1.jpg": "face.jpg", "mask/img_1.png": "mask.png"},
        NO_TEXT | {"IMG_1": ()}, 0, "1 by name in other case",
    ),
    "celeb-custom-part": (
        CELEB | {"CelebAMask-HQ-mask-anno/0/00000_beard.png": "mask.png"},
        {"0": ()}, 0, "1 of no class (beard): CelebAMask-HQ-mask-anno/0/00000_beard.png",
    ),
    "celeb-merged-dir": (
        {"CelebA-HQ-img/0.jpg": "face.jpg", "CelebAMaskHQ-mask/0.png": "mask.png"},
        {"0": ()}, 0, "1 in ROOT/CelebAMaskHQ-mask: 1 by name",
    ),
    "celeb-ok": (CELEB, {"0": ()}, 0, "1 by name, in parts"),
    "celeb-values-1": (CELEB | {"CelebAMask-HQ-mask-anno/0/00000_": "parts of 1"}, {"0": ()}, 0, "skin: 1"),
    "celeb-zip-nested": ({f"CelebAMask-HQ/{path}": what for path, what in CELEB.items()}, {"0": ()}, 0, "in parts"),
    "cmyk-16": (TWO | {"face/1.jpg": "face-cmyk.jpg"}, NO_TEXT, 0, ""),
    "eadir": (TWO | {"face/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg": "face.jpg"}, NO_TEXT, 0, "1 hidden: face/@eaDir"),
    "img-label": (faces_and_masks("img/{}.jpg", "label/{}.png"), NO_TEXT, 0, "2 by name"),
    "ipynb": (
        TWO | {
            "face/.ipynb_checkpoints/0-checkpoint.jpg": "face.jpg",
            "mask/.ipynb_checkpoints/0-checkpoint.png": "mask.png",
        },
        NO_TEXT, 0, "2 hidden: face/.ipynb_checkpoints, mask/.ipynb_checkpoints",
    ),
    "jpg-and-png": (TWO | {"face/0.jpeg": "face.jpg"}, None, 2, "two faces of one name. Remove or rename one"),
    "json-bom": (
        TWO | {"text.json": b'\xef\xbb\xbf{"0.jpg": ["a woman"], "1.jpg": ["a man"]}'}, TEXTS, 0, "1 in utf-8-sig",
    ),
    "json-nested": (
        TWO | {"text.json": b'{"0.jpg": {"caption": "a woman"}, "1.jpg": {"caption": "a man"}}'}, TEXTS, 0, "text.json",
    ),
    "json-path-keys": (
        TWO | {"text.json": rb'{"face/0.jpg": ["a woman"], "face\\1.jpg": ["a man"]}'}, TEXTS, 0, "2 in ROOT/text.json",
    ),
    "macosx": (TWO | {"__MACOSX/face/._0.jpg": b"x"}, NO_TEXT, 0, ""),
    "mask-half": (
        TWO | {"mask/0.png": "mask-other-shape.png", "mask/1.png": "mask-half.png"},
        None, 1, "64x48 and its face 64x64: they differ in shape. Cut both out",
    ),
    "mask-jpg": (
        {"face/0.jpg": "face.jpg", "face/1.jpg": "face.jpg", "mask/0.jpg": "mask.jpg", "mask/1.jpg": "mask.jpg"},
        None, 1, "mask in JPEG (which blurs classes into others at their edges; save it as PNG",
    ),
    "mask-suffix": (faces_and_masks(masks="mask/{}_mask.png"), NO_TEXT, 0, "2 by name without words such as mask"),
    "names": (
        {
            "face/anna m\u00fcller (1).jpg": "face.jpg", "face/photo.v2.final.jpg": "face.jpg",
            "mask/anna mu\u0308ller (1).png": "mask.png", "mask/photo.v2.final.png": "mask.png",
            "text/anna mu\u0308ller (1).txt": b"a woman", "text/photo.v2.final.txt": b"a man",
        },
        {"anna m\u00fcller (1)": (WOMAN,), "photo.v2.final": (MAN,)}, 0, "2 by name",
    ),
    "nested": (faces_and_masks("face/{0}x/{0}.jpg"), NO_TEXT, 0, "2 by name"),
    "padded": (faces_and_masks(masks="mask/0000{}.png"), NO_TEXT, 0, "2 by name"),
    "rgba-face": (TWO | {"face/1.jpg": "face-rgba.png"}, NO_TEXT, 0, ""),
    "text-bom-crlf": (
        TWO | {"text/0.txt": b"\xef\xbb\xbfa woman\r\na lady\r\n\r\n", "text/1.txt": b"\xef\xbb\xbfa man\r\n"},
        {"0": (WOMAN, "a lady"), "1": (MAN,)}, 0, "2 in utf-8-sig",
    ),
    "text-utf16": (
        TWO | {"text/0.txt": "a woman\r\na lady".encode("utf-16"), "text/1.txt": MAN.encode("utf-16")},
        {"0": (WOMAN, "a lady"), "1": (MAN,)}, 0, "2 in utf-16",
    ),
    "thumbsdb": (
        TWO | {"face/._0.jpg": b"x", "face/Thumbs.db": b"x", "mask/.DS_Store": b"x", "mask/desktop.ini": b"x"},
        NO_TEXT, 0, "2 of another kind: face/Thumbs.db, mask/desktop.ini",
    ),
    "upper": (faces_and_masks("face/{}.JPG", "mask/{}.PNG"), NO_TEXT, 0, "2 by name"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_folder_is_learned_from_or_told_of(row, tmp_path, capsys):
    files, teaches, code, words = ROWS[row]
    root = write(tmp_path / row, files)
    assert main(["check", str(root)]) == code
    said = capsys.readouterr()
    assert words.replace("ROOT", str(root)) in said.out + said.err and "Traceback" not in said.err
    if row == "bisenet":  # is read right once its order is named
        assert main(["check", str(root), "--ids", str(file_of(tmp_path, "1")), "--classes=face-parsing.pytorch"]) == 0
    elif teaches is None:
        with pytest.raises(ValueError, match=words.split("(")[-1].split(". ")[0]):
            learned(root)
    else:
        assert learned(root) == teaches


def file_of(folder: Path, content: str, encoding: str = "utf-8") -> Path:
    (folder / "ids.txt").write_text(content, encoding)
    return folder / "ids.txt"


def test_pictures_are_read_as_photos_are(tmp_path):
    plain, sixteen, print_, clear, turned = (
        np.asarray(read_image(CASES / name)).astype(int)
        for name in ("face.jpg", "face-16bit.png", "face-cmyk.jpg", "face-rgba.png", "face-exif.jpg")
    )
    with Image.open(CASES / "face-16bit.png") as picture:
        assert np.abs(sixteen[..., 0] - np.asarray(picture) / 257).max() <= 1
    assert np.abs(print_ - plain).mean() < 3
    alpha = np.asarray(Image.open(CASES / "face-rgba.png"))[..., 3]
    assert (clear[alpha == 0] == 255).all() and (alpha == 0).any()
    assert np.abs(turned - np.rot90(plain, -1)).mean() < 3


@pytest.mark.parametrize("listed", ["0.jpg\r\n1.jpg\r\n", "0\r\n1\r\n", "face/00.jpg\nface\\1.jpg"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_of_names_may_be_of_files(listed, encoding, tmp_path, capsys):
    root = write(tmp_path / "data", TWO)
    ids = file_of(tmp_path, listed, encoding)
    assert [pair.name for pair in find_pairs(root, ids=read_ids(ids))] == ["0", "1"]
    assert (
        main(["check", str(root), "--ids", str(ids)]) == 0
        and "pairs                       2" in capsys.readouterr().out
    )


def test_links_are_followed_but_not_in_circles(tmp_path):
    root = write(tmp_path / "data", TWO | {"store/1.jpg": "face.jpg", "other/2.jpg": "face.jpg"})
    (root / "face" / "1.jpg").unlink()
    (root / "face" / "part1").symlink_to("../store")
    (root / "face" / "again").symlink_to(root / "store")
    (root / "face" / "round").symlink_to(root)
    (root / "mask" / "round").symlink_to(".")
    assert learned(root) == NO_TEXT and main(["check", str(root)]) == 0
    (root / "linked").symlink_to(root / "face")
    (root / "face").rename(tmp_path / "elsewhere")
    (root / "linked").unlink()
    (tmp_path / "elsewhere" / "part1").unlink()
    (tmp_path / "elsewhere" / "part1").symlink_to(root / "store")
    (root / "images").symlink_to(tmp_path / "elsewhere")
    assert learned(root) == NO_TEXT


# What is written -> what is learned of face 0; of a table, by its file's name.
TABLES = {
    "text.json": {"0.jpg": WOMAN},
    "texts.json": {"0": [WOMAN, None, ""]},
    "captions.json": {"0.jpg": [{"caption": WOMAN, "score": 0.5}]},
    "caption.json": [{"image": "face/0.jpg", "caption": WOMAN}],
    "prompts.json": {"version": 1, "data": [{"file": "0.jpg", "prompt": [WOMAN]}]},
    "annotations.json": {
        "images": [{"id": 7, "file_name": "0.jpg"}], "annotations": [{"image_id": 7, "id": 1, "caption": WOMAN}],
    },
    "metadata.jsonl": '{"file_name": "0.jpg", "text": "a woman"}\n\n{"file_name": "9.jpg", "text": "nobody"}\n',
    "Metadata.csv": "file_name,text\n0.jpg,a woman\n",
    "captions.csv": 'image;caption\n0.jpg;"a woman"\n',
    "captions.tsv": "image\tcaption\nface/0.jpg\ta woman\n",
    "face/metadata.jsonl": '{"file_name": "0.jpg", "prompt": "a woman"}',
    "captions/captions.json": {"0.jpg": {"captions": [WOMAN]}},
    "text/0.txt": WOMAN,
    "Text/0.jpg.txt": WOMAN,
    "face/0.caption": WOMAN,
    "prompts/0_caption.txt": WOMAN,
}  # fmt: skip


@pytest.mark.parametrize("file", TABLES)
def test_captions_are_taken_from_every_form(file, tmp_path):
    content = TABLES[file]
    text = content if isinstance(content, str) else json.dumps(content)
    root = write(tmp_path, TWO | {file: text.encode()})
    assert learned(root) == {"0": (WOMAN,), "1": ()}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"0.jpg": {"words": "a woman"}}', r"of '0.jpg' there is .*words.*no text"),
        ('{"0.jpg": 3}', "of '0.jpg' there is 3, and no text"),
        ('[{"picture": "0.jpg"}]', "a record has picture"),
        ('["a woman"]', "it holds"),
        ("[]", "it is empty"),
        ('{"images": [3], "annotations": [4]}', "it is empty"),
        ("3", "it holds 3"),
        ('{"0.jpg": "a woman"', "line 1"),
    ],
)
def test_captions_that_are_none_are_refused_by_name(content, words, tmp_path, capsys):
    root = write(tmp_path, TWO | {"text.json": content.encode()})
    assert main(["check", str(root)]) == 2
    with pytest.raises(ValueError, match=rf"text.json must map each face's file to captions: .*{words}.*Expected"):
        find_pairs(root)


def test_a_table_of_something_else_is_no_error_but_said(tmp_path, capsys, caplog):
    root = write(tmp_path, TWO | {"metadata.csv": b"file_name,age\n0.jpg,30\n"})
    assert main(["check", str(root)]) == 0 and "a record has file_name, age" in capsys.readouterr().out
    assert learned(root) == NO_TEXT and "have no captions" in caplog.text
    (root / "text.json").write_text('{"7.jpg": "a woman"}')
    assert main(["check", str(root)]) == 1 and "captions of no face here" in capsys.readouterr().out
    write(root, {"face/0.txt": b"a woman", "face/1.txt": b"a man"})
    assert learned(root) == TEXTS


@pytest.mark.parametrize(
    ("captions", "problem"),
    [
        ((b"a woman", b"a woman"), "one caption for all"),
        (("a caf\ufffd".encode(), b"a man"), "garbled caption"),
        (("a café".encode().decode("cp1252").encode(), b"a man"), "garbled caption"),
        ((b"a wo\x07man", b"a man"), "garbled caption"),
        ((b"\xff\xfe\x00\xd8", b"a man"), "captions cannot be read"),
        (("\u4e00\u4e2a\u5973\u4eba".encode("gb18030"), b"a man"), "captions cannot be read"),
    ],
)
def test_captions_that_would_teach_nonsense_fail_the_check(captions, problem, tmp_path, capsys, caplog):
    root = write(tmp_path, TWO | {f"text/{number}.txt": text for number, text in enumerate(captions)})
    assert main(["check", str(root)]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if f"txt: {problem}" in line)
    assert line.startswith(str(root / "text" / "0.txt"))
    if problem == "captions cannot be read":
        with pytest.raises(ValueError, match=r"0.txt is no text in UTF-8.*Save it as plain text"):
            find_pairs(root)
    else:
        find_pairs(root)
        assert ("have garbled captions" in caplog.text) == (problem == "garbled caption")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_an_encoding_is_told_from_the_bytes(encoding, tmp_path):
    text = "une femme au café, l’œil gauche\r\nein Mann mit Schnurrbärtchen"
    (tmp_path / "0.txt").write_bytes(text.encode(encoding))
    assert read_encoded(tmp_path / "0.txt") == (text, encoding)
    assert not is_garbled(text)


def test_maps_that_would_teach_nonsense_fail_the_check(tmp_path, capsys):
    truth = true_map()
    for number, label_map in enumerate((truth & 0, np.where(truth == 1, 0, truth), truth)):
        root = write(tmp_path / str(number), TWO)
        write_label_map(root / "mask" / "1.png", label_map.astype(np.uint8))
        assert main(["check", str(root)]) == (number < 2)
        said = capsys.readouterr().out
        assert [problem in said for problem in ("mask of background alone", "mask without skin")] == [
            number == 0, number == 1,
        ]  # fmt: skip


@pytest.mark.parametrize(("value", "mode"), [(255, "RGB"), (1, "L"), (1, "RGB"), (7, "P"), (255, "1"), (200, "I;16")])
def test_parts_may_be_of_any_value_and_name(value, mode, tmp_path):
    for name in ("anna", "Photo 2"):
        write(tmp_path, {f"face/{name}.jpg": "face.jpg", "mask/.keep": b""})
        write_parts(tmp_path / "mask" / f"{name}_", value, mode)
    (tmp_path / "mask" / "anna_l_eye.png").rename(tmp_path / "mask" / "anna_left_eye.PNG")
    assert learned(tmp_path) == {"Photo 2": (), "anna": ()}
    assert part_of("x_neck_l") == ("x", 16) and part_of("a_b_upper_lip") == ("a_b", 11) and part_of("hair") is None


def test_names_find_their_face_and_no_other():
    names = Names(["7", "IMG_1", "1", "a/2", "b/2", "Zo\u00eb", "img-5", "mask_9"])
    expected = {
        "0007": "7", "img_1": "IMG_1", "1": "1", "1_mask": "1", "label-7": "7", "a/2": "a/2", "mask/b/2": "b/2",
        "2": None, "c/2": None, "ZOE\u0308": "Zo\u00eb", "5_seg": "img-5", "17": None, "7x": None, "mask_9": "mask_9",
        "9": "mask_9", "": None, "/": None,
    }  # fmt: skip
    found = {name: names.find(name_of(name)) for name in expected}
    assert {name: match and match.face for name, match in found.items()} == expected
    assert name_of("a\\b.c.JPG.txt") == "a/b.c" and name_of(".png") == ".png" and name_of("x.v2") == "x.v2"


def test_the_surer_of_two_masks_is_taken_and_the_other_told_of(tmp_path, capsys):
    extra = {"mask/0_color.png": "mask-bgr.png", "mask/1.jpg": "mask.jpg", "mask/0_overlay.png": "face-rgba.png"}
    root = write(tmp_path, TWO | extra)
    assert learned(root) == NO_TEXT and main(["check", str(root)]) == 0
    said = capsys.readouterr().out
    assert "2 of faces that have another mask: mask/0_color.png, mask/1.jpg" in said
    assert "1 of no class (overlay): mask/0_overlay.png" in said
    write(root, {"mask/0.bmp": "mask.png"})
    with pytest.raises(ValueError, match=r"0.bmp and .*0.png are two masks of one name"):
        find_pairs(root)


def test_the_right_folder_is_found_or_named(tmp_path):
    one = write(tmp_path / "one", {f"a/b/{path}": what for path, what in TWO.items()})
    assert learned(one) == NO_TEXT
    other = write(
        tmp_path / "other", faces_and_masks("train/{}.jpg") | {"train/metadata.csv": b"file,text\n0.jpg,a man"}
    )
    assert learned(other) == {"0": (MAN,), "1": ()}
    flat = write(tmp_path / "flat", faces_and_masks("{}.jpg", "masks/{}.png") | {"results/0.jpg": "face-cmyk.jpg"})
    assert learned(flat) == NO_TEXT
    helen = write(tmp_path / "helen", faces_and_masks("{}_image.jpg", "{}_label.png"))
    assert learned(helen) == {"0_image": (), "1_image": ()}
    parted = write(tmp_path / "parted", {"7.jpg": "face.jpg", "7_": "parts", "7.txt": b"a man"})
    assert learned(parted) == {"7": (MAN,)}
    parts = {f"{part}/{path}": what for part in ("train", "val") for path, what in TWO.items()}
    two = write(tmp_path / "two", parts)
    with pytest.raises(ValueError, match=r"2 folders of faces with masks: .*train, .*val. Name one"):
        find_pairs(two)
    with pytest.raises(ValueError, match=r"no folder of masks.*Give the folder above, .*train"):
        find_pairs(two / "train" / "face")
    people = {f"face/{name}/1.jpg": "face.jpg" for name in "ab"} | {f"mask/{name}/1.png": "mask.png" for name in "ab"}
    assert learned(write(tmp_path / "people", people)) == {"a/1": (), "b/1": ()}
