# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Memory allocator of this process: glibc's settings for trainings, recordings and the node.

Networks allocate and free the same large arrays over and over. By default glibc returns such
memory to the operating system, which clears it page by page when it is needed again. What that
costs depends on the machine: from nothing to half of a training step.

By default glibc also gives each thread a heap of its own, up to eight for each core, and each
keeps what its threads have freed. A node that starts threads again and again, at transitions and
after faults, fills one heap after the other.

And arrays of up to 32 MB share a heap with small ones, which hold the room between them. Such
arrays come from clouds far larger than those of a sensor.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import time
from collections.abc import Mapping

VARIABLE = "MINKOWSKI_PERCEPTION_MALLOC"
"""Environment variable; the value `system` leaves the allocator as it is."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8
"""Parameters of mallopt(3), from malloc.h."""

_SETTINGS = {
    _MMAP_MAX: 0,  # large arrays come from the heap
    _TRIM_THRESHOLD: -1,  # the heap never shrinks
    _TOP_PAD: 256 * 2**20,  # and grows by so many bytes
    _ARENA_MAX: 1,  # one heap for all threads
}


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next allocations; return whether it does.

    Nothing changes with another C library, or if the environment variable is `system`. The
    process then holds the largest amount of memory that it needed until it ends. Threads that
    allocate at the same time wait for each other.
    """
    return _set(_SETTINGS)


def use_one_heap() -> bool:
    """Let all threads that start from now on share one heap; return whether they do.

    Call it before modules are imported: a thread that an import starts has a heap, which later
    threads take over.

    Nothing changes with another C library, or if the environment variable is `system`.
    """
    return _set({_ARENA_MAX: 1})


def separate_large_arrays() -> bool:
    """Let arrays of 8 MB and more return to the system once they are freed; return whether so.

    Nothing changes with another C library, or if the environment variable is `system`.
    """
    return _set({_MMAP_THRESHOLD: 2**23, _TRIM_THRESHOLD: 2**25})


def return_freed_memory() -> None:
    """Give freed memory back to the operating system, where the C library is glibc."""
    if _is_ours():
        ctypes.CDLL(None).malloc_trim(0)


class Peaks:
    """Gives back the memory that peaks of the work leave behind, soon after each of them.

    Pages that are given back are cleared when they are needed again, which takes time. So that
    happens once in a while at most.

    Args:
        period: least seconds from one time to the next.
    """

    def __init__(self, period: float = 10.0) -> None:
        self._period = period
        self._is_over = False
        self._returned_at = -math.inf

    def note(self) -> None:
        """Note the end of a peak."""
        self._is_over = True

    def give_back(self) -> None:
        """Give freed memory back if a peak has ended, and the last time is a while ago."""
        now = time.monotonic()
        if self._is_over and now - self._returned_at >= self._period:
            self._is_over, self._returned_at = False, now
            return_freed_memory()


def _set(settings: Mapping[int, int]) -> bool:
    if not _is_ours():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings.items()]
    return all(accepted)


def _is_ours() -> bool:
    return os.environ.get(VARIABLE) != "system" and platform.libc_ver()[0] == "glibc"
