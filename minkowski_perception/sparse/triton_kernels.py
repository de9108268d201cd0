# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of implicit GEMM; see `implicit_gemm`, which launches them."""

# ruff: noqa: N803  Constants of a kernel are in capitals.
from __future__ import annotations

import triton
import triton.language as tl

from minkowski_perception.sparse import capacity

PADDING = tl.constexpr(capacity.PADDING)


@triton.jit
def table_kernel(
    first, second, targets, deltas, rows, words,
    first_count, second_count, second_row, outputs,
    STEPS: tl.constexpr, K: tl.constexpr, FIRST_K: tl.constexpr, PART: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    """Look up ROWS outputs at every offset by bisection; write input rows and mask words.

    The first FIRST_K offsets are looked up in `first`, the others in `second`, whose rows count
    from `second_row` on. Rows of padding have no inputs.
    """
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    valid = m < outputs
    key = tl.load(targets + m, mask=valid, other=0)
    occupied = key != PADDING
    word = tl.zeros((ROWS,), tl.int32)
    for k in range(K):
        keys = first
        count = first_count
        row = 0
        if k >= FIRST_K:
            keys = second
            count = second_count
            row = second_row
        wanted = key + tl.load(deltas + k)
        low = tl.zeros((ROWS,), tl.int32)
        high = low + count
        for _ in range(STEPS):
            middle = (low + high) // 2
            searching = low < high
            less = tl.load(keys + middle, mask=searching, other=0) < wanted
            low = tl.where(searching & less, middle + 1, low)
            high = tl.where(searching & ~less, middle, high)
        found = tl.load(keys + low, mask=low < count, other=0)
        hit = (low < count) & (found == wanted) & occupied
        tl.store(rows + k * outputs + m, tl.where(hit, low + row, -1), mask=valid)
        word |= tl.where(hit, 1, 0) << (k % PART)
        if (k % PART == PART - 1) | (k == K - 1):
            tl.store(words + (k // PART) * outputs + m, word, mask=valid)
            word = tl.zeros((ROWS,), tl.int32)


@triton.jit
def _or(a, b):
    return a | b


@triton.jit
def _lowest_bit(word):
    """Return the place of the lowest bit that is set: the exponent of its value."""
    return ((word & -word).to(tl.float32).to(tl.int32, bitcast=True) >> 23) - 127


@triton.jit(do_not_specialize=["first"])
def convolution_kernel(
    x, w, rows, words, order, partial, bias, residual, out, outputs, first,
    CI: tl.constexpr, CO: tl.constexpr,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr, DEPTH: tl.constexpr,
    PARTIAL: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Compute ROWS rows and CHANNELS channels of a part, whose offsets start at `first`.

    out[m] = act([partial[m]] + sum over k of x[rows[k, m]] @ w[k] + [bias] + [residual[m]]), where
    `words` and `order` are those of the part, and terms in brackets are optional.
    """
    slot = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    valid = slot < outputs
    m = tl.load(order + slot, mask=valid, other=0)
    word = tl.load(words + m, mask=valid, other=0)
    wanted = tl.reduce(word, 0, _or)
    n = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    written = n < CO
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    # One loop over offsets and depths, without branches: its loads are asynchronous copies.
    chunks = tl.cdiv(CI, DEPTH)
    rest = wanted
    for step in range(tl.sum((wanted >> tl.arange(0, 32)) & 1) * chunks):
        k = first + _lowest_bit(rest)
        c = step % chunks
        row = tl.load(rows + k * outputs + m, mask=valid, other=-1)
        channel = c * DEPTH + tl.arange(0, DEPTH)
        inside = channel < CI
        a = tl.load(
            x + row.to(tl.int64)[:, None] * CI + channel[None, :],
            mask=(row >= 0)[:, None] & inside[None, :],
            other=0.0,
        )
        b = tl.load(
            w + (k * CI + channel[:, None]) * CO + n[None, :],
            mask=inside[:, None] & written[None, :],
            other=0.0,
        )
        if UPCAST:
            a = a.to(tl.float32)
            b = b.to(tl.float32)
        total = tl.dot(a, b, total, input_precision=PRECISION)
        rest = tl.where(c == chunks - 1, rest & (rest - 1), rest)
    place = m.to(tl.int64)[:, None] * CO + n[None, :]
    there = valid[:, None] & written[None, :]
    if PARTIAL:
        total += tl.load(partial + place, mask=there, other=0.0)
    if BIAS:
        total += tl.load(bias + n, mask=written, other=0.0).to(tl.float32)[None, :]
    if RESIDUAL:
        total += tl.load(residual + place, mask=there, other=0.0).to(tl.float32)
    if RELU:
        total = tl.maximum(total, 0.0)
    tl.store(out + place, total.to(out.dtype.element_ty), mask=there)


INTERPRETED = not isinstance(_or, triton.JITFunction)
"""Whether the kernels run under Triton's interpreter."""
