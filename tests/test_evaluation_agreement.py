"""Label maps and captions that a parser finds in pictures, their intervals and what is kept of them."""

import numpy as np
import pytest
from PIL import Image

from facemogle.evaluation import bootstrap
from facemogle.evaluation.attributes import agreement, attribute_metrics, learn_colours, told
from facemogle.evaluation.label_agreement import by_class, label_metrics, mismatch
from facemogle.evaluation.measuring import evaluate
from facemogle.evaluation.metric import Picture, Study, UnreadablePictures
from facemogle.evaluation.readings import PLACES, Reader, colours_of, lab
from facemogle.labels import CLASS_ID, NAMES, from_colours
from tests.squares import Map, squares
from train.mini.portraits import caption, sample_attributes


def no_features(network, inputs):
    raise AssertionError("needs no network")


@pytest.fixture
def reader(tmp_path):
    """Reads the palette's colours, and counts how often."""
    reader = Reader(lambda: count, "colours", "1", tmp_path / "kept")
    reader.read = 0

    def count(picture):
        reader.read += 1
        return from_colours(picture)[0]

    return reader


@pytest.fixture
def study(tmp_path):
    return squares(tmp_path)


def shares_right(wanted, read):
    """Pixel by pixel, without counts: accuracy, and IoU by class."""
    places = {one: [{*np.flatnonzero(each == one)} for each in (wanted, read)] for one in {*wanted, *read}}
    overlap = {one: len(first & second) / len(first | second) for one, (first, second) in places.items()}
    return 100 * float(np.mean(wanted == read)), overlap


def test_accuracy_and_miou_are_what_pixels_say_one_by_one(study, reader):
    accuracy, miou = (metric.measure(study, no_features) for metric in label_metrics(reader))
    wanted = [picture.label_map().ravel() for picture in study.pictures]
    shown = [from_colours(np.asarray(Image.open(picture.path)))[0].ravel() for picture in study.pictures]
    for name, one, other in zip(accuracy.each, wanted, shown, strict=True):
        right, overlap = shares_right(one, other)
        assert accuracy.each[name] == pytest.approx(right)
        assert miou.each[name] == pytest.approx(100 * np.mean(list(overlap.values())))
    right, overlap = shares_right(np.concatenate(wanted), np.concatenate(shown))
    assert accuracy.value == pytest.approx(right)
    assert miou.value == pytest.approx(100 * np.mean(list(overlap.values())))
    assert accuracy.interval[0] < accuracy.value < accuracy.interval[1] and accuracy.real == miou.real == 100
    classes = {each.name: each for each in by_class(reader, study)}
    assert {one: classes[NAMES[one]].iou for one in overlap} == pytest.approx(overlap)
    assert np.isnan(classes["hat"].iou) and classes[NAMES[7]].pictures == 0  # read, and never wanted
    assert mismatch(reader, study) == []


def test_pictures_under_the_maps_of_other_faces_are_noticed(study, reader):
    maps = [picture.label_map for picture in study.pictures]
    turned = [
        Picture(each.name, each.path, label_map=other, face=each.face)
        for each, other in zip(study.pictures, maps[3:] + maps[:3], strict=True)
    ]
    (doubt,) = mismatch(reader, Study(turned))
    assert "do their names stand for the same faces" in doubt


def test_readings_are_kept_by_what_is_in_the_files(study, reader, tmp_path):
    metrics = label_metrics(reader)
    values = [metric.measure(study, no_features).value for metric in metrics]
    assert reader.read == 19  # ten pictures and their real ones, of which the first is equal to its
    again = Reader(lambda: pytest.fail, "colours", "1", tmp_path / "kept")
    assert [metric.measure(study, no_features).value for metric in label_metrics(again)] == values
    moved = study.pictures[0].path.rename(tmp_path / "moved.png")
    assert again([(moved, study.pictures[0].label_map)]).counts.sum() == 32 * 32
    other = Reader(lambda: lambda picture: np.zeros(picture.shape[:2], np.uint8), "another", "1", tmp_path / "kept")
    assert other([(moved, None)]).shares[0, 0] == 1  # of another parser nothing is known


def test_readings_are_of_the_meaning_of_the_map_and_two_at_once_lose_none(study, reader, tmp_path):
    """As with --classes in a second run; and from two windows."""
    path, label_map = study.pictures[0].path, study.pictures[0].label_map
    other = Map((label_map() + 1) % 6, label_map.files, "other classes")
    beside = Reader(reader._parse, "colours", "1", tmp_path / "kept")
    counts = [one([(path, each)]).counts for one, each in ((reader, label_map), (beside, other), (reader, label_map))]
    assert (counts[0] != counts[1]).any() and (counts[0] == counts[2]).all()
    never = Reader(lambda: pytest.fail, "colours", "1", tmp_path / "kept")
    assert (never([(path, label_map), (path, other)]).counts == np.concatenate(counts[:2])).all()
    (file,) = (tmp_path / "kept").glob("*.npz")
    for damaged in (b"", b"PK\3\4 cut short", b"text", file.read_bytes()[:-30]):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"readings-.*npz, with what was read before, is damaged: .* Delete it\."):
            Reader(lambda: pytest.fail, "colours", "1", tmp_path / "kept")


