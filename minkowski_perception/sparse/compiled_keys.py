# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Loops over keys on the CPU, compiled by Numba: packing, grouping and joining."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.sparse.compiled import Array, compiled


def pack(
    coordinates: Tensor, origins: Sequence[int], shifts: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sum over the columns of (coordinate + origin) << shift, and the columns' ranges.

    Args:
        coordinates: [N, C] int64.
        origins: added to each column.
        shifts: bits by which each column is shifted.

    Returns:
        [N] int64 sums; [C] smallest and [C] largest coordinates, zeros if N is 0.
    """
    keys = torch.zeros(len(coordinates), dtype=torch.int64)
    low, high = (torch.zeros(len(shifts), dtype=torch.int64) for _ in range(2))
    results = (keys.numpy(), low.numpy(), high.numpy())
    _pack(coordinates.numpy(), np.array(origins), np.array(shifts), *results)
    return keys, low, high


def group(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `keys.group`."""
    found, inverse, first = (torch.empty(len(keys), dtype=torch.int64) for _ in range(3))
    # Half of the slots remain free, so that searches are short.
    bits = max(1, len(keys)).bit_length() + 1
    slots = np.full(2**bits, -1, dtype=np.int32)
    count = _group(keys.numpy(), bits, slots, found.numpy(), inverse.numpy(), first.numpy())
    # NumPy sorts with vector instructions.
    order = torch.from_numpy(np.argsort(found[:count].numpy()))
    _rename(inverse.numpy(), order.numpy())
    return found.index_select(0, order), inverse, first.index_select(0, order)


def join(seen: Tensor, known: Tensor, ages: Tensor, recall: int) -> tuple[Tensor, Tensor, Tensor]:
    """See `keys.join`."""
    most = len(seen) + len(known)
    keys, rows = (torch.empty(most, dtype=torch.int64) for _ in range(2))
    joined = torch.empty(most, dtype=ages.dtype)
    arguments = (seen.numpy(), known.numpy(), ages.numpy(), recall)
    count = _join(*arguments, keys.numpy(), joined.numpy(), rows.numpy())
    # Copies, so that the unused ends do not stay in memory.
    return keys[:count].clone(), joined[:count].clone(), rows[:count]


@compiled
def _pack(
    coordinates: Array, origins: Array, shifts: Array, keys: Array, low: Array, high: Array
) -> None:
    for axis in range(len(shifts) if len(keys) else 0):
        column, origin, shift = coordinates[:, axis], origins[axis], shifts[axis]
        least = most = column[0]
        for i in range(len(keys)):
            least, most = min(least, column[i]), max(most, column[i])
            keys[i] += (column[i] + origin) << shift
        low[axis], high[axis] = least, most


@compiled
def _group(
    keys: Array, bits: int, slots: Array, found: Array, inverse: Array, first: Array
) -> int:
    """Give the different keys numbers in the order of their first index; return how many.

    `slots` is a hash table of these numbers, -1 where free, searched from the key's slot on.
    """
    count = number = 0
    for i in range(len(keys)):
        key = keys[i]
        # Neighbouring points of a scan often share a voxel.
        if i == 0 or key != found[number]:
            spread = np.uint64(key ^ (key >> 32)) * np.uint64(0x9E3779B97F4A7C15)
            slot = np.int64(spread >> np.uint64(64 - bits))
            while slots[slot] >= 0 and found[slots[slot]] != key:
                slot = (slot + 1) & (len(slots) - 1)
            if slots[slot] < 0:
                slots[slot] = count
                found[count], first[count] = key, i
                count += 1
            number = slots[slot]
        inverse[i] = number
    return count


@compiled
def _rename(numbers: Array, order: Array) -> None:
    """Replace each number by its index in `order`."""
    index = np.empty(len(order), np.int64)
    for i in range(len(order)):
        index[order[i]] = i
    for i in range(len(numbers)):
        numbers[i] = index[numbers[i]]


@compiled
def _join(
    seen: Array, known: Array, ages: Array, recall: int, keys: Array, joined: Array, rows: Array
) -> int:
    """Merge both lists; return the number of voxels. No branch in the loop depends on the keys."""
    i = j = count = 0
    while i < len(seen) and j < len(known):
        is_seen = seen[i] <= known[j]
        keys[count] = seen[i] if is_seen else known[j]
        joined[count] = 1 if is_seen else ages[j] + 1
        rows[count] = i if is_seen else len(seen) + j
        count += is_seen | (ages[j] < recall)
        j += known[j] <= seen[i]
        i += is_seen
    for row in range(i, len(seen)):
        keys[count], joined[count], rows[count] = seen[row], 1, row
        count += 1
    for row in range(j, len(known)):
        if ages[row] < recall:
            keys[count], joined[count], rows[count] = known[row], ages[row] + 1, len(seen) + row
            count += 1
    return count
