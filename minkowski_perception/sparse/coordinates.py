# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sets of occupied voxels, one for each stride."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from minkowski_perception.sparse.keys import KeyLayout
from minkowski_perception.sparse.regions import KernelRegion

Stride = tuple[int, ...]

_CHUNK = 2**24
"""Neighbours sought at once."""


class CoordinateMap:
    """Occupied voxels of one stride, sorted by key, each once.

    Coordinates stay in units of the finest voxels: those of stride s are multiples of s.
    """

    def __init__(self, keys: Tensor, layout: KeyLayout, stride: Stride) -> None:
        self.keys = keys
        self.layout = layout
        self.stride = stride

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def coordinates(self) -> Tensor:
        """[N, 1 + D] int64, the batch index first."""
        return self.layout.unpack(self.keys)

    def subset(self, rows: Tensor) -> CoordinateMap:
        """Voxels of some rows [M], which ascend."""
        return CoordinateMap(self.keys[rows], self.layout, self.stride)

    def rows(self, keys: Tensor) -> Tensor:
        """Row of each key, -1 where no such voxel is occupied; [M] int64."""
        if len(self) == 0:
            return torch.full_like(keys, -1)
        rows = torch.searchsorted(self.keys, keys).clamp_(max=len(self) - 1)
        return torch.where(self.keys[rows] == keys, rows, -1)

    def neighbours(self, keys: Tensor, deltas: Sequence[int]) -> Iterator[Tensor]:
        """Look up keys [N] moved by each of K deltas, some deltas at a time.

        Yields:
            [k, N] int64 as `rows`, K rows in all; k is small enough to bound the memory.
        """
        chunk = max(1, _CHUNK // max(1, len(keys)))
        for some in torch.tensor(deltas, device=keys.device).split(chunk):
            yield self.rows(keys + some[:, None])

    def coarsened(self, stride: Stride, extent: Tensor | None = None) -> CoordinateMap:
        """Voxels of a coarser stride that hold the voxels of this one (floor to multiples).

        Args:
            stride: of the result.
            extent: [D]; voxels that reach beyond it are left out.
        """
        keys = torch.unique(self.layout.floor(self.keys, stride))
        if extent is not None:
            ends = self.layout.unpack(keys)[:, 1:] + torch.tensor(stride, device=keys.device)
            keys = keys[(ends <= extent).all(dim=1)]
        return CoordinateMap(keys, self.layout, stride)

    def expanded(self, stride: Stride, region: KernelRegion) -> CoordinateMap:
        """Voxels of a finer stride that a transposed kernel reaches from these."""
        deltas = [self.layout.delta(scaled(offset, stride)) for offset in region.offsets]
        reached = self.keys[:, None] + torch.tensor(deltas, device=self.keys.device)
        keys = torch.unique(reached)
        return CoordinateMap(self.layout.pack(self.layout.unpack(keys)), self.layout, stride)


def scaled(values: tuple[int, ...], factors: tuple[int, ...]) -> tuple[int, ...]:
    """Multiply axis by axis.

    Raises:
        ValueError: the dimensions differ.
    """
    if len(values) != len(factors):
        raise ValueError(f"a kernel in {len(factors)}D cannot act on {len(values)}D voxels")
    return tuple(v * f for v, f in zip(values, factors, strict=True))
