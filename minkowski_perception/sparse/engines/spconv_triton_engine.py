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

_TILINGS = ((64, 64, 32, 4, 3), (128, 32, 16, 4, 3), (128, 128, 32, 8, 3))
"""Rows, channels, depth, warps and stages of the tilings that are tried for each layer.

spconv-triton has 37, and takes 24 s of a CPU for each shape of a layer to compile them all.
"""

_GROUP = 8
"""Rows of tiles that are computed together, spconv-triton's default."""

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
        from spconv_triton.pytorch._impl import gemm
    except ImportError as error:
        raise EngineError(
            f"cannot import spconv-triton ({error}): pip install spconv-triton"
        ) from error
    restrict_tuning(gemm)
    return ops


def restrict_tuning(gemm: Any) -> None:
    """Let spconv-triton try few tilings; another version of it may have none of them.

    Args:
        gemm: its module `spconv_triton.pytorch._impl.gemm`.
    """
    kernel: Any = getattr(gemm, "_gather_gemm_kernel", None)
    few = [each for each in getattr(kernel, "configs", ()) if _tiling(each) in _TILINGS]
    if few:
        kernel.configs = few


def _tiling(config: Any) -> tuple[int, ...] | None:
    """Return rows, channels, depth, warps and stages of a configuration; None if not grouped."""
    sizes = config.kwargs
    if sizes.get("GROUP_SIZE_M") != _GROUP:
        return None
    blocks = (sizes[f"BLOCK_{axis}"] for axis in "MNR")
    return *blocks, config.num_warps, config.num_stages


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
