# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Innermost loops of sparse convolution, generated as LLVM IR for any CPU.

The IR uses explicit vectors, because compilers do not keep a tile of sums in vector registers by
themselves. Rows are read and summed in place, without a gather or scatter pass.

Numba's cache depends on the modification time of the calling file: after a change here, touch
`compiled_convolution.py`. (An installation rewrites all files.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.core.cgutils import for_range
from numba.extending import intrinsic

LANES = 16
"""Floats per vector; the compiler splits it for narrower registers."""

_FLOAT, _INT, _ADDRESS = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS = ir.VectorType(_FLOAT, LANES)
_INTS = ir.VectorType(_INT, LANES)
VECTOR_BYTES = 4 * LANES


def cpu_has(feature: str) -> bool:
    """Return whether the target CPU has a feature ("avx512f", "avx512bf16", ...)."""
    if config.CPU_FEATURES is not None:
        return f"+{feature}" in config.CPU_FEATURES.split(",")
    return bool(binding.get_host_cpu_features().get(feature, False))


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def accumulate(
    typing_context: Any,
    rows: Any,
    vectors: Any,
    bfloat16: Any,
    source: Any,
    source_stride: Any,
    inputs: Any,
    weights: Any,
    sums: Any,
    sums_stride: Any,
    outputs: Any,
    steps: Any,
) -> Any:
    """Add to a tile of sums: sums[outputs[m], v] += source[inputs[m], c] * weights[c, v] over c.

    Args:
        typing_context: Numba's typing context.
        rows: number of rows m of the tile, a literal.
        vectors: number of vectors v of `LANES` columns of the tile, a literal.
        bfloat16: whether a step is a pair of bfloat16 (source: [.., 2], weights: [c, v, 16, 2])
            or one float32; a literal.
        source: address of the features' first row.
        source_stride: bytes from row to row.
        inputs: address of `rows` int32, rows of the source.
        weights: address of [steps, vectors, 16] elements.
        sums: address of the float32 sums' first row.
        sums_stride: bytes from row to row.
        outputs: address of `rows` int32, rows of the sums, unique.
        steps: number of c.
    """
    literals = (rows, vectors, bfloat16)
    if not all(isinstance(value, types.Literal) for value in literals):
        return None
    generate = _generator(*(int(value.literal_value) for value in literals))
    return types.void(*literals, *[types.int64] * 8), generate


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def prefetch(
    typing_context: Any,
    rows: Any,
    source: Any,
    source_stride: Any,
    inputs: Any,
    lines: Any,
) -> Any:
    """Fetch rows into the cache, before `accumulate` reads them.

    Args:
        typing_context: Numba's typing context.
        rows: number of rows, a literal.
        source: address of the features' first row.
        source_stride: bytes from row to row.
        inputs: address of `rows` int32, rows of the source.
        lines: cache lines of a row, above 0.
    """
    if not isinstance(rows, types.Literal):
        return None
    return types.void(rows, *[types.int64] * 4), _prefetching(int(rows.literal_value))


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def accumulate_outer(
    typing_context: Any,
    rows: Any,
    vectors: Any,
    source: Any,
    source_stride: Any,
    inputs: Any,
    factors: Any,
    factors_stride: Any,
    outputs: Any,
    sums: Any,
    sums_stride: Any,
    steps: Any,
) -> Any:
    """Add outer products: sums[m, v] += source[inputs[p], m] * factors[outputs[p], v] over p.

    The products are summed before they are added, which keeps rounding errors small.

    Args:
        typing_context: Numba's typing context.
        rows: number of rows m of the tile, a literal.
        vectors: number of vectors v of `LANES` columns of the tile, a literal.
        source: address of the tile's first column in the float32 features' first row.
        source_stride: bytes from row to row.
        inputs: address of `steps` int32, rows of the source.
        factors: address of the tile's first column in the float32 factors' first row.
        factors_stride: bytes from row to row.
        outputs: address of `steps` int32, rows of the factors.
        sums: address of the float32 tile's first row.
        sums_stride: bytes from row to row.
        steps: number of p.
    """
    literals = (rows, vectors)
    if not all(isinstance(value, types.Literal) for value in literals):
        return None
    generate = _outer_generator(*(int(value.literal_value) for value in literals))
    return types.void(*literals, *[types.int64] * 9), generate


Tile = dict[tuple[int, int], ir.Value]
"""Vectors by (row, column)."""


def _generator(rows: int, vectors: int, bfloat16: int) -> Callable[..., Any]:
    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> Any:
        source, source_stride, inputs, weights, sums, sums_stride, outputs, steps = args[3:]
        features = [_row(builder, source, source_stride, inputs, m) for m in range(rows)]
        targets = [_row(builder, sums, sums_stride, outputs, m) for m in range(rows)]
        before = _load_tile(builder, targets, vectors)

        def operands(step: ir.Value) -> tuple[list[ir.Value], ir.Value]:
            offset = builder.mul(step, _ADDRESS(VECTOR_BYTES * vectors))
            channel = builder.mul(step, _ADDRESS(4))
            return [builder.add(row, channel) for row in features], builder.add(weights, offset)

        _store_tile(builder, targets, _loop(builder, before, steps, operands, bfloat16))
        return context.get_dummy_value()

    return generate


def _prefetching(rows: int) -> Callable[..., Any]:
    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> Any:
        source, source_stride, inputs, lines = args[1:]
        features = [_row(builder, source, source_stride, inputs, m) for m in range(rows)]
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, *[_INT] * 3])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        with for_range(builder, lines) as loop:
            offset = builder.mul(loop.index, _ADDRESS(VECTOR_BYTES))
            for row in features:
                at = builder.inttoptr(builder.add(row, offset), byte)
                builder.call(fetch, [at, _INT(0), _INT(3), _INT(1)])  # to read, soon, data
        return context.get_dummy_value()

    return generate


