# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Poses of a sensor by stamp, with interpolation."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation, Slerp

Pose = npt.NDArray[np.float64]
"""[4, 4] float64 transform from one frame to another, such as from the sensor's to odometry."""

_NUMBERS = 12
"""Numbers of a pose that vary; its last row is 0, 0, 0, 1."""

MAX_STEP = 100.0
"""Metres between two frames; a larger step is a failed registration."""

MAX_DISTANCE = 1e8
"""Metres from the origin; a pose further away is an error, and its voxels have no precision."""


def pose_matrix(translation: npt.ArrayLike, quaternion_xyzw: npt.ArrayLike) -> Pose:
    """Return the pose of a translation in metres and a quaternion in ROS order (x, y, z, w).

    Raises:
        ValueError: a value is not finite, the quaternion is zero, or the translation is beyond
            `MAX_DISTANCE`.
    """
    pose = np.eye(4)
    pose[:3, 3] = translation
    pose[:3, :3] = Rotation.from_quat(quaternion_xyzw).as_matrix()
    if not np.isfinite(pose).all():
        raise ValueError(f"pose is not finite: {translation!r}, {quaternion_xyzw!r}")
    if np.abs(pose[:3, 3]).max() > MAX_DISTANCE:
        raise ValueError(f"pose is more than {MAX_DISTANCE:g} m from the origin: {translation!r}")
    return pose


def in_changed_world(
    pose: Pose,
    linear: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64] | float = 0.0,
    of_points: npt.NDArray[np.float64] | None = None,
) -> Pose:
    """Return a sensor's pose after the world is rotated, mirrored, scaled or shifted.

    A point p in the sensor's frame becomes of_points @ p, and its position x in the world becomes
    linear @ x + shift. The new pose takes the new points to the new positions.

    Args:
        pose: [4, 4], rigid.
        linear: [3, 3], an orthogonal matrix times a scale.
        shift: [3], metres; or one number for all axes.
        of_points: [3, 3], the same change along the sensor's axes, of the same scale; None if the
            sensor's axes are those of the world.

    Returns:
        [4, 4], rigid.
    """
    changed = np.eye(4)
    of_points = linear if of_points is None else of_points
    changed[:3, :3] = linear @ pose[:3, :3] @ np.linalg.inv(of_points)
    changed[:3, 3] = linear @ pose[:3, 3] + shift
    return changed


class PoseBuffer:
    """Recent poses of one frame, [4, 4] float64, by stamp in nanoseconds; 104 bytes each.

    Args:
        capacity: largest number of poses; the oldest is dropped beyond it.
    """

    def __init__(self, capacity: int = 2000) -> None:
        self._capacity = capacity
        self._stamps = array("q")
        self._rows = array("d")  # the first three rows of each pose

    def __len__(self) -> int:
        return len(self._stamps)

    def clear(self) -> None:
        """Remove all poses."""
        del self._stamps[:], self._rows[:]

    @property
    def stamps(self) -> Sequence[int]:
        """Stamps of the poses, sorted."""
        return self._stamps

    def add(self, stamp: int, pose: Pose) -> None:
        """Add a pose, in any order of stamps; it replaces a pose of the same stamp."""
        index = bisect.bisect_left(self._stamps, stamp)
        rows = array("d", np.asarray(pose, np.float64)[:3].tobytes())
        start = index * _NUMBERS
        if index < len(self._stamps) and self._stamps[index] == stamp:
            self._rows[start : start + _NUMBERS] = rows
            return
        self._stamps.insert(index, stamp)
        self._rows[start:start] = rows
        if len(self._stamps) > self._capacity:
            del self._stamps[0], self._rows[:_NUMBERS]

    def at(self, stamp: int) -> Pose | None:
        """Return the pose at a stamp; None without poses on both sides of it or exactly at it.

        The translation is interpolated linearly, the rotation spherically. Nothing is
        extrapolated, since an error of the pose would shift all voxels of a frame.
        """
        index = bisect.bisect_left(self._stamps, stamp)
        if index == len(self._stamps):
            return None
        if self._stamps[index] == stamp:
            return self._pose(index)
        if index == 0:
            return None
        before, after = self._pose(index - 1), self._pose(index)
        start, end = self._stamps[index - 1], self._stamps[index]
        share = (stamp - start) / (end - start)
        pose = np.eye(4)
        pose[:3, 3] = (1.0 - share) * before[:3, 3] + share * after[:3, 3]
        turn = Slerp([0.0, 1.0], Rotation.from_matrix([before[:3, :3], after[:3, :3]]))
        pose[:3, :3] = turn(share).as_matrix()
        return pose

    def _pose(self, index: int) -> Pose:
        pose = np.eye(4)
        rows = self._rows[index * _NUMBERS : (index + 1) * _NUMBERS]
        pose[:3] = np.array(rows).reshape(3, 4)
        return pose
