# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engine that runs spconv-triton's implicit GEMM on CUDA, on our kernel maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.sparse.engines.base import EngineError, finish
from minkowski_perception.sparse.engines.cuda_engine import CudaEngine
from minkowski_perception.sparse.kernel_maps import KernelMap, mask_words

_MASK_BITS = 32
"""Maximum number of offsets for which spconv-triton skips those without inputs in a tile."""


@cache
def _import_ops() -> Any:
    """Import spconv-triton's operations.

    Raises:
        EngineError: spconv-triton is not installed or cannot be imported.
    """
    try:
        from spconv_triton.pytorch import ops
    except ImportError as error:
        raise EngineError(
            f"cannot import spconv-triton ({error}): pip install spconv-triton"
        ) from error
    return ops


@dataclass(frozen=True)
class GatherTable:
    """Kernel map in the format of an implicit GEMM.

    Attributes:
        rows: [K, outputs] int32, the input row at each offset, -1 for none.
        masks: [outputs] int32, sorted bit masks of the offsets with an input; an empty list for
            more than 32 offsets.
        order: [outputs] int32, the output row of each mask; empty like `masks`.
    """

    rows: Tensor
    masks: list[Tensor]
    order: list[Tensor]


class SpconvTritonEngine(CudaEngine):
    """Implicit GEMM by spconv-triton; bit-exact between runs, as it uses no atomics."""

    name = "spconv_triton"

    @classmethod
    def check(cls, device: torch.device) -> None:
        """See `Engine.check`."""
        super().check(device)
        _import_ops()

    def build_table(self, kernel_map: KernelMap) -> GatherTable:
        """See `CudaEngine.build_table`."""
        return gather_table(kernel_map)

    def prepare(
        self, kernel: Tensor, bias: Tensor | None, last: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the kernel as [C_out, K, C_in], and the bias."""
        precision = torch.float32 if last else self.precision
        filters = kernel.permute(2, 0, 1).to(precision).contiguous()
        return filters, None if bias is None else bias.to(precision)

    def convolve(
        self,
        features: Tensor,
        weights: tuple[Tensor, Tensor | None],
        kernel_map: KernelMap,
        residual: Tensor | None = None,
        relu: bool = False,
    ) -> Tensor:
        """See `Engine.convolve`."""
        filters, bias = weights
        features = features.to(filters.dtype)
        if len(kernel_map) == 1 and kernel_map.centre is not None:
            output = torch.nn.functional.linear(features, filters[:, 0], bias)
        else:
            table = self.table(kernel_map)
            output, _, _ = _import_ops().implicit_gemm(
                features,
                filters,
                table.rows,
                table.masks,
                table.order,
                num_activate_out=len(kernel_map.target),
                masks=[np.array([0xFFFFFFFF], dtype=np.uint32)],
                is_train=False,
                is_subm=kernel_map.source is kernel_map.target,
                bias=bias,
            )
        return finish(output, None, residual, relu)  # The bias is already added.


def gather_table(kernel_map: KernelMap) -> GatherTable:
    """Build the gather table of a kernel map, without synchronising host and device."""
    rows = kernel_map.rows()
    if len(rows) > _MASK_BITS:
        return GatherTable(rows, [], [])
    masks, order = torch.sort(mask_words(rows))
    return GatherTable(rows, [masks], [order.int()])
