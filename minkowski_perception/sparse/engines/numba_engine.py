# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The engine for CPUs: products summed in place, compiled for this machine by Numba.

The output's rows are cut into blocks that stay in the cache; a thread takes one block after
another, adds the products of all offsets to it, then normalises, adds and rectifies, and writes it
once. Blocks do not share rows and each sums in one order, so results do not depend on the threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numba import carray
from torch import Tensor
from torch.nn import functional as F

from minkowski_perception.sparse.compiled import (
    Array,
    compiled,
    inlined,
    pointer,
    take_next,
)
from minkowski_perception.sparse.engines.base import Engine, EngineError
from minkowski_perception.sparse.engines.microkernel import (
    LANES,
    VECTOR_BYTES,
    accumulate,
    cpu_has,
)
from minkowski_perception.sparse.kernel_maps import KernelMap
from minkowski_perception.sparse.threads import run_on_threads, thread_count

_BLOCK = 1024
"""Most rows of a block: their sums, 100 KB to 1 MB, stay in the second-level cache."""

_SMALL = 4e6
"""Multiply-adds below which a second thread costs more than it gives."""

# Tiles that fill the registers: 32 of 16 floats with AVX-512; elsewhere 16 of 8, or 32 of 4.
_WIDEST = 4 if cpu_has("avx512f") else 1
_ROWS_1, _ROWS_2, _ROWS_3, _ROWS_4 = (12, 12, 8, 6) if cpu_has("avx512f") else (6, 4, 4, 4)

Task = tuple[int, int, int, int, int, int, int, int]
"""Features, their stride, input rows, weights, steps, sums, their stride, output rows."""


