# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Range images and residuals of a `RangeHistory` on the CPU, compiled by Numba.

All arithmetic is in float32 and in the order of the NumPy version, so the results are the same.
"""

from __future__ import annotations

import numpy as np

from minkowski_perception.sparse.compiled import Array, compiled, inlined

_BLOCK = 512
"""Points that are projected at a time, in a loop that LLVM vectorizes."""

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_INFINITY, _TINY = np.float32(np.inf), np.float32(1e-30)
_PI, _HALF_PI = np.float32(np.pi), np.float32(np.pi / 2)


def fill(points: Array, image: Array, arctan: Array, unit: float) -> None:
    """Enter the ranges of points into a range image; see `range_image`.

    Args:
        points: [N, 3] float32, in the sensor's frame.
        image: [2, rows, columns] int16, nearest and farthest range; changed.
        arctan: [6] float32, coefficients of `ARCTAN`.
        unit: metres.
    """
    still, scale = np.eye(3, 4, dtype=np.float32), np.float32(1 / unit)
    _fill(points, still, image[0], image[1], arctan, scale)


def compare(
    points: Array,
    motion: Array,
    image: Array,
    arctan: Array,
    unit: float,
    limit: int,
    residual: Array,
    known: Array,
) -> None:
    """Compare points with a range image; see `compare` of `residuals`.

    Args:
        points: [M, 3] float32, in the current sensor's frame.
        motion: [3, 4] float32, from that frame to the frame of the image.
        image: [2, rows, columns] int16.
        arctan: [6] float32, coefficients of `ARCTAN`.
        unit: metres.
        limit: largest magnitude of a residual, units.
        residual: [M] float32, -1 to 1; changed.
        known: [M] float32, 0 or 1; changed.
    """
    scale = np.float32(1 / unit)
    _compare(points, motion, image[0], image[1], arctan, scale, limit, residual, known)


@inlined
def _project(
    points: Array,
    motion: Array,
    arctan: Array,
    scale: np.float32,
    shape: tuple[int, int],
    rows: Array,
    columns: Array,
    ranges: Array,
) -> None:
    """Compute row, column and range of points; the range is -1 for those without a return."""
    per_row = np.float32(shape[0]) / _PI
    per_column = np.float32(shape[1]) / (_PI + _PI)
    a, b, c, d, e, f = arctan[0], arctan[1], arctan[2], arctan[3], arctan[4], arctan[5]
    for i in range(len(points)):
        p, q, r = points[i, 0], points[i, 1], points[i, 2]
        x = motion[0, 0] * p + motion[0, 1] * q + motion[0, 2] * r + motion[0, 3]
        y = motion[1, 0] * p + motion[1, 1] * q + motion[1, 2] * r + motion[1, 3]
        z = motion[2, 0] * p + motion[2, 1] * q + motion[2, 2] * r + motion[2, 3]
        square = x * x + y * y + z * z
        seen = (square > _ZERO) & (square < _INFINITY)
        x = x if seen else _ONE
        y = y if seen else _ZERO
        z = z if seen else _ZERO
        flat = np.sqrt(x * x + y * y)
        distance = np.sqrt(x * x + y * y + z * z)

        u, v = abs(x), abs(y)
        high = max(max(u, v), _TINY)
        t = min(u, v) / high
        s = t * t
        azimuth = t * (a + s * (b + s * (c + s * (d + s * (e + s * f)))))
        azimuth = _HALF_PI - azimuth if v > u else azimuth
        azimuth = _PI - azimuth if x < _ZERO else azimuth
        azimuth = -azimuth if y < _ZERO else azimuth

        w = abs(z)
        t = min(flat, w) / max(max(flat, w), _TINY)
        s = t * t
        elevation = t * (a + s * (b + s * (c + s * (d + s * (e + s * f)))))
        elevation = _HALF_PI - elevation if w > flat else elevation
        elevation = -elevation if z < _ZERO else elevation

        row = np.int32((elevation + _HALF_PI) * per_row)
        column = np.int32((azimuth + _PI) * per_column)
        rows[i] = min(max(row, 0), shape[0] - 1)
        columns[i] = min(max(column, 0), shape[1] - 1)
        distance = min(distance * scale + _HALF, np.float32(32766))
        ranges[i] = np.int32(distance) if seen else -1


@compiled
def _fill(
    points: Array, motion: Array, nearest: Array, farthest: Array, arctan: Array, scale: np.float32
) -> None:
    rows, columns = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    ranges = np.empty(_BLOCK, np.int32)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        _project(block, motion, arctan, scale, nearest.shape, rows, columns, ranges)
        for i in range(len(block)):
            distance = ranges[i]
            if distance >= 0:
                row, column = rows[i], columns[i]
                nearest[row, column] = min(nearest[row, column], distance)
                farthest[row, column] = max(farthest[row, column], distance)


@compiled
def _compare(
    points: Array,
    motion: Array,
    nearest: Array,
    farthest: Array,
    arctan: Array,
    scale: np.float32,
    limit: int,
    residual: Array,
    known: Array,
) -> None:
    height, width = nearest.shape
    rows, columns = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    ranges = np.empty(_BLOCK, np.int32)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        _project(block, motion, arctan, scale, nearest.shape, rows, columns, ranges)
        for i in range(len(block)):
            distance = ranges[i]
            ahead = behind = 1 << 20
            if distance >= 0:
                for row in range(max(rows[i] - 1, 0), min(rows[i] + 2, height)):
                    for step in range(-1, 2):
                        column = columns[i] + step
                        column += width if column < 0 else 0
                        column -= width if column >= width else 0
                        far = farthest[row, column]
                        if far < 0:
                            continue
                        near = nearest[row, column]
                        if distance > far:
                            behind = min(behind, distance - far)
                        else:
                            ahead = min(ahead, max(near - distance, 0))
            best = ahead if ahead <= behind else -behind
            found = min(ahead, behind) < 1 << 20
            best = min(max(best, -limit), limit) if found else 0
            residual[start + i] = np.float32(best) / np.float32(limit)
            known[start + i] = _ONE if found else _ZERO
