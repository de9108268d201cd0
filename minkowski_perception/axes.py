# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Detection of the axes of a sensor's frame, for sensors whose pose is unknown.

Not every driver of a depth camera gives its frame the name that REP-103 asks for. An organised
cloud of a camera is an image, which shows the optical axes: x/z grows with the column and y/z with
the row. No cloud of a LiDAR has both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import OPTICAL, ROS, Axes, named_axes
from minkowski_perception.settings import AUTO

_SAMPLED = 64
"""Rows and columns of a cloud that are looked at."""
_ENOUGH = 100
"""Points of them that have to be measured."""
_AHEAD = 0.99
"""Least share of points in front of a camera."""
_STRAIGHT = 0.95
"""Least correlation of x/z with the column and of y/z with the row; the pinhole camera has 1."""


def recognised(points: npt.NDArray[np.float32], height: int) -> Axes | None:
    """Return the axes of an organised cloud; None if it is not organised or nearly empty.

    Args:
        points: [N, 3], row by row; those that are not finite or zero do not count.
        height: rows; 1 for a cloud that is not organised.
    """
    width = len(points) // height
    if height < 2 or width < 2:
        return None
    image = points.reshape(height, width, 3)[:: -(-height // _SAMPLED), :: -(-width // _SAMPLED)]
    seen = np.isfinite(image).all(axis=2) & image.any(axis=2)
    ahead = seen & (image[..., 2] > 0.0)
    if np.count_nonzero(seen) < _ENOUGH:
        return None
    if np.count_nonzero(ahead) < _AHEAD * np.count_nonzero(seen):
        return ROS
    x, y, z = image[ahead].T.astype(np.float64)
    rows, columns = np.nonzero(ahead)
    straight = min(_correlation(x / z, columns), _correlation(y / z, rows))
    return OPTICAL if straight > _STRAIGHT else ROS


class SensorAxes:
    """Axes of the sensor of one stream: declared, or else by the frame's name and the cloud.

    Args:
        choice: "ros", "optical", or "auto" to find out.

    Attributes:
        axes: of the sensor.
        how: "declared", "named" by the frame, "detected" in a cloud, or "assumed".
    """

    def __init__(self, choice: str = AUTO) -> None:
        self.axes: Axes = OPTICAL if choice == OPTICAL else ROS
        self.how = "assumed" if choice == AUTO else "declared"
        self._frame_id: str | None = None

    def __str__(self) -> str:
        return f"{self.axes} ({self.how})"

    def update(self, points: npt.NDArray[np.float32], height: int, frame_id: str) -> bool:
        """Take the stream's next cloud; return whether a wrong assumption was corrected.

        The axes that one cloud shows hold for all clouds of the same frame.
        """
        same = frame_id == self._frame_id
        if self.how == "declared" or (same and self.how != "assumed"):
            return False
        self._frame_id, before = frame_id, self.axes
        if named_axes(frame_id) == OPTICAL:
            self.axes, self.how = OPTICAL, "named"
        elif (found := recognised(points, height)) is not None:
            self.axes, self.how = found, "detected"
        else:
            self.axes, self.how = ROS, "assumed"
        return same and self.axes != before

    def state(self) -> bytes:
        """Return the state."""
        return f"{self.axes} {self.how} {self._frame_id or ''}".encode()

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `state` returned."""
        axes, self.how, self._frame_id = state.decode().split(" ", 2)
        self.axes = OPTICAL if axes == OPTICAL else ROS


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.intp]) -> float:
    """Return the correlation of two columns; 0 if one is constant."""
    if np.ptp(a) == 0.0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
