# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engine for CPUs: fused convolution, compiled by Numba for the CPU at hand."""

from __future__ import annotations

import torch
from torch import Tensor

from minkowski_perception.sparse.compiled_convolution import PackedWeights, convolve
from minkowski_perception.sparse.engines.base import Engine, EngineError
from minkowski_perception.sparse.kernel_maps import KernelMap
from minkowski_perception.sparse.microkernel import cpu_has


class NumbaEngine(Engine):
    """Fused sparse convolution on the CPU.

    Args:
        precision: dtype of the features between layers and of the products, float32 or bfloat16.
            Sums, the products of the first layer and the logits are always float32.
    """

    name = "numba"
    deterministic = True

    @classmethod
    def check(cls, device: torch.device) -> None:
        """See `Engine.check`."""
        if device.type != "cpu":
            raise EngineError(f"engine 'numba' runs on the CPU only, not on {device}")

    @classmethod
    def precisions(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        """See `Engine.precisions`; bfloat16 needs a CPU that multiplies it faster than float32."""
        return (torch.float32, torch.bfloat16) if cpu_has("avx512bf16") else (torch.float32,)

    def prepare(self, kernel: Tensor, bias: Tensor | None, last: bool) -> PackedWeights:
        """See `Engine.prepare`."""
        return PackedWeights.pack(kernel, bias, torch.float32 if last else self.precision)

    def convolve(
        self,
        features: Tensor,
        weights: PackedWeights,
        kernel_map: KernelMap,
        residual: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """See `Engine.convolve`.

        Raises:
            ValueError: a shape does not match the weights or the kernel map.
            EngineError: features or residual are not on the CPU.
        """
        for values in (features, residual):
            if values is not None and values.device.type != "cpu":
                raise EngineError(
                    f"engine 'numba' needs features on the CPU, not on {values.device}"
                )
        return convolve(features, weights, kernel_map, residual, relu)
