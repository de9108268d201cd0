# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from minkowski_perception.recordings.bags import BagReader

pytestmark = pytest.mark.system
TOPIC = "/minkowski_perception/labelled"


def assert_same_bytes(demo, label, count):
    with BagReader(demo / "labelled") as node, BagReader(label / "labelled") as offline:
        pairs = list(
            zip(
                (m for _, m in node.clouds(TOPIC)),
                (m for _, m in offline.clouds(TOPIC)),
                strict=True,
            )
        )

    assert len(pairs) == count
    for online, offline in pairs:
        for name in ("height", "width", "point_step", "row_step", "is_bigendian", "is_dense"):
            assert getattr(online, name) == getattr(offline, name), name
        assert online.header.frame_id == offline.header.frame_id
        assert online.header.stamp.nanosec == offline.header.stamp.nanosec
        assert [(f.name, f.offset, f.datatype, f.count) for f in online.fields] == [
            (f.name, f.offset, f.datatype, f.count) for f in offline.fields
        ]
        assert online.data.tobytes() == offline.data.tobytes()


def test_the_node_and_the_label_command_give_the_same_bytes(demo_run, drive, command, tmp_path):
    labelled = command("label", drive, "--out", tmp_path, "--deterministic")
    assert labelled.returncode == 0, labelled.stderr
    assert_same_bytes(demo_run.out, tmp_path, 6)


def test_they_give_the_same_bytes_with_ego_motion_from_registration(drive, command, tmp_path):
    pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    for name, bag in (("demo", ["--bag", drive]), ("label", [drive])):
        done = command(
            name, *bag, "--out", tmp_path / name, "--ego-motion", "kiss_icp", "--deterministic"
        )
        assert done.returncode == 0, done.stderr
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        assert (summary["ego_motion"], summary["labelled"]) == ("kiss_icp", 6)
        assert "ego motion  kiss_icp: requested" in done.stdout
    assert_same_bytes(tmp_path / "demo", tmp_path / "label", 6)
