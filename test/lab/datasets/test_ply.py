# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("trimesh", reason="PLY files are read with trimesh")

from plain_ply import coloured, write_ply

from minkowski_perception.lab.datasets.ply import read_cloud
from minkowski_perception.lab.datasets.reading import DatasetError

POINTS = [[0.5, 1, -2], [3, 4, 5], [-6, 7, 8]]
COLOUR = [[255, 0, 7], [1, 2, 3], [9, 128, 200]]


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("triangle", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2", "i4"])
def test_a_cloud_is_read_from_any_format_and_other_elements_are_ignored(
    tmp_path, text, triangle, kind
):
    labels = np.array([0, 40, 149], kind)
    columns = coloured(POINTS, COLOUR, alpha=np.full(3, 255, "u1"), label=labels)
    cloud = read_cloud(write_ply(tmp_path / "a.ply", text=text, triangle=triangle, **columns))
    np.testing.assert_array_equal(cloud.points, np.array(POINTS, "f4"))
    np.testing.assert_array_equal(cloud.colour, COLOUR)
    assert cloud.labels.tolist() == [0, 40, 149]
    assert (cloud.points.dtype, cloud.colour.dtype) == (np.float32, np.uint8)


def test_short_property_names_are_accepted_and_labels_are_optional(tmp_path):
    columns = {"x": np.ones(2), "y": np.ones(2), "z": np.array([2.0, 3])}
    columns |= {name: np.array([i, 9], "u1") for i, name in enumerate("rgb")}
    cloud = read_cloud(write_ply(tmp_path / "a.ply", **columns))
    assert cloud.labels is None
    assert cloud.colour.tolist() == [[0, 1, 2], [9, 9, 9]]
    labelled = write_ply(tmp_path / "b.ply", **columns, l=np.array([3, 12], "u1"))
    assert read_cloud(labelled).labels.tolist() == [3, 12]


def test_missing_or_damaged_files_are_named_in_the_error(tmp_path):
    with pytest.raises(DatasetError, match=r"no .*a\.ply: .* contains nothing"):
        read_cloud(tmp_path / "a.ply")
    path = write_ply(tmp_path / "a.ply", **coloured(POINTS, COLOUR))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DatasetError, match=r"cannot read .*a\.ply: .*unexpected length"):
        read_cloud(path)
    path.write_bytes(b"hello")
    with pytest.raises(DatasetError, match=r"cannot read .*a\.ply"):
        read_cloud(path)
    path = write_ply(tmp_path / "b.ply", x=np.ones(2), y=np.ones(2), z=np.ones(2))
    with pytest.raises(DatasetError, match=r"b\.ply lacks property 'red'; it has x, y, z"):
        read_cloud(path)
