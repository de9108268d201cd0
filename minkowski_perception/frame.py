# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A point cloud with its stamp, attributes and pose: the data type of the whole package."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

NANOSECONDS = 1_000_000_000
"""Per second; stamps are integers in nanoseconds."""

_COLUMNS = ("intensity", "colour", "time", "labels", "moving")
_DTYPES = {"intensity": np.float32, "time": np.float32, "moving": np.bool_}
"""Types that columns are converted to; `labels` keep their own."""


def nanoseconds(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def as_array(name: str, values: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return an array-like or a PyTorch tensor as an array of numbers, without a copy if it can.

    Args:
        name: of the values, for the error.
        values: NumPy array, nested list, or tensor on any device.
        dtype: to convert to; None keeps the values' own.

    Raises:
        TypeError: the values are no numbers.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:  # a ragged list
        raise TypeError(f"{name} must be an array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must be an array of numbers, not {type(values).__name__} of {array.dtype}"
        )
    return array if dtype is None else array.astype(dtype, copy=False)


Axes = Literal["ros", "optical"]
"""Axes of a sensor's frame: x forward, y left, z up; or x right, y down, z forward."""
ROS: Axes = "ros"
OPTICAL: Axes = "optical"

OPTICAL_AXES = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""[3, 3], rotates optical axes (x right, y down, z forward) to x forward, y left, z up."""


def named_axes(frame_id: str) -> Axes:
    """Return the axes that REP-103 gives a frame: optical by its suffix, otherwise ROS's."""
    return OPTICAL if frame_id.endswith(("_optical", "_optical_frame")) else ROS


def upright(axes: Axes) -> npt.NDArray[np.float64]:
    """Return the pose [4, 4] of an unrotated sensor with these axes, where z is up."""
    pose = np.eye(4)
    if axes == OPTICAL:
        pose[:3, :3] = OPTICAL_AXES
    return pose


@dataclass
class Frame:
    """One cloud of a LiDAR or depth camera, with its points in input order.

    Points without a measurement (NaN, infinite) are kept, so that row `i` is point `i` of the
    message; `valid` distinguishes them.

    Attributes:
        points: [N, 3] float32, x, y, z in metres in the sensor's frame.
        stamp: nanoseconds since the epoch of the sensor's clock.
        frame_id: name of the sensor's frame.
        intensity: [N] float32 in the sensor's own unit, or None.
        colour: [N, 3] uint8, red, green, blue, or None.
        time: [N] float32, seconds from `stamp` at which each point was measured, or None.
        labels: [N] true labels, or None.
        moving: [N] bool, whether each point truly belongs to a moving object, or None.
        pose: [4, 4] float64, transforms points from the sensor's frame to the odometry frame;
            None if motion is unknown.
        height: number of rows of an organised cloud, whose points are in row order; otherwise 1.
        axes: of the sensor's frame; None for those that its name implies, see `named_axes`.

    Arrays of other floating-point types, lists and PyTorch tensors are converted.
    """

    points: npt.NDArray[np.float32]
    stamp: int = 0
    frame_id: str = ""
    intensity: npt.NDArray[np.float32] | None = None
    colour: npt.NDArray[np.uint8] | None = None
    time: npt.NDArray[np.float32] | None = None
    labels: npt.NDArray[np.integer] | None = None
    moving: npt.NDArray[np.bool_] | None = None
    pose: npt.NDArray[np.float64] | None = None
    height: int = 1
    axes: Axes | None = None

    def __post_init__(self) -> None:
        """Convert the attributes to arrays, and check their shapes.

        Raises:
            TypeError: an attribute is not numeric, `colour` is not uint8, or `stamp` is not an
                integer.
            ValueError: the shape of an attribute does not match `points`; the message has both.
        """
        self._convert()
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise ValueError(f"points must have shape [N, 3], not {list(self.points.shape)}")
        shapes = {"colour": (len(self), 3)}
        for name in _COLUMNS:
            column, shape = getattr(self, name), shapes.get(name, (len(self),))
            if column is not None and column.shape != shape:
                raise ValueError(
                    f"{name} must have shape {list(shape)} to fit {len(self)} points, "
                    f"not {list(column.shape)}"
                )
        if self.pose is not None and self.pose.shape != (4, 4):
            raise ValueError(f"pose must have shape [4, 4], not {list(self.pose.shape)}")
        if self.height < 1 or len(self) % self.height:
            raise ValueError(f"{len(self)} points cannot lie in {self.height} rows")

    @classmethod
    def from_array(cls, points: npt.ArrayLike, **columns: Any) -> Frame:
        """Make a frame of an array [N, 3] of x, y, z, or [N, 4] of x, y, z and intensity.

        Args:
            points: array, list or PyTorch tensor of any number type.
            columns: further attributes of the frame, `intensity` not beside a fourth column.

        Raises:
            TypeError, ValueError: as the constructor; or intensity is given twice.
        """
        array = as_array("points", points)
        if array.ndim != 2 or array.shape[1] not in (3, 4):
            raise ValueError(
                "points must have shape [N, 3] (x, y, z) or [N, 4] (x, y, z, intensity), "
                f"not {list(array.shape)}"
            )
        if array.shape[1] == 4:
            if columns.get("intensity") is not None:
                raise ValueError("intensity is given twice: as a column of points and by itself")
            columns["intensity"] = array[:, 3]
        return cls(array[:, :3], **columns)

    def _convert(self) -> None:
        self.points = as_array("points", self.points, np.float32)
        for name in _COLUMNS:
            column = getattr(self, name)
            if column is not None:
                setattr(self, name, as_array(name, column, _DTYPES.get(name)))
        if self.colour is not None and self.colour.dtype != np.uint8:
            raise TypeError(f"colour must be uint8, 0 to 255, not {self.colour.dtype}")
        if self.pose is not None:
            self.pose = as_array("pose", self.pose, np.float64)
        try:
            self.stamp = operator.index(self.stamp)
        except TypeError:
            raise TypeError(
                f"stamp must be an integer of nanoseconds, not {self.stamp!r}"
            ) from None

    def __len__(self) -> int:
        return len(self.points)

    @property
    def upright(self) -> npt.NDArray[np.float64]:
        """Pose [4, 4] of the sensor if it stood unrotated at the origin, by its axes."""
        return upright(self.axes or named_axes(self.frame_id))

    @property
    def pose_or_upright(self) -> npt.NDArray[np.float64]:
        """Pose [4, 4] of the frame, `upright` where it has none."""
        return self.upright if self.pose is None else self.pose

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """[N] bool, whether all three coordinates of a point are finite."""
        x, y, z = np.isfinite(self.points).T  # ten times as fast as `all(axis=1)`
        return np.asarray(x & y & z)

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """[N] bool, whether a point is valid and not exactly at the sensor.

        Many drivers report a ray without a return as a point at the sensor.
        """
        x, y, z = (self.points != 0.0).T
        return np.asarray(self.valid & (x | y | z))

    @property
    def odometry_points(self) -> npt.NDArray[np.float64]:
        """[N, 3] float64, points in the odometry frame, metres; `points` if there is no pose."""
        if self.pose is None:
            return self.points.astype(np.float64)
        # Not as a product of matrices: BLAS starts threads, whose wait costs more than the sums.
        x, y, z = np.ascontiguousarray(self.points.T, dtype=np.float64)
        return np.stack([x * a + y * b + z * c + d for a, b, c, d in self.pose[:3]]).T

    def subset(self, kept: npt.NDArray[np.bool_]) -> Frame:
        """Return a frame of the points for which `kept` [N] is true."""
        rows = np.flatnonzero(kept)  # `take` is several times as fast as a mask
        columns = {name: getattr(self, name) for name in _COLUMNS}
        fewer: dict[str, Any] = {
            name: None if column is None else column.take(rows, axis=0)
            for name, column in columns.items()
        }
        return replace(self, points=self.points.take(rows, axis=0), height=1, **fewer)
