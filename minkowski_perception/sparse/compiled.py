# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Numba compilation of loops, which then run without the global interpreter lock (GIL)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numpy.typing as npt
from llvmlite import binding, ir
from numba import config, njit, types
from numba.core.event import Event, Listener, register, unregister
from numba.extending import intrinsic

from minkowski_perception.sparse.microkernel import cpu_has

Array = npt.NDArray[Any]
if config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set, but these loops only run compiled")

_INT32, _INT64, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_WIDENS_HALVES = cpu_has("f16c") or binding.get_process_triple().startswith(("aarch64", "arm64"))
"""Whether the CPU converts float16; elsewhere LLVM calls a function that need not exist."""
Function = TypeVar("Function", bound=Callable[..., Any])


_COMPILE = "numba:compile"


class _Announcement(Listener):  # type: ignore[misc]
    """Logs that Numba compiles, once, so that the wait is not mistaken for a hang.

    Numba reports no compilation for functions that it loads from its cache.
    """

    def on_start(self, event: Event) -> None:
        """Log the first compilation of this process."""
        unregister(_COMPILE, self)
        logging.getLogger(__name__).warning("compiling for this CPU, once, about 30 s")

    def on_end(self, event: Event) -> None:
        """Do nothing."""


register(_COMPILE, _Announcement())


def compiled(function: Function) -> Function:
    """Compile a function at its first call; cache the result on disk if possible."""
    dispatcher: Function
    try:
        dispatcher = njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # Numba has no writable cache folder.
        dispatcher = njit(nogil=True, error_model="numpy")(function)
    return dispatcher


def inlined(function: Function) -> Function:
    """Inline a function into its callers, so that constant arguments stay constants."""
    dispatcher: Function = njit(inline="always")(function)
    return dispatcher


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any) -> Any:
    """Convert an address to a pointer, for `numba.carray`."""

    def generate(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def take_next(typing_context: Any, address: Any) -> Any:
    """Return the int64 at an address and increment it, atomically across threads."""

    def generate(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> Any:
        at = builder.inttoptr(args[0], _INT64.as_pointer())
        return builder.atomic_rmw("add", at, _INT64(1), "monotonic")

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def bits_of(typing_context: Any, value: Any) -> Any:
    """Return the bits of a float32 as uint32."""

    def generate(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _INT32)

    return types.uint32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def float_of(typing_context: Any, bits: Any) -> Any:
    """Return the float32 that has these bits, a uint32."""

    def generate(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _FLOAT)

    return types.float32(types.uint32), generate


@intrinsic  # type: ignore[untyped-decorator]
def widened(typing_context: Any, half: Any) -> Any:
    """Return a float16 as float32, given its bits as uint16; Numba has no float16 on the CPU."""

    def generate(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> Any:
        if _WIDENS_HALVES:
            return builder.fpext(builder.bitcast(args[0], ir.HalfType()), _FLOAT)
        # The bits of a float32 that is too small by 2**112, unless it is infinite or NaN.
        half = builder.zext(args[0], _INT32)
        sign = builder.shl(builder.and_(half, _INT32(0x8000)), _INT32(16))
        bits = builder.shl(builder.and_(half, _INT32(0x7FFF)), _INT32(13))
        value = builder.fmul(builder.bitcast(bits, _FLOAT), _FLOAT(2.0**112))
        finite = builder.icmp_unsigned("<", bits, _INT32(0x1F << 23))
        endless = builder.or_(bits, _INT32(0xFF << 23))
        bits = builder.select(finite, builder.bitcast(value, _INT32), endless)
        return builder.bitcast(builder.or_(bits, sign), _FLOAT)

    return types.float32(types.uint16), generate
