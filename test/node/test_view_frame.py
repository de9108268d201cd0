# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
pytest.importorskip("geometry_msgs", reason="needs the ROS messages")

import rclpy
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2, PointField

from minkowski_perception.codec import encode_frame, fill_message
from minkowski_perception.frame import Frame
from minkowski_perception.node.view_frame import ViewFrame, view_transform


def rotation_of(transform):
    q = transform.transform.rotation
    return Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()


def test_the_frame_is_below_that_of_the_clouds_and_its_z_axis_is_up():
    transform = view_transform("camera", "optical")
    assert (transform.header.frame_id, transform.child_frame_id) == ("camera", "minkowski_view")
    forward, left, up = rotation_of(transform).T
    np.testing.assert_allclose(forward, [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(left, [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(up, [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_of(view_transform("lidar", "ros")), np.eye(3), atol=1e-12)


@pytest.mark.system
def test_a_camera_without_the_suffix_gets_an_upright_frame(monkeypatch):
    v, u = np.indices((48, 64)).reshape(2, -1)
    points = np.stack([(u - 32) / 60, (v - 24) / 60, np.ones(len(u))], axis=1) * 2.0
    cloud = fill_message(PointCloud2(), encode_frame(Frame(points, height=48)), PointField)
    cloud.header.frame_id = "rgb_camera_link"
    published = []
    create = ViewFrame.create_publisher

    def create_publisher(self, message_type, topic, *args, **kwargs):
        # tf2_msgs comes with ROS alone.
        if topic == "/tf_static":
            return SimpleNamespace(publish=published.append)
        return create(self, message_type, topic, *args, **kwargs)

    monkeypatch.setattr(ViewFrame, "create_publisher", create_publisher)
    rclpy.init()
    peer, stop = rclpy.create_node("camera"), threading.Event()
    view = ViewFrame(SimpleNamespace)
    thread = threading.Thread(target=view.run, args=(stop,))
    try:
        publisher = peer.create_publisher(PointCloud2, "cloud", 5)
        thread.start()
        deadline = time.monotonic() + 60
        while not published and time.monotonic() < deadline:
            publisher.publish(cloud)
            time.sleep(0.05)
        while publisher.get_subscription_count() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert publisher.get_subscription_count() == 0  # it needs no more clouds
    finally:
        stop.set()
        thread.join()
        rclpy.shutdown()
    [message] = published
    [transform] = message.transforms
    assert transform.header.frame_id == "rgb_camera_link"
    np.testing.assert_allclose(rotation_of(transform)[:, 2], [0, -1, 0], atol=1e-12)
