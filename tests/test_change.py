"""A part of a photo drawn anew: what is the photo's own stays so, in its own size."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from facemogle import cli, faces
from facemogle.change import change_part
from facemogle.editing import feathered
from facemogle.masks import resize_nearest
from facemogle.parsing.alignment import Face, Frame, frame_face, frame_whole
from facemogle.parsing.photos import read_photo
from facemogle.photo_changes import CropChange, goes_on, put_back
from facemogle.picture_files import read_settings, write_photo
from facemogle.templates import template_face
from train.mini.edits import across_border

RNG = np.random.default_rng(0)
PHOTO = cv2.resize(RNG.integers(60, 200, (40, 50, 3), np.uint8), (1000, 800), interpolation=cv2.INTER_CUBIC)
PHOTO = np.clip(PHOTO + RNG.normal(0, 4, PHOTO.shape), 0, 255).astype(np.uint8)
EYES = np.array([(400, 300), (500, 330), (445, 380), (390, 400), (480, 425)], float)  # a tilted face
TILTED = frame_face(PHOTO, Face(np.array([350, 200, 550, 450.0]), EYES, 1.0))
SMALL = Frame(np.array([[0.2, 0, 480], [0, 0.2, 300]]), 512, 512)  # 102 pixels of the photo, fewer than a run has
LARGE = Frame(np.array([[1.9, 0, -40], [0, 1.9, -60]]), 512, 512)  # over the photo's border


def disc(side: int, centre: tuple[int, int], radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


def within(frame: Frame, region: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: pixels of the photo whose centres lie in the region, each place taken back to the crop by itself."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    linear = np.linalg.inv(frame.to_photo[:, :2])
    x, y = linear @ (np.stack([columns.ravel(), rows.ravel()]) - frame.to_photo[:, 2:])
    x, y = (np.floor(value * side / length).astype(int) for value, side, length in
            ((x, region.shape[1], frame.width), (y, region.shape[0], frame.height)))  # fmt: skip
    seen = (x >= 0) & (y >= 0) & (x < region.shape[1]) & (y < region.shape[0])
    found = np.zeros(len(x), bool)
    found[seen] = region[y[seen], x[seen]]
    return found.reshape(shape[:2])


def drawn(frame: Frame, region: np.ndarray) -> CropChange:
    """The crop at 64x64, with all of the region red."""
    before = cv2.resize(frame.crop(PHOTO), (64, 64), interpolation=cv2.INTER_AREA)
    return CropChange(before, np.where(region[..., None], np.uint8([220, 20, 20]), before), region)


@pytest.mark.parametrize("frame", [TILTED, SMALL, LARGE, frame_whole(PHOTO)], ids=["tilted", "small", "large", "whole"])
def test_outside_the_region_the_photo_is_its_own(frame):
    for region in (disc(64, (30, 30), 14), disc(64, (0, 40), 20), ~disc(64, (40, 32), 20)):
        photo = put_back(PHOTO, frame, [drawn(frame, region)])
        inside = within(frame, region, PHOTO.shape)
        changed = (photo != PHOTO).any(-1)
        assert photo.shape == PHOTO.shape and not changed[~inside].any()
        assert changed[inside].mean() > 0.5
    middle = within(frame, disc(64, (40, 20), 8), PHOTO.shape)
    red = put_back(PHOTO, frame, [drawn(frame, disc(64, (40, 20), 14))])[middle]
    assert np.abs(red.astype(int) - (220, 20, 20)).max() <= 2  # nothing of the photo shines through


def test_a_change_ends_softly():
    """Also at the crop's own border, where the photo goes on."""
    for region in (disc(64, (30, 30), 20), np.ones((64, 64), bool)):
        before = drawn(TILTED, region).before
        after = np.clip(before + feathered(region)[..., None] * (30, -20, 10), 0, 255).astype(np.uint8)  # as runs end
        photo = put_back(PHOTO, TILTED, [CropChange(before, after, region)])
        for depth in (0, 2, 5):
            shown = within(TILTED, region, PHOTO.shape)
            inner = cv2.erode(shown.astype(np.uint8), np.ones((2 * depth + 1,) * 2)).astype(bool)
            assert across_border(photo, inner) < 1.5 * across_border(PHOTO, inner)
    size = PHOTO.shape[:2]
    assert goes_on(size, TILTED, region) and not goes_on(size, TILTED, disc(64, (30, 30), 20))
    assert not goes_on(size, frame_whole(PHOTO), region)


