# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys
import threading
import time
import types

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

import rclpy
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor

from minkowski_perception.frame import Frame
from minkowski_perception.motion.ego_motion import NoPoseError
from minkowski_perception.node.ego_motion import OdometryMotion, TfMotion, create_ego_motion
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


def frame_at(nanoseconds):
    draw = np.random.default_rng(0)
    return Frame(draw.uniform(-20, 20, (1000, 3)).astype(np.float32), int(nanoseconds), "lidar")


def test_with_none_the_sensor_stands_still_and_nothing_is_waited_for(node):
    motion = create_ego_motion(node, settings(node, ego_motion="none"))
    assert motion.name == "none"
    assert np.array_equal(motion.locate(frame_at(0)), np.eye(4))


def test_odometry_is_interpolated_at_the_stamp_and_carried_to_the_sensor(node):
    motion = OdometryMotion(node, settings(node, sensor_pose=[0.5, 0.0, 1.0, 0.0, 0.0, 0.0]))
    motion._on_odometry(odometry(10, 1.0))
    motion._on_odometry(odometry(11, 3.0))
    pose = motion.locate(frame_at(10 * SECOND + SECOND // 2))
    np.testing.assert_allclose(pose[:3, 3], [2.5, 0.0, 1.0])


def test_odometry_that_comes_in_time_is_waited_for(node):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=5.0))
    motion._on_odometry(odometry(10, 0.0))
    threading.Timer(0.1, motion._on_odometry, args=[odometry(12, 2.0)]).start()
    assert motion.locate(frame_at(11 * SECOND))[0, 3] == pytest.approx(1.0)


def test_odometry_that_does_not_come_is_waited_for_no_longer_than_allowed(node):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.05))
    motion._on_odometry(odometry(10, 0.0))
    with pytest.raises(NoPoseError, match=r"no odometry .* 11000000000 ns within 0.05 s .*odom"):
        motion.locate(frame_at(11 * SECOND))


def test_a_bag_that_loops_forgets_the_odometry_recorded_before(node):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.0))
    for second in (10, 20, 30):
        motion._on_odometry(odometry(second, 0.0))
    motion._on_odometry(odometry(10, 5.0))
    with pytest.raises(NoPoseError):
        motion.locate(frame_at(15 * SECOND))
    motion._on_odometry(odometry(20, 5.0))
    assert motion.locate(frame_at(15 * SECOND))[0, 3] == 5.0


def test_odometry_without_a_rotation_is_ignored(node):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.0))
    motion._on_odometry(odometry(10, 0.0, w=0.0))
    with pytest.raises(NoPoseError):
        motion.locate(frame_at(10 * SECOND))


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
            pose = motion.locate(frame_at(10 * SECOND))
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
    """Answers what is put in by stamp, and for stamp 0 the latest; some questions too early."""

    def __init__(self):
        self.asked, self.late, self.known = [], 0, {5 * SECOND: 7.0}

    def lookup_transform_core(self, target, source, when):
        stamp = when.nanoseconds or max(self.known, default=0)
        self.asked.append((target, source, when.nanoseconds))
        if len(self.asked) <= self.late or stamp not in self.known:
            raise LookupError("extrapolation into the future")
        found = TransformStamped()
        found.header.stamp.sec, found.header.stamp.nanosec = divmod(stamp, SECOND)
        found.transform.translation.x = self.known[stamp]
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
    motion._buffer.late = 2
    assert motion.locate(frame_at(5 * SECOND))[0, 3] == 7.0
    assert motion._buffer.asked == [("map", "lidar", 5 * SECOND)] * 3
    motion.close()


def test_tf_that_stays_silent_is_waited_for_no_longer_than_allowed(node, fake_tf):
    motion = TfMotion(node, settings(node, ego_motion_timeout=0.0))
    motion._buffer.known.clear()
    with pytest.raises(NoPoseError, match="no transform from 'lidar' to 'odom' within 0 s: extra"):
        motion.locate(frame_at(5 * SECOND))
    motion.close()


def test_registration_without_its_package_is_refused_with_what_to_install(node, monkeypatch):
    monkeypatch.setitem(sys.modules, "kiss_icp.kiss_icp", None)
    with pytest.raises(ConfigurationError, match=r"'kiss_icp': .*pip install kiss-icp"):
        create_ego_motion(node, settings(node, ego_motion="kiss_icp"))


@pytest.fixture
def auto(node):
    """Motion 'auto' with a short patience, and its candidates by name."""
    made = []

    def make(**values):
        made.append(
            create_ego_motion(node, settings(node, **{"ego_motion_timeout": 0.05, **values}))
        )
        candidates = [each for each in made[-1]._candidates if not isinstance(each, str)]
        return made[-1], {candidate.name: candidate for candidate in candidates}

    yield make
    for motion in made:
        motion.close()


