# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Numba compilation of loops, which then run without the global interpreter lock (GIL)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numpy.typing as npt
from llvmlite import ir
from numba import config, njit, types
from numba.core.event import Event, Listener, register, unregister
from numba.extending import intrinsic

Array = npt.NDArray[Any]
if config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set, but these loops only run compiled")

_INT64 = ir.IntType(64)
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
