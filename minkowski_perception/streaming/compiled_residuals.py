# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Range images and residuals of a `RangeHistory` on the CPU, compiled by Numba.

All arithmetic is in float32 and in the order of the NumPy version, so the results are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minkowski_perception.sparse.compiled import Array, compiled, inlined

_BLOCK = 512
"""Points that are projected at a time: LLVM vectorizes loops over such contiguous buffers."""
_FAR = 1 << 20
"""More than any difference of ranges."""

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_INFINITY, _TINY = np.float32(np.inf), np.float32(1e-30)
_FARTHEST = np.float32(32766)
_PI, _HALF_PI = np.float32(np.pi), np.float32(np.pi / 2)

Coefficients = tuple[np.float32, ...]


def fill(points: Array, image: Array, arctan: Coefficients, per_metre: np.float32) -> None:
    """Enter the ranges of points into a range image; see `range_image`.

    Args:
        points: [N, 3] float32, in the sensor's frame.
        image: [2, rows, columns] int16, nearest and farthest range; changed.
        arctan: six coefficients of `arctan`.
        per_metre: units of a range in a metre.
    """
    still = np.eye(3, 4, dtype=np.float32)
    _fill(np.ascontiguousarray(points), still, image, arctan, per_metre)


def compare(
    points: Array,
    motion: Array,
    image: Array,
    arctan: Coefficients,
    per_metre: np.float32,
    limit: int,
    result: Array,
) -> None:
    """Compare points with a range image; see `compare` of `residuals`.

    Args:
        points: [M, 3] float32, in the current sensor's frame.
        motion: [3, 4] float32, from that frame to the frame of the image.
        image: [2, rows, columns] int16.
        arctan: six coefficients of `arctan`.
        per_metre: units of a range in a metre.
        limit: largest magnitude of a residual, units.
        result: [2, M] float32, residuals and whether they are known; changed.
    """
    if result.shape != (2, len(points)):
        # Compiled code does not check bounds.
        raise ValueError(f"a result {list(result.shape)} does not fit {len(points)} points")
    points, motion = np.ascontiguousarray(points), np.ascontiguousarray(motion)
    _compare(points, motion, image, arctan, per_metre, limit, result)


@inlined
def _arctan(y: Any, x: Any, coefficients: Coefficients) -> Any:
    """Return arctan(y / x) of two values of 0 or more."""
    low, high = (x, y) if x < y else (y, x)
    t = low / (high if high > _TINY else _TINY)
    s = t * t
    a, b, c, d, e, f = coefficients
    angle = t * (a + s * (b + s * (c + s * (d + s * (e + s * f)))))
    return _HALF_PI - angle if y > x else angle


@inlined
def _project(
    points: Array,
    start: int,
    count: int,
    motion: Array,
    shape: tuple[int, int],
    arctan: Coefficients,
    per_metre: np.float32,
    buffer: Array,
    pixels: Array,
) -> None:
    """Compute row, column and range of `count` points; the range is -1 without a return.

    Args:
        points: [N, 3].
        start: first of them.
        count: number of them, up to `_BLOCK`.
        motion: [3, 4].
        shape: of the image.
        arctan: coefficients.
        per_metre: units of a range in a metre.
        buffer: [3, _BLOCK] float32.
        pixels: [3, _BLOCK] int32; changed to rows, columns and ranges. A row or column may be one
            too high.
    """
    per_row = np.float32(shape[0]) / _PI
    per_column = np.float32(shape[1]) / (_PI + _PI)
    xs, ys, zs = buffer[0], buffer[1], buffer[2]
    rows, columns, ranges = pixels[0], pixels[1], pixels[2]
    for i in range(count):
        p, q, r = points[start + i, 0], points[start + i, 1], points[start + i, 2]
        xs[i] = motion[0, 0] * p + motion[0, 1] * q + motion[0, 2] * r + motion[0, 3]
        ys[i] = motion[1, 0] * p + motion[1, 1] * q + motion[1, 2] * r + motion[1, 3]
        zs[i] = motion[2, 0] * p + motion[2, 1] * q + motion[2, 2] * r + motion[2, 3]
    for i in range(count):
        x, y, z = xs[i], ys[i], zs[i]
        square = x * x + y * y + z * z
        seen = (square > _ZERO) & (square < _INFINITY)
        x = x if seen else _ONE
        y = y if seen else _ZERO
        z = z if seen else _ZERO
        flat = np.sqrt(x * x + y * y)
        distance = np.sqrt(x * x + y * y + z * z) * per_metre + _HALF
        azimuth = _arctan(abs(y), abs(x), arctan)
        azimuth = _PI - azimuth if x < _ZERO else azimuth
        azimuth = -azimuth if y < _ZERO else azimuth
        elevation = _arctan(abs(z), flat, arctan)
        elevation = -elevation if z < _ZERO else elevation
        rows[i] = np.int32((elevation + _HALF_PI) * per_row)
        columns[i] = np.int32((azimuth + _PI) * per_column)
        distance = distance if distance < _FARTHEST else _FARTHEST
        ranges[i] = np.int32(distance if seen else -_ONE)


@compiled
def _fill(
    points: Array, motion: Array, image: Array, arctan: Coefficients, per_metre: np.float32
) -> None:
    nearest, farthest = image[0], image[1]
    height, width = nearest.shape
    buffer, pixels = np.empty((3, _BLOCK), np.float32), np.empty((3, _BLOCK), np.int32)
    for start in range(0, len(points), _BLOCK):
        count = min(_BLOCK, len(points) - start)
        _project(points, start, count, motion, (height, width), arctan, per_metre, buffer, pixels)
        for i in range(count):
            distance = pixels[2, i]
            if distance >= 0:
                row, column = min(pixels[0, i], height - 1), min(pixels[1, i], width - 1)
                if distance < nearest[row, column]:
                    nearest[row, column] = distance
                if distance > farthest[row, column]:
                    farthest[row, column] = distance


@compiled
def _compare(
    points: Array,
    motion: Array,
    image: Array,
    arctan: Coefficients,
    per_metre: np.float32,
    limit: int,
    result: Array,
) -> None:
    nearest, farthest = image[0], image[1]
    height, width = nearest.shape
    buffer, pixels = np.empty((3, _BLOCK), np.float32), np.empty((3, _BLOCK), np.int32)
    for start in range(0, len(points), _BLOCK):
        count = min(_BLOCK, len(points) - start)
        _project(points, start, count, motion, (height, width), arctan, per_metre, buffer, pixels)
        for i in range(count):
            row, column = min(pixels[0, i], height - 1), min(pixels[1, i], width - 1)
            distance = pixels[2, i]
            ahead = behind = _FAR
            if distance >= 0:
                for r in range(max(row - 1, 0), min(row + 2, height)):
                    for step in range(-1, 2):
                        c = column + step
                        c = c + width if c < 0 else (c - width if c >= width else c)
                        far = farthest[r, c]
                        if far < 0:
                            continue
                        if distance > far:
                            behind = min(behind, distance - far)
                        else:
                            ahead = min(ahead, max(nearest[r, c] - distance, 0))
                    if ahead == 0:
                        break
            known = min(ahead, behind) < _FAR
            best = min(ahead, limit) if ahead <= behind else -min(behind, limit)
            result[0, start + i] = np.float32(best) / np.float32(limit) if known else _ZERO
            result[1, start + i] = _ONE if known else _ZERO
