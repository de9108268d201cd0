# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import shutil

import numpy as np
import pytest

from minkowski_perception.lab.datasets.catalogue import DatasetError, open_dataset

SCANS = "os1_cloud_node_kitti_bin"
LABELS = "os1_cloud_node_semantickitti_label_id"
POINTS = np.array([[1, 2, 3, 0.01], [0, 0, 0, 0], [4, 5, 6, 0.002]], "<f4")
IDS = np.array([3, 0, 17], "<u4")  # grass, void, person


@pytest.fixture
def root(tmp_path):
    """Two sequences of three frames; the robot goes 2 m a frame along x."""
    for sequence in ("00000", "00004"):
        for kind, suffix, data in ((SCANS, "bin", POINTS), (LABELS, "label", IDS)):
            folder = tmp_path / sequence / kind
            folder.mkdir(parents=True)
            for i in range(3):
                (folder / f"{i:06d}.{suffix}").write_bytes(data.tobytes())
        poses = [f"1 0 0 {2 * i} 0 1 0 0 0 0 1 0" for i in range(3)]
        (tmp_path / sequence / "poses.txt").write_text("\n".join(poses))
        (tmp_path / sequence / "calib.txt").write_text("P0: 1\nTr: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    frames = {"train": [("00000", 0), ("00004", 2)], "val": [("00004", 1)]}
    for split, named in frames.items():
        lines = [f"{s}/{SCANS}/{i:06d}.bin {s}/{LABELS}/{i:06d}.label\n" for s, i in named]
        (tmp_path / f"pt_{split}.lst").write_text("".join(lines))
    return tmp_path


def test_frames_have_labels_and_poses_and_rays_without_a_return_are_nan(root):
    dataset = open_dataset("rellis3d", root)
    assert {n: len(s) for n, s in dataset.sequences.items()} == {"00000": 3, "00004": 3}
    frame = dataset.sequences["00000"][1]
    np.testing.assert_array_equal(frame.points[[0, 2]], POINTS[[0, 2], :3])
    assert frame.valid.tolist() == [True, False, True]
    names = dataset.label_set.names
    assert [names[i] if i < 255 else None for i in frame.labels] == ["terrain", None, "person"]
    assert frame.pose[:3, 3].tolist() == [2, 0, 0]


def test_a_split_selects_frames(root):
    train = open_dataset("rellis3d", root, "train").sequences
    assert {name: [f.pose[0, 3] for f in s] for name, s in train.items()} == {
        "00000": [0],
        "00004": [4],
    }
    assert [f.pose[0, 3] for f in open_dataset("rellis3d", root, "val").sequences["00004"]] == [2]


def test_the_parent_folder_is_accepted_as_root(root, tmp_path_factory):
    above = tmp_path_factory.mktemp("above")
    shutil.copytree(root, above / "Rellis-3D")
    assert list(open_dataset("rellis3d", above, "val").sequences) == ["00004"]


def test_an_unknown_or_incomplete_split_is_refused(root):
    with pytest.raises(DatasetError, match="unknown split 'all'; choose one of train, val, test"):
        open_dataset("rellis3d", root, "all")
    with pytest.raises(DatasetError, match=r"split 'test' needs .*pt_test.lst: .*pt_train.lst"):
        open_dataset("rellis3d", root, "test")
    (root / "00004" / SCANS / "000001.bin").unlink()
    (root / "00004" / "poses.txt").unlink()
    with pytest.raises(DatasetError, match=rf"00004/{SCANS}/000001.bin, which is missing"):
        open_dataset("rellis3d", root, "val")
    shutil.rmtree(root / "00004")
    with pytest.raises(DatasetError, match=r"lists sequence 00004, but .* contains 00000, pt_"):
        open_dataset("rellis3d", root, "val")


def test_a_wrong_folder_is_refused_with_the_expected_files(tmp_path):
    (tmp_path / "000104.bin").write_bytes(b"")
    with pytest.raises(DatasetError, match=rf"expected .*S/{SCANS}/\*.bin, but .* 000104.bin"):
        open_dataset("rellis3d", tmp_path)


def test_the_real_example_has_terrain_vegetation_and_a_person(shared_data):
    dataset = open_dataset("rellis3d", shared_data / "rellis3d")
    ((frame,),) = dataset.sequences.values()
    assert (len(frame), frame.valid.sum()) == (131_072, 77_708)
    names = dataset.label_set.names
    there = {names[i] for i in np.unique(frame.labels) if i < len(names)}
    assert there == {"terrain", "other-ground", "paved", "vegetation", "fence", "person"}
    terrain = frame.labels == names.index("terrain")
    assert np.median(frame.points[terrain, 2]) < -0.8
