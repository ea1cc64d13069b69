"""The cache holds what the pipeline computes, outlives a kill, and is refused when stale or damaged."""

import json
import multiprocessing
import shutil
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from tqdm import tqdm

from facemogle.data.pairs import find_pairs
from facemogle.folders import LOCK_FILE, own_folder
from facemogle.label_files import write_label_map
from facemogle.labels import NUM_CLASSES
from train.cache import EMPTY_PROMPT_FILE, CachedDataset, main, write_cache
from train.conditions import classes_present, condition_tokens, encode_black
from train.data import FaceDataset

SIZE = {"height": 64, "width": 64}
CAPTIONS = {
    0: ["a woman", "a woman with red hair", "smiling"],
    1: [],
    2: ["a man"],
    3: ["a hat", "an old man"],
    4: ["x"],
}


def write_faces(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("face", "mask"):
        (root / folder).mkdir(parents=True)
    for name in CAPTIONS:
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64)).save(root / "face" / f"{name}.png")
        write_label_map(root / "mask" / f"{name}.png", rng.integers(0, 3 + 4 * name, (8, 8)).repeat(8, 0).repeat(8, 1))
    (root / "text.json").write_text(json.dumps({f"{name}.png": lines for name, lines in CAPTIONS.items()}))
    return root


@pytest.fixture
def pairs(tmp_path):
    return find_pairs(write_faces(tmp_path / "faces"))


@pytest.fixture
def cache(pipeline, pairs, tmp_path) -> Path:
    write_cache(pipeline, pairs, tmp_path / "cache", **SIZE, model="tiny", shard=2, batch=2)
    return tmp_path / "cache"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != LOCK_FILE}


def test_rows_are_what_the_pipeline_computes(pipeline, pairs, cache):
    cached = CachedDataset(cache, model="tiny", **SIZE, seed=3, pipeline=pipeline)
    uncached = FaceDataset(pairs, **SIZE, seed=3)
    assert cached.names == [pair.name for pair in pairs] == list("01234")
    for epoch in range(3):
        cached.set_epoch(epoch)
        uncached.set_epoch(epoch)
        for place in range(len(cached)):
            row, sample = cached[place], uncached[place]
            embeds, pooled = pipeline.encode_prompt([sample["caption"]], max_sequence_length=16)
            assert row["name"] == sample["name"] and torch.equal(row["label_map"], sample["label_map"])
            assert torch.allclose(row["latents"], pipeline.encode_images(sample["image"][None] / 255)[0], atol=1e-5)
            assert torch.allclose(row["prompt_embeds"], embeds[0], atol=1e-5)
            assert torch.allclose(row["pooled_prompt_embeds"], pooled[0], atol=1e-5)
    assert torch.equal(cached[1]["prompt_embeds"], cached.empty_prompt["prompt_embeds"])
    with pytest.raises(IndexError):
        cached[5]


def test_every_caption_is_chosen_in_some_epoch(cache):
    cached = CachedDataset(cache, model="tiny", **SIZE)
    seen = Counter()
    for epoch in range(60):
        cached.set_epoch(epoch)
        seen[cached[0]["pooled_prompt_embeds"].numpy().tobytes()] += 1
    assert len(seen) == 3 and min(seen.values()) > 8


def test_batches_through_workers(cache):
    cached = CachedDataset(cache, model="tiny", **SIZE)
    batches = list(DataLoader(cached, batch_size=5, num_workers=2))
    assert batches[0]["latents"].shape == (5, 16, 64) and batches[0]["label_map"].dtype == torch.uint8
    assert torch.equal(batches[0]["prompt_embeds"][3], cached[3]["prompt_embeds"])


@pytest.mark.parametrize("change", [{"model": "flux"}, {"height": 128}, {"width": 32}])
def test_a_cache_of_something_else_is_refused(cache, change):
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=f"{name} .*, not {value!r}"):
        CachedDataset(cache, **{"model": "tiny", **SIZE, **change})


