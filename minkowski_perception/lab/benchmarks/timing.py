# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a piece of work, on the CPU and on CUDA."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path

import torch

_PROC = Path("/proc/self")


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Time of a piece of work, until the device has done it."""
    gc.collect()
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def peak_memory(work: Callable[[], object], device: torch.device) -> int | None:
    """Most bytes that a piece of work held beyond those held before; None if no one tells."""
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
    """Bytes of this process in memory now ("VmRSS") or at most ("VmHWM").

    Raises:
        OSError: the system is not Linux.
    """
    for line in (_PROC / "status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {which} in {_PROC / 'status'}")


def held_memory() -> int:
    """Bytes of this process in memory, but for what it has freed.

    Raises:
        OSError: the system is not Linux.
    """
    gc.collect()
    _give_back_freed_memory()
    return resident_memory()


def _give_back_freed_memory() -> None:
    """Let glibc return to the system what it keeps for later: it would hide what is taken anew."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
