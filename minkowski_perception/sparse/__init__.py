# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse tensors in up to 7 dimensions and their convolutions."""

from minkowski_perception.sparse.capacity import Capacities, CapacityError
from minkowski_perception.sparse.coordinates import CoordinateMap, RecentVoxels
from minkowski_perception.sparse.engines.base import Engine
from minkowski_perception.sparse.functional import convolve, largest, pool, softmax
from minkowski_perception.sparse.kernel_maps import KernelMap
from minkowski_perception.sparse.keys import CoordinateRangeError, KeyLayout
from minkowski_perception.sparse.layers import (
    BatchNorm,
    CausalConvolution,
    Convolution,
    Pooling,
    Support,
    TransposedConvolution,
)
from minkowski_perception.sparse.links import MAX_RECALL, Memory
from minkowski_perception.sparse.manager import CoordinateManager
from minkowski_perception.sparse.point_voxel import point_to_voxel, voxel_to_point
from minkowski_perception.sparse.quantize import Quantization, quantize
from minkowski_perception.sparse.regions import (
    CausalRegion,
    KernelRegion,
    causal,
    cross,
    cube,
    hybrid,
)
from minkowski_perception.sparse.tensor import SparseTensor, cat

__all__ = [
    "MAX_RECALL",
    "BatchNorm",
    "Capacities",
    "CapacityError",
    "CausalConvolution",
    "CausalRegion",
    "Convolution",
    "CoordinateManager",
    "CoordinateMap",
    "CoordinateRangeError",
    "Engine",
    "KernelMap",
    "KernelRegion",
    "KeyLayout",
    "Memory",
    "Pooling",
    "Quantization",
    "RecentVoxels",
    "SparseTensor",
    "Support",
    "TransposedConvolution",
    "cat",
    "causal",
    "convolve",
    "cross",
    "cube",
    "hybrid",
    "largest",
    "point_to_voxel",
    "pool",
    "quantize",
    "softmax",
    "voxel_to_point",
]
