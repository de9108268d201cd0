# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation of clips of LiDARs outdoors: random changes of scene, mounting and measurement.

A clip is a few consecutive frames of one stream. Changes of the scene (heading, mirror, scale,
slope) are drawn once for all its frames; changes of a measurement (noise, dropout) for each frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.noise import Noise
from minkowski_perception.lab.training.sensor_noise import measured
from minkowski_perception.motion.poses import in_changed_world

Rng = np.random.Generator


@dataclass(frozen=True)
class Augmentation:
    """The part "lidar" of an augmentation.

    Attributes:
        scale: least and largest factor on all distances.
        tilt: largest slope of the ground, degrees.
        shift: largest shift of the odometry frame's origin, metres.
        without_motion: share of clips that lose their poses.
        jitter: largest standard deviation of added Gaussian noise, metres.
        dropout: largest share of points that are lost.
        beam_dropout: share of frames that lose whole beams (bands of elevation).
        intensity_lost: share of clips without intensity.
        intensity_gain: least and largest factor on intensities.
        sector: share of clips that are cut to a sector, as seen by forward-looking sensors.
        sector_width: its least and largest width, degrees.
        noise: share of clips whose frames get `Noise`.
    """

    scale: tuple[float, float] = (0.95, 1.05)
    tilt: float = 3.0
    shift: float = 50.0
    without_motion: float = 0.15
    jitter: float = 0.02
    dropout: float = 0.3
    beam_dropout: float = 0.2
    intensity_lost: float = 0.2
    intensity_gain: tuple[float, float] = (0.6, 1.4)
    sector: float = 0.5
    sector_width: tuple[float, float] = (70.0, 200.0)
    noise: float = 0.0

    def __call__(self, clip: Sequence[Frame], rng: Rng) -> list[Frame]:
        """Return a varied copy of a clip."""
        linear = self._draw_transform(rng)
        shift = rng.uniform(-self.shift, self.shift, 3)
        forget = rng.random() < self.without_motion
        gain, gamma = rng.uniform(*self.intensity_gain), rng.uniform(0.7, 1.4)
        dark = rng.random() < self.intensity_lost
        width = rng.uniform(*self.sector_width) if rng.random() < self.sector else 360.0
        heading = rng.uniform(-np.pi, np.pi)
        noisy = bool(self.noise) and rng.random() < self.noise
        frames = []
        for original in clip:
            frame = measured(original, Noise(), rng) if noisy else original
            # Points are dropped first, so that nothing is computed for them.
            kept = self._draw_kept(frame, rng) & _in_sector(frame, heading, np.radians(width))
            frame = frame.subset(kept)
            known = None if forget else frame.pose
            pose = None if known is None else in_changed_world(known, linear, shift)
            points = frame.points @ linear.T.astype(np.float32)
            sigma = np.float32(rng.uniform(0.0, self.jitter))
            points += sigma * rng.standard_normal(points.shape, dtype=np.float32)
            intensity = None if dark else frame.intensity
            if intensity is not None:
                intensity = np.clip(gain * intensity**gamma, 0.0, 1.0).astype(np.float32)
            frames.append(replace(frame, points=points, intensity=intensity, pose=pose))
        return frames

    def _draw_transform(self, rng: Rng) -> npt.NDArray[np.float64]:
        """Draw heading, mirror, slope and scale, as a [3, 3] matrix."""
        heading = rng.uniform(0.0, 2.0 * np.pi)
        roll, pitch = np.radians(rng.uniform(-self.tilt, self.tilt, 2))
        mirror = np.diag([1.0, rng.choice([-1.0, 1.0]), 1.0])
        turn = _turn(heading, 0, 1) @ _turn(roll, 1, 2) @ _turn(pitch, 2, 0)
        return rng.uniform(*self.scale) * turn @ mirror

    def _draw_kept(self, frame: Frame, rng: Rng) -> npt.NDArray[np.bool_]:
        """Draw the points that are kept, [N] bool."""
        kept = rng.random(len(frame)) >= rng.uniform(0.0, self.dropout)
        if rng.random() < self.beam_dropout:
            elevation = np.arctan2(frame.points[:, 2], np.hypot(*frame.points[:, :2].T))
            band = np.floor(np.degrees(elevation) / 0.4).astype(int)
            kept &= (band + rng.integers(2)) % 2 == 0
        return np.asarray(kept)


def _in_sector(frame: Frame, heading: float, width: float) -> npt.NDArray[np.bool_]:
    """Return which points have an azimuth within width / 2 of the heading (radians), [N] bool."""
    azimuth = np.arctan2(frame.points[:, 1], frame.points[:, 0])
    return np.asarray(np.abs((azimuth - heading + np.pi) % (2 * np.pi) - np.pi) <= width / 2)


def _turn(angle: float, a: int, b: int) -> npt.NDArray[np.float64]:
    """Return the [3, 3] rotation from axis a towards axis b by an angle, radians."""
    matrix = np.eye(3)
    matrix[[a, b], [a, b]] = np.cos(angle)
    matrix[b, a], matrix[a, b] = np.sin(angle), -np.sin(angle)
    return matrix
