# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Loops of the voxelization on the CPU, compiled by Numba.

All arithmetic is in the types and the order of the NumPy version, so the results are the same.
"""

from __future__ import annotations

import numpy as np

from minkowski_perception.sparse.compiled import Array, compiled


def measured(points: Array, reach: float) -> Array:
    """See `voxels._measured`."""
    result = np.empty(len(points), np.bool_)
    _measured(np.ascontiguousarray(points), np.float32(reach), result)
    return result


def columns(values: Array, rows: Array) -> Array:
    """See `voxels._columns`."""
    result = np.empty((3, len(rows)), values.dtype)
    _columns(np.ascontiguousarray(values), rows, result)
    return result


def product(rows: Array, points: Array) -> Array:
    """See `voxels._product`."""
    result = np.empty((len(rows), points.shape[1]), np.float64)
    _product(np.ascontiguousarray(rows), points, result)
    return result


def place(
    positions: Array, pose: Array, voxel_size: float, floors: bool, origin: Array
) -> tuple[Array, Array]:
    """See `voxels._place`; `floors` is whether positions are rounded down, otherwise to even."""
    coordinates = np.empty((4, positions.shape[1]), np.int64)
    offsets = np.empty(positions.shape, np.float32)
    motion = np.ascontiguousarray(pose[:3, :4])
    _place(positions, motion, voxel_size, floors, origin.astype(np.float64), coordinates, offsets)
    return coordinates, offsets


@compiled
def _measured(points: Array, reach: np.float32, result: Array) -> None:
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        near = (abs(x) < reach) & (abs(y) < reach) & (abs(z) < reach)
        result[i] = near & ((x != 0) | (y != 0) | (z != 0))


@compiled
def _columns(values: Array, rows: Array, result: Array) -> None:
    for i in range(len(rows)):
        row = rows[i]
        for axis in range(3):
            result[axis, i] = values[row, axis]


@compiled
def _product(rows: Array, points: Array, result: Array) -> None:
    for row in range(len(rows)):
        a, b, c = rows[row, 0], rows[row, 1], rows[row, 2]
        for i in range(points.shape[1]):
            x, y, z = points[0, i], points[1, i], points[2, i]
            result[row, i] = np.float64(x) * a + np.float64(y) * b + np.float64(z) * c


@compiled
def _place(
    positions: Array,
    motion: Array,
    voxel_size: float,
    floors: bool,
    origin: Array,
    coordinates: Array,
    offsets: Array,
) -> None:
    centre = 0.5 if floors else 0.0
    coordinates[0] = 0
    for axis in range(3):
        a, b, c, shift = motion[axis, 0], motion[axis, 1], motion[axis, 2], motion[axis, 3]
        for i in range(positions.shape[1]):
            x, y, z = positions[0, i], positions[1, i], positions[2, i]
            scaled = (
                np.float64(x) * a + np.float64(y) * b + np.float64(z) * c + shift
            ) / voxel_size
            cell = np.floor(scaled) if floors else np.rint(scaled)
            coordinates[1 + axis, i] = np.int64(cell - origin[axis])
            offsets[axis, i] = np.float32(scaled - cell - centre)
