# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Means of groups of rows on the CPU, compiled by Numba."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.sparse.compiled import Array, compiled


def mean(values: Tensor, group: Tensor, count: int) -> Tensor:
    """Return the means of groups of rows, summed in float64 in the order of the rows.

    Args:
        values: [N, C] float32 or float64.
        group: [N] int64, the group of each row.
        count: number of groups M, all with a row.

    Returns:
        [M, C] of the values' dtype.
    """
    result = torch.empty(count, values.shape[1], dtype=values.dtype)
    _mean(values.numpy(), group.numpy(), result.numpy())
    return result


@compiled
def _mean(values: Array, group: Array, result: Array) -> None:
    columns = values.shape[1]
    total = np.zeros(result.shape, np.float64)
    sizes = np.zeros(len(result), np.int64)
    for i in range(len(group)):
        row = group[i]
        sizes[row] += 1
        for c in range(columns):
            total[row, c] += values[i, c]
    for row in range(len(result)):
        for c in range(columns):
            result[row, c] = total[row, c] / sizes[row]
