# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""From points to voxels and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from minkowski_perception.sparse.keys import KeyLayout


@dataclass(frozen=True)
class Quantization:
    """Which voxel each point fell into.

    Attributes:
        coordinates: [M, 1 + D] int64, the occupied voxels in canonical order.
        inverse: [N] int64, row of `coordinates` of each point.
        first: [M] int64, lowest index of the points in each voxel.
    """

    coordinates: Tensor
    inverse: Tensor
    first: Tensor

    def reduce(self, values: Tensor, how: Literal["first", "mean"] = "first") -> Tensor:
        """Values of the voxels from those of the points.

        Args:
            values: [N, ...], one row a point.
            how: "first" takes the point of lowest index, so it depends on the order of the points,
                as in the code bases whose networks were trained so. "mean" averages ([N, C]
                floats); it is summed in float64, which is exact for float32 values of like
                magnitude, so the order does not show.

        Returns:
            [M, ...].

        Raises:
            ValueError: `how` is something else.
        """
        if how == "first":
            return values[self.first]
        if how == "mean":
            total = values.new_zeros(len(self.first), values.shape[1], dtype=torch.float64)
            total.index_add_(0, self.inverse, values.double())
            return (total / self.counts()[:, None]).to(values.dtype)
        raise ValueError(f"how must be 'first' or 'mean', not {how!r}")

    def counts(self) -> Tensor:
        """[M] int64, how many points are in each voxel."""
        return torch.bincount(self.inverse, minlength=len(self.first))

    def slice(self, values: Tensor) -> Tensor:
        """Values [N, ...] of the points from those of the voxels [M, ...]."""
        return values[self.inverse]


def quantize(coordinates: Tensor) -> Quantization:
    """Unite points of equal integer coordinates into voxels.

    Args:
        coordinates: [N, 1 + D] integers, the batch index first; floor(position / voxel size) as
            a rule.

    Raises:
        CoordinateRangeError: a coordinate is outside of the range of its dimension.
    """
    layout = KeyLayout.for_dimension(coordinates.shape[1] - 1)
    keys, order = torch.sort(layout.pack(coordinates), stable=True)
    starts = torch.ones_like(keys, dtype=torch.bool)
    starts[1:] = keys[1:] != keys[:-1]
    inverse = torch.empty_like(order)
    inverse[order] = torch.cumsum(starts, dim=0) - 1
    return Quantization(layout.unpack(keys[starts]), inverse, order[starts])
