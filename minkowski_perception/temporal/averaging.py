# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Temporal averaging: what was said of a place before counts in what is said of it now."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor

from minkowski_perception.sparse import SparseTensor
from minkowski_perception.voxels import VoxelFrame


class TemporalAverage:
    """Mean of each voxel's class probabilities over the last frames that it was occupied in.

    Voxels lie in the odometry frame, so a place keeps its voxel while the sensor moves.

    Args:
        length: frames to look at, this one among them, 1 or more.
    """

    def __init__(self, length: int) -> None:
        self._past: deque[tuple[Tensor, Tensor]] = deque(maxlen=length - 1)

    @property
    def length(self) -> int:
        """Frames that it looks at, the newest among them."""
        assert self._past.maxlen is not None
        return self._past.maxlen + 1

    def __call__(self, voxels: VoxelFrame, probabilities: Tensor) -> Tensor:
        """Average what a network says of a frame with what it said of those before.

        Args:
            voxels: M, later than those of the last call.
            probabilities: [M, K] float32 of the classes in each of them.

        Returns:
            [M, K] float32.
        """
        here = _batched(voxels.coordinates)
        # The last column counts the frames.
        said = torch.cat([probabilities, torch.ones(len(probabilities), 1)], dim=1)
        total = said.clone()
        for places, before in self._past:
            there = _batched(places - voxels.origin)
            total += SparseTensor(before, there).at(here)
        self._past.append((voxels.coordinates + voxels.origin, said))
        return total[:, :-1] / total[:, -1:]

    def clear(self) -> None:
        """Forget all frames."""
        self._past.clear()

    @property
    def nbytes(self) -> int:
        """Bytes of the frames that are kept."""
        return sum(tensor.nbytes for frame in self._past for tensor in frame)

    def state(self) -> dict[str, Tensor]:
        """All that is kept, as tensors by name."""
        state: dict[str, Tensor] = {}
        for i, (places, said) in enumerate(self._past):
            state |= {f"{i}.places": places, f"{i}.said": said}
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Keep what `state` gave, and nothing else."""
        self.clear()
        for i in range(len(state) // 2):
            self._past.append((state[f"{i}.places"], state[f"{i}.said"]))


def _batched(coordinates: Tensor) -> Tensor:
    """Coordinates [M, 3] as those of the first entry [M, 4] of a batch."""
    return torch.cat([torch.zeros_like(coordinates[:, :1]), coordinates], dim=1)
