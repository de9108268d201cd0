# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Interpolation and averaging between fine and coarse voxels, for point-voxel networks.

The "points" of Tang et al. 2020 are voxels of a finer stride here, usually the finest. Both
operations are differentiable and run on the CPU and on CUDA, in any dimension. Axes with equal
strides (time) are not interpolated.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.sparse.coordinates import CoordinateMap
from minkowski_perception.sparse.tensor import SparseTensor

_EPSILON = 1e-8
"""Added to the sum of weights before division, as in SPVNAS."""


def voxel_to_point(tensor: SparseTensor, points: CoordinateMap) -> SparseTensor:
    """Interpolate features at the origins of finer voxels (trilinear devoxelisation).

    The corners of the coarse voxel that contains a point get linear interpolation weights.
    Unoccupied corners are dropped and the other weights are scaled to sum to 1, as in SPVNAS and
    TorchSparse; MinkowskiEngine does not rescale.

    Args:
        tensor: [M, C] features on coarse voxels.
        points: N voxels of a finer stride.

    Returns:
        [N, C] features on the points.
    """
    rows, weights = _corners(tensor.map, points)
    # embedding_bag sums the weighted rows without an [N, corners, C] tensor.
    features = F.embedding_bag(
        rows.clamp(min=0),
        tensor.features,
        mode="sum",
        per_sample_weights=weights.to(tensor.features.dtype),
    )
    return SparseTensor.on_map(features, points, tensor.manager)


def point_to_voxel(points: SparseTensor, voxels: CoordinateMap) -> SparseTensor:
    """Average the features of the points in each coarse voxel; empty voxels are zero.

    Args:
        points: [N, C] features on voxels of a finer stride.
        voxels: M coarse voxels; points outside them are ignored.

    Returns:
        [M, C] features on the coarse voxels.
    """
    rows = voxels.rows(voxels.layout.floor(points.map.keys, voxels.stride))
    inside = torch.nonzero(rows >= 0)[:, 0]
    rows = rows[inside]
    dtype = points.features.dtype
    # In half precision, sums of more than a few hundred points lose their summands.
    summands = points.features[inside].to(torch.promote_types(dtype, torch.float32))
    total = summands.new_zeros(len(voxels), summands.shape[1]).index_add(0, rows, summands)
    counts = torch.bincount(rows, minlength=len(voxels)).clamp(min=1)
    features = (total / counts[:, None]).to(dtype)
    return SparseTensor.on_map(features, voxels, points.manager)


def _corners(voxels: CoordinateMap, points: CoordinateMap) -> tuple[Tensor, Tensor]:
    """Return rows [N, corners] of the corner voxels of each point, -1 if empty, and weights."""
    parents = voxels.layout.floor(points.keys, voxels.stride)
    steps = torch.tensor(voxels.stride, device=parents.device)
    within = (points.coordinates[:, 1:] % steps).float() / steps
    rows, weights = [], []
    between = [fine < coarse for fine, coarse in zip(points.stride, voxels.stride, strict=True)]
    for corner in itertools.product(*((0, 1) if axis else (0,) for axis in between)):
        offset = tuple(c * s for c, s in zip(corner, voxels.stride, strict=True))
        rows.append(voxels.rows(parents + voxels.layout.delta(offset)))
        shares = [within[:, i] if c else 1.0 - within[:, i] for i, c in enumerate(corner)]
        weights.append(math.prod(shares[1:], start=shares[0]))
    stacked = torch.stack(rows, dim=1)
    weight = torch.where(stacked >= 0, torch.stack(weights, dim=1), 0.0)
    return stacked, weight / (weight.sum(dim=1, keepdim=True) + _EPSILON)