@dataclass
class PackedWeights:
    """Weights of a layer, padded to whole vectors and laid out as the microkernel reads them.

    Attributes:
        kernel: [K, C_in, C_out] float32.
        bias: [padded C_out] float32.
        last: whether the outputs stay in float32.
        panels: vectors of each panel of columns.
    """

    kernel: Tensor
    bias: Tensor
    last: bool
    panels: list[int]
    _packed: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @classmethod
    def pack(cls, kernel: Tensor, bias: Tensor | None, last: bool) -> PackedWeights:
        """Pad and divide into panels; packing waits for the first features."""
        outputs = kernel.shape[2]
        vectors = -(-outputs // LANES)
        count = -(-vectors // _WIDEST)
        panels = [vectors // count + (i < vectors % count) for i in range(count)]
        padded = torch.zeros(vectors * LANES)
        if bias is not None:
            padded[:outputs] = bias
        return cls(kernel.detach().float(), padded, last, panels)

    def packed(self, dtype: torch.dtype) -> Tensor:
        """Weights for features of float32, or of bfloat16 in pairs of channels."""
        if dtype not in self._packed:
            _, inputs, outputs = self.kernel.shape
            columns = len(self.bias)
            per_step = 1 if dtype == torch.float32 else 2
            kernel = F.pad(self.kernel, (0, columns - outputs, 0, inputs % per_step))
            steps = kernel.unflatten(1, (-1, per_step)).transpose(2, 3)
            widths = [LANES * vectors for vectors in self.panels]
            panels = [panel.flatten(1) for panel in steps.split(widths, dim=2)]
            self._packed[dtype] = torch.cat(panels, dim=1).to(dtype).contiguous()
        return self._packed[dtype]


class NumbaEngine(Engine):
    """Fused sparse convolution on the CPU.

    Args:
        precision: of the features between layers and the products: float32 or bfloat16. Sums,
            the first layer's products and the logits are float32 in either case.
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
        """See `Engine.precisions`: bfloat16 where the CPU multiplies it faster than float32."""
        return (torch.float32, torch.bfloat16) if cpu_has("avx512bf16") else (torch.float32,)

    def prepare(self, kernel: Tensor, bias: Tensor | None, last: bool) -> PackedWeights:
        """See `Engine.prepare`."""
        return PackedWeights.pack(kernel, bias, last)

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
            ValueError: a shape does not fit the weights or the kernel map.
            EngineError: features or residual are not on the CPU.
        """
        rows = len(kernel_map.target)
        _, channels, outputs = weights.kernel.shape
        # Compiled code trusts these: a row too few would be read from elsewhere in memory.
        _require_shape("features", features, len(kernel_map.source), channels)
        features = _readable(features)
        if features.dtype == torch.bfloat16 and channels % 2:
            features = F.pad(features, (0, 1))
        packed = weights.packed(features.dtype)
        columns = len(weights.bias)
        dtype = torch.float32 if weights.last else self.precision
        result = torch.empty(rows, columns, dtype=dtype)
        if rows == 0:
            return result[:, :outputs]
        if residual is not None:
            _require_shape("residual", residual, rows, outputs)
            residual = _readable(residual)
        pairs = kernel_map.pairs
        work = len(pairs.inputs) * channels * outputs
        threads = 1 if work < _SMALL else thread_count()
        block = min(_BLOCK, max(LANES, rows // (4 * threads)))
        starts = np.array(pairs.starts)
        widths = np.array(weights.panels)
        progress = np.zeros(1, dtype=np.int64)

        def run() -> None:
            _convolve(
                features.data_ptr(),
                features.stride(0) * features.element_size(),
                -(-channels * features.element_size() // 4),
                features.dtype == torch.bfloat16,
                packed.data_ptr(),
                widths,
                weights.bias.data_ptr(),
                pairs.inputs.data_ptr(),
                pairs.outputs.data_ptr(),
                starts,
                rows,
                block,
                progress,
                outputs,
                0 if residual is None else residual.data_ptr(),
                0 if residual is None else residual.stride(0) * residual.element_size(),
                residual is not None and residual.dtype == torch.bfloat16,
                relu,
                result.data_ptr(),
                dtype == torch.bfloat16,
            )

        run_on_threads(run, threads)
        return result[:, :outputs]


def _require_shape(what: str, values: Tensor, rows: int, columns: int) -> None:
    if values.shape != (rows, columns):
        raise ValueError(f"{what} must have shape {[rows, columns]}, not {list(values.shape)}")


def _readable(features: Tensor) -> Tensor:
    """Return features as compiled code reads them: on the CPU, in whole rows, of known type.

    Raises:
        EngineError: they are elsewhere.
    """
    if features.device.type != "cpu":
        raise EngineError(f"engine 'numba' has no use for features on {features.device}")
    if features.dtype != torch.bfloat16:
        features = features.float()
    return features if features.stride(1) == 1 else features.contiguous()


@compiled
def _convolve(
    features: int,
    stride: int,
    steps: int,
    bfloat16: bool,
    weights: int,
    panels: Array,
    bias: int,
    inputs: int,
    outputs: int,
    starts: Array,
    rows: int,
    block: int,
    progress: Array,
    channels: int,
    residual: int,
    residual_stride: int,
    residual_bfloat16: bool,
    relu: bool,
    result: int,
    result_bfloat16: bool,
) -> None:
    """Take blocks of output rows until none is left.

    Features, weights, bias, inputs, outputs, residual (0 for none) and result are addresses.
    """
    vectors = panels.sum()
    columns = vectors * LANES
    row_bytes = 4 * columns
    row_of = carray(pointer(outputs), (starts[-1],), np.int32)
    initial = carray(pointer(bias), (columns,), np.float32)
    sums = np.empty((block, columns), np.float32)
    while True:
        low = take_next(progress.ctypes.data) * block
        if low >= rows:
            return
        high = min(low + block, rows)
        for row in range(high - low):
            sums[row] = initial
        for k in range(len(starts) - 1):
            start = _lower_bound(row_of, starts[k], starts[k + 1], low)
            end = _lower_bound(row_of, start, starts[k + 1], high)
            panel = weights + k * vectors * steps * VECTOR_BYTES
            target = sums.ctypes.data - low * row_bytes
            for width in panels:
                task = (features, stride, inputs, panel, steps, target, row_bytes, outputs)
                if bfloat16:
                    _add_panel(width, 1, task, start, end)
                else:
                    _add_panel(width, 0, task, start, end)
                panel += width * steps * VECTOR_BYTES
                target += width * VECTOR_BYTES
        for row in range(high - low):
            if residual:
                at = residual + (low + row) * residual_stride
                _add_row(sums[row], at, channels, residual_bfloat16)
            if relu:
                for c in range(columns):
                    sums[row, c] = max(sums[row, c], np.float32(0))
            _store_row(sums[row], result, low + row, result_bfloat16)


@compiled
def _lower_bound(values: Array, low: int, high: int, wanted: int) -> int:
    """Return the first position from low to high whose value is not below the wanted one."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _add_panel(width: int, bfloat16: int, task: Task, start: int, end: int) -> None:
    """Add the products of the pairs from start to end to a panel of columns of the sums."""
    if width == 4:
        start = _add_tiles(_ROWS_4, 4, bfloat16, task, start, end)
        _add_tiles(1, 4, bfloat16, task, start, end)
    elif width == 3:
        start = _add_tiles(_ROWS_3, 3, bfloat16, task, start, end)
        _add_tiles(1, 3, bfloat16, task, start, end)
    elif width == 2:
        start = _add_tiles(_ROWS_2, 2, bfloat16, task, start, end)
        _add_tiles(1, 2, bfloat16, task, start, end)
    else:
        start = _add_tiles(_ROWS_1, 1, bfloat16, task, start, end)
        _add_tiles(1, 1, bfloat16, task, start, end)


@inlined
def _add_tiles(rows: int, width: int, bfloat16: int, task: Task, start: int, end: int) -> int:
    """Add whole tiles of so many rows; return where the rest begins."""
    features, stride, inputs, panel, steps, target, row_bytes, outputs = task
    while start + rows <= end:
        accumulate(
            rows,
            width,
            bfloat16,
            features,
            stride,
            inputs + 4 * start,
            panel,
            target,
            row_bytes,
            outputs + 4 * start,
            steps,
        )
        start += rows
    return start


@compiled
def _add_row(sums: Array, address: int, channels: int, bfloat16: bool) -> None:
    if bfloat16:
        halves = carray(pointer(address), (channels,), np.uint16)
        widened = np.empty(channels, np.uint32)
        for c in range(channels):
            widened[c] = np.uint32(halves[c]) << np.uint32(16)
        values = widened.view(np.float32)
        for c in range(channels):
            sums[c] += values[c]
    else:
        row = carray(pointer(address), (channels,), np.float32)
        for c in range(channels):
            sums[c] += row[c]


@compiled
def _store_row(sums: Array, result: int, row: int, bfloat16: bool) -> None:
    """Write a row of the result; bfloat16 rounded to nearest, ties to even."""
    columns = len(sums)
    if bfloat16:
        bits = sums.view(np.uint32)
        halves = carray(pointer(result + 2 * row * columns), (columns,), np.uint16)
        for c in range(columns):
            odd = (bits[c] >> np.uint32(16)) & np.uint32(1)
            halves[c] = (bits[c] + np.uint32(0x7FFF) + odd) >> np.uint32(16)
    else:
        target = carray(pointer(result + 4 * row * columns), (columns,), np.float32)
        for c in range(columns):
            target[c] = sums[c]
