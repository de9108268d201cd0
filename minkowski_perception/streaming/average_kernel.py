# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Averages over time on CUDA, by Triton: a look-up and one launch for all that is summed."""

# ruff: noqa: N803  Constants of a kernel are in capitals.
from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from minkowski_perception.sparse import KernelMap, cube
from minkowski_perception.sparse.implicit_gemm import launching_on, look_up

REGION = cube((3, 3, 3))
"""Of the voxels that a voxel's sums come from."""

_OWN = REGION.offsets.index((0, 0, 0))
_ROWS = 8


@triton.jit
def average_kernel(
    now, rows, past, ages, sums, averaged, voxels,
    FADING: tl.constexpr, LEAST: tl.constexpr, OWN: tl.constexpr, OFFSETS: tl.constexpr,
    CLASSES: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Write the new sums and the averages of ROWS voxels.

    Args:
        now: [voxels, CLASSES] float32 probabilities.
        rows: [OFFSETS, voxels] int32, rows of the past at each offset, -1 for none.
        past: [V, CLASSES + 1] float16 sums of the past.
        ages: [V] int16, frames since these were seen.
        sums: [voxels, CLASSES + 1] float32, written.
        averaged: [voxels, CLASSES] float32, written.
        voxels: number of voxels.
        FADING: logarithm to base 2 of the share that is left after a frame.
        LEAST: probability that is the lower limit.
        OWN: the offset of the voxel itself.
        OFFSETS: number of offsets.
        CLASSES: number of classes.
        COLUMNS: power of two, above CLASSES.
        ROWS: of a program.
    """
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    valid = m < voxels
    c = tl.arange(0, COLUMNS)
    of_class = (c < CLASSES)[None, :]
    of_sums = valid[:, None] & (c <= CLASSES)[None, :]
    own = tl.zeros((ROWS, COLUMNS), tl.float32)
    others = tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in range(OFFSETS):
        row = tl.load(rows + k * voxels + m, mask=valid, other=-1)
        age = tl.load(ages + row, mask=row >= 0, other=0).to(tl.float32)
        there = (row >= 0)[:, None] & (c <= CLASSES)[None, :]
        place = row.to(tl.int64)[:, None] * (CLASSES + 1) + c[None, :]
        value = tl.load(past + place, mask=there, other=0.0).to(tl.float32)
        value = value * tl.exp2(age * FADING)[:, None]
        own += tl.where(k == OWN, value, 0.0)
        others += tl.where(k == OWN, 0.0, value)
    last = (c == CLASSES)[None, :]
    weight = tl.sum(tl.where(last, others, 0.0), axis=1)
    new = tl.load(now + m[:, None] * CLASSES + c[None, :], mask=of_sums & of_class, other=1.0)
    new = tl.where(last, 1.0, tl.log(tl.maximum(new, LEAST)))
    total = new + own + others / tl.maximum(weight, 1.0)[:, None]
    tl.store(sums + m[:, None] * (CLASSES + 1) + c[None, :], total, mask=of_sums)
    whole = tl.sum(tl.where(last, total, 0.0), axis=1)
    mean = tl.where(of_class, total / whole[:, None], -float("inf"))
    share = tl.exp(mean - tl.max(mean, axis=1)[:, None])
    share = share / tl.sum(share, axis=1)[:, None]
    tl.store(averaged + m[:, None] * CLASSES + c[None, :], share, mask=of_sums & of_class)


def averaged(
    probabilities: Tensor, kernel_map: KernelMap, past: Tensor, ages: Tensor, length: int,
    least: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return what `TemporalAverage` makes of a frame: its sums and averages.

    Args:
        probabilities: [M, K] float32 of the frame.
        kernel_map: from V voxels of the past to those of the frame, of `REGION`.
        past: [V, K + 1] float16, their sums.
        ages: [V] int16.
        length: see `TemporalAverage`.
        least: lower limit of probabilities.

    Returns:
        [M, K + 1] and [M, K] float32.
    """
    voxels, classes = probabilities.shape
    sums = probabilities.new_empty(voxels, classes + 1)
    means = torch.empty_like(probabilities)
    searches = kernel_map.searches
    assert searches is not None
    rows = look_up(searches, kernel_map.target.keys)[0]
    with launching_on(probabilities):
        average_kernel[(triton.cdiv(voxels, _ROWS),)](
            *(probabilities.contiguous(), rows, past, ages, sums, means, voxels),
            FADING=math.log2(1 - 1 / length), LEAST=least, OWN=_OWN,
            OFFSETS=len(REGION.offsets), CLASSES=classes,
            COLUMNS=triton.next_power_of_2(classes + 1), ROWS=_ROWS,
        )  # fmt: skip
    return sums, means
