# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""De-skewing: moving the points of a cloud to the cloud's stamp."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.motion.poses import Pose
from minkowski_perception.motion.twist import Twist

MAX_SWEEPS = 2.0
"""Largest distance of a point's time from the stamp, in steps between two frames."""

_OUTLIERS = 0.02
"""Share of points whose times may be further away."""

MAX_SPEED = 150.0
"""Metres per second; a faster sensor is an error of its poses."""

MAX_TURN_RATE = 50.0
"""Radians per second."""


def deskew(frame: Frame, before: Pose, stamp: int) -> Frame:
    """Return a frame whose points lie where the sensor would have seen them at its stamp.

    The velocity between the earlier pose and the frame's pose is assumed constant over the frame.

    Args:
        frame: N points, with its pose.
        before: [4, 4] float64, an earlier pose of the sensor in the same odometry frame.
        stamp: of that pose, nanoseconds.

    Returns:
        The frame with moved points and without times, so that they are not moved again; or the
        frame itself if it has no times, or impossible ones (see `compensate`).

    Raises:
        ValueError: the frame has no pose, or its stamp is not later than that of `before`.
    """
    if frame.pose is None:
        raise ValueError("a frame without a pose cannot be de-skewed")
    seconds = (frame.stamp - stamp) / NANOSECONDS
    if seconds <= 0.0:
        raise ValueError(
            f"stamp {frame.stamp} ns is not later than that of the earlier pose, {stamp} ns"
        )
    return compensate(frame, Twist.between(before, frame.pose, seconds), seconds)


def compensate(frame: Frame, velocity: Twist, step: float) -> Frame:
    """De-skew a frame with a given velocity; see `deskew`.

    Points without a return or without a finite time are not changed, nor are those whose time is
    further from the stamp than `MAX_SWEEPS` steps. If many are, the times have another unit or
    origin than expected, and the frame is returned unchanged. It is also returned unchanged if the
    velocity is beyond `MAX_SPEED` or `MAX_TURN_RATE`.

    Args:
        frame: N points.
        velocity: of the sensor, at the frame's stamp.
        step: seconds between the stamps of the previous frame and this one.
    """
    if (
        frame.time is None
        or np.linalg.norm(velocity.linear) > MAX_SPEED
        or np.linalg.norm(velocity.angular) > MAX_TURN_RATE
    ):
        return frame
    moved = np.isfinite(frame.time) & frame.measured
    far = moved & (np.abs(frame.time) > MAX_SWEEPS * step)
    if np.count_nonzero(far) > _OUTLIERS * np.count_nonzero(moved):
        return frame
    moved &= ~far
    time = frame.time[moved]
    points = frame.points.copy()
    points[moved] = velocity.carry(points[moved], time)
    return replace(frame, points=points, time=None)
