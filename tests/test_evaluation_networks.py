"""Files of the evaluation's networks: found, checked, read safely; and what networks see, kept by what was seen."""

import dataclasses
import hashlib
import io
import pickle
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from facemogle.evaluation import networks as finding
from facemogle.evaluation.features import FeatureCache
from facemogle.evaluation.metric import Network, NetworkFile, UnreadablePictures
from facemogle.evaluation.networks import find_files, read_torchscript, read_weights, require_package
from facemogle.evaluation.pictures import raw_512
from facemogle.evaluation.published import METRICS
from facemogle.weight_files import CheckpointError


def network(**changes) -> Network:
    """One that convolves pictures, and counts letters of captions."""
    file = NetworkFile("https://example.com/some/weights.pt", size=1_000)
    given = {"name": "tiny", "files": (file,), "preprocess": raw_512, "load": load, "licence": "MIT", "batch": 4}
    return Network(**(given | changes))


def load(paths, device):
    conv = torch.nn.Conv2d(3, 5, 8, stride=8, bias=False).requires_grad_(False)
    conv.load_state_dict(read_weights(paths[0]))

    def judge(pictures, other=None):
        found = conv(pictures).relu().mean((2, 3))
        if isinstance(other, list):
            return found[:, 0] + torch.tensor([len(caption) for caption in other])
        return found if other is None else (found - conv(other).relu().mean((2, 3))).abs().sum(1)

    return judge


@pytest.fixture
def folder(tmp_path):
    """Weights of the network above, and seven pictures."""
    (tmp_path / "networks" / "tiny").mkdir(parents=True)
    torch.manual_seed(0)
    torch.save({"weight": torch.randn(5, 3, 8, 8)}, tmp_path / "networks" / "tiny" / "weights.pt")
    rng = np.random.default_rng(0)
    for index in range(7):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / f"{index}.png")
    return tmp_path


def cache(folder: Path) -> FeatureCache:
    return FeatureCache(folder / "cache", networks=folder / "networks", download=False)


def refuse(*arguments):
    raise AssertionError("What is known is not computed again.")


def test_features_are_computed_once_and_do_not_depend_on_their_batch(folder):
    paths = [folder / f"{index}.png" for index in range(7)]
    tiny = network()
    first = cache(folder)(tiny, [*paths, paths[0]])
    assert first.shape == (8, 5) and first.dtype == np.float32 and (first[0] == first[7]).all()
    alone = FeatureCache(folder / "other", networks=folder / "networks")(network(batch=1), paths)
    np.testing.assert_allclose(first[:7], alone, rtol=1e-5)

    moved = paths[3].rename(folder / "moved.png")
    again = cache(folder)(network(load=refuse), [moved, paths[0]])
    assert (again == first[[3, 0]]).all()

    pairs = cache(folder)(tiny, [(moved, moved), (moved, paths[0])])
    assert pairs.shape == (2,) and pairs[0] == 0 and pairs[1] > 0
    captions = cache(folder)(tiny, [(moved, "one"), (moved, "fifteen")])
    assert captions == pytest.approx([first[3, 0] + 3, first[3, 0] + 7], rel=1e-5)
    assert cache(folder)(tiny, []).shape == (0,)
    own = network(name="own", files=(), load=lambda paths, device: lambda pictures: pictures.mean((1, 2, 3)))
    assert cache(folder)(own, paths[:2]).shape == (2,) and cache(folder).files_of(own) == []


def test_other_weights_or_another_version_are_other_features(folder):
    path, weights = folder / "0.png", folder / "networks" / "tiny" / "weights.pt"
    first = cache(folder)(network(), [path])
    for other in (network(version=2), network(name="tiny otherwise taken in")):
        with pytest.raises(AssertionError, match="not computed again"):
            cache(folder)(dataclasses.replace(other, load=refuse), [path])
    torch.save({"weight": torch.ones(5, 3, 8, 8)}, weights)
    assert not np.allclose(cache(folder)(network(), [path]), first)


