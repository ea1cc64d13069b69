"""Correcting a data set by hand: what each button does to the files, and that no kill or second window loses any."""

import json
import os
import re
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import app
from facemogle.data.face_set import FaceSet
from facemogle.folders import own_folder
from facemogle.label_files import read_label_map
from facemogle.labels import CLASS_ID
from facemogle.ui.correction.session import Session
from tests.face_sets import face_set, first_map, second_map, snapshot
from train.data import check


def lines(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def opened(data) -> Session:
    """As after a start of the app."""
    faces = FaceSet(data)
    faces.settle()
    return Session(faces)


def name(shown) -> str:
    return shown.key.rpartition("/")[2].partition("@")[0]


def place(shown) -> str:
    return re.search(r"<b>(.*?)</b>", shown.progress)[1]


def test_faces_come_one_after_another_and_saving_takes_them_into_the_set(data):
    face_set(data, "a", "b", taken={"c": "a woman", "d": ""})
    session = opened(data)
    shown = session.start()
    assert (name(shown), place(shown)) == ("a", "1 of 3")  # c wants nothing
    assert "agree on 70%" in shown.status and "CC0" in shown.photo
    assert np.array_equal(shown.editor["value"].label_map, first_map(0)) and shown.editor["value"].name == shown.key
    differing = json.loads(shown.editor["differing"])["runs"]
    assert (
        sum(differing[i + 1] for i in range(0, len(differing), 2) if differing[i])
        == (first_map(0) != second_map(0)).sum()
    )
    drawn = first_map(0)
    drawn[:4] = CLASS_ID["hat"]
    shown = session.save(shown.key, drawn, "  a man \n with a hat ")
    assert shown.settled.endswith("/a@") and (name(shown), place(shown)) == ("b", "2 of 3")
    assert np.array_equal(read_label_map(data / "masks" / "a.png").label_map, drawn)
    known = {line["file_name"]: line for line in lines(data / "metadata.jsonl")}
    assert (known["faces/a.png"]["text"], known["faces/a.png"]["parser"]) == ("a man with a hat", "by hand")

    shown = session.reject(shown.key, "blurred")
    assert (name(shown), place(shown)) == ("d", "3 of 3") and "caption is missing" in shown.status
    assert {line["why"] for line in lines(data / "left-out.jsonl")} == {"not usable: blurred"}
    shown = session.save(shown.key, first_map(3), "a girl")
    assert shown.key == "" and "1 corrected, 1 captioned or looked at, 1 not usable" in shown.status
    known = {line["file_name"]: line for line in lines(data / "metadata.jsonl")}
    assert {file: line["text"] for file, line in known.items()} == {
        "faces/a.png": "a man with a hat", "faces/c.png": "a woman", "faces/d.png": "a girl",
    }  # fmt: skip
    assert known["faces/d.png"]["parser"] == "one"  # its map is as it was
    report = check(data)
    assert report.usable and report.pairs == 3

    session = opened(data)
    assert session.start().key == ""
    shown = session.back("")
    assert name(shown) == "d" and "saved already" in shown.status
    shown = session.back(shown.key)
    assert name(shown) == "b" and "Not usable: blurred" in shown.status
    session.save(shown.key, first_map(1), "a boy")
    assert check(data).pairs == 4 and lines(data / "left-out.jsonl") == []
    session.reject(session.back("").key, "not licensed")
    assert not (data / "masks" / "d.png").exists() and check(data).usable and check(data).pairs == 3
    assert np.array_equal(session.faces.label_map("d"), first_map(3))


def test_skipped_faces_come_again(data):
    face_set(data, "a", "b", "c")
    session = opened(data)
    shown = session.skip(session.start().key)
    shown = session.save(shown.key, first_map(1), "")
    assert name(shown) == "c"
    shown = session.skip(shown.key)
    assert (name(shown), place(shown)) == ("a", "1 of 3")
    shown = session.save(shown.key, first_map(0), "")
    assert name(shown) == "c" and "last one" in session.skip(shown.key).status
    assert name(session.start()) == "c"  # as after a reload


def test_what_cannot_be_saved_is_told_and_changes_nothing(data):
    face_set(data, "a", "b")
    session = opened(data)
    key = session.start().key
    before = snapshot(data)
    for label_map, why in (
        (np.zeros((96, 96), np.uint8), "background everywhere"),
        (np.where(first_map(0) == 1, 0, first_map(0)), "no skin"),
        (first_map(0)[:60], "differ in shape"),
        (None, "no map yet"),
    ):
        shown = session.save(key, label_map, "a face")
        assert why in shown.status and "failed" in shown.status and shown.settled == ""
    assert "another list" in session.save("facemogle-correction/0/x@0", first_map(0), "").status
    assert snapshot(data) == before
    doubled = first_map(0).repeat(2, 0).repeat(2, 1)  # as a file that was opened in the editor
    assert name(session.save(key, doubled, "")) == "b"
    assert np.array_equal(read_label_map(data / "masks" / "a.png").label_map, first_map(0))


def test_files_that_have_gone_keep_nobody_from_the_others(data):
    face_set(data, "a", "b", "c")
    session = opened(data)
    first = session.start()
    (data / "correction" / "faces" / "b.png").unlink()
    last = session.skip(first.key)
    assert name(last) == "c" and name(session.save(last.key, first_map(2), "")) == "a"
    saved = session.save(first.key, first_map(0), "")  # which is done, though nothing follows
    assert "b.png is missing. Put it back, or delete its photo&#x27;s file in" in saved.status
    assert saved.key.endswith("a@1") and saved.settled.endswith("a@") and (data / "masks" / "a.png").exists()
    data.rename(data.with_name("moved"))
    for deal in (lambda: session.save(saved.key, first_map(0), "x"), session.start, lambda: session.back(last.key)):
        assert "was moved or removed. Put it back and go on" in deal().status
    assert not data.exists()


def test_of_two_windows_the_later_one_is_told_and_may_insist(data):
    face_set(data, "a", "b")
    session = opened(data)
    mine, theirs = session.start(), session.start()
    session.save(theirs.key, second_map(0), "theirs")
    refused = session.save(mine.key, first_map(0), "mine")
    assert "saved in another window" in refused.status and refused.settled == ""
    assert np.array_equal(session.faces.label_map("a"), second_map(0))
    assert "another window" in session.reject(mine.key, "blurred").status
    session.save(refused.key, first_map(0), "mine")
    assert np.array_equal(session.faces.label_map("a"), first_map(0)) and session.faces.face("a").text == "mine"


class Killed(BaseException):
    pass


@pytest.mark.parametrize("what", ["save", "reject"])
def test_a_kill_at_any_moment_leaves_all_of_it_or_nothing(tmp_path, monkeypatch, what):
    def fresh(folder) -> Session:
        face_set(tmp_path / folder, "a", taken={"b": ""})
        return opened(tmp_path / folder)

    def deal(session: Session) -> None:
        if what == "save":
            session.save(session.start().key, second_map(0), "a face")
        else:
            session.reject(session.back("").key, "blurred")

    def state(folder) -> dict[str, bytes]:
        """What counts: proposals may be there before they are needed."""
        held = snapshot(tmp_path / folder)
        return {path: held[path] for path in held if not path.startswith("correction/")}

    fresh("before")
    deal(fresh("after"))
    replace, unlink, seen = os.replace, Path.unlink, []
    for moment in count():
        session, left = fresh(str(moment)), [moment]

        def at(act, left=left):
            def acting(*paths, **options):
                left[0] -= 1
                if left[0] < 0:  # and nothing is done after it
                    raise Killed
                act(*paths, **options)

            return acting

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", at(replace))
            patched.setattr(Path, "unlink", at(unlink))
            try:
                deal(session)
            except Killed:
                pass
            else:
                break
        for part in (tmp_path / str(moment)).rglob(".*.part.*"):
            unlink(part)
        opened(tmp_path / str(moment))
        seen += [each for each in ("before", "after") if state(str(moment)) == state(each)]
        assert len(seen) == moment + 1, moment
    assert seen == sorted(seen, reverse=True) and set(seen) == {"before", "after"}


def test_the_app_refuses_what_cannot_be_corrected(data, monkeypatch):
    with pytest.raises(SystemExit, match=r"is no data set of `python -m train\.data build`"):
        app.main(["--correct", str(data)])
    face_set(data, "a")
    for option in ("--share", "--mcp"):
        with pytest.raises(SystemExit, match="--correct writes files, and so is for one's own machine"):
            app.main(["--correct", str(data), option])
    monkeypatch.setenv("SPACE_ID", "someone/space")
    with pytest.raises(SystemExit, match="nor a Space"):
        app.main(["--correct", str(data)])
    monkeypatch.delenv("SPACE_ID")
    with own_folder(data), pytest.raises(SystemExit, match="Another process is writing to"):
        app.main(["--correct", str(data)])
