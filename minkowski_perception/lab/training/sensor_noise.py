# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Measurement noise of training clips: `simulation.noise.Noise`, computed faster in float32."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.noise import Noise, shift_intensity

Array = npt.NDArray[np.float32]
Rng = np.random.Generator

_MARGIN = 4
"""Nodes that two box filters of three nodes take away from each axis."""


def measured(frame: Frame, noise: Noise, rng: Rng) -> Frame:
    """Return the points that noise does not lose, with the noise.

    The distribution is that of `Noise.__call__`. Points are dropped first, and the elastic
    distortion of all three coordinates is computed at once, in float32.
    """
    frame = frame.subset(frame.valid & (rng.random(len(frame)) >= noise.dropout))
    points = frame.points + np.float32(noise.jitter) * rng.standard_normal(
        frame.points.shape, dtype=np.float32
    )
    points += np.float32(noise.elastic) * distortion(frame.points, noise.elastic_spacing, rng)
    gain, offset = rng.uniform(*noise.gain), rng.uniform(-noise.offset, noise.offset)
    return replace(frame, points=points, intensity=shift_intensity(frame.intensity, gain, offset))


def distortion(points: Array, spacing: float, rng: Rng) -> Array:
    """Return smooth random displacements of points, [N, 3], of standard deviation 1.

    White noise on a grid, smoothed twice by a box filter of three nodes along each axis and
    interpolated linearly, as `simulation.noise.smooth_noise`.

    Args:
        points: [N, 3], finite.
        spacing: distance between grid nodes, metres.
        rng: generator of the noise.
    """
    if not len(points):
        return np.zeros((0, 3), np.float32)
    columns = np.ascontiguousarray(points.T)  # NumPy is slow along axes of length 3.
    columns = (columns - columns.min(axis=1, keepdims=True)) / np.float32(spacing)
    corner = np.floor(columns)
    above = columns - corner
    below = 1 - above
    nodes = corner.astype(np.int64)
    shape = nodes.max(axis=1) + 2
    field = _smoothed(rng.standard_normal((*(shape + _MARGIN), 3), dtype=np.float32))
    field = field.reshape(-1, 3)
    steps = np.array([shape[1] * shape[2], shape[2], 1])
    first = steps @ nodes
    total = np.zeros((len(points), 3), np.float32)
    for step in product((0, 1), repeat=3):
        x, y, z = (above[axis] if up else below[axis] for axis, up in enumerate(step))
        total += (x * y * z)[:, None] * field.take(first + steps @ step, axis=0)
    # Two box filters have the weights 1, 2, 3, 2, 1 (over 9); neighbouring nodes share four.
    variance = ((below**2 + above**2) * 19 + 2 * above * below * 16) / 81
    total /= np.sqrt(variance.prod(axis=0))[:, None]
    return total


def _smoothed(field: Array) -> Array:
    """Filter a field [X, Y, Z, ...] twice by a box of three nodes; each axis loses `_MARGIN`."""
    for axis in (0, 1, 2):
        field = np.moveaxis(field, axis, 0)
        for _ in range(2):
            field = field[:-2] + field[1:-1] + field[2:]
        field = np.moveaxis(field, 0, axis)
    smoothed: Array = np.ascontiguousarray(field) / np.float32(9**3)
    return smoothed
