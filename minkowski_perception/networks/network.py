# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What all networks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import nn

from minkowski_perception.sparse import CausalConvolution, Convolution, SparseTensor

Kernel = Literal["cube", "cross", "hybrid", "causal"]


class Network(nn.Module, ABC):
    """Labels voxels.

    Args:
        in_channels: features a voxel.
        num_classes: logits a voxel.
        dimension: 3 for space, 4 for space and time.

    Attributes:
        head: name of the last layer, the one whose shape depends on the classes.

    Shapes:
        input: SparseTensor with features [N, in_channels] on [batch, x, y, z(, t)] of stride 1.
        output: SparseTensor with logits [N, num_classes] on the same voxels.
    """

    head: ClassVar[str]

    def __init__(self, in_channels: int, num_classes: int, dimension: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.dimension = dimension

    @property
    def linked_layers(self) -> dict[str, CausalConvolution]:
        """The layers that look back in time by links, by name."""
        modules = self.named_modules()
        return {name: m for name, m in modules if isinstance(m, CausalConvolution)}

    @property
    def causal(self) -> bool:
        """Whether a 4D network sees the present and the past alone, and can run incrementally."""
        layers = (m for m in self.modules() if isinstance(m, Convolution))
        return self.dimension == 4 and all(
            isinstance(layer, CausalConvolution) or not any(o[-1] for o in layer.region.offsets)
            for layer in layers
        )

    @property
    def recall(self) -> int:
        """How many frames back the links of a causal network reach at once."""
        return max((layer.recall for layer in self.linked_layers.values()), default=1)

    @abstractmethod
    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Logits of the voxels; see the class for shapes."""

    @abstractmethod
    def twin(self, dimension: int, kernel: Kernel) -> Network:
        """Return a network of the same architecture in other dimensions, with fresh weights."""
