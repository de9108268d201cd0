# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Neighbour search on the CPU by merging sorted keys: one pass over both lists per offset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.sparse.compiled import Array, compiled, inlined, take_next
from minkowski_perception.sparse.intersection import AVAILABLE, LANES, intersect
from minkowski_perception.sparse.threads import run_on_threads, thread_count

_SMALL = 100_000
"""Total merge steps below which a second thread does not pay off."""


def match(
    source: Tensor, target: Tensor, deltas: Sequence[int], reach: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """Find the rows with source key = target key + delta, for each delta.

    Args:
        source: [N] int64 keys, ascending and unique.
        target: [M] int64 keys, likewise.
        deltas: key differences.
        reach: a target row without an equal source key has the largest smaller one that is at
            most `reach` below.

    Returns:
        for each delta, source rows and target rows, int32, both ascending.
    """
    most = len(target) if reach else min(len(source), len(target))
    # A merge writes whole vectors, the last of them beyond its pairs.
    inputs = torch.empty(len(deltas), most + LANES, dtype=torch.int32)
    outputs = torch.empty_like(inputs)
    counts = np.empty(len(deltas), dtype=np.int64)
    progress = np.zeros(1, dtype=np.int64)
    arguments = (source.numpy(), target.numpy(), np.array(deltas, dtype=np.int64))
    results = (inputs.numpy(), outputs.numpy(), counts, progress)
    small = len(deltas) * (len(source) + len(target)) < _SMALL
    threads = 1 if small else thread_count()
    if reach:
        run_on_threads(lambda: _merge_below(*arguments, reach, *results), threads)
    else:
        run_on_threads(lambda: _merge(*arguments, *results), threads)
    rows = zip(inputs.unbind(), outputs.unbind(), counts.tolist(), strict=True)
    return [(source_rows[:n], target_rows[:n]) for source_rows, target_rows, n in rows]


@compiled
def _merge(
    source: Array,
    target: Array,
    deltas: Array,
    inputs: Array,
    outputs: Array,
    counts: Array,
    progress: Array,
) -> None:
    """Merge two deltas at a time until none remains; each thread calls this once.

    Where the CPU can, eight keys of one list meet eight of the other in each step.

    No branch depends on the keys, so there are no mispredictions. Each step of a merge depends on
    the previous one, so two independent merges take hardly longer than one.
    """
    while True:
        k = 2 * take_next(progress.ctypes.data)
        if k >= len(deltas):
            return
        # If the number is odd, the last delta is merged twice, in lockstep.
        other = min(k + 1, len(deltas) - 1)
        one, two = (inputs[k], outputs[k]), (inputs[other], outputs[other])
        i = j = n = p = q = m = 0
        if AVAILABLE:
            left, right = source.ctypes.data, target.ctypes.data
            last, end = len(source) - LANES, len(target) - LANES
            while i <= last and j <= end and p <= last and q <= end:
                i, j, n = _leap(left, right, deltas[k], one, i, j, n)
                p, q, m = _leap(left, right, deltas[other], two, p, q, m)
        while i < len(source) and j < len(target) and p < len(source) and q < len(target):
            i, j, n = _step(source, target, deltas[k], one, i, j, n)
            p, q, m = _step(source, target, deltas[other], two, p, q, m)
        while i < len(source) and j < len(target):
            i, j, n = _step(source, target, deltas[k], one, i, j, n)
        while p < len(source) and q < len(target):
            p, q, m = _step(source, target, deltas[other], two, p, q, m)
        counts[k], counts[other] = n, m


@inlined
def _leap(
    source: int,
    target: int,
    delta: int,
    pairs: tuple[Array, Array],
    i: int,
    j: int,
    found: int,
) -> tuple[int, int, int]:
    """Record the pairs among eight rows of each list; advance the list whose keys end first.

    So two groups of eight meet at most once, and no pair is recorded twice.
    """
    to = pairs[0].ctypes.data, pairs[1].ctypes.data
    count, left, right = intersect(source, target, delta, i, j, to[0], to[1], found)
    return i + LANES * (left <= right), j + LANES * (right <= left), found + count


@inlined
def _step(
    source: Array,
    target: Array,
    delta: int,
    pairs: tuple[Array, Array],
    i: int,
    j: int,
    found: int,
) -> tuple[int, int, int]:
    """Advance source row i and target row j by one step; record the pair if the keys match."""
    left, right = source[i], target[j] + delta
    pairs[0][found] = i
    pairs[1][found] = j
    return i + (left <= right), j + (right <= left), found + (left == right)


@compiled
def _merge_below(
    source: Array,
    target: Array,
    deltas: Array,
    reach: int,
    inputs: Array,
    outputs: Array,
    counts: Array,
    progress: Array,
) -> None:
    """Merge as `_merge`, for a reach above 0; each thread calls this once."""
    while True:
        k = 2 * take_next(progress.ctypes.data)
        if k >= len(deltas):
            return
        other = min(k + 1, len(deltas) - 1)
        one, two = (inputs[k], outputs[k]), (inputs[other], outputs[other])
        i = j = n = p = q = m = 0
        while i < len(source) and j < len(target) and p < len(source) and q < len(target):
            i, j, n = _step_below(source, target, deltas[k], reach, one, i, j, n)
            p, q, m = _step_below(source, target, deltas[other], reach, two, p, q, m)
        counts[k] = _finish_below(source, target, deltas[k], reach, one, i, j, n)
        counts[other] = _finish_below(source, target, deltas[other], reach, two, p, q, m)


@inlined
def _step_below(
    source: Array,
    target: Array,
    delta: int,
    reach: int,
    pairs: tuple[Array, Array],
    i: int,
    j: int,
    found: int,
) -> tuple[int, int, int]:
    """Advance source row i, or else target row j; then record j with the row before i if near."""
    wanted = target[j] + delta
    before = max(i - 1, 0)
    distance = wanted - source[before]
    advances = source[i] <= wanted
    pairs[0][found] = before
    pairs[1][found] = j
    near = (distance >= 0) & (distance <= reach)
    return i + advances, j + (not advances), found + (near & (not advances))


@inlined
def _finish_below(
    source: Array,
    target: Array,
    delta: int,
    reach: int,
    pairs: tuple[Array, Array],
    i: int,
    j: int,
    found: int,
) -> int:
    """Finish a merge; return the number of its pairs."""
    while i < len(source) and j < len(target):
        i, j, found = _step_below(source, target, delta, reach, pairs, i, j, found)
    while i and j < len(target) and target[j] + delta - source[i - 1] <= reach:
        pairs[0][found] = i - 1
        pairs[1][found] = j
        j, found = j + 1, found + 1
    return found
