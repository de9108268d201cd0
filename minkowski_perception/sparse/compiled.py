# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Loops compiled for this machine by Numba, which lets go of the interpreter's lock in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy.typing as npt
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic

Array = npt.NDArray[Any]
if config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set, and these loops exist only compiled")

_INT64 = ir.IntType(64)
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile when first called, and keep the outcome for the next process where that can be."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # There is no folder that Numba may write to.
        return njit(nogil=True, error_model="numpy")(function)


def inlined(function: Function) -> Function:
    """Put the function's body where it is called, so that constants given to it stay constants."""
    return njit(inline="always")(function)


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    """Return the pointer to an address, for `numba.carray`."""

    def generate(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@intrinsic
def take_next(typing_context: Any, address: Any) -> Any:
    """Return the int64 at an address and add 1 to it, in one step for all threads."""

    def generate(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> Any:
        at = builder.inttoptr(args[0], _INT64.as_pointer())
        return builder.atomic_rmw("add", at, _INT64(1), "monotonic")

    return types.int64(types.int64), generate
