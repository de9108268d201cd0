# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sums of a `TemporalAverage` on the CPU, compiled by Numba."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.sparse.compiled import Array, compiled, inlined, take_next, widened
from minkowski_perception.sparse.threads import run_on_threads, thread_count

_BLOCK = 1024
"""Voxels that a thread takes at a time."""


def sums(
    now: Tensor, seen: Tensor, past: Tensor, kept: Tensor, fading: Tensor, columns: Sequence[int]
) -> Tensor:
    """Return the sums [M, K + 1] float32 of a frame's voxels; see `TemporalAverage`.

    Neighbours along the last axis are next to each other among sorted keys, so nine pointers go
    through the past voxels, one for each column of three neighbours.

    Args:
        now: [M, K] float32, log-probabilities of this frame.
        seen: [M] int64, keys of its voxels, ascending.
        past: [V] int64, keys of the past voxels, ascending.
        kept: [V, K + 1] float16, sums of the past voxels.
        fading: [V] float32, factor on each of them.
        columns: key differences of the offsets of `cube((3, 3, 1))`; neighbours are added in the
            order of `cube((3, 3, 3))`.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    shapes = [len(seen), now.shape[1] + 1, len(past), len(past)]
    if [len(now), kept.shape[1], len(kept), len(fading)] != shapes:
        # Compiled code does not check bounds: a missing row would be read from foreign memory.
        raise ValueError(
            f"log-probabilities {list(now.shape)} of {len(seen)} voxels do not fit the sums "
            f"{list(kept.shape)} of {len(past)} past ones"
        )
    result = torch.empty(len(now), kept.shape[1])
    progress = np.zeros(1, dtype=np.int64)
    frame = (now.numpy(), seen.numpy())
    before = (past.numpy(), kept.view(torch.uint16).numpy(), fading.numpy(), np.array(columns))
    threads = 1 if len(now) <= _BLOCK else thread_count()
    run_on_threads(lambda: _sums(*frame, *before, result.numpy(), progress), threads)
    return result


@compiled
def _sums(
    now: Array,
    seen: Array,
    past: Array,
    kept: Array,
    fading: Array,
    columns: Array,
    result: Array,
    progress: Array,
) -> None:
    """Compute blocks of voxels until none remains; each thread calls this once."""
    weight = kept.shape[1] - 1
    pointers = np.empty(9, np.int64)
    rows = np.empty(27, np.int64)
    own, others = np.empty(weight + 1, np.float32), np.empty(weight + 1, np.float32)
    while True:
        start = take_next(progress.ctypes.data) * _BLOCK
        if start >= len(seen):
            return
        for k in range(9):
            pointers[k] = np.searchsorted(past, seen[start] + columns[k] - 1)
        for i in range(start, min(start + _BLOCK, len(seen))):
            for k in range(9):
                rows[k] = rows[9 + k] = rows[18 + k] = -1
                lowest = seen[i] + columns[k] - 1
                row = pointers[k]
                while row < len(past) and past[row] < lowest:
                    row += 1
                pointers[k] = row
                while row < len(past) and past[row] <= lowest + 2:
                    rows[9 * (past[row] - lowest) + k] = row
                    row += 1
            own[:] = 0
            others[:] = 0
            for k in range(27):
                if rows[k] >= 0 and k != 13:
                    _add(others, kept[rows[k]], fading[rows[k]])
            if rows[13] >= 0:
                _add(own, kept[rows[13]], fading[rows[13]])
            frames = max(others[weight], np.float32(1))
            for c in range(weight):
                result[i, c] = now[i, c] + own[c] + others[c] / frames
            result[i, weight] = np.float32(1) + own[weight] + others[weight] / frames


@inlined
def _add(total: Array, halves: Array, factor: float) -> None:
    for c in range(len(total)):
        total[c] += widened(halves[c]) * factor
