# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import struct

import numpy as np
import pytest

from minkowski_perception.lab.datasets.catalogue import DatasetError, open_dataset

SCENES = ("scene-0061", "scene-0103", "scene-0553")
POINTS = [(1.0, 2.0, 3.0, 40.0, 7.0), (4.0, 5.0, 6.0, 255.0, 8.0), (0.0, 9.0, -1.5, 0.0, 0.0)]
LIDARSEG = bytes([24, 17, 31])  # driveable surface, car, ego vehicle
HALF = 0.5**0.5


def write(root, version="v1.0-mini", scenes=SCENES, *, labelled=True):
    """Write two key frames per scene, and other rows: sweeps and another sensor."""
    tables = {
        "sensor": [
            {"token": "s0", "channel": "LIDAR_TOP", "modality": "lidar"},
            {"token": "s1", "channel": "CAM_FRONT", "modality": "camera"},
        ],
        "calibrated_sensor": [
            # The LiDAR is rotated to the left by 90 degrees, 2 m up.
            {
                "token": "c0",
                "sensor_token": "s0",
                "translation": [0.5, 0, 2],
                "rotation": [HALF, 0, 0, HALF],
            },
            {
                "token": "c1",
                "sensor_token": "s1",
                "translation": [1, 0, 1],
                "rotation": [1, 0, 0, 0],
            },
        ],
        **{name: [] for name in ("scene", "sample", "sample_data", "ego_pose", "lidarseg")},
    }
    (root / "samples/LIDAR_TOP").mkdir(parents=True, exist_ok=True)
    (root / "lidarseg" / version).mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        tables["scene"].append({"token": f"t-{scene}", "name": scene})
        for i in (1, 0):  # not in time order
            sample, key = f"{scene}-{i}", f"{scene}-{i}-key"
            tables["sample"].append({"token": sample, "scene_token": f"t-{scene}"})
            for token, sensor, is_key in (
                (key, 0, True),
                (f"{key}w", 0, False),
                (f"c{key}", 1, 1),
            ):
                tables["ego_pose"].append(
                    {
                        "token": f"e{token}",
                        "translation": [10 * i, 20, 0],
                        "rotation": [1, 0, 0, 0],
                        "timestamp": 0,
                    }
                )
                tables["sample_data"].append(
                    {
                        "token": token,
                        "sample_token": sample,
                        "ego_pose_token": f"e{token}",
                        "calibrated_sensor_token": f"c{sensor}",
                        "filename": f"samples/LIDAR_TOP/{key}.pcd.bin",
                        "is_key_frame": bool(is_key),
                        "timestamp": 1532402927647951 + i * 500_000,
                    }
                )
            scan = root / "samples/LIDAR_TOP" / f"{key}.pcd.bin"
            scan.write_bytes(b"".join(struct.pack("<5f", *p) for p in POINTS))
            if labelled:
                file = f"lidarseg/{version}/{key}_lidarseg.bin"
                (root / file).write_bytes(LIDARSEG)
                tables["lidarseg"].append(
                    {"token": key, "sample_data_token": key, "filename": file}
                )
    if not labelled:
        del tables["lidarseg"]
    (root / version).mkdir()
    for name, rows in tables.items():
        (root / version / f"{name}.json").write_text(json.dumps(rows))
    return root


def test_labelled_key_frames_are_grouped_by_scene_in_time_order(tmp_path):
    dataset = open_dataset("nuscenes", write(tmp_path))
    lengths = {name: len(frames) for name, frames in dataset.sequences.items()}
    assert lengths == dict.fromkeys(SCENES, 2)
    first, second = dataset.sequences["scene-0103"]
    assert second.stamp - first.stamp == 500_000_000
    assert first.stamp == 1532402927647951000
    np.testing.assert_array_equal(first.points, np.array(POINTS)[:, :3])
    assert (first.intensity.tolist(), dataset.intensity_full_scale) == ([40, 255, 0], 255)
    names = dataset.label_set.names
    assert [names[i] for i in first.labels[:2]] == ["driveable-surface", "car"]
    assert first.labels[2] == 255


