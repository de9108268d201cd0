# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Threads for compiled loops that let go of the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

_count = 0


def set_thread_count(count: int) -> None:
    """Run compiled loops on so many threads; 0 is for as many as PyTorch's own."""
    global _count
    _count = count


def thread_count() -> int:
    """Threads that a large compiled loop runs on."""
    return _count or torch.get_num_threads()


def run_on_threads(function: Callable[[], None], count: int) -> None:
    """Run a function on so many threads at once, this one among them, until all have returned.

    They wait without spinning, so that other work on the machine delays them no more than its
    share: unlike the threads of an OpenMP loop.
    """
    others = [_pool(count - 1).submit(function) for _ in range(count - 1)]
    function()
    for other in others:
        other.result()


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="sparse")


# A forked process has none of the threads that its parent's pools believe in.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