def test_broken_pictures_and_maps_of_another_shape_are_left_out_of_all(study, reader, tmp_path):
    study.pictures[1].path.write_bytes(study.pictures[1].path.read_bytes()[:60])
    flat = tmp_path / "flat-map"
    flat.write_bytes(b"flat")
    pictures = list(study.pictures)
    pictures[2] = Picture("2", pictures[2].path, pictures[2].real, None, Map(np.zeros((32, 64), np.uint8), (flat,)))
    with pytest.raises(UnreadablePictures) as caught:
        reader([(picture.path, picture.label_map) for picture in pictures])
    assert set(caught.value.problems) == {pictures[1].path, flat}
    assert "64x32 and the picture 2.png 32x32: they differ in shape" in caught.value.problems[flat]
    found = evaluate(Study(pictures), lambda study: label_metrics(reader), no_features)
    assert set(found.problems) == {pictures[1].path, flat}
    assert len(found.study.pictures) == 9 and len(found.measured()["accuracy"].each) == 8


def test_intervals_cover_a_known_mean():
    rng = np.random.default_rng(0)
    covered, widths = [], []
    for seed in range(200):
        values = rng.exponential(2.0, 60)
        low, high = bootstrap.of_mean(values, seed=seed)
        covered.append(low <= 2.0 <= high)
        widths.append(high - low)
    assert 0.88 <= np.mean(covered) <= 0.98
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 2.0 / np.sqrt(60), rel=0.1)
    assert bootstrap.of_mean(values, seed=1) == bootstrap.of_mean(values, seed=1) != bootstrap.of_mean(values, seed=2)


def test_pictures_of_one_face_are_not_taken_for_independent_ones():
    values = np.repeat(np.random.default_rng(0).normal(size=30), 8)
    faces = np.repeat(np.arange(30), 8)
    alone, together = (np.diff(bootstrap.of_mean(values, faces=each))[0] for each in (None, faces))
    assert together / alone == pytest.approx(np.sqrt(8), rel=0.15)


def test_a_caption_tells_colours_and_what_is_worn():
    cases = {
        "She wears lipstick. She has blond hair, and pale skin, earrings and a necklace.":
            {"hair colour": "blonde", "skin tone": "pale", "earrings": "earrings", "necklace": "necklace"},
        "This man has gray, wavy hair. He has no beard and wears no eyeglasses.": {"hair colour": "grey"},
        "a redhead with spectacles and a baseball cap": {"hair colour": "red", "glasses": "glasses", "hat": "cap"},
        "long black curly hair, a blue wide hat, on a teal background":
            {"hair colour": "black", "hat colour": "blue", "hat": "hat", "background colour": "teal"},
        "red lipstick and hair": {"lipstick": "red"},
        "a face": {},
    }  # fmt: skip
    assert {text: told(text) for text in cases} == cases
    for seed in range(100):  # of portraits it is known what their captions may tell
        attributes = sample_attributes(rng := np.random.default_rng(seed))
        words = told(caption(attributes, rng))
        known = {"hair colour": attributes.hair_colour, "clothes colour": attributes.clothes_colour,
                 "hat colour": attributes.hat_colour, "background colour": attributes.background_colour,
                 "skin tone": attributes.skin, "lipstick": attributes.lipstick}  # fmt: skip
        assert {name: known[name] for name in words if name in known} == {
            name: word for name, word in words.items() if name in known
        }
        worn = {"glasses": attributes.glasses, "hat": attributes.hat, "earrings": attributes.earrings}
        assert all(worn[name] != "none" for name in words if name in worn)


def test_colours_are_learned_from_real_pictures_and_found_in_others(tmp_path):
    """Ash and bronze hair as real pictures show them; results whose hair is right, wrong and missing."""
    label_map = np.zeros((16, 16), np.uint8)
    label_map[:8] = CLASS_ID["hair"]
    looks = {"brown": (120, 80, 40), "grey": (150, 150, 155)}

    def picture(colour):
        return np.where((label_map > 0)[..., None], colour, (250, 250, 250)).astype(np.uint8)

    def case(name, word, colour, shown):
        for file, pixels in ((f"real-{name}.png", picture(colour)), (f"{name}.png", picture(shown))):
            Image.fromarray(pixels).save(tmp_path / file)
        return Picture(name, tmp_path / f"{name}.png", tmp_path / f"real-{name}.png", f"{word} hair", face=name)

    rng = np.random.default_rng(0)
    pictures = []
    for place, word in enumerate(["brown", "grey"] * 4):
        near = tuple(np.array(looks[word]) + rng.integers(-10, 10, 3))
        wrong = looks["grey" if word == "brown" else "brown"]
        pictures.append(case(str(place), word, near, wrong if place < 2 else near))
    study = Study([*pictures, Picture("none", pictures[0].path, caption="a face")])
    reader = Reader(lambda: lambda picture: label_map, "fixed", "1", None)
    words, hair = (metric.measure(study, no_features) for metric in attribute_metrics(reader, study)[:2])
    assert words == hair and hair.value == 75 and hair.real == 100
    assert hair.each == {str(place): 100.0 * (place > 1) for place in range(8)}
    colours = np.full((len(PLACES), 3), np.nan)
    table = learn_colours(
        [({"hair colour": word}, colours_of(picture(rgb), label_map)) for word, rgb in looks.items()] * 3
    )
    assert np.allclose(table["hair colour"]["grey"], lab(np.uint8([looks["grey"]]))[0])
    shares = np.bincount(label_map.ravel(), minlength=19) / label_map.size
    assert agreement({"hair colour": "grey", "hat": "cap"}, shares, colours, table) == {
        "hair colour": False,
        "hat": False,
    }
    assert agreement({"hair colour": "pink"}, shares, colours, table) == {}  # which no real picture is said to have
