# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where the sensor was when a cloud was taken: sources of poses in the odometry frame.

All have one method, `pose`, which the inference thread calls and which waits there, bounded, so
that no callback ever does.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import rclpy
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from minkowski_perception.node.parameters import ConfigurationError, Settings
from minkowski_perception.temporal.poses import PoseBuffer, pose_matrix
from minkowski_perception.temporal.continuity import NANOSECONDS

Pose = npt.NDArray[np.float64]
_TF_POLL = 0.005  # seconds


class NoPoseError(LookupError):
    """No pose of the sensor at a stamp came in time."""


class EgoMotion(Protocol):
    """A source of poses."""

    def pose(self, frame_id: str, stamp: int) -> Pose | None:
        """Pose [4, 4] of the sensor's frame at a stamp in nanoseconds; None if motion is unknown.

        Raises:
            NoPoseError: it did not come within the time allowed.
        """

    def close(self) -> None:
        """Stop listening."""


def create_ego_motion(node: Node, settings: Settings) -> EgoMotion:
    """Create the source that the parameters ask for.

    Raises:
        ConfigurationError: it needs a package that is not installed.
    """
    if settings.ego_motion == "odometry":
        return OdometryMotion(node, settings)
    if settings.ego_motion == "tf":
        return TfMotion(node, settings)
    return NoMotion()


class NoMotion:
    """Motion is unknown: frames are laid over each other as if the sensor stood still."""

    def pose(self, frame_id: str, stamp: int) -> None:
        """Return None."""

    def close(self) -> None:
        """Nothing to stop."""


class OdometryMotion:
    """Poses from nav_msgs/Odometry on the topic `odometry`, interpolated at the stamp."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node = node
        self._timeout = settings.ego_motion_timeout
        self._sensor_pose = settings.sensor_pose
        self._jump = int(settings.max_step_back * NANOSECONDS)
        self._condition = threading.Condition()
        self._poses = PoseBuffer()
        self._last = 0
        self._subscription = node.create_subscription(
            Odometry,
            "odometry",
            self._on_odometry,
            QoSProfile(
                depth=200, reliability=ReliabilityPolicy[settings.input_reliability.upper()]
            ),
        )

    def _on_odometry(self, message: Odometry) -> None:
        stamp = message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec
        at, turn = message.pose.pose.position, message.pose.pose.orientation
        try:
            pose = pose_matrix((at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w))
        except ValueError as error:
            self._node.get_logger().warning(
                f"odometry ignored: {error}", throttle_duration_sec=5.0
            )
            return
        with self._condition:
            if stamp < self._last - self._jump:
                self._poses.clear()  # a bag that loops: what was recorded before lies ahead now
            self._last = stamp
            self._poses.add(stamp, pose @ self._sensor_pose)
            self._condition.notify_all()

    def pose(self, frame_id: str, stamp: int) -> Pose:
        """See `EgoMotion.pose`."""
        with self._condition:
            found = self._condition.wait_for(
                lambda: self._poses.at(stamp) is not None, self._timeout
            )
            pose = self._poses.at(stamp) if found else None
        if pose is None:
            raise NoPoseError(
                f"no odometry on both sides of stamp {stamp} ns within {self._timeout:g} s "
                f"on topic '{self._subscription.topic_name}'"
            )
        return pose

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)


class TfMotion:
    """Poses from TF, by tf2_ros, listened to on a node and thread of its own."""

    def __init__(self, node: Node, settings: Settings) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise ConfigurationError(
                "ego_motion 'tf' needs the package tf2_ros, which is not installed "
                "(apt install ros-$ROS_DISTRO-tf2-ros-py); or choose 'odometry' or 'none'"
            ) from error
        self._fixed_frame = settings.fixed_frame
        self._timeout = settings.ego_motion_timeout
        self._errors: Any = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        # On its own node the listener does not compete with the clouds for an executor.
        name = f"{node.get_name()}_tf_listener"
        # A launch renames all nodes of the process; an argument of the node's own goes before.
        rename = ["--ros-args", "-r", f"__node:={name}"]
        self._node = rclpy.create_node(name, context=node.context, cli_args=rename)
        self._listener = tf2_ros.TransformListener(self._buffer, self._node, spin_thread=True)

    def pose(self, frame_id: str, stamp: int) -> Pose:
        """See `EgoMotion.pose`."""
        when = rclpy.time.Time(nanoseconds=stamp)
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                # The core's look-up does not wait; the buffer's own would, on the wrong clock.
                found = self._buffer.lookup_transform_core(self._fixed_frame, frame_id, when)
                break
            except self._errors as error:
                if time.monotonic() >= deadline:
                    raise NoPoseError(
                        f"no transform from '{frame_id}' to '{self._fixed_frame}' within "
                        f"{self._timeout:g} s: {error}"
                    ) from error
            time.sleep(_TF_POLL)
        at, turn = found.transform.translation, found.transform.rotation
        try:
            return pose_matrix((at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w))
        except ValueError as error:
            raise NoPoseError(f"transform from '{frame_id}': {error}") from error

    def close(self) -> None:
        """Stop listening."""
        self._listener.unregister()
        self._listener.executor.shutdown()
        self._node.destroy_node()
