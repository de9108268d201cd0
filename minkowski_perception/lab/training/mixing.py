# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of an augmentation that mix two clips of spinning LiDARs, as mmdetection3d does.

Both clips are transformed to the sensor's frame of the first one. Where both have poses, the world
of the second clip is moved so that the sensors coincide in the newest frame; its static objects
are then static in the first clip too. The parts to mix are drawn once for a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED
from minkowski_perception.motion.poses import Pose

Rng = np.random.Generator

_EPSILON = 1e-5  # radians


@dataclass(frozen=True)
class LaserMix:
    """Cuts both scans into bands of elevation and alternates between them (Kong et al. 2023).

    Attributes:
        bands: numbers of bands to choose from.
        elevations: lowest and highest, degrees; points beyond belong to the outer bands.
    """

    bands: tuple[int, ...] = (3, 4, 5, 6)
    elevations: tuple[float, float] = (-25.0, 3.0)

    def __call__(self, clip: Sequence[Frame], other: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return the first clip with every second band, from the top down, from the other one."""
        count = int(rng.choice(self.bands))
        return [
            joined(
                [(frame, mate)[i % 2].subset((bands, of_mate)[i % 2] == i) for i in range(count)]
            )
            for frame, mate in _pairs(clip, other)
            for bands, of_mate in [(self._band(frame, count), self._band(mate, count))]
        ]

    def _band(self, frame: Frame, count: int) -> npt.NDArray[np.intp]:
        """Return the band of each point, [N], 0 at the top; only upper edges are included."""
        low, high = np.radians(self.elevations)
        x, y, z = frame.points.astype(np.float64).T
        elevation = np.arctan2(z, np.hypot(x, y)).clip(low + _EPSILON, high - _EPSILON)
        edges = np.linspace(low, high, count + 1)
        band: npt.NDArray[np.intp] = count - np.searchsorted(edges, elevation, side="left")
        return band


@dataclass(frozen=True)
class PolarMix:
    """Swaps half of the scans, and pastes objects of the other scan (Xiao et al. 2022).

    Attributes:
        classes: ids of the objects to paste: as they are, and rotated by two more angles.
        swap: share of clips of which half is swapped.
        paste: share of clips into which objects are pasted.
    """

    classes: tuple[int, ...]
    swap: float = 0.5
    paste: float = 1.0

    def __call__(self, clip: Sequence[Frame], other: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return the first clip with parts of the other one."""
        start = rng.uniform(-np.pi, 0.0) if rng.random() < self.swap else None
        third = 2.0 * np.pi / 3.0
        angles = [0.0, rng.uniform(0.0, third), rng.uniform(third, 2.0 * third)]
        if rng.random() >= self.paste:
            angles = []
        frames = []
        for frame, mate in _pairs(clip, other):
            parts = [frame]
            if start is not None:
                parts = [frame.subset(~_sector(frame, start)), mate.subset(_sector(mate, start))]
            if mate.labels is not None:
                things = [mate.subset(mate.labels == label) for label in self.classes]
                turns = [_turn(angle, _since(frame, clip[-1])) for angle in angles]
                parts += [_moved(thing, turn) for turn in turns for thing in things]
            frames.append(joined(parts))
        return frames


def _sector(frame: Frame, start: float) -> npt.NDArray[np.bool_]:
    """Return which points lie in the half turn from an angle on, clockwise from x, [N] bool."""
    angle = -np.arctan2(frame.points[:, 1], frame.points[:, 0])
    return np.asarray((angle > start) & (angle < start + np.pi))


def _turn(angle: float, sensor: Pose | None) -> Pose:
    """Return a counterclockwise turn about the z axis of the newest sensor, in a sensor's frame.

    Args:
        angle: radians.
        sensor: pose in the newest sensor's frame, None where it is unknown.
    """
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn if sensor is None else np.asarray(np.linalg.inv(sensor) @ turn @ sensor)


def _moved(frame: Frame, motion: Pose) -> Frame:
    points = frame.points @ motion[:3, :3].T + motion[:3, 3]
    return replace(frame, points=points.astype(np.float32))


def _pairs(clip: Sequence[Frame], other: Sequence[Frame]) -> list[tuple[Frame, Frame]]:
    """Return each frame, oldest first, with its frame of the other clip, in its sensor's frame.

    Clips are paired from their newest frames backwards; a shorter other clip repeats its oldest
    frame. Frames of the other clip lose `moving` where they do not continue its motion: if they
    repeat a frame, or the poses of one clip are unknown.
    """
    pairs = []
    for age, frame in enumerate(reversed(clip)):
        mate = other[max(len(other) - 1 - age, 0)]
        here, there = _since(frame, clip[-1]), _since(mate, other[-1])
        if age and here is not None and there is not None:
            mate = _moved(mate, np.linalg.inv(here) @ there)
        repeated = len(other) < len(clip) and age + 1 >= len(other)
        if repeated or here is None or there is None:
            mate = replace(mate, moving=None)
        pairs.append((frame, mate))
    return pairs[::-1]


def _since(frame: Frame, newest: Frame) -> Pose | None:
    """Return the pose of a frame relative to the newest one, None where either is unknown."""
    if frame.pose is None or newest.pose is None:
        return None
    return np.asarray(np.linalg.inv(newest.pose) @ frame.pose)


def joined(frames: Sequence[Frame]) -> Frame:
    """Return the points of several frames as one frame, with the pose of the first one.

    Columns that one of them lacks are left out; labels are unknown there.
    """
    first = frames[0]

    def column(name: str) -> Any:
        columns = [getattr(frame, name) for frame in frames]
        return None if any(c is None for c in columns) else np.concatenate(columns)

    labels = None
    if any(frame.labels is not None for frame in frames):
        labels = np.concatenate(
            [np.full(len(f), UNLABELLED) if f.labels is None else f.labels for f in frames]
        )
    return replace(
        first,
        points=column("points"),
        intensity=column("intensity"),
        colour=column("colour"),
        time=column("time"),
        labels=labels,
        moving=column("moving"),
        height=1,
    )
