# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of the voxelization; `device_voxels` launches them.

All arithmetic is in the types and the order of `voxels`, so the results are the same bits.
Products and sums must not be fused: launch the kernels with `enable_fp_fusion=False`.
"""

# ruff: noqa: N803  Constants of a kernel are in capitals.
from __future__ import annotations

import triton
import triton.language as tl

from minkowski_perception.sparse import capacity

PADDING = tl.constexpr(capacity.PADDING)

FEATURES = (
    *("one", "x", "y", "z", "range", "height", "intensity", "intensity_known"),
    *("red", "green", "blue", "offset_x", "offset_y", "offset_z", "spread_z"),
)
"""Features that the kernels know, in the order of their numbers."""

SPREAD = tl.constexpr(FEATURES.index("spread_z"))

HEADER = 18
"""Numbers of a frame, float64: its motion [3, 4], origin [3], size of a voxel, reach, and 1 if the
intensity is known."""


@triton.jit
def _place(header, axis: tl.constexpr, x, y, z):
    """Return cells along an axis relative to the origin, and offsets from their centres."""
    a = tl.load(header + 4 * axis)
    b = tl.load(header + 4 * axis + 1)
    c = tl.load(header + 4 * axis + 2)
    shift = tl.load(header + 4 * axis + 3)
    wide = x.to(tl.float64) * a + y.to(tl.float64) * b + z.to(tl.float64) * c
    scaled = (wide + shift) / tl.load(header + 15)
    cell = tl.floor(scaled)
    return cell - tl.load(header + 12 + axis), (scaled - cell - 0.5).to(tl.float32)


@triton.jit
def _feature(
    NUMBER: tl.constexpr, header, colour, intensity, given,
    x, y, z, distance, offset_x, offset_y, offset_z,
):  # fmt: skip
    """Return the feature of points with a number, see FEATURES; its `spread_z` is `offset_z`."""
    value = tl.full(x.shape, 1.0, tl.float32)
    if NUMBER == 1:
        value = x
    elif NUMBER == 2:
        value = y
    elif NUMBER == 3:
        value = z
    elif NUMBER == 4:
        value = distance
    elif NUMBER == 5:
        a = tl.load(header + 8)
        b = tl.load(header + 9)
        c = tl.load(header + 10)
        wide = x.to(tl.float64) * a + y.to(tl.float64) * b + z.to(tl.float64) * c
        value = wide.to(tl.float32)
    elif NUMBER == 6:
        value = tl.load(intensity, mask=given, other=0.0)
    elif NUMBER == 7:
        value *= tl.load(header + 17).to(tl.float32)
    elif NUMBER == 8 or NUMBER == 9 or NUMBER == 10:
        shade = tl.load(colour + (NUMBER - 8), mask=given, other=0)
        value = tl.div_rn(shade.to(tl.float32), 255.0)
    elif NUMBER == 11:
        value = offset_x
    elif NUMBER == 12:
        value = offset_y
    elif NUMBER == 13 or NUMBER == 14:
        value = offset_z
    return value


@triton.jit
def point_kernel(
    header, points, intensity, colour, factors, keys, values, count,
    NUMBERS: tl.constexpr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr, BITS: tl.constexpr,
    LOW: tl.constexpr, HIGH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Write the key and the features of ROWS points.

    Keys of points that are in no voxel are PADDING, those of points out of range negative. Each
    four bits of NUMBERS are a feature, the first one lowest. Beyond CHANNELS, the last of WIDTH
    values is the range. `factors` [2, CHANNELS] are scales and offsets; `spread_z` has none yet.
    """
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    given = n < count
    x = tl.load(points + 3 * n, mask=given, other=0.0)
    y = tl.load(points + 3 * n + 1, mask=given, other=0.0)
    z = tl.load(points + 3 * n + 2, mask=given, other=0.0)
    reach = tl.load(header + 16).to(tl.float32)
    near = (tl.abs(x) < reach) & (tl.abs(y) < reach) & (tl.abs(z) < reach)
    measured = near & ((x != 0) | (y != 0) | (z != 0))
    x = tl.where(measured, x, 0.0)
    y = tl.where(measured, y, 0.0)
    z = tl.where(measured, z, 0.0)
    column, offset_x = _place(header, 0, x, y, z)
    row, offset_y = _place(header, 1, x, y, z)
    level, offset_z = _place(header, 2, x, y, z)
    inside = (column >= LOW) & (column <= HIGH) & (row >= LOW) & (row <= HIGH)
    inside &= (level >= LOW) & (level <= HIGH)
    middle = 1 << (BITS - 1)
    key = tl.where(inside, column, 0.0).to(tl.int64) + middle
    key = (key << BITS) + (tl.where(inside, row, 0.0).to(tl.int64) + middle)
    key = (key << BITS) + (tl.where(inside, level, 0.0).to(tl.int64) + middle)
    tl.store(keys + n, tl.where(measured, tl.where(inside, key, -1), PADDING), mask=given)

    distance = tl.sqrt_rn(x * x + y * y + z * z)
    for i in tl.static_range(CHANNELS):
        value = _feature(
            (NUMBERS >> 4 * i) & 15, header, colour + 3 * n, intensity + n, given,
            x, y, z, distance, offset_x, offset_y, offset_z,
        )  # fmt: skip
        if ((NUMBERS >> 4 * i) & 15) != SPREAD:
            value = value * tl.load(factors + i) + tl.load(factors + CHANNELS + i)
        tl.store(values + n * WIDTH + i, value, mask=given)
    if WIDTH > CHANNELS:
        tl.store(values + n * WIDTH + CHANNELS, distance, mask=given)


