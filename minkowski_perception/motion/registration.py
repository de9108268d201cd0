# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ego motion out of the clouds themselves, registered one after another by KISS-ICP.

Vizzo et al., "KISS-ICP: In Defense of Point-to-Point ICP", RA-L 2023. Its defaults are for a LiDAR
that sees 100 m; here all lengths follow from how far a sensor sees, so that depth cameras fit too.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import NANOSECONDS, Frame, upright
from minkowski_perception.motion.deskew import compensate
from minkowski_perception.motion.ego_motion import EgoMotion
from minkowski_perception.motion.poses import MAX_STEP, Pose
from minkowski_perception.motion.twist import Twist

MIN_POINTS = 100
"""With fewer points a frame is not registered: any match would be chance."""

_FAR_SHARE = 99.0
"""Percentile of the ranges that stands for how far a sensor sees: single echoes lie further."""

_MARGIN = 1.5
_RANGES = (1.0, 150.0)  # metres
_SHORTEST_STEP = 0.005
"""Seconds. Frames that are stamped nearer to each other came in a burst: no velocity in that."""


class Registration(EgoMotion):
    """Registers the frames of one stream; the first one's pose is `upright`.

    The same frames give the same poses. A frame that cannot be registered, such as one with fewer
    points than `MIN_POINTS`, gets the pose that the velocity before it leads to, and is counted
    in `coasted`.

    Args:
        deskew: move points to the frame's stamp before, where they have times.
        reason: see `EgoMotion`.

    Raises:
        ImportError: the package kiss-icp is not installed.
    """

    name = "kiss_icp"

    def __init__(self, *, deskew: bool = True, reason: str = "asked for") -> None:
        super().__init__(reason)
        self._library = _kiss_icp()
        self._deskew = deskew
        self.coasted = 0
        self.reset()

    def reset(self) -> None:
        """Take the next frame for the first of a stream."""
        self._odometry: Any = None
        self._pose: Pose = upright("")
        self._velocity = Twist(np.zeros(3), np.zeros(3))
        self._period = 0.0  # seconds that the velocity was measured over
        self._stamp: int | None = None
        self._first: Frame | None = None

    def locate(self, frame: Frame) -> Pose:
        """Register a frame, later than the one before, and return its pose [4, 4] float64."""
        if self._stamp is None:
            self._pose, self._stamp = upright(frame.frame_id), frame.stamp
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
        """[N, 3] points of a frame that are measurements, de-skewed once there is a velocity."""
        if self._deskew and self._period:
            frame = compensate(frame, self._velocity, self._period)
        return frame.points[frame.valid & frame.points.any(axis=1)].astype(np.float64)

    def _register(self, points: npt.NDArray[np.float64], expected: Pose) -> Pose | None:
        """Pose of points [N, 3] near the one that is expected; None where there is none."""
        if len(points) < MIN_POINTS:
            return None
        self._fit_range(points)
        odometry = self._odometry
        # KISS-ICP expects the motion of the frame before; ours has the time between frames in it.
        odometry.last_pose = self._pose
        odometry.last_delta = np.linalg.inv(self._pose) @ expected
        odometry.register_frame(points, np.empty(0))
        pose: Pose = odometry.last_pose
        step = np.linalg.norm(pose[:3, 3] - self._pose[:3, 3])
        if np.isfinite(pose).all() and step <= MAX_STEP:
            return pose
        self._odometry = None  # its map holds what has no place
        return None

    def _straighten(self, first: Frame, second: Frame, pose: Pose) -> None:
        """Map the first two sweeps anew, now that the velocity to de-skew them by is known.

        Bent alike they fit each other, but not those that follow.
        """
        self._first = None
        if not self._deskew or first.time is None:
            return
        self._odometry.local_map.clear()
        for frame, place in ((first, first.pose), (second, pose)):
            _, points = self._odometry.voxelize(self._measured(frame))
            self._odometry.local_map.update(points, place)

    def _fit_range(self, points: npt.NDArray[np.float64]) -> None:
        """Start KISS-ICP, or start it anew where the sensor sees much further than at first.

        A robot that leaves a garage sees further than one in it, and drives faster.
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
            # More threads sum in another order in every run.
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
        raise ImportError(
            f"clouds are registered with KISS-ICP, which cannot be imported ({error}); "
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