def _outer_generator(rows: int, vectors: int) -> Callable[..., Any]:
    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> Any:
        source, source_stride, inputs, factors, factors_stride, outputs = args[2:8]
        sums, sums_stride, steps = args[8:]
        zero = ir.Constant(_FLOATS, [0.0] * LANES)
        before = {(m, v): zero for m in range(rows) for v in range(vectors)}

        def operands(step: ir.Value) -> tuple[list[ir.Value], ir.Value]:
            offset = builder.mul(step, _ADDRESS(4))
            row = _row(builder, source, source_stride, builder.add(inputs, offset))
            factor = _row(builder, factors, factors_stride, builder.add(outputs, offset))
            return [builder.add(row, _ADDRESS(4 * m)) for m in range(rows)], factor

        after = _loop(builder, before, steps, operands)
        targets = [builder.add(sums, builder.mul(sums_stride, _ADDRESS(m))) for m in range(rows)]
        known = _load_tile(builder, targets, vectors)
        _store_tile(builder, targets, {at: builder.fadd(known[at], after[at]) for at in after})
        return context.get_dummy_value()

    return generate


def _loop(
    builder: ir.IRBuilder,
    before: Tile,
    steps: ir.Value,
    operands: Callable[[ir.Value], tuple[list[ir.Value], ir.Value]],
    bfloat16: int = 0,
) -> Tile:
    """Generate a loop that adds the products of all steps to a tile in registers.

    `operands` returns, for a step, the address of each row's feature and of the factor vectors.
    """
    multiply_add = _multiply_add_bfloat16 if bfloat16 else _multiply_add
    vectors = 1 + max(v for _, v in before)
    entry = builder.block
    loop, end = (builder.append_basic_block(name) for name in ("loop", "end"))
    builder.branch(loop)

    builder.position_at_end(loop)
    step = builder.phi(_ADDRESS)
    step.add_incoming(_ADDRESS(0), entry)
    held = {index: builder.phi(_FLOATS) for index in before}
    features, factors_at = operands(step)
    factors = [_load(builder, _FLOATS, factors_at, VECTOR_BYTES * v) for v in range(vectors)]
    after = {}
    for m, at in enumerate(features):
        feature = _broadcast(builder, at)
        for v in range(vectors):
            after[m, v] = multiply_add(builder, feature, factors[v], held[m, v])
    following = builder.add(step, _ADDRESS(1))
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, end)
    step.add_incoming(following, loop)
    for index in before:
        held[index].add_incoming(before[index], entry)
        held[index].add_incoming(after[index], loop)

    builder.position_at_end(end)
    return after


