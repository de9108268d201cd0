# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution as implicit GEMM by Triton: the gather table of a kernel map, and the sums.

Each output row has a mask word, whose bits say at which offsets the row has an input. The rows are
ordered by their words, which brings equal words together: a tile of rows skips the offsets at
which none of them has an input. Kernels of more offsets than a word has bits are split into parts,
each with an order of its own. Sums are float32, without atomics, in a fixed order, so results are
bit-exact between runs.

All runs on CUDA and, with TRITON_INTERPRET=1, on the CPU under Triton's interpreter.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from minkowski_perception.sparse.kernel_maps import Search, mask_words
from minkowski_perception.sparse.keys import on_device
from minkowski_perception.sparse.triton_kernels import (
    INTERPRETED,
    convolution_kernel,
    table_kernel,
)

_WORD = 31
"""Bits of a code without its sign."""

_TABLE_ROWS = 16
"""Output rows of a program that looks up neighbours."""

_FEW_ROWS, _MANY_ROWS = 2048, 25_000
"""Rows below and from which tiles are smaller and larger: all multiprocessors shall have work."""


class Tile(NamedTuple):
    """Shape of the products of a program.

    Attributes:
        rows: output rows.
        channels: output channels.
        depth: input channels that are multiplied at a time.
        stages: steps whose operands are in flight.
    """

    rows: int
    channels: int
    depth: int
    stages: int


class GatherTable(NamedTuple):
    """Kernel map in the format of an implicit GEMM.

    Attributes:
        outputs: number of output rows.
        part: offsets of each of the P parts; the last part may have fewer.
        rows: [K, outputs] int32, the input row at each offset, -1 for none; None where each row
            is its own only input.
        codes: [P * outputs] int32, ascending; above `part` bits the part, and below the inverse of
            the mask word.
        order: [P * outputs] int64, which of the P times `outputs` rows have these codes.
    """

    outputs: int
    part: int
    rows: Tensor | None = None
    codes: Tensor | None = None
    order: Tensor | None = None


def gather_table(searches: Sequence[Search], targets: Tensor) -> GatherTable:
    """Return the gather table of one or two searches, without waiting for the device.

    Args:
        searches: lists of keys and their offsets, in the order of the kernel's offsets.
        targets: [outputs] int64 keys of the output rows.
    """
    rows, codes, part = look_up(searches, targets)
    return GatherTable(len(targets), part, rows, *torch.sort(codes, stable=True))


