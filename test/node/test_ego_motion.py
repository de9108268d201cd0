# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys
import threading
import types

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

import rclpy
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor

from minkowski_perception.node.ego_motion import (
    NoMotion,
    NoPoseError,
    OdometryMotion,
    TfMotion,
    create_ego_motion,
)
from minkowski_perception.node.parameters import ConfigurationError, declare, read

SECOND = 10**9


@pytest.fixture
def node():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("node", context=context)
    declare(node)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def settings(node, **values):
    node.set_parameters([rclpy.Parameter(name, value=v) for name, v in values.items()])
    return read(node)


def odometry(seconds, x, w=1.0):
    message = Odometry()
    message.header.stamp.sec = seconds
    message.pose.pose.position.x = x
    message.pose.pose.orientation.w = w
    return message


def test_without_motion_there_is_no_pose_and_no_wait(node):
    motion = create_ego_motion(node, settings(node, ego_motion="none"))
    assert isinstance(motion, NoMotion)
    assert motion.pose("lidar", 0) is None


def test_odometry_is_interpolated_at_the_stamp_and_carried_to_the_sensor(node):
    motion = OdometryMotion(node, settings(node, sensor_pose=[0.5, 0.0, 1.0, 0.0, 0.0, 0.0]))
    motion._on_odometry(odometry(10, 1.0))
    motion._on_odometry(odometry(11, 3.0))
    pose = motion.pose("lidar", 10 * SECOND + SECOND // 2)
    np.testing.assert_allclose(pose[:3, 3], [2.5, 0.0, 1.0])


def test_odometry_that_comes_in_time_is_waited_for(node):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=5.0))
    motion._on_odometry(odometry(10, 0.0))
    threading.Timer(0.1, motion._on_odometry, args=[odometry(12, 2.0)]).start()
    assert motion.pose("lidar", 11 * SECOND)[0, 3] == pytest.approx(1.0)


def test_odometry_that_does_not_come_is_waited_for_no_longer_than_allowed(node):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.05))
    motion._on_odometry(odometry(10, 0.0))
    with pytest.raises(NoPoseError, match=r"no odometry .* 11000000000 ns within 0.05 s .*odom"):
        motion.pose("lidar", 11 * SECOND)


def test_a_bag_that_loops_forgets_the_odometry_recorded_before(node):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.0))
    for second in (10, 20, 30):
        motion._on_odometry(odometry(second, 0.0))
    motion._on_odometry(odometry(10, 5.0))
    with pytest.raises(NoPoseError):
        motion.pose("lidar", 15 * SECOND)
    motion._on_odometry(odometry(20, 5.0))
    assert motion.pose("lidar", 15 * SECOND)[0, 3] == 5.0


def test_odometry_without_a_rotation_is_ignored(node):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.0))
    motion._on_odometry(odometry(10, 0.0, w=0.0))
    with pytest.raises(NoPoseError):
        motion.pose("lidar", 10 * SECOND)


def test_odometry_is_heard_over_dds(node):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.0))
    other = rclpy.create_node("driver", context=node.context)
    publisher = other.create_publisher(Odometry, "odometry", 10)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    for _ in range(200):
        publisher.publish(odometry(10, 4.0))
        executor.spin_once(timeout_sec=0.05)
        try:
            pose = motion.pose("lidar", 10 * SECOND)
            break
        except NoPoseError:
            continue
    assert pose[0, 3] == 4.0
    executor.shutdown()
    other.destroy_node()


def test_tf_without_its_package_is_refused_with_what_to_install(node, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    with pytest.raises(ConfigurationError, match=r"needs the package tf2_ros.*tf2-ros-py"):
        create_ego_motion(node, settings(node, ego_motion="tf"))


class FakeBuffer:
    """Answers from the third question on, as TF does that comes late."""

    def __init__(self):
        self.asked = []

    def lookup_transform_core(self, target, source, when):
        self.asked.append((target, source, when.nanoseconds))
        if len(self.asked) < 3:
            raise LookupError("extrapolation into the future")
        found = TransformStamped()
        found.transform.translation.x = 7.0
        return found


class FakeListener:
    def __init__(self, buffer, node, spin_thread):
        assert spin_thread
        self.executor = types.SimpleNamespace(shutdown=lambda: None)

    def unregister(self):
        pass


@pytest.fixture
def fake_tf(monkeypatch):
    """tf2_ros as far as the source uses it: what it does without waiting is what is tested."""
    fake = types.SimpleNamespace(
        Buffer=FakeBuffer, TransformListener=FakeListener, TransformException=LookupError
    )
    monkeypatch.setitem(sys.modules, "tf2_ros", fake)


def test_tf_is_asked_from_the_sensor_to_the_fixed_frame_until_it_answers(node, fake_tf):
    motion = TfMotion(node, settings(node, fixed_frame="map", ego_motion_timeout=5.0))
    assert motion.pose("lidar", 5 * SECOND)[0, 3] == 7.0
    assert motion._buffer.asked == [("map", "lidar", 5 * SECOND)] * 3
    motion.close()


def test_tf_that_stays_silent_is_waited_for_no_longer_than_allowed(node, fake_tf):
    motion = TfMotion(node, settings(node, ego_motion_timeout=0.0))
    with pytest.raises(NoPoseError, match="no transform from 'lidar' to 'odom' within 0 s: extra"):
        motion.pose("lidar", 5 * SECOND)
    motion.close()
