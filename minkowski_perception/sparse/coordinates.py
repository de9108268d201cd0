# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Coordinate maps: the occupied voxels of each stride, and those of recent frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from minkowski_perception.sparse.capacity import PADDING, Capacities, rows_of
from minkowski_perception.sparse.keys import KeyLayout, group, join, on_device
from minkowski_perception.sparse.regions import KernelRegion

Stride = tuple[int, ...]

_CHUNK = 2**24
"""Maximum neighbours looked up at once."""


class CoordinateMap:
    """Occupied voxels of one stride, unique and sorted by key.

    Coordinates are in units of the finest voxels: at stride s they are multiples of s.

    Args:
        keys: [N] int64, ascending and unique but for padding.
        layout: of the keys.
        stride: of the voxels.
        capacities: of a frame whose lists of voxels end with padding; None without padding.
    """

    def __init__(
        self,
        keys: Tensor,
        layout: KeyLayout,
        stride: Stride,
        capacities: Capacities | None = None,
    ) -> None:
        self.keys = keys
        self.layout = layout
        self.stride = stride
        self.capacities = capacities

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def coordinates(self) -> Tensor:
        """[N, 1 + D] int64, the batch index first."""
        coordinates = self.layout.unpack(self.keys)
        if self.capacities is not None:
            padding = self.keys == PADDING
            coordinates.masked_fill_(padding[:, None], 0)
            coordinates[:, 0] -= padding.long()
        return coordinates

    @property
    def count(self) -> int:
        """Number of rows without padding; the host waits for it where there is padding."""
        if self.capacities is None:
            return len(self)
        return int((self.keys != PADDING).sum())

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
        capacities = self.capacities
        floors = self.layout.floor(self.keys, stride)
        if capacities is not None:
            floors.masked_fill_(self.keys == PADDING, PADDING)
        keys, _, _ = group(floors, capacities, ("voxels", stride))
        if extent is not None:
            ends = self.layout.unpack(keys)[:, 1:] + on_device(stride, keys.device)
            within = (ends <= extent).all(dim=1)
            keys = keys[within if capacities is None else rows_of(within, len(keys))]
        return CoordinateMap(keys, self.layout, stride, capacities)

    def expanded(self, stride: Stride, region: KernelRegion) -> CoordinateMap:
        """Return the finer voxels that a transposed kernel reaches from these."""
        deltas = tuple(self.layout.delta(scaled(offset, stride)) for offset in region.offsets)
        reached = self.keys[:, None] + on_device(deltas, self.keys.device)
        capacities = self.capacities
        if capacities is not None:
            reached.masked_fill_((self.keys == PADDING)[:, None], PADDING)
        keys, _, _ = group(reached.flatten(), capacities, ("voxels", stride))
        fine = CoordinateMap(keys, self.layout, stride, capacities)
        self.layout.pack(fine.coordinates, capacities)  # checks the range
        return fine


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

    def updated(
        self, seen: CoordinateMap, recall: int, name: str = "recent"
    ) -> tuple[RecentVoxels, Tensor]:
        """Return these voxels updated with those of the next frame.

        Args:
            seen: M voxels of that frame.
            recall: frames after which an unseen voxel is dropped.
            name: of the capacity of the result, beside the stride.

        Returns:
            the updated voxels, and the source row of each: below M a row of `seen`, from M on a
            row of this object.
        """
        capacities, stride = seen.capacities, seen.stride
        keys, ages, rows = join(
            seen.keys, self.map.keys, self.age, recall, capacities, (name, stride)
        )
        return RecentVoxels(CoordinateMap(keys, seen.layout, stride, capacities), ages), rows

    def shifted(self, offset: Sequence[int]) -> tuple[RecentVoxels, Tensor]:
        """Shift by an offset [D], a multiple of the stride; drop voxels outside the key range.

        Returns:
            the shifted voxels, and the former row of each.
        """
        layout, capacities = self.map.layout, self.map.capacities
        moved = self.map.coordinates + on_device((0, *offset), self.age.device)
        low, high = (on_device(ends, moved.device) for ends in zip(*layout.limits, strict=True))
        within = ((moved >= low) & (moved <= high)).all(dim=1)
        rows = within.nonzero()[:, 0] if capacities is None else rows_of(within, len(within))
        keys = layout.packed(moved.index_select(0, rows))
        if capacities is not None:
            keys.masked_fill_(~within.index_select(0, rows), PADDING)
        voxels = CoordinateMap(keys, layout, self.map.stride, capacities)
        return RecentVoxels(voxels, self.age.index_select(0, rows)), rows


def scaled(values: tuple[int, ...], factors: tuple[int, ...]) -> tuple[int, ...]:
    """Multiply element by element.

    Raises:
        ValueError: the dimensions differ.
    """
    if len(values) != len(factors):
        raise ValueError(f"dimensions differ: a {len(factors)}D kernel on {len(values)}D voxels")
    return tuple(v * f for v, f in zip(values, factors, strict=True))
