# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Quantization of points to voxels, and the mapping of values back to points."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from minkowski_perception.sparse.capacity import Capacities
from minkowski_perception.sparse.keys import KeyLayout, group

try:
    from minkowski_perception.sparse import compiled_means
except Exception:  # Numba is absent or does not fit NumPy: use PyTorch.
    compiled_means = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Quantization:
    """Occupied voxels and the voxel of each point.

    Attributes:
        coordinates: [M, 1 + D] int64, the occupied voxels in canonical order.
        keys: [M] int64, their keys.
        inverse: [N] int64, the row of `coordinates` for each point.
        first: [M] int64, the lowest point index in each voxel.
    """

    coordinates: Tensor
    keys: Tensor
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
            return values.index_select(0, self.first)
        if how == "mean":
            compilable = values.device.type == "cpu" and not values.requires_grad
            if compiled_means is not None and compilable:
                return compiled_means.mean(values, self.inverse, len(self.first))
            total = values.new_zeros(len(self.first), values.shape[1], dtype=torch.float64)
            total.index_add_(0, self.inverse, values.double())
            return (total / self.counts()[:, None]).to(values.dtype)
        raise ValueError(f"how must be 'first' or 'mean', not {how!r}")

    def counts(self) -> Tensor:
        """Return the number of points in each voxel, [M] int64."""
        if self.inverse.device.type == "cpu":
            return torch.bincount(self.inverse, minlength=len(self.first))
        # bincount would make the host wait for the device.
        ones = torch.ones_like(self.inverse)
        return torch.zeros_like(self.first).index_add_(0, self.inverse, ones)

    def slice(self, values: Tensor) -> Tensor:
        """Map values of voxels [M, ...] to points [N, ...]."""
        return values.index_select(0, self.inverse)


def quantize(
    coordinates: Tensor, capacities: Capacities | None = None, name: Hashable = None
) -> Quantization:
    """Merge points with equal integer coordinates into voxels.

    Args:
        coordinates: [N, 1 + D] integers, the batch index first; usually
            floor(position / voxel size).
        capacities: of a frame whose coordinates end with padding, as the result does; None
            without padding.
        name: of the capacity of the voxels.

    Raises:
        CoordinateRangeError: a coordinate is outside the range of its dimension.
    """
    layout = KeyLayout.for_dimension(coordinates.shape[1] - 1)
    keys, inverse, first = group(layout.pack(coordinates, capacities), capacities, name)
    return Quantization(layout.unpack(keys), keys, inverse, first)
