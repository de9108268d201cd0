# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Base class of the engines on CUDA, which run an implicit GEMM over gather tables."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any
from weakref import WeakKeyDictionary

import torch

from minkowski_perception.sparse.engines.base import Engine, EngineError
from minkowski_perception.sparse.kernel_maps import KernelMap

PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


class CudaEngine(Engine):
    """Base class: checks device and precision, and keeps the gather table of each kernel map.

    Args:
        precision: dtype of features and weights, one of `PRECISIONS`; sums and the last layer are
            float32.

    Raises:
        EngineError: the precision is not supported.
    """

    def __init__(self, precision: torch.dtype = torch.float16) -> None:
        super().__init__(precision)
        if precision not in PRECISIONS:
            raise EngineError(f"precision must be one of {PRECISIONS}, not {precision}")
        self._tables: WeakKeyDictionary[KernelMap, Any] = WeakKeyDictionary()

    @classmethod
    def check(cls, device: torch.device) -> None:
        """See `Engine.check`."""
        if device.type != "cuda":
            raise EngineError(f"engine '{cls.name}' runs on CUDA only, not on {device}")

    @classmethod
    def precisions(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        """See `Engine.precisions`."""
        return PRECISIONS

    def table(self, kernel_map: KernelMap) -> Any:
        """Return the gather table of a kernel map, built once."""
        table = self._tables.get(kernel_map)
        if table is None:
            table = self._tables[kernel_map] = self.build_table(kernel_map)
        return table

    @abstractmethod
    def build_table(self, kernel_map: KernelMap) -> Any:
        """Build the gather table of a kernel map, without waiting for the device."""
