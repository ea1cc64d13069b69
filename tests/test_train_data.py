"""Folders of faces, label maps and captions, written here: found, read, mirrored, checked."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from facemogle.data.pairs import find_pairs, read_pair
from facemogle.label_files import PARTS, write_label_map
from facemogle.labels import CLASS_ID, NUM_CLASSES, PALETTE, mirror
from facemogle.masks import resize_nearest
from train.data import FaceDataset, check, main, swap_sides

SIZE = 48


@pytest.fixture
def label_map() -> np.ndarray:
    """(24, 24), every class, the left eye right of the right one."""
    return np.arange(24 * 24).reshape(24, 24).T[:, ::-1] // 31 % NUM_CLASSES


@pytest.fixture
def faces(tmp_path, label_map):
    """Function of names -> a folder in MM-CelebA-HQ's layout, each face of another grey."""

    def write(*names: str, captions: bool = True):
        root = tmp_path / "faces"
        for folder in ("face", "mask", "text"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for place, name in enumerate(names):
            picture(place).save(root / "face" / f"{name}.jpg", quality=95)
            write_label_map(root / "mask" / f"{name}.png", np.roll(label_map, 5 * place, axis=0).astype(np.uint8))
            if captions:
                (root / "text" / f"{name}.txt").write_text(f"face {name}\n\n  the other caption \n")
        return root

    return write


def picture(number: int, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    """Brighter to the right, and more so the higher the number."""
    row = np.linspace(0, 100 + 10 * number, size[0])
    return Image.fromarray(np.broadcast_to(row[None, :, None], (size[1], size[0], 3)).astype(np.uint8))


def cut_short(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_pairs_are_matched_by_name_in_numeric_order(faces):
    root = faces("10", "9", "b", "a")
    (root / "mask" / "9.png").rename(root / "mask" / "00009.png")
    pairs = find_pairs(root)
    assert [pair.name for pair in pairs] == ["9", "10", "a", "b"]
    assert [pair.masks[0].stem for pair in pairs] == ["00009", "10", "a", "b"]
    assert pairs[1].captions == ("face 10", "the other caption")


def test_ids_choose_and_order(faces):
    root = faces("1", "2", "3")
    assert [pair.name for pair in find_pairs(root, ids=["0003", "1"])] == ["3", "1"]
    with pytest.raises(ValueError, match="'7'"):
        find_pairs(root, ids=["1", "7"])


def test_faces_without_mask_are_left_out_and_counted(faces, caplog):
    root = faces("1", "2", "3")
    (root / "mask" / "2.png").unlink()
    assert [pair.name for pair in find_pairs(root)] == ["1", "3"]
    assert "1 faces" in caplog.text


def test_captions_from_json(faces):
    root = faces("1", "2", "3", "4")
    (root / "text.json").write_text(json.dumps({"1.jpg": ["one ", ""], "2.jpg": "two", "3.jpg": []}))
    assert [pair.captions for pair in find_pairs(root)] == [("one",), ("two",), (), ()]
    (root / "text.json").write_text("[]")
    with pytest.raises(ValueError, match=r"text\.json"):
        find_pairs(root)


def test_folders_that_hold_nothing(tmp_path, faces):
    with pytest.raises(ValueError, match=r"There is no folder .*nowhere"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no folder of faces"):
        find_pairs(tmp_path)
    (tmp_path / "half" / "image").mkdir(parents=True)
    with pytest.raises(ValueError, match="no folder of masks"):
        find_pairs(tmp_path / "half")
    root = faces("1")
    (root / "mask" / "1.png").rename(root / "mask" / "2.png")
    with pytest.raises(ValueError, match="1 faces and 1 masks"):
        find_pairs(root)
    picture(0).save(root / "face" / "01.png")
    with pytest.raises(ValueError, match="two faces of one name"):
        find_pairs(root)


def test_the_reference_dataset_reads_as_recorded(reference, load_case):
    recorded = load_case("train_step")[0]["image"]
    pairs = find_pairs(reference / "dataset")
    assert pairs[0].captions == ("A woman with long red hair.",)
    for pair, expected in zip(pairs, recorded, strict=True):
        image, _ = read_pair(pair, height=64, width=64)
        assert np.allclose(image.transpose(2, 0, 1) / 255, expected, atol=1e-6)


def test_masks_in_palette_grey_and_colours_read_alike(faces, label_map):
    root = faces("1", "2", "3", "4")
    ids = label_map.astype(np.uint8)
    swapped = PALETTE.copy()
    swapped[[4, 5]] = swapped[[5, 4]]  # published files have such palettes, with correct indices
    paletted = Image.fromarray(ids, mode="P")
    paletted.putpalette(swapped.tobytes())
    forms = (paletted, Image.fromarray(ids), Image.fromarray(PALETTE[ids]), Image.fromarray(ids.astype(np.uint16)))
    for name, form in enumerate(forms, 1):
        form.save(root / "mask" / f"{name}.png")
    for pair in find_pairs(root):
        image, read = read_pair(pair, height=32, width=32)
        assert image.shape == (32, 32, 3) and image.dtype == read.dtype == np.uint8
        assert (read == resize_nearest(ids, 32, 32)).all()


def raw_celeba(root, label_map, number: int = 2001):
    """CelebAMask-HQ's folders with one face: a file for each class."""
    parts = root / "CelebAMask-HQ-mask-anno" / str(number // 2000)
    (root / "CelebA-HQ-img").mkdir(parents=True)
    parts.mkdir(parents=True)
    picture(0).save(root / "CelebA-HQ-img" / f"{number}.jpg")
    for class_id, part in enumerate(PARTS, 1):
        mask = np.repeat((label_map == class_id)[..., None], 3, axis=2) * np.uint8(255)
        Image.fromarray(mask).save(parts / f"{number:05d}_{part}.png")
    return parts


def test_raw_parts_are_merged_in_class_order(tmp_path, label_map):
    parts = raw_celeba(tmp_path, label_map)
    Image.fromarray(np.full((24, 24), 255, np.uint8)).save(parts / "02001_skin.png")  # skin lies under all others
    (pair,) = find_pairs(tmp_path)
    assert len(pair.masks) == 18 and pair.captions == ()
    expected = np.where(label_map == 0, CLASS_ID["skin"], label_map)
    assert (read_pair(pair, height=24, width=24)[1] == expected).all()
    assert FaceDataset([pair], height=24, width=24)[0]["caption"] == ""
    Image.fromarray(np.zeros((12, 12), np.uint8)).save(parts / "02001_nose.png")
    with pytest.raises(ValueError, match=r"02001_nose\.png is 12x12"):
        read_pair(pair, height=24, width=24)


def test_another_shape_is_cut_from_the_middle_of_both(faces):
    root = faces("1")
    picture(0, (96, 48)).save(root / "face" / "1.jpg", quality=95)
    halves = np.repeat(np.array([3, 5, 5, 3], np.uint8), 12)[None].repeat(24, axis=0)
    write_label_map(root / "mask" / "1.png", halves)
    image, label_map = read_pair(find_pairs(root)[0], height=24, width=24)
    assert (label_map == 5).all()
    assert 20 < image.min() < 28 and 72 < image.max() < 80  # the middle half of 0 to 100


@pytest.mark.parametrize("what", ["truncated face", "no picture", "truncated mask", "values over 18", "another shape"])
def test_what_cannot_be_used_is_named(faces, what):
    root = faces("1", "2")
    face, mask = root / "face" / "2.jpg", root / "mask" / "2.png"
    if what == "truncated face":
        cut_short(face)
    elif what == "no picture":
        face.write_text("not a JPEG")
    elif what == "truncated mask":
        cut_short(mask)
    elif what == "values over 18":
        Image.fromarray(np.full((24, 24), 19, np.uint8)).save(mask)
    else:
        write_label_map(mask, np.ones((24, 30), np.uint8))
    guilty = face if what in ("truncated face", "no picture") else mask
    with pytest.raises(ValueError, match=str(guilty)):
        read_pair(find_pairs(root)[1], height=16, width=16)
    report = check(root)
    assert {finding.file for finding in report.findings} == {guilty} and not report.usable
    assert main(["check", str(root)]) == 1


def test_skipping_is_counted_deterministic_and_never_ends_a_run(faces):
    root = faces(*map(str, range(6)))
    for name in ("2", "3", "5"):
        cut_short(root / "face" / f"{name}.jpg")
    pairs = find_pairs(root)
    with pytest.raises(ValueError, match=r"2\.jpg"):
        FaceDataset(pairs, height=16, width=16)[2]
    for workers in (0, 2):
        dataset = FaceDataset(pairs, height=16, width=16, on_error="skip")
        loader = DataLoader(dataset, batch_size=2, num_workers=workers)
        assert [name for batch in loader for name in batch["name"]] == ["0", "1", "4", "4", "4", "0"]
        assert dataset.skipped == ["2", "3", "5"]
    for pair in pairs:
        cut_short(pair.masks[0])
    with pytest.raises(ValueError, match="None of the 6"):
        FaceDataset(pairs, height=16, width=16, on_error="skip")[0]


def test_a_sample_is_small_and_of_bytes(faces):
    sample = FaceDataset(find_pairs(faces("1")), height=32, width=16)[0]
    assert sample["image"].shape == (3, 32, 16) and sample["label_map"].shape == (32, 16)
    assert sample["image"].dtype == sample["label_map"].dtype == torch.uint8
    assert sum(each.nbytes for each in sample.values() if isinstance(each, torch.Tensor)) == 4 * 32 * 16


def test_draws_follow_seed_epoch_and_place(faces):
    pairs = find_pairs(faces(*map(str, range(8))))

    def captions(seed: int, epoch: int) -> list[str]:
        dataset = FaceDataset(pairs, height=16, width=16, seed=seed, flip=0.5)
        dataset.set_epoch(epoch)
        return [dataset[place]["caption"] + str(dataset[place]["image"].sum(1)) for place in (*range(8), 3)]

    assert captions(0, 0) == captions(0, 0)
    assert captions(0, 0)[3] == captions(0, 0)[8]
    assert len({tuple(captions(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_flip_mirrors_image_label_map_and_words(faces):
    root = faces("1")
    (root / "text" / "1.txt").write_text("Left eye lit from the RIGHT, brightly, leftmost curl, left-hand ring")
    pairs = find_pairs(root)
    plain, flipped = (FaceDataset(pairs, height=24, width=24, flip=flip)[0] for flip in (0.0, 1.0))
    assert torch.equal(flipped["image"], plain["image"].flip(2))
    assert (flipped["label_map"].numpy() == mirror(plain["label_map"].numpy())).all()
    assert flipped["caption"] == "Right eye lit from the LEFT, brightly, rightmost curl, right-hand ring"
    assert swap_sides(flipped["caption"]) == plain["caption"]
    half = FaceDataset(pairs * 200, height=8, width=8, flip=0.5)
    assert 70 < sum("Right eye" in half[place]["caption"] for place in range(200)) < 130


def test_check_of_a_good_folder(faces, capsys):
    root = faces("1", "2")
    assert main(["check", str(root)]) == 0
    table = capsys.readouterr().out
    assert "pairs" in table and "48x48: 2" in table and "24x24: 2" in table and "hat: 2" in table
    (root / "ids").write_text("2\n\n")
    assert main(["check", str(root), "--ids", str(root / "ids")]) == 0
    assert "48x48: 1" in capsys.readouterr().out
    assert main(["check", str(root / "nowhere")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_check_reports_what_looks_wrong_but_can_be_used(faces, label_map):
    root = faces("1", "2", "3", "4")
    (root / "text" / "1.txt").write_text(" \n")
    (root / "text" / "2.txt").unlink()
    label_map = label_map.astype(np.uint8)
    label_map[8:11, 3:6], label_map[8:11, 18:21] = CLASS_ID["right_eye"], CLASS_ID["left_eye"]
    write_label_map(root / "mask" / "3.png", mirror(label_map))  # as it should be: sides swapped
    write_label_map(root / "mask" / "4.png", label_map[:, ::-1])
    report = check(root)
    assert report.usable and report.pairs == 4
    assert [(finding.file.name, finding.problem) for finding in report.findings] == [
        ("1.jpg", "no caption"), ("2.jpg", "no caption"), ("4.png", "left and right swapped"),
    ]  # fmt: skip
    assert "face without mask" not in "\n".join(report.lines())


def test_check_finds_the_lonely_and_folders_without_captions(faces):
    root = faces("1", "2", captions=False)
    (root / "mask" / "1.png").rename(root / "mask" / "7.png")
    report = check(root)
    assert [(finding.file.name, finding.problem) for finding in report.findings] == [
        ("1.jpg", "face without mask"), ("7.png", "mask without face"), ("faces", "no captions"),
    ]  # fmt: skip
    assert not report.usable and report.pairs == 1
