# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys
import threading
import time
import types
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS 2 installation or its wheels")

import rclpy
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor

from minkowski_perception.frame import Frame
from minkowski_perception.motion.ego_motion import InterruptedWaitError, NoPoseError
from minkowski_perception.node.ego_motion import OdometryMotion, TfMotion, create_ego_motion
from minkowski_perception.node.parameters import ConfigurationError, declare, read
from minkowski_perception.node.transforms import Transforms

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


@pytest.fixture
def transforms(node):
    made = Transforms(node)
    yield made
    made.close()


def settings(node, **values):
    node.set_parameters([rclpy.Parameter(name, value=v) for name, v in values.items()])
    return read(node)[""]


def odometry(seconds, x, w=1.0):
    message = Odometry()
    message.header.frame_id = "wheels"
    message.header.stamp.sec = seconds
    message.pose.pose.position.x = x
    message.pose.pose.orientation.w = w
    return message


def frame_at(nanoseconds):
    draw = np.random.default_rng(0)
    return Frame(draw.uniform(-20, 20, (1000, 3)).astype(np.float32), int(nanoseconds), "lidar")


def test_with_none_every_pose_is_the_same(node, transforms):
    motion = create_ego_motion(node, settings(node, ego_motion="none"), transforms)
    assert motion.name == "none"
    assert np.array_equal(motion.locate(frame_at(0)), np.eye(4))


def test_odometry_is_interpolated_at_the_stamp_and_transformed_to_the_sensor(node, transforms):
    motion = OdometryMotion(
        node, settings(node, sensor_pose=[0.5, 0.0, 1.0, 0.0, 0.0, 0.0]), transforms
    )
    motion._on_odometry(odometry(10, 1.0))
    motion._on_odometry(odometry(11, 3.0))
    pose = motion.locate(frame_at(10 * SECOND + SECOND // 2))
    np.testing.assert_allclose(pose[:3, 3], [2.5, 0.0, 1.0])
    assert motion.fixed_frame == "wheels"


def test_locate_waits_for_odometry(node, transforms):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=5.0), transforms)
    motion._on_odometry(odometry(10, 0.0))
    threading.Timer(0.1, motion._on_odometry, args=[odometry(12, 2.0)]).start()
    assert motion.locate(frame_at(11 * SECOND))[0, 3] == pytest.approx(1.0)


def test_locate_waits_for_odometry_no_longer_than_the_timeout(node, transforms):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.05), transforms)
    motion._on_odometry(odometry(10, 0.0))
    with pytest.raises(NoPoseError, match=r"no odometry .* 11000000000 ns within 0.05 s .*odom"):
        motion.locate(frame_at(11 * SECOND))


def test_odometry_is_cleared_when_a_bag_loops(node, transforms):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.0), transforms)
    for second in (10, 20, 30):
        motion._on_odometry(odometry(second, 0.0))
    motion._on_odometry(odometry(10, 5.0))
    with pytest.raises(NoPoseError):
        motion.locate(frame_at(15 * SECOND))
    motion._on_odometry(odometry(20, 5.0))
    assert motion.locate(frame_at(15 * SECOND))[0, 3] == 5.0


def test_odometry_with_a_zero_quaternion_is_ignored(node, transforms):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.0), transforms)
    motion._on_odometry(odometry(10, 0.0, w=0.0))
    with pytest.raises(NoPoseError):
        motion.locate(frame_at(10 * SECOND))


def test_odometry_is_received_over_dds(node, transforms):
    motion = OdometryMotion(node, settings(node, ego_motion_timeout=0.0), transforms)
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