def test_hair_that_stays_hair_keeps_the_photos_detail():
    region, hair = disc(64, (30, 30), 20), np.full((64, 64), 13)
    change = drawn(TILTED, region)
    tinted = np.clip(change.before.astype(int) + region[..., None] * (40, 0, 0), 0, 255).astype(np.uint8)
    middle = within(TILTED, disc(64, (30, 30), 12), PHOTO.shape)
    kept, ghost = (
        put_back(PHOTO, TILTED, [CropChange(change.before, tinted, region, maps)])[middle][:, 1].astype(int)
        for maps in ((hair, hair), (hair, np.full((64, 64), 14)))
    )
    own = PHOTO[middle][:, 1].astype(int)
    assert np.abs(kept - own).max() <= 1 and np.abs(ghost - own).mean() > 2


def test_one_change_after_the_other():
    first, second = (drawn(TILTED, disc(64, place, 8)) for place in ((20, 20), (45, 45)))
    both = put_back(PHOTO, TILTED, [first, second])
    assert np.array_equal(both, put_back(put_back(PHOTO, TILTED, [first]), TILTED, [second]))
    assert np.array_equal(put_back(PHOTO, TILTED, []), PHOTO)


class Painted:
    """Reads the same face from every picture."""

    def probabilities(self, pictures):
        maps = (resize_nearest(template_face(size=256), *picture.shape[:2]) for picture in pictures)
        return [np.eye(19, dtype=np.float32)[each].transpose(2, 0, 1) for each in maps]


def test_in_one_call(pipeline, monkeypatch):
    monkeypatch.setattr(faces, "find_faces", lambda photo: [Face(np.array([350, 200, 550, 450.0]), EYES, 1.0)])
    changed = change_part(PHOTO, "hair", "red", pipeline=pipeline, parser=Painted(), seed=3)
    region = resize_nearest(changed.change.region, 64, 64)
    inside = within(changed.parse.frame, region, PHOTO.shape)
    differs = (changed.photo != PHOTO).any(-1)
    assert changed.drawn.shape == (64, 64, 3) and not differs[~inside].any() and differs[inside].mean() > 0.8
    assert [note for note in changed.notes if "goes on beyond" in note] == []
    again = change_part(PHOTO, "hair", "red", pipeline=pipeline, parser=Painted(), seed=3)
    assert np.array_equal(again.photo, changed.photo)
    assert "goes on beyond the crop" in change_part(PHOTO, "background", pipeline=pipeline, parser=Painted()).notes[-1]


def test_the_command(pipeline, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("facemogle.checkpoints.load_pipeline", lambda *_, **__: pipeline)
    monkeypatch.setattr(faces, "_load", lambda *_: Painted())
    photo, out = tmp_path / "photo.png", tmp_path / "new.png"
    Image.fromarray(PHOTO).save(photo)
    base = ["change", str(photo), "--whole", "--parser", "painted"]
    assert cli.main([*base, "--part", "lips", "--prompt", "red", "--out", str(out)]) == 0
    new = read_photo(out)
    assert new.shape == PHOTO.shape and 0 < (new != PHOTO).any(-1).mean() < 0.1 and read_settings(out) is None
    assert "compositeWithTrainedAlgorithmicMedia" in out.read_bytes().decode("latin1")
    for options, told in (
        (["--part", "lips"], "Nothing says what the part is to be"),
        (["--part", "beak", "--prompt", "long"], "no part 'beak'"),
        (["--part", "lips", "--prompt", "red", "--out", str(photo)], "would be written over"),
        (["--part", "lips", "--prompt", "red", "--out", str(tmp_path / "new.gif")], "Name a .png"),
    ):
        capsys.readouterr()
        assert cli.main([*base, "--out", str(out), *options]) == 2 and told in capsys.readouterr().err


def test_photos_are_written_as_their_name_says(tmp_path):
    for name, most in (("a.png", 0), ("a.webp", 0), ("a.jpg", 4)):
        write_photo(tmp_path / name, PHOTO)
        assert np.abs(read_photo(tmp_path / name).astype(int) - PHOTO).mean() <= most
        assert b"compositeWithTrainedAlgorithmicMedia" in (tmp_path / name).read_bytes()
    write_photo(file := io.BytesIO(), PHOTO)
    assert Image.open(file).format == "PNG"
