# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engine of our own Triton kernels, for CUDA."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minkowski_perception.sparse.engines.base import EngineError, Weights
from minkowski_perception.sparse.engines.cuda_engine import CudaEngine
from minkowski_perception.sparse.kernel_maps import KernelMap

if TYPE_CHECKING:
    from minkowski_perception.sparse.implicit_gemm import GatherTable


@cache
def _implicit_gemm() -> ModuleType:
    """Import the module that launches the kernels.

    Raises:
        EngineError: Triton is not installed or cannot be imported.
    """
    try:
        from minkowski_perception.sparse import implicit_gemm
    except ImportError as error:
        raise EngineError(f"cannot import Triton ({error}): pip install triton") from error
    return implicit_gemm


class TritonEngine(CudaEngine):
    """Implicit GEMM with masks; see `implicit_gemm`. Bit-exact between runs."""

    name = "triton"
    deterministic = True
    uses_capacities = True

    @classmethod
    def check(cls, device: torch.device) -> None:
        """See `Engine.check`."""
        super().check(device)
        if torch.__version__ < "2.7":  # the first with nonzero_static on CUDA
            raise EngineError(
                f"engine 'triton' needs PyTorch 2.7 or later, not {torch.__version__}"
            )
        _implicit_gemm()

    def build_table(self, kernel_map: KernelMap) -> GatherTable:
        """See `CudaEngine.build_table`."""
        gemm, searches = _implicit_gemm(), kernel_map.searches
        if len(kernel_map) == 1 and kernel_map.centre is not None:
            own: GatherTable = gemm.GatherTable(len(kernel_map.target.keys), 1)
            return own
        table: GatherTable = (
            gemm.table_of_rows(kernel_map.rows())
            if searches is None
            else gemm.gather_table(searches, kernel_map.target.keys)
        )
        return table

    def prepare(self, kernel: Tensor, bias: Tensor | None, last: bool) -> Weights:
        """Return kernel and bias in the precision of the layer."""
        precision = torch.float32 if last else self.precision
        return kernel.to(precision), None if bias is None else bias.to(precision)

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
        features = features.to(kernel.dtype)
        residual = None if residual is None else residual.to(kernel.dtype)
        table = self.table(kernel_map)
        output: Tensor = _implicit_gemm().convolve(features, kernel, table, bias, residual, relu)
        return output
