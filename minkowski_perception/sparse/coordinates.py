# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sets of voxels at each stride, and the kernel maps between them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from minkowski_perception.sparse.keys import KeyLayout
from minkowski_perception.sparse.regions import KernelRegion

Stride = tuple[int, ...]


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

    def rows(self, keys: Tensor) -> Tensor:
        """Row of each key, -1 where no such voxel is occupied; [M] int64."""
        if len(self) == 0:
            return torch.full_like(keys, -1)
        rows = torch.searchsorted(self.keys, keys).clamp_(max=len(self) - 1)
        return torch.where(self.keys[rows] == keys, rows, -1)

    def coarsened(self, stride: Stride) -> CoordinateMap:
        """Voxels of a coarser stride that hold the voxels of this one (floor to multiples)."""
        steps = torch.tensor((1, *stride), device=self.keys.device)
        coarse = torch.div(self.coordinates, steps, rounding_mode="floor") * steps
        return CoordinateMap(torch.unique(self.layout.pack(coarse)), self.layout, stride)

    def expanded(self, stride: Stride, region: KernelRegion) -> CoordinateMap:
        """Voxels of a finer stride that a transposed kernel reaches from these."""
        deltas = [self.layout.delta(_scaled(offset, stride)) for offset in region.offsets]
        reached = self.keys[:, None] + torch.tensor(deltas, device=self.keys.device)
        keys = torch.unique(reached)
        return CoordinateMap(self.layout.pack(self.layout.unpack(keys)), self.layout, stride)


class KernelMap:
    """Which input row meets which output row, for each offset of a kernel.

    Attributes:
        pairs: for each offset the input rows and the output rows, [M_k] int64 each; within one
            offset no row stands twice. None where all rows meet themselves.
        inputs: number of input rows.
        outputs: number of output rows.
    """

    def __init__(self, pairs: list[tuple[Tensor, Tensor] | None], inputs: int, outputs: int):
        self.pairs = pairs
        self.inputs = inputs
        self.outputs = outputs

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield (offset's index, input rows, output rows), offsets that meet nothing left out."""
        for k, pair in enumerate(self.pairs):
            if pair is None:
                yield k, self._all, self._all
            elif len(pair[0]):
                yield k, *pair

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def _all(self) -> Tensor:
        device = next((pair[0].device for pair in self.pairs if pair is not None), None)
        return torch.arange(self.inputs, device=device)

    def transposed(self) -> KernelMap:
        """Map of the transposed convolution: the same offsets, inputs and outputs swapped."""
        pairs = [pair and (pair[1], pair[0]) for pair in self.pairs]
        return KernelMap(pairs, self.outputs, self.inputs)


def build_kernel_map(
    source: CoordinateMap, target: CoordinateMap, region: KernelRegion, dilation: int = 1
) -> KernelMap:
    """Find, for each voxel of `target`, its neighbours in `source`.

    Offset k joins target voxel u to source voxel u + offset_k * dilation * source.stride.

    Raises:
        CoordinateRangeError: an offset is larger than the key layout allows.
    """
    same = source is target
    position = {offset: k for k, offset in enumerate(region.offsets)}
    pairs: list[tuple[Tensor, Tensor] | None] = []
    for k, offset in enumerate(region.offsets):
        mirrored = position.get(tuple(-step for step in offset), k)
        if same and not any(offset):
            pairs.append(None)
        elif same and mirrored < k:
            # Where source and target are one, the opposite offset joins the same pairs.
            pair = pairs[mirrored]
            assert pair is not None
            pairs.append((pair[1], pair[0]))
        else:
            step = tuple(o * dilation * s for o, s in zip(offset, source.stride, strict=True))
            found = source.rows(target.keys + target.layout.delta(step))
            hits = torch.nonzero(found >= 0).squeeze(1)
            pairs.append((found[hits], hits))
    return KernelMap(pairs, len(source), len(target))


class CoordinateManager:
    """All coordinate maps and kernel maps that grow from one sparse tensor.

    It lives as long as a tensor refers to it: there is no global cache to fill memory.
    """

    def __init__(self) -> None:
        self._maps: dict[Stride, CoordinateMap] = {}
        self._kernel_maps: dict[tuple[Stride, Stride, KernelRegion, int], KernelMap] = {}

    def register(self, coordinate_map: CoordinateMap) -> CoordinateMap:
        """Take in the map of a stride, or return the one that is known already."""
        return self._maps.setdefault(coordinate_map.stride, coordinate_map)

    def coarser(self, source: CoordinateMap, step: Stride) -> CoordinateMap:
        """Map of stride source.stride * step.

        Raises:
            ValueError: the step is not of the dimension of the coordinates.
        """
        stride = _scaled(source.stride, step)
        known = self._maps.get(stride)
        return self.register(source.coarsened(stride)) if known is None else known

    def finer(self, source: CoordinateMap, step: Stride, region: KernelRegion) -> CoordinateMap:
        """Map of stride source.stride / step: the known one, else all that the kernel reaches.

        Raises:
            ValueError: the stride cannot be divided by the step.
        """
        stride = tuple(s // r for s, r in zip(source.stride, step, strict=False))
        if _scaled(stride, step) != source.stride:
            raise ValueError(f"stride {source.stride} cannot be divided by {step}")
        known = self._maps.get(stride)
        return self.register(source.expanded(stride, region)) if known is None else known

    def kernel_map(
        self, source: CoordinateMap, target: CoordinateMap, region: KernelRegion, dilation: int = 1
    ) -> KernelMap:
        """Kernel map between two maps of this manager, built once."""
        key = (source.stride, target.stride, region, dilation)
        if key not in self._kernel_maps:
            self._kernel_maps[key] = build_kernel_map(source, target, region, dilation)
        return self._kernel_maps[key]


def _scaled(values: tuple[int, ...], factors: tuple[int, ...]) -> tuple[int, ...]:
    if len(values) != len(factors):
        raise ValueError(f"a kernel in {len(factors)}D cannot act on {len(values)}D voxels")
    return tuple(v * f for v, f in zip(values, factors, strict=True))
