# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Thread pool for compiled loops, which run without the global interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

_FEW_ROWS = 4096
"""Rows below which a second thread does not pay off."""

_count = 0


def set_thread_count(count: int) -> None:
    """Set the number of threads for compiled loops; 0 means PyTorch's number of threads."""
    global _count
    _count = count


def thread_count() -> int:
    """Return the number of threads for large compiled loops."""
    return _count or torch.get_num_threads()


def run_on_threads(function: Callable[[], None], count: int) -> None:
    """Run a function that takes pieces of work until none remains on up to `count` threads.

    The calling thread is one of them. Threads that have not started when it finds no more work
    are not waited for. Unlike OpenMP's threads these do not spin while they wait. So other
    processes on the machine cause little delay.
    """
    others = [_pool(count - 1).submit(function) for _ in range(count - 1)]
    function()
    for other in others:
        if not other.cancel():
            other.result()


def run_on_rows(function: Callable[[slice], object], count: int) -> None:
    """Run a function of PyTorch on slices that cover `count` rows, one for each thread.

    With more than one thread of its own, PyTorch splits its loops itself, and there is one slice.

    Args:
        function: computes each row from a row alone, and writes it to memory that exists.
        count: number of rows.
    """
    threads = 1 if count < _FEW_ROWS or torch.get_num_threads() > 1 else thread_count()
    slices = iter(
        [slice(count * i // threads, count * (i + 1) // threads) for i in range(threads)]
    )
    inference = torch.is_inference_mode_enabled()

    def run() -> None:
        # The mode belongs to a thread.
        with torch.inference_mode(inference):
            for rows in slices:
                function(rows)

    run_on_threads(run, threads)


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="sparse")


# The threads of a pool do not exist in a forked process, so it needs new pools.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
