# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Device, threads and determinism of the networks of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from minkowski_perception.sparse.threads import set_thread_count

_CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def choose_device(name: str) -> torch.device:
    """Return the device with this name; "auto" is CUDA if available, else the CPU.

    Raises:
        ValueError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name.partition(":")[0] == "cuda":
        index = name.partition(":")[2]
        count = torch.cuda.device_count()
        if (index or "0").isdigit() and int(index or 0) < count:
            return torch.device(name)
        raise ValueError(
            f"device '{name}' is not available: PyTorch finds {count} CUDA devices; choose auto "
            "or cpu, or install PyTorch for CUDA"
        )
    raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not '{name}'")


def use_threads(count: int = 0) -> None:
    """Set the number of CPU threads for networks in this process; 0 means all cores.

    With 0, PyTorch's own loops use all cores but one. PyTorch's threads spin while they wait for
    the slowest one, so any other process on the machine delays each loop by a scheduler time
    slice, which can be a hundred times as long as the loop itself. Our compiled loops split their
    work finely and sleep while they wait.
    """
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(count or max(1, cores - 1))
    set_thread_count(count or cores)


def prepare_determinism() -> None:
    """Configure cuBLAS for results that are bit-exact between runs; call it before CUDA starts.

    Raises:
        ValueError: CUDA has already started without this configuration.
    """
    if torch.cuda.is_initialized() and _CUBLAS_WORKSPACE not in os.environ:
        raise ValueError(
            "CUDA is already initialised: for deterministic results, set "
            f"{_CUBLAS_WORKSPACE}=:4096:8 in the environment of this process"
        )
    os.environ.setdefault(_CUBLAS_WORKSPACE, ":4096:8")


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Restrict PyTorch to deterministic algorithms within the context."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
