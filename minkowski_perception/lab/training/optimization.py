# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Optimizers, schedules of their learning rate, and what a recipe says of both."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from minkowski_perception.lab.training import muon
from minkowski_perception.lab.training.schema import OneOf

_ONE_CYCLE_RISE = 0.05
"""Share of the steps in which a one-cycle schedule rises."""


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent; see `torch.optim.SGD`."""

    momentum: float = 0.9
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Refuse what PyTorch would refuse later.

        Raises:
            ValueError: Nesterov's momentum is dampened, or there is none.
        """
        if self.nesterov and (self.momentum <= 0.0 or self.dampening != 0.0):
            raise ValueError("nesterov needs a momentum, and no dampening")


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay; see `torch.optim.AdamW`."""

    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Muon:
    """Orthogonalised momentum for kernels, AdamW for the rest; see `training.muon.Muon`."""

    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: one is no share of what was before.
        """
        for name, value in (("momentum", self.momentum), *(("betas", b) for b in self.betas)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name} must be from 0 to below 1, not {value}")


@dataclass(frozen=True)
class OneCycle:
    """Up for 5 % of the steps and down for the others: see `torch.optim.lr_scheduler.OneCycleLR`.

    The momentum goes the other way, but for Muon's, which stays.
    """


@dataclass(frozen=True)
class Poly:
    """(1 - step / (steps + 1)) ^ power, as in SpatioTemporalSegmentation."""

    power: float = 0.9

    def factor(self, step: int, steps: int, learning_rate: float) -> float:
        """Factor on the learning rate at a step, 0 being the first of so many."""
        return float((1.0 - step / (steps + 1)) ** self.power)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the learning rate down to `least`."""

    least: float = 0.0

    def factor(self, step: int, steps: int, learning_rate: float) -> float:
        """Factor on the learning rate at a step, 0 being the first of so many."""
        least = self.least / learning_rate
        return least + (1.0 - least) * (1.0 + math.cos(math.pi * step / steps)) / 2.0


@dataclass(frozen=True)
class Step:
    """Times `gamma` at each step in `at`."""

    at: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        """Check the order.

        Raises:
            ValueError: the steps do not rise.
        """
        if list(self.at) != sorted(self.at):
            raise ValueError(f"at must rise, not {list(self.at)}")

    def factor(self, step: int, steps: int, learning_rate: float) -> float:
        """Factor on the learning rate at a step, 0 being the first of so many."""
        return float(self.gamma ** bisect_right(self.at, step))


@dataclass(frozen=True)
class WarmUp:
    """A linear rise of the learning rate, times what the schedule says.

    Attributes:
        iterations: how many.
        factor: on the learning rate at the first of them.
    """

    iterations: int
    factor: float = 0.0

    def at(self, step: int) -> float:
        """Factor at a step; 1 after the last."""
        if step >= self.iterations:
            return 1.0
        return self.factor + (1.0 - self.factor) * step / self.iterations


Optimizer = Annotated[SGD | AdamW | Muon, OneOf({"sgd": SGD, "adamw": AdamW, "muon": Muon})]
Schedule = Annotated[
    OneCycle | Poly | Cosine | Step,
    OneOf({"one_cycle": OneCycle, "poly": Poly, "cosine": Cosine, "step": Step}),
]


@dataclass(frozen=True)
class Optimization:
    """How a network's weights are found.

    Attributes:
        iterations: steps of the optimizer; with 0 the network stays what it started from.
        clips: of each step, over all processes together.
        learning_rate: the largest.
        weight_decay: as the optimizer understands it.
        optimizer: SGD, AdamW or Muon, with its settings.
        schedule: of the learning rate.
        warm_up: before it; a one-cycle schedule has its own.
        gradient_clip: largest norm of the gradient, if any.
        precision: of the network's arithmetic: float16 (on CUDA alone) and bfloat16 are mixed with
            float32 by `torch.autocast`; weights stay float32.
        sync_batch_norm: whether batch norm counts the voxels of all processes together: on CUDA
            alone.
        checkpoint_every: steps between checkpoints.
    """

    iterations: int
    clips: int = 1
    learning_rate: float = 0.0
    weight_decay: float = 0.0
    optimizer: Optimizer = AdamW()
    schedule: Schedule = OneCycle()
    warm_up: WarmUp | None = None
    gradient_clip: float | None = None
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    sync_batch_norm: bool = False
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: one is not possible.
        """
        if self.iterations and self.learning_rate <= 0.0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        for name in ("clips", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if self.gradient_clip is not None and self.gradient_clip <= 0.0:
            raise ValueError(f"gradient_clip must be positive, not {self.gradient_clip}")
        if self.warm_up is not None and isinstance(self.schedule, OneCycle):
            raise ValueError("a one_cycle schedule has a warm-up of its own")


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: Optimization
) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters."""
    kinds = {SGD: torch.optim.SGD, AdamW: torch.optim.AdamW, Muon: muon.Muon}
    return kinds[type(settings.optimizer)](
        parameters,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        **asdict(settings.optimizer),
    )


def make_schedule(optimizer: torch.optim.Optimizer, settings: Optimization) -> LRScheduler:
    """Return the schedule of its learning rate, to be moved on after each step."""
    schedule, peak, steps = settings.schedule, settings.learning_rate, settings.iterations
    if isinstance(schedule, OneCycle):
        return OneCycleLR(
            optimizer,
            peak,
            steps,
            pct_start=_ONE_CYCLE_RISE,
            cycle_momentum=not isinstance(settings.optimizer, Muon),
        )
    warm_up = settings.warm_up

    def factor(step: int) -> float:
        rise = 1.0 if warm_up is None else warm_up.at(step)
        return rise * schedule.factor(step, steps, peak)

    return LambdaLR(optimizer, factor)
