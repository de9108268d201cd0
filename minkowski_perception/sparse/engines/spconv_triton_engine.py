# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engine that runs spconv-triton's implicit GEMM on CUDA, on our kernel maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from minkowski_perception.sparse.engines.base import Engine, EngineError, finish
from minkowski_perception.sparse.kernel_maps import KernelMap

PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)

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


class SpconvTritonEngine(Engine):
    """Implicit GEMM by spconv-triton; bit-exact between runs, as it uses no atomics.

    Args:
        precision: dtype of features and weights, one of `PRECISIONS`; sums and the last layer are
            float32.

    Raises:
        EngineError: the precision is not supported.
    """

    name = "spconv_triton"

    def __init__(self, precision: torch.dtype = torch.float16) -> None:
        super().__init__(precision)
        if precision not in PRECISIONS:
            raise EngineError(f"precision must be one of {PRECISIONS}, not {precision}")
        self._tables: WeakKeyDictionary[KernelMap, GatherTable] = WeakKeyDictionary()

    @classmethod
    def check(cls, device: torch.device) -> None:
        """See `Engine.check`."""
        if device.type != "cuda":
            raise EngineError(f"engine 'spconv_triton' runs on CUDA only, not on {device}")
        _import_ops()

    @classmethod
    def precisions(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        """See `Engine.precisions`."""
        return PRECISIONS

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
            table = self._tables.get(kernel_map)
            if table is None:
                table = self._tables[kernel_map] = gather_table(kernel_map)
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
    rows = torch.cat([some.int() for some in kernel_map.neighbours()])
    if len(rows) > _MASK_BITS:
        return GatherTable(rows, [], [])
    bits = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
    masks = ((rows >= 0).int() << bits[:, None]).sum(dim=0, dtype=torch.int32)
    masks, order = torch.sort(masks)
    return GatherTable(rows, [masks], [order.int()])
