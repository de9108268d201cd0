# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Measurement noise, after the experiments on 4D networks of Choy et al., CVPR 2019.

They used elastic distortion, Gaussian noise on coordinates and a chromatic shift. For LiDARs, a
shift of the intensity replaces the chromatic one, and points drop out. Each frame draws its own
noise, so that earlier frames help a network to remove it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates, uniform_filter

from minkowski_perception.frame import Frame

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
        intensity = frame.intensity
        if intensity is not None:
            brightest = intensity.max(initial=0.0)
            shifted = gain * intensity + offset * brightest
            intensity = shifted.clip(0.0, brightest).astype(np.float32)
        return replace(frame, points=points.astype(np.float32), intensity=intensity)


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
