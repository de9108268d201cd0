# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sets of occupied voxels, one for each stride."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class RecentVoxels:
    """Voxels that were seen of late.

    Attributes:
        map: N voxels.
        age: [N] integers, frames since each was seen, from 1.
    """

    map: CoordinateMap
    age: Tensor

    @classmethod
    def of(cls, seen: CoordinateMap, dtype: torch.dtype = torch.int64) -> RecentVoxels:
        """Voxels of one frame, which is the last one."""
        return cls(seen, torch.ones(len(seen), dtype=dtype, device=seen.keys.device))

    def followed_by(self, seen: CoordinateMap, recall: int) -> tuple[RecentVoxels, Tensor]:
        """Join them with the voxels of another frame, each as it was seen last.

        Args:
            seen: M voxels of the frame.
            recall: frames after which a voxel that was not seen is left out.

        Returns:
            the voxels; and where each was: rows of `seen` and, from M on, of these.
        """
        new = RecentVoxels.of(seen, self.age.dtype)
        # Of a voxel that both have, the sort leaves the new one before the old one.
        keys, order = torch.sort(torch.cat([seen.keys, self.map.keys]), stable=True)
        ages = torch.cat([new.age, self.age + 1]).index_select(0, order)
        lasts = ages <= recall
        lasts[1:] &= keys[1:] != keys[:-1]
        rows = lasts.nonzero()[:, 0]
        voxels = CoordinateMap(keys.index_select(0, rows), seen.layout, seen.stride)
        return RecentVoxels(voxels, ages.index_select(0, rows)), order.index_select(0, rows)

    def shifted(self, offset: Tensor) -> tuple[RecentVoxels, Tensor]:
        """Move them by an offset [D], a multiple of the stride; those out of a key's range go.

        Returns:
            the voxels, and the row that each had.
        """
        layout = self.map.layout
        moved = self.map.coordinates.clone()
        moved[:, 1:] += offset
        limits = torch.tensor(layout.limits[1:], device=moved.device)
        within = ((moved[:, 1:] >= limits[:, 0]) & (moved[:, 1:] <= limits[:, 1])).all(dim=1)
        rows = within.nonzero()[:, 0]
        voxels = CoordinateMap(layout.pack(moved[rows]), layout, self.map.stride)
        return RecentVoxels(voxels, self.age[rows]), rows


def scaled(values: tuple[int, ...], factors: tuple[int, ...]) -> tuple[int, ...]:
    """Multiply axis by axis.

    Raises:
        ValueError: the dimensions differ.
    """
    if len(values) != len(factors):
        raise ValueError(f"a kernel in {len(factors)}D cannot act on {len(values)}D voxels")
    return tuple(v * f for v, f in zip(values, factors, strict=True))
