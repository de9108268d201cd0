# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Estimation of a sensor's tilt from the ground in its clouds, for sensors of unknown mount.

Networks expect z to point up. If a sensor is tilted by 20 degrees or hangs upside down, and no
pose contains that, its labels are wrong. The ground in several clouds shows the tilt. Clouds
without a clear ground change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import Frame
from minkowski_perception.motion.poses import Pose

Rows = npt.NDArray[np.float64]

LEAST_TILT = 8.0
"""Degrees; a smaller tilt changes nothing: slopes can be as steep, and labels suffer little."""
MOST_TILT = 35.0
"""Degrees from upright or upside down; steeper planes are walls, banks or ramps."""

_TRIED = 20  # clouds from the start of a stream
_AGREEING = 5  # clouds that show the same mount
_SPREAD = 3.0  # degrees between them
_REACH = (0.5, 25.0)  # metres
_CELL = 0.3  # metres; one point of each, so that dense ground nearby does not count more
_CELLS = 2000
_PLANES = 1000  # of three cells each
_HEIGHTS = (0.2, 4.0)  # of the sensor above the ground, metres
_THICK = 0.12  # half of a plane's thickness, metres
_BENEATH = -0.3  # metres
_MOST_BENEATH = 0.02  # of the cells
_LEAST_SHARE = 0.25  # of the cells on the ground
_LEAST_RADIUS = 10.0  # metres; floors and ceilings of rooms are smaller
_OTHER = 0.25  # of the score of the ground that another plane may have


@dataclass(frozen=True)
class _Plane:
    """A plane of a cloud.

    Attributes:
        normal: [3], towards the sensor.
        share: of the cells that are on it.
        beneath: share of the cells on its far side.
        radius: 90th percentile of the distance of its cells from the sensor along it, metres.
    """

    normal: Rows
    share: float
    beneath: float
    radius: float

    @property
    def is_ground(self) -> bool:
        return (
            self.share >= _LEAST_SHARE
            and self.beneath <= _MOST_BENEATH
            and self.radius >= _LEAST_RADIUS
        )


class Level:
    """Estimates the tilt of the sensors of a stream, and turns their clouds upright.

    The ground of a cloud is a plane with a quarter of the cells of 0.3 m on it, nearly none
    beneath it and a radius of 10 m. A tilted one is clear if all level planes, and all planes on
    the other side of the sensor, have at most a quarter of its cells. Of the first 20 clouds of a
    stream, five must agree. A tilt of at least `LEAST_TILT` is then corrected in all later clouds.

    Args:
        wanted: whether to estimate; False leaves all clouds as they are.

    Attributes:
        found: rotation [3, 3] of each tilted sensor, by frame_id: from the axes x forward, z up
            of the sensor (`Frame.upright`) to upright ones.
    """

    def __init__(self, wanted: bool = True) -> None:
        self._wanted = wanted
        self.found: dict[str, Rows] = {}
        self._decided: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """Start a new stream; tilts that were found stay."""
        self._clouds = 0
        self._normals: list[Rows] = []

    def observe(self, frame: Frame) -> bool:
        """Take the next cloud of a stream; return whether the sensor is now known to be tilted.

        If so, the caller starts a new stream: earlier voxels do not fit the turned clouds.
        """
        if not self._wanted or frame.frame_id in self._decided or self._clouds >= _TRIED:
            return False
        self._clouds += 1
        normal = ground_normal(frame)
        if normal is None:
            return False
        self._normals = [n for n in self._normals if _angle(n, normal) <= _SPREAD] + [normal]
        if len(self._normals) < _AGREEING:
            return False
        self._decided.add(frame.frame_id)
        mean = np.mean(self._normals, axis=0)
        if _angle(mean, np.array([0.0, 0.0, 1.0])) < LEAST_TILT:
            return False
        self.found[frame.frame_id] = _turn(mean)
        return True

    def apply(self, frame: Frame) -> Frame:
        """Return a frame with upright axes and the pose of these; the same one without a tilt.

        The odometry frame is turned too, so that its z points up.

        Args:
            frame: without a pose, or with one that took the sensor for upright.
        """
        turn = self.found.get(frame.frame_id)
        if turn is None:
            return frame
        own = _in_axes_of(frame, turn)
        points = frame.points @ own[:3, :3].T.astype(np.float32)
        if frame.pose is None:
            return replace(frame, points=points)
        whole = np.eye(4)
        whole[:3, :3] = turn
        return replace(frame, points=points, pose=whole @ frame.pose @ own.T)

    def up(self, frame: Frame) -> Rows:
        """Return the direction upwards [3] in the axes of a frame's sensor."""
        axes = frame.upright[:3, :3]
        turn = self.found.get(frame.frame_id)
        return np.asarray((axes if turn is None else turn @ axes)[2])

    def sensor_pose(self, frame: Frame) -> Pose | None:
        """Return the pose [4, 4] of the sensor as it is mounted, in upright odometry.

        Args:
            frame: as `apply` returns it; its own pose is that of its upright axes.
        """
        turn = self.found.get(frame.frame_id)
        if turn is None or frame.pose is None:
            return frame.pose
        return frame.pose @ _in_axes_of(frame, turn)

    def tilt(self, frame_id: str) -> float:
        """Return the tilt that was found in degrees: 0 if there is none, 180 for upside down."""
        turn = self.found.get(frame_id)
        return 0.0 if turn is None else float(np.degrees(np.arccos(np.clip(turn[2, 2], -1, 1))))

    def sentences(self) -> list[str]:
        """Return a sentence for each tilted sensor."""
        return [
            f"the ground in the clouds of '{frame_id}' shows a tilt of {self.tilt(frame_id):.1f} "
            "degrees, which is corrected"
            for frame_id in self.found
        ]


