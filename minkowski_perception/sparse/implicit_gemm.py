# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution as implicit GEMM by Triton: the gather table of a kernel map, and the sums.

A kernel's offsets are split into parts. For each part, each output row has a mask word, whose bits
say at which of the part's offsets the row has an input. Each part has its own order of the rows,
which brings equal words together: a tile of rows skips the offsets at which none of them has an
input. Sums are float32, without atomics, in a fixed order, so results are bit-exact between runs.

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
"""Most offsets of a part: bits of a mask word without its sign."""

_PARTS = 3
"""Parts of a 3 x 3 x 3 kernel: tiles do 1.3 to 1.4 times the true work, 2.1 to 2.3 in one part."""

_SPLIT_ABOVE = 8
"""Most offsets of a kernel in one part: with so few, masks leave little to skip."""

_TABLE_ROWS = 128
"""Output rows of a program that looks up neighbours."""

_FEW_ROWS = 4096
"""Rows below which tiles are low, so that all multiprocessors have work."""


class Tile(NamedTuple):
    """Shape of the products of a program.

    Attributes:
        rows: output rows.
        channels: output channels.
        depth: input channels that are multiplied at a time.
        warps: warps of the program.
    """

    rows: int
    channels: int
    depth: int
    warps: int


class GatherTable(NamedTuple):
    """Kernel map in the format of an implicit GEMM.

    Attributes:
        rows: [K, outputs] int32, the input row at each offset, -1 for none.
        words: [P, outputs] int32, the mask words of the parts.
        order: [P, outputs] int32, the rows of each part in the order of their words.
        part: offsets of each part; the last part may have fewer.
    """

    rows: Tensor
    words: Tensor
    order: Tensor
    part: int


def gather_table(searches: Sequence[Search], targets: Tensor) -> GatherTable:
    """Return the gather table of one or two searches, without waiting for the device.

    Args:
        searches: lists of keys and their offsets, in the order of the kernel's offsets.
        targets: [outputs] int64 keys of the output rows.
    """
    deltas = tuple(delta for search in searches for delta in search.deltas)
    first, second = searches[0], searches[-1]
    rows, words, part = _empty(len(deltas), targets)
    if len(targets):
        most = max(len(search.keys) for search in searches)
        with launching_on(targets):
            table_kernel[(triton.cdiv(len(targets), _TABLE_ROWS),)](
                *(first.keys, second.keys, targets, on_device(deltas, targets.device)),
                *(rows, words, len(first.keys), len(second.keys), second.first_row, len(targets)),
                STEPS=max(1, most.bit_length()), K=len(deltas), FIRST_K=len(first.deltas),
                PART=part, ROWS=_TABLE_ROWS,
            )  # fmt: skip
    return GatherTable(rows, words, _order(words), part)


def table_of_rows(rows: Tensor) -> GatherTable:
    """Return the gather table of the input rows [K, outputs] int32, -1 for none."""
    _, words, part = _empty(len(rows), rows[0])
    for word, some in zip(words, rows.split(part), strict=True):
        word.copy_(mask_words(some))
    return GatherTable(rows, words, _order(words), part)


def table_of_same(targets: Tensor) -> GatherTable:
    """Return the gather table of a pointwise convolution: each row is its own input."""
    rows = torch.arange(len(targets), dtype=torch.int32, device=targets.device)[None]
    return GatherTable(rows, torch.ones_like(rows), rows, 1)


def _empty(offsets: int, like: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return rows and words to be written, and the offsets of a part."""
    parts = 1 if offsets <= _SPLIT_ABOVE else max(_PARTS, triton.cdiv(offsets, _WORD))
    part = triton.cdiv(offsets, parts)
    rows = like.new_empty((offsets, len(like)), dtype=torch.int32)
    return rows, rows.new_empty((triton.cdiv(offsets, part), len(like))), part


def _order(words: Tensor) -> Tensor:
    # Rows without inputs come last, and after them those of padding.
    return torch.argsort(words, dim=1, descending=True, stable=True).int()


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
    outputs = table.rows.shape[1]
    result = features.new_empty(outputs, channels_out)
    if outputs == 0:
        return result
    features, weight = features.contiguous(), weight.contiguous()
    residual = None if residual is None else residual.contiguous()
    parts = range(0, offsets, table.part)
    partial = result
    if len(parts) > 1 and result.dtype != torch.float32:
        partial = torch.empty_like(result, dtype=torch.float32)
    tile = choose_tile(outputs, channels_in, channels_out, features.dtype)
    grid = triton.cdiv(outputs, tile.rows), triton.cdiv(channels_out, tile.channels)
    with launching_on(features):
        for p, start in enumerate(parts):
            last = start == parts[-1]
            convolution_kernel[grid](
                *(features, weight, table.rows, table.words[p], table.order[p], partial),
                *(result if bias is None else bias, result if residual is None else residual),
                *(result if last else partial, outputs, start),
                CI=channels_in, CO=channels_out,
                ROWS=tile.rows, CHANNELS=tile.channels, DEPTH=tile.depth, PARTIAL=p > 0,
                BIAS=last and bias is not None, RESIDUAL=last and residual is not None,
                RELU=last and relu, **_arithmetic(features), num_warps=tile.warps,
            )  # fmt: skip
    return result


def choose_tile(outputs: int, channels_in: int, channels_out: int, dtype: torch.dtype) -> Tile:
    """Return one of a few tiles, which do not spill registers on any GPU from sm_80 on."""
    most = 16 if dtype == torch.float32 else 32
    depth = min(most, max(16, triton.next_power_of_2(channels_in)))
    width = max(16, triton.next_power_of_2(channels_out))
    if outputs < _FEW_ROWS:
        return Tile(32, min(64, width), depth, 4)
    if dtype == torch.float32:
        return Tile(64, min(64, width), depth, 4)
    return Tile(128, width, depth, 4) if width <= 64 else Tile(128, 128, depth, 8)


def _arithmetic(features: Tensor) -> dict[str, Any]:
    """Return the kernel's constants that say how to multiply."""
    tf32 = not INTERPRETED and torch.backends.cuda.matmul.allow_tf32
    upcast = INTERPRETED and features.dtype == torch.bfloat16
    return {"PRECISION": "tf32" if tf32 else "ieee", "UPCAST": upcast}


def launching_on(tensor: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which Triton launches on the device of a tensor."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
