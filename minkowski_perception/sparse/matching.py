# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Neighbours by merging sorted keys: one pass over both lists for each offset, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.sparse.compiled import Array, compiled, inlined, take_next
from minkowski_perception.sparse.threads import run_on_threads, thread_count

_SMALL = 100_000
"""Steps of all merges below which a second thread costs more than it gives."""


def match(source: Tensor, target: Tensor, deltas: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """For each delta the rows of source and target with source key = target key + delta.

    Args:
        source: [N] int64 keys, ascending, each once.
        target: [M] int64 keys, likewise.
        deltas: what the keys differ by.

    Returns:
        for each delta rows of the source and rows of the target, int32, both ascending.
    """
    most = min(len(source), len(target))
    inputs = torch.empty(len(deltas), most, dtype=torch.int32)
    outputs = torch.empty_like(inputs)
    counts = np.empty(len(deltas), dtype=np.int64)
    progress = np.zeros(1, dtype=np.int64)
    arguments = (source.numpy(), target.numpy(), np.array(deltas, dtype=np.int64))
    results = (inputs.numpy(), outputs.numpy(), counts, progress)
    small = len(deltas) * (len(source) + len(target)) < _SMALL
    run_on_threads(lambda: _merge(*arguments, *results), 1 if small else thread_count())
    return [(inputs[k, :n], outputs[k, :n]) for k, n in enumerate(counts)]


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
    """Take two deltas at a time until none is left.

    No branch depends on the keys: none is predicted wrongly. Each step of a merge waits for the
    one before, so two merges that do not wait for each other take hardly longer than one.
    """
    while True:
        k = 2 * take_next(progress.ctypes.data)
        if k >= len(deltas):
            return
        # Of an odd number, the last one is merged twice, in step.
        other = min(k + 1, len(deltas) - 1)
        one, two = (inputs[k], outputs[k]), (inputs[other], outputs[other])
        i = j = n = p = q = m = 0
        while i < len(source) and j < len(target) and p < len(source) and q < len(target):
            i, j, n = _step(source, target, deltas[k], one, i, j, n)
            p, q, m = _step(source, target, deltas[other], two, p, q, m)
        while i < len(source) and j < len(target):
            i, j, n = _step(source, target, deltas[k], one, i, j, n)
        while p < len(source) and q < len(target):
            p, q, m = _step(source, target, deltas[other], two, p, q, m)
        counts[k], counts[other] = n, m


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
    """Go on by one from row i of the source and row j of the target; keep them if they meet."""
    left, right = source[i], target[j] + delta
    pairs[0][found] = i
    pairs[1][found] = j
    return i + (left <= right), j + (right <= left), found + (left == right)
