# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What all networks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import nn

from minkowski_perception.sparse import SparseTensor

Kernel = Literal["cube", "cross", "hybrid"]


class Network(nn.Module, ABC):
    """Labels voxels.

    Args:
        in_channels: features a voxel.
        num_classes: logits a voxel.
        dims: 3 for space, 4 for space and time.

    Shapes:
        input: SparseTensor with features [N, in_channels] on [batch, x, y, z(, t)] of stride 1.
        output: SparseTensor with logits [N, num_classes] on the same voxels.
    """

    def __init__(self, in_channels: int, num_classes: int, dims: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.dims = dims

    @abstractmethod
    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Logits of the voxels; see the class for shapes."""

    @abstractmethod
    def twin(self, dims: int, kernel: Kernel) -> Network:
        """Return a network of the same architecture in other dimensions, with fresh weights."""
