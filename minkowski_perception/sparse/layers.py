# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Layers on sparse tensors; parameters have MinkowskiEngine's names and shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from minkowski_perception.sparse.coordinates import CoordinateMap
from minkowski_perception.sparse.functional import convolve, pool
from minkowski_perception.sparse.kernel_maps import KernelMap
from minkowski_perception.sparse.links import MAX_RECALL
from minkowski_perception.sparse.regions import CausalRegion, KernelRegion
from minkowski_perception.sparse.support import extended
from minkowski_perception.sparse.tensor import SparseTensor, per_axis


class Convolution(nn.Module):
    """Sparse convolution over a kernel region, with optional stride.

    The output voxels are the input voxels, coarsened by the stride. `kernel` is [K, C_in, C_out],
    or [C_in, C_out] for a pointwise convolution (centre offset only, stride 1).

    Args:
        in_channels: C_in.
        out_channels: C_out.
        region: the kernel's offsets.
        stride: factor between output and input stride, for all axes or per axis.
        dilation: factor on the offsets.
        bias: whether to add a bias, [1, C_out].
    """

    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        region: KernelRegion,
        stride: int | Sequence[int] = 1,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.region = region
        self.stride = per_axis(stride, region.dimension)
        self.dilation = dilation
        self.pointwise = (
            len(region) == 1 and not any(region.offsets[0]) and set(self.stride) == {1}
        )
        shape = (in_channels, out_channels)
        self.kernel = nn.Parameter(torch.empty(shape if self.pointwise else (len(region), *shape)))
        self.bias = nn.Parameter(torch.empty(1, out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise uniformly within +-1 / sqrt(fan), as MinkowskiEngine does."""
        fan = self.kernel.shape[-1 if self.transposed else -2] * len(self.region)
        bound = 1.0 / math.sqrt(fan)
        nn.init.uniform_(self.kernel, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(
        self,
        tensor: SparseTensor,
        norm: BatchNorm | None = None,
        residual: SparseTensor | None = None,
        relu: bool = False,
    ) -> SparseTensor:
        """Convolve, then apply norm, residual and ReLU if given.

        In inference (evaluation mode, no gradients) the tensor's engine fuses these steps.

        Args:
            tensor: [N, C_in] features.
            norm: batch norm of the C_out outputs.
            residual: [M, C_out] features on the output's voxels, added after the norm.
            relu: whether to apply ReLU at the end.

        Returns:
            [M, C_out] features.

        Raises:
            ValueError: the shape of the features or the voxels of the residual do not match.
        """
        if tensor.features.shape[1] != self.in_channels:
            raise ValueError(f"expected {self.in_channels} input channels, got {tensor}")
        target, kernel_map = self._maps(tensor)
        inputs = self._inputs(tensor)
        if residual is not None:
            residual.require_voxels(target)
        if self.training or torch.is_grad_enabled():
            features = convolve(inputs, self._kernel, kernel_map)
            if self.bias is not None:
                features = features + self.bias
            if norm is not None:
                features = norm.bn(features)
            if residual is not None:
                features = features + residual.features
            if relu:
                features = torch.relu(features)
        else:
            engine = tensor.manager.engine
            bias = None if self.bias is None else self.bias[0]
            weights = engine.weights(self, self._kernel, bias, None if norm is None else norm.bn)
            added = None if residual is None else residual.features
            features = engine.convolve(inputs, weights, kernel_map, added, relu)
        return SparseTensor.on_map(features, target, tensor.manager)

    @property
    def _kernel(self) -> Tensor:
        return self.kernel[None] if self.pointwise else self.kernel

    def _maps(self, tensor: SparseTensor) -> tuple[CoordinateMap, KernelMap]:
        manager = tensor.manager
        target = manager.coarser(tensor.map, self.stride)
        return target, manager.kernel_map(tensor.map, target, self.region, self.dilation)

    def _inputs(self, tensor: SparseTensor) -> Tensor:
        """Return the features of the kernel map's source."""
        return tensor.features

    def extra_repr(self) -> str:
        """Describe the shape of the kernel."""
        return f"kernel={list(self.kernel.shape)}, stride={self.stride}"


class CausalConvolution(Convolution):
    """4D sparse convolution with links to earlier frames; see `links`.

    On the tensor of a whole sequence, links connect its frames. On the newest frame of a stream,
    whose manager has a memory, they connect it to the remembered inputs of this layer.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        region: the kernel's offsets, with links.
        recall: maximum number of frames that links reach back, 1 to `MAX_RECALL`.

    Raises:
        ValueError: the region has no links, or the recall is out of range.
    """

    def __init__(
        self, in_channels: int, out_channels: int, region: CausalRegion, recall: int = 1
    ) -> None:
        if region.links is None:
            raise ValueError("a region without links needs Convolution, not CausalConvolution")
        if not 1 <= recall <= MAX_RECALL:
            raise ValueError(f"recall must be 1 to {MAX_RECALL} frames, not {recall}")
        super().__init__(in_channels, out_channels, region)
        self._region = region
        self.recall = recall

    def _maps(self, tensor: SparseTensor) -> tuple[CoordinateMap, KernelMap]:
        kernel_map = tensor.manager.causal_map(tensor.map, self._region, self.recall)
        return tensor.map, kernel_map

    def _inputs(self, tensor: SparseTensor) -> Tensor:
        memory = tensor.manager.memory
        if memory is None:
            return tensor.features
        return memory.inputs(self, tensor.features, tensor.map)


class TransposedConvolution(Convolution):
    """Transposed sparse convolution: upsamples by the stride.

    out[fine] += in[coarse] @ kernel[k] for fine = coarse + offset_k * fine stride, without
    flipping the kernel or swapping channels. The output voxels are the manager's voxels of the
    finer stride (a U-Net's skip connection) if it has them, else all that the kernel reaches.
    """

    transposed = True

    def _maps(self, tensor: SparseTensor) -> tuple[CoordinateMap, KernelMap]:
        manager = tensor.manager
        target = manager.finer(tensor.map, self.stride, self.region)
        forward = manager.kernel_map(target, tensor.map, self.region, self.dilation)
        return target, forward.transposed()


class Support(nn.Module):
    """Adds the voxels of recent frames that a frame lacks; see `support`.

    The features of such a voxel, as its last frame gave them to this layer, are multiplied by
    `gate`, and `offset` + age / reach * `ageing` is added, [C] each. At first they stay as they
    are: `gate` starts at one, the others at zero. (In a converged network, that changes the labels
    of occupied voxels less than a gate of zero does.) The voxels become those of their stride for
    all layers that follow, so links remember them too.

    Args:
        channels: C.
        reach: largest age in frames, 1 to `MAX_RECALL`.

    Raises:
        ValueError: the reach is out of range.
    """

    def __init__(self, channels: int, reach: int) -> None:
        super().__init__()
        if not 1 <= reach <= MAX_RECALL:
            raise ValueError(f"reach must be 1 to {MAX_RECALL} frames, not {reach}")
        self.channels = channels
        self.reach = reach
        self.gate = nn.Parameter(torch.ones(channels))
        self.offset = nn.Parameter(torch.zeros(channels))
        self.ageing = nn.Parameter(torch.zeros(channels))

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Map [N, C] features to [M, C] features on the same voxels and the added ones."""
        manager, features = tensor.manager, tensor.features
        if manager.memory is None:
            voxels, rows, ages = extended(tensor.map, self.reach)
            features = features.index_select(0, rows)
        else:
            voxels, features, ages = manager.memory.support.extended(
                tensor.map, features, self.reach
            )
        manager.replace(voxels)
        ages = ages[:, None]
        aged = features * self.gate + self.offset + self.ageing * (ages / self.reach)
        features = torch.where(ages > 0, aged.to(features.dtype), features)
        return SparseTensor.on_map(features, voxels, manager)

    def extra_repr(self) -> str:
        """Describe the channels and the reach."""
        return f"channels={self.channels}, reach={self.reach}"


class Pooling(nn.Module):
    """Sum, mean or maximum over the occupied neighbours in a kernel region; optional stride."""

    def __init__(
        self,
        how: Literal["sum", "mean", "max"],
        region: KernelRegion,
        stride: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        self.how = how
        self.region = region
        self.stride = per_axis(stride, region.dimension)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Pool [N, C] features to [M, C]."""
        target = tensor.manager.coarser(tensor.map, self.stride)
        kernel_map = tensor.manager.kernel_map(tensor.map, target, self.region)
        features = pool(tensor.features, kernel_map, self.how)
        return SparseTensor.on_map(features, target, tensor.manager)


class BatchNorm(nn.Module):
    """Batch normalisation over the voxels of all batches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Normalise each channel; the shape does not change."""
        return tensor.replace(self.bn(tensor.features))
