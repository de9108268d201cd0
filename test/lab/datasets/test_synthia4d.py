# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("trimesh", reason="PLY files are read with trimesh")

from plain_ply import coloured, write_ply

from minkowski_perception.lab.datasets.catalogue import DatasetError, open_dataset

POINTS = np.array([[100, 200, -500], [0, -150, -1000], [5, 5, 5]], "f4")  # centimetres, y up
COLOUR = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], "u1")
IDS = np.array([2, 3, 1], "u1")  # building, road, sky
TURN = Rotation.from_euler("yxz", [30, 5, -3], degrees=True).as_matrix()


def extrinsics(frame):
    """Return world to camera in Synthia's format: left-handed, transposed, translation last."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([-1, 1, 1]) @ TURN
    matrix[3, :3] = [2.0 * frame, 0.5, -7]
    return " ".join(repr(float(v)) for v in matrix.ravel())


@pytest.fixture
def root(tmp_path):
    for sequence in ("SYNTHIA-SEQS-01-DAWN", "SYNTHIA-SEQS-05-FOG"):
        for frame in (0, 1, 12):
            path = tmp_path / sequence / "ply" / f"{frame:06d}.ply"
            write_ply(path, **coloured(POINTS, COLOUR, label=IDS))
            camera = tmp_path / sequence / "CameraParams/Stereo_Right/Omni_F"
            camera.mkdir(parents=True, exist_ok=True)
            (camera / f"{frame:06d}.txt").write_text(extrinsics(frame))
    lines = "SYNTHIA-SEQS-05-FOG/ply/000012.ply 3\nSYNTHIA-SEQS-05-FOG/ply/000001.ply 3\n"
    (tmp_path / "val_raw_difficult.txt").write_text(lines)
    return tmp_path


def test_frames_are_in_metres_at_5_hz(root):
    dataset = open_dataset("synthia4d", root)
    assert {name: len(s) for name, s in dataset.sequences.items()} == {
        "SYNTHIA-SEQS-01-DAWN": 3,
        "SYNTHIA-SEQS-05-FOG": 3,
    }
    first, second, last = dataset.sequences["SYNTHIA-SEQS-01-DAWN"]
    np.testing.assert_allclose(first.points, POINTS / 100, rtol=1e-6)
    np.testing.assert_array_equal(first.colour, COLOUR)
    names = dataset.label_set.names
    assert [names[i] if i < 255 else None for i in first.labels] == ["building", "road", None]
    assert (second.stamp - first.stamp, last.stamp - first.stamp) == (200_000_000, 2_400_000_000)


def test_poses_equal_those_of_spatio_temporal_segmentation(root):
    frame = open_dataset("synthia4d", root).sequences["SYNTHIA-SEQS-05-FOG"][1]
    # The steps of its load_world_pointcloud, in centimetres.
    camera = POINTS.astype(float) * [1, -1, -1]
    world = (TURN.T @ camera.T - 100 * np.array([[2.0], [0.5], [-7]])).T * [1, -1, -1]
    np.testing.assert_allclose(
        frame.points @ frame.pose[:3, :3].T + frame.pose[:3, 3], world / 100, atol=1e-5
    )
    assert np.linalg.det(frame.pose[:3, :3]) == pytest.approx(1)


def test_a_split_selects_the_listed_frames(root):
    ((name, frames),) = open_dataset("synthia4d", root, "val").sequences.items()
    assert (name, [f.stamp // 200_000_000 for f in frames]) == ("SYNTHIA-SEQS-05-FOG", [6, 17])
    with pytest.raises(DatasetError, match=r"split 'test' needs .*test_raw_difficult.txt: .*val_"):
        open_dataset("synthia4d", root, "test")
    with pytest.raises(DatasetError, match="unknown split 'all'; choose one of train, val, test"):
        open_dataset("synthia4d", root, "all")


def test_a_missing_camera_gives_no_pose_and_a_damaged_one_is_refused(root):
    frames = open_dataset("synthia4d", root).sequences["SYNTHIA-SEQS-01-DAWN"]
    camera = root / "SYNTHIA-SEQS-01-DAWN/CameraParams/Stereo_Right/Omni_F/000001.txt"
    camera.write_text("1 2 3")
    with pytest.raises(DatasetError, match=r"000001\.txt must have 16 numbers"):
        frames[1]
    camera.unlink()
    assert frames[1].pose is None


def test_a_cloud_without_labels_or_frame_number_is_refused(root):
    frames = open_dataset("synthia4d", root).sequences["SYNTHIA-SEQS-01-DAWN"]
    folder = root / "SYNTHIA-SEQS-01-DAWN/ply"
    write_ply(folder / "000000.ply", **coloured(POINTS, COLOUR))
    with pytest.raises(DatasetError, match=r"000000\.ply lacks property 'label'"):
        frames[0]
    write_ply(folder / "first.ply", **coloured(POINTS, COLOUR, label=IDS))
    frames = open_dataset("synthia4d", root).sequences["SYNTHIA-SEQS-01-DAWN"]
    with pytest.raises(DatasetError, match=r"first\.ply: the name of a frame must be its number"):
        frames[3]


def test_a_wrong_folder_is_refused_with_the_expected_files(tmp_path):
    (tmp_path / "RGB").mkdir()
    with pytest.raises(DatasetError, match=r"expected SEQ/FOLDER/NNNNNN.ply, but .* RGB"):
        open_dataset("synthia4d", tmp_path)