@triton.jit
def voxel_kernel(
    ordered, order, starts, values, factors, coordinates, keys, features, distances, sizes,
    points, voxels,
    COLUMN: tl.constexpr, FIRST: tl.constexpr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr, BITS: tl.constexpr, ROWS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Write the coordinates, features, mean ranges and numbers of points of ROWS voxels.

    Args:
        ordered: [points] int64, sorted keys of the points.
        order: [points] int64, the point of each.
        starts: [voxels] int64, place of each voxel's first point among them.
        values: [points, WIDTH] float32 of `point_kernel`.
        factors: [2, CHANNELS] scales and offsets.
        coordinates: [voxels, 5] int64 [batch, x, y, z, 0]; the batch of padding is -1.
        keys: [voxels] int64.
        features: [voxels, CHANNELS] float32; zeros for padding.
        distances: [voxels] float32, the means of the last column, if WIDTH > CHANNELS.
        sizes: [voxels] int64.
        points: number of points.
        voxels: number of voxels.
        COLUMN: channel of `spread_z`, -1 without.
        FIRST: whether features are those of a voxel's first point, otherwise the means.
        CHANNELS: features of a voxel.
        WIDTH: values of a point.
        COLUMNS: power of two, WIDTH or more.
        BITS: of an axis in a key.
        ROWS: of a program.
        STEPS: points of a voxel that are read at a time.
    """
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    given = m < voxels
    start = tl.load(starts + m, mask=given, other=0)
    end = tl.load(starts + m + 1, mask=m + 1 < voxels, other=0)
    end = tl.where(m + 1 < voxels, end, points)
    key = tl.load(ordered + start, mask=given, other=PADDING)
    occupied = key != PADDING
    size = tl.where(occupied, end - start, 0)
    c = tl.arange(0, COLUMNS)
    known = c < WIDTH
    total = tl.zeros((ROWS, COLUMNS), tl.float64)
    squares = tl.zeros((ROWS, COLUMNS), tl.float64)
    for i in range(0, tl.max(size).to(tl.int32), STEPS):
        for j in tl.static_range(STEPS):
            # A mask by `point`: Triton 3.6 cannot compile the same mask for both loads.
            point = tl.load(order + start + i + j, mask=i + j < size, other=-1)
            here = (point >= 0)[:, None] & known[None, :]
            value = tl.load(values + point[:, None] * WIDTH + c[None, :], mask=here, other=0.0)
            wide = value.to(tl.float64)
            total += wide
            if COLUMN >= 0:
                squares += wide * wide
    number = tl.maximum(size, 1).to(tl.float64)[:, None]
    mean = total / number
    result = mean.to(tl.float32)
    if WIDTH > CHANNELS:
        of_range = tl.sum(tl.where(c[None, :] == CHANNELS, result, 0.0), axis=1)
        tl.store(distances + m, of_range, mask=given)
    if FIRST:
        point = tl.load(order + start, mask=given, other=0)
        here = occupied[:, None] & known[None, :]
        result = tl.load(values + point[:, None] * WIDTH + c[None, :], mask=here, other=0.0)
    if COLUMN >= 0:
        spread = tl.sqrt(tl.maximum(squares / number - mean * mean, 0.0)).to(tl.float32)
        spread = spread * tl.load(factors + COLUMN) + tl.load(factors + CHANNELS + COLUMN)
        result = tl.where((c == COLUMN)[None, :] & occupied[:, None], spread, result)
    place = m[:, None] * CHANNELS + c[None, :]
    tl.store(features + place, result, mask=given[:, None] & (c < CHANNELS)[None, :])
    tl.store(keys + m, key, mask=given)
    tl.store(sizes + m, size, mask=given)
    tl.store(coordinates + 5 * m, tl.where(occupied, 0, -1).to(tl.int64), mask=given)
    for axis in tl.static_range(3):
        field = (key >> (2 - axis) * BITS) & ((1 << BITS) - 1)
        value = tl.where(occupied, field - (1 << (BITS - 1)), 0)
        tl.store(coordinates + 5 * m + 1 + axis, value, mask=given)
    tl.store(coordinates + 5 * m + 4, tl.zeros((ROWS,), tl.int64), mask=given)
