# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Runs of equal keys on CUDA, by Triton: few launches; see `keys.runs`."""

# ruff: noqa: N803  Constants of a kernel are in capitals.
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from minkowski_perception.sparse.implicit_gemm import launching_on

_ROWS = 512


@triton.jit
def begin_kernel(ordered, begins, count, ROWS: tl.constexpr):
    """Write 1 for each of ROWS sorted keys that differs from the one before it, otherwise 0."""
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    given = i < count
    key = tl.load(ordered + i, mask=given, other=0)
    before = tl.load(ordered + i - 1, mask=given & (i > 0), other=0)
    tl.store(begins + i, tl.where((i == 0) | (key != before), 1, 0), mask=given)


@triton.jit
def run_kernel(order, begins, numbers, inverse, starts, count, runs, ROWS: tl.constexpr):
    """Write the run of each of ROWS sorted keys to its place, and where its first key is."""
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    given = i < count
    run = tl.load(numbers + i, mask=given, other=1) - 1
    place = tl.load(order + i, mask=given, other=0)
    tl.store(inverse + place, tl.minimum(run, runs - 1), mask=given)
    first = tl.load(begins + i, mask=given, other=0) != 0
    tl.store(starts + run, i.to(tl.int64), mask=given & first & (run < runs))


def begins_of(ordered: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether each sorted key [N] begins a run, int32, and the runs up to it, int64."""
    begins = torch.empty_like(ordered, dtype=torch.int32)
    with launching_on(ordered):
        begin_kernel[(triton.cdiv(len(ordered), _ROWS),)](
            ordered, begins, len(ordered), ROWS=_ROWS
        )
    return begins, torch.cumsum(begins, dim=0)


def runs_of(order: Tensor, begins: Tensor, numbers: Tensor, runs: int) -> tuple[Tensor, Tensor]:
    """Return the run of each key [N], in the given order, and the place of the first key of each.

    Args:
        order: [N] int64, index of each sorted key.
        begins: see `begins_of`.
        numbers: likewise.
        runs: how many there may be; the places beyond those that there are, are that of the last
            key.
    """
    inverse = torch.empty_like(order)
    starts = order.new_full((runs,), len(order) - 1)
    with launching_on(order):
        run_kernel[(triton.cdiv(len(order), _ROWS),)](
            order, begins, numbers, inverse, starts, len(order), runs, ROWS=_ROWS
        )
    return inverse, starts
