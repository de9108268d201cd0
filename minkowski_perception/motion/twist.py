# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Motion at constant velocity (a screw motion) between poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from minkowski_perception.motion.poses import Pose

_SMALL = 1e-3
"""Radians; below it a series is more accurate than the quotient that it approximates."""


@dataclass(frozen=True)
class Twist:
    """Velocity of a sensor, constant in its own frame, such as that of a car in a curve.

    Attributes:
        angular: [3] float64, radians per second.
        linear: [3] float64, metres per second.
    """

    angular: npt.NDArray[np.float64]
    linear: npt.NDArray[np.float64]

    @classmethod
    def between(cls, before: Pose, now: Pose, seconds: float) -> Twist:
        """Return the velocity from one pose to another, by a rotation of less than pi."""
        inverse = before[:3, :3].T
        angle = Rotation.from_matrix(inverse @ now[:3, :3]).as_rotvec()
        # The logarithm of SE(3), by the inverse of SO(3)'s left Jacobian.
        translation = inverse @ (now[:3, 3] - before[:3, 3])
        size = np.linalg.norm(angle)
        share = 1 / 12 if size < _SMALL else (1.0 - 0.5 * size / np.tan(0.5 * size)) / size**2
        across = np.cross(angle, translation)
        linear = translation - 0.5 * across + share * np.cross(angle, across)
        return cls(angle / seconds, linear / seconds)

    def motion(self, seconds: float) -> Pose:
        """Return the transform [4, 4] float64 from the sensor's future frame to that of now."""
        motion = np.eye(4)
        motion[:3, :3] = Rotation.from_rotvec(self.angular * seconds).as_matrix()
        motion[:3, 3] = self.carry(np.zeros((1, 3)), np.array([seconds]))[0]
        return motion

    def carry(
        self, points: npt.NDArray[np.floating], seconds: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        """Return points, each measured at its own time, in the sensor's frame of now.

        Args:
            points: [N, 3], metres.
            seconds: [N], time of each point relative to now; negative in the past.

        Returns:
            [N, 3] float64.
        """
        # The exponential of SE(3) applied to a point: its series in cross products with the
        # angular velocity has three distinct terms, as each further one is a multiple of the
        # last but one.
        rate = np.linalg.norm(self.angular)
        time = np.asarray(seconds, np.float64)
        angle = rate * time
        small = np.abs(angle) < _SMALL
        safe = np.where(small, 1.0, angle)
        bend = 0.5 * time**2 * np.sinc(angle / (2 * np.pi)) ** 2
        close = time**3 * np.where(small, 1 / 6, (safe - np.sin(safe)) / safe**3)
        velocity = np.cross(self.angular, points) + self.linear
        across = np.cross(self.angular, velocity)
        inward = np.cross(self.angular, across)
        return points + time[:, None] * velocity + bend[:, None] * across + close[:, None] * inward
