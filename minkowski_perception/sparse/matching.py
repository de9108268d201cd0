# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Neighbours by merging sorted keys: one pass over both lists for each offset, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.sparse.compiled import Array, compiled, take_next
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
        i = j = found = p = q = others = 0
        while i < len(source) and j < len(target) and p < len(source) and q < len(target):
            left, right = source[i], target[j] + deltas[k]
            inputs[k, found] = i
            outputs[k, found] = j
            found += left == right
            i += left <= right
            j += right <= left
            left, right = source[p], target[q] + deltas[other]
            inputs[other, others] = p
            outputs[other, others] = q
            others += left == right
            p += left <= right
            q += right <= left
        _merge_on(source, target, deltas, inputs, outputs, counts, (k, i, j, found))
        _merge_on(source, target, deltas, inputs, outputs, counts, (other, p, q, others))


@compiled
def _merge_on(
    source: Array,
    target: Array,
    deltas: Array,
    inputs: Array,
    outputs: Array,
    counts: Array,
    reached: tuple[int, int, int, int],
) -> None:
    """Go on with the merge of a delta, from a row of source and target and so many pairs found."""
    k, i, j, found = reached
    while i < len(source) and j < len(target):
        left, right = source[i], target[j] + deltas[k]
        inputs[k, found] = i
        outputs[k, found] = j
        found += left == right
        i += left <= right
        j += right <= left
    counts[k] = found