def test_a_cache_of_other_code_weights_or_files_is_refused(pipeline, pairs, cache, monkeypatch):
    with torch.no_grad():
        next(pipeline.text_encoder.parameters()).add_(0.01)
    with pytest.raises(ValueError, match="text_encoder weights"):
        CachedDataset(cache, model="tiny", **SIZE, pipeline=pipeline)
    pipeline.text_encoder = None
    CachedDataset(cache, model="tiny", **SIZE, pipeline=pipeline.to(torch.bfloat16))  # what is not there cannot differ
    monkeypatch.setattr("train.cache_files.PREPROCESSING", 0)
    with pytest.raises(ValueError, match="preprocessing 3, not 0"):
        CachedDataset(cache, model="tiny", **SIZE)
    with pytest.raises(ValueError, match="holds no cache"):
        CachedDataset(cache.parent, model="tiny", **SIZE)


def test_a_cache_is_known_by_its_encoders_wherever_they_lie(pipeline, cache, reference, tmp_path):
    moved = shutil.copytree(reference / "tiny-flux", tmp_path / "moved")
    pipeline.register_to_config(_name_or_path=str(moved))
    CachedDataset(cache, model=str(moved), **SIZE, pipeline=pipeline)
    pipeline.text_encoder_2 = None  # training does without; its files tell
    weights = moved / "text_encoder_2" / "model.safetensors"
    save_file({name: each + 0.01 for name, each in load_file(weights).items()}, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"made with text_encoder_2 files '[0-9a-f]+', not"):
        CachedDataset(cache, model="tiny", **SIZE, pipeline=pipeline)


def test_writing_over_the_cache_of_other_pairs_is_refused(pipeline, pairs, cache):
    before = files(cache)
    with pytest.raises(ValueError, match="pairs"):
        write_cache(pipeline, pairs[:4], cache, **SIZE, model="tiny", shard=2)
    assert files(cache) == before


def test_what_is_whole_is_not_made_again(pipeline, pairs, cache):
    before = files(cache)
    (cache / "00000002.safetensors").unlink()
    with open(cache / "00000004.safetensors", "r+b") as file:
        file.truncate(100)
    (cache / ".00000002.part.safetensors").write_bytes(b"left by a kill")
    with pytest.raises(ValueError, match="2 are missing or cut short"):
        CachedDataset(cache, model="tiny", **SIZE)
    kept = (cache / "00000000.safetensors").stat().st_mtime_ns
    encoded = []
    encode, pipeline.encode_images = (
        pipeline.encode_images,
        lambda images: encoded.append(len(images)) or encode(images),
    )
    write_cache(pipeline, pairs, cache, **SIZE, model="tiny", shard=2, batch=2)
    assert encoded == [2, 1] and (cache / "00000000.safetensors").stat().st_mtime_ns == kept
    assert files(cache) == before


def test_one_flipped_bit_is_noticed_where_it_is(cache):
    path = cache / "00000002.safetensors"
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    offsets = json.loads(content[8:start])["latents"]["data_offsets"]
    content[start + (offsets[0] + offsets[1]) // 2 + 5] ^= 1  # in the second of two rows
    path.write_bytes(content)
    cached = CachedDataset(cache, model="tiny", **SIZE)
    assert cached[2]["name"] == "2"
    with pytest.raises(ValueError, match=r"00000002\.safetensors is damaged: row 1 of latents"):
        cached[3]
    path.write_bytes(bytes(len(content)))
    with pytest.raises(ValueError, match="cannot be read"):
        cached[2]


def test_a_bad_picture_stops_or_is_left_out(pipeline, pairs, tmp_path):
    face = pairs[2].image
    face.write_bytes(face.read_bytes()[:50])
    arguments = {"folder": tmp_path / "cache", **SIZE, "model": "tiny", "shard": 1}
    with pytest.raises(ValueError, match=str(face)):
        write_cache(pipeline, pairs, **arguments)
    write_cache(pipeline, pairs, **arguments, workers=2, on_error="skip")
    cached = CachedDataset(tmp_path / "cache", model="tiny", **SIZE)
    assert cached.names == ["0", "1", "3", "4"] and cached[3]["name"] == "4"


def test_a_full_disk_is_foreseen_and_leaves_nothing_broken(pipeline, pairs, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=100))
    with pytest.raises(OSError, match=r"0\.0 GB left"):
        write_cache(pipeline, pairs, tmp_path / "cache", **SIZE, model="tiny")
    monkeypatch.undo()

    def full(tensors, path):
        Path(path).write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("train.cache_files.save_file", full)
    with pytest.raises(OSError, match=r"0\.safetensors could not be written: No space left on device\. Make room"):
        write_cache(pipeline, pairs, tmp_path / "cache", **SIZE, model="tiny")
    assert sorted(files(tmp_path / "cache")) == [EMPTY_PROMPT_FILE, "index.json"]
    monkeypatch.undo()
    write_cache(pipeline, pairs, tmp_path / "cache", **SIZE, model="tiny")
    assert len(CachedDataset(tmp_path / "cache", model="tiny", **SIZE)) == 5


