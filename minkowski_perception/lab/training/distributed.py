# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training in several processes, started by `torchrun`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.utils.data import Sampler
from tqdm import tqdm

from minkowski_perception.device import choose_device
from minkowski_perception.lab.training.recipe import RecipeError

_PATIENCE = timedelta(hours=12)
"""How long processes wait for the first one while it scores and writes models."""


@dataclass(frozen=True)
class World:
    """Processes of a training.

    Attributes:
        device: of this process.
        rank: of this process, from 0 on.
        size: number of processes.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the first one, which writes and scores."""
        return self.rank == 0

    def announce(self, message: str) -> None:
        """Print a line on standard error, beside progress bars, from the first process alone."""
        if self.leads:
            tqdm.write(message, file=sys.stderr)

    def wait(self) -> None:
        """Wait until all processes get here."""
        if self.size > 1:
            distributed.barrier()

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Context that the first process runs alone, and then the others."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank; all processes must call it."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values


@contextmanager
def processes(device: str) -> Iterator[World]:
    """Join the processes that `torchrun` started; without it there is only this one.

    Args:
        device: see `choose_device`; on CUDA each of several processes uses its own device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(choose_device(device))
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield World(chosen, distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


class StepSampler(Sampler[list[int]]):
    """Indices of the clips of a process, one list for each step.

    Together the processes take the clips that a single one would take, in the same steps.

    Args:
        steps: the steps to take.
        batch_size: clips of each step, over all processes.
        world: the processes.

    Raises:
        RecipeError: the batch size is not a multiple of the number of processes.
    """

    def __init__(self, steps: range, batch_size: int, world: World) -> None:
        if batch_size % world.size:
            raise RecipeError(
                f"recipe.optimization.batch_size: must be a multiple of {world.size} to be shared "
                f"among {world.size} processes, not {batch_size}"
            )
        self._steps = steps
        self._batch_size = batch_size
        self._own = batch_size // world.size
        self._first = world.rank * self._own

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            first = step * self._batch_size + self._first
            yield list(range(first, first + self._own))
