# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ego motion from TF and odometry, and the automatic choice between all sources.

`locate` runs in the worker thread. It may wait there, at most for the timeout and until
`interrupt`; no callback waits.
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

from minkowski_perception.frame import NANOSECONDS, Frame, nanoseconds
from minkowski_perception.motion.ego_motion import (
    EgoMotion,
    InterruptedWaitError,
    NoPoseError,
    StandingStill,
)
from minkowski_perception.motion.poses import Pose, PoseBuffer
from minkowski_perception.motion.registration import Registration
from minkowski_perception.motion.transforms import message_pose, plain
from minkowski_perception.node.parameters import ConfigurationError, sensor_matrix
from minkowski_perception.node.transforms import Transforms
from minkowski_perception.settings import Settings

_TF_POLL = 0.005  # seconds
_NEAR = NANOSECONDS
"""Largest distance in nanoseconds between the latest pose and a cloud, beyond the timeout.

If they are further apart, their clocks differ.
"""


def create_ego_motion(node: Node, settings: Settings, transforms: Transforms) -> EgoMotion:
    """Return the ego-motion source that the settings name.

    Args:
        node: subscribes.
        settings: of the stream.
        transforms: of the node; the caller closes them.

    Raises:
        ConfigurationError: the source needs a package that is not installed.
    """
    create: dict[str, Callable[[], EgoMotion]] = {
        "auto": lambda: AutoMotion(node, settings, transforms),
        "tf": lambda: TfMotion(settings, transforms),
        "odometry": lambda: OdometryMotion(node, settings, transforms),
        "kiss_icp": lambda: Registration(deskew=settings.deskew, mounts=transforms.mount),
        "none": lambda: StandingStill(transforms.mount),
    }
    try:
        return create[settings.ego_motion]()
    except ImportError as error:
        raise ConfigurationError(f"ego_motion '{settings.ego_motion}': {error}") from error


