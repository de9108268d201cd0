# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Optimizers and learning rate schedules, and their settings in recipes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from minkowski_perception.lab.training import muon
from minkowski_perception.schema import Former, OneOf, Range

_ONE_CYCLE_RISE = 0.05
"""Share of the steps in which a one-cycle schedule rises."""

Decay = Annotated[float, Range(least=0.0, below=1.0)]
NotNegative = Annotated[float, Range(least=0.0)]


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent; see `torch.optim.SGD`."""

    momentum: Decay = 0.9
    dampening: NotNegative = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Check that Nesterov's momentum exists and is not dampened, as PyTorch requires.

        Raises:
            ValueError: it is dampened, or there is none.
        """
        if self.nesterov and (self.momentum <= 0.0 or self.dampening != 0.0):
            raise ValueError("nesterov needs a momentum, and no dampening")


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay; see `torch.optim.AdamW`."""

    betas: tuple[Decay, Decay] = (0.9, 0.999)


@dataclass(frozen=True)
class Muon:
    """Orthogonalised momentum for kernels, AdamW for the rest; see `training.muon.Muon`."""

    momentum: Decay = 0.95
    betas: tuple[Decay, Decay] = (0.9, 0.999)


@dataclass(frozen=True)
class OneCycle:
    """Up for 5 % of the steps and down for the others: see `torch.optim.lr_scheduler.OneCycleLR`.

    With 20 steps or fewer there is no rise. The momentum moves the other way; Muon's is constant.
    """


@dataclass(frozen=True)
class Poly:
    """(1 - step / (steps + 1)) ^ power, as in SpatioTemporalSegmentation."""

    power: NotNegative = 0.9

    def factor(self, step: int, steps: int, learning_rate: float) -> float:
        """Return the factor on the learning rate at a step, from 0 to steps - 1."""
        return float((1.0 - step / (steps + 1)) ** self.power)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the learning rate down to `least`."""

    least: NotNegative = 0.0

    def factor(self, step: int, steps: int, learning_rate: float) -> float:
        """Return the factor on the learning rate at a step, from 0 to steps - 1."""
        least = self.least / learning_rate
        return least + (1.0 - least) * (1.0 + math.cos(math.pi * step / steps)) / 2.0


@dataclass(frozen=True)
class Step:
    """Multiplied by `gamma` at each step in `at`."""

    at: tuple[Annotated[int, Range(least=0)], ...]
    gamma: Annotated[float, Range(above=0.0)] = 0.1

    def __post_init__(self) -> None:
        """Check the order of the steps.

        Raises:
            ValueError: they are not in ascending order.
        """
        if list(self.at) != sorted(self.at):
            raise ValueError(f"at must be in ascending order, not {list(self.at)}")

    def factor(self, step: int, steps: int, learning_rate: float) -> float:
        """Return the factor on the learning rate at a step, from 0 to steps - 1."""
        return float(self.gamma ** bisect_right(self.at, step))


@dataclass(frozen=True)
class WarmUp:
    """Linear rise of a factor on the scheduled learning rate.

    Attributes:
        iterations: number of steps until the factor is 1.
        factor: at the first step.
    """

    iterations: Annotated[int, Range(least=0)]
    factor: NotNegative = 0.0

    def at(self, step: int) -> float:
        """Return the factor at a step."""
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
    """How the weights of a network are trained.

    Attributes:
        iterations: number of steps; 0 keeps the initial weights.
        batch_size: clips of each step, over all processes together.
        learning_rate: the largest one; required unless there are no steps.
        weight_decay: as the optimizer defines it.
        optimizer: SGD, AdamW or Muon, with its settings.
        schedule: of the learning rate.
        warm_up: before the schedule; a one-cycle schedule has its own.
        gradient_clip: largest norm of the gradient, if any.
        precision: of the network's arithmetic: float16 (on CUDA only) and bfloat16 are mixed with
            float32 by `torch.autocast`; weights stay float32.
        sync_batch_norm: whether batch norm uses the voxels of all processes; on CUDA only.
        freeze_batch_norm: whether batch norm keeps the statistics of the start, as for steps of
            few clips; its weights are trained nevertheless.
        trained: "all" weights; or "norms", the factors and offsets of batch norm alone, as for few
            and doubtful labels.
        checkpoint_every: number of steps between checkpoints.
    """

    former_keys: ClassVar = {"clips": Former("batch_size")}

    iterations: Annotated[int, Range(least=0)]
    batch_size: Annotated[int, Range(least=1)] = 1
    learning_rate: NotNegative = 0.0
    weight_decay: NotNegative = 0.0
    optimizer: Optimizer = AdamW()
    schedule: Schedule = OneCycle()
    warm_up: WarmUp | None = None
    gradient_clip: Annotated[float, Range(above=0.0)] | None = None
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    sync_batch_norm: bool = False
    freeze_batch_norm: bool = False
    trained: Literal["all", "norms"] = "all"
    checkpoint_every: Annotated[int, Range(least=1)] = 200

    def __post_init__(self) -> None:
        """Check that the settings fit each other.

        Raises:
            ValueError: they do not.
        """
        if self.iterations and self.learning_rate == 0.0:
            raise ValueError("learning_rate must be above 0")
        if self.warm_up is not None and isinstance(self.schedule, OneCycle):
            raise ValueError("a one_cycle schedule has a warm-up of its own")
        if self.sync_batch_norm and self.freeze_batch_norm:
            raise ValueError("sync_batch_norm needs statistics that are not frozen")


def make_optimizer(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], settings: Optimization
) -> torch.optim.Optimizer:
    """Return the optimizer of parameters, or of groups of them that can have their own `lr`."""
    kinds: dict[type, Callable[..., torch.optim.Optimizer]] = {
        SGD: torch.optim.SGD,
        AdamW: torch.optim.AdamW,
        Muon: muon.Muon,
    }
    return kinds[type(settings.optimizer)](
        parameters,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        **asdict(settings.optimizer),
    )


def make_schedule(optimizer: torch.optim.Optimizer, settings: Optimization) -> LRScheduler:
    """Return the schedule of a new optimizer's learning rates; call its step() after each step."""
    schedule, peak, steps = settings.schedule, settings.learning_rate, settings.iterations
    if isinstance(schedule, OneCycle):
        return OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            steps,
            # A rise within one step has no length, by which PyTorch divides.
            pct_start=_ONE_CYCLE_RISE if steps * _ONE_CYCLE_RISE > 1.0 else 0.0,
            cycle_momentum=not isinstance(settings.optimizer, Muon),
        )
    warm_up = settings.warm_up

    def factor(step: int) -> float:
        rise = 1.0 if warm_up is None else warm_up.at(step)
        return rise * schedule.factor(step, steps, peak)

    return LambdaLR(optimizer, factor)
