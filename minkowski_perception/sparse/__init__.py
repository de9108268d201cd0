# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""4D sparse tensors and their convolutions, in plain PyTorch."""

from minkowski_perception.sparse.coordinates import (
    CoordinateManager,
    CoordinateMap,
    KernelMap,
    build_kernel_map,
)
from minkowski_perception.sparse.functional import convolve, pool
from minkowski_perception.sparse.keys import CoordinateRangeError, KeyLayout
from minkowski_perception.sparse.layers import (
    BatchNorm,
    Convolution,
    Pooling,
    ReLU,
    TransposedConvolution,
)
from minkowski_perception.sparse.quantize import Quantization, quantize
from minkowski_perception.sparse.regions import KernelRegion, cross, cube, hybrid
from minkowski_perception.sparse.tensor import SparseTensor, cat

__all__ = [
    "BatchNorm",
    "Convolution",
    "CoordinateManager",
    "CoordinateMap",
    "CoordinateRangeError",
    "KernelMap",
    "KernelRegion",
    "KeyLayout",
    "Pooling",
    "Quantization",
    "ReLU",
    "SparseTensor",
    "TransposedConvolution",
    "build_kernel_map",
    "cat",
    "convolve",
    "cross",
    "cube",
    "hybrid",
    "pool",
    "quantize",
]
