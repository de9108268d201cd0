# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Measurement noise, after the experiments on 4D networks of Choy et al., CVPR 2019.

They used elastic distortion, Gaussian noise on coordinates and a chromatic shift. For LiDARs, a
shift of the intensity replaces the chromatic one, and points drop out. Each frame draws its own
noise, so that earlier frames help a network to remove it; `DriveNoise` lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates, uniform_filter
from scipy.spatial.transform import Rotation

from minkowski_perception.frame import NANOSECONDS, Frame

Array = npt.NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Noise:
    """Noise on the points and the intensity of a frame.

    Attributes:
        jitter: standard deviation of independent noise on each coordinate, metres.
        elastic: standard deviation of each coordinate of the elastic distortion, metres.
        elastic_spacing: distance between nodes of the distortion, metres; larger is smoother.
        dropout: share of points that are lost.
        gain: minimum and maximum factor on a frame's intensity.
        offset: maximum shift of a frame's intensity, as a share of its maximum.
    """

    jitter: float = 0.05
    elastic: float = 0.1
    elastic_spacing: float = 2.0
    dropout: float = 0.5
    gain: tuple[float, float] = (0.5, 1.5)
    offset: float = 0.2

    def __call__(self, frame: Frame, rng: Rng) -> Frame:
        """Return the frame with noise; lost points become NaN and keep their index."""
        points = frame.points + rng.normal(0.0, self.jitter, frame.points.shape)
        points[frame.valid] += self.elastic * _distortion(
            frame.points[frame.valid], self.elastic_spacing, rng
        )
        points[rng.random(len(frame)) < self.dropout] = np.nan
        gain, offset = rng.uniform(*self.gain), rng.uniform(-self.offset, self.offset)
        intensity = shift_intensity(frame.intensity, gain, offset)
        return replace(frame, points=points.astype(np.float32), intensity=intensity)


@dataclass(frozen=True)
class DriveNoise:
    """Errors of a sensor and its odometry that last a whole drive, which no average removes.

    Attributes:
        tilt: standard deviation of the error of the mounting angle about each axis, degrees.
        speed: standard deviation of the error of distances travelled, as a share of them.
        turn: standard deviation of the drift of the heading, degrees per second.
        beam_range: standard deviation of each beam's error of range, metres.
        beams_lost: largest share of beams that are lost.
        beam_gain: standard deviation of the logarithm of each beam's factor on the intensity.
        gain: minimum and maximum factor on the intensity.
        offset: maximum shift of the intensity, as a share of a frame's maximum.
        spacing: degrees of elevation of one beam.
    """

    tilt: float = 0.3
    speed: float = 0.02
    turn: float = 0.3
    beam_range: float = 0.03
    beams_lost: float = 0.25
    beam_gain: float = 0.2
    gain: tuple[float, float] = (0.5, 1.5)
    offset: float = 0.2
    spacing: float = 0.4

    def of_drive(self, rng: Rng) -> Callable[[Frame], Frame]:
        """Draw the errors of a drive.

        Returns:
            A function that takes the frames of the drive, with a pose, in order and returns them
            with the errors; lost points become NaN and keep their index.
        """
        beams = beam_count(self.spacing)
        tilt = _rotation(rng.normal(0.0, self.tilt, 3))
        speed, turn = 1.0 + rng.normal(0.0, self.speed), rng.normal(0.0, self.turn)
        ranges = rng.normal(0.0, self.beam_range, beams)
        lost = rng.random(beams) < rng.uniform(0.0, self.beams_lost)
        gains = rng.uniform(*self.gain) * np.exp(rng.normal(0.0, self.beam_gain, beams))
        offset = rng.uniform(-self.offset, self.offset)
        first: Frame | None = None

        def change(frame: Frame) -> Frame:
            nonlocal first
            first = frame if first is None else first
            assert first.pose is not None
            assert frame.pose is not None
            beam = beam_of(frame, self.spacing)
            distance = np.linalg.norm(frame.points, axis=1)
            points = frame.points * (1.0 + ranges[beam] / np.maximum(distance, 1e-3))[:, None]
            points[lost[beam]] = np.nan
            moved = np.linalg.inv(first.pose) @ frame.pose
            drift = np.eye(4)
            drift[:3, :3] = _rotation([0.0, 0.0, turn * (frame.stamp - first.stamp) / NANOSECONDS])
            moved[:3, 3] *= speed
            return replace(
                frame,
                points=(points @ tilt.T).astype(np.float32),
                intensity=shift_intensity(frame.intensity, gains[beam], offset),
                pose=first.pose @ drift @ moved,
            )

        return change


