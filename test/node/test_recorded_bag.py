# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""System test of the node, in its own process, with a recorded drive over DDS."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
pytest.importorskip("rosbags", reason="bags need the rosbags package")

from rig import Rig, odometry_message

from minkowski_perception.codec import decode
from minkowski_perception.labels import LabelSet
from minkowski_perception.recordings.bags import BagReader

pytestmark = pytest.mark.system


def test_all_clouds_of_a_recorded_drive_are_labelled(shared_data, tmp_path):
    path = shared_data / "ika_bag_mcap"
    if not path.is_dir():
        pytest.skip(f"no recording at {path}")
    with BagReader(path) as bag:
        sent = [message for _, message in bag.clouds("/points")]
        serialised = [cdr for *_, cdr in bag.raw(["/points"])]
        poses = dict(bag.poses("velodyne"))
    assert len(sent) == 32

    with closing(
        Rig(tmp_path / "node.log", ego_motion="odometry", ego_motion_timeout=10.0)
    ) as rig:
        rig.ready().wait_for(lambda: rig.odometry.get_subscription_count() > 0)
        for i, (message, cdr) in enumerate(zip(sent, serialised, strict=True), start=1):
            frame = decode(message)
            rig.odometry.publish(odometry_message(replace(frame, pose=poses[frame.stamp])))
            rig.clouds.publish(cdr)  # the bytes of the bag, as a player sends them
            rig.wait_for(lambda expected=i: len(rig.labelled) == expected)
        values = rig.fresh_values()
        assert rig.stop() == 0

    assert (values["received"], values["labelled"], values["dropped"]) == ("32", "32", "0")
    for before, after in zip(sent, rig.labelled, strict=True):
        stamp = before.header.stamp
        assert (after.header.stamp.sec, after.header.stamp.nanosec) == (stamp.sec, stamp.nanosec)
        assert after.header.frame_id == "velodyne"
        assert (after.height, after.width) == (before.height, before.width)
        names = [f.name for f in after.fields]
        assert names[:5] == ["x", "y", "z", "intensity", "input_label"]
        assert names[5:] == ["label", "confidence", "rgb", "moving"]
        rows = np.frombuffer(after.data, np.uint8).reshape(-1, after.point_step)
        np.testing.assert_array_equal(
            rows[:, : before.point_step], before.data.reshape(-1, before.point_step)
        )
        labels = decode(after, label_field="label").labels
        assert (labels < len(LabelSet.load("semantickitti19"))).all()