def look_up(searches: Sequence[Search], targets: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return rows, codes in the order of the rows, and part of a `GatherTable`."""
    deltas = tuple(delta for search in searches for delta in search.deltas)
    first, second = searches[0], searches[-1]
    outputs, parts, part = len(targets), *_parts(len(deltas))
    rows = targets.new_empty((len(deltas), outputs), dtype=torch.int32)
    codes = rows.new_empty(parts * outputs)
    if outputs:
        most = max(len(search.keys) for search in searches)
        with launching_on(targets):
            table_kernel[(triton.cdiv(outputs, _TABLE_ROWS), parts)](
                *(first.keys, second.keys, targets, on_device(deltas, targets.device)),
                *(rows, codes, len(first.keys), len(second.keys), second.first_row, outputs),
                STEPS=max(1, most.bit_length()), K=len(deltas), FIRST_K=len(first.deltas),
                PART=part, OFFSETS=triton.next_power_of_2(part), ROWS=_TABLE_ROWS,
            )  # fmt: skip
    return rows, codes, part


def table_of_rows(rows: Tensor) -> GatherTable:
    """Return the gather table of the input rows [K, outputs] int32, -1 for none."""
    _, part = _parts(len(rows))
    codes = [
        (p << part) + ((1 << part) - 1 - mask_words(some))
        for p, some in enumerate(rows.split(part))
    ]
    return GatherTable(rows.shape[1], part, rows, *torch.sort(torch.cat(codes), stable=True))


def _parts(offsets: int) -> tuple[int, int]:
    """Return the number of parts, and the offsets of a part, so that codes have enough bits."""
    parts = triton.cdiv(offsets, _WORD)
    while triton.cdiv(offsets, parts) + (parts - 1).bit_length() > _WORD:
        parts += 1
    return parts, triton.cdiv(offsets, parts)


def convolve(
    features: Tensor,
    weight: Tensor,
    table: GatherTable,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Return act(sum over k of features[rows[k]] @ weight[k] + bias + residual).

    Products of float32 are exact to float32, or TF32 if PyTorch's switch
    `torch.backends.cuda.matmul.allow_tf32` says so. Under the interpreter, whose products of
    bfloat16 are wrong (Triton 3.6 and 3.9), operands are converted to float32.

    Args:
        features: [inputs, C_in] float32, float16 or bfloat16.
        weight: [K, C_in, C_out] of the same dtype.
        table: the kernel map.
        bias: [C_out] of the same dtype.
        residual: [outputs, C_out] of the same dtype.
        relu: whether act is ReLU; the identity otherwise.

    Returns:
        [outputs, C_out] of the same dtype.
    """
    offsets, channels_in, channels_out = weight.shape
    result = features.new_empty(table.outputs, channels_out)
    if table.outputs == 0:
        return result
    features, weight = features.contiguous(), weight.contiguous()
    residual = None if residual is None else residual.contiguous()
    parts = triton.cdiv(offsets, table.part)
    partial = result
    if parts > 1 and result.dtype != torch.float32:
        partial = torch.empty_like(result, dtype=torch.float32)
    tile = choose_tile(table.outputs, channels_in, channels_out, features.dtype)
    grid = triton.cdiv(table.outputs, tile.rows), triton.cdiv(channels_out, tile.channels)
    same = table.rows is None
    gathered = (result,) * 3 if same else (table.rows, table.codes, table.order)
    with launching_on(features):
        for p in range(parts):
            last = p == parts - 1
            convolution_kernel[grid](
                *(features, weight, *gathered, partial),
                *(result if bias is None else bias, result if residual is None else residual),
                *(result if last else partial, table.outputs, p, table.part),
                CI=channels_in, CO=channels_out,
                ROWS=tile.rows, CHANNELS=tile.channels, DEPTH=tile.depth, SAME=same,
                PARTIAL=p > 0, BIAS=last and bias is not None,
                RESIDUAL=last and residual is not None, RELU=last and relu,
                **_arithmetic(features), num_warps=4, num_stages=tile.stages,
            )  # fmt: skip
    return result


def choose_tile(outputs: int, channels_in: int, channels_out: int, dtype: torch.dtype) -> Tile:
    """Return one of a few tiles, which do not spill registers on any GPU from sm_80 on.

    In half precision, those for 2,048 rows or more were the fastest on an H200, or nearly so, in
    layers of 96 to 256 channels. The others have not been measured.
    """
    width = max(16, triton.next_power_of_2(channels_out))
    depth = max(16, triton.next_power_of_2(channels_in))
    rows = 32 if outputs < _FEW_ROWS else 64
    if dtype == torch.float32:
        return Tile(rows, min(64, width), 16, 3)
    depth = min(64, depth)
    if channels_in > 32 and channels_in % depth:
        depth = 32
    if outputs < _MANY_ROWS:
        return Tile(rows, min(64, width), depth, 5)
    return Tile(rows, min(128, width), depth, 3)


def _arithmetic(features: Tensor) -> dict[str, Any]:
    """Return the kernel's constants that say how to multiply."""
    tf32 = not INTERPRETED and torch.backends.cuda.matmul.allow_tf32
    upcast = INTERPRETED and features.dtype == torch.bfloat16
    return {"PRECISION": "tf32" if tf32 else "ieee", "UPCAST": upcast}


def launching_on(tensor: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which Triton launches on the device of a tensor."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
