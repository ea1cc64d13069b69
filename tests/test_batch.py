"""A batch is what its jobs say, whatever happens to it on the way: workers, kills, failures, stores."""

import dataclasses
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from facemogle import cli
from facemogle.batch import run as running
from facemogle.batch.jobs import JobErrors
from facemogle.batch.model import Model
from facemogle.batch.workers import TRIES, LocalWorkers, Maker
from facemogle.batch.writing import MANIFEST, Store, read_entries
from facemogle.folders import LOCK_FILE
from facemogle.label_files import read_label_map, write_label_map
from facemogle.picture_files import read_settings
from tests.data_folders import write
from tests.dummy_batch import SURVEY, Dummy, dummy_batch, dummy_jobs
from tests.recorded import ADAPTER, REFERENCE

parquet = pytest.importorskip("pyarrow.parquet", reason="requirements-scale.txt is not installed")

ROOT = Path(__file__).parents[1]
TINY = [
    f"--checkpoint={REFERENCE / 'tiny-flux'}", f"--adapter={ADAPTER}", f"--mogle={REFERENCE / 'mogle.pt'}",
    "--device=cpu", "--size=64x32", "--steps=1",
]  # fmt: skip


class InProcess:
    """Workers that are none."""

    def make(self, maker, jobs, stop):
        make = maker.start()
        for job in jobs:
            if stop.is_set():
                return
            yield make(job)


