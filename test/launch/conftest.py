# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A ROS node of the test that receives the output of a launch."""

import threading

import pytest


@pytest.fixture
def peer():
    """Return a node that spins in the background."""
    rclpy = pytest.importorskip("rclpy")
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("peer", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield node
    executor.shutdown()
    thread.join()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def labelled(peer):
    """Return the list of labelled clouds received so far."""
    from sensor_msgs.msg import PointCloud2

    clouds = []
    peer.create_subscription(PointCloud2, "/minkowski_perception/labelled", clouds.append, 50)
    return clouds
