# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training by several processes, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.utils.data import Sampler

from minkowski_perception.device import choose_device
from minkowski_perception.lab.training.schema import RecipeError

_PATIENCE = timedelta(hours=12)
"""How long processes wait for the first one, which alone scores and writes models."""


@dataclass(frozen=True)
class World:
    """The processes of a training.

    Attributes:
        device: of this process.
        rank: of this process.
        size: how many there are.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and scores."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            distributed.barrier()

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Let the first process do something alone, then the others."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def gather(self, value: Any) -> list[Any]:
        """Values of all processes, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values


@contextmanager
def processes(device: str) -> Iterator[World]:
    """Join the processes that `torchrun` started; without it there is this one.

    Args:
        device: see `choose_device`; of several processes each takes a CUDA device of its own.
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
    """Indices of a process's clips, a list each step.

    Together the processes take the clips that one alone would take, in the same steps.

    Args:
        steps: the first step, and the one after the last.
        clips: of each step, over all processes.
        world: the processes.

    Raises:
        RecipeError: the clips of a step cannot be shared out evenly.
    """

    def __init__(self, steps: range, clips: int, world: World) -> None:
        if clips % world.size:
            raise RecipeError(
                f"recipe.optimization.clips must be a multiple of {world.size} to be shared among "
                f"{world.size} processes, not {clips}"
            )
        self._steps = steps
        self._clips = clips
        self._own = clips // world.size
        self._first = world.rank * self._own

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            first = step * self._clips + self._first
            yield list(range(first, first + self._own))
