# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("trimesh", reason="PLY files are read with trimesh")

from plain_ply import coloured, write_ply

from minkowski_perception.lab.datasets.catalogue import DatasetError, open_dataset

POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 2.5]], "f4")
COLOUR = np.array([[10, 20, 30], [40, 50, 60], [255, 255, 255]], "u1")
ALPHA = np.full(3, 255, "u1")


def write_scene(folder, name, nyu40=None):
    mesh = folder / name / f"{name}_vh_clean_2.ply"
    columns = coloured(POINTS, COLOUR, alpha=ALPHA)
    write_ply(mesh, triangle=True, **columns)
    write_ply(mesh.with_name(f"{name}_vh_clean.ply"), **coloured(POINTS[:1], COLOUR[:1]))
    if nyu40 is not None:
        labels = {"label": np.array(nyu40, "u2")}
        path = mesh.with_name(f"{name}_vh_clean_2.labels.ply")
        write_ply(path, triangle=True, **columns, **labels)
    return mesh


@pytest.fixture
def root(tmp_path):
    write_scene(tmp_path / "scans", "scene0000_00", [1, 2, 39])
    write_scene(tmp_path / "scans", "scene0270_00", [5, 50, 13])  # 50 is invalid
    write_scene(tmp_path / "scans_test", "scene0707_00")
    for split, scenes in {"train": ["scene0000_00"], "val": ["scene0270_00"]}.items():
        (tmp_path / f"scannetv2_{split}.txt").write_text("\n".join(scenes) + "\n")
    return tmp_path


def test_each_scene_is_a_sequence_of_one_coloured_frame(root):
    dataset = open_dataset("scannet", root)
    assert list(dataset.sequences) == ["scene0000_00", "scene0270_00", "scene0707_00"]
    (frame,) = dataset.sequences["scene0000_00"]
    np.testing.assert_array_equal(frame.points, POINTS)
    np.testing.assert_array_equal(frame.colour, COLOUR)
    np.testing.assert_array_equal(frame.pose, np.eye(4))
    names = dataset.label_set.names
    assert [names[i] for i in frame.labels] == ["wall", "floor", "other-furniture"]
    assert dataset.sequences["scene0707_00"][0].labels is None
    assert dataset.intensity_full_scale is None


def test_invalid_ids_are_unlabelled(root):
    (frame,) = open_dataset("scannet", root).sequences["scene0270_00"]
    assert frame.labels.tolist() == [4, 255, 255]  # chair, invalid id, ignored class


def test_splits_follow_the_lists_of_the_benchmark(root):
    assert list(open_dataset("scannet", root, "val").sequences) == ["scene0270_00"]
    with pytest.raises(
        DatasetError, match=r"'test' needs the benchmark's list .*scannetv2_test.txt"
    ):
        open_dataset("scannet", root, "test")
    with pytest.raises(DatasetError, match="unknown split 'all'; choose one of train, val, test"):
        open_dataset("scannet", root, "all")


def test_labels_of_another_mesh_are_refused(root):
    path = root / "scans/scene0000_00/scene0000_00_vh_clean_2.labels.ply"
    write_ply(path, **coloured(POINTS[:2], COLOUR[:2], label=np.ones(2, "u2")))
    with pytest.raises(DatasetError, match=r"labels.ply has 2 labels, but the scan has 3 points"):
        open_dataset("scannet", root).sequences["scene0000_00"][0]


def test_a_wrong_folder_is_refused_with_the_expected_files(tmp_path):
    (tmp_path / "tasks").mkdir()
    with pytest.raises(DatasetError, match=r"expected scans/S/S_vh_clean_2.ply, but .* tasks"):
        open_dataset("scannet", tmp_path)
