# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""De-skewing: a cloud as if all of its points had been measured at its stamp."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.motion.poses import Pose
from minkowski_perception.motion.twist import Twist

MAX_SWEEPS = 2.0
"""Steps from stamp to stamp: no sensor measures a point that long before or after its stamp."""


def deskew(frame: Frame, before: Pose, stamp: int) -> Frame:
    """Move every point to where the sensor would have seen it at the frame's stamp.

    The velocity from the pose before to the frame's own is taken to hold throughout the frame.

    Args:
        frame: N points, with its pose.
        before: [4, 4] float64, the sensor's pose in the same odometry frame at an earlier stamp.
        stamp: that stamp, nanoseconds.

    Returns:
        The frame with other points, and without their times, so that nobody moves them again; or
        the frame itself where it has no times, or such that cannot be (see `compensate`).

    Raises:
        ValueError: the frame has no pose, or is not later than the one before.
    """
    if frame.pose is None:
        raise ValueError("a frame without a pose cannot be de-skewed")
    seconds = (frame.stamp - stamp) / NANOSECONDS
    if seconds <= 0.0:
        raise ValueError(f"stamp {frame.stamp} ns is not later than the pose before, {stamp} ns")
    return compensate(frame, Twist.between(before, frame.pose, seconds), seconds)


def compensate(frame: Frame, velocity: Twist, step: float) -> Frame:
    """De-skew a frame by a velocity that is known; see `deskew`.

    Points that measured nothing, or at a time that is not finite, keep their bits. Where any other
    time lies further from the stamp than `MAX_SWEEPS` steps, unit or origin of the times is not
    what it seems: the frame is returned as it is.

    Args:
        frame: N points.
        velocity: of the sensor, at the frame's stamp.
        step: seconds from the stamp before to the frame's.
    """
    if frame.time is None:
        return frame
    # A place of zeros means that nothing came back.
    moved = np.isfinite(frame.time) & frame.valid & frame.points.any(axis=1)
    time = frame.time[moved]
    if np.abs(time).max(initial=0.0) > MAX_SWEEPS * step:
        return frame
    points = frame.points.copy()
    points[moved] = velocity.carry(points[moved], time)
    return replace(frame, points=points, time=None)
