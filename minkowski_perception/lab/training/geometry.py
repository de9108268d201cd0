# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Geometric parts of an augmentation, drawn once for all frames of a clip.

Poses change with the points, so that static objects keep their positions from frame to frame,
except by `JitterPoses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.noise import smooth_noise
from minkowski_perception.motion.poses import in_changed_world

Array = npt.NDArray[np.float64]
Rng = np.random.Generator

_AXES = "xyz"


@dataclass(frozen=True)
class Rotate:
    """Rotates about the axes, in random order, by up to so many degrees in either direction."""

    x: float = 0.0
    y: float = 0.0
    z: float = 180.0

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a rotated copy."""
        bounds = np.radians([self.x, self.y, self.z])
        turn = np.eye(3)
        for axis in rng.permutation(np.flatnonzero(bounds)):
            turn = _turn(axis, rng.uniform(-bounds[axis], bounds[axis])) @ turn
        return _transformed(clip, turn)


@dataclass(frozen=True)
class Scale:
    """Multiplies all distances by a factor from a range."""

    factor: tuple[float, float] = (0.95, 1.05)

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a scaled copy."""
        return _transformed(clip, np.eye(3) * rng.uniform(*self.factor))


@dataclass(frozen=True)
class Flip:
    """Mirrors each of the axes, in half of the clips."""

    axes: tuple[Literal["x", "y", "z"], ...] = ("x", "y")

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a mirrored copy."""
        signs = np.ones(3)
        for axis in self.axes:
            signs[_AXES.index(axis)] = rng.choice([-1.0, 1.0])
        return _transformed(clip, np.diag(signs))


@dataclass(frozen=True)
class Shift:
    """Moves the origin of the odometry frame, which shifts the voxels.

    Attributes:
        most: largest shift along each axis, metres.
    """

    most: float = 50.0

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a shifted copy; frames without a pose do not change."""
        shift = rng.uniform(-self.most, self.most, 3)
        return [
            frame
            if frame.pose is None
            else replace(frame, pose=in_changed_world(frame.pose, np.eye(3), shift))
            for frame in clip
        ]


@dataclass(frozen=True)
class Elastic:
    """Distorts the scene smoothly, as SpatioTemporalSegmentation does; see `smooth_noise`.

    Attributes:
        spacing: distance between the nodes of the noise, metres; one value for each distortion.
        magnitude: factor on the noise, metres; one value for each distortion.
    """

    spacing: tuple[float, ...] = (0.2, 0.8)
    magnitude: tuple[float, ...] = (0.4, 1.6)

    def __post_init__(self) -> None:
        """Check that both have the same number of values.

        Raises:
            ValueError: they do not.
        """
        if len(self.spacing) != len(self.magnitude):
            raise ValueError(
                f"{len(self.magnitude)} magnitudes do not fit {len(self.spacing)} spacings"
            )

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a distorted copy."""
        starts = np.cumsum([0, *(len(frame) for frame in clip)])
        world = np.concatenate([frame.odometry_points for frame in clip])
        valid = np.isfinite(world).all(axis=1)
        for spacing, magnitude in zip(self.spacing, self.magnitude, strict=True):
            world[valid] += magnitude * smooth_noise(world[valid], spacing, rng)
        return [
            replace(frame, points=_from_world(world[start:end], frame))
            for frame, start, end in zip(clip, starts[:-1], starts[1:], strict=True)
        ]


@dataclass(frozen=True)
class Crop:
    """Keeps the points in a box.

    Attributes:
        reach: from the centre of the box to each side, metres.
        around: centre of the box: the "sensor" of each frame, or the "middle" of all points.
        shift: largest shift of the box along each axis, as a share of the extent of the clip.
    """

    reach: float
    around: Literal["sensor", "middle"] = "sensor"
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with the points in the box."""
        share = rng.uniform(-1.0, 1.0, 3) * self.shift
        positions = [
            frame.odometry_points if self.around == "middle" else frame.points.astype(np.float64)
            for frame in clip
        ]
        together = np.concatenate(positions)
        if not len(together):
            return list(clip)
        low, high = np.nanmin(together, axis=0), np.nanmax(together, axis=0)
        middle = (low + high) / 2.0 if self.around == "middle" else np.zeros(3)
        middle = middle + share * (high - low)
        return [
            frame.subset((np.abs(points - middle) <= self.reach).all(axis=1))
            for frame, points in zip(clip, positions, strict=True)
        ]


@dataclass(frozen=True)
class Reverse:
    """Reverses time in half of the clips."""

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return the frames in their order or reversed."""
        return list(reversed(clip)) if rng.random() < 0.5 else list(clip)


@dataclass(frozen=True)
class Mount:
    """Moves the origin of the sensor's frame, as for clouds in a frame at the ground.

    Attributes:
        height: least and largest shift downwards, metres; the world does not move.
    """

    height: tuple[float, float] = (-0.3, 2.2)

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with another origin."""
        up = np.array([0.0, 0.0, rng.uniform(*self.height)])
        return [
            replace(
                frame,
                points=frame.points + up.astype(np.float32),
                pose=None if frame.pose is None else frame.pose @ _translation(-up),
            )
            for frame in clip
        ]


@dataclass(frozen=True)
class ForgetMotion:
    """Removes all poses, as of a robot without odometry."""

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy without poses."""
        return [replace(frame, pose=None) for frame in clip]


@dataclass(frozen=True)
class JitterPoses:
    """Moves and turns the pose of each frame by Gaussian noise, as odometry errs.

    The standard deviations are drawn for a clip, from 0 to the values here.

    Attributes:
        shift: largest standard deviation along each axis of the sensor, metres.
        turn: largest standard deviation of the rotation about each axis, degrees.
    """

    shift: float = 0.05
    turn: float = 0.15

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with other poses; frames without a pose keep none."""
        shift, turn = rng.uniform(0.0, self.shift), rng.uniform(0.0, self.turn)
        frames = []
        for frame in clip:
            error = _translation(rng.normal(0.0, shift, 3))
            angles = np.radians(rng.normal(0.0, turn, 3))
            error[:3, :3] = Rotation.from_rotvec(angles).as_matrix()
            pose = None if frame.pose is None else frame.pose @ error
            frames.append(replace(frame, pose=pose))
        return frames


def _translation(offset: Array) -> Array:
    """Return the [4, 4] pose of a translation."""
    pose = np.eye(4)
    pose[:3, 3] = offset
    return pose


def _turn(axis: int, angle: float) -> Array:
    """Return the [3, 3] rotation about an axis by an angle, radians."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[a, b], [a, b]] = np.cos(angle)
    matrix[b, a], matrix[a, b] = np.sin(angle), -np.sin(angle)
    return matrix


def _transformed(clip: Sequence[Frame], linear: Array) -> list[Frame]:
    """Return the frames in a rotated, mirrored or scaled world."""
    return [
        replace(
            frame,
            points=frame.points @ linear.T.astype(np.float32),
            pose=None if frame.pose is None else in_changed_world(frame.pose, linear),
        )
        for frame in clip
    ]


def _from_world(points: Array, frame: Frame) -> npt.NDArray[np.float32]:
    """Return points of the odometry frame in the sensor's frame."""
    if frame.pose is not None:
        points = (points - frame.pose[:3, 3]) @ frame.pose[:3, :3]
    return points.astype(np.float32)