def _row(
    builder: ir.IRBuilder, base: ir.Value, stride: ir.Value, indices: ir.Value, m: int = 0
) -> ir.Value:
    """Return the address of the row with the m-th index."""
    index = _load(builder, _INT, indices, 4 * m)
    return builder.add(base, builder.mul(builder.sext(index, _ADDRESS), stride))


def _load_tile(builder: ir.IRBuilder, rows: list[ir.Value], vectors: int) -> Tile:
    return {
        (m, v): _load(builder, _FLOATS, row, VECTOR_BYTES * v)
        for m, row in enumerate(rows)
        for v in range(vectors)
    }


def _store_tile(builder: ir.IRBuilder, rows: list[ir.Value], tile: Tile) -> None:
    for (m, v), value in tile.items():
        address = builder.add(rows[m], _ADDRESS(VECTOR_BYTES * v))
        store = builder.store(value, builder.inttoptr(address, _FLOATS.as_pointer()))
        store.align = 4


def _load(builder: ir.IRBuilder, kind: ir.Type, address: ir.Value, offset: int) -> ir.Value:
    at = builder.inttoptr(builder.add(address, _ADDRESS(offset)), kind.as_pointer())
    value = builder.load(at)
    value.align = 4
    return value


def _broadcast(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Broadcast four bytes, a float32 or a pair of bfloat16, to all lanes of an integer vector."""
    value = builder.load(builder.inttoptr(address, _INT.as_pointer()))
    value.align = 2
    empty = ir.Constant(_INTS, ir.Undefined)
    first = builder.insert_element(empty, value, _INT(0))
    return builder.shuffle_vector(first, empty, ir.Constant(_INTS, [0] * LANES))


def _multiply_add(
    builder: ir.IRBuilder, feature: ir.Value, factor: ir.Value, total: ir.Value
) -> ir.Value:
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    fma = _declared(builder, f"llvm.fma.v{LANES}f32", kind)
    return builder.call(fma, [builder.bitcast(feature, _FLOATS), factor, total])


def _multiply_add_bfloat16(
    builder: ir.IRBuilder, feature: ir.Value, factor: ir.Value, total: ir.Value
) -> ir.Value:
    """Add two products per lane; without AVX-512 BF16, each half is widened to float32."""
    factor = builder.bitcast(factor, _INTS)
    if cpu_has("avx512bf16"):
        kind = ir.FunctionType(_FLOATS, [_FLOATS, _INTS, _INTS])
        dot = _declared(builder, "llvm.x86.avx512bf16.dpbf16ps.512", kind)
        return builder.call(dot, [total, feature, factor])
    half = ir.Constant(_INTS, [16] * LANES)
    high = ir.Constant(_INTS, [-65536] * LANES)
    widenings: tuple[Callable[[ir.Value], ir.Value], ...] = (
        lambda pair: builder.shl(pair, half),
        lambda pair: builder.and_(pair, high),
    )
    for widened in widenings:
        product = builder.bitcast(widened(factor), _FLOATS)
        total = _multiply_add(builder, widened(feature), product, total)
    return total


def _declared(builder: ir.IRBuilder, name: str, kind: ir.FunctionType) -> ir.Function:
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, kind, name)
