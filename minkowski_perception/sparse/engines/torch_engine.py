# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reference engine in plain PyTorch, for the CPU and CUDA."""

from __future__ import annotations

from torch import Tensor

from minkowski_perception.sparse.engines.base import Engine, Weights, finish
from minkowski_perception.sparse.functional import gather_gemm_scatter
from minkowski_perception.sparse.kernel_maps import KernelMap


class TorchEngine(Engine):
    """Gather, matrix product and scatter for each offset."""

    name = "torch"
    deterministic = True

    def convolve(
        self,
        features: Tensor,
        weights: Weights,
        kernel_map: KernelMap,
        residual: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """See `Engine.convolve`."""
        kernel, bias = weights
        output = gather_gemm_scatter(features, kernel, kernel_map)
        return finish(output, bias, residual, relu)
