# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of an augmentation that mix two clips of spinning LiDARs, as mmdetection3d does.

Both are seen in the sensor's frame of the first clip. Where both know their motion, the second
clip's world is moved so that the sensors meet in the newest frame; what stands still in it then
stands still in the first one's world too. What is cut and pasted is drawn once for a clip.
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
    """Cuts both scans into bands of elevation and takes them by turns (Kong et al. 2023).

    Attributes:
        bands: how many there may be.
        elevations: lowest and highest, degrees; what is beyond belongs to the outer bands.
    """

    bands: tuple[int, ...] = (3, 4, 5, 6)
    elevations: tuple[float, float] = (-25.0, 3.0)

    def __call__(self, clip: Sequence[Frame], other: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return the first clip with every second band, from the top down, of the other one."""
        count = int(rng.choice(self.bands))
        return [
            joined(
                [(frame, mate)[i % 2].subset((bands, of_mate)[i % 2] == i) for i in range(count)]
            )
            for frame, mate in _pairs(clip, other)
            for bands, of_mate in [(self._band(frame, count), self._band(mate, count))]
        ]

    def _band(self, frame: Frame, count: int) -> npt.NDArray[np.intp]:
        """[N] each point's band, 0 at the top; a band has its upper edge, not its lower one."""
        low, high = np.radians(self.elevations)
        x, y, z = frame.points.astype(np.float64).T
        elevation = np.arctan2(z, np.hypot(x, y)).clip(low + _EPSILON, high - _EPSILON)
        return count - np.searchsorted(np.linspace(low, high, count + 1), elevation, side="left")


@dataclass(frozen=True)
class PolarMix:
    """Swaps a half of the scans, and pastes objects of the other one (Xiao et al. 2022).

    Attributes:
        classes: ids of what is pasted: as it is, and turned twice.
        swap: share of clips that are swapped.
        paste: share of clips that are pasted into.
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
    """[N] which points lie in the half turn that begins at an angle, clockwise from x."""
    angle = -np.arctan2(frame.points[:, 1], frame.points[:, 0])
    return np.asarray((angle > start) & (angle < start + np.pi))


def _turn(angle: float, sensor: Pose | None) -> Pose:
    """Counterclockwise turn about the z axis of the newest sensor, as a sensor elsewhere sees it.

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
    """Each frame, oldest first, and what of the other clip is to be seen from its sensor.

    Clips are paired from their newest frames back; a shorter other clip lends its oldest frame
    again.
    """
    pairs = []
    for age, frame in enumerate(reversed(clip)):
        mate = other[max(len(other) - 1 - age, 0)]
        here, there = _since(frame, clip[-1]), _since(mate, other[-1])
        if age and here is not None and there is not None:
            mate = _moved(mate, np.linalg.inv(here) @ there)
        pairs.append((frame, mate))
    return pairs[::-1]


def _since(frame: Frame, newest: Frame) -> Pose | None:
    """Pose of a frame's sensor in the frame of the newest one's, where both are known."""
    if frame.pose is None or newest.pose is None:
        return None
    return np.asarray(np.linalg.inv(newest.pose) @ frame.pose)


def joined(frames: Sequence[Frame]) -> Frame:
    """Points of several frames as one, seen from the first one's pose.

    Columns that one of them lacks are left out, labels are unknown there.
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
    )
