# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training steps of a network, and of a CRF with it, and their state for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minkowski_perception.lab.training.averaging import averaged_logits
from minkowski_perception.lab.training.clips import Sample, coordinates_in
from minkowski_perception.lab.training.crf import Refinement
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
    """Trains a network step by step, with a CRF that refines its class logits if there is one.

    The CRF refines the frames of a clip as it does at run time: a causal one frame by frame.

    Args:
        network: trained in place.
        settings: optimizer, schedule and precision.
        loss: minimised.
        class_weights: [K] for the loss, or None.
        world: the processes that take each step together.
        refinement: the CRF that is trained too; None for none.

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
        refinement: Refinement | None = None,
    ) -> None:
        on_cpu = world.device.type == "cpu"
        if on_cpu and settings.precision == "float16":
            raise RecipeError("precision float16 needs CUDA; a CPU takes bfloat16 or float32")
        if on_cpu and settings.sync_batch_norm:
            raise RecipeError("sync_batch_norm needs CUDA")
        self._network = network.train()
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d)]
        if settings.freeze_batch_norm:
            for norm in norms:
                norm.eval()
        if settings.trained == "norms":
            network.requires_grad_(False)
            for norm in norms:
                norm.requires_grad_(True)
        self._world = world
        self._settings = settings
        self._loss = loss
        self._class_weights = None if class_weights is None else class_weights.to(world.device)
        self._half = _HALVES.get(settings.precision)
        self._model = _shared(network, refinement, settings, world)
        groups: list[dict[str, Any]] = [
            {"params": [each for each in network.parameters() if each.requires_grad]}
        ]
        self._crf = None if refinement is None else refinement.crf.train()
        if refinement is not None:
            own = {"params": list(refinement.crf.parameters()), "lr": refinement.learning_rate}
            groups.append(own)
        self._parameters = [weights for group in groups for weights in group["params"]]
        self._optimizer = make_optimizer(groups, settings)
        self._schedule = make_schedule(self._optimizer, settings)
        self._scaler = torch.amp.GradScaler(
            world.device.type, enabled=settings.precision == "float16"
        )
        self.step = 0

    @property
    def learning_rate(self) -> float:
        """Learning rate of the network in the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def advance(self, batch: Sample) -> float:
        """Take a step and return its loss on the clips of this process."""
        device = self._world.device
        batch = batch.map(lambda column: column.to(device))
        with torch.autocast(device.type, self._half, enabled=self._half is not None):
            logits, refined = self._model(batch.features, batch.coordinates)
        first = batch.coordinates[:, -1] == 0
        averaged = None
        if self._loss.averaged:
            classes = logits[CLASSES] if refined is None else refined
            averaged = averaged_logits(classes, batch.coordinates, batch.posed)
        loss = self._loss.total(
            logits,
            batch.labels,
            batch.truth,
            self._class_weights,
            batch.points,
            first,
            averaged,
            refined,
        )
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        if self._settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._settings.gradient_clip)
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
            **({} if self._crf is None else {"crf": self._crf.state_dict()}),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": self._world.gather(random),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state; with another number of processes, random numbers differ."""
        self.step = int(state["step"])
        self._network.load_state_dict(state["network"])
        if self._crf is not None:
            self._crf.load_state_dict(state["crf"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        random = state["random"][self._world.rank % len(state["random"])]
        torch.set_rng_state(random["cpu"])
        if self._world.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"])


class _Logits(nn.Module):
    """A network and its CRF on plain tensors, as `DistributedDataParallel` needs it."""

    def __init__(self, network: Network, refinement: Refinement | None) -> None:
        super().__init__()
        self.network = network
        self.crf = None if refinement is None else refinement.crf
        self._chroma = None if refinement is None else refinement.chroma

    def forward(
        self, features: Tensor, coordinates: Tensor
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return the logits of all heads, and the refined ones of the classes; float32.

        Args:
            features: [N, C].
            coordinates: [N, 5] int64 [clip, x, y, z, t].
        """
        voxels = coordinates_in(self.network.dimension, coordinates)
        heads = self.network(SparseTensor(features, voxels))
        logits = {name: values.in_input_order().float() for name, values in heads.items()}
        if self.crf is None or self._chroma is None:
            return logits, None
        with torch.autocast(features.device.type, enabled=False):
            return logits, self.crf(logits[CLASSES], coordinates, self._chroma(features))


def _shared(
    network: Network, refinement: Refinement | None, settings: Optimization, world: World
) -> nn.Module:
    """Return network and CRF for training by all processes together."""
    model: nn.Module = _Logits(network, refinement)
    if world.size == 1:
        return model
    if settings.sync_batch_norm:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    devices = [world.device] if world.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices)
