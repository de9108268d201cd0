# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Coordinate manager: the coordinate maps and kernel maps derived from one sparse tensor."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from minkowski_perception.sparse.coordinates import CoordinateMap, Stride, scaled
from minkowski_perception.sparse.engines.base import Engine
from minkowski_perception.sparse.engines.torch_engine import TorchEngine
from minkowski_perception.sparse.kernel_maps import KernelMap
from minkowski_perception.sparse.links import CausalMap, Memory, RecallMap
from minkowski_perception.sparse.regions import CausalRegion, KernelRegion, Offsets

DEFAULT_ENGINE = TorchEngine()


class CoordinateManager:
    """Coordinate maps and kernel maps derived from one sparse tensor.

    It lives as long as a tensor refers to it; there is no global cache.

    Args:
        given: coordinate map of that tensor.
        order: [N] int64, index of each row in the coordinates that the tensor was created from;
            None if both have the same order.
        engine: runs the convolutions in inference; None for plain PyTorch.
        extent: [D], in units of the finest voxels; coarser voxels that reach beyond it are not
            created, so some voxels have no parent. None for no bound.
        memory: memory of the earlier frames if the tensor holds only the newest frame of a stream;
            None if it holds all frames.
    """

    def __init__(
        self,
        given: CoordinateMap,
        order: Tensor | None,
        engine: Engine | None = None,
        extent: Tensor | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.engine = engine or DEFAULT_ENGINE
        self.extent = extent
        self.memory = memory
        self._recall_maps: dict[tuple[CoordinateMap, KernelRegion, int], CausalMap] = {}
        self.given = given
        self._order = order
        self._maps: dict[Stride, CoordinateMap] = {given.stride: given}
        self._kernel_maps: dict[tuple[CoordinateMap, CoordinateMap, Offsets, int], KernelMap] = {}

    @cached_property
    def input_rows(self) -> Tensor | None:
        """[N] int64, row of each of the coordinates that the first tensor was created from.

        None if they have the order of the rows.
        """
        if self._order is None:
            return None
        rows = torch.empty_like(self._order)
        rows[self._order] = torch.arange(len(rows), device=rows.device)
        return rows

    def register(self, coordinate_map: CoordinateMap) -> CoordinateMap:
        """Add the map of a stride; return the existing one if there is one."""
        return self._maps.setdefault(coordinate_map.stride, coordinate_map)

    def replace(self, coordinate_map: CoordinateMap) -> None:
        """Replace the map of a stride, for the layers that follow."""
        self._maps[coordinate_map.stride] = coordinate_map

    def coarser(self, source: CoordinateMap, step: Stride) -> CoordinateMap:
        """Return the map of stride source.stride * step.

        Raises:
            ValueError: the dimensions of step and coordinates differ.
        """
        stride = scaled(source.stride, step)
        known = self._maps.get(stride)
        return self.register(source.coarsened(stride, self.extent)) if known is None else known

    def finer(self, source: CoordinateMap, step: Stride, region: KernelRegion) -> CoordinateMap:
        """Return the map of stride source.stride / step, by default all that the kernel reaches.

        Raises:
            ValueError: the stride is not divisible by the step.
        """
        stride = tuple(s // r for s, r in zip(source.stride, step, strict=False))
        if scaled(stride, step) != source.stride:
            raise ValueError(f"stride {source.stride} is not divisible by {step}")
        known = self._maps.get(stride)
        return self.register(source.expanded(stride, region)) if known is None else known

    def kernel_map(
        self, source: CoordinateMap, target: CoordinateMap, region: KernelRegion, dilation: int = 1
    ) -> KernelMap:
        """Return the kernel map between two maps of this manager, built once."""
        # The key has offsets, not the region: a causal region without links equals a plain one.
        key = (source, target, region.offsets, dilation)
        if key not in self._kernel_maps:
            self._kernel_maps[key] = KernelMap(source, target, region, dilation)
        return self._kernel_maps[key]

    def causal_map(self, voxels: CoordinateMap, region: CausalRegion, recall: int) -> CausalMap:
        """Return the kernel map of a causal kernel from voxels to themselves, built once.

        Frame by frame, the source rows are those of the voxels, followed by the remembered ones.

        Args:
            voxels: map of one stride of the tensor.
            region: a region with links.
            recall: maximum number of frames that links reach back.
        """
        present = self.kernel_map(voxels, voxels, region.present)
        if self.memory is not None:
            return self.memory.kernel_map(present, region)
        key = voxels, region, recall
        if key not in self._recall_maps:
            assert region.links is not None
            # With a recall of 1, links are ordinary offsets and use the faster search.
            links = (
                self.kernel_map(voxels, voxels, region.links)
                if recall == 1
                else RecallMap(voxels, region.links, recall)
            )
            self._recall_maps[key] = CausalMap(present, links, region, same_source=True)
        return self._recall_maps[key]