def test_tf_without_its_package_names_the_package_to_install(node, transforms, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    with pytest.raises(ConfigurationError, match=r"needs the package tf2_ros.*tf2-ros-py"):
        create_ego_motion(node, settings(node, ego_motion="tf"), transforms)


class FakeBuffer:
    """Has x translations by stamp; stamp 0 means the latest. The first `late` look-ups fail."""

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
    """Replace tf2_ros by what `TfMotion` uses of it, without waiting."""
    fake = types.SimpleNamespace(
        Buffer=FakeBuffer, TransformListener=FakeListener, TransformException=LookupError
    )
    monkeypatch.setitem(sys.modules, "tf2_ros", fake)


def test_tf_is_looked_up_from_the_sensor_to_the_fixed_frame_until_it_is_known(
    node, transforms, fake_tf
):
    motion = TfMotion(settings(node, fixed_frame="map", ego_motion_timeout=5.0), transforms)
    motion._buffer.late = 2
    assert motion.locate(frame_at(5 * SECOND))[0, 3] == 7.0
    assert motion._buffer.asked == [("map", "lidar", 5 * SECOND)] * 3


def test_all_streams_share_one_listener_and_tf2_gets_no_leading_slashes(node, transforms, fake_tf):
    first = TfMotion(settings(node, fixed_frame="/map"), transforms)
    second = TfMotion(settings(node, fixed_frame="odom"), transforms)
    assert first._buffer is second._buffer
    first.locate(replace(frame_at(5 * SECOND), frame_id="/lidar"))
    assert first._buffer.asked == [("map", "lidar", 5 * SECOND)]


def test_locate_waits_for_tf_no_longer_than_the_timeout(node, transforms, fake_tf):
    motion = TfMotion(settings(node, ego_motion_timeout=0.0), transforms)
    motion._buffer.known.clear()
    with pytest.raises(NoPoseError, match="no transform from 'lidar' to 'odom' within 0 s: extra"):
        motion.locate(frame_at(5 * SECOND))


def test_registration_without_its_package_names_the_package_to_install(
    node, transforms, monkeypatch
):
    monkeypatch.setitem(sys.modules, "kiss_icp.kiss_icp", None)
    with pytest.raises(ConfigurationError, match=r"'kiss_icp': .*pip install kiss-icp"):
        create_ego_motion(node, settings(node, ego_motion="kiss_icp"), transforms)


@pytest.fixture
def auto(node, transforms):
    """Return ego motion 'auto' with a short timeout, and its sources by name."""
    made = []

    def make(**values):
        made.append(
            create_ego_motion(
                node, settings(node, **{"ego_motion_timeout": 0.05, **values}), transforms
            )
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


def test_auto_chooses_tf_first(auto, fake_tf):
    motion, _ = auto()
    assert (motion.source.name, motion.source.reason) == ("auto", "no cloud received yet")
    assert motion.locate(frame_at(5 * SECOND))[0, 3] == 7.0
    assert (motion.source.name, motion.source.reason) == ("tf", "first choice")


def test_auto_chooses_tf_that_begins_just_after_the_first_cloud(auto, fake_tf):
    motion, _ = auto()
    with pytest.raises(NoPoseError, match="no transform from 'lidar' to 'odom'"):
        motion.locate(frame_at(4.8 * SECOND))
    assert motion.source.name == "tf"


@pytest.mark.parametrize("stamp", [6 * SECOND, 2 * SECOND])
def test_auto_does_not_choose_tf_that_has_ended_or_has_another_clock(
    auto, fake_tf, without_kiss_icp, stamp
):
    motion, _ = auto()
    assert motion.locate(frame_at(stamp)) is None
    assert motion.source.name == "none"


def test_auto_chooses_odometry_without_tf_and_gives_the_reason(auto, fake_tf):
    motion, candidates = auto()
    for second, x in ((10, 1.0), (11, 3.0)):
        candidates["odometry"]._on_odometry(odometry(second, x))
    assert motion.locate(frame_at(10.5 * SECOND))[0, 3] == pytest.approx(2.0)
    assert motion.source.name == "odometry"
    assert "no transform from 'lidar' to 'odom' within 0.05 s" in motion.source.reason


def test_auto_waits_for_odometry(auto, without_tf):
    motion, candidates = auto(ego_motion_timeout=5.0)
    for second in (10, 11):
        message = odometry(second, 1.0)
        threading.Timer(0.05, candidates["odometry"]._on_odometry, args=[message]).start()
    assert motion.locate(frame_at(10.5 * SECOND))[0, 3] == 1.0
    assert motion.source.name == "odometry"
    assert "needs the package tf2_ros" in motion.source.reason


def test_auto_does_not_choose_odometry_with_another_clock(auto, without_tf, without_kiss_icp):
    motion, candidates = auto()
    candidates["odometry"]._on_odometry(odometry(10, 1.0))
    assert motion.locate(frame_at(1000 * SECOND)) is None
    assert "odometry on '/odometry' is -990 s from the clouds" in motion.source.reason


def test_auto_chooses_registration_without_tf_and_odometry(auto, without_tf):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    motion, _ = auto()
    assert np.array_equal(motion.locate(frame_at(10 * SECOND)), np.eye(4))
    assert motion.source.name == "kiss_icp"
    assert "no odometry on '/odometry'" in motion.source.reason


def test_auto_chooses_none_if_nothing_is_available(auto, without_tf, without_kiss_icp):
    motion, _ = auto()
    assert motion.locate(frame_at(10 * SECOND)) is None
    assert motion.source.name == "none"
    for part in ("needs the package tf2_ros", "no odometry", "pip install kiss-icp"):
        assert part in motion.source.reason


def test_auto_waits_only_at_the_start_of_a_stream(auto, fake_tf, without_kiss_icp):
    motion, _ = auto()
    began = time.monotonic()
    motion.locate(frame_at(10 * SECOND))
    assert 0.05 <= time.monotonic() - began < 1.0
    asked = len(motion._candidates[0]._buffer.asked)
    motion.locate(frame_at(10.1 * SECOND))
    assert len(motion._candidates[0]._buffer.asked) == asked


@pytest.mark.parametrize("tf", ["fake_tf", "without_tf"])
def test_auto_chooses_nothing_when_its_wait_is_interrupted(auto, tf, request):
    request.getfixturevalue(tf)
    motion, candidates = auto(ego_motion_timeout=30.0)
    threading.Timer(0.1, motion.interrupt).start()
    with pytest.raises(InterruptedWaitError, match="the node stopped"):
        motion.locate(frame_at(10.5 * SECOND))
    assert motion.source is motion
    motion.resume()
    for second in (10, 11):
        message = odometry(second, 1.0)
        threading.Timer(0.05, candidates["odometry"]._on_odometry, args=[message]).start()
    if tf == "fake_tf":
        candidates["tf"]._buffer.known[10.5 * SECOND] = 1.0
    assert motion.locate(frame_at(10.5 * SECOND))[0, 3] == 1.0


def test_auto_chooses_again_at_a_reset_and_only_there(auto, fake_tf):
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


def test_registration_starts_again_at_a_reset(auto, without_tf):
    pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    motion, _ = auto()
    turned = frame_at(11 * SECOND)
    turned.points = turned.points[:, [1, 0, 2]] * np.float32([1.0, -1.0, 1.0])
    for _ in range(2):
        motion.reset()
        assert np.array_equal(motion.locate(frame_at(10 * SECOND)), np.eye(4))
        assert not np.array_equal(motion.locate(turned), np.eye(4))


UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0, 1.0])