def _in_axes_of(frame: Frame, turn: Rows) -> Pose:
    """Return as [4, 4], by the axes of a frame, a rotation [3, 3] by upright axes."""
    axes = frame.upright[:3, :3]
    own = np.eye(4)
    own[:3, :3] = axes.T @ turn @ axes
    return own


def ground_normal(frame: Frame) -> Rows | None:
    """Return the normal [3] of the ground, towards the sensor; None if the ground is not clear.

    It is by the axes x forward, z up of the sensor. Planes through three cells each are tried, and
    the best one is fitted to its cells (RANSAC, Fischler and Bolles 1981). The same cloud gives
    the same normal.
    """
    points = frame.points[frame.measured]
    cells = _cells(points @ frame.upright[:3, :3].T)
    if len(cells) < 100:
        return None
    rng = np.random.default_rng(0)
    corners = cells[rng.integers(len(cells), size=(_PLANES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals, corners = normals[lengths > 0.5], corners[lengths > 0.5, 0]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    heights = -np.einsum("ij,ij->i", normals, corners)
    normals *= np.sign(heights)[:, None]
    heights = np.abs(heights)
    steep = np.cos(np.radians(MOST_TILT))
    possible = (heights >= _HEIGHTS[0]) & (heights <= _HEIGHTS[1])
    possible &= np.abs(normals[:, 2]) >= steep
    normals, heights = normals[possible], heights[possible]
    if not len(normals):
        return None
    distances = (cells @ normals.T + heights).astype(np.float32)
    # A plane with cells beneath it is no ground.
    scores = (np.abs(distances) <= _THICK).mean(axis=0)
    scores -= 3.0 * (distances < _BENEATH).mean(axis=0)
    best = _fitted(cells, normals[scores.argmax()], heights[scores.argmax()])
    if not best.is_ground or abs(best.normal[2]) < steep:
        return None
    if best.normal[2] >= np.cos(np.radians(LEAST_TILT)):
        return best.normal
    # Another plane that is level, or on the other side of the sensor, may be the ground instead.
    level = normals[:, 2] >= np.cos(np.radians(LEAST_TILT))
    opposite = normals @ best.normal < 0.0
    others = scores[level | opposite].max(initial=0.0)
    return best.normal if others <= _OTHER * best.share else None


def _cells(points: Rows) -> Rows:
    """Return a point of each cell, of at most `_CELLS` cells."""
    distances = np.linalg.norm(points, axis=1)
    points = points[(distances > _REACH[0]) & (distances < _REACH[1])]
    keys = np.floor(points / _CELL).astype(np.int64) @ np.array([1, 2**20, 2**40])
    cells = points[np.unique(keys, return_index=True)[1]]
    return cells[np.random.default_rng(0).permutation(len(cells))[:_CELLS]]


def _fitted(cells: Rows, normal: Rows, height: float) -> _Plane:
    """Return the plane fitted to the cells that are near a plane."""
    for _ in range(3):
        near = cells[np.abs(cells @ normal + height) <= _THICK]
        centre = near.mean(axis=0)
        normal = np.linalg.svd(near - centre, full_matrices=False)[2][2]
        normal = normal * -np.sign(normal @ centre)
        height = float(-normal @ centre)
    distances = cells @ normal + height
    near = cells[np.abs(distances) <= _THICK]
    along = np.linalg.norm(near - (near @ normal)[:, None] * normal, axis=1)
    return _Plane(
        normal,
        len(near) / len(cells),
        float((distances < _BENEATH).mean()),
        float(np.percentile(along, 90)),
    )


def _angle(first: Rows, second: Rows) -> float:
    """Return the angle between two vectors in degrees."""
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _turn(normal: Rows) -> Rows:
    """Return the smallest rotation [3, 3] that takes a vector to z.

    A vector with a negative z is first turned by 180 degrees about x, which keeps x forward.
    """
    flip = np.diag([1.0, -1.0, -1.0]) if normal[2] < 0.0 else np.eye(3)
    vector = flip @ normal / np.linalg.norm(normal)
    axis = np.cross(vector, [0.0, 0.0, 1.0])
    sine = np.linalg.norm(axis)
    if sine == 0.0:
        return flip
    angle = np.arctan2(sine, vector[2])
    turn: Rows = Rotation.from_rotvec(axis / sine * angle).as_matrix() @ flip
    return turn
