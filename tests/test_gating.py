import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from facemogle.gating import (
    EXPERTS,
    GatingRecord,
    coverage,
    entropy,
    inside_outside,
    load_gating,
    locality,
    save_gating,
    winners,
)


@pytest.fixture
def record() -> GatingRecord:
    scores = np.exp(np.random.default_rng(0).normal(size=(4, 2, 20, 3, 5)))
    return GatingRecord(scores / scores.sum(2, keepdims=True), np.array([1000.0, 700, 400, 100]))


@pytest.fixture
def label_map() -> np.ndarray:
    """Skin on the left half, a hair line one pixel wide at the right edge, background between."""
    label_map = np.zeros((64, 96), np.uint8)
    label_map[:, :48] = 1
    label_map[:, -1] = 13
    return label_map


def test_slices(record):
    assert (record.expert_map("hair", step=2, image=1) == record.weights[2, 1, 14]).all()
    assert (record.expert_map(0) == record.weights[:, 0].mean(0)[0]).all()
    assert record.expert_means().shape == (4, 20)
    np.testing.assert_allclose(record.expert_means().sum(1), 1, rtol=1e-5)
    assert EXPERTS[0] == "global" and EXPERTS[19] == "cloth"


def test_slices_out_of_range_name_the_range(record):
    with pytest.raises(IndexError, match="steps 0 to 3, got step 4"):
        record.at(4)
    with pytest.raises(IndexError, match="images 0 to 1, got image -1"):
        record.at(0, image=-1)


def test_wrong_records_are_refused(record):
    with pytest.raises(ValueError, match=r"must be \(steps, images, 20, h, w\)"):
        GatingRecord(record.weights[:, :, :19], record.timesteps)
    with pytest.raises(ValueError, match="One timestep per step"):
        GatingRecord(record.weights, record.timesteps[:3])
    with pytest.raises(ValueError, match="NaN"):
        GatingRecord(np.where(record.weights > 0.2, np.nan, record.weights), record.timesteps)


def test_winners_and_entropy():
    weights = np.full((20, 1, 2), 0.05)
    weights[:, 0, 1] = 0
    weights[[3, 7], 0, 1] = 0.75, 0.25
    expert, lead = winners(weights)
    assert expert[0, 1] == 3
    np.testing.assert_allclose(lead, [[0, 0.5]])
    np.testing.assert_allclose(entropy(weights), [[np.log(20), 0.5623]], atol=1e-4)


def test_coverage_counts_shares(label_map):
    shares = coverage(label_map, 4, 6)
    np.testing.assert_allclose(shares.sum(0), 1)
    assert (shares[1, :, :3] == 1).all() and (shares[1, :, 3:] == 0).all()
    np.testing.assert_allclose(shares[13, :, 5], 1 / 16)
    np.testing.assert_allclose(shares, coverage(label_map.repeat(2, 0).repeat(2, 1), 4, 6))


def test_inside_outside(label_map):
    weights = np.zeros((20, 4, 6))
    weights[2, :, :3], weights[2, :, 3:] = 0.6, 0.2  # the expert of skin
    weights[14] = 0.1  # the expert of hair
    table = inside_outside(weights, label_map)
    np.testing.assert_allclose(table[1], [0.6, 0.2])
    np.testing.assert_allclose(table[13], [0.1, 0.1])
    assert np.isnan(table[14, 0]) and table[14, 1] == 0
    assert np.isnan(inside_outside(weights, np.full((4, 4), 2))[2, 1])


def test_locality_is_inside_outside_of_every_step(record, label_map):
    table = locality(record, label_map, image=1)
    assert table.shape == (4, 19, 2)
    np.testing.assert_array_equal(table, [inside_outside(step, label_map) for step in record.weights[:, 1]])
    assert np.isnan(table[:, 14, 0]).all() and np.isfinite(table[:, [0, 1, 13]]).all()
    with pytest.raises(IndexError, match="images 0 to 1, got image 2"):
        locality(record, label_map, image=2)


def test_written_into_an_open_file(record):
    file = io.BytesIO()
    save_gating(file, record)
    file.seek(0)
    assert (np.load(file)["weights"] == record.weights).all()


def test_file_round_trip_is_exact(record, tmp_path):
    save_gating(tmp_path / "gating.npz", record)
    again = load_gating(tmp_path / "gating.npz")
    assert again.weights.dtype == np.float32
    assert (again.weights == record.weights).all() and (again.timesteps == record.timesteps).all()


def test_bad_files(record, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_gating(tmp_path / "none.npz")
    save_gating(tmp_path / "gating.npz", record)
    whole = (tmp_path / "gating.npz").read_bytes()
    path = tmp_path / "bad.npz"
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:200] + bytes(64) + whole[264:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a gating record") as refused:
            load_gating(path)
        assert "pickle" not in str(refused.value)  # numpy's advice on what is no npz file
    np.savez(path, weights=np.array([{"code": 1}], dtype=object), timesteps=record.timesteps)
    with pytest.raises(ValueError, match="not a gating record"):
        load_gating(path)
    np.savez(path, other=record.weights)
    with pytest.raises(ValueError, match="not a gating record"):
        load_gating(path)
    np.save(tmp_path / "array.npy", record.weights)
    with pytest.raises(ValueError, match="not a gating record"):
        load_gating(tmp_path / "array.npy")


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_unread(tmp_path):
    tracemalloc.start()
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in (("weights", (4000, 8, 20, 64, 64)), ("timesteps", (4000,))):
            with archive.open(f"{name}.npy", "w") as array:
                np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": shape})
                array.write(bytes(2**20))
    with pytest.raises(ValueError, match=r"bomb.npz is not a gating record \(its weights are \(4000, 8, 20, 64, 64\)"):
        load_gating(tmp_path / "bomb.npz")
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
