# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Noise on measurements, as 4D networks were first tried under (Choy et al., CVPR 2019).

They saw elastic distortion, Gaussian noise on coordinates and a chromatic shift; a LiDAR has
intensity for chroma, and loses points too. All of it is drawn anew for each frame: it is noise of
the measurement, which what other frames saw can help against.
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
    """How strong the noise is.

    Attributes:
        jitter: standard deviation of each coordinate of each point on its own, metres.
        elastic: standard deviation of each coordinate of the elastic distortion, metres.
        elastic_spacing: metres between the nodes of the distortion: how smooth it is.
        dropout: share of points that are lost.
        gain: least and largest factor on a frame's intensity.
        offset: largest shift of a frame's intensity, as a share of its brightest point.
    """

    jitter: float = 0.05
    elastic: float = 0.1
    elastic_spacing: float = 2.0
    dropout: float = 0.5
    gain: tuple[float, float] = (0.5, 1.5)
    offset: float = 0.2

    def __call__(self, frame: Frame, rng: Rng) -> Frame:
        """Return the frame as measured under noise; points that are lost stay as NaN."""
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
    """[N, 3] smooth random displacements of [N, 3] points.

    White noise of standard deviation 1 on a grid, smoothed twice by the mean of three nodes along
    each axis, between the nodes by linear interpolation: as in SpatioTemporalSegmentation.

    Args:
        points: finite.
        spacing: between the nodes, metres.
        rng: draws the noise.
    """
    if not len(points):
        return np.zeros((0, 3))
    places = _places(points, spacing)
    shape = np.ceil(places.max(axis=1)).astype(int) + 3
    displacements = []
    for _ in range(3):
        field = rng.normal(size=shape)
        for _ in range(2):
            field = uniform_filter(field, size=3)
        displacements.append(map_coordinates(field, places, order=1))
    return np.stack(displacements, axis=1)


def _distortion(points: npt.NDArray[np.float32], spacing: float, rng: Rng) -> Array:
    """[N, 3] displacements as of `smooth_noise`, of standard deviation 1."""
    displacements = smooth_noise(points, spacing, rng)
    if not len(points):
        return displacements
    return displacements / _spread(_places(points, spacing))[:, None]


def _places(points: npt.NDArray[np.floating], spacing: float) -> Array:
    """[3, N] in units of nodes; two nodes more on each side, so that smoothing meets no edge."""
    return np.asarray((points - points.min(axis=0)).T / spacing + 2.0)


def _spread(places: Array) -> Array:
    """[N] standard deviation of the smoothed field at [3, N] places, in units of nodes.

    Two means of three are the weights 1, 2, 3, 2, 1 (over 9) on the white noise of five nodes;
    neighbouring nodes share four of them, so interpolation at `u` between two has the variance
    ((1 - u)^2 + u^2) 19 / 81 + 2 u (1 - u) 16 / 81.
    """
    u = places % 1.0
    variance = ((1 - u) ** 2 + u**2) * 19 / 81 + 2 * u * (1 - u) * 16 / 81
    return np.asarray(np.sqrt(variance.prod(axis=0)))
