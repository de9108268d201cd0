# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`player`: play the clouds and poses of a bag to a node, and measure its response times."""

from __future__ import annotations

import csv
import math
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TextIO

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2

from minkowski_perception.motion.poses import Pose
from minkowski_perception.node.stopping import init_until_signalled, wait_until_acknowledged
from minkowski_perception.recordings.bags import BagError, BagReader

USER_ERROR = 2

_PARAMETERS = {
    "bag": ("", "ROS 1 or ROS 2 bag to play."),
    "topic": ("", "Cloud topic of the bag; required if it has several."),
    "odometry_topic": ("", "Odometry topic of the bag; required if it has several."),
    "rate": (1.0, "Playback speed; 1 is the speed of the recording."),
    "loop": (False, "Start again at the end, until stopped."),
    "listener_timeout": (0.0, "Seconds to wait for a subscriber to the clouds; 0 for no limit."),
    "answer_topic": ("", "Topic of the answers: clouds with the stamps of the played ones."),
    "wait_for_answer": (
        False,
        "Hold each cloud until the one before it is answered, or counted on /diagnostics as "
        "dropped.",
    ),
    "answer_timeout": (10.0, "Longest time in seconds to wait for an answer."),
    "log": ("", "CSV file for the times at which clouds were published and answered."),
}
_DISCOVERY = 2.0
"""Longest time in seconds from the discovery of a node's cloud subscription to its odometry's."""

_ODOMETRY_HEAD_START = 0.02
"""Seconds between odometry and the next cloud.

Without them a large cloud can push the small message out of Fast DDS's buffers, which sends it
again only 3 s later.
"""

_POLL = 0.02  # seconds between looks at the graph, which sends no events


class Cloud(NamedTuple):
    """A recorded cloud, serialised (CDR)."""

    receive_time: int
    stamp: int
    cdr: bytes


class StampedPose(NamedTuple):
    """Pose of the sensor in the odometry frame at a stamp in nanoseconds."""

    stamp: int
    pose: Pose


def stamp_of(cdr: bytes) -> int:
    """Return the header's stamp in nanoseconds of a serialised message."""
    order = "<" if cdr[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", cdr, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def merge(clouds: Iterable[Cloud], poses: Sequence[StampedPose]) -> Iterator[Cloud | StampedPose]:
    """Yield clouds and poses in an order in which every cloud's pose can be interpolated.

    Before each cloud come the poses up to the first that is not earlier than it, and one more: a
    pose that is lost and sent again has the time between two clouds to arrive.
    """
    sent = 0
    for cloud in clouds:
        while sent < len(poses) and (sent < 2 or poses[sent - 2].stamp < cloud.stamp):
            yield poses[sent]
            sent += 1
        yield cloud


def to_odometry(pose: StampedPose, child_frame: str) -> Odometry:
    """Return the message of a pose in the frame "odom"."""
    message = Odometry()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(pose.stamp, 10**9)
    message.header.frame_id = "odom"
    message.child_frame_id = child_frame
    at, turn = message.pose.pose.position, message.pose.pose.orientation
    at.x, at.y, at.z = pose.pose[:3, 3].tolist()
    turn.x, turn.y, turn.z, turn.w = Rotation.from_matrix(pose.pose[:3, :3]).as_quat().tolist()
    return message


class AnswerLog:
    """CSV file of the times at which each cloud was published and answered, by a monotonic clock.

    A row is written when the answer arrives. Clouds without an answer follow at the end, with an
    empty last column.
    """

    COLUMNS = ("stamp_ns", "published_ns", "answered_ns")

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file)
        self._writer.writerow(self.COLUMNS)
        self._published: dict[int, int] = {}

    def published(self, stamp: int) -> None:
        """Record that a cloud is published now."""
        self._close(stamp)
        self._published[stamp] = time.monotonic_ns()

    def answered(self, stamp: int) -> None:
        """Record that its answer arrived now; a stamp that was not published is ignored."""
        self._close(stamp, time.monotonic_ns())

    def is_open(self, stamp: int) -> bool:
        """Return whether a cloud was published and not answered yet."""
        return stamp in self._published

    def close(self) -> None:
        """Write the clouds that were never answered."""
        for stamp in list(self._published):
            self._close(stamp)

    def _close(self, stamp: int, answered: int | None = None) -> None:
        published = self._published.pop(stamp, None)
        if published is not None:
            self._writer.writerow((stamp, published, answered))


