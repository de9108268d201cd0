# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training steps of a network, and their state for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minkowski_perception.lab.training.averaging import averaged_logits
from minkowski_perception.lab.training.clips import Sample, coordinates_in
from minkowski_perception.lab.training.distributed import World
from minkowski_perception.lab.training.losses import Loss
from minkowski_perception.lab.training.optimization import (
    Optimization,
    make_optimizer,
    make_schedule,
)
from minkowski_perception.lab.training.recipe import RecipeError
from minkowski_perception.networks import Network
from minkowski_perception.networks.heads import CLASSES
from minkowski_perception.sparse import SparseTensor

_HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Trainer:
    """Trains a network step by step.

    Args:
        network: trained in place.
        settings: optimizer, schedule and precision.
        loss: minimised.
        class_weights: [K] for the loss, or None.
        world: the processes that take each step together.

    Raises:
        RecipeError: the device does not support the settings.
    """

    def __init__(
        self,
        network: Network,
        settings: Optimization,
        loss: Loss,
        class_weights: Tensor | None,
        world: World,
    ) -> None:
        on_cpu = world.device.type == "cpu"
        if on_cpu and settings.precision == "float16":
            raise RecipeError("precision float16 needs CUDA; a CPU takes bfloat16 or float32")
        if on_cpu and settings.sync_batch_norm:
            raise RecipeError("sync_batch_norm needs CUDA")
        self._network = network.train()
        if settings.freeze_batch_norm:
            for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm1d)):
                norm.eval()
        self._dimension = network.dimension
        self._world = world
        self._settings = settings
        self._loss = loss
        self._class_weights = None if class_weights is None else class_weights.to(world.device)
        self._half = _HALVES.get(settings.precision)
        self._model = _shared(network, settings, world)
        self._optimizer = make_optimizer(network.parameters(), settings)
        self._schedule = make_schedule(self._optimizer, settings)
        self._scaler = torch.amp.GradScaler(
            world.device.type, enabled=settings.precision == "float16"
        )
        self.step = 0

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def advance(self, batch: Sample) -> float:
        """Take a step and return its loss on the clips of this process."""
        device = self._world.device
        batch = batch.map(lambda column: column.to(device))
        coordinates = coordinates_in(self._dimension, batch.coordinates)
        with torch.autocast(device.type, self._half, enabled=self._half is not None):
            logits = self._model(batch.features, coordinates)
        logits = {name: values.float() for name, values in logits.items()}
        first = batch.coordinates[:, -1] == 0
        averaged = None
        if self._loss.averaged:
            averaged = averaged_logits(logits[CLASSES], batch.coordinates, batch.posed)
        loss = self._loss.total(
            logits, batch.labels, batch.truth, self._class_weights, batch.points, first, averaged
        )
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        if self._settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._settings.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        self.step += 1
        return float(loss.item())

    def state(self) -> dict[str, Any]:
        """Return the state of the training, tensors and plain values; a call of all processes."""
        on_cuda = self._world.device.type == "cuda"
        random = {
            "cpu": torch.get_rng_state(),
            **({"cuda": torch.cuda.get_rng_state()} if on_cuda else {}),
        }
        return {
            "step": self.step,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": self._world.gather(random),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state; with another number of processes, random numbers differ."""
        self.step = int(state["step"])
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        random = state["random"][self._world.rank % len(state["random"])]
        torch.set_rng_state(random["cpu"])
        if self._world.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"])


class _Logits(nn.Module):
    """A network on plain tensors, as `DistributedDataParallel` needs it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, coordinates: Tensor) -> dict[str, Tensor]:
        logits = self.network(SparseTensor(features, coordinates))
        return {name: values.in_input_order() for name, values in logits.items()}


def _shared(network: Network, settings: Optimization, world: World) -> nn.Module:
    """Return the network for training by all processes together."""
    model: nn.Module = _Logits(network)
    if world.size == 1:
        return model
    if settings.sync_batch_norm:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    devices = [world.device] if world.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices)