@pytest.fixture
def without_tf(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)


@pytest.fixture
def without_kiss_icp(monkeypatch):
    monkeypatch.setitem(sys.modules, "kiss_icp.kiss_icp", None)


def test_auto_takes_tf_where_it_answers(auto, fake_tf):
    motion, _ = auto()
    assert (motion.source.name, motion.source.reason) == ("auto", "no cloud has come yet")
    assert motion.locate(frame_at(5 * SECOND))[0, 3] == 7.0
    assert (motion.source.name, motion.source.reason) == ("tf", "it answers")


def test_auto_takes_tf_that_began_just_after_the_first_cloud(auto, fake_tf):
    motion, _ = auto()
    with pytest.raises(NoPoseError, match="no transform from 'lidar' to 'odom'"):
        motion.locate(frame_at(4.8 * SECOND))
    assert motion.source.name == "tf"


@pytest.mark.parametrize("stamp", [6 * SECOND, 2 * SECOND])
def test_auto_passes_by_tf_that_has_ended_or_runs_by_another_clock(
    auto, fake_tf, without_kiss_icp, stamp
):
    motion, _ = auto()
    assert motion.locate(frame_at(stamp)) is None
    assert motion.source.name == "none"


def test_auto_takes_odometry_where_tf_is_silent_and_says_so(auto, fake_tf):
    motion, candidates = auto()
    for second, x in ((10, 1.0), (11, 3.0)):
        candidates["odometry"]._on_odometry(odometry(second, x))
    assert motion.locate(frame_at(10.5 * SECOND))[0, 3] == pytest.approx(2.0)
    assert motion.source.name == "odometry"
    assert "no transform from 'lidar' to 'odom' within 0.05 s" in motion.source.reason


def test_auto_takes_odometry_that_begins_while_it_waits(auto, without_tf):
    motion, candidates = auto(ego_motion_timeout=5.0)
    for second in (10, 11):
        message = odometry(second, 1.0)
        threading.Timer(0.05, candidates["odometry"]._on_odometry, args=[message]).start()
    assert motion.locate(frame_at(10.5 * SECOND))[0, 3] == 1.0
    assert motion.source.name == "odometry"
    assert "needs the package tf2_ros" in motion.source.reason


def test_auto_passes_by_odometry_of_another_clock(auto, without_tf, without_kiss_icp):
    motion, candidates = auto()
    candidates["odometry"]._on_odometry(odometry(10, 1.0))
    assert motion.locate(frame_at(1000 * SECOND)) is None
    assert "odometry on '/odometry' is -990 s from the clouds" in motion.source.reason


def test_auto_registers_the_clouds_where_nobody_tells_of_motion(auto, without_tf):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    motion, _ = auto()
    assert np.array_equal(motion.locate(frame_at(10 * SECOND)), np.eye(4))
    assert motion.source.name == "kiss_icp"
    assert "no odometry on '/odometry'" in motion.source.reason


def test_auto_knows_of_no_motion_where_nothing_is_installed(auto, without_tf, without_kiss_icp):
    motion, _ = auto()
    assert motion.locate(frame_at(10 * SECOND)) is None
    assert motion.source.name == "none"
    for part in ("needs the package tf2_ros", "no odometry", "pip install kiss-icp"):
        assert part in motion.source.reason


def test_auto_waits_at_the_start_of_a_stream_alone(auto, fake_tf, without_kiss_icp):
    motion, _ = auto()
    began = time.monotonic()
    motion.locate(frame_at(10 * SECOND))
    assert 0.05 <= time.monotonic() - began < 1.0
    asked = len(motion._candidates[0]._buffer.asked)
    motion.locate(frame_at(10.1 * SECOND))
    assert len(motion._candidates[0]._buffer.asked) == asked


def test_auto_changes_at_a_reset_and_never_before(auto, fake_tf):
    motion, candidates = auto()
    motion.locate(frame_at(5 * SECOND))
    candidates["tf"]._buffer.known.clear()
    for second in (20, 21):
        candidates["odometry"]._on_odometry(odometry(second, 2.0))
    with pytest.raises(NoPoseError, match="no transform"):
        motion.locate(frame_at(20.5 * SECOND))
    motion.reset()
    assert motion.locate(frame_at(20.5 * SECOND))[0, 3] == 2.0
    assert motion.source.name == "odometry"


def test_a_stream_that_is_registered_begins_anew_at_a_reset(auto, without_tf):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    motion, _ = auto()
    turned = frame_at(11 * SECOND)
    turned.points = turned.points[:, [1, 0, 2]] * np.float32([1.0, -1.0, 1.0])
    for _ in range(2):
        motion.reset()
        assert np.array_equal(motion.locate(frame_at(10 * SECOND)), np.eye(4))
        assert not np.array_equal(motion.locate(turned), np.eye(4))
