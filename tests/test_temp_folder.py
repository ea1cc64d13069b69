"""Visitors' files: gone after two hours, whoever wrote them, and never more than what was set."""

import os
import threading
import time
from pathlib import Path

import pytest

from facemogle.ui import temp_folder
from facemogle.ui.temp_folder import AGE, EVERY, TempFolder


def written(path: Path, size: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_whatever_is_older_than_two_hours_goes_whoever_wrote_it(tmp_path):
    assert AGE + EVERY == 2 * 3600
    folder = TempFolder(tmp_path)
    kinds = [  # a face, a broken-off upload, a link that was shared, what a killed process left
        folder.path / "0a1b/face-7.png", folder.path / "tmpab12", folder.path / "deep_links/x/state.json",
        tmp_path / "killed/0c/label-map.png",
    ]  # fmt: skip
    for path in kinds:
        written(path)
    now = time.time()
    folder.sweep(now + AGE - 5)
    assert all(path.exists() for path in kinds)
    folder.sweep(now + AGE + 5)
    assert list(tmp_path.rglob("*")) == [folder.path]  # which the next visitor needs


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    outside = written(tmp_path / "outside/precious.txt")
    folder = TempFolder(written(tmp_path / "root/x").parent)
    (folder.path / "link").symlink_to(outside.parent)
    folder.sweep(time.time() + 2 * AGE)
    assert outside.exists() and not (folder.path / "link").exists()


def test_the_oldest_give_way_once_it_is_full(tmp_path):
    folder = TempFolder(tmp_path, limit=3e-6)
    files = []
    for number in range(5):
        files.append(written(folder.path / str(number), 1000))
        time.sleep(0.02)  # file systems count in milliseconds
    folder.sweep()
    assert [file.exists() for file in files] == [False, False, True, True, True]
    assert folder.size() == 3000


def test_it_is_swept_at_the_start_and_on_until_the_process_ends(tmp_path):
    old = written(tmp_path / "before/face.png")
    folder = TempFolder(tmp_path, age=0.2)
    time.sleep(0.3)
    folder.keep_swept(every=0.1)
    await_gone(old)
    await_gone(written(folder.path / "later.png"))
    (sweeping,) = [thread for thread in threading.enumerate() if thread.name == f"sweep {folder.path}"]
    folder.remove()
    assert not folder.path.exists()
    sweeping.join(5)
    assert not sweeping.is_alive()


def await_gone(path: Path) -> None:
    deadline = time.monotonic() + 5
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not path.exists()


def test_only_a_folder_of_ones_own_is_swept(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own_folder = temp_folder.own_folder.__wrapped__
    first = own_folder()
    assert first.root == own_folder().root == tmp_path / f"facemogle-{os.getuid()}" and first.path != own_folder().path
    assert first.root.stat().st_mode & 0o777 == 0o700
    elsewhere = written(tmp_path / "elsewhere/a.txt").parent
    first.root.rename(tmp_path / "away")
    first.root.symlink_to(elsewhere)  # by somebody else, who wants it swept
    assert own_folder().root.name.startswith("facemogle-") and own_folder().root != first.root
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(elsewhere))  # others' files may lie there
    assert own_folder().root == elsewhere / "facemogle"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(elsewhere / "a.txt"))
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere / "a.txt"))
    with pytest.raises(SystemExit) as exit:
        own_folder()
    assert "TMPDIR" in str(exit.value) and "\n" not in str(exit.value)
