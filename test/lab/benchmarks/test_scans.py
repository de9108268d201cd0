# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from minkowski_perception.lab.benchmarks import BenchmarkError
from minkowski_perception.lab.benchmarks.scans import BEAMS, recorded_scan, simulated_scan


def test_a_recorded_scan_is_voxelized(tmp_path):
    points = np.array([[1.02, -0.01, 0.0, 0.5], [1.04, -0.02, 0.01, 0.9], [-7, 0, 2, 0.1]], "<f4")
    path = tmp_path / "scan.bin"
    path.write_bytes(points.tobytes())
    scan = recorded_scan(path)
    assert (scan.name, scan.points) == (str(path), 3)
    assert scan.coordinates.tolist() == [[0, -140, 0, 40], [0, 20, -1, 0]]
    torch.testing.assert_close(scan.features, torch.from_numpy(points[[2, 0]]))


@pytest.mark.parametrize("size", [0, 20])
def test_a_file_of_the_wrong_size_is_refused(tmp_path, size):
    path = tmp_path / "scan.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(BenchmarkError, match=f"has {size} bytes, not 16 per point"):
        recorded_scan(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BenchmarkError, match=r"cannot read scan .*none\.bin: No such file"):
        recorded_scan(tmp_path / "none.bin")


def test_a_simulated_lidar_has_about_as_many_points_as_the_real_one():
    pytest.importorskip("open3d", reason="needs open3d to simulate clouds")
    scan = simulated_scan(64)
    assert 110_000 < scan.points < 64 * 2083
    assert 0.5 * scan.points < len(scan.coordinates) < scan.points
    assert scan.coordinates.shape[1] == 4
    assert scan.features[:, 3].min() >= 0.0
    assert scan.features[:, 3].max() <= 1.0


def test_consecutive_scans_overlap():
    pytest.importorskip("open3d", reason="needs open3d to simulate clouds")
    scan = simulated_scan(16, frames=2, voxel_size=0.4)
    times = scan.coordinates[:, 4]
    assert times.unique().tolist() == [0, 1]
    first, second = (set(map(tuple, scan.coordinates[times == t, :4].tolist())) for t in (0, 1))
    assert len(first & second) > 0.3 * len(first)  # the car moves by 0.8 m in between


def test_unknown_beams_are_refused_with_the_valid_ones():
    with pytest.raises(BenchmarkError, match=f"one of {', '.join(map(str, BEAMS))}, not 3"):
        simulated_scan(3)
