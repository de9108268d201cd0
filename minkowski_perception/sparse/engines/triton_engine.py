# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engine of our own Triton kernels, for CUDA."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from minkowski_perception.sparse.engines.base import Engine, EngineError, Weights, finish
from minkowski_perception.sparse.kernel_maps import KernelMap

if TYPE_CHECKING:
    from minkowski_perception.sparse.implicit_gemm import GatherTable

PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


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


class TritonEngine(Engine):
    """Implicit GEMM with masks; see `implicit_gemm`. Bit-exact between runs.

    Args:
        precision: dtype of features and weights, one of `PRECISIONS`; sums and the last layer are
            float32.

    Raises:
        EngineError: the precision is not supported.
    """

    name = "triton"
    deterministic = True

    def __init__(self, precision: torch.dtype = torch.float16) -> None:
        super().__init__(precision)
        if precision not in PRECISIONS:
            raise EngineError(f"precision must be one of {PRECISIONS}, not {precision}")
        self._tables: WeakKeyDictionary[KernelMap, GatherTable] = WeakKeyDictionary()

    @classmethod
    def check(cls, device: torch.device) -> None:
        """See `Engine.check`."""
        if device.type != "cuda":
            raise EngineError(f"engine 'triton' runs on CUDA only, not on {device}")
        _implicit_gemm()

    @classmethod
    def precisions(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        """See `Engine.precisions`."""
        return PRECISIONS

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
        if len(kernel_map) == 1 and kernel_map.centre is not None:
            product = torch.nn.functional.linear(features, kernel[0].T, bias)
            return finish(product, None, residual, relu)
        table = self._tables.get(kernel_map)
        if table is None:
            table = self._tables[kernel_map] = _table(kernel_map)
        output: Tensor = _implicit_gemm().convolve(features, kernel, table, bias, residual, relu)
        return output


def _table(kernel_map: KernelMap) -> GatherTable:
    gemm, searches = _implicit_gemm(), kernel_map.searches
    table: GatherTable
    if searches is None:
        rows = torch.cat([some.int() for some in kernel_map.neighbours()])
        table = gemm.table_of_rows(rows)
    else:
        table = gemm.gather_table(searches, kernel_map.target.keys)
    return table
