# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of ego motion: poses of the sensor in the odometry frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minkowski_perception.frame import Frame
from minkowski_perception.motion.poses import Pose, PoseBuffer

Mounts = Callable[[str], Pose | None]
"""Returns the pose [4, 4] of a sensor in the robot by its frame_id; None if it is unknown."""


class NoPoseError(LookupError):
    """There is no pose of the sensor at a stamp, or it did not arrive in time."""


class InterruptedWaitError(Exception):
    """The wait for a pose was interrupted, since the stream stops."""


class EgoMotion:
    """Base class of the sources of poses; itself a source without poses.

    Args:
        reason: why this source was chosen.
        mounts: of the sensors; None if they are unknown.

    Attributes:
        name: of the source in parameters, diagnostics and summaries.
        reason: why this source was chosen.
        fixed_frame: name of the odometry frame, once the source has given a pose.
        coasted: number of frames whose pose was extrapolated from the previous velocity.
        knows_up: whether it knows how the sensor is mounted; else it assumes `Frame.upright`.
    """

    name = "none"
    fixed_frame = "odom_lidar"  # as KISS-ICP names it; nobody publishes its transforms
    coasted = 0
    knows_up = False

    def __init__(self, reason: str = "requested", mounts: Mounts | None = None) -> None:
        self.reason = reason
        self._mounts = mounts

    def mount(self, frame_id: str) -> Pose | None:
        """Return the pose [4, 4] of a sensor in the robot; None if it is unknown."""
        return None if self._mounts is None else self._mounts(frame_id)

    def _mounted(self, frame: Frame) -> Pose:
        """Return the mount of a frame's sensor, or `Frame.upright`; set `knows_up`."""
        mount = self.mount(frame.frame_id)
        self.knows_up = mount is not None
        return frame.upright if mount is None else mount.copy()

    @property
    def source(self) -> EgoMotion:
        """The source in use; another object where this one chooses between sources."""
        return self

    def unavailable_reason(self, frame: Frame, deadline: float) -> str:
        """Return why a stream cannot use this source, or "" if it can.

        Args:
            frame: first frame of the stream.
            deadline: time of `time.monotonic` until which to wait for data of the source.

        Raises:
            InterruptedWaitError: `interrupt` was called.
        """
        return ""

    def locate(self, frame: Frame) -> Pose | None:
        """Return the pose [4, 4] float64 of the sensor at the frame's stamp; None if unknown.

        Call it in the order of stamps, and `reset` before the first frame of a new stream.

        Raises:
            NoPoseError: there is no such pose, or it did not arrive within the time allowed.
            InterruptedWaitError: `interrupt` was called.
        """
        return None

    def interrupt(self) -> None:
        """End a wait in another thread, and all later ones, until `resume`."""

    def resume(self) -> None:
        """Allow waits again."""

    def reset(self) -> None:
        """Start a new stream with the next frame."""

    def close(self) -> None:
        """Release subscriptions, if the source has any."""


class StandingStill(EgoMotion):
    """A sensor that does not move.

    Args:
        mounts: of the sensors; None if they are unknown.
    """

    def __init__(self, mounts: Mounts | None = None) -> None:
        super().__init__(mounts=mounts)

    def locate(self, frame: Frame) -> Pose:
        """Return the mount of the sensor, or `Frame.upright`, for every frame."""
        pose = self._mounted(frame)
        if np.array_equal(pose, np.eye(4)):
            self.fixed_frame = frame.frame_id
        return pose


class RecordedMotion(EgoMotion):
    """Recorded poses of the sensor, from a bag.

    Args:
        poses_of: returns all poses of the sensor of a frame_id.
        fixed_frame: see `EgoMotion`.
        reason: see `EgoMotion`.
    """

    name = "bag"
    knows_up = True

    def __init__(
        self,
        poses_of: Callable[[str], PoseBuffer],
        fixed_frame: str = "odom",
        reason: str = "requested",
    ) -> None:
        super().__init__(reason)
        self.fixed_frame = fixed_frame
        self._poses_of = poses_of

    def locate(self, frame: Frame) -> Pose:
        """Return the interpolated pose; see `EgoMotion.locate`."""
        pose = self._poses_of(frame.frame_id).at(frame.stamp)
        if pose is None:
            raise NoPoseError(f"the bag has no pose on both sides of stamp {frame.stamp} ns")
        return pose
