# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0

import os

import pytest

pytest.importorskip("launch_pytest", reason="needs launch_pytest, part of ROS 2")

import launch_pytest
from launch import LaunchContext, LaunchDescription
from scene import installed_launch_file, street, wait_for
from sensor_msgs.msg import PointCloud2, PointField

from minkowski_perception.codec import decode, encode_frame, fill_message

pytestmark = pytest.mark.system


@launch_pytest.fixture
def live(tmp_path):
    """The node on a topic, with a file that arguments must win over."""
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


@pytest.mark.launch(fixture=live)
def test_a_published_cloud_comes_back_with_a_label_for_each_point(peer, labelled):
    sent = fill_message(PointCloud2(), encode_frame(street()), PointField)
    sent.header.frame_id = "lidar"
    publisher = peer.create_publisher(PointCloud2, "/points", 5)
    wait_for(lambda: publisher.get_subscription_count() > 0)

    def answered():
        publisher.publish(sent)
        return labelled

    wait_for(answered)
    frame = decode(labelled[0], label_field="label")
    assert labelled[0].header.frame_id == "lidar"
    assert (frame.points == street().points).all()
    assert len(frame.labels) == len(street())
    assert os.environ["FASTDDS_BUILTIN_TRANSPORTS"] == "LARGE_DATA"


@pytest.mark.parametrize(
    ("name", "required"), [("perception.launch.py", []), ("replay.launch.py", ["bag"])]
)
def test_every_argument_is_described_and_has_a_default_where_it_can(name, required):
    source = installed_launch_file(name).launch_description_source
    arguments = source.get_launch_description(LaunchContext()).get_launch_arguments()
    assert "fixed_frame" in {argument.name for argument in arguments}
    assert [a.name for a in arguments if a.default_value is None] == required
    assert [a.name for a in arguments if a.description == "No description given."] == []