def publish_static_transforms(node: Node, transforms: Sequence[bytes]) -> Publisher[Any] | None:
    """Publish static transforms for all who subscribe to /tf_static while the publisher exists.

    Args:
        node: that publishes.
        transforms: tf2_msgs/TFMessage as CDR bytes.

    Returns:
        The publisher; None without transforms, or without the package tf2_msgs.
    """
    if not transforms:
        return None
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        node.get_logger().warning(
            "the mounts of /tf_static are not played: tf2_msgs is not installed "
            "(apt install ros-$ROS_DISTRO-tf2-msgs)"
        )
        return None
    qos = QoSProfile(depth=len(transforms), durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = node.create_publisher(TFMessage, "/tf_static", qos)
    for cdr in transforms:
        publisher.publish(cdr)
    return publisher


class StoppedError(Exception):
    """The player was stopped before the end of the bag."""


class Player(Node):
    """Publishes a bag's clouds on their recorded topic and its poses on `odometry`.

    Static transforms go to /tf_static. It publishes the recorded bytes unchanged, and waits for a
    subscriber first.

    Args:
        stop: event that stops the player between two messages.
    """

    def __init__(self, stop: threading.Event) -> None:
        super().__init__("player")
        self._stop = stop
        for name, (default, description) in _PARAMETERS.items():
            self.declare_parameter(name, default, ParameterDescriptor(description=description))
        self._spinner = SingleThreadedExecutor()
        self._spinner.add_node(self)
        self._reported_dropped = 0
        self._reported_state: str | None = None

    def play(self) -> int:
        """Play the bag, once or in a loop, and return the number of clouds sent.

        Raises:
            BagError: the bag cannot be played with these parameters.
            TimeoutError: no subscriber, no publisher of answers or no active node appeared in
                time.
            StoppedError: the player was stopped.
        """
        if self._value("rate") <= 0.0:
            raise BagError(f"rate must be more than 0, not {self._value('rate'):g}")
        with (
            BagReader(self._value("bag")) as bag,
            open(self._value("log") or os.devnull, "w", buffering=1) as file,
        ):
            topic = bag.choose_cloud_topic(self._value("topic") or None)
            log = AnswerLog(file)
            try:
                return self._play(bag, topic, log)
            finally:
                log.close()

    def _play(self, bag: BagReader, topic: str, log: AnswerLog) -> int:
        _, first = next(bag.clouds(topic), (0, None))
        if first is None:
            raise BagError(f"topic '{topic}' of {bag.path} has no clouds")
        frame_id = first.header.frame_id
        known = bag.poses(frame_id, topic=self._value("odometry_topic") or None)
        poses = [StampedPose(*pose) for pose in known]

        clouds = self.create_publisher(PointCloud2, topic, _reliable(depth=20))
        odometry = self.create_publisher(Odometry, "odometry", _reliable(depth=200))
        static = publish_static_transforms(self, bag.static_transforms(frame_id))
        if answer_topic := self._value("answer_topic"):
            self.create_subscription(
                PointCloud2,
                answer_topic,
                lambda cdr: log.answered(stamp_of(cdr)),
                _reliable(depth=5),
                raw=True,
            )
            self.create_subscription(
                DiagnosticArray, "/diagnostics", self._on_diagnostics, _reliable(depth=10)
            )
        self._wait_for_listeners(clouds, odometry if poses else None, static, answer_topic)
        lossless = answer_topic and self._value("wait_for_answer")
        sent, pose_sent = 0, -math.inf
        while sent == 0 or self._value("loop"):
            for item in self._paced(merge(_recorded(bag, topic), poses)):
                if isinstance(item, StampedPose):
                    odometry.publish(to_odometry(item, frame_id))
                    pose_sent = time.monotonic()
                    continue
                self._spin_for(pose_sent + _ODOMETRY_HEAD_START - time.monotonic())
                log.published(item.stamp)
                clouds.publish(item.cdr)
                sent += 1
                if lossless:
                    self._wait_for_answer(log, item.stamp)
        if answer_topic and not lossless:
            # Nothing supersedes the last cloud, so its answer is the last one.
            self._wait_for_answer(log, item.stamp)
        elif not answer_topic:
            wait_until_acknowledged(clouds, 5.0)
        return sent

    def _paced(self, items: Iterable[Cloud | StampedPose]) -> Iterator[Cloud | StampedPose]:
        """Yield poses at once, and clouds at the pace of the recording times `rate`."""
        start, origin = time.monotonic(), None
        for item in items:
            if isinstance(item, Cloud):
                origin = item.receive_time if origin is None else origin
                due = start + (item.receive_time - origin) * 1e-9 / self._value("rate")
                self._spin_for(due - time.monotonic())
            yield item

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _wait_for_listeners(
        self,
        clouds: Publisher[Any],
        odometry: Publisher[Any] | None,
        static: Publisher[Any] | None,
        answer_topic: str,
    ) -> None:
        self.get_logger().info(f"waiting for a subscriber to '{clouds.topic_name}'")
        timeout = self._value("listener_timeout") or math.inf
        if not self._spin_until(partial(_is_heard, clouds), timeout):
            raise TimeoutError(f"no subscriber to '{clouds.topic_name}' within {timeout:g} s")
        if answer_topic and not self._spin_until(
            lambda: self.count_publishers(answer_topic) > 0, timeout
        ):
            raise TimeoutError(f"no publisher of '{answer_topic}' within {timeout:g} s")
        if answer_topic and not self._spin_until(
            lambda: self._reported_state in (None, "active"), timeout
        ):
            raise TimeoutError(f"the node was not active within {timeout:g} s")
        for publisher in filter(None, (odometry, static)):
            if not self._spin_until(partial(_is_heard, publisher), _DISCOVERY):
                self.get_logger().warning(f"no subscriber to '{publisher.topic_name}'")
        if static is not None:
            wait_until_acknowledged(static, _DISCOVERY)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._reported_state = values.get("state", self._reported_state)
            if values.get("pending") == "0":
                self._reported_dropped = int(values["dropped"])

    def _wait_for_answer(self, log: AnswerLog, stamp: int) -> None:
        timeout, before = self._value("answer_timeout"), self._reported_dropped
        if not self._spin_until(
            lambda: not log.is_open(stamp) or self._reported_dropped > before, timeout
        ):
            self.get_logger().warning(
                f"no answer to the cloud of stamp {stamp} ns within {timeout:g} s"
            )

    def _spin_for(self, seconds: float) -> None:
        self._spin_until(lambda: False, seconds)

    def _spin_until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Process callbacks until `done` returns True; return whether it did within the timeout.

        Raises:
            StoppedError: the player was stopped.
        """
        deadline = time.monotonic() + timeout
        while not done():
            if self._stop.is_set():
                raise StoppedError
            left = deadline - time.monotonic()
            if left <= 0.0:
                return False
            self._spinner.spin_once(timeout_sec=min(left, _POLL))
        return True


def _is_heard(publisher: Publisher[Any]) -> bool:
    return publisher.get_subscription_count() > 0


def _recorded(bag: BagReader, topic: str) -> Iterator[Cloud]:
    for _, _, receive_time, cdr in bag.raw([topic]):
        yield Cloud(receive_time, stamp_of(cdr), cdr)


def _reliable(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def main(args: list[str] | None = None) -> int:
    """Run the player and return the exit status.

    2: the bag cannot be played with these parameters; 1: no subscriber appeared in time.
    """
    player = Player(init_until_signalled(args))
    try:
        sent = player.play()
        player.get_logger().info(f"sent {sent} clouds")
        return 0
    except BagError as error:
        player.get_logger().fatal(str(error))
        return USER_ERROR
    except TimeoutError as error:
        player.get_logger().fatal(str(error))
        return 1
    except StoppedError:
        return 0
    finally:
        player.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
