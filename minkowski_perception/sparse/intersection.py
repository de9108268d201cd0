# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs among eight sorted keys and eight others, by one instruction of AVX-512.

Numba's cache depends on the modification time of the calling file: after a change here, touch
`matching.py`. (An installation rewrites all files.)
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minkowski_perception.sparse.microkernel import cpu_has

AVAILABLE = cpu_has("avx512vp2intersect") and cpu_has("avx512vl")
"""Whether the CPU has the instructions."""

LANES = 8
"""Keys that are compared with as many others."""


@intrinsic  # type: ignore[untyped-decorator]
def intersect(
    typing_context: Any,
    source: Any,
    target: Any,
    delta: Any,
    i: Any,
    j: Any,
    inputs: Any,
    outputs: Any,
    found: Any,
) -> Any:
    """Write the pairs among eight source and eight target keys behind those already found.

    Args:
        typing_context: Numba's typing context.
        source: address of int64 keys, ascending and unique.
        target: address of int64 keys, likewise.
        delta: source key minus target key, of a pair.
        i: first source row.
        j: first target row.
        inputs: address of int32 source rows; eight are written from `found` on.
        outputs: address of int32 target rows, likewise.
        found: number of pairs so far.

    Returns:
        number of pairs; last of the source keys; last of the target keys plus delta.
    """
    return types.UniTuple(types.int64, 3)(*[types.int64] * 8), _generate


def _generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
    source, target, delta, i, j, inputs, outputs, found = args
    bit, number, key = ir.IntType(1), ir.IntType(32), ir.IntType(64)
    bits, numbers, keys = (ir.VectorType(kind, LANES) for kind in (bit, number, key))

    def at(address: ir.Value, row: ir.Value, kind: ir.Type, size: int) -> ir.Value:
        address = builder.add(address, builder.mul(row, key(size)))
        return builder.inttoptr(address, kind.as_pointer())

    def spread(value: ir.Value, kind: ir.Type) -> ir.Value:
        empty = ir.Constant(kind, ir.Undefined)
        first = builder.insert_element(empty, value, number(0))
        return builder.shuffle_vector(first, empty, ir.Constant(numbers, [0] * LANES))

    def declared(name: str, kind: ir.FunctionType) -> ir.Function:
        return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)

    left = builder.load(at(source, i, keys, 8), align=8)
    right = builder.add(builder.load(at(target, j, keys, 8), align=8), spread(delta, keys))
    kind = ir.FunctionType(ir.LiteralStructType([bits, bits]), [keys, keys])
    masks = builder.call(declared("llvm.x86.avx512.vp2intersect.q.512", kind), [left, right])
    kind = ir.FunctionType(numbers, [numbers, numbers, bits])
    compress = declared("llvm.x86.avx512.mask.compress.v8i32", kind)
    for side, (row, rows) in enumerate(((i, inputs), (j, outputs))):
        lanes = ir.Constant(numbers, list(range(LANES)))
        all_rows = builder.add(spread(builder.trunc(row, number), numbers), lanes)
        mask = builder.extract_value(masks, side)
        chosen = builder.call(compress, [all_rows, all_rows, mask])
        builder.store(chosen, at(rows, found, numbers, 4), align=4)
    byte = builder.bitcast(builder.extract_value(masks, 0), ir.IntType(8))
    count = builder.zext(builder.ctpop(byte), key)
    last = number(LANES - 1)
    ends = builder.extract_element(left, last), builder.extract_element(right, last)
    return context.make_tuple(builder, signature.return_type, (count, *ends))
