# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution on the CPU and its gradients, compiled by Numba for this CPU.

The output rows are split into blocks that fit in the cache. A thread takes one block at a time,
adds the products of all offsets, then the bias and residual, applies ReLU and writes the block
once. Blocks share no rows and each block sums in a fixed order, so results do not depend on the
number of threads. The kernel gradient is split by offset: one thread sums each offset.
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
    bits_of,
    compiled,
    float_of,
    inlined,
    pointer,
    take_next,
)
from minkowski_perception.sparse.kernel_maps import KernelMap, Pairs
from minkowski_perception.sparse.microkernel import (
    LANES,
    VECTOR_BYTES,
    accumulate,
    accumulate_outer,
    cpu_has,
    prefetch,
)
from minkowski_perception.sparse.threads import run_on_threads, thread_count

_BLOCK = 1024
"""Maximum rows of a block: their sums, 100 KB to 1 MB, fit in the L2 cache."""

_PAIRS = 128
"""Maximum pairs whose outer products are summed at a time: their rows fit in the cache."""

_SMALL = 4e6
"""Multiply-adds below which a second thread does not pay off."""

_FETCHED = 8
"""Input rows of a run that are fetched into the cache during the run before it."""

# Tiles that fill the vector registers: 32 of 16 floats with AVX-512, else 16 of 8 or 32 of 4.
# The rows that remain of a run are summed in middle tiles, then one by one.
_WIDEST = 4 if cpu_has("avx512f") else 1
_ROWS_1, _ROWS_2, _ROWS_3, _ROWS_4 = (12, 12, 8, 6) if cpu_has("avx512f") else (6, 4, 4, 4)
_MIDDLE_1, _MIDDLE_2, _MIDDLE_3, _MIDDLE_4 = (4, 4, 4, 3) if cpu_has("avx512f") else (2, 2, 2, 2)
# Networks have multiples of 8 channels, so no rows remain.
_WIDEST_OUTER, _ROWS_OUTER = (3, 8) if cpu_has("avx512f") else (1, 4)

Task = tuple[int, int, int, int, int, int, int, int, int]
"""Features, feature stride, input rows, weights, steps, sums, sum stride, output rows, pairs.

Input rows of the next tile are fetched into the cache if it is within so many pairs."""

OuterTask = tuple[int, int, int, int, int, int, int, int]
"""Features, feature stride, input rows, gradients, gradient stride, output rows, steps, sum
stride."""


@dataclass
class PackedWeights:
    """Weights of a layer, padded to whole vectors in the microkernel's memory layout.

    Attributes:
        kernel: [K, C_in, C_out] float32.
        bias: [padded C_out] float32.
        precision: dtype of the outputs, float32 or bfloat16.
        panels: number of vectors in each panel of columns.
    """

    kernel: Tensor
    bias: Tensor
    precision: torch.dtype
    panels: list[int]
    _packed: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @classmethod
    def pack(
        cls, kernel: Tensor, bias: Tensor | None = None, precision: torch.dtype = torch.float32
    ) -> PackedWeights:
        """Pad the weights and divide them into panels; `packed` does the packing on first use."""
        outputs = kernel.shape[2]
        panels = _panels(outputs, _WIDEST)
        padded = torch.zeros(sum(panels) * LANES)
        if bias is not None:
            padded[:outputs] = bias
        return cls(kernel.detach().float(), padded, precision, panels)

    def packed(self, dtype: torch.dtype) -> Tensor:
        """Return weights packed for float32 features, or for bfloat16 in pairs of channels."""
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


