# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What grows from one sparse tensor: coarser voxels, and the kernel maps between them."""

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
    """All coordinate maps and kernel maps that grow from one sparse tensor.

    It lives as long as a tensor refers to it: there is no global cache to fill memory.

    Args:
        given: map of that tensor.
        order: [N] int64, which of the coordinates that it was made of each row is.
        engine: runs the convolutions of inference; None for plain PyTorch.
        extent: [D], in units of the finest voxels; coarser voxels that reach beyond it do not
            come to be, so some voxels have no parent. None for no bound.
        memory: of the frames before, where the tensor holds the newest frame of a stream alone;
            None where it holds all frames that matter.
    """

    def __init__(
        self,
        given: CoordinateMap,
        order: Tensor,
        engine: Engine | None = None,
        extent: Tensor | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.engine = engine or DEFAULT_ENGINE
        self.extent = extent
        self.memory = memory
        self._recall_maps: dict[tuple[Stride, KernelRegion, int], CausalMap] = {}
        self.given = given
        self._order = order
        self._maps: dict[Stride, CoordinateMap] = {given.stride: given}
        self._kernel_maps: dict[tuple[Stride, Stride, Offsets, int], KernelMap] = {}

    @cached_property
    def rows_given(self) -> Tensor:
        """[N] int64, row of each of the coordinates that the first tensor was made of."""
        rows = torch.empty_like(self._order)
        rows[self._order] = torch.arange(len(rows), device=rows.device)
        return rows

    def register(self, coordinate_map: CoordinateMap) -> CoordinateMap:
        """Take in the map of a stride, or return the one that is known already."""
        return self._maps.setdefault(coordinate_map.stride, coordinate_map)

    def coarser(self, source: CoordinateMap, step: Stride) -> CoordinateMap:
        """Map of stride source.stride * step.

        Raises:
            ValueError: the step is not of the dimension of the coordinates.
        """
        stride = scaled(source.stride, step)
        known = self._maps.get(stride)
        return self.register(source.coarsened(stride, self.extent)) if known is None else known

    def finer(self, source: CoordinateMap, step: Stride, region: KernelRegion) -> CoordinateMap:
        """Map of stride source.stride / step: the known one, else all that the kernel reaches.

        Raises:
            ValueError: the stride cannot be divided by the step.
        """
        stride = tuple(s // r for s, r in zip(source.stride, step, strict=False))
        if scaled(stride, step) != source.stride:
            raise ValueError(f"stride {source.stride} cannot be divided by {step}")
        known = self._maps.get(stride)
        return self.register(source.expanded(stride, region)) if known is None else known

    def kernel_map(
        self, source: CoordinateMap, target: CoordinateMap, region: KernelRegion, dilation: int = 1
    ) -> KernelMap:
        """Kernel map between two maps of this manager, built once."""
        # By offsets, for a causal region without links has those of a plain one.
        key = (source.stride, target.stride, region.offsets, dilation)
        if key not in self._kernel_maps:
            self._kernel_maps[key] = KernelMap(source, target, region, dilation)
        return self._kernel_maps[key]

    def causal_map(self, voxels: CoordinateMap, region: CausalRegion, recall: int) -> CausalMap:
        """Kernel map of a causal kernel from voxels to themselves, built once.

        Frame by frame its source has the rows remembered behind those of the voxels.

        Args:
            voxels: one stride of the tensor.
            region: its offsets, with links.
            recall: how many frames back links may reach.
        """
        present = self.kernel_map(voxels, voxels, region.present)
        if self.memory is not None:
            return self.memory.kernel_map(present, region)
        key = voxels.stride, region, recall
        if key not in self._recall_maps:
            assert region.links is not None
            # One frame back is an offset like any other, and sought by merging.
            links = (
                self.kernel_map(voxels, voxels, region.links)
                if recall == 1
                else RecallMap(voxels, region.links, recall)
            )
            self._recall_maps[key] = CausalMap(present, links, region, in_one=True)
        return self._recall_maps[key]
