# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame of a stream is computed from: its voxels, or its points, on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from minkowski_perception.sparse import Capacities
from minkowski_perception.sparse.capacity import PADDING
from minkowski_perception.voxels import VoxelFrame

Density = tuple[Tensor, Tensor]
"""Of each voxel, the mean range of its points [M] float32, metres, and their number [M] int64."""


@dataclass(frozen=True)
class Placed:
    """Voxels of a frame on the device, with padding where its execution has capacities.

    Attributes:
        coordinates: [M, 5] int64 [batch, x, y, z, 0], relative to the frame's origin; the batch
            of padding is -1.
        features: [M, C] float32.
        keys: [M] int64, 3D keys of the voxels.
        rows: [P] int64, the voxel of each point.
        outside: [P] bool, the points that are in no voxel; None if none is, but for padding.
        density: of the voxels; None if it is not needed.
    """

    coordinates: Tensor
    features: Tensor
    keys: Tensor
    rows: Tensor
    outside: Tensor | None = None
    density: Density | None = None


class FrameInput(ABC):
    """What a frame is computed from.

    Attributes:
        kind: inputs of one kind have tensors of the same meaning.
        origin: [3] int64 on the CPU, the voxel that coordinates are relative to.
    """

    kind: ClassVar[str]
    origin: Tensor

    @abstractmethod
    def tensors(self, capacities: Capacities | None) -> Sequence[Tensor]:
        """Return it as tensors on the device, without waiting for the copies."""

    @abstractmethod
    def placed(self, tensors: Sequence[Tensor], capacities: Capacities | None) -> Placed:
        """Return the voxels, given such tensors; nothing is copied from the host."""


class VoxelizedFrame(FrameInput):
    """A frame of M > 0 voxels, from the CPU; its points are those that are in a voxel.

    Args:
        voxels: of the frame.
        device: of the network.
        density: of the voxels, on the CPU; None if it is not needed.
    """

    kind = "voxels"

    def __init__(
        self, voxels: VoxelFrame, device: torch.device, density: Density | None = None
    ) -> None:
        self.origin = voxels.origin
        self._device = device
        quantization = voxels.quantization
        coordinates = F.pad(quantization.coordinates, (0, 1))
        self._of_voxels = coordinates, voxels.features, quantization.keys, *(density or ())
        self._rows = quantization.inverse

    def tensors(self, capacities: Capacities | None) -> Sequence[Tensor]:
        """See `FrameInput.tensors`."""
        of_voxels, rows = self._of_voxels, self._rows
        if capacities is not None:
            count = len(of_voxels[0])
            added = capacities.reserve("voxels", count) - count
            of_voxels = tuple(F.pad(t, (*(0, 0) * (t.ndim - 1), 0, added)) for t in of_voxels)
            of_voxels[0][-added:, 0] = -1
            of_voxels[2][-added:] = PADDING
            rows = F.pad(rows, (0, capacities.reserve("points", len(rows)) - len(rows)))
        return [self._to_device(tensor) for tensor in (rows, *of_voxels)]

    def placed(self, tensors: Sequence[Tensor], capacities: Capacities | None) -> Placed:
        """See `FrameInput.placed`."""
        rows, coordinates, features, keys, *rest = tensors
        density = (rest[0], rest[1]) if rest else None
        return Placed(coordinates, features, keys, rows, density=density)

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self._device.type != "cuda":
            return tensor.to(self._device)
        return tensor.pin_memory().to(self._device, non_blocking=True)
