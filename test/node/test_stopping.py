# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")
from rclpy.context import Context  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from minkowski_perception.node.stopping import wait_until_acknowledged  # noqa: E402


def test_without_subscribers_it_returns_at_once():
    context = Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("speaker", context=context)
        publisher = node.create_publisher(String, "speech", 10)
        publisher.publish(String(data="the end"))
        assert wait_until_acknowledged(publisher, 5.0)
    finally:
        rclpy.shutdown(context=context)


def test_a_middleware_without_acknowledgements_raises_no_error():
    class Publisher:
        def wait_for_all_acked(self, timeout):
            raise RuntimeError("rmw_publisher_wait_for_all_acked is not implemented")

    assert not wait_until_acknowledged(Publisher(), 5.0)
