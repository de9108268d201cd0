# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where the sensor was, and when: poses by stamp, interpolated."""

from __future__ import annotations

import bisect

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation, Slerp

Pose = npt.NDArray[np.float64]
"""[4, 4] float64, takes points of one frame to another, such as the sensor's to the odometry's."""

MAX_STEP = 100.0
"""Metres between two frames beyond which the odometry was reset: no robot moves so far."""


def pose_matrix(translation: npt.ArrayLike, quaternion_xyzw: npt.ArrayLike) -> Pose:
    """[4, 4] float64 from a translation in metres and a quaternion in ROS order (x, y, z, w).

    Raises:
        ValueError: a value is not finite, or the quaternion has no length.
    """
    pose = np.eye(4)
    pose[:3, 3] = translation
    pose[:3, :3] = Rotation.from_quat(quaternion_xyzw).as_matrix()
    if not np.isfinite(pose).all():
        raise ValueError(f"pose is not finite: {translation!r}, {quaternion_xyzw!r}")
    return pose


def in_changed_world(
    pose: Pose,
    linear: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64] | float = 0.0,
    of_points: npt.NDArray[np.float64] | None = None,
) -> Pose:
    """Pose of a sensor in a world that is turned, mirrored, scaled or shifted, as its points are.

    Where a point p of the sensor's frame becomes of_points * p, its place in the world becomes
    linear * place + shift.

    Args:
        pose: rigid.
        linear: [3, 3], an orthogonal matrix times a number.
        shift: [3], metres; or the same on each axis.
        of_points: [3, 3], the same change in the sensor's axes, with the same number; None where
            they are as the world's.

    Returns:
        [4, 4], rigid too.
    """
    changed = np.eye(4)
    of_points = linear if of_points is None else of_points
    changed[:3, :3] = linear @ pose[:3, :3] @ np.linalg.inv(of_points)
    changed[:3, 3] = linear @ pose[:3, 3] + shift
    return changed


class PoseBuffer:
    """The recent poses of one frame, [4, 4] float64 each, asked for by stamp in nanoseconds.

    Bounded: the oldest pose goes when `capacity` is reached.
    """

    def __init__(self, capacity: int = 2000) -> None:
        self._capacity = capacity
        self._stamps: list[int] = []
        self._poses: list[Pose] = []

    def __len__(self) -> int:
        return len(self._stamps)

    def clear(self) -> None:
        """Forget all poses."""
        self._stamps.clear()
        self._poses.clear()

    def add(self, stamp: int, pose: Pose) -> None:
        """Take a pose in; poses may come in any order, and one of the same stamp is replaced."""
        place = bisect.bisect_left(self._stamps, stamp)
        if place < len(self._stamps) and self._stamps[place] == stamp:
            self._poses[place] = pose
            return
        self._stamps.insert(place, stamp)
        self._poses.insert(place, pose)
        if len(self._stamps) > self._capacity:
            del self._stamps[0], self._poses[0]

    def at(self, stamp: int) -> Pose | None:
        """Pose at a stamp, or None unless poses lie on both sides of it (or exactly at it).

        Between two poses the translation is linear and the rotation spherical-linear.
        Nothing is extrapolated: a pose that is guessed would shift voxels of a whole frame.
        """
        place = bisect.bisect_left(self._stamps, stamp)
        if place == len(self._stamps):
            return None
        if self._stamps[place] == stamp:
            return self._poses[place]
        if place == 0:
            return None
        before, after = self._poses[place - 1], self._poses[place]
        start, end = self._stamps[place - 1], self._stamps[place]
        share = (stamp - start) / (end - start)
        pose = np.eye(4)
        pose[:3, 3] = (1.0 - share) * before[:3, 3] + share * after[:3, 3]
        turn = Slerp([0.0, 1.0], Rotation.from_matrix([before[:3, :3], after[:3, :3]]))
        pose[:3, :3] = turn(share).as_matrix()
        return pose
