# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Quantization of points to voxels, and the mapping of values back to points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from minkowski_perception.sparse.keys import KeyLayout


@dataclass(frozen=True)
class Quantization:
    """Occupied voxels and the voxel of each point.

    Attributes:
        coordinates: [M, 1 + D] int64, the occupied voxels in canonical order.
        inverse: [N] int64, the row of `coordinates` for each point.
        first: [M] int64, the lowest point index in each voxel.
    """

    coordinates: Tensor
    inverse: Tensor
    first: Tensor

    def reduce(self, values: Tensor, how: Literal["first", "mean"] = "first") -> Tensor:
        """Reduce values of points to values of voxels.

        Args:
            values: [N, ...], one row per point.
            how: "first" takes the point with the lowest index, so the result depends on the order
                of the points, as in the code bases whose networks were trained this way. "mean"
                averages [N, C] floats. It sums in float64, which is exact for float32 values of
                similar magnitude, so the order of the points does not matter.

        Returns:
            [M, ...].

        Raises:
            ValueError: `how` is neither "first" nor "mean".
        """
        if how == "first":
            return values[self.first]
        if how == "mean":
            total = values.new_zeros(len(self.first), values.shape[1], dtype=torch.float64)
            total.index_add_(0, self.inverse, values.double())
            return (total / self.counts()[:, None]).to(values.dtype)
        raise ValueError(f"how must be 'first' or 'mean', not {how!r}")

    def counts(self) -> Tensor:
        """Return the number of points in each voxel, [M] int64."""
        return torch.bincount(self.inverse, minlength=len(self.first))

    def slice(self, values: Tensor) -> Tensor:
        """Map values of voxels [M, ...] to points [N, ...]."""
        return values[self.inverse]


def quantize(coordinates: Tensor) -> Quantization:
    """Merge points with equal integer coordinates into voxels.

    Args:
        coordinates: [N, 1 + D] integers, the batch index first; usually
            floor(position / voxel size).

    Raises:
        CoordinateRangeError: a coordinate is outside the range of its dimension.
    """
    layout = KeyLayout.for_dimension(coordinates.shape[1] - 1)
    keys, order = torch.sort(layout.pack(coordinates), stable=True)
    starts = torch.ones_like(keys, dtype=torch.bool)
    starts[1:] = keys[1:] != keys[:-1]
    inverse = torch.empty_like(order)
    inverse[order] = torch.cumsum(starts, dim=0) - 1
    return Quantization(layout.unpack(keys[starts]), inverse, order[starts])
