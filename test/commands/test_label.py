# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from cloud_messages import write_bag

from minkowski_perception.codec import decode, field_values
from minkowski_perception.labelling.topics import LABELLED_TOPIC, MAP_TOPIC
from minkowski_perception.labels import LabelSet
from minkowski_perception.recordings.bags import BagReader

KITTI = LabelSet.load("semantickitti19")


@pytest.mark.system
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/no/such/bag"], "no bag at /no/such/bag"),
        (["BAG", "--topic", "/front"], "choose one of /points (1 messages)"),
        (
            ["BAG", "--model", "gpt"],
            "unknown model 'gpt'; choose one of indoor_depth, outdoor_lidar",
        ),
        (
            ["BAG", "--device", "tpu"],
            "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not 'tpu'",
        ),
        (["BAG", "--engine", "abacus"], "engine must be one of auto, torch, numba"),
        (["BAG", "--engine", "torch", "--precision", "float16"], "choose float32"),
        (["BAG", "--window", "99"], "window must be 0 to 16 frames, not 99"),
        (["BAG", "--true-label-set", "x"], "unknown label set 'x'; choose one of"),
        (["BAG", "--ego-motion", "bag"], "gives no motion of frame 'lidar': the bag has no"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(command, tmp_path, arguments, message):
    bag = write_bag(tmp_path / "bag", number=1, odometry=False)
    arguments = [str(bag) if a == "BAG" else a for a in arguments]
    done = command("label", *arguments, "--out", tmp_path / "out")

    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("minkowski-perception label: ")
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.system
def test_a_recorded_drive_is_scored_in_its_own_label_set(shared_data, command, tmp_path):
    truth = ("--true-label-field", "label", "--true-label-set", "urban10")
    done = command("label", shared_data / "ika_bag_mcap", "--out", tmp_path, *truth)

    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["received"], summary["labelled"], summary["dropped"]) == (32, 32, {})
    assert {"frames_per_second", "latency_ms", "label_shares", "miou"} <= set(summary)
    assert "road" in summary["iou"]
    with BagReader(tmp_path / "labelled") as bag:
        assert bag.cloud_topics() == {LABELLED_TOPIC: 32}


@pytest.mark.system
def test_a_bag_of_ros_1_is_labelled_too(shared_data, command, tmp_path):
    done = command("label", shared_data / "moveit_depthcam_bag", "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["received"], summary["labelled"]) == (1, 1)


@pytest.mark.system
def test_the_map_is_written_to_a_ply_file_and_to_the_end_of_the_bag(drive, command, tmp_path):
    pytest.importorskip("trimesh", reason="needs trimesh to read PLY files")
    from minkowski_perception.lab.datasets.ply import read_cloud

    ply = tmp_path / "new" / "map.ply"
    done = command("label", drive, "--out", tmp_path, "--map", ply, "--map-range", 30, "--report")

    assert done.returncode == 0, done.stderr
    report = tmp_path / "report.html"
    assert done.stdout.splitlines()[-2:] == [str(ply), f"open in a browser: {report}"]
    assert "6 received = 6 labelled + 0 dropped + 0 pending" in report.read_text()
    assert f"Map: {len(read_cloud(ply).points):,} of" in report.read_text()
    with BagReader(tmp_path / "labelled") as bag:
        assert bag.cloud_topics() == {LABELLED_TOPIC: 6, MAP_TOPIC: 1}
        [(when, message)] = bag.clouds(MAP_TOPIC)
        *_, (last, _) = bag.clouds(LABELLED_TOPIC)
        poses = bag_poses(drive)
    assert when == last
    assert message.header.frame_id == "odom"
    names = [field.name for field in message.fields]
    assert names == ["x", "y", "z", "label", "confidence", "moving", "age", "rgb"]
    recorded, written = decode(message, label_field="label"), read_cloud(ply)
    np.testing.assert_allclose(written.points, recorded.points)
    np.testing.assert_array_equal(written.labels, recorded.labels)
    np.testing.assert_array_equal(written.colour, KITTI.palette[recorded.labels])
    np.testing.assert_array_equal(recorded.colour, KITTI.shown_palette[recorded.labels])
    assert len(recorded) > 1000
    moving = field_values(message, "moving")
    assert np.isfinite(moving).any()
    assert not (moving > 0.5).any()
    unknown = np.isin(recorded.labels, KITTI.movable_ids) & np.isnan(moving)
    assert not unknown.any()
    assert np.linalg.norm(recorded.points - poses[-1][:3, 3], axis=1).max() < 31
    header = ply.read_bytes().split(b"end_header")[0].decode()
    assert "property float moving\nproperty float age\nproperty uchar red" in header


def bag_poses(path):
    with BagReader(path) as bag:
        return [pose for _, pose in bag.poses("lidar")]
