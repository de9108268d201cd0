# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.recordings.ply_writer import write_ply

COLUMNS = {
    "x": np.array([0.1, 1e6 + 0.125, -3.0]),
    "y": np.array([1.0, 2.0, 3.0]),
    "z": np.array([4.0, 5.0, 6.0]),
    "label": np.array([0, 7, 255], np.uint8),
    "moving": np.array([0.5, np.nan, 0.25], np.float32),
    "rgb": np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8),
}


def test_the_header_describes_the_rows(tmp_path):
    write_ply(tmp_path / "new" / "a.ply", COLUMNS)
    header, body = (tmp_path / "new" / "a.ply").read_bytes().split(b"end_header\n")
    assert header.decode().splitlines() == [
        "ply",
        "format binary_little_endian 1.0",
        "element vertex 3",
        *(f"property double {axis}" for axis in "xyz"),
        "property uchar label",
        "property float moving",
        *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
    ]
    kinds = ["<f8"] * 3 + ["u1", "<f4"] + ["u1"] * 3
    rows = np.frombuffer(body, ",".join(kinds))
    written = [*list(COLUMNS.values())[:-1], *COLUMNS["rgb"].T]
    for name, column in zip(rows.dtype.names, written, strict=True):
        np.testing.assert_array_equal(rows[name], column)


@pytest.mark.parametrize("count", [0, 3])
def test_the_reader_of_data_sets_reads_the_file(tmp_path, count):
    pytest.importorskip("trimesh", reason="needs trimesh to read PLY files")
    from minkowski_perception.lab.datasets.ply import read_cloud

    write_ply(tmp_path / "a.ply", {name: column[:count] for name, column in COLUMNS.items()})
    cloud = read_cloud(tmp_path / "a.ply")
    np.testing.assert_allclose(cloud.points[:, 0], COLUMNS["x"][:count], rtol=1e-7)
    np.testing.assert_array_equal(cloud.colour, COLUMNS["rgb"][:count])
    np.testing.assert_array_equal(cloud.labels, COLUMNS["label"][:count])
