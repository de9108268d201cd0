# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The innermost loop of sparse convolution, in LLVM's own terms, for whatever CPU this is.

A compiler does not keep a tile of sums in vector registers by itself; written as vectors, it must.
Rows are read where they lie and summed where they belong: nothing is gathered or scattered first.

Numba keeps compiled code by the date of the file that calls this one: after a change here, touch
`numba_engine.py` (an installation writes all files anew anyway).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.extending import intrinsic

LANES = 16
"""Floats of a vector; the compiler splits it where registers are narrower."""

_FLOAT, _INT, _ADDRESS = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS = ir.VectorType(_FLOAT, LANES)
_INTS = ir.VectorType(_INT, LANES)
VECTOR_BYTES = 4 * LANES


def cpu_has(feature: str) -> bool:
    """Whether code is made for a CPU with this feature ("avx512f", "avx512bf16", ...)."""
    if config.CPU_FEATURES is not None:
        return f"+{feature}" in config.CPU_FEATURES.split(",")
    return bool(binding.get_host_cpu_features().get(feature, False))


@intrinsic(prefer_literal=True)
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
        typing_context: of Numba.
        rows: rows m of the tile, a literal.
        vectors: vectors v of `LANES` columns of the tile, a literal.
        bfloat16: whether a step is a pair of bfloat16 (source: [.., 2], weights: [c, v, 16, 2]),
            or one float32; a literal.
        source: address of the features' first row.
        source_stride: bytes from row to row.
        inputs: address of `rows` int32, rows of the source.
        weights: address of [steps, vectors, 16] elements.
        sums: address of the float32 sums' first row.
        sums_stride: bytes from row to row.
        outputs: address of `rows` int32, rows of the sums, each once.
        steps: number of c.
    """
    literals = (rows, vectors, bfloat16)
    if not all(isinstance(value, types.Literal) for value in literals):
        return None
    generate = _generator(*(int(value.literal_value) for value in literals))
    return types.void(*literals, *[types.int64] * 8), generate


def _generator(rows: int, vectors: int, bfloat16: int) -> Callable[..., Any]:
    multiply_add = _multiply_add_bfloat16 if bfloat16 else _multiply_add

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> Any:
        source, source_stride, inputs, weights, sums, sums_stride, outputs, steps = args[3:]
        tile = [(m, v) for m in range(rows) for v in range(vectors)]

        def row(base: ir.Value, stride: ir.Value, indices: ir.Value, m: int) -> ir.Value:
            index = _load(builder, _INT, indices, 4 * m)
            return builder.add(base, builder.mul(builder.sext(index, _ADDRESS), stride))

        features = [row(source, source_stride, inputs, m) for m in range(rows)]
        targets = [row(sums, sums_stride, outputs, m) for m in range(rows)]
        before = {(m, v): _load(builder, _FLOATS, targets[m], VECTOR_BYTES * v) for m, v in tile}

        entry = builder.block
        loop, end = (builder.append_basic_block(name) for name in ("loop", "end"))
        builder.branch(loop)

        builder.position_at_end(loop)
        step = builder.phi(_ADDRESS)
        step.add_incoming(_ADDRESS(0), entry)
        held = {place: builder.phi(_FLOATS) for place in tile}
        row_of_weights = builder.add(weights, builder.mul(step, _ADDRESS(VECTOR_BYTES * vectors)))
        factors = [
            _load(builder, _FLOATS, row_of_weights, VECTOR_BYTES * v) for v in range(vectors)
        ]
        offset = builder.mul(step, _ADDRESS(4))
        after = {}
        for m in range(rows):
            feature = _broadcast(builder, builder.add(features[m], offset))
            for v in range(vectors):
                after[m, v] = multiply_add(builder, feature, factors[v], held[m, v])
        following = builder.add(step, _ADDRESS(1))
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, end)
        step.add_incoming(following, loop)
        for place in tile:
            held[place].add_incoming(before[place], entry)
            held[place].add_incoming(after[place], loop)

        builder.position_at_end(end)
        for m, v in tile:
            address = builder.add(targets[m], _ADDRESS(VECTOR_BYTES * v))
            store = builder.store(after[m, v], builder.inttoptr(address, _FLOATS.as_pointer()))
            store.align = 4
        return context.get_dummy_value()

    return generate


def _load(builder: ir.IRBuilder, kind: ir.Type, address: ir.Value, offset: int) -> ir.Value:
    at = builder.inttoptr(builder.add(address, _ADDRESS(offset)), kind.as_pointer())
    value = builder.load(at)
    value.align = 4
    return value


def _broadcast(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Four bytes, a float32 or a pair of bfloat16, into all lanes of a vector of integers."""
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
    """Two products a lane; on a CPU that cannot, by widening each half to float32."""
    factor = builder.bitcast(factor, _INTS)
    if cpu_has("avx512bf16"):
        kind = ir.FunctionType(_FLOATS, [_FLOATS, _INTS, _INTS])
        dot = _declared(builder, "llvm.x86.avx512bf16.dpbf16ps.512", kind)
        return builder.call(dot, [total, feature, factor])
    half = ir.Constant(_INTS, [16] * LANES)
    high = ir.Constant(_INTS, [-65536] * LANES)
    for widened in (
        lambda pair: builder.shl(pair, half),
        lambda pair: builder.and_(pair, high),
    ):
        product = builder.bitcast(widened(factor), _FLOATS)
        total = _multiply_add(builder, widened(feature), product, total)
    return total


def _declared(builder: ir.IRBuilder, name: str, kind: ir.FunctionType) -> ir.Function:
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, kind, name)
