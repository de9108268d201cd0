# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where the sensor was when a frame was taken: sources of poses in the odometry frame."""

from __future__ import annotations

from minkowski_perception.frame import Frame, upright
from minkowski_perception.motion.poses import Pose, PoseBuffer


class NoPoseError(LookupError):
    """There is no pose of the sensor at a stamp, or it did not come in time."""


class EgoMotion:
    """A source of poses. This one knows of none; the others derive from it.

    Attributes:
        name: of the source, as parameters, diagnostics and summaries have it.
        reason: why it was taken.
        coasted: frames whose poses were guessed from the velocity before them.
    """

    name = "none"
    coasted = 0

    def __init__(self, reason: str = "asked for") -> None:
        self.reason = reason

    @property
    def source(self) -> EgoMotion:
        """Itself, unless it chooses among others."""
        return self

    def refusal(self, frame: Frame, deadline: float) -> str:
        """Why a stream that begins with this frame cannot rest on the source; empty if it can.

        Args:
            frame: the first one.
            deadline: of `time.monotonic`, until when a sign of life is waited for.
        """
        return ""

    def locate(self, frame: Frame) -> Pose | None:
        """Pose [4, 4] float64 of the sensor at the frame's stamp; None if motion is unknown.

        Frames come in the order of time; before one that does not continue the stream of those
        before it comes a `reset`.

        Raises:
            NoPoseError: there is no such pose, or it did not come within the time allowed.
        """
        return None

    def reset(self) -> None:
        """Take the next frame for the first of a stream."""

    def close(self) -> None:
        """Stop listening, where the source listens to anything."""


class StandingStill(EgoMotion):
    """A sensor that does not move."""

    def locate(self, frame: Frame) -> Pose:
        """See `EgoMotion.locate`; always `upright`."""
        return upright(frame.frame_id)


class RecordedMotion(EgoMotion):
    """Poses that are all known beforehand, those of a bag.

    Args:
        poses: of the sensor.
        reason: see `EgoMotion`.
    """

    name = "bag"

    def __init__(self, poses: PoseBuffer, reason: str = "asked for") -> None:
        super().__init__(reason)
        self._poses = poses

    def locate(self, frame: Frame) -> Pose:
        """See `EgoMotion.locate`."""
        pose = self._poses.at(frame.stamp)
        if pose is None:
            raise NoPoseError(f"the bag has no pose on both sides of stamp {frame.stamp} ns")
        return pose
