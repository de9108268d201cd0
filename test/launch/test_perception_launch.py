# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0

import os

import pytest

pytest.importorskip("launch_pytest", reason="needs launch_pytest, part of ROS 2")

import launch_pytest
from geometry_msgs.msg import TransformStamped
from launch import LaunchContext, LaunchDescription
from scene import installed_launch_file, street, wait_for
from sensor_msgs.msg import PointCloud2, PointField

from minkowski_perception.codec import decode, encode_frame, fill_message
from minkowski_perception.node.fast_dds import profile_variables

pytestmark = pytest.mark.system


@launch_pytest.fixture
def live(tmp_path):
    """Launch the node with a parameter file whose values the arguments must override."""
    params_file = tmp_path / "wrong.yaml"
    params_file.write_text(
        "/**: {ros__parameters: {device: abacus}}\n"
        "minkowski_perception: {ros__parameters: {autostart: false}}\n"
    )
    return LaunchDescription(
        [
            installed_launch_file(
                "perception.launch.py",
                cloud_topic="/points",
                params_file=str(params_file),
                device="cpu",
                autostart="true",
            )
        ]
    )


@launch_pytest.fixture
def live_with_tf():
    """Launch the node with motion from TF."""
    return LaunchDescription(
        [installed_launch_file("perception.launch.py", cloud_topic="/points", ego_motion="tf")]
    )


def publish_until_labelled(peer, labelled, before_each=lambda: None):
    """Publish one cloud repeatedly, since best effort may lose the first ones."""
    cloud = fill_message(PointCloud2(), encode_frame(street()), PointField)
    cloud.header.frame_id = "lidar"
    cloud.header.stamp.sec = 10**9
    publisher = peer.create_publisher(PointCloud2, "/points", 5)
    wait_for(lambda: publisher.get_subscription_count() > 0)

    def answered():
        before_each()
        publisher.publish(cloud)
        return labelled

    wait_for(answered)


@pytest.mark.launch(fixture=live)
def test_every_point_of_a_published_cloud_gets_a_label(peer, labelled):
    publish_until_labelled(peer, labelled)
    frame = decode(labelled[0], label_field="label")
    assert labelled[0].header.frame_id == "lidar"
    assert (frame.points == street().points).all()
    assert len(frame.labels) == len(street())
    for name, value in profile_variables({}).items():
        assert os.environ[name] == value


@pytest.mark.launch(fixture=live_with_tf)
def test_motion_can_come_from_tf(peer, labelled):
    tf2_ros = pytest.importorskip("tf2_ros", reason="needs tf2_ros, part of ROS 2")
    broadcaster = tf2_ros.TransformBroadcaster(peer)
    transform = TransformStamped()
    transform.header.frame_id, transform.child_frame_id = "odom", "lidar"
    transform.header.stamp.sec = 10**9
    transform.transform.rotation.w = 1.0

    publish_until_labelled(
        peer, labelled, before_each=lambda: broadcaster.sendTransform(transform)
    )
    names = peer.get_node_names()
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "required"), [("perception.launch.py", []), ("replay.launch.py", ["bag"])]
)
def test_every_argument_has_a_description_and_all_but_the_bag_have_a_default(name, required):
    source = installed_launch_file(name).launch_description_source
    arguments = source.get_launch_description(LaunchContext()).get_launch_arguments()
    assert {"fixed_frame", "rviz_fixed_frame"} <= {argument.name for argument in arguments}
    assert [a.name for a in arguments if a.default_value is None] == required
    assert [a.name for a in arguments if a.description == "No description given."] == []