def listed(folder: Path, jobs: list[dict]) -> Path:
    (folder / "jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return folder / "jobs.jsonl"


def plain_jobs(folder: Path, count: int) -> Path:
    return listed(folder, [{"prompt": "x" * (seed % 7), "seed": seed} for seed in range(count)])


def files(out: Path) -> dict[str, bytes]:
    """All but what a run needs for itself, and the manifest."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name not in (LOCK_FILE, MANIFEST)]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def rows(out: Path) -> list[dict]:
    """The manifest, without the seconds, which are of the run and not of the pictures."""
    return [row | {"seconds": 0} for row in parquet.read_table(out / MANIFEST).to_pylist()]


# Jobs


def test_bad_jobs_are_all_found_and_named_by_line(tmp_path):
    bad = {
        '{"promt": "a"}': "there is no setting 'promt'; is prompt meant?",
        '{"prompt": "a"': "it is no JSON",
        '{"seed": -1}': "seed must be a whole number from 0",
        '{"seed": 1.5}': "seed must be a whole number from 0",
        '{"steps": 2000}': "num_inference_steps must be a number from 1 to 1,000",
        '{"guidance_scale": "much"}': "guidance_scale must be a number",
        '{"size": "512 by 512"}': "size must be HEIGHTxWIDTH",
        '{"size": "4x4"}': "height must be a number from 8",
        '{"expert_scale": {"hare": 1}}': "expert_scale names no experts",
        '{"expert_scale": "hair"}': "must be names with numbers such as hair=0.5",
        '{"label_map": "none.png"}': f"there is no label map {tmp_path}/none.png",
        '{"label_map": "jobs.jsonl"}': "is not a picture",
        '{"name": "../a"}': "cannot be a picture's name",
        '{"name": "a/.b"}': "cannot be a picture's name",
        '{"checkpoint": "flux"}': "is one for all jobs: give it with --checkpoint",
        "[1]": "a job is a JSON object",
    }
    (tmp_path / "jobs.jsonl").write_text("\n".join(['{"prompt": "good"}', *bad, '{"prompt": "good"}']))
    with pytest.raises(JobErrors) as caught:
        dummy_jobs(tmp_path / "jobs.jsonl")
    assert len(caught.value.messages) == len(bad)
    for line, (message, told) in enumerate(zip(caught.value.messages, bad.values(), strict=True), 2):
        assert f"jobs.jsonl, line {line}: " in message and told in message
    with pytest.raises(JobErrors, match=r"line 2: its picture A is that of 1, too.*`name`"):
        dummy_jobs(listed(tmp_path, [{"face": "a"}, {"face": "A", "prompt": "other"}]))
    lists = {
        'prompt,seed\na,1\n"b,2\nc,3\n': r"list\.csv cannot be read: the quotes of the row that begins in line 3",
        'prompt,seed\n"a,1\n' + "x" * 140_000: "the row that begins in line 2",
        'prompt,seed\n"a "red" hat",1\n': "double those within a text",
        "prompt,Prompt\na,b\n": "its first line has 'prompt' twice",
    }
    for text, told in lists.items():
        (tmp_path / "list.csv").write_text(text)
        with pytest.raises(ValueError, match=told):
            dummy_jobs(tmp_path / "list.csv")
    (tmp_path / "empty.csv").write_text("prompt,seed\n")
    with pytest.raises(ValueError, match=r"gopher://x/jobs\.csv cannot be reached: Protocol not known"):
        dummy_jobs("gopher://x/jobs.csv")
    lists = {"jobs.txt": "ends in one of .jsonl", "none.csv": "There is no file", "empty.csv": "no jobs"}
    for name, told in lists.items():
        with pytest.raises(ValueError, match=told):
            dummy_jobs(tmp_path / name)


def test_json_lines_csv_and_parquet_say_the_same(tmp_path):
    write_label_map(tmp_path / "7.png", np.full((8, 8), 13))
    given = [
        {"prompt": "a, b", "label_map": "7.png", "seed": 2**53 - 1, "group": "g", "expert_scale": {"hair": 0.5}},
        {"prompt": "ü", "label_map": None, "seed": None, "group": None, "expert_scale": {"global": 2}},
    ]
    listed(tmp_path, given)
    head, first = "\ufeffPrompt,label-map,seed,group,expert scale", f'"a, b",7.png,{2**53 - 1}.0,g,hair=0.5'
    (tmp_path / "jobs.csv").write_text(f'{head}\n{first}\nü,,,,"{{""global"": 2}}"\n', encoding="utf-8")
    import pyarrow

    parquet.write_table(pyarrow.Table.from_pylist(given), tmp_path / "jobs.parquet")
    told = []
    for name in ("jobs.jsonl", "jobs.csv", "jobs.parquet"):
        jobs = dummy_jobs(tmp_path / name)
        told.append([(job.digest, job.described() | {"number": 0, "face": ""}, job.guided) for job in jobs])
        assert jobs[0].face == jobs[0].name == "7"
    assert told[0] == told[1] == told[2] and told[0][0][2] and not told[0][1][2]


def test_only_what_the_picture_depends_on_is_in_the_digest(tmp_path):
    write_label_map(tmp_path / "1.png", np.full((8, 8), 13))
    write_label_map(tmp_path / "2.png", np.full((8, 8), 13), colours=True)
    write_label_map(tmp_path / "3.png", np.full((8, 8), 14))
    one, renamed, other, *rest = dummy_jobs(
        listed(tmp_path, [
            {"label_map": "1.png"}, {"label_map": "2.png", "group": "g", "name": "x"}, {"label_map": "3.png"},
            {"label_map": "1.png", "guidance_scale": 2, "name": "y"}, {"label_map": "1.png", "seed": 1, "name": "z"},
        ])
    )  # fmt: skip
    assert one.digest == renamed.digest and len({one.digest, other.digest, *(job.digest for job in rest)}) == 4
    assert dummy_jobs(tmp_path / "jobs.jsonl", "other weights")[0].digest != one.digest
    write_label_map(tmp_path / "1.png", np.full((8, 8), 15))
    with pytest.raises(ValueError, match=r"1\.png has changed since the batch began"):
        one.whole_settings()


def test_a_size_is_rounded_to_whole_tokens_before_the_first_picture(tmp_path, caplog):
    """Of 8 pixels, those of the dummy."""
    sizes = ["17x23", "16x16", "17x23"]
    jobs = dummy_jobs(listed(tmp_path, [{"size": size, "name": str(n)} for n, size in enumerate(sizes)]))
    assert [record.getMessage() for record in caplog.records] == ["17x23 is not a multiple of 8: making 16x16 instead."]
    assert {(job.described()["height"], job.settings.width, job.digest) for job in jobs} == {(16, 16, jobs[0].digest)}
    with pytest.raises(JobErrors, match=r"line 2: Images must be at least 16 pixels a side, got 8x400\.$"):
        dummy_jobs(listed(tmp_path, [{}, {"size": "8x400"}]), survey=dataclasses.replace(SURVEY, pixels_per_token=16))


def test_a_data_folder_gives_its_faces_by_seed(tmp_path):
    write(tmp_path, {"data/face/7.jpg": "face.jpg", "data/mask/7.png": "mask.png", "data/text/7.txt": b"a man\nhe\n"})
    write(tmp_path, {"data/face/8.jpg": "face.jpg", "data/mask/8_": "parts"})
    jobs = dummy_jobs(tmp_path / "data", seeds=2, without="prompt")
    assert [job.name for job in jobs] == ["seed0/7", "seed1/7", "seed0/8", "seed1/8"]
    assert dummy_batch(jobs, tmp_path / "out", InProcess()).made == 4
    first = rows(tmp_path / "out")[0]
    told = {"file": "seed0/7.png", "face": "7", "caption": "a man", "prompt": "", "conditions": "label map"}
    assert first | told == first
    for face, seed in (("7", 0), ("8", 1)):  # the second's is in parts
        settings = read_settings(tmp_path / "out" / f"seed{seed}" / f"{face}.png")
        assert settings.seed == seed and settings.prompt == ""
        assert (settings.label_map == read_label_map(tmp_path / "data/mask/7.png").label_map).all()
    (only,) = dummy_jobs(tmp_path / "data", ids=("7",), without="label-map")
    assert (only.name, only.settings.prompt, only.guided) == ("7", "a man", False) and only.described()["label_map"]


# The run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """jobs.jsonl of 120 jobs, out/ as one process makes it, and shards/ of 50 jobs."""
    folder = tmp_path_factory.mktemp("batch")
    jobs = dummy_jobs(plain_jobs(folder, 120))
    assert dummy_batch(jobs, folder / "out", InProcess()).made == 120
    assert dummy_batch(jobs, folder / "shards", InProcess(), shard_size=50).made == 120
    assert len(files(folder / "out")) == 120 and all(row["failure"] is None for row in rows(folder / "out"))
    return folder


def start(jobs: Path, out: Path, workers: int, shard_size: int = 0) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.dummy_batch", jobs, out, str(workers), str(shard_size)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_pictures(process: subprocess.Popen, out: Path, more: int) -> None:
    def count() -> int:
        return len(list(out.glob("*.png")))

    begin, end = count(), time.monotonic() + 60
    while count() < begin + more and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)


def test_ten_kills_change_nothing(undisturbed, tmp_path):
    out, chance = tmp_path / "out", random.Random(7)
    for kill in range(10):
        process = start(undisturbed / "jobs.jsonl", out, workers=2 if kill < 2 else 1)
        wait_for_pictures(process, out, more=chance.randint(1, 8))
        time.sleep(0.01 * chance.random())  # somewhere between two pictures
        process.kill()
        assert process.wait() == -signal.SIGKILL, process.stderr.read().decode()
    made = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert 10 <= len(made) < 120
    process = start(undisturbed / "jobs.jsonl", out, workers=2)
    told = process.communicate()[1].decode()
    assert process.returncode == 0, told
    assert files(out) == files(undisturbed / "out") and rows(out) == rows(undisturbed / "out")
    # None was made twice but the one that the last kill may have kept out of the journal.
    assert sum(path.stat().st_mtime_ns != time_made for path, time_made in made.items()) <= 1


def test_ctrl_c_ends_politely_and_the_rest_comes_later(undisturbed, tmp_path):
    out = tmp_path / "out"
    process = start(undisturbed / "jobs.jsonl", out, workers=1, shard_size=50)
    wait_for_pictures(process, out, more=5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers as well
    told = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130 and "Stopping after the pictures in hand" in told and "Traceback" not in told
    made = rows(out)
    assert 5 <= len(made) < 120 and len(list(out.glob("*.png"))) == len(made)  # nothing was in vain
    jobs = dummy_jobs(undisturbed / "jobs.jsonl")
    outcome = dummy_batch(jobs, out, InProcess(), shard_size=50)
    assert (outcome.there, outcome.made) == (len(made), 120 - len(made))
    assert files(out) == files(undisturbed / "shards") and rows(out) == rows(undisturbed / "shards")


def test_a_worker_that_is_killed_loses_nothing_and_failures_are_told(tmp_path, capfd):
    marker, full = tmp_path / "died", tmp_path / "full"
    prompts = ["a", f"die until {marker}", "b", "fail", f"full until {full}", "die", "c", "d"]
    jobs = dummy_jobs(listed(tmp_path, [{"prompt": prompt} for prompt in prompts]))
    outcome = dummy_batch(jobs, tmp_path / "out", LocalWorkers("cpu", 2))
    assert (outcome.made, outcome.failed) == (6, 2) and marker.exists() and full.exists()
    failures = {row["number"]: row["failure"] for row in rows(tmp_path / "out") if row["failure"]}
    assert failures == {
        4: "there is no such face",
        6: f"the process that drew it ended with exit code 9, {TRIES} times",
    }
    assert "failures=2" in capfd.readouterr().err
    before = files(tmp_path / "out")
    assert len(before) == 6
    again = dummy_batch(jobs, tmp_path / "out", LocalWorkers("cpu", 1))  # failures are tried again, and only those
    assert (again.made, again.there, again.failed) == (0, 6, 2) and files(tmp_path / "out") == before


def test_a_full_disk_ends_it_and_it_goes_on_later(undisturbed, tmp_path, monkeypatch):
    jobs = dummy_jobs(undisturbed / "jobs.jsonl")[:6]
    write = Store.write

    def full(store, name, data):
        if name == "000004.png":
            raise OSError(28, "No space left on device")
        write(store, name, data)

    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space left on device. Make it so, and run"):
        patch.setattr(Store, "write", full)
        dummy_batch(jobs, tmp_path, InProcess())
    assert len(rows(tmp_path)) == 3
    outcome = dummy_batch(jobs, tmp_path, InProcess())
    assert (outcome.there, outcome.made) == (3, 3)

    def no_room(*paths):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:  # nor for the journal and the manifest
        patch.setattr(running.Journal, "add", no_room)
        patch.setattr(os, "replace", no_room)
        with pytest.raises(OSError, match=r"cannot be written to: No space left on device. Make it so, and run"):
            dummy_batch(dummy_jobs(undisturbed / "jobs.jsonl")[:7], tmp_path, InProcess())
    assert not list(tmp_path.glob(".*.part"))


def test_a_process_for_each_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-a")
    seen = [[each.get("CUDA_VISIBLE_DEVICES") for each in LocalWorkers(device, count).environments()]
            for device, count in ((None, None), ("cuda", 1), (None, 9), ("cuda:1", None), ("cpu", 3))]  # fmt: skip
    assert seen == [["3", "GPU-a"], ["3"], ["3", "GPU-a"], [None], [None] * 3]


def test_what_is_gone_or_cut_short_is_made_again(undisturbed, tmp_path):
    jobs = dummy_jobs(undisturbed / "jobs.jsonl")[:6]
    dummy_batch(jobs, tmp_path, InProcess())
    expected = files(tmp_path)
    (tmp_path / "000002.png").unlink()
    (tmp_path / "000003.png").write_bytes(b"half")
    (tmp_path / ".journal" / "000009.jsonl").write_text('{"file": "000004.png", "job": "cut sh')
    assert dummy_batch(jobs, tmp_path, InProcess()).made == 2 and files(tmp_path) == expected


def test_other_jobs_of_the_same_names_are_refused_or_replaced(undisturbed, tmp_path):
    jobs = dummy_jobs(undisturbed / "jobs.jsonl")[:4]
    dummy_batch(jobs, tmp_path / "out", InProcess())
    first = files(tmp_path / "out")
    changed = dummy_jobs(listed(tmp_path, [{"prompt": "", "seed": 0}, {"prompt": "new", "seed": 1}]))
    with pytest.raises(
        ValueError, match=r"holds 3 pictures of other jobs, such as 000002.png, made with prompt 'x', not"
    ):
        dummy_batch(changed, tmp_path / "out", InProcess())
    assert files(tmp_path / "out") == first
    outcome = dummy_batch(changed, tmp_path / "out", InProcess(), replace=True)
    assert (outcome.there, outcome.made) == (1, 1)
    assert files(tmp_path / "out").keys() == {"000001.png", "000002.png"} and len(rows(tmp_path / "out")) == 2
    with FileLock(tmp_path / "out" / LOCK_FILE), pytest.raises(BlockingIOError, match="Another process"):
        dummy_batch(changed, tmp_path / "out", InProcess())


def test_files_that_are_no_batchs_are_kept(undisturbed, tmp_path):
    """As of a folder of photos, or a tar file, that has such names."""
    jobs = dummy_jobs(undisturbed / "jobs.jsonl")[:2]
    (tmp_path / "000002.png").write_bytes(b"a photo")
    with pytest.raises(ValueError, match=r"holds no batch, but 1 files .* such as 000002\.png"):
        dummy_batch(jobs, tmp_path, InProcess())
    assert files(tmp_path) == {"000002.png": b"a photo"}
    (tmp_path / "000002.png").rename(tmp_path / "000000.tar")
    for replace in (False, True):
        with pytest.raises(ValueError, match=r"000000\.tar is damaged, or no shard of a batch: .* Move it away"):
            dummy_batch(jobs, tmp_path, InProcess(), shard_size=2, replace=replace)
    assert files(tmp_path) == {"000000.tar": b"a photo"}


def test_shards_are_read_by_webdataset_and_hold_the_same_pictures(undisturbed, tmp_path):
    webdataset = pytest.importorskip(
        "webdataset", reason="webdataset is not installed: pip install -r requirements-dev.txt"
    )
    shards = sorted(str(path) for path in (undisturbed / "shards").glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    singles = files(undisturbed / "out")
    assert len(shards) == 3 and len(samples) == 120 == len({sample["__key__"] for sample in samples})
    for sample, row in zip(samples, rows(undisturbed / "shards"), strict=True):
        assert sample["json"]["file"] == row["file"] and sample["txt"] == row["prompt"]
        assert row["shard"] == Path(sample["__url__"]).name
    raw = {sample["__key__"]: sample["png"] for sample in webdataset.WebDataset(shards, shardshuffle=False)}
    assert list(raw.values()) == [singles[name] for name in sorted(singles)]
    # One that failed comes in when it is made, and nothing else is made again.
    write_label_map(tmp_path / "m.png", np.full((8, 8), 13))
    jobs = dummy_jobs(listed(tmp_path, [{"label_map": "m.png"}, {"prompt": "a"}, {"prompt": "fail"}, {"prompt": "b"}]))
    assert dummy_batch(jobs, tmp_path / "out", InProcess(), shard_size=2).failed == 1
    assert files(tmp_path / "out").keys() == {"000000.tar", "000001.tar"}

    class Mended(Dummy):
        def _draw(self, settings):
            return Image.new("RGB", (8, 8), "red")

    outcome = running.run(jobs, Maker(Mended(), Store(str(tmp_path / "out"))), InProcess(), shard_size=2)
    assert (outcome.made, outcome.there) == (1, 3) and files(tmp_path / "out").keys() == {"000000.tar", "000001.tar"}
    second = list(webdataset.WebDataset(str(tmp_path / "out/000001.tar"), shardshuffle=False))
    assert [json.loads(sample["json"])["file"] for sample in second] == ["000003.png", "000004.png"]
    first = next(iter(webdataset.WebDataset(str(tmp_path / "out/000000.tar"), shardshuffle=False)))
    assert (read_label_map(io.BytesIO(first["map.png"])).label_map == 13).all()
    # A kill between writing a shard and removing its files.
    (tmp_path / "out" / "000004.png").write_bytes(second[1]["png"])
    packed = (tmp_path / "out/000001.tar").read_bytes()
    assert running.run(jobs, Maker(Mended(), Store(str(tmp_path / "out"))), InProcess(), shard_size=2).there == 4
    assert files(tmp_path / "out").keys() == {"000000.tar", "000001.tar"}
    assert (tmp_path / "out/000001.tar").read_bytes() == packed
    with pytest.raises(ValueError, match="of another --shards"):
        dummy_batch(jobs, tmp_path / "out", InProcess(), shard_size=3)


def test_an_address_of_fsspec_holds_the_same(undisturbed, monkeypatch):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    monkeypatch.setattr("facemogle.batch.writing.SECONDS", 0.0)
    one_has_a_map = (undisturbed / "jobs.jsonl").read_text().replace("}", ', "label_map": "m.png"}', 1)
    memory.pipe_file("/in/jobs.jsonl", one_has_a_map.encode())
    image = io.BytesIO()
    write_label_map(image, np.full((8, 8), 13))
    memory.pipe_file("/in/m.png", image.getvalue())
    jobs = dummy_jobs("memory://in/jobs.jsonl")
    store = Store("memory://results/out")

    class Killed(Exception):
        pass

    class Dying(InProcess):
        def make(self, maker, jobs, stop):
            for count, entry in enumerate(super().make(maker, jobs, stop)):
                if count == 30:
                    raise Killed
                yield entry

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(running, "write_manifest", lambda *arguments: None)  # as a kill leaves it
        dummy_batch(jobs, store.address, Dying())
    assert len(read_entries(store, store.sizes())) == 30
    outcome = dummy_batch(jobs, store.address, InProcess())
    assert (outcome.there, outcome.made) == (30, 90)
    expected = files(undisturbed / "out")
    found = {name: store.read(name) for name in store.sizes() if name != MANIFEST}
    assert read_settings(io.BytesIO(found.pop("m.png"))).label_map is not None and expected.pop("000001.png")
    assert found == expected
    assert dummy_batch(jobs, store.address, InProcess(), shard_size=60).there == 120
    assert {name for name in store.sizes() if not name.endswith("parquet")} == {"000000.tar", "000001.tar"}


def test_a_ray_cluster_gives_the_same_files(undisturbed, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install -r requirements-scale.txt")
    from facemogle.batch.ray_workers import RayWorkers

    marker = tmp_path / "died"
    given = [{"prompt": "x" * (seed % 7), "seed": seed} for seed in range(12)] + [{"prompt": f"die until {marker}"}]
    jobs = dummy_jobs(listed(tmp_path, given))
    marker.touch()
    dummy_batch(jobs, tmp_path / "alone", InProcess())
    marker.unlink()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_cpus=2, object_store_memory=80 * 2**20, **quiet)
    try:
        assert dummy_batch(jobs, tmp_path / "out", RayWorkers("local", "cpu", 2)).made == 13
    finally:
        ray.shutdown()
    assert marker.exists()  # an actor was killed in the middle
    assert files(tmp_path / "out") == files(tmp_path / "alone") and rows(tmp_path / "out") == rows(tmp_path / "alone")


# The command


def test_the_command_makes_what_generate_makes(tmp_path, capsys, caplog, monkeypatch):
    write_label_map(tmp_path / "7.png", np.arange(19).repeat(4).reshape(1, -1).repeat(40, 0))
    # After another one, so that what came before would show.
    place = listed(tmp_path, [{"prompt": "others"}, {"prompt": "a face", "label_map": "7.png", "seed": 3}])
    command = ["batch", str(place), *TINY, "--size=70x33"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cli.main([*command, f"--out={tmp_path / 'out'}", "--workers=1"]) == 0
    assert "2 pictures made" in capsys.readouterr().out
    assert caplog.text.count("70x33 is not a multiple of 16: making 64x32 instead.") == 1
    with Image.open(tmp_path / "out" / "7.png") as picture:
        assert {(row["width"], row["height"]) for row in rows(tmp_path / "out")} == {picture.size} == {(32, 64)}
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has
    try:
        again = ["generate", f"--from={tmp_path / 'out' / '7.png'}", f"--out={tmp_path / 'again.png'}", *TINY[1:4]]
        assert cli.main(again) == 0
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out" / "7.png").read_bytes()
    capsys.readouterr()
    assert cli.main([*command, f"--out={tmp_path / 'out'}", "--size=64x32"]) == 0  # no process begins
    assert "0 pictures made, 2 were there" in capsys.readouterr().out
    assert cli.main([*command, f"--out={tmp_path / 'out'}", "--guidance-scale=2"]) == 2
    assert "made with guidance_scale 3.5, not 2.0" in capsys.readouterr().err

    (tmp_path / "ids.txt").write_text("7")
    for option, told in ((f"--ids={tmp_path / 'ids.txt'}", "names faces of a data folder"),
                         ("--device=cuda:99", "cuda:99 was asked for, but torch sees")):  # fmt: skip
        assert cli.main([*command, f"--out={tmp_path / 'out'}", option]) == 2 and told in capsys.readouterr().err

    bad = listed(tmp_path, [{"sed": 1}])
    assert cli.main(["batch", str(bad), f"--out={tmp_path / 'new'}"]) == 2 and not (tmp_path / "new").exists()
    told = capsys.readouterr().err
    assert "line 1: there is no setting 'sed'; is seed meant?" in told and "none was begun" in told
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "ink.safetensors").write_bytes(ADAPTER.read_bytes())
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(tmp_path / "ink.safetensors"))
    given = [{"size": "8x8"}, {"loras": "none.safetensors=1"}, {"loras": {str(tmp_path / "ink.safetensors"): 0.5}},
             {"loras": "owner/name/ink.safetensors=1"}]  # fmt: skip
    bad = listed(tmp_path, given)
    assert cli.main([*command, f"--out={tmp_path / 'new'}"]) == 2 and not (tmp_path / "new").exists()
    assert capsys.readouterr().err.splitlines()[-3:] == [
        f"facemogle: {bad}, line 1: Images must be at least 16 pixels a side, got 8x8.",
        f"facemogle: {bad}, line 2: There is no file none.safetensors.",
        "facemogle: 2 jobs cannot be made; none was begun.",
    ]
    listed(tmp_path, [{"prompt": "a"}])
    assert cli.main([*command, f"--out={tmp_path / 'out'}", "--ray=local"]) == 2
    assert "takes ray, which is not installed. Run `pip install -r requirements-scale.txt`" in capsys.readouterr().err


def test_jpeg_and_what_would_depend_on_other_pictures(undisturbed, tmp_path):
    jobs = dummy_jobs(undisturbed / "jobs.jsonl")[:2]
    assert running.run(jobs, Maker(Dummy(), Store(str(tmp_path)), ".jpg"), InProcess()).made == 2
    with Image.open(tmp_path / "000002.jpg") as picture:
        assert picture.format == "JPEG"
    assert read_settings(tmp_path / "000002.jpg").seed == 1
    with pytest.raises(ValueError, match="magnitude learns from the first picture"):
        Model(step_cache="magnitude").check_sizes({(64, 64)})
    with pytest.raises(ValueError, match="the jobs have 2 sizes"):
        Model(preset="fast").check_sizes({(64, 64), (64, 32)})