def test_broken_pictures_are_named_after_all_others_are_kept(folder):
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:900])
    (folder / "2.png").write_text("no picture")
    paths = [folder / f"{index}.png" for index in range(7)]
    with pytest.raises(UnreadablePictures) as caught:
        cache(folder)(network(), paths)
    assert caught.value.problems.keys() == {paths[1], paths[2]}
    assert str(paths[2]) in str(caught.value)
    rest = cache(folder)(network(load=refuse), [path for path in paths if path not in caught.value.problems])
    assert rest.shape == (5, 5)
    with pytest.raises(UnreadablePictures, match=r"gone\.png: No such file"):
        cache(folder)(network(), [paths[0], folder / "gone.png"])


def test_damaged_cache_is_told(folder):
    tiny = cache(folder)
    tiny(network(), [folder / "0.png"])
    tiny.file.write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match=r"features\.sqlite.*Delete it"):
        cache(folder)


def test_missing_network_says_what_it_is_and_where_to_put_it(folder, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    for metric in METRICS:
        for one in metric.networks:
            with pytest.raises(CheckpointError) as caught:
                find_files(one, folder / "networks", download=False)
            place, file = folder / "networks" / one.folder / one.files[0].name, one.files[0]
            for part in (one.name, str(place), "--networks", file.source.rpartition("/")[0].split("#")[0], one.licence):
                assert part in str(caught.value)
    monkeypatch.setattr(finding, "from_address", refuse)
    by_hand = network(name="other", files=(NetworkFile("https://example.com/page/of.pt", size=1, by_hand=True),))
    with pytest.raises(CheckpointError, match=r"other needs of\.pt"):
        find_files(by_hand, folder / "networks", download=True)


def test_files_are_fetched_and_checked(folder, monkeypatch):
    content = b"what is published"
    digest = hashlib.sha256(content).hexdigest()
    asked = []

    def fetch(address, path):
        asked.append(address)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

    monkeypatch.setattr(finding, "from_address", fetch)
    for sha256 in (digest, digest[:8]):
        new = network(name=f"new-{len(sha256)}", files=(NetworkFile("https://example.com/f.pt", 17, sha256),))
        for _ in range(2):
            ((path, found),) = find_files(new, folder / "networks", download=True)
            assert path == folder / "networks" / new.name / "f.pt" and found == digest
        path.write_bytes(b"something else")
        with pytest.raises(CheckpointError, match=f"{path} is damaged or another file"):
            find_files(new, folder / "networks", download=True)
    assert asked == ["https://example.com/f.pt"] * 2


def test_hubs_cache_is_used_and_held_to_its_own_names(folder, monkeypatch):
    content = b"weights of the Hub"
    digest = hashlib.sha256(content).hexdigest()
    home = folder / "hub" / "models--owner--name"
    (home / "blobs").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("a" * 40)
    (home / "blobs" / digest).write_bytes(content)
    link = home / "snapshots" / ("a" * 40) / "sub" / "model.bin"
    link.parent.mkdir(parents=True)
    link.symlink_to(home / "blobs" / digest)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    of_hub = network(name="of-hub", files=(NetworkFile("owner/name/sub/model.bin", size=18),))
    download = huggingface_hub.hf_hub_download

    def of_this_disk(*arguments, local_files_only, **options):
        assert local_files_only, "The Hub is not asked for what is here."
        return download(*arguments, local_files_only=True, **options)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", of_this_disk)
    for may_download in (False, True):
        assert find_files(of_hub, folder / "networks", download=may_download) == [(link, digest)]
    (home / "blobs" / digest).write_bytes(b"weights of the hub")
    with pytest.raises(CheckpointError, match="is damaged"):
        find_files(of_hub, folder / "networks", download=False)


def test_nothing_that_may_run_is_opened(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"weight": io.BytesIO()}))
    with pytest.raises(CheckpointError, match="may run code"):
        read_weights(path)
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    with pytest.raises(CheckpointError, match="no other program is run"):
        read_torchscript(path, "0" * 64, "cpu")
    torch.save({"weight": torch.tensor([1.0, np.nan])}, path)
    with pytest.raises(CheckpointError, match="NaN"):
        read_weights(path)
    with pytest.raises(CheckpointError, match=r"some_package: pip install -r requirements-evaluate\.txt"):
        require_package("some_package", "Some network")
