# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from minkowski_perception.labelling.topics import MAP_TOPIC
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


def last_map(out):
    with BagReader(out / "labelled") as bag:
        *_, (_, message) = bag.clouds(MAP_TOPIC)
    return message


def test_the_node_and_the_label_command_give_the_same_bytes(demo_run, drive, command, tmp_path):
    ply = tmp_path / "map.ply"
    labelled = command("label", drive, "--out", tmp_path, "--deterministic", "--map", ply)
    assert labelled.returncode == 0, labelled.stderr
    assert_same_bytes(demo_run.out, tmp_path, 6)
    online, offline = (last_map(out) for out in (demo_run.out, tmp_path))
    assert online.header.frame_id == offline.header.frame_id == "odom"
    assert online.header.stamp.nanosec == offline.header.stamp.nanosec
    assert online.width > 1000
    assert online.data.tobytes() == offline.data.tobytes()


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
