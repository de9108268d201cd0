# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of an augmentation that change the place: one draw for all frames of a clip.

Poses follow, so that what stands still stays where it is from frame to frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.noise import smooth_noise
from minkowski_perception.motion.poses import in_changed_world

Array = npt.NDArray[np.float64]
Rng = np.random.Generator

_AXES = "xyz"


@dataclass(frozen=True)
class Rotate:
    """Turns about the axes, in random order; each by up to so many degrees either way."""

    x: float = 0.0
    y: float = 0.0
    z: float = 180.0

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a turned copy."""
        bounds = np.radians([self.x, self.y, self.z])
        turn = np.eye(3)
        for axis in rng.permutation(np.flatnonzero(bounds)):
            turn = _turn(axis, rng.uniform(-bounds[axis], bounds[axis])) @ turn
        return _changed(clip, turn)


@dataclass(frozen=True)
class Scale:
    """Multiplies all distances by a factor of this range."""

    factor: tuple[float, float] = (0.95, 1.05)

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a scaled copy."""
        return _changed(clip, np.eye(3) * rng.uniform(*self.factor))


@dataclass(frozen=True)
class Flip:
    """Mirrors each of the axes in half of the clips."""

    axes: tuple[Literal["x", "y", "z"], ...] = ("x", "y")

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a mirrored copy."""
        signs = np.ones(3)
        for axis in self.axes:
            signs[_AXES.index(axis)] = rng.choice([-1.0, 1.0])
        return _changed(clip, np.diag(signs))


@dataclass(frozen=True)
class Shift:
    """Moves the origin of the odometry frame, and the voxels with it, by up to so many metres."""

    most: float = 50.0

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy that stands elsewhere; frames without a pose get one."""
        shift = rng.uniform(-self.most, self.most, 3)
        poses = [np.eye(4) if frame.pose is None else frame.pose for frame in clip]
        return [
            replace(frame, pose=in_changed_world(pose, np.eye(3), shift))
            for frame, pose in zip(clip, poses, strict=True)
        ]


@dataclass(frozen=True)
class Elastic:
    """Distorts the place smoothly, as SpatioTemporalSegmentation does; see `smooth_noise`.

    Attributes:
        spacing: of the noise's nodes, metres; one distortion each.
        magnitude: factor on the noise of each, metres.
    """

    spacing: tuple[float, ...] = (0.2, 0.8)
    magnitude: tuple[float, ...] = (0.4, 1.6)

    def __post_init__(self) -> None:
        """Check that both have as many values.

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
    """Keeps a box.

    Attributes:
        reach: from its middle to each side, metres.
        around: each frame's "sensor", or the "middle" of all that the clip sees.
        shift: of the box along each axis, up to this share of what the clip spans there.
    """

    reach: float
    around: Literal["sensor", "middle"] = "sensor"
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy with what is in the box."""
        share = rng.uniform(-1.0, 1.0, 3) * self.shift
        places = [
            frame.odometry_points if self.around == "middle" else frame.points.astype(np.float64)
            for frame in clip
        ]
        together = np.concatenate(places)
        if not len(together):
            return list(clip)
        low, high = np.nanmin(together, axis=0), np.nanmax(together, axis=0)
        middle = (low + high) / 2.0 if self.around == "middle" else np.zeros(3)
        middle = middle + share * (high - low)
        return [
            frame.subset((np.abs(place - middle) <= self.reach).all(axis=1))
            for frame, place in zip(clip, places, strict=True)
        ]


@dataclass(frozen=True)
class Reverse:
    """Lets time run backwards in half of the clips."""

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return the frames in their order, or in the opposite one."""
        return list(reversed(clip)) if rng.random() < 0.5 else list(clip)


@dataclass(frozen=True)
class Mount:
    """Moves the origin of the sensor's frame up or down: clouds are given at the ground, say.

    Attributes:
        height: least and largest way down, metres; what is measured stays where it is.
    """

    height: tuple[float, float] = (-0.3, 2.2)

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy seen from another origin."""
        up = np.array([0.0, 0.0, rng.uniform(*self.height)])
        return [
            replace(
                frame,
                points=frame.points + up.astype(np.float32),
                pose=None if frame.pose is None else frame.pose @ _moved(-up),
            )
            for frame in clip
        ]


@dataclass(frozen=True)
class ForgetMotion:
    """Forgets all poses, as of a robot that tells of no motion."""

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a copy without poses."""
        return [replace(frame, pose=None) for frame in clip]


def _moved(way: Array) -> Array:
    """[4, 4] pose of a frame without a turn."""
    pose = np.eye(4)
    pose[:3, 3] = way
    return pose


def _turn(axis: int, angle: float) -> Array:
    """[3, 3] rotation about an axis, radians."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[a, b], [a, b]] = np.cos(angle)
    matrix[b, a], matrix[a, b] = np.sin(angle), -np.sin(angle)
    return matrix


def _changed(clip: Sequence[Frame], linear: Array) -> list[Frame]:
    """Frames of a turned, mirrored or scaled world."""
    return [
        replace(
            frame,
            points=frame.points @ linear.T.astype(np.float32),
            pose=None if frame.pose is None else in_changed_world(frame.pose, linear),
        )
        for frame in clip
    ]


def _from_world(places: Array, frame: Frame) -> npt.NDArray[np.float32]:
    if frame.pose is not None:
        places = (places - frame.pose[:3, 3]) @ frame.pose[:3, :3]
    return places.astype(np.float32)
