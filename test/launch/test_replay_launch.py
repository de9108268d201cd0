# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0

import pytest

pytest.importorskip("launch_pytest", reason="needs launch_pytest, part of ROS 2")

import threading

import launch_pytest
import numpy as np
from launch import LaunchDescription
from launch.actions import Shutdown, TimerAction
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from scene import PATIENCE, installed_launch_file, street, wait_for

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


def activate_once_heard(peer):
    """Configure and activate the node once its publisher and the test's subscription have met.

    Until then the node does not subscribe, and the player waits.
    """
    topic = "/minkowski_perception/labelled"
    subscription = next(s for s in peer.subscriptions if s.topic_name == topic)
    wait_for(lambda: subscription.get_publisher_count() > 0)
    client = peer.create_client(ChangeState, "/minkowski_perception/change_state")
    wait_for(client.service_is_ready)
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        future = client.call_async(request)
        wait_for(future.done)
        assert future.result().success


@launch_pytest.fixture(auto_shutdown=False)
def replay(bag, peer, labelled):
    """Launch the replay, and end it after `PATIENCE` if it does not end itself."""
    threading.Thread(target=activate_once_heard, args=[peer], daemon=True).start()
    return LaunchDescription(
        [
            installed_launch_file(
                "replay.launch.py",
                bag=str(bag),
                rviz="false",
                wait_for_answer="true",
                autostart="false",
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