def test_the_reduced_classes_are_read_from_the_same_files(tmp_path):
    dataset = open_dataset("nuscenes11", write(tmp_path))
    frame = dataset.sequences["scene-0061"][0]
    assert [dataset.label_set.names[i] for i in frame.labels[:2]] == ["road", "car"]


def test_poses_combine_mount_and_ego_pose(tmp_path):
    pose = open_dataset("nuscenes", write(tmp_path)).sequences["scene-0061"][1].pose
    # A point 1 m along the sensor's x is 1 m left of the car, which looks along the world's x.
    np.testing.assert_allclose(pose @ [1, 0, 0, 1], [10.5, 21, 2, 1], atol=1e-12)


def test_splits_are_the_official_ones(tmp_path):
    write(tmp_path)
    write(tmp_path, "v1.0-trainval", ("scene-0002", "scene-0003", "scene-1073", "scene-1074"))
    chosen = {
        split: list(open_dataset("nuscenes", tmp_path, split).sequences)
        for split in ("train", "val", "mini_train", "mini_val")
    }
    assert chosen == {
        "train": ["scene-0002", "scene-1074"],
        "val": ["scene-0003", "scene-1073"],
        "mini_train": ["scene-0061", "scene-0553"],
        "mini_val": ["scene-0103"],
    }
    with pytest.raises(DatasetError, match=r"v1.0-mini, v1.0-trainval: choose one by a split"):
        open_dataset("nuscenes", tmp_path)
    with pytest.raises(DatasetError, match=r"'test' needs v1.0-test, but .* v1.0-mini"):
        open_dataset("nuscenes", tmp_path, "test")
    with pytest.raises(
        DatasetError, match="unknown split 'all'; choose one of mini_train, mini_val"
    ):
        open_dataset("nuscenes", tmp_path, "all")


def test_the_official_validation_split_has_150_scenes():
    from minkowski_perception.lab.datasets.nuscenes import _VAL

    assert sum(last - first + 1 for first, last in _VAL) == 150


def test_frames_without_lidarseg_have_no_labels(tmp_path):
    frame = open_dataset("nuscenes", write(tmp_path, labelled=False)).sequences["scene-0061"][0]
    assert frame.labels is None


def test_missing_or_damaged_files_are_named_in_the_error(tmp_path):
    frames = open_dataset("nuscenes", write(tmp_path)).sequences["scene-0061"]
    (tmp_path / "lidarseg/v1.0-mini/scene-0061-0-key_lidarseg.bin").write_bytes(b"1")
    with pytest.raises(DatasetError, match=r"0-key_lidarseg.bin has 1 points, but the scan has 3"):
        frames[0]
    (tmp_path / "samples/LIDAR_TOP/scene-0061-1-key.pcd.bin").unlink()
    with pytest.raises(DatasetError, match=r"no .*0061-1-key.pcd.bin: .*LIDAR_TOP contains scene"):
        frames[1]
    table = tmp_path / "v1.0-mini/sample.json"
    whole = table.read_text()
    table.write_text("[]")
    with pytest.raises(
        DatasetError, match=r"tables of .*v1.0-mini refer to 'scene-0061-1', which is missing"
    ):
        open_dataset("nuscenes", tmp_path)
    table.write_text(whole[:-5])
    with pytest.raises(DatasetError, match=r"cannot read .*sample.json"):
        open_dataset("nuscenes", tmp_path)
    table.unlink()
    with pytest.raises(DatasetError, match=r"cannot read .*sample.json: FileNotFoundError"):
        open_dataset("nuscenes", tmp_path)


def test_a_wrong_folder_is_refused_with_the_expected_files(tmp_path):
    (tmp_path / "maps").mkdir()
    with pytest.raises(DatasetError, match=r"expected .*bin or v1.0-\*/scene.json, but .* maps"):
        open_dataset("nuscenes", tmp_path)
