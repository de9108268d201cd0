# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Jumps of an odometry: motions that no sensor can make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from minkowski_perception.motion.poses import Pose
from minkowski_perception.motion.twist import Twist

_POSITION_TOLERANCE = 0.5  # metres, of noisy poses
_TURN_TOLERANCE = 0.5  # radians
_ANGULAR_ACCELERATION = 100.0  # radians per second squared, of a sensor in the hand


@dataclass(frozen=True)
class MotionLimits:
    """Largest motion of a sensor between two frames.

    Attributes:
        speed: metres per second.
        acceleration: metres per second squared.
    """

    speed: float = 60.0
    acceleration: float = 50.0

    def allow(self, before: Pose, now: Pose, seconds: float, velocity: Twist | None) -> bool:
        """Return whether a sensor can move from one pose to another.

        Args:
            before: [4, 4] float64.
            now: [4, 4] float64.
            seconds: between the poses, more than 0.
            velocity: at the earlier pose; None if unknown, which leaves only the limit of speed.
        """
        step = float(np.linalg.norm(now[:3, 3] - before[:3, 3]))
        if step > self.speed * seconds + _POSITION_TOLERANCE:
            return False
        if velocity is None:
            return True
        expected = before @ velocity.motion(seconds)
        deviation = float(np.linalg.norm(now[:3, 3] - expected[:3, 3]))
        turn = Rotation.from_matrix(expected[:3, :3].T @ now[:3, :3]).magnitude()
        half_square = 0.5 * seconds**2
        return bool(
            deviation <= self.acceleration * half_square + _POSITION_TOLERANCE
            and turn <= _ANGULAR_ACCELERATION * half_square + _TURN_TOLERANCE
        )
