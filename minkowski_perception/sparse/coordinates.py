# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Coordinate maps: the occupied voxels of each stride, and those of recent frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from minkowski_perception.sparse.keys import KeyLayout, group, join
from minkowski_perception.sparse.regions import KernelRegion

Stride = tuple[int, ...]

_CHUNK = 2**24
"""Maximum neighbours looked up at once."""


class CoordinateMap:
    """Occupied voxels of one stride, unique and sorted by key.

    Coordinates are in units of the finest voxels: at stride s they are multiples of s.
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
        """Return the voxels of some rows [M], in ascending order."""
        return CoordinateMap(self.keys[rows], self.layout, self.stride)

    def rows(self, keys: Tensor) -> Tensor:
        """Return the row of each key, -1 if the voxel is not occupied; [M] int64."""
        if len(self) == 0:
            return torch.full_like(keys, -1)
        rows = torch.searchsorted(self.keys, keys).clamp_(max=len(self) - 1)
        return torch.where(self.keys[rows] == keys, rows, -1)

    def neighbours(self, keys: Tensor, deltas: Sequence[int]) -> Iterator[Tensor]:
        """Look up keys [N] shifted by each of K deltas, in chunks of k deltas to bound the memory.

        Yields:
            [k, N] int64, rows as from `rows`; K deltas in total.
        """
        chunk = max(1, _CHUNK // max(1, len(keys)))
        for some in on_device(tuple(deltas), keys.device).split(chunk):
            yield self.rows(keys + some[:, None])

    def coarsened(self, stride: Stride, extent: Tensor | None = None) -> CoordinateMap:
        """Return the coarser voxels that contain these (floor to multiples of the stride).

        Args:
            stride: stride of the result.
            extent: [D]; voxels that reach beyond it are dropped.
        """
        keys, _, _ = group(self.layout.floor(self.keys, stride))
        if extent is not None:
            ends = self.layout.unpack(keys)[:, 1:] + on_device(stride, keys.device)
            keys = keys[(ends <= extent).all(dim=1)]
        return CoordinateMap(keys, self.layout, stride)

    def expanded(self, stride: Stride, region: KernelRegion) -> CoordinateMap:
        """Return the finer voxels that a transposed kernel reaches from these."""
        deltas = tuple(self.layout.delta(scaled(offset, stride)) for offset in region.offsets)
        reached = self.keys[:, None] + on_device(deltas, self.keys.device)
        keys = torch.unique(reached)
        return CoordinateMap(self.layout.pack(self.layout.unpack(keys)), self.layout, stride)


@dataclass(frozen=True)
class RecentVoxels:
    """Voxels of recent frames.

    Attributes:
        map: N voxels.
        age: [N] integers, frames since each voxel was last seen; 1 is the last frame.
    """

    map: CoordinateMap
    age: Tensor

    @classmethod
    def of(cls, seen: CoordinateMap, dtype: torch.dtype = torch.int64) -> RecentVoxels:
        """Return the voxels of one frame, the last one."""
        return cls(seen, torch.ones(len(seen), dtype=dtype, device=seen.keys.device))

    def updated(self, seen: CoordinateMap, recall: int) -> tuple[RecentVoxels, Tensor]:
        """Return these voxels updated with those of the next frame.

        Args:
            seen: M voxels of that frame.
            recall: frames after which an unseen voxel is dropped.

        Returns:
            the updated voxels, and the source row of each: below M a row of `seen`, from M on a
            row of this object.
        """
        keys, ages, rows = join(seen.keys, self.map.keys, self.age, recall)
        return RecentVoxels(CoordinateMap(keys, seen.layout, seen.stride), ages), rows

    def shifted(self, offset: Tensor) -> tuple[RecentVoxels, Tensor]:
        """Shift by an offset [D], a multiple of the stride; drop voxels outside the key range.

        Returns:
            the shifted voxels, and the former row of each.
        """
        layout = self.map.layout
        moved = self.map.coordinates.clone()
        moved[:, 1:] += offset
        limits = torch.tensor(layout.limits[1:], device=moved.device)
        within = ((moved[:, 1:] >= limits[:, 0]) & (moved[:, 1:] <= limits[:, 1])).all(dim=1)
        rows = within.nonzero()[:, 0]
        voxels = CoordinateMap(layout.pack(moved[rows]), layout, self.map.stride)
        return RecentVoxels(voxels, self.age[rows]), rows


@lru_cache(maxsize=1024)
def on_device(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Return integers as a tensor, [N] int64, not to be changed; copied to a device once."""
    return torch.tensor(values, dtype=torch.int64, device=device)


def scaled(values: tuple[int, ...], factors: tuple[int, ...]) -> tuple[int, ...]:
    """Multiply element by element.

    Raises:
        ValueError: the dimensions differ.
    """
    if len(values) != len(factors):
        raise ValueError(f"dimensions differ: a {len(factors)}D kernel on {len(values)}D voxels")
    return tuple(v * f for v, f in zip(values, factors, strict=True))
