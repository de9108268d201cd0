# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Memory allocator of this process, set to keep freed memory.

Networks allocate and free the same large arrays over and over. By default glibc returns such
memory to the operating system, which clears it page by page when it is needed again. What that
costs depends on the machine: from nothing to half of a training step.
"""

from __future__ import annotations

import ctypes
import os
import platform

VARIABLE = "MINKOWSKI_PERCEPTION_MALLOC"
"""Environment variable; the value `system` leaves the allocator as it is."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
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
    if os.environ.get(VARIABLE) == "system" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    accepted = [mallopt(parameter, value) == 1 for parameter, value in _SETTINGS.items()]
    return all(accepted)
