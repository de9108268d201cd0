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
def _keys_at(first, second, place, own, mask, TWO: tl.constexpr):
    """Read keys at places in `first`, or in `second` where they are not its own."""
    keys = tl.load(first + place, mask=mask & own, other=0)
    if TWO:
        keys += tl.load(second + place, mask=mask & ~own, other=0)
    return keys


@triton.jit
def table_kernel(
    first, second, targets, deltas, rows, codes,
    first_count, second_count, second_row, outputs,
    STEPS: tl.constexpr, K: tl.constexpr, FIRST_K: tl.constexpr, PART: tl.constexpr,
    OFFSETS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Look up ROWS outputs at the offsets of a part by bisection; write input rows and codes.

    The first FIRST_K offsets are looked up in `first`, the others in `second`, whose rows count
    from `second_row` on. Rows of padding have no inputs. OFFSETS is a power of two, PART or more.
    """
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1)
    bit = tl.arange(0, OFFSETS)
    k = part * PART + bit
    there = (bit < PART) & (k < K)
    valid = m < outputs
    key = tl.load(targets + m, mask=valid, other=PADDING)
    wanted = key[:, None] + tl.load(deltas + k, mask=there, other=0)[None, :]
    sought = (key != PADDING)[:, None] & there[None, :]
    own = (k < FIRST_K)[None, :] & sought
    count = tl.where(k < FIRST_K, first_count, second_count)[None, :]
    low = tl.zeros((ROWS, OFFSETS), tl.int32)
    high = low + count
    for _ in range(STEPS):
        middle = (low + high) // 2
        searching = sought & (low < high)
        less = _keys_at(first, second, middle, own, searching, FIRST_K < K) < wanted
        low = tl.where(searching & less, middle + 1, low)
        high = tl.where(searching & ~less, middle, high)
    inside = sought & (low < count)
    hit = inside & (_keys_at(first, second, low, own, inside, FIRST_K < K) == wanted)
    row = low + tl.where(k < FIRST_K, 0, second_row)[None, :]
    place = k[None, :] * outputs + m[:, None]
    tl.store(rows + place, tl.where(hit, row, -1), mask=valid[:, None] & there[None, :])
    word = tl.sum(tl.where(hit, 1, 0) << bit[None, :], axis=1)
    code = (part << PART) + ((1 << PART) - 1 - word)
    tl.store(codes + part * outputs + m, code, mask=valid)


@triton.jit
def _or(a, b):
    return a | b


@triton.jit
def _lowest_bit(word):
    """Return the place of the lowest bit that is set: the exponent of its value."""
    return ((word & -word).to(tl.float32).to(tl.int32, bitcast=True) >> 23) - 127


@triton.jit(do_not_specialize=["part", "per_part"])
def convolution_kernel(
    x, w, rows, codes, order, partial, bias, residual, out, outputs, part, per_part,
    CI: tl.constexpr, CO: tl.constexpr,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr, DEPTH: tl.constexpr, SAME: tl.constexpr,
    PARTIAL: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Compute ROWS rows and CHANNELS channels of a part, which has `per_part` offsets.

    out[m] = act([partial[m]] + sum over k of x[rows[k, m]] @ w[k] + [bias] + [residual[m]]), where
    terms in brackets are optional. `codes` and `order` are sorted. If SAME, each row is its own
    only input, and there are no `rows`, `codes` and `order`.
    """
    slot = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    valid = slot < outputs
    m = slot
    wanted = tl.full((), 1, tl.int32)
    if not SAME:
        start = part * outputs
        every = (1 << per_part) - 1
        m = (tl.load(order + start + slot, mask=valid, other=0) - start).to(tl.int32)
        code = tl.load(codes + start + slot, mask=valid, other=-1)
        wanted = tl.reduce(every - (code & every), 0, _or)
    n = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    written = n < CO
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    # One loop over offsets and depths, without branches: its loads are asynchronous copies.
    chunks = tl.cdiv(CI, DEPTH)
    rest = wanted
    for step in range(tl.sum((wanted >> tl.arange(0, 32)) & 1) * chunks):
        k = part * per_part + _lowest_bit(rest)
        c = step % chunks
        row = m
        if not SAME:
            row = tl.load(rows + k * outputs + m, mask=valid, other=-1)
        channel = c * DEPTH + tl.arange(0, DEPTH)
        inside = channel < CI
        a = tl.load(
            x + row.to(tl.int64)[:, None] * CI + channel[None, :],
            mask=(valid & (row >= 0))[:, None] & inside[None, :],
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
