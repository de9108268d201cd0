# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Measures time and memory of a function, on the CPU and on CUDA."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path

import torch

_PROC = Path("/proc/self")


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that a function takes, until the device has finished."""
    gc.collect()
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def peak_memory(work: Callable[[], object], device: torch.device) -> int | None:
    """Return the peak bytes that a function adds; None if the system does not report them."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    try:
        before = held_memory()
        (_PROC / "clear_refs").write_text("5")  # Linux: forget the peak so far
        work()
        return resident_memory("VmHWM") - before
    except OSError:
        work()
        return None


def resident_memory(which: str = "VmRSS") -> int:
    """Return the resident bytes of this process now ("VmRSS") or at their peak ("VmHWM").

    Raises:
        OSError: the system is not Linux.
    """
    for line in (_PROC / "status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {which} in {_PROC / 'status'}")


def held_memory() -> int:
    """Return the resident bytes of this process, after freed memory is returned to the system.

    Raises:
        OSError: the system is not Linux.
    """
    gc.collect()
    _release_freed_memory()
    return resident_memory()


def _release_freed_memory() -> None:
    """Let glibc return freed memory to the system; otherwise it hides new allocations."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