def shift_intensity(
    intensity: npt.NDArray[np.float32] | None, gain: float | Array, offset: float
) -> npt.NDArray[np.float32] | None:
    """Return intensities [N] times `gain`, plus `offset` as a share of their maximum.

    They stay between 0 and their maximum; None stays None.
    """
    if intensity is None:
        return None
    brightest = intensity.max(initial=0.0)
    shifted = gain * intensity + offset * brightest
    return np.asarray(shifted.clip(0.0, brightest), np.float32)


def beam_count(spacing: float) -> int:
    """Return the number of beams of `spacing` degrees from straight down to straight up."""
    return int(180.0 / spacing) + 1


def beam_of(frame: Frame, spacing: float) -> npt.NDArray[np.intp]:
    """Return the beam of each point, [N], counted from straight down."""
    elevation = np.degrees(np.arctan2(frame.points[:, 2], np.hypot(*frame.points.T[:2])))
    return np.nan_to_num((elevation + 90.0) / spacing).astype(np.intp)


def _rotation(angles: npt.ArrayLike) -> Array:
    """Return the [3, 3] rotation about the axis `angles` by its length, degrees."""
    return np.asarray(Rotation.from_rotvec(angles, degrees=True).as_matrix())


def smooth_noise(points: npt.NDArray[np.floating], spacing: float, rng: Rng) -> Array:
    """Return smooth random displacements of points, [N, 3].

    White noise of standard deviation 1 on a grid is smoothed twice by a box filter of three nodes
    along each axis, then interpolated linearly, as in SpatioTemporalSegmentation.

    Args:
        points: [N, 3], finite.
        spacing: distance between grid nodes, metres.
        rng: generator of the noise.
    """
    if not len(points):
        return np.zeros((0, 3))
    coordinates = _grid_coordinates(points, spacing)
    shape = np.ceil(coordinates.max(axis=1)).astype(int) + 3
    displacements = []
    for _ in range(3):
        field = rng.normal(size=shape)
        for _ in range(2):
            field = uniform_filter(field, size=3)
        displacements.append(map_coordinates(field, coordinates, order=1))
    return np.stack(displacements, axis=1)


def _distortion(points: npt.NDArray[np.float32], spacing: float, rng: Rng) -> Array:
    """Return the displacements of `smooth_noise`, scaled to a standard deviation of 1, [N, 3]."""
    displacements = smooth_noise(points, spacing, rng)
    if not len(points):
        return displacements
    return displacements / _deviation(_grid_coordinates(points, spacing))[:, None]


def _grid_coordinates(points: npt.NDArray[np.floating], spacing: float) -> Array:
    """Return points in units of nodes, [3, N]; a margin of two nodes keeps the edges out."""
    return np.asarray((points - points.min(axis=0)).T / spacing + 2.0)


def _deviation(coordinates: Array) -> Array:
    """Return the standard deviation of the smoothed field at [3, N] grid coordinates, [N].

    Two box filters of three nodes have the weights 1, 2, 3, 2, 1 (over 9) on five nodes of white
    noise. Neighbouring nodes share four of these, so that linear interpolation at `u` between
    them has the variance ((1 - u)^2 + u^2) 19 / 81 + 2 u (1 - u) 16 / 81 along each axis.
    """
    u = coordinates % 1.0
    variance = ((1 - u) ** 2 + u**2) * 19 / 81 + 2 * u * (1 - u) * 16 / 81
    return np.asarray(np.sqrt(variance.prod(axis=0)))