def static(child, x, w=0.0, parent="base_link"):
    """Return a message of /tf_static: x metres ahead and, with w = 0, upside down."""
    transform = TransformStamped(child_frame_id=child)
    transform.header.frame_id = parent
    transform.transform.translation.x = x
    transform.transform.rotation.x, transform.transform.rotation.w = 1.0 - w, w
    return types.SimpleNamespace(transforms=[transform])


@pytest.mark.parametrize("source", ["none", "kiss_icp", "auto"])
@pytest.mark.parametrize("name", ["lidar", "/lidar"])
def test_a_mount_of_tf_static_is_used_without_odometry(node, transforms, without_tf, source, name):
    if source != "none":
        pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    wanted = settings(node, ego_motion=source, ego_motion_timeout=0.0)
    motion = create_ego_motion(node, wanted, transforms)
    transforms._on_static(static("/lidar", 0.5))
    expected = UPSIDE_DOWN.copy()
    expected[0, 3] = 0.5
    np.testing.assert_allclose(
        motion.locate(replace(frame_at(SECOND), frame_id=name)), expected, atol=1e-12
    )
    motion.close()


@pytest.mark.parametrize("source", ["none", "kiss_icp"])
def test_a_mount_that_becomes_known_or_changes_holds_from_then_on(node, transforms, source):
    if source == "kiss_icp":
        pytest.importorskip("kiss_icp", reason="needs kiss-icp: pip install kiss-icp")
    motion = create_ego_motion(node, settings(node, ego_motion=source), transforms)
    positions = []
    for second in range(1, 6):
        if second in (2, 4):
            transforms._on_static(static("lidar", float(second), w=1.0))
        positions.append(motion.locate(frame_at(second * SECOND))[0, 3])
    np.testing.assert_allclose(positions, [0.0, 2.0, 2.0, 4.0, 4.0], atol=1e-3)


def test_odometry_takes_the_static_mount_unless_the_sensor_pose_is_given(node, transforms):
    message = odometry(10, 1.0)
    message.child_frame_id = "base_link"
    transforms._on_static(static("mast", 0.5, w=1.0))
    transforms._on_static(static("lidar", 0.25, parent="mast"))
    for given, x in (([0.0] * 6, 1.75), ([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], 1.0)):
        motion = OdometryMotion(node, settings(node, sensor_pose=given), transforms)
        motion._on_odometry(message)
        pose = motion.locate(frame_at(10 * SECOND))
        np.testing.assert_allclose(motion.mount("lidar")[:3, :3], pose[:3, :3])
        assert pose[0, 3] == pytest.approx(x)
        assert pose[2, 2] == pytest.approx(-1.0 if x == 1.75 else 1.0)
        other = motion.locate(replace(frame_at(10 * SECOND), frame_id="not_connected"))
        assert other[0, 3] == 1.0
        motion.close()


def test_a_static_transform_that_is_sent_again_takes_the_place_of_the_last_one(transforms):
    for x in (1.0, 1.0, 3.0):
        transforms._on_static(static("lidar", x))
    transforms._on_static(static("lidar", float("nan")))
    assert transforms.mount("lidar")[0, 3] == 3.0
    assert [edge.count for edge in transforms._static.edges.values()] == [1]
    assert transforms.mount("base_link") is None