def test_two_do_not_make_one_cache(pipeline, pairs, tmp_path):
    arguments = pipeline, pairs, tmp_path / "cache"
    with own_folder(tmp_path / "cache"), pytest.raises(BlockingIOError, match="Another process is writing to"):
        write_cache(*arguments, **SIZE, model="tiny")
    write_cache(*arguments, **SIZE, model="tiny")


def test_sizes_and_captions_that_do_not_fit(pipeline, pairs, tmp_path):
    with pytest.raises(ValueError, match="multiples of 16"):
        write_cache(pipeline, pairs, tmp_path / "cache", height=60, width=64, model="tiny")


def test_killed_and_gone_on_with_is_as_undisturbed(pipeline, pairs, tmp_path):
    """Killed after each file, at once or a few milliseconds into the next."""

    def write(folder: str) -> None:
        # A fork must not wait for its parent's threads, nor for the lock of a brother that was killed.
        torch.set_num_threads(1)
        tqdm.set_lock(threading.RLock())
        write_cache(pipeline, pairs, tmp_path / folder, **SIZE, model="tiny", shard=1)

    def start(folder: str):
        process = multiprocessing.get_context("fork").Process(target=write, args=(folder,))
        process.start()
        return process

    killed = tmp_path / "killed"
    for number in range(1, 6):
        process = start("killed")
        while process.exitcode is None and len(list(killed.glob("*.safetensors"))) < number:
            process.join(0.001)
        process.join(0.004 * (number - 1))
        process.kill()
        process.join()
    for folder in ("killed", "whole"):
        process = start(folder)
        process.join()
        assert process.exitcode == 0
    assert files(killed) == files(tmp_path / "whole")


def test_command(tmp_path, capsys):
    root = write_faces(tmp_path / "faces")
    (root / "ids").write_text("4\n0\n")
    options = ["--data", str(root), "--ids", str(root / "ids"), "--size", "64x32", "--captions", "1"]
    assert main([*options, "--out", str(tmp_path / "cache")]) == 0
    assert "2 faces of 64x32" in capsys.readouterr().out
    cached = CachedDataset(tmp_path / "cache", model="mini", height=64, width=32)
    assert cached.names == ["4", "0"] and cached[1]["prompt_embeds"].shape == (32, 128)
    draws = {cached.set_epoch(epoch) or cached[1]["prompt_embeds"].numpy().tobytes() for epoch in range(9)}
    assert len(draws) == 1
    assert main(["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "cache")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_condition_tokens_are_those_of_each_label_map(pipeline, pairs):
    dataset = FaceDataset(pairs, **SIZE)
    label_maps = torch.stack([dataset[place]["label_map"] for place in range(5)] + [torch.zeros(64, 64).byte()])
    expected = torch.stack([pipeline.encode_label_map(label_map.numpy(), 64, 64) for label_map in label_maps])
    encoded = []
    hook = pipeline.vae.encoder.register_forward_pre_hook(lambda module, inputs: encoded.append(len(inputs[0])))
    black_tokens = encode_black(pipeline, 64, 64)
    tokens = condition_tokens(label_maps, pipeline, black_tokens=black_tokens, chunk=4)
    hook.remove()
    assert tokens.shape == (6, NUM_CLASSES + 1, 16, 64)
    assert torch.allclose(tokens, expected, atol=1e-5)
    assert torch.allclose(condition_tokens(label_maps.numpy(), pipeline), expected, atol=1e-5)
    present = classes_present(label_maps)
    assert present.sum(1).tolist() == [len(label_map.unique()) for label_map in label_maps]
    assert sum(encoded) == 1 + len(label_maps) + present.sum() and max(encoded) == 4
    assert (tokens[:, 1:][~present] == black_tokens).all()
    with pytest.raises(ValueError, match="uint8"):
        condition_tokens(label_maps.long(), pipeline)
    with pytest.raises(ValueError, match="up to 255"):
        condition_tokens(label_maps.fill_(255), pipeline)
