# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ego motion from what ROS tells of it, and the choice among all that there is.

A source's `locate` is called by the inference thread and waits there, bounded, so that no callback
ever does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.motion.ego_motion import EgoMotion, NoPoseError, StandingStill
from minkowski_perception.motion.poses import Pose, PoseBuffer, pose_matrix
from minkowski_perception.motion.registration import Registration
from minkowski_perception.node.parameters import ConfigurationError, sensor_matrix
from minkowski_perception.settings import Settings

_TF_POLL = 0.005  # seconds
_NEAR = NANOSECONDS
"""Between the latest pose and a cloud that was not kept waiting; more, and their clocks differ."""


def create_ego_motion(node: Node, settings: Settings) -> EgoMotion:
    """Create the source that the parameters ask for.

    Raises:
        ConfigurationError: it needs a package that is not installed.
    """
    create: dict[str, Callable[[], EgoMotion]] = {
        "auto": lambda: AutoMotion(node, settings),
        "tf": lambda: TfMotion(node, settings),
        "odometry": lambda: OdometryMotion(node, settings),
        "kiss_icp": lambda: Registration(deskew=settings.deskew),
        "none": StandingStill,
    }
    try:
        return create[settings.ego_motion]()
    except ImportError as error:
        raise ConfigurationError(f"ego_motion '{settings.ego_motion}': {error}") from error


class OdometryMotion(EgoMotion):
    """Poses from nav_msgs/Odometry on the topic `odometry`, interpolated at the stamp."""

    name = "odometry"

    def __init__(self, node: Node, settings: Settings) -> None:
        super().__init__()
        self._node = node
        self._timeout = settings.ego_motion_timeout
        self._sensor_pose = sensor_matrix(settings.sensor_pose)
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

    def locate(self, frame: Frame) -> Pose:
        """See `EgoMotion.locate`."""
        stamp = frame.stamp
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

    def refusal(self, frame: Frame, deadline: float) -> str:
        """See `EgoMotion.refusal`: odometry of about the frame's time must be heard.

        The first frames of a stream may be older than what is heard first, and have no pose.
        """
        topic = self._subscription.topic_name
        near = _NEAR + int(self._timeout * NANOSECONDS)
        with self._condition:
            if self._condition.wait_for(
                lambda: len(self._poses) and abs(self._last - frame.stamp) <= near,
                max(0.0, deadline - time.monotonic()),
            ):
                return ""
            if not len(self._poses):
                return f"no odometry on '{topic}'"
            apart = (self._last - frame.stamp) / NANOSECONDS
        return f"odometry on '{topic}' is {apart:+.3g} s from the clouds"

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)


class TfMotion(EgoMotion):
    """Poses from TF, by tf2_ros, listened to on a node and thread of its own."""

    name = "tf"

    def __init__(self, node: Node, settings: Settings) -> None:
        super().__init__()
        try:
            import tf2_ros
        except ImportError as error:
            raise ImportError(
                "TF needs the package tf2_ros, which is not installed "
                "(apt install ros-$ROS_DISTRO-tf2-ros-py)"
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

    def locate(self, frame: Frame) -> Pose:
        """See `EgoMotion.locate`."""
        found = self._wait_for(frame, time.monotonic() + self._timeout).transform
        at, turn = found.translation, found.rotation
        try:
            return pose_matrix((at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w))
        except ValueError as error:
            raise NoPoseError(f"transform from '{frame.frame_id}': {error}") from error

    def refusal(self, frame: Frame, deadline: float) -> str:
        """See `EgoMotion.refusal`: TF must answer, or have begun just after the frame."""
        try:
            self._wait_for(frame, deadline)
        except NoPoseError as error:
            near = _NEAR + int(self._timeout * NANOSECONDS)
            if not 0 < self._latest(frame) - frame.stamp <= near:
                return str(error)
        return ""

    def _wait_for(self, frame: Frame, deadline: float) -> Any:
        """TransformStamped at the frame's stamp.

        Raises:
            NoPoseError: it did not come in time.
        """
        when = rclpy.time.Time(nanoseconds=frame.stamp)
        while True:
            try:
                # The core's look-up does not wait; the buffer's own would, on the wrong clock.
                return self._buffer.lookup_transform_core(self._fixed_frame, frame.frame_id, when)
            except self._errors as error:
                if time.monotonic() >= deadline:
                    raise NoPoseError(
                        f"no transform from '{frame.frame_id}' to '{self._fixed_frame}' within "
                        f"{self._timeout:g} s: {error}"
                    ) from error
            time.sleep(_TF_POLL)

    def _latest(self, frame: Frame) -> int:
        """Stamp of the latest transform in nanoseconds, 0 if there is none."""
        try:
            found = self._buffer.lookup_transform_core(
                self._fixed_frame, frame.frame_id, rclpy.time.Time()
            )
        except self._errors:
            return 0
        return int(found.header.stamp.sec * NANOSECONDS + found.header.stamp.nanosec)

    def close(self) -> None:
        """Stop listening."""
        self._listener.unregister()
        self._listener.executor.shutdown()
        self._node.destroy_node()


class AutoMotion(EgoMotion):
    """The best of the sources that there are when a stream begins, until its end.

    TF if it answers, else odometry if it is heard, else registration where KISS-ICP is installed,
    else none. The first frame of a stream waits for the former two, as long as any for its pose.
    """

    name = "auto"

    def __init__(self, node: Node, settings: Settings) -> None:
        super().__init__("no cloud has come yet")
        self._log = node.get_logger()
        self._timeout = settings.ego_motion_timeout
        # What is not installed is there as the reason for that.
        self._candidates: list[EgoMotion | str] = []
        for create in (
            lambda: TfMotion(node, settings),
            lambda: OdometryMotion(node, settings),
            lambda: Registration(deskew=settings.deskew),
        ):
            try:
                self._candidates.append(create())
            except ImportError as error:
                self._candidates.append(str(error))
        self._taken: EgoMotion | None = None

    @property
    def source(self) -> EgoMotion:
        """The source that was taken."""
        return self._taken or self

    def locate(self, frame: Frame) -> Pose | None:
        """See `EgoMotion.locate`."""
        if self._taken is None:
            self._taken = self._choose(frame)
            self._log.info(f"ego motion '{self._taken.name}': {self._taken.reason}")
        return self._taken.locate(frame)

    def _choose(self, frame: Frame) -> EgoMotion:
        """Take the first source that a stream can rest on which begins with this frame."""
        deadline = time.monotonic() + self._timeout
        refusals: list[str] = []
        for candidate in self._candidates:
            if isinstance(candidate, str):
                refusals.append(candidate)
            elif refusal := candidate.refusal(frame, deadline):
                refusals.append(refusal)
            else:
                candidate.reason = "; ".join(refusals) or "it answers"
                return candidate
        return EgoMotion("; ".join(refusals))

    def reset(self) -> None:
        """Choose anew at the next frame."""
        if self._taken is not None:
            self._taken.reset()
        self._taken = None

    def close(self) -> None:
        """Stop listening."""
        for candidate in self._candidates:
            if not isinstance(candidate, str):
                candidate.close()