class OdometryMotion(EgoMotion):
    """Poses from nav_msgs/Odometry, interpolated at the stamp.

    The sensor's pose in the odometry's child frame is the setting `sensor_pose`. If that is zero,
    it is the static transform between the two frames, where there is one.
    """

    name = "odometry"
    knows_up = True

    def __init__(self, node: Node, settings: Settings, transforms: Transforms) -> None:
        sensor_pose = sensor_matrix(settings.sensor_pose)
        is_given = any(settings.sensor_pose)
        super().__init__(mounts=(lambda _: sensor_pose) if is_given else transforms.mount)
        self._node = node
        self._timeout = settings.ego_motion_timeout
        self._sensor_pose = sensor_pose
        self._transforms = None if is_given else transforms
        self._child_frame_id = ""
        self._jump = int(settings.max_step_back * NANOSECONDS)
        self._condition = threading.Condition()
        self._interrupted = False
        self._poses = PoseBuffer()
        self._last = 0
        self._subscription = node.create_subscription(
            Odometry,
            settings.odometry_topic,
            self._on_odometry,
            QoSProfile(
                depth=200, reliability=ReliabilityPolicy[settings.input_reliability.upper()]
            ),
        )

    def _on_odometry(self, message: Odometry) -> None:
        stamp = nanoseconds(message.header.stamp)
        pose = message.pose.pose
        try:
            matrix = message_pose(pose.position, pose.orientation)
        except ValueError as error:
            self._node.get_logger().warning(
                f"odometry ignored: {error}", throttle_duration_sec=5.0
            )
            return
        with self._condition:
            if stamp < self._last - self._jump:
                self._poses.clear()  # a bag that loops: the older poses have later stamps
            self._last = stamp
            self.fixed_frame = message.header.frame_id
            self._child_frame_id = message.child_frame_id
            self._poses.add(stamp, matrix)
            self._condition.notify_all()

    def locate(self, frame: Frame) -> Pose:
        """Return the pose interpolated at the stamp; see `EgoMotion.locate`."""
        stamp = frame.stamp
        with self._condition:
            self._wait_for(lambda: self._poses.at(stamp) is not None, self._timeout)
            pose = self._poses.at(stamp)
        if pose is None:
            raise NoPoseError(
                f"no odometry on both sides of stamp {stamp} ns within {self._timeout:g} s "
                f"on topic '{self._subscription.topic_name}'"
            )
        return pose @ self._in_child_frame(frame.frame_id)

    def _in_child_frame(self, frame_id: str) -> Pose:
        """Return the pose of a sensor in the odometry's child frame."""
        if self._transforms is None:
            return self._sensor_pose
        static = self._transforms.between(frame_id, self._child_frame_id)
        return self._sensor_pose if static is None else static

    def unavailable_reason(self, frame: Frame, deadline: float) -> str:
        """See `EgoMotion.unavailable_reason`; odometry near the frame's stamp makes it available.

        The first frames of a stream may be older than the first odometry, and have no pose.
        """
        topic = self._subscription.topic_name
        near = _NEAR + int(self._timeout * NANOSECONDS)
        with self._condition:
            wait = max(0.0, deadline - time.monotonic())
            if self._wait_for(lambda: self._is_near(frame, near), wait):
                return ""
            if not len(self._poses):
                return f"no odometry on '{topic}'"
            offset = (self._last - frame.stamp) / NANOSECONDS
        return f"odometry on '{topic}' is {offset:+.3g} s from the clouds"

    def _wait_for(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds; return whether it did in time.

        Raises:
            InterruptedWaitError: `interrupt` was called before.
        """
        self._condition.wait_for(lambda: self._interrupted or done(), seconds)
        if done():
            return True
        if self._interrupted:
            raise InterruptedWaitError("the node stopped during the wait for odometry")
        return False

    def _is_near(self, frame: Frame, distance: int) -> bool:
        """Return whether the latest pose is at most so many nanoseconds from a frame."""
        return len(self._poses) > 0 and abs(self._last - frame.stamp) <= distance

    def interrupt(self) -> None:
        """See `EgoMotion.interrupt`."""
        with self._condition:
            self._interrupted = True
            self._condition.notify_all()

    def resume(self) -> None:
        """See `EgoMotion.resume`."""
        with self._condition:
            self._interrupted = False

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)


class TfMotion(EgoMotion):
    """Poses from TF.

    Raises:
        MissingPackageError: tf2_ros is not installed.
    """

    name = "tf"
    knows_up = True

    def __init__(self, settings: Settings, transforms: Transforms) -> None:
        super().__init__(mounts=transforms.mount)
        self._buffer = transforms.buffer()
        from tf2_ros import TransformException

        self._errors: Any = TransformException
        self.fixed_frame = plain(settings.fixed_frame)
        self._timeout = settings.ego_motion_timeout
        self._interrupted = threading.Event()

    def locate(self, frame: Frame) -> Pose:
        """Return the transform at the stamp; see `EgoMotion.locate`."""
        found = self._wait_for(frame, time.monotonic() + self._timeout).transform
        try:
            return message_pose(found.translation, found.rotation)
        except ValueError as error:
            raise NoPoseError(f"transform from '{frame.frame_id}': {error}") from error

    def unavailable_reason(self, frame: Frame, deadline: float) -> str:
        """See `EgoMotion.unavailable_reason`.

        TF is available if it has a transform at the frame's stamp, or one a little later.
        """
        try:
            self._wait_for(frame, deadline)
        except NoPoseError as error:
            near = _NEAR + int(self._timeout * NANOSECONDS)
            if not 0 < self._latest(frame) - frame.stamp <= near:
                return str(error)
        return ""

    def _wait_for(self, frame: Frame, deadline: float) -> Any:
        """Return the TransformStamped at the frame's stamp.

        Raises:
            NoPoseError: it did not arrive before the deadline.
            InterruptedWaitError: `interrupt` was called.
        """
        when = rclpy.time.Time(nanoseconds=frame.stamp)
        while True:
            try:
                # The buffer's own look-up would wait, and by ROS time, which may be paused.
                return self._look_up(frame, when)
            except self._errors as error:
                if time.monotonic() >= deadline:
                    raise NoPoseError(
                        f"no transform from '{frame.frame_id}' to '{self.fixed_frame}' within "
                        f"{self._timeout:g} s: {error}"
                    ) from error
            if self._interrupted.wait(_TF_POLL):
                raise InterruptedWaitError("the node stopped during the wait for TF")

    def _latest(self, frame: Frame) -> int:
        """Return the stamp of the latest transform in nanoseconds; 0 if there is none."""
        try:
            found = self._look_up(frame, rclpy.time.Time())
        except self._errors:
            return 0
        return nanoseconds(found.header.stamp)

    def _look_up(self, frame: Frame, when: rclpy.time.Time) -> Any:
        """Return the TransformStamped to the fixed frame; tf2 knows no leading slashes."""
        return self._buffer.lookup_transform_core(self.fixed_frame, plain(frame.frame_id), when)

    def interrupt(self) -> None:
        """See `EgoMotion.interrupt`."""
        self._interrupted.set()

    def resume(self) -> None:
        """See `EgoMotion.resume`."""
        self._interrupted.clear()


class AutoMotion(EgoMotion):
    """Chooses the best available source at the start of each stream, for the whole stream.

    In this order: TF, odometry, registration if KISS-ICP is installed, none. The first frame waits
    for TF and odometry, together at most for the timeout. Later streams do not wait: on a slow
    machine a wait would let the next cloud come too late, and so start the next stream.
    """

    name = "auto"

    def __init__(self, node: Node, settings: Settings, transforms: Transforms) -> None:
        super().__init__("no cloud received yet", transforms.mount)
        self._log = node.get_logger()
        self._timeout = settings.ego_motion_timeout
        # A source whose package is not installed is represented by the error message.
        self._candidates: list[EgoMotion | str] = []
        for create in (
            lambda: TfMotion(settings, transforms),
            lambda: OdometryMotion(node, settings, transforms),
            lambda: Registration(deskew=settings.deskew, mounts=transforms.mount),
        ):
            try:
                self._candidates.append(create())
            except ImportError as error:
                self._candidates.append(str(error))
        self._chosen: EgoMotion | None = None
        self._has_waited = False

    @property
    def source(self) -> EgoMotion:
        """The chosen source; this object before the first choice."""
        return self._chosen or self

    def locate(self, frame: Frame) -> Pose | None:
        """Return the pose that the chosen source gives; see `EgoMotion.locate`."""
        if self._chosen is None:
            self._chosen = self._choose(frame)
            self._log.info(f"ego motion '{self._chosen.name}': {self._chosen.reason}")
        return self._chosen.locate(frame)

    def _choose(self, frame: Frame) -> EgoMotion:
        """Return the first available source for the stream that begins with this frame."""
        deadline = time.monotonic() + (0.0 if self._has_waited else self._timeout)
        self._has_waited = True
        unavailable: list[str] = []
        for candidate in self._candidates:
            if isinstance(candidate, str):
                unavailable.append(candidate)
            elif reason := candidate.unavailable_reason(frame, deadline):
                unavailable.append(reason)
            else:
                candidate.reason = "; ".join(unavailable) or "first choice"
                return candidate
        return EgoMotion("; ".join(unavailable), self._mounts)

    def reset(self) -> None:
        """Choose again at the next frame."""
        if self._chosen is not None:
            self._chosen.reset()
        self._chosen = None

    def interrupt(self) -> None:
        """See `EgoMotion.interrupt`."""
        for candidate in self._sources():
            candidate.interrupt()

    def resume(self) -> None:
        """See `EgoMotion.resume`."""
        self._has_waited = False
        for candidate in self._sources():
            candidate.resume()

    def close(self) -> None:
        """Close all sources."""
        for candidate in self._sources():
            candidate.close()

    def _sources(self) -> list[EgoMotion]:
        return [c for c in self._candidates if isinstance(c, EgoMotion)]
