# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ego motion from clouds, by registration with KISS-ICP.

Vizzo et al., "KISS-ICP: In Defense of Point-to-Point ICP", RA-L 2023. Its defaults are for a LiDAR
with a range of 100 m; here all lengths are proportional to the range of the sensor, so that depth
cameras work too.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import NANOSECONDS, Frame
from minkowski_perception.missing import MissingPackageError
from minkowski_perception.motion.deskew import compensate
from minkowski_perception.motion.ego_motion import EgoMotion, Mounts
from minkowski_perception.motion.poses import MAX_STEP, Pose
from minkowski_perception.motion.twist import Twist

MIN_POINTS = 100
"""Frames with fewer points are not registered: a match would be chance."""

_FAR_SHARE = 99.0
"""Percentile of the ranges of points that is taken as the range of the sensor."""

_MARGIN = 1.5
_RANGES = (1.0, 150.0)  # metres
_SHORTEST_STEP = 0.005
"""Seconds; frames with closer stamps came in a burst, and give no velocity."""


class Registration(EgoMotion):
    """Registers the frames of one stream; the pose of the first is its mount, or `Frame.upright`.

    The same frames give the same poses. A frame that cannot be registered, such as one with fewer
    points than `MIN_POINTS`, gets a pose extrapolated with the previous velocity, and is counted
    in `coasted`.

    Args:
        deskew: de-skew frames with times before their registration.
        reason: see `EgoMotion`.
        mounts: of the sensors; None if they are unknown.

    Raises:
        MissingPackageError: the package kiss-icp is not installed.
    """

    name = "kiss_icp"

    def __init__(
        self, *, deskew: bool = True, reason: str = "requested", mounts: Mounts | None = None
    ) -> None:
        super().__init__(reason, mounts)
        self._library = _kiss_icp()
        self._deskew = deskew
        self.coasted = 0
        self.reset()

    def reset(self) -> None:
        """Start a new stream with the next frame."""
        self._odometry: Any = None
        self._pose: Pose = np.eye(4)
        self._mount: Pose = self._pose
        self._velocity = Twist(np.zeros(3), np.zeros(3))
        self._period = 0.0  # seconds over which the velocity was measured
        self._stamp: int | None = None
        self._first: Frame | None = None

    def locate(self, frame: Frame) -> Pose:
        """Register a frame, later than the previous one, and return its pose [4, 4] float64.

        When the mount becomes known, or changes, it starts again with the mount.
        """
        mount = self._mounted(frame)
        if self._stamp is None or not np.array_equal(mount, self._mount):
            self.reset()
            self._mount, self._pose = mount, mount.copy()
            self._stamp = frame.stamp
        step = (frame.stamp - self._stamp) / NANOSECONDS
        expected = self._pose @ self._velocity.motion(step)
        begins = self._odometry is None
        pose = self._register(self._measured(frame), expected)
        if pose is None:
            self.coasted += 1
            pose = expected
        elif begins:
            self._first = replace(frame, pose=pose)
        elif step >= _SHORTEST_STEP:
            self._velocity, self._period = Twist.between(self._pose, pose, step), step
            if self._first is not None:
                self._straighten(self._first, frame, pose)
        self._pose, self._stamp = pose, frame.stamp
        return pose.copy()

    def _measured(self, frame: Frame) -> npt.NDArray[np.float64]:
        """Return the points [N, 3] with a return, de-skewed if a velocity is known."""
        if self._deskew and self._period:
            frame = compensate(frame, self._velocity, self._period)
        return frame.points[frame.measured].astype(np.float64)

    def _register(self, points: npt.NDArray[np.float64], expected: Pose) -> Pose | None:
        """Return the pose of points [N, 3] near the expected one; None if registration fails."""
        if len(points) < MIN_POINTS:
            return None
        self._fit_range(points)
        odometry = self._odometry
        # KISS-ICP assumes equal steps in time; this motion accounts for the step between frames.
        odometry.last_pose = self._pose
        odometry.last_delta = np.linalg.inv(self._pose) @ expected
        odometry.register_frame(points, np.empty(0))
        pose: Pose = odometry.last_pose
        step = np.linalg.norm(pose[:3, 3] - self._pose[:3, 3])
        if np.isfinite(pose).all() and step <= MAX_STEP:
            return pose
        self._odometry = None  # its map contains points at wrong positions
        return None

    def _straighten(self, first: Frame, second: Frame, pose: Pose) -> None:
        """Rebuild the map from the first two frames, de-skewed now that a velocity is known.

        Both were skewed alike: they fit each other, but not the frames that follow.
        """
        self._first = None
        if not self._deskew or first.time is None:
            return
        self._odometry.local_map.clear()
        for frame, known in ((first, first.pose), (second, pose)):
            _, points = self._odometry.voxelize(self._measured(frame))
            self._odometry.local_map.update(points, known)

    def _fit_range(self, points: npt.NDArray[np.float64]) -> None:
        """Create KISS-ICP, or create it again if the range of the sensor has doubled.

        A robot that leaves a garage sees further than inside, and drives faster.
        """
        reach = _MARGIN * np.percentile(np.linalg.norm(points, axis=1), _FAR_SHARE)
        max_range = float(np.clip(reach, *_RANGES))
        before = self._odometry
        if before is not None and max_range < 2.0 * before.config.data.max_range:
            return
        self._odometry = self._library.KissICP(self._configuration(max_range))
        if before is not None:
            self._odometry.local_map.add_points(before.local_map.point_cloud())

    def _configuration(self, max_range: float) -> Any:
        library = self._library
        return library.KISSConfig(
            data=library.DataConfig(max_range=max_range, min_range=0.0, deskew=False),
            mapping=library.MappingConfig(voxel_size=0.01 * max_range),
            # Several threads sum in varying order, which varies results.
            registration=library.RegistrationConfig(max_num_threads=1),
            adaptive_threshold=library.AdaptiveThresholdConfig(
                initial_threshold=0.02 * max_range, min_motion_th=0.001 * max_range
            ),
        )


def _kiss_icp() -> Any:
    try:
        from kiss_icp.config import KISSConfig
        from kiss_icp.config.config import (
            AdaptiveThresholdConfig,
            DataConfig,
            MappingConfig,
            RegistrationConfig,
        )
        from kiss_icp.kiss_icp import KissICP
    except ImportError as error:
        raise MissingPackageError(
            f"registration of clouds needs KISS-ICP, which cannot be imported ({error}); "
            "install it with: pip install kiss-icp"
        ) from error
    return SimpleNamespace(
        KissICP=KissICP,
        KISSConfig=KISSConfig,
        DataConfig=DataConfig,
        MappingConfig=MappingConfig,
        RegistrationConfig=RegistrationConfig,
        AdaptiveThresholdConfig=AdaptiveThresholdConfig,
    )
