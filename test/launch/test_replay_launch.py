# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0

import pytest

pytest.importorskip("launch_pytest", reason="needs launch_pytest, part of ROS 2")

import launch_pytest
import numpy as np
from launch import LaunchDescription
from launch.actions import Shutdown, TimerAction
from scene import PATIENCE, installed_launch_file, street

from minkowski_perception.codec import encode_frame
from minkowski_perception.recordings.bags import BagWriter

pytestmark = pytest.mark.system

STAMPS = [10**18 + i * 10**8 for i in range(6)]


@pytest.fixture
def bag(tmp_path):
    """Return a bag of a drive at 5 m/s, with odometry."""
    path = tmp_path / "drive"
    with BagWriter(path) as writer:
        for i, stamp in enumerate(STAMPS):
            pose = np.eye(4)
            pose[0, 3] = 0.5 * i
            writer.write_odometry("/odom", stamp, pose, "odom", "lidar")
            writer.write_cloud("/points", encode_frame(street(1000 + i, stamp)), stamp, "lidar")
    return path


@launch_pytest.fixture(auto_shutdown=False)
def replay(bag, labelled):
    """Launch the replay, and end it after `PATIENCE` if it does not end itself."""
    return LaunchDescription(
        [
            installed_launch_file(
                "replay.launch.py", bag=str(bag), rviz="false", wait_for_answer="true"
            ),
            TimerAction(period=PATIENCE, actions=[Shutdown(reason="the replay did not end")]),
        ]
    )


@pytest.mark.launch(fixture=replay, shutdown=True)
def test_every_cloud_of_a_bag_is_labelled_and_the_launch_ends(labelled):
    stamps = [c.header.stamp.sec * 10**9 + c.header.stamp.nanosec for c in labelled]
    assert stamps == STAMPS
    assert [c.width * c.height for c in labelled] == [1000 + i for i in range(len(STAMPS))]
    for cloud in labelled:
        assert cloud.header.frame_id == "lidar"
        assert {field.name for field in cloud.fields} >= {"x", "y", "z", "label", "confidence"}
