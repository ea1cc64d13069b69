"""What is written is whole, or as it was: on a full disk, after an error, after kill -9."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from facemogle.gating import GatingRecord, save_gating
from facemogle.label_files import write_label_map
from facemogle.picture_files import Settings, write_picture
from facemogle.picture_formats import save_picture
from facemogle.whole_files import whole_file

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
SETTINGS = Settings("a face", None, 7, 8, 3.5, 1.0, 64, 64, None, "mini")
RECORD = GatingRecord(np.full((2, 1, 20, 8, 8), 0.05), np.array([1000.0, 500.0]))
WRITERS = {
    "picture.png": lambda path: write_picture(path, PICTURE, SETTINGS),
    "map.png": lambda path: write_label_map(path, np.zeros((64, 64), np.uint8)),
    "gating.npz": lambda path: save_gating(path, RECORD),
    "crop.jpg": lambda path: save_picture(PICTURE, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_file_that_was_there(name, tmp_path, monkeypatch):
    path = tmp_path / name
    path.write_text("a good one")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=rf"{name} could not be written: No space left on device. Make room"):
        WRITERS[name](path)
    assert path.read_text() == "a good one" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_takes_its_place(name, tmp_path):
    path = tmp_path / name
    path.write_text("an old one")
    WRITERS[name](path)
    assert path.stat().st_size > 60 and list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "face.bin"
    path.write_bytes(b"0" * 10**6)
    code = """
import sys
from facemogle.whole_files import whole_file
for digit in "123456789" * 1000:
    with whole_file(sys.argv[1]) as part:
        with open(part, "wb") as file:
            for _ in range(100):
                file.write(digit.encode() * 10**4)
                file.flush()
"""
    for moment in np.random.default_rng(0).uniform(0.05, 0.4, 5):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
        deadline = time.monotonic() + 30
        while not (tmp_path / ".face.part.bin").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(moment)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = path.read_bytes()
        assert len(content) == 10**6 and len(set(content)) == 1
    with whole_file(path) as part:  # what the kill left is no hindrance
        part.write_text("done")
    assert path.read_text() == "done" and list(tmp_path.iterdir()) == [path]


def test_links_and_devices_stay_what_they_are(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with whole_file(tmp_path / "link.txt") as part:
        part.write_text("new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"
    with whole_file("/dev/null") as part, open(part, "wb") as file:
        file.write(b"x")
    assert not os.path.isfile("/dev/null")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), whole_file(tmp_path / "nowhere/face.png") as part:
        part.write_text("x")


@pytest.mark.parametrize(
    "write",
    [lambda part: save_file({"a": torch.ones(10_000)}, part), lambda part: save_open({"a": torch.ones(10_000)}, part)],
    ids=["safetensors", "torch"],
)
def test_what_libraries_make_of_a_full_disk_is_told_as_the_system_does(write, tmp_path):
    message = r"a\.bin could not be written: File too large\. Make room"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=message) as told, whole_file(tmp_path / "a.bin") as part:
            write(part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told.value.errno == errno.EFBIG and list(tmp_path.iterdir()) == []


def save_open(tensors, part):
    with open(part, "wb") as file:
        torch.save(tensors, file)


def test_errors_of_ones_own_stay_what_they_are(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a.bin") as part:
        part.write_text(str(1 / 0))
    assert list(tmp_path.iterdir()) == []