def convolve(
    features: Tensor,
    weights: PackedWeights,
    kernel_map: KernelMap,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Return act(sum over k of in[u + offset_k] @ kernel[k] + bias + residual).

    Args:
        features: [inputs, C_in], on the CPU.
        weights: packed weights.
        kernel_map: pairs of input and output rows.
        residual: [outputs, C_out].
        relu: whether act is ReLU; the identity otherwise.

    Returns:
        [outputs, C_out] in the precision of the weights.

    Raises:
        ValueError: a shape does not match the weights or the kernel map.
    """
    rows = len(kernel_map.target)
    _, channels, outputs = weights.kernel.shape
    # Compiled code does not check bounds: a missing row would be read from foreign memory.
    _require_shape("features", features, len(kernel_map.source), channels)
    features = _readable(features)
    if features.dtype == torch.bfloat16 and channels % 2:
        features = F.pad(features, (0, 1))
    packed = weights.packed(features.dtype)
    result = torch.empty(rows, outputs, dtype=weights.precision)
    if rows == 0:
        return result
    if residual is not None:
        _require_shape("residual", residual, rows, outputs)
        residual = _readable(residual)
    pairs = kernel_map.pairs
    threads = _threads(len(pairs.inputs) * channels * outputs)
    block = min(_BLOCK, max(LANES, rows // (4 * threads)))
    starts, offsets = _runs(pairs)
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
            offsets,
            rows,
            block,
            progress,
            outputs,
            0 if residual is None else residual.data_ptr(),
            0 if residual is None else residual.stride(0) * residual.element_size(),
            residual is not None and residual.dtype == torch.bfloat16,
            relu,
            result.data_ptr(),
            result.dtype == torch.bfloat16,
        )

    run_on_threads(run, threads)
    return result


def kernel_gradient(features: Tensor, grad: Tensor, kernel_map: KernelMap) -> Tensor:
    """Return the gradient of a convolution kernel: sum over u of in[u + offset_k].T @ grad[u].

    Args:
        features: [inputs, C_in], on the CPU.
        grad: [outputs, C_out], gradient of the outputs.
        kernel_map: pairs of input and output rows.

    Returns:
        [K, C_in, C_out] float32.

    Raises:
        ValueError: a shape does not match the kernel map.
    """
    (channels,), (outputs,) = features.shape[1:], grad.shape[1:]
    _require_shape("features", features, len(kernel_map.source), channels)
    _require_shape("grad", grad, len(kernel_map.target), outputs)
    features, grad = _readable(features.float()), _readable(grad.float())
    panels = _panels(outputs, _WIDEST_OUTER)
    columns = sum(panels) * LANES
    if outputs < columns:
        grad = F.pad(grad, (0, columns - outputs))
    pairs = kernel_map.pairs
    starts, offsets = _runs(pairs)
    result = torch.zeros(len(offsets), channels, columns)
    widths = np.array(panels)
    shares = _shares(np.diff(starts), _threads(len(pairs.inputs) * channels * outputs))
    waiting = iter(shares)

    def run() -> None:
        for share in waiting:
            _kernel_gradient(
                features.data_ptr(),
                4 * features.stride(0),
                channels,
                pairs.inputs.data_ptr(),
                grad.data_ptr(),
                4 * grad.stride(0),
                widths,
                pairs.outputs.data_ptr(),
                starts,
                len(grad),
                share,
                result.data_ptr(),
            )

    run_on_threads(run, len(shares))
    if pairs.offsets is not None:
        total = torch.zeros(len(kernel_map), channels, columns)
        result = total.index_add_(0, torch.from_numpy(offsets), result)
    return result[:, :, :outputs]


def _runs(pairs: Pairs) -> tuple[Array, Array]:
    """Return the starts of the runs, [R + 1], and their offsets, [R]."""
    return np.array(pairs.starts), np.array(pairs.run_offsets, dtype=np.int64)


def _shares(counts: Array, count: int) -> list[Array]:
    """Split offsets into shares of similar pair counts: largest offset to smallest share."""
    shares: list[list[int]] = [[] for _ in range(count)]
    pairs = [0] * count
    for k in np.argsort(-counts, kind="stable").tolist():
        least = pairs.index(min(pairs))
        shares[least].append(k)
        pairs[least] += counts[k]
    return [np.array(sorted(share), dtype=np.int64) for share in shares]


def _panels(channels: int, widest: int) -> list[int]:
    """Return the vectors of each panel of columns: few panels, of similar widths."""
    vectors = -(-channels // LANES)
    count = -(-vectors // widest)
    return [vectors // count + (i < vectors % count) for i in range(count)]


def _threads(work: int) -> int:
    return 1 if work < _SMALL else thread_count()


def _require_shape(name: str, values: Tensor, rows: int, columns: int) -> None:
    if values.shape != (rows, columns):
        raise ValueError(f"{name} must have shape {[rows, columns]}, not {list(values.shape)}")


def _readable(values: Tensor) -> Tensor:
    """Return values in the format of compiled code: contiguous rows, float32 or bfloat16."""
    if values.dtype != torch.bfloat16:
        values = values.float()
    return values if values.stride(1) == 1 else values.contiguous()


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
    offsets: Array,
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
    """Compute blocks of output rows until none remains; each thread calls this once.

    Features, weights, bias, inputs, outputs, residual (0 for none) and result are addresses.
    """
    vectors = panels.sum()
    columns = vectors * LANES
    row_bytes = 4 * columns
    row_of = carray(pointer(outputs), (starts[-1],), np.int32)
    initial = carray(pointer(bias), (columns,), np.float32)
    sums = np.empty((block, columns), np.float32)
    lines = -(-4 * steps // VECTOR_BYTES)
    total, runs = starts[-1], len(offsets)
    done, reached = 0, starts[:-1].copy()
    while True:
        low = take_next(progress.ctypes.data) * block
        if low >= rows:
            return
        high = min(low + block, rows)
        for row in range(high - low):
            for c in range(columns):
                sums[row, c] = initial[c]
        for run in range(runs):
            last = min(starts[run + 1], reached[run] + low - done)
            reached[run] = _lower_bound(row_of, reached[run], last, low)
        for run in range(runs):
            start = reached[run]
            end = _lower_bound(row_of, start, min(starts[run + 1], start + high - low), high)
            reached[run] = end
            if run + 1 < runs and reached[run + 1] + _FETCHED <= total:
                prefetch(_FETCHED, features, stride, inputs + 4 * reached[run + 1], lines)
            panel = weights + offsets[run] * vectors * steps * VECTOR_BYTES
            target = first = sums.ctypes.data - low * row_bytes
            for width in panels:
                # The first panel fetches the rows for all panels.
                pairs = total if target == first else 0
                task = (features, stride, inputs, panel, steps, target, row_bytes, outputs, pairs)
                if bfloat16:
                    _add_panel(width, 1, task, start, end)
                else:
                    _add_panel(width, 0, task, start, end)
                panel += width * steps * VECTOR_BYTES
                target += width * VECTOR_BYTES
        if residual:
            at = residual + low * residual_stride
            _add_rows(sums, high - low, channels, at, residual_stride, residual_bfloat16)
        if relu:
            for row in range(high - low):
                for c in range(columns):
                    sums[row, c] = max(sums[row, c], np.float32(0))
        _store_rows(sums, low, high, channels, result, result_bfloat16)
        done = high


@compiled
def _lower_bound(values: Array, low: int, high: int, wanted: int) -> int:
    """Return the first index from low to high whose value is at least `wanted`."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _add_panel(width: int, bfloat16: int, task: Task, start: int, end: int) -> None:
    """Add the products of pairs start to end to one panel of the sums."""
    if width == 4:
        start = _add_tiles(_ROWS_4, 4, bfloat16, task, start, end)
        start = _add_tiles(_MIDDLE_4, 4, bfloat16, task, start, end)
        _add_tiles(1, 4, bfloat16, task, start, end)
    elif width == 3:
        start = _add_tiles(_ROWS_3, 3, bfloat16, task, start, end)
        start = _add_tiles(_MIDDLE_3, 3, bfloat16, task, start, end)
        _add_tiles(1, 3, bfloat16, task, start, end)
    elif width == 2:
        start = _add_tiles(_ROWS_2, 2, bfloat16, task, start, end)
        start = _add_tiles(_MIDDLE_2, 2, bfloat16, task, start, end)
        _add_tiles(1, 2, bfloat16, task, start, end)
    else:
        start = _add_tiles(_ROWS_1, 1, bfloat16, task, start, end)
        start = _add_tiles(_MIDDLE_1, 1, bfloat16, task, start, end)
        _add_tiles(1, 1, bfloat16, task, start, end)


@inlined
def _add_tiles(rows: int, width: int, bfloat16: int, task: Task, start: int, end: int) -> int:
    """Add whole tiles of `rows` pairs; return the start of the remainder."""
    features, stride, inputs, panel, steps, target, row_bytes, outputs, pairs = task
    lines = -(-4 * steps // VECTOR_BYTES)
    while start + rows <= end:
        if start + 2 * rows <= pairs:
            prefetch(rows, features, stride, inputs + 4 * (start + rows), lines)
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
def _add_rows(
    sums: Array, count: int, channels: int, address: int, stride: int, bfloat16: bool
) -> None:
    """Add rows at an address, `stride` bytes from one to the next."""
    for row in range(count):
        at = pointer(address + row * stride)
        if bfloat16:
            halves = carray(at, (channels,), np.uint16)
            for c in range(channels):
                sums[row, c] += float_of(np.uint32(halves[c]) << np.uint32(16))
        else:
            values = carray(at, (channels,), np.float32)
            for c in range(channels):
                sums[row, c] += values[c]


@compiled
def _store_rows(
    sums: Array, low: int, high: int, channels: int, result: int, bfloat16: bool
) -> None:
    """Write rows low to high of the result; bfloat16 is rounded to nearest, ties to even."""
    if bfloat16:
        halves = carray(pointer(result), (high, channels), np.uint16)
        for row in range(high - low):
            for c in range(channels):
                bits = bits_of(sums[row, c])
                odd = (bits >> np.uint32(16)) & np.uint32(1)
                halves[low + row, c] = (bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
    else:
        target = carray(pointer(result), (high, channels), np.float32)
        for row in range(high - low):
            for c in range(channels):
                target[low + row, c] = sums[row, c]


@compiled
def _kernel_gradient(
    features: int,
    stride: int,
    channels: int,
    inputs: int,
    grad: int,
    grad_stride: int,
    panels: Array,
    outputs: int,
    starts: Array,
    rows: int,
    offsets: Array,
    result: int,
) -> None:
    """Sum the gradient of some offsets; features, inputs, grad, outputs and result are addresses.

    It goes through the output rows block by block, so that all offsets find them in the cache.
    """
    row_of = carray(pointer(outputs), (starts[-1],), np.int32)
    row_bytes = panels.sum() * VECTOR_BYTES
    following = starts[offsets]
    for high in range(_BLOCK, rows + _BLOCK, _BLOCK):
        for i, k in enumerate(offsets):
            begin, end = following[i], _lower_bound(row_of, following[i], starts[k + 1], high)
            following[i] = end
            for start in range(begin, end, _PAIRS):
                steps = min(_PAIRS, end - start)
                at, to = inputs + 4 * start, outputs + 4 * start
                panel, sums = grad, result + k * channels * row_bytes
                for width in panels:
                    task = (features, stride, at, panel, grad_stride, to, steps, row_bytes)
                    if width == 3:
                        _add_outer(3, task, channels, sums)
                    elif width == 2:
                        _add_outer(2, task, channels, sums)
                    else:
                        _add_outer(1, task, channels, sums)
                    panel += width * VECTOR_BYTES
                    sums += width * VECTOR_BYTES


@inlined
def _add_outer(width: int, task: OuterTask, channels: int, sums: int) -> None:
    """Add the outer products of some pairs to one panel of the sums."""
    c = _add_outer_tiles(_ROWS_OUTER, width, task, 0, channels, sums)
    _add_outer_tiles(1, width, task, c, channels, sums)


@inlined
def _add_outer_tiles(
    rows: int, width: int, task: OuterTask, c: int, channels: int, sums: int
) -> int:
    """Add whole tiles of `rows` feature channels; return the start of the remainder."""
    features, stride, inputs, grad, grad_stride, outputs, steps, row_bytes = task
    while c + rows <= channels:
        accumulate_outer(
            rows,
            width,
            features + 4 * c,
            stride,
            inputs,
            grad,
            grad_stride,
            outputs,
            sums + c * row_bytes,
            row_bytes,
            steps,
        )
        c += rows
    return c
